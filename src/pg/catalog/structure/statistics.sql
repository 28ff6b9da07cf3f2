-- $1 oid[]: relations. Extended statistics; "tail" is what stands between name and FROM.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT s.oid::pg_catalog.int8 AS oid,
       s.stxrelid::pg_catalog.int8 AS relation,
       n.nspname AS schema,
       s.stxname AS name,
       pg_catalog.substr(def.text, pg_catalog.length(def.head) + 1,
                         pg_catalog.length(def.text) - pg_catalog.length(def.head)
                         - pg_catalog.length(def.foot)) AS tail,
       s.stxexprs IS NOT NULL AS has_expression,
       ARRAY(SELECT k.attnum::pg_catalog.int4
               FROM pg_catalog.unnest(s.stxkeys::pg_catalog.int2[]) AS k (attnum)
              UNION
             SELECT d.refobjsubid
               FROM pg_catalog.pg_depend d
              WHERE d.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
                AND d.objid = s.oid AND d.refobjid = s.stxrelid
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND d.refobjsubid <> 0
              ORDER BY 1) AS columns,
       CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget END AS target,
       pg_catalog.obj_description(s.oid, 'pg_statistic_ext') AS comment
  FROM pg_catalog.pg_statistic_ext s
  JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
  JOIN pg_catalog.pg_class c ON c.oid = s.stxrelid
  JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
 CROSS JOIN LATERAL (
       SELECT pg_catalog.pg_get_statisticsobjdef(s.oid),
              pg_catalog.format('CREATE STATISTICS %I.%I ', n.nspname, s.stxname),
              pg_catalog.format(' FROM %I.%I', cn.nspname, c.relname)
       ) AS def (text, head, foot)
 WHERE s.stxrelid = ANY ($1)
 ORDER BY s.stxrelid, s.stxname
       ) AS q
