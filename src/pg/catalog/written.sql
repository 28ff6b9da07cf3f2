-- Where the next record goes, what is flushed, and how long a commit may stay unflushed: the walwriter
-- needs at most three of its rounds (documentation, "Asynchronous Commit").
SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_insert_lsn() END,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_flush_lsn() END,
       3 * s.setting::pg_catalog.int8
  FROM pg_catalog.pg_settings s
 WHERE s.name = 'wal_writer_delay'
