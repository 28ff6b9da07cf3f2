-- Every relation an operator could name, our own and the system's schemas left out.
SELECT c.oid,
       n.nspname::pg_catalog.text,
       c.relname::pg_catalog.text,
       c.relkind,
       c.relispartition,
       c.relpersistence,
       pg_catalog.pg_has_role(c.relowner, 'USAGE')
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND n.nspname NOT LIKE 'pg\_temp\_%'
   AND n.nspname NOT LIKE 'pg\_toast\_temp\_%'
 ORDER BY n.nspname, c.relname
