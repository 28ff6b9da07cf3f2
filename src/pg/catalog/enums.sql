-- $1 oid: a table. The enums of its columns, also inside arrays and domains, with their labels.
SELECT DISTINCT n.nspname::pg_catalog.text,
       e.typname::pg_catalog.text,
       ARRAY(SELECT l.enumlabel::pg_catalog.text
               FROM pg_catalog.pg_enum l
              WHERE l.enumtypid = e.oid
              ORDER BY l.enumsortorder)
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  JOIN pg_catalog.pg_type e ON e.oid IN (t.oid, t.typelem, t.typbasetype) AND e.typtype = 'e'
  JOIN pg_catalog.pg_namespace n ON n.oid = e.typnamespace
 WHERE a.attrelid = $1
   AND a.attnum > 0
   AND NOT a.attisdropped
 ORDER BY 1, 2
