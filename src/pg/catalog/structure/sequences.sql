-- $1 oid[]: relations. Sequences that belong to their columns, and those that a default reads.
-- A position is only told to whoever may read the sequence, and is null before its first use.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT s.seqrelid::pg_catalog.int8 AS oid,
       n.nspname AS schema,
       sc.relname AS name,
       used.relation::pg_catalog.int8 AS relation,
       used."column" AS "column",
       bool_or(used.is_owned) AS is_owned,
       bool_or(used.is_identity) AS is_identity,
       pg_catalog.format_type(s.seqtypid, NULL) AS type,
       s.seqstart AS start,
       s.seqincrement AS increment,
       s.seqmin AS min,
       s.seqmax AS max,
       s.seqcache AS cache,
       s.seqcycle AS cycle,
       may.read AS is_readable,
       CASE WHEN may.read AND (sc.relpersistence = 'p' OR NOT pg_catalog.pg_is_in_recovery())
            THEN pg_catalog.pg_sequence_last_value(s.seqrelid::pg_catalog.regclass)
       END AS position,
       pg_catalog.obj_description(s.seqrelid, 'pg_class') AS comment
  FROM (SELECT d.refobjid, d.refobjsubid, d.objid, true, d.deptype = 'i'
          FROM pg_catalog.pg_depend d
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
           AND d.refobjid = ANY ($1) AND d.refobjsubid > 0
           AND d.deptype IN ('a', 'i')
        UNION ALL
        SELECT ad.adrelid, ad.adnum, d.refobjid, false, false
          FROM pg_catalog.pg_attrdef ad
          JOIN pg_catalog.pg_depend d
            ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = ad.oid
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid = 0
         WHERE ad.adrelid = ANY ($1)) AS used (relation, "column", oid, is_owned, is_identity)
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = used.oid
  JOIN pg_catalog.pg_class sc ON sc.oid = s.seqrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = sc.relnamespace
 CROSS JOIN LATERAL (
       SELECT pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT')
          AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')) AS may (read)
 GROUP BY s.seqrelid, n.nspname, sc.relname, used.relation, used."column", s.seqtypid, s.seqstart,
          s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle, may.read, sc.relpersistence
 ORDER BY n.nspname, sc.relname, used.relation, used."column"
       ) AS q
