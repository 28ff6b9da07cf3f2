-- From state version 1 to 2. {schema} is the quoted state_schema.
ALTER TABLE {schema}.tables
    ADD COLUMN IF NOT EXISTS source_oid oid,
    ADD COLUMN IF NOT EXISTS published  text,
    ADD COLUMN IF NOT EXISTS partitions oid[],
    ADD COLUMN IF NOT EXISTS finished   boolean NOT NULL DEFAULT true,
    ADD COLUMN IF NOT EXISTS source_shape    jsonb,
    ADD COLUMN IF NOT EXISTS destination_oid oid;
-- What operators ask of a running or future agent; whoever may write here may steer.
CREATE TABLE IF NOT EXISTS {schema}.requests (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline     text NOT NULL,
    verb         text NOT NULL,
    tables       text[],
    options      jsonb NOT NULL DEFAULT '{}',
    requested_by text NOT NULL DEFAULT session_user,
    requested_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    taken_at     timestamptz,
    finished_at  timestamptz,
    outcome      text,
    message      text
);
UPDATE {schema}.versions SET version = 2 WHERE component = 'state' AND version = 1;
