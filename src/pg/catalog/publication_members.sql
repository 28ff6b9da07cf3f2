-- $1 text[]: publications. The tables each one names itself, or leaves out of all tables (19 and up).
SELECT r.prpubid,
       r.oid,
       r.prrelid,
       n.nspname::pg_catalog.text,
       c.relname::pg_catalog.text,
       coalesce((pg_catalog.to_jsonb(r) ->> 'prexcept')::pg_catalog.bool, false)
  FROM pg_catalog.pg_publication p
  JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
  JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.pubname = ANY ($1::pg_catalog.text[])
 ORDER BY p.pubname, 4, 5
