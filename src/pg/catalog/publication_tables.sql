-- $1 text[]: publications. What each one publishes in the end: partitions and FOR ALL TABLES
-- resolved. Column lists and row filters exist since version 15, hence read by name.
SELECT t.pubname::pg_catalog.text,
       t.schemaname::pg_catalog.text,
       t.tablename::pg_catalog.text,
       CASE WHEN pg_catalog.jsonb_typeof(j.row -> 'attnames') = 'array' THEN
           ARRAY(SELECT pg_catalog.jsonb_array_elements_text(j.row -> 'attnames')) END,
       j.row ->> 'rowfilter'
  FROM pg_catalog.pg_publication_tables t
 CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(t)) AS j (row)
 WHERE t.pubname = ANY ($1::pg_catalog.text[])
 ORDER BY 1, 2, 3
