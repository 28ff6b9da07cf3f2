-- $1 text[]: publications, of version 15 and up. The schemas each one publishes whole.
SELECT s.pnpubid, s.oid, n.nspname::pg_catalog.text
  FROM pg_catalog.pg_publication p
  JOIN pg_catalog.pg_publication_namespace s ON s.pnpubid = p.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid
 WHERE p.pubname = ANY ($1::pg_catalog.text[])
 ORDER BY p.pubname, 3
