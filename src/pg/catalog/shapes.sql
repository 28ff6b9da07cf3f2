-- $1 oid[]: tables. One row an attribute, dropped ones included, beside the files that hold the
-- table's rows (a partitioned table's are its leaves'). One statement, so one moment: an ALTER TABLE
-- that rewrites shows its new file and its new attributes together or not at all.
SELECT c.oid,
       c.relnatts,
       parts.oids,
       parts.files,
       a.attnum,
       a.attname::pg_catalog.text,
       a.atttypid,
       a.atttypmod,
       a.attisdropped,
       a.attgenerated <> '',
       a.attidentity <> '',
       -- What rows hold that are older than the column, part by part; NULL is none.
       ARRAY(SELECT CASE WHEN p.atthasmissing
                    THEN (p.attmissingval::pg_catalog.text::pg_catalog.text[])[1] END
               FROM pg_catalog.unnest(parts.oids) WITH ORDINALITY AS o (oid, number)
               LEFT JOIN pg_catalog.pg_attribute p
                 ON p.attrelid = o.oid AND p.attname = a.attname AND NOT p.attisdropped
              ORDER BY o.number)
  FROM pg_catalog.pg_class c
 CROSS JOIN LATERAL (
       SELECT coalesce(array_agg(l.oid ORDER BY l.oid), '{}') AS oids,
              coalesce(array_agg(l.relfilenode ORDER BY l.oid), '{}') AS files
         FROM (SELECT c.oid WHERE c.relkind <> 'p'
               UNION ALL
               SELECT t.relid
                 FROM pg_catalog.pg_partition_tree(CASE WHEN c.relkind = 'p' THEN c.oid END) t
                WHERE t.isleaf) AS k (oid)
         JOIN pg_catalog.pg_class l ON l.oid = k.oid) AS parts
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.oid = ANY ($1)
 ORDER BY c.oid, a.attnum
