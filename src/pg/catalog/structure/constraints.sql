-- $1 oid[]: relations. Checks, foreign keys, and (since version 18) NOT NULL constraints.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT k.oid::pg_catalog.int8 AS oid,
       k.conrelid::pg_catalog.int8 AS relation,
       k.conname AS name,
       k.contype AS kind,
       pg_catalog.pg_get_constraintdef(k.oid) AS definition,
       coalesce(k.conkey, '{}') AS columns,
       k.convalidated AS is_validated,
       CASE WHEN k.convalidated THEN true ELSE
           coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::pg_catalog.bool, true)
       END AS is_enforced,
       k.conislocal AS is_local,
       k.coninhcount > 0 OR k.conparentid <> 0 AS is_inherited,
       EXISTS (SELECT FROM pg_catalog.pg_constraint above
                WHERE above.oid = k.conparentid AND above.conrelid <> k.conrelid) AS is_of_parent,
       k.connoinherit AS no_inherit,
       nullif(k.confrelid, 0)::pg_catalog.int8 AS referenced,
       rn.nspname AS referenced_schema,
       r.relname AS referenced_name,
       ARRAY(SELECT a.attname
               FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS f (attnum, place)
               JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = k.confrelid AND a.attnum = f.attnum
              ORDER BY f.place) AS referenced_columns,
       CASE WHEN k.contype = 'f' THEN
           coalesce((pg_catalog.to_jsonb(k) ->> 'conperiod')::pg_catalog.bool, false)
       ELSE false END AS is_temporal,
       pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment
  FROM pg_catalog.pg_constraint k
  LEFT JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
  LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
 WHERE k.conrelid = ANY ($1)
   AND k.contype IN ('c', 'f', 'n')
 ORDER BY k.conrelid, k.conname
       ) AS q
