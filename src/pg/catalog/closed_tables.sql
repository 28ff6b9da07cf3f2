-- $1 text: a schema. Its tables that our role may not read and write.
SELECT c.relname::pg_catalog.text
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = $1
   AND c.relkind = 'r'
   AND NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT')
            AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
            AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
            AND pg_catalog.has_table_privilege(c.oid, 'DELETE'))
 ORDER BY 1
