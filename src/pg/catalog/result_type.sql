-- $1 oid: a type. As columns.sql describes a column of it, without a modifier and nullable.
SELECT 0::pg_catalog.oid,
       0::pg_catalog.int2,
       ''::pg_catalog.text,
       t.oid,
       -1,
       pg_catalog.format_type(t.oid, -1),
       pg_catalog.format_type(t.oid, -1),
       tn.nspname::pg_catalog.text,
       t.typname::pg_catalog.text,
       t.typarray,
       t.typtype,
       leaf.type,
       leaf.modifier,
       leaf.arrays,
       lt.typname::pg_catalog.text,
       lt.typtype,
       false,
       NULL::pg_catalog.text,
       ''::"char",
       ''::"char",
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       false,
       '{}'::pg_catalog.text[]
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
 CROSS JOIN LATERAL (
       WITH RECURSIVE inside (depth, type, modifier, arrays) AS (
           SELECT 0, t.oid, -1, 0
           UNION ALL
           SELECT i.depth + 1, part.type, part.modifier, i.arrays + part.arrays
             FROM inside i
             JOIN pg_catalog.pg_type it ON it.oid = i.type
            CROSS JOIN LATERAL (
                  SELECT it.typbasetype, it.typtypmod, 0 WHERE it.typtype = 'd'
                  UNION ALL
                  SELECT it.typelem, i.modifier, 1 WHERE it.typtype = 'b' AND it.typcategory = 'A'
                     AND it.typelem <> 0::pg_catalog.oid
                  ) AS part (type, modifier, arrays)
       )
       SELECT type, modifier, arrays FROM inside ORDER BY depth DESC LIMIT 1
       ) AS leaf
  JOIN pg_catalog.pg_type lt ON lt.oid = leaf.type
 WHERE t.oid = $1
   AND t.typtype <> 'p'
