-- $1 text[]: schemas. Everything in them that has a name among relations; with an index's or
-- partition's (or child's) tables.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT n.nspname AS schema,
       c.relname AS name,
       c.relkind AS kind,
       (SELECT pg_catalog.jsonb_build_array(tn.nspname, t.relname)
          FROM pg_catalog.pg_index i
          JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
          JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
         WHERE i.indexrelid = c.oid) AS of_table,
       coalesce((SELECT i.indisprimary FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid),
                false) AS is_primary,
       coalesce((SELECT i.indisvalid FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid),
                true) AS is_valid,
       ARRAY(SELECT pg_catalog.jsonb_build_array(pn.nspname, p.relname)
               FROM pg_catalog.pg_inherits i
               JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
               JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
              WHERE i.inhrelid = c.oid
              ORDER BY i.inhseqno) AS parents
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY ($1::pg_catalog.text[])
   AND c.relkind IN ('r', 'p', 'i', 'I', 'S', 'v', 'm', 'f', 'c')
 ORDER BY n.nspname, c.relname
       ) AS q
