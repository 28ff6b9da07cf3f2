-- Transactions that write, anywhere in the cluster: a new slot waits for each of them to end.
-- pg_locks shows them to every role; pg_stat_activity hides the xid of other people's sessions.
SELECT l.pid,
       l.transactionid::pg_catalog.text,
       p.gid,
       coalesce(a.usename, p.owner)::pg_catalog.text,
       coalesce(a.datname, p.database)::pg_catalog.text,
       a.application_name,
       coalesce(a.xact_start, p.prepared)
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN pg_catalog.pg_prepared_xacts p ON l.pid IS NULL AND p.transaction = l.transactionid
 WHERE l.locktype = 'transactionid'
   AND l.mode = 'ExclusiveLock'
   AND l.granted
   AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
 ORDER BY coalesce(a.xact_start, p.prepared) NULLS LAST
