-- $1 text[]: publications.
SELECT p.pubname::pg_catalog.text,
       pg_catalog.pg_get_userbyid(p.pubowner)::pg_catalog.text,
       pg_catalog.pg_has_role(p.pubowner, 'USAGE'),
       p.puballtables,
       p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate,
       p.pubviaroot
  FROM pg_catalog.pg_publication p
 WHERE p.pubname = ANY ($1::pg_catalog.text[])
 ORDER BY p.pubname
