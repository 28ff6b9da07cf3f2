-- Every partition and the table it is a partition of. xmin tells one attachment from the next. A
-- partition that was created as one has columns that were inherited from the start: an attachment
-- rewrites their rows in the catalog, which the rows of system columns never are.
SELECT i.inhrelid,
       i.inhparent,
       i.xmin::pg_catalog.text,
       EXISTS (SELECT FROM pg_catalog.pg_attribute a
                 JOIN pg_catalog.pg_attribute system
                   ON system.attrelid = a.attrelid AND system.attnum = -1
                WHERE a.attrelid = i.inhrelid
                  AND a.attnum > 0
                  AND NOT a.attisdropped
                  AND a.attinhcount > 0
                  AND a.xmin = system.xmin
                  AND a.cmin = system.cmin)
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
 WHERE c.relispartition
   AND c.relkind IN ('r', 'p', 'f')
