-- $1 oid[]: relations. Their indexes, with the constraints behind them. "tail" is what stands after
-- USING in CREATE INDEX.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT i.indexrelid::pg_catalog.int8 AS oid,
       i.indrelid::pg_catalog.int8 AS relation,
       ic.relname AS name,
       ic.relkind = 'I' AS is_partitioned,
       (SELECT p.inhparent::pg_catalog.int8 FROM pg_catalog.pg_inherits p
         WHERE p.inhrelid = i.indexrelid) AS parent,
       pg_catalog.substr(def.text, pg_catalog.strpos(def.text, def.head)
                                   + pg_catalog.length(def.head)) AS tail,
       i.indisunique AS is_unique,
       i.indisprimary AS is_primary,
       i.indisexclusion AS is_exclusion,
       i.indisvalid AND i.indisready AND i.indislive AS is_valid,
       i.indisreplident AS is_replica_identity,
       i.indisclustered AS is_clustered,
       i.indexprs IS NOT NULL OR i.indpred IS NOT NULL AS has_expression,
       CASE WHEN pg_catalog.strpos(def.text, ' NULLS NOT DISTINCT') > 0 THEN
           coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool, false)
       ELSE false END AS nulls_not_distinct,
       ARRAY(SELECT k.attnum::pg_catalog.int4
               FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) AS k (attnum)
              WHERE k.attnum <> 0
              UNION
             SELECT d.refobjsubid
               FROM pg_catalog.pg_depend d
              WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.objid = i.indexrelid
                AND d.refclassid = d.classid AND d.refobjid = i.indrelid
                -- A partition's index hangs on its table itself.
                AND d.refobjsubid <> 0
              ORDER BY 1) AS columns,
       ic.reloptions AS options,
       k.oid::pg_catalog.int8 AS constraint_oid,
       k.conname AS constraint_name,
       pg_catalog.pg_get_constraintdef(k.oid) AS constraint_definition,
       CASE WHEN i.indisexclusion THEN
           coalesce((pg_catalog.to_jsonb(k) ->> 'conperiod')::pg_catalog.bool, false)
       ELSE false END AS is_temporal,
       pg_catalog.obj_description(k.oid, 'pg_constraint') AS constraint_comment,
       ARRAY(SELECT pg_catalog.jsonb_build_array(a.attnum, a.attstattarget)
               FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0
              ORDER BY a.attnum) AS statistics,
       pg_catalog.obj_description(i.indexrelid, 'pg_class') AS comment
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_constraint k
    ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
 CROSS JOIN LATERAL (
       SELECT pg_catalog.pg_get_indexdef(i.indexrelid),
              pg_catalog.format('INDEX %I ON %s%I.%I USING ', ic.relname,
                                CASE WHEN ic.relkind = 'I' THEN 'ONLY ' ELSE '' END,
                                n.nspname, c.relname)
       -- Fenced, so that the definition is made once.
       OFFSET 0) AS def (text, head)
 WHERE i.indrelid = ANY ($1)
 ORDER BY i.indrelid, NOT i.indisprimary, k.oid IS NULL, ic.relname
       ) AS q
