-- The agent's own tables at the destination. {schema} is the quoted state_schema.
CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE IF NOT EXISTS {schema}.versions (
    component text PRIMARY KEY,
    version   integer NOT NULL
);
INSERT INTO {schema}.versions VALUES ('state', 3) ON CONFLICT (component) DO NOTHING;

-- One row a pipeline: the truth about what has been applied, and who may apply.
CREATE TABLE IF NOT EXISTS {schema}.checkpoint (
    pipeline                 text PRIMARY KEY,
    applied_lsn              pg_lsn,
    epoch                    bigint NOT NULL DEFAULT 0,
    lease_until              timestamptz NOT NULL DEFAULT '-infinity',
    holder                   text,
    holder_pid               integer,
    holder_started           timestamptz,
    source_system_identifier text NOT NULL,
    timeline                 integer NOT NULL,
    slot                     text,
    owned_publications       text[] NOT NULL DEFAULT '{}',
    commit_lsn               pg_lsn,
    commit_xid               bigint,
    commit_time              timestamptz,
    created_at               timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at               timestamptz NOT NULL DEFAULT pg_catalog.now()
) WITH (fillfactor = 50);

-- One row a table: how far its copy is, and from which position its changes count.
CREATE TABLE IF NOT EXISTS {schema}.tables (
    pipeline           text NOT NULL,
    source_schema      text NOT NULL,
    source_table       text NOT NULL,
    destination_schema text NOT NULL,
    destination_table  text NOT NULL,
    state              text NOT NULL,
    copied_lsn         pg_lsn,
    created            boolean NOT NULL DEFAULT false,
    fingerprint        text NOT NULL,
    known_columns      text[] NOT NULL,
    rows               bigint NOT NULL DEFAULT 0,
    bytes              bigint NOT NULL DEFAULT 0,
    copied_at          timestamptz,
    source_oid         oid,
    published          text,
    partitions         oid[],
    finished           boolean NOT NULL DEFAULT true,
    source_shape       jsonb,
    destination_oid    oid,
    beside             boolean NOT NULL DEFAULT false,
    PRIMARY KEY (pipeline, source_schema, source_table)
);

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
