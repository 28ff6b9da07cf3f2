-- $1 text[]: publications. The tables each one names itself.
SELECT p.pubname::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text
  FROM pg_catalog.pg_publication p
  JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
  JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.pubname = ANY ($1::pg_catalog.text[])
 ORDER BY 1, 2, 3
