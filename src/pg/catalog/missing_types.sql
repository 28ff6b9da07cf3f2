-- $1 text[], $2 text[]: schemas and names, pairwise. Those that are no types here.
SELECT wanted.schema, wanted.name
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
                  pg_catalog.unnest($2::pg_catalog.text[])) AS wanted (schema, name)
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_type t
                     JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                    WHERE n.nspname = wanted.schema AND t.typname = wanted.name)
