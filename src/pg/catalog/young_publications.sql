-- $1 text: the slot. $2 text[]: publications. Those that may be younger than what the slot has yet
-- to send: their rows are not older than the oldest catalog that it needs.
SELECT p.oid, p.pubname::pg_catalog.text
  FROM pg_catalog.pg_publication p
  JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1::pg_catalog.text
 WHERE p.pubname = ANY ($2::pg_catalog.text[])
   AND pg_catalog.age(p.xmin) <= pg_catalog.age(s.catalog_xmin)
 ORDER BY 2
