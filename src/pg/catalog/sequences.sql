-- $1 oid[]: relations. Sequences behind their columns: identity's, and those a default reads.
SELECT DISTINCT
       a.attrelid,
       a.attname::pg_catalog.text,
       n.nspname::pg_catalog.text,
       sc.relname::pg_catalog.text,
       pg_catalog.format_type(s.seqtypid, NULL),
       s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
       used.is_owned
  FROM (SELECT d.refobjid AS relid, d.refobjsubid AS attnum, d.objid AS seqid, true AS is_owned
          FROM pg_catalog.pg_depend d
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
           AND d.refobjid = ANY ($1) AND d.refobjsubid > 0
           AND d.deptype IN ('a', 'i')
        UNION ALL
        SELECT ad.adrelid, ad.adnum, d.refobjid,
               EXISTS (SELECT FROM pg_catalog.pg_depend o
                        WHERE o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                          AND o.objid = d.refobjid
                          AND o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                          AND o.refobjid = ad.adrelid AND o.refobjsubid = ad.adnum
                          AND o.deptype IN ('a', 'i'))
          FROM pg_catalog.pg_attrdef ad
          JOIN pg_catalog.pg_depend d
            ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = ad.oid
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid = 0
         WHERE ad.adrelid = ANY ($1)) AS used
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = used.seqid
  JOIN pg_catalog.pg_class sc ON sc.oid = s.seqrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = sc.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = used.relid AND a.attnum = used.attnum
 ORDER BY 1, 2, 3, 4
