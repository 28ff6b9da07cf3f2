-- $1 text: the slot. Columns that younger servers added are read by name, so that one text serves
-- all versions.
SELECT s.slot_name::pg_catalog.text,
       s.slot_type,
       s.plugin::pg_catalog.text,
       s.database::pg_catalog.text,
       s.temporary,
       s.active,
       s.active_pid,
       s.restart_lsn,
       s.confirmed_flush_lsn,
       s.wal_status,
       s.safe_wal_size,
       s.two_phase,
       pg_catalog.to_jsonb(s) ->> 'invalidation_reason',
       coalesce((pg_catalog.to_jsonb(s) ->> 'conflicting')::pg_catalog.bool, false),
       coalesce((pg_catalog.to_jsonb(s) ->> 'failover')::pg_catalog.bool, false)
  FROM pg_catalog.pg_replication_slots s
 WHERE s.slot_name = $1::pg_catalog.text
