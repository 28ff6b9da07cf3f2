-- $1 oid[]: collations. Names of some settings changed: lc_* in all versions, the locale of ICU
-- and of the builtin provider in colliculocale (15, 16) and colllocale (17), in collcollate before.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT c.oid::pg_catalog.int8 AS oid,
       n.nspname AS schema,
       c.collname AS name,
       c.collprovider AS provider,
       c.collisdeterministic AS is_deterministic,
       row.data ->> 'collcollate' AS lc_collate,
       row.data ->> 'collctype' AS lc_ctype,
       coalesce(row.data ->> 'colllocale', row.data ->> 'colliculocale') AS locale,
       row.data ->> 'collicurules' AS rules,
       pg_catalog.obj_description(c.oid, 'pg_collation') AS comment
  FROM pg_catalog.pg_collation c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
 CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(c)) AS row (data)
 WHERE c.oid = ANY ($1)
 ORDER BY n.nspname, c.collname
       ) AS q
