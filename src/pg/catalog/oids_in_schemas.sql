-- $1 text[]: schemas.
SELECT c.oid
  FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
 WHERE n.nspname = ANY ($1)
   AND c.relkind IN ('r', 'p')
   AND c.relpersistence <> 't'
