-- $1 oid[]: the relations wanted.
SELECT c.oid,
       n.nspname::pg_catalog.text,
       c.relname::pg_catalog.text,
       c.relkind,
       c.relispartition,
       c.relpersistence,
       c.relreplident,
       c.oid IN (SELECT k.conrelid FROM pg_catalog.pg_constraint k WHERE k.contype = 'f'
                 UNION ALL
                 SELECT k.confrelid FROM pg_catalog.pg_constraint k WHERE k.contype = 'f'),
       coalesce(pg_catalog.row_security_active(c.oid), false),
       pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text,
       coalesce(CASE WHEN c.relkind = 'r' THEN pg_catalog.pg_relation_size(c.oid) END, 0),
       coalesce(CASE WHEN c.relkind = 'r' THEN pg_catalog.pg_table_size(c.oid) END, 0),
       c.reltuples,
       -- From the same row as relnatts: an ALTER TABLE that rewrites changes both together.
       c.relfilenode,
       c.relnatts,
       coalesce((SELECT am.amname = 'heap' FROM pg_catalog.pg_am am WHERE am.oid = c.relam), false),
       CASE WHEN c.relispartition THEN
           ARRAY(SELECT a.relid::pg_catalog.oid
                   FROM pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY a (relid, level)
                  WHERE a.relid <> c.oid
                  ORDER BY a.level)
       ELSE '{}'::pg_catalog.oid[] END,
       -- Updates are checked against the leaf's own identity, whatever the root's says.
       CASE WHEN c.relkind = 'p' THEN
           EXISTS (SELECT FROM pg_catalog.pg_partition_tree(c.oid) leaf
                     JOIN pg_catalog.pg_class l ON l.oid = leaf.relid
                    WHERE leaf.isleaf
                      AND l.relkind <> 'f'
                      AND l.relreplident <> 'f'
                      AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                                       WHERE i.indrelid = l.oid AND i.indisvalid
                                         AND i.indimmediate
                                         AND (l.relreplident = 'd' AND i.indisprimary
                                              OR l.relreplident = 'i' AND i.indisreplident)))
       ELSE false END,
       -- Since 18 the server refuses updates of such rows unless the columns are published.
       c.relreplident = 'f'
       AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 180000,
       -- ROW is 1 in tgtype, BEFORE is 2.
       EXISTS (SELECT FROM pg_catalog.pg_trigger g
                WHERE (g.tgrelid = c.oid
                       OR c.relkind = 'p'
                          AND g.tgrelid IN (SELECT part.relid
                                              FROM pg_catalog.pg_partition_tree(c.oid) part))
                  AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND (g.tgtype & 3) = 3)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY ($1)
 ORDER BY n.nspname, c.relname
