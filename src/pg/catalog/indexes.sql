-- $1 oid[]: relations. Indexes that identify rows or reject them.
SELECT i.indrelid,
       ic.relname::pg_catalog.text,
       i.indisprimary,
       i.indisunique,
       i.indisexclusion,
       i.indimmediate,
       i.indisvalid AND i.indisready AND i.indislive,
       i.indpred IS NOT NULL,
       i.indisreplident,
       CASE WHEN i.indexprs IS NOT NULL THEN '{}'::pg_catalog.text[]
       ELSE ARRAY(SELECT a.attname::pg_catalog.text
                    FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[])
                         WITH ORDINALITY AS k (attnum, place)
                    JOIN pg_catalog.pg_attribute a
                      ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                   WHERE k.place <= i.indnkeyatts
                   ORDER BY k.place)
       END,
       k.conname::pg_catalog.text,
       pg_catalog.pg_get_constraintdef(k.oid),
       -- Since version 15.
       COALESCE((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool, false),
       CASE WHEN i.indexprs IS NULL THEN '{}'::pg_catalog.text[]
       ELSE ARRAY(SELECT DISTINCT a.attname::pg_catalog.text
                    FROM pg_catalog.pg_depend dep
                    JOIN pg_catalog.pg_attribute a
                      ON a.attrelid = dep.refobjid AND a.attnum = dep.refobjsubid
                   WHERE dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                     AND dep.objid = i.indexrelid
                     AND dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                     AND dep.refobjid = i.indrelid
                     AND dep.refobjsubid > 0
                   ORDER BY 1)
       END
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
  LEFT JOIN pg_catalog.pg_constraint k
    ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
 WHERE i.indrelid = ANY ($1)
   AND (i.indisunique OR i.indisexclusion)
 ORDER BY i.indrelid, NOT i.indisprimary, ic.relname
