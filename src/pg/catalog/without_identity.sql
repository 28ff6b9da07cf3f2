-- $1 oid[]: tables. Those whose updates and deletes cannot be published, of a partitioned table
-- those of its partitions.
SELECT c.oid
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY ($1)
   AND (c.relreplident <> 'f'
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                         WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
                           AND (c.relreplident = 'd' AND i.indisprimary
                                OR c.relreplident = 'i' AND i.indisreplident)))
