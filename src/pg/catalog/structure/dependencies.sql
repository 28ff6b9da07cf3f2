-- $1 oid[]: relations, $2 oid[]: types. What their expressions, indexes, keys and checks use that
-- users made, types left aside: functions, operators, operator classes, collations and so on.
WITH users (owner, classid, objid, subid) AS (
    SELECT d.oid, 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid, d.oid, 0
      FROM pg_catalog.pg_attrdef d WHERE d.adrelid = ANY ($1)
    UNION ALL
    -- Before version 15 a generated column's dependencies hang on the column.
    SELECT d.oid, 'pg_catalog.pg_class'::pg_catalog.regclass, d.adrelid, d.adnum
      FROM pg_catalog.pg_attrdef d
      JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
     WHERE d.adrelid = ANY ($1) AND a.attgenerated <> ''
    UNION ALL
    SELECT k.oid, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, 0
      FROM pg_catalog.pg_constraint k
     WHERE k.conrelid = ANY ($1) OR k.contypid = ANY ($2)
    UNION ALL
    SELECT i.indexrelid, 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, 0
      FROM pg_catalog.pg_index i WHERE i.indrelid = ANY ($1)
    UNION ALL
    SELECT c.oid, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 0
      FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1) AND c.relkind = 'p'
    UNION ALL
    SELECT s.oid, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid, 0
      FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = ANY ($1)
    UNION ALL
    SELECT t.oid, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0
      FROM pg_catalog.pg_type t WHERE t.oid = ANY ($2) AND t.typtype IN ('d', 'r')
), used AS (
    SELECT DISTINCT u.owner, d.refclassid, d.refobjid
      FROM users u
      JOIN pg_catalog.pg_depend d
        ON d.classid = u.classid AND d.objid = u.objid AND d.objsubid = u.subid
     WHERE d.deptype IN ('n', 'i')
)
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT used.owner::pg_catalog.int8 AS owner,
       what.kind AS kind,
       used.refobjid::pg_catalog.int8 AS oid,
       what.schema AS schema,
       what.name AS name,
       what.identity AS identity,
       (SELECT e.extname FROM pg_catalog.pg_depend x
          JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid
         WHERE x.classid = used.refclassid AND x.objid = used.refobjid AND x.deptype = 'e'
           AND x.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension
  FROM used
 CROSS JOIN LATERAL (
       SELECT 'function', n.nspname, p.proname,
              pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
                  (SELECT pg_catalog.string_agg(pg_catalog.format_type(a.type, NULL), ','
                                                ORDER BY a.place)
                     FROM pg_catalog.unnest(p.proargtypes::pg_catalog.oid[])
                          WITH ORDINALITY AS a (type, place)))
         FROM pg_catalog.pg_proc p
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE used.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND p.oid = used.refobjid
       UNION ALL
       SELECT 'operator', n.nspname, o.oprname,
              pg_catalog.format('%I.%s(%s,%s)', n.nspname, o.oprname,
                                pg_catalog.format_type(o.oprleft, NULL),
                                pg_catalog.format_type(o.oprright, NULL))
         FROM pg_catalog.pg_operator o
         JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
        WHERE used.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass
          AND o.oid = used.refobjid
       UNION ALL
       SELECT 'operator class', n.nspname, c.opcname,
              pg_catalog.format('%I.%I', n.nspname, c.opcname)
         FROM pg_catalog.pg_opclass c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace
        WHERE used.refclassid = 'pg_catalog.pg_opclass'::pg_catalog.regclass
          AND c.oid = used.refobjid
       UNION ALL
       SELECT 'text search configuration', n.nspname, c.cfgname,
              pg_catalog.format('%I.%I', n.nspname, c.cfgname)
         FROM pg_catalog.pg_ts_config c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
        WHERE used.refclassid = 'pg_catalog.pg_ts_config'::pg_catalog.regclass
          AND c.oid = used.refobjid
       UNION ALL
       SELECT 'collation', n.nspname, c.collname,
              pg_catalog.format('%I.%I', n.nspname, c.collname)
         FROM pg_catalog.pg_collation c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
        WHERE used.refclassid = 'pg_catalog.pg_collation'::pg_catalog.regclass
          AND c.oid = used.refobjid
       UNION ALL
       SELECT 'type', n.nspname, t.typname, pg_catalog.format('%I.%I', n.nspname, t.typname)
         FROM pg_catalog.pg_type t
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE used.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
          AND t.oid = used.refobjid
       ) AS what (kind, schema, name, identity)
 ORDER BY used.owner, what.kind, what.identity
       ) AS q
