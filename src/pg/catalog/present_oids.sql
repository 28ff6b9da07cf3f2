-- $1 oid[]: relations. Those of them that exist.
SELECT c.oid
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY ($1)
