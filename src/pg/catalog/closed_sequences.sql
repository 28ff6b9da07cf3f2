-- $1 oid[]: relations. Sequences that their columns' defaults read, without our USAGE.
-- CASE, because the server may ask for the privilege before it looks at the kind, and refuses to
-- tell it of anything but a sequence.
SELECT DISTINCT
       ad.adrelid,
       a.attname::pg_catalog.text,
       n.nspname::pg_catalog.text,
       s.relname::pg_catalog.text
  FROM pg_catalog.pg_attrdef ad
  JOIN pg_catalog.pg_attribute a ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum
  JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = ad.oid
   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid = 0
  JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
 WHERE ad.adrelid = ANY ($1)
   AND CASE WHEN s.relkind = 'S'
            THEN NOT pg_catalog.has_sequence_privilege(s.oid, 'USAGE, UPDATE')
       END
 ORDER BY 1, 2
