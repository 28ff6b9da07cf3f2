-- $1 text[]: schemas, $2 text[]: bare names of functions, operators and the like. What is there:
-- types and statistics of the schemas, all collations, and whatever has one of the bare names.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT 'type' AS kind, n.nspname AS schema, t.typname AS name,
       ARRAY(SELECT e.enumlabel::pg_catalog.text FROM pg_catalog.pg_enum e
              WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE n.nspname = ANY ($1::pg_catalog.text[])
   AND t.typisdefined
UNION ALL
SELECT 'statistics', n.nspname, s.stxname, '{}'
  FROM pg_catalog.pg_statistic_ext s
  JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
 WHERE n.nspname = ANY ($1::pg_catalog.text[])
UNION ALL
SELECT 'collation', n.nspname, c.collname, '{}'
  FROM pg_catalog.pg_collation c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
 WHERE c.collencoding IN (-1, (SELECT d.encoding FROM pg_catalog.pg_database d
                                WHERE d.datname = pg_catalog.current_database()))
UNION ALL
SELECT found.kind, found.schema, found.identity, '{}'
  FROM (SELECT 'function' AS kind, n.nspname AS schema, p.proname AS bare,
               pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
                   (SELECT pg_catalog.string_agg(pg_catalog.format_type(a.type, NULL), ','
                                                 ORDER BY a.place)
                      FROM pg_catalog.unnest(p.proargtypes::pg_catalog.oid[])
                           WITH ORDINALITY AS a (type, place))) AS identity
          FROM pg_catalog.pg_proc p
          JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname <> 'pg_catalog'
        UNION ALL
        SELECT 'operator', n.nspname, o.oprname,
               pg_catalog.format('%I.%s(%s,%s)', n.nspname, o.oprname,
                                 pg_catalog.format_type(o.oprleft, NULL),
                                 pg_catalog.format_type(o.oprright, NULL))
          FROM pg_catalog.pg_operator o
          JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
         WHERE n.nspname <> 'pg_catalog'
        UNION ALL
        SELECT 'operator class', n.nspname, c.opcname,
               pg_catalog.format('%I.%I', n.nspname, c.opcname)
          FROM pg_catalog.pg_opclass c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace
        UNION ALL
        SELECT 'text search configuration', n.nspname, c.cfgname,
               pg_catalog.format('%I.%I', n.nspname, c.cfgname)
          FROM pg_catalog.pg_ts_config c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
       ) AS found
 WHERE found.bare = ANY ($2::pg_catalog.text[])
       ) AS q
