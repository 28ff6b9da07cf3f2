-- $1 oid[]: types. What each one is made of, down to the built-in types.
WITH RECURSIVE made_of (root, type, path) AS (
    SELECT w.oid, w.oid, ''::pg_catalog.text COLLATE "C"
      FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS w (oid)
    UNION
    SELECT m.root, part.oid, m.path || part.label
      FROM made_of m
      JOIN pg_catalog.pg_type t ON t.oid = m.type
     CROSS JOIN LATERAL (
           SELECT t.typelem, '[]'
            WHERE t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
           UNION ALL
           SELECT t.typbasetype, '=' WHERE t.typtype = 'd'
           UNION ALL
           SELECT r.rngsubtype, '..' FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
           UNION ALL
           SELECT r.rngtypid, '{}' FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid
           UNION ALL
           SELECT f.atttypid, '.' || f.attnum || ' ' || f.attname
             FROM pg_catalog.pg_attribute f
            WHERE t.typtype = 'c' AND f.attrelid = t.typrelid AND f.attnum > 0
              AND NOT f.attisdropped
           ) AS part (oid, label)
)
SELECT m.root,
       bool_and(t.typsend <> 0::pg_catalog.oid AND t.typreceive <> 0::pg_catalog.oid),
       array_agg(DISTINCT m.type),
       coalesce(string_agg(m.path || ':' || n.nspname || '.' || t.typname, ','
                           ORDER BY m.path COLLATE "C", m.type)
                FILTER (WHERE m.path <> ''), '')
  FROM made_of m
  JOIN pg_catalog.pg_type t ON t.oid = m.type
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 GROUP BY m.root
