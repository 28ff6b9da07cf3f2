-- $1 oid[]: relations. A generated column's dependencies hang on its expression since version 15,
-- on the column itself before.
SELECT pg_catalog.to_jsonb(q)::pg_catalog.text
  FROM (
SELECT a.attrelid::pg_catalog.int8 AS relation,
       a.attnum AS number,
       a.attname AS name,
       a.atttypid::pg_catalog.int8 AS type_oid,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS not_null,
       a.attgenerated AS generated,
       a.attidentity AS identity,
       d.oid::pg_catalog.int8 AS expression_oid,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression,
       ARRAY(SELECT DISTINCT dep.refobjsubid
               FROM pg_catalog.pg_depend dep
              WHERE (dep.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
                     AND dep.objid = d.oid
                     OR a.attgenerated <> '' AND dep.objid = a.attrelid
                        AND dep.objsubid = a.attnum
                        AND dep.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
                AND dep.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND dep.refobjid = a.attrelid AND dep.refobjsubid <> a.attnum
              ORDER BY 1) AS expression_columns,
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::pg_catalog.int8
       END AS collation,
       a.attislocal AS is_local,
       a.attinhcount > 0 AS is_inherited,
       CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END AS storage,
       nullif(a.attcompression::pg_catalog.text, '') AS compression,
       CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END AS statistics,
       a.attoptions AS options,
       pg_catalog.col_description(a.attrelid, a.attnum) AS comment
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY ($1)
   AND a.attnum > 0
   AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
       ) AS q
