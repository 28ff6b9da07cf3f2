-- $1 text[], $2 text[]: schemas and names of tables, pairwise; $3 text: a prefix. Their indexes whose
-- names begin so and that no constraint owns.
SELECT n.nspname::pg_catalog.text, i.relname::pg_catalog.text
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
                  pg_catalog.unnest($2::pg_catalog.text[])) AS wanted (schema, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
  JOIN pg_catalog.pg_index x ON x.indrelid = c.oid
  JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
 WHERE pg_catalog.starts_with(i.relname::pg_catalog.text, $3)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid)
 ORDER BY 1, 2
