-- $1 oid[]: relations. Every type that users made and that their columns and expressions need, down
-- to the built-in ones; "needs" are the types that have to be there before.
WITH RECURSIVE expressions (classid, objid) AS (
    SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid, d.oid
      FROM pg_catalog.pg_attrdef d WHERE d.adrelid = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid
      FROM pg_catalog.pg_constraint k WHERE k.conrelid = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid
      FROM pg_catalog.pg_index i WHERE i.indrelid = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid
      FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1)
    UNION ALL
    SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid
      FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = ANY ($1)
), needed (oid) AS (
    SELECT a.atttypid FROM pg_catalog.pg_attribute a
     WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT d.refobjid
      FROM expressions e
      JOIN pg_catalog.pg_depend d ON d.classid = e.classid AND d.objid = e.objid
     WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
    UNION
    SELECT part.oid
      FROM needed n
      JOIN pg_catalog.pg_type t ON t.oid = n.oid
     CROSS JOIN LATERAL (
           SELECT t.typelem WHERE t.typelem <> 0
           UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
           UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
           UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid
           UNION ALL
           SELECT a.atttypid FROM pg_catalog.pg_attribute a
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0
              AND NOT a.attisdropped
           UNION ALL
           SELECT d.refobjid
             FROM pg_catalog.pg_constraint k
             JOIN pg_catalog.pg_depend d
               ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid
            WHERE k.contypid = t.oid
              AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
              AND d.refobjid <> t.oid
           ) AS part (oid)
)
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT t.oid::pg_catalog.int8 AS oid,
       n.nspname AS schema,
       t.typname AS name,
       t.typtype AS kind,
       t.typelem <> 0 AND t.typsubscript
           = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc AS is_array,
       nullif(t.typrelid, 0)::pg_catalog.int8 AS relation,
       coalesce((SELECT c.relkind <> 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid),
                false) AS is_row_type,
       ARRAY(SELECT e.enumlabel FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid
              ORDER BY e.enumsortorder) AS labels,
       CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod)
       END AS base,
       t.typnotnull AS not_null,
       t.typdefault AS "default",
       CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation
            THEN t.typcollation::pg_catalog.int8 END AS collation,
       coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                            'oid', k.oid::pg_catalog.int8,
                            'name', k.conname,
                            'definition', pg_catalog.pg_get_constraintdef(k.oid),
                            'is_validated', k.convalidated,
                            'comment', pg_catalog.obj_description(k.oid, 'pg_constraint'))
                        ORDER BY k.conname)
                   FROM pg_catalog.pg_constraint k
                  WHERE k.contypid = t.oid AND k.contype = 'c'), '[]') AS checks,
       coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                            'name', a.attname,
                            'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                            'collation', CASE WHEN a.attcollation <> at.typcollation
                                              THEN a.attcollation::pg_catalog.int8 END,
                            'comment', pg_catalog.col_description(a.attrelid, a.attnum))
                        ORDER BY a.attnum)
                   FROM pg_catalog.pg_attribute a
                   JOIN pg_catalog.pg_type at ON at.oid = a.atttypid
                  WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0
                    AND NOT a.attisdropped), '[]') AS attributes,
       (SELECT pg_catalog.jsonb_build_object(
                   'subtype', pg_catalog.format_type(r.rngsubtype, NULL),
                   'operator_class', CASE WHEN NOT oc.opcdefault
                       THEN pg_catalog.format('%I.%I', ocn.nspname, oc.opcname) END,
                   'collation', CASE WHEN r.rngcollation <> st.typcollation
                       THEN r.rngcollation::pg_catalog.int8 END,
                   'has_canonical', r.rngcanonical <> 0,
                   'subtype_difference', (SELECT pg_catalog.format('%I.%I', pn.nspname, p.proname)
                       FROM pg_catalog.pg_proc p
                       JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
                      WHERE p.oid = r.rngsubdiff),
                   'multirange_schema', mn.nspname,
                   'multirange_name', m.typname)
          FROM pg_catalog.pg_range r
          JOIN pg_catalog.pg_type st ON st.oid = r.rngsubtype
          JOIN pg_catalog.pg_opclass oc ON oc.oid = r.rngsubopc
          JOIN pg_catalog.pg_namespace ocn ON ocn.oid = oc.opcnamespace
          JOIN pg_catalog.pg_type m ON m.oid = r.rngmultitypid
          JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace
         WHERE r.rngtypid = t.oid) AS range,
       ARRAY(SELECT part.oid::pg_catalog.int8 FROM (
                 SELECT t.typelem WHERE t.typelem <> 0
                 UNION SELECT t.typbasetype WHERE t.typbasetype <> 0
                 UNION SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
                 UNION SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid
                 UNION SELECT a.atttypid FROM pg_catalog.pg_attribute a
                        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0
                          AND NOT a.attisdropped
                 UNION SELECT d.refobjid
                         FROM pg_catalog.pg_constraint k
                         JOIN pg_catalog.pg_depend d ON d.objid = k.oid
                          AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                        WHERE k.contypid = t.oid AND d.refobjid <> t.oid
                          AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
             ) AS part (oid)) AS needs,
       (SELECT e.extname FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
         WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid
           AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
           AND d.deptype = 'e') AS extension,
       pg_catalog.obj_description(t.oid, 'pg_type') AS comment,
       pg_catalog.obj_description(n.oid, 'pg_namespace') AS schema_comment
  FROM needed
  JOIN pg_catalog.pg_type t ON t.oid = needed.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
 WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
 ORDER BY n.nspname, t.typname
       ) AS q
