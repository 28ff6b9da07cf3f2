-- $1 text[]: publications. What younger servers added is read by name. The row's xmin changes when
-- an option does, even if it is changed back.
SELECT p.oid,
       p.xmin::pg_catalog.text,
       p.pubname::pg_catalog.text,
       pg_catalog.pg_get_userbyid(p.pubowner)::pg_catalog.text,
       pg_catalog.pg_has_role(p.pubowner, 'USAGE'),
       p.puballtables,
       p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate,
       p.pubviaroot,
       coalesce(pg_catalog.to_jsonb(p) ->> 'pubgencols' = 's', false),
       pg_catalog.to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL
  FROM pg_catalog.pg_publication p
 WHERE p.pubname = ANY ($1::pg_catalog.text[])
 ORDER BY p.pubname
