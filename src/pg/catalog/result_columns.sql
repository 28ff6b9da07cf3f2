-- $1 text[], $2 oid[], $3 int4[]: names, types and modifiers of a query's columns, as in columns.sql.
SELECT 0::pg_catalog.oid,
       a.attnum::pg_catalog.int2,
       a.attname,
       {type values},
       false,
       NULL::pg_catalog.text,
       ''::pg_catalog."char",
       ''::pg_catalog."char",
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       NULL::pg_catalog.text,
       false,
       '{}'::pg_catalog.text[]
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.oid[]),
                  pg_catalog.unnest($3::pg_catalog.int4[])) WITH ORDINALITY AS a (attname, atttypid, atttypmod, attnum)
  {type tables}
 ORDER BY a.attnum
