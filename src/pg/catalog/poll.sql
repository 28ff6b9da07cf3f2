-- $1 text: the slot. The clock is read before the WAL's end, so that "everything up to this end"
-- includes everything up to this time.
SELECT pg_catalog.clock_timestamp(),
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_flush_lsn() END,
       s.slot_name IS NOT NULL,
       s.active,
       s.active_pid,
       s.restart_lsn,
       s.confirmed_flush_lsn,
       s.wal_status,
       s.safe_wal_size,
       pg_catalog.to_jsonb(s) ->> 'invalidation_reason'
  FROM (SELECT) AS one
  LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1::pg_catalog.text
