SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
       pg_catalog.current_setting('server_version'),
       pg_catalog.pg_is_in_recovery(),
       coalesce(pg_catalog.current_setting('effective_wal_level', true),
                pg_catalog.current_setting('wal_level')),
       pg_catalog.current_setting('max_replication_slots')::pg_catalog.int4,
       (SELECT pg_catalog.count(*)::pg_catalog.int4 FROM pg_catalog.pg_replication_slots),
       pg_catalog.current_setting('max_wal_senders')::pg_catalog.int4,
       -- A connection that has not started to stream may be our own: it is what we need one for.
       (SELECT pg_catalog.count(*)::pg_catalog.int4 FROM pg_catalog.pg_stat_replication r
         WHERE r.state IS DISTINCT FROM 'startup'),
       d.oid,
       d.datname::pg_catalog.text,
       pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text,
       -- What a session has that sets nothing; ours sets it.
       (SELECT s.reset_val FROM pg_catalog.pg_settings s WHERE s.name = 'lc_monetary'),
       r.rolname::pg_catalog.text,
       r.rolsuper,
       r.rolsuper OR r.rolreplication OR EXISTS (
           SELECT FROM pg_catalog.pg_roles managed
            WHERE managed.rolname = 'rds_replication'
              AND pg_catalog.pg_has_role(managed.oid, 'USAGE')),
       pg_catalog.has_database_privilege(d.oid, 'CREATE'),
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'),
       pg_catalog.current_setting('default_transaction_read_only') = 'on',
       EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
  FROM pg_catalog.pg_database d
  JOIN pg_catalog.pg_roles r ON r.rolname = current_user
 WHERE d.datname = pg_catalog.current_database()
