-- From state version 2 to 3. {schema} is the quoted state_schema.
ALTER TABLE {schema}.tables
    ADD COLUMN IF NOT EXISTS beside boolean NOT NULL DEFAULT false;
-- The part of a table that a copy has loaded, for copies that are cut off. "part" is the heap that was
-- read (the table or one of its partitions), "file" its file then: rows of another file lie elsewhere.
CREATE TABLE IF NOT EXISTS {schema}.chunks (
    pipeline      text NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    part          oid NOT NULL,
    file          oid NOT NULL,
    first_block   bigint NOT NULL,
    end_block     bigint,
    PRIMARY KEY (pipeline, source_schema, source_table, part, first_block)
);

-- Rows of tables that are loaded in part: an update came for them that did not bring all their values.
-- They are read by their key, as text, when the rest of the table is.
CREATE TABLE IF NOT EXISTS {schema}.missing (
    pipeline      text NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    key           text[] NOT NULL
);

-- The second slot, while tables are copied beside the stream: what of it has been applied.
CREATE TABLE IF NOT EXISTS {schema}.catch_up (
    pipeline    text PRIMARY KEY,
    slot        text NOT NULL,
    applied_lsn pg_lsn,
    commit_lsn  pg_lsn,
    commit_xid  bigint,
    commit_time timestamptz,
    updated_at  timestamptz NOT NULL DEFAULT pg_catalog.now()
);
UPDATE {schema}.versions SET version = 3 WHERE component = 'state' AND version = 2;
