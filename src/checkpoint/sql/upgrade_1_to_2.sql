-- From state version 1 to 2. {schema} is the quoted state_schema.
ALTER TABLE {schema}.tables
    ADD COLUMN IF NOT EXISTS source_oid oid,
    ADD COLUMN IF NOT EXISTS published  text,
    ADD COLUMN IF NOT EXISTS partitions oid[],
    ADD COLUMN IF NOT EXISTS finished   boolean NOT NULL DEFAULT true;
UPDATE {schema}.versions SET version = 2 WHERE component = 'state' AND version = 1;
