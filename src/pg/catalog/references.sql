-- $1 text[], $2 text[]: schemas and names of tables, pairwise. Which of them refers to which.
WITH wanted AS (
    SELECT c.oid, n.nspname, c.relname
      FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
                      pg_catalog.unnest($2::pg_catalog.text[])) AS wanted (schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
)
SELECT DISTINCT r.nspname::pg_catalog.text, r.relname::pg_catalog.text,
       t.nspname::pg_catalog.text, t.relname::pg_catalog.text
  FROM pg_catalog.pg_constraint k
  JOIN wanted r ON r.oid = k.conrelid
  JOIN wanted t ON t.oid = k.confrelid
 WHERE k.contype = 'f' AND k.conparentid = 0
 ORDER BY 1, 2, 3, 4
