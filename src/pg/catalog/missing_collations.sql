-- $1 text[], $2 text[]: schemas and names, pairwise. Those that are no collations here.
SELECT wanted.schema, wanted.name
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
                  pg_catalog.unnest($2::pg_catalog.text[])) AS wanted (schema, name)
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_collation c
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
                    WHERE n.nspname = wanted.schema AND c.collname = wanted.name
                      AND c.collencoding IN (-1, (SELECT d.encoding FROM pg_catalog.pg_database d
                                                   WHERE d.datname = pg_catalog.current_database())))
