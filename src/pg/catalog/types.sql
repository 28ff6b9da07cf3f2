-- $1 oid[]: types. What each one is made of, down to the built-in types, and the operator by which
-- its indexes know equal keys, where that is not one of the server's own. Types are named without their
-- schemas, which may be mapped, and attributes by their place, because a dropped one leaves a gap.
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
           SELECT t.typbasetype, '=' || t.typtypmod WHERE t.typtype = 'd'
           UNION ALL
           SELECT r.rngsubtype, '..' FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
           UNION ALL
           SELECT r.rngtypid, '{}' FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid
           UNION ALL
           SELECT f.atttypid,
                  '.' || pg_catalog.row_number() OVER (ORDER BY f.attnum) || ' ' || f.attname || ' '
                  || f.atttypmod
             FROM pg_catalog.pg_attribute f
            WHERE t.typtype = 'c' AND f.attrelid = t.typrelid AND f.attnum > 0
              AND NOT f.attisdropped
           ) AS part (oid, label)
)
SELECT m.root,
       bool_and(t.typsend <> 0::pg_catalog.oid AND t.typreceive <> 0::pg_catalog.oid),
       array_agg(DISTINCT m.type),
       coalesce(string_agg(m.path || ':' || t.typname, ','
                           ORDER BY m.path COLLATE "C", m.type)
                FILTER (WHERE m.path <> ''), ''),
       -- The operator of the type itself, or of what a domain is over.
       min(e.schema) FILTER (WHERE m.path ~ '^(=-?[0-9]+)*$'),
       min(e.operator) FILTER (WHERE m.path ~ '^(=-?[0-9]+)*$')
  FROM made_of m
  JOIN pg_catalog.pg_type t ON t.oid = m.type
  LEFT JOIN LATERAL (
       SELECT en.nspname::pg_catalog.text AS schema, o.oprname::pg_catalog.text AS operator
         FROM pg_catalog.pg_opclass c
         JOIN pg_catalog.pg_am am ON am.oid = c.opcmethod AND am.amname = 'btree'
         JOIN pg_catalog.pg_amop a
           ON a.amopfamily = c.opcfamily AND a.amopstrategy = 3
          AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
         JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
         JOIN pg_catalog.pg_namespace en ON en.oid = o.oprnamespace
        WHERE c.opcintype = t.oid AND c.opcdefault AND en.nspname <> 'pg_catalog'
       ) AS e ON true
 GROUP BY m.root
