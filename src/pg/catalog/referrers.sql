-- $1 text[], $2 text[]: schemas and names of tables, pairwise. Foreign keys of other tables that refer
-- to one of them.
WITH wanted AS (
    SELECT c.oid
      FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]),
                      pg_catalog.unnest($2::pg_catalog.text[])) AS wanted (schema, name)
      JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
)
SELECT tn.nspname::pg_catalog.text,
       t.relname::pg_catalog.text,
       rn.nspname::pg_catalog.text,
       r.relname::pg_catalog.text,
       k.conname::pg_catalog.text,
       ARRAY(SELECT a.attname::pg_catalog.text
               FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS c (attnum, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.attnum
              ORDER BY c.place),
       pg_catalog.has_schema_privilege(rn.oid, 'USAGE')
           AND pg_catalog.has_table_privilege(r.oid, 'SELECT')
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class t ON t.oid = k.confrelid
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_catalog.pg_class r ON r.oid = k.conrelid
  JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
 WHERE k.contype = 'f'
   -- Those of partitions are copies of their root's.
   AND k.conparentid = 0
   AND k.confrelid IN (SELECT oid FROM wanted)
   AND k.conrelid NOT IN (SELECT oid FROM wanted)
 ORDER BY 1, 2, 3, 4, 5
