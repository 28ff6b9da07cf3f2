-- Where column_type_values.sql has it from.
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
 -- Domains and arrays are looked through; an array hands its modifier to its elements.
 CROSS JOIN LATERAL (
       WITH RECURSIVE inside (depth, type, modifier, arrays) AS (
           SELECT 0, a.atttypid, a.atttypmod, 0
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
