-- $1 text[]: publications, of version 15 and up. Members with a column list or a row filter.
SELECT r.oid,
       CASE WHEN r.prattrs IS NOT NULL THEN
           ARRAY(SELECT a.attname::pg_catalog.text
                   FROM pg_catalog.unnest(r.prattrs::pg_catalog.int2[]) AS k (attnum)
                   JOIN pg_catalog.pg_attribute a
                     ON a.attrelid = r.prrelid AND a.attnum = k.attnum
                  ORDER BY a.attnum) END,
       pg_catalog.pg_get_expr(r.prqual, r.prrelid)
  FROM pg_catalog.pg_publication p
  JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
 WHERE p.pubname = ANY ($1::pg_catalog.text[])
   AND (r.prattrs IS NOT NULL OR r.prqual IS NOT NULL)
