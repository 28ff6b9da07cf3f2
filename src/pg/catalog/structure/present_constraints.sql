-- $1 text[]: schemas. The constraints of their tables.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT n.nspname AS schema,
       c.relname AS "table",
       k.conname AS name,
       k.contype AS kind,
       k.convalidated AS is_validated
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY ($1::pg_catalog.text[])
 ORDER BY n.nspname, c.relname, k.conname
       ) AS q
