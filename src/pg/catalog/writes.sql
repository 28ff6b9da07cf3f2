-- $1 oid[]: tables that hold rows. Updates and deletes since the server's statistics were reset.
SELECT t.oid,
       coalesce(pg_catalog.pg_stat_get_tuples_updated(t.oid), 0)
       + coalesce(pg_catalog.pg_stat_get_tuples_deleted(t.oid), 0)
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS t (oid)
