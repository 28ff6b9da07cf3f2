-- $1 text[], $2 oid[], $3 int4[]: names, types and modifiers of a query's columns, as in columns.sql.
SELECT 0::pg_catalog.oid,
       c.number::pg_catalog.int2,
       c.name,
       c.type,
       c.modifier,
       pg_catalog.format_type(c.type, c.modifier),
       pg_catalog.format_type(c.type, -1),
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
       ''::pg_catalog."char",
       ''::pg_catalog."char",
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       false,
       '{}'::pg_catalog.text[]
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.oid[]),
                  pg_catalog.unnest($3::pg_catalog.int4[])) WITH ORDINALITY AS c (name, type, modifier, number)
  JOIN pg_catalog.pg_type t ON t.oid = c.type
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
 -- Domains and arrays are looked through; an array hands its modifier to its elements.
 CROSS JOIN LATERAL (
       WITH RECURSIVE inside (depth, type, modifier, arrays) AS (
           SELECT 0, c.type, c.modifier, 0
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
 ORDER BY c.number
