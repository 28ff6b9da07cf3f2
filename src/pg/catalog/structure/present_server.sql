-- What the server is able to, as far as structure goes.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 / 10000 AS major_version,
       ARRAY(SELECT n.nspname FROM pg_catalog.pg_namespace n) AS schemas,
       ARRAY(SELECT am.amname FROM pg_catalog.pg_am am) AS access_methods,
       ARRAY(SELECT DISTINCT p.proname
               FROM pg_catalog.pg_proc p
               JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
              WHERE n.nspname = 'pg_catalog') AS functions,
       (SELECT coalesce(pg_catalog.jsonb_object_agg(e.extname, n.nspname), '{}')
          FROM pg_catalog.pg_extension e
          JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace) AS extensions,
       EXISTS (SELECT FROM pg_catalog.pg_settings s
                WHERE s.name = 'default_toast_compression' AND 'lz4' = ANY (s.enumvals)) AS has_lz4,
       EXISTS (SELECT FROM pg_catalog.pg_collation c WHERE c.collprovider = 'i') AS has_icu
       ) AS q
