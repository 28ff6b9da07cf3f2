-- $1 text[], $2 text[]: schemas and names of tables, pairwise. Those that our role may not refer to.
SELECT wanted.schema, wanted.name
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
                  pg_catalog.unnest($2::pg_catalog.text[])) AS wanted (schema, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
 WHERE c.relkind IN ('r', 'p')
   AND NOT pg_catalog.has_table_privilege(c.oid, 'REFERENCES')
