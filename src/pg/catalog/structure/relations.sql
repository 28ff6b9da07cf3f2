-- $1 oid[]: tables. They and all partitions below them, roots before their partitions.
WITH RECURSIVE tree (oid, root, level) AS (
    SELECT w.oid, w.oid, 0 FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS w (oid)
    UNION ALL
    SELECT i.inhrelid, t.root, t.level + 1
      FROM tree t
      JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid AND NOT i.inhdetachpending
      JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
     WHERE c.relispartition AND c.relkind IN ('r', 'p')
)
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT c.oid::pg_catalog.int8 AS oid,
       tree.root::pg_catalog.int8 AS root,
       n.nspname AS schema,
       c.relname AS name,
       c.relkind = 'p' AS is_partitioned,
       c.reltype::pg_catalog.int8 AS row_type,
       CASE WHEN tree.level > 0 THEN
           (SELECT i.inhparent::pg_catalog.int8 FROM pg_catalog.pg_inherits i
             WHERE i.inhrelid = c.oid) END AS parent,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound,
       CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS partition_key,
       -- Columns of a partition key hang on their table, expressions' too.
       ARRAY(SELECT DISTINCT d.objsubid
               FROM pg_catalog.pg_depend d
              WHERE c.relkind = 'p' AND d.deptype = 'i'
                AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                AND d.objsubid > 0
                AND d.refclassid = d.classid AND d.refobjid = c.oid AND d.refobjsubid = 0
              ORDER BY 1) AS partition_columns,
       ARRAY(SELECT i.inhparent::pg_catalog.int8 FROM pg_catalog.pg_inherits i
              WHERE i.inhrelid = c.oid AND NOT c.relispartition
              ORDER BY i.inhseqno) AS inherits,
       c.reloptions AS options,
       (SELECT toast.reloptions FROM pg_catalog.pg_class toast
         WHERE toast.oid = c.reltoastrelid) AS toast_options,
       (SELECT am.amname FROM pg_catalog.pg_am am
         WHERE am.oid = c.relam AND am.amname <> 'heap') AS access_method,
       c.relreplident AS identity,
       pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
       pg_catalog.obj_description(n.oid, 'pg_namespace') AS schema_comment
  FROM tree
  JOIN pg_catalog.pg_class c ON c.oid = tree.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY tree.root, tree.level, n.nspname, c.relname
       ) AS q
