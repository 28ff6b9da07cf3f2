-- $1 oid[]: relations. What is read of a column's type is in column_type_values.sql and
-- column_type_tables.sql. A generated column's dependencies hang on its expression since version 15,
-- on the column itself before.
SELECT a.attrelid,
       a.attnum,
       a.attname::pg_catalog.text,
       {type values},
       a.attnotnull,
       CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
       a.attidentity,
       a.attgenerated,
       CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
       CASE WHEN a.attcollation <> t.typcollation THEN cn.nspname::pg_catalog.text END,
       CASE WHEN a.attcollation <> t.typcollation THEN co.collname::pg_catalog.text END,
       CASE WHEN a.attcollation <> lt.typcollation THEN cn.nspname::pg_catalog.text END,
       CASE WHEN a.attcollation <> lt.typcollation THEN co.collname::pg_catalog.text END,
       -- Whether the expression needs objects of the user's, besides this table and sequences.
       d.oid IS NOT NULL AND EXISTS (
           SELECT FROM pg_catalog.pg_depend dep
            WHERE (dep.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND dep.objid = d.oid
                   OR a.attgenerated <> '' AND dep.objid = a.attrelid AND dep.objsubid = a.attnum
                      AND dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
              AND dep.refobjid NOT IN (a.atttypid, a.attcollation)
              AND NOT (dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                       AND (dep.refobjid = d.adrelid
                            OR EXISTS (SELECT FROM pg_catalog.pg_class s
                                        WHERE s.oid = dep.refobjid AND s.relkind = 'S')))),
       CASE WHEN d.oid IS NULL THEN '{}'::pg_catalog.text[]
       ELSE ARRAY(
           SELECT DISTINCT r.attname::pg_catalog.text
             FROM pg_catalog.pg_depend dep
             JOIN pg_catalog.pg_attribute r ON r.attrelid = d.adrelid AND r.attnum = dep.refobjsubid
            WHERE (dep.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND dep.objid = d.oid
                   OR a.attgenerated <> '' AND dep.objid = a.attrelid AND dep.objsubid = a.attnum
                      AND dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
              AND dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
              AND dep.refobjid = d.adrelid
              AND dep.refobjsubid <> a.attnum
            ORDER BY 1)
       END
  FROM pg_catalog.pg_attribute a
  {type tables}
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
 WHERE a.attrelid = ANY ($1)
   AND a.attnum > 0
   AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
