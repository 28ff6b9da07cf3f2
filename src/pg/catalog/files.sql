-- $1 oid[]: tables. How many attributes each ever had, and the files that hold its rows.
SELECT c.oid,
       c.relnatts,
       parts.oids,
       parts.files
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
 WHERE c.oid = ANY ($1)
