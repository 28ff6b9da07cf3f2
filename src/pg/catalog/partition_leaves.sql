-- $1 oid[]: partitioned tables. The tables that hold their rows; foreign tables hold none here.
SELECT root.oid, c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS root (oid)
 CROSS JOIN LATERAL pg_catalog.pg_partition_tree(root.oid) AS part
  JOIN pg_catalog.pg_class c ON c.oid = part.relid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE part.isleaf AND c.oid <> root.oid AND c.relkind = 'r'
 ORDER BY 1, 3, 4
