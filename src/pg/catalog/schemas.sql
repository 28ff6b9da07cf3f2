-- $1 text[]: schemas. Those that exist, and what our role may do in them.
SELECT n.nspname::pg_catalog.text,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
       pg_catalog.has_schema_privilege(n.oid, 'CREATE')
  FROM pg_catalog.pg_namespace n
 WHERE n.nspname = ANY ($1::pg_catalog.text[])
