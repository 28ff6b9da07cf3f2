//! The closed label sets: every value a label can take, so that all of them exist from the start.

/// `state{state}`: what the pipeline is doing.
pub const STATES: [&str; 10] = [
    "starting",
    "waiting",
    "standby",
    "copying",
    "catching_up",
    "streaming",
    "paused",
    "degraded",
    "backoff",
    "halted",
];

/// `table_state{state}`.
pub const TABLE_STATES: [&str; 6] =
    ["pending", "copying", "copied", "catching_up", "ready", "error"];

/// `snapshot_tables{state}`: what the copy still has before it. A table that has been copied stays
/// `copied` here whatever it does afterwards.
pub const COPY_STATES: [&str; 4] = ["pending", "copying", "copied", "error"];

/// `replication_lag_bytes{stage}`.
pub const LAG_STAGES: [&str; 3] = ["received", "applied", "confirmed"];

/// `errors_total{stage}`: the part of the pipeline that met the error.
pub const STAGES: [&str; 6] =
    ["preflight", "source", "snapshot", "apply", "checkpoint", "pipeline"];

/// `errors_total{code}`.
pub const CODES: [&str; 11] = [
    "E_CONFIG",
    "E_PREFLIGHT",
    "E_CONNECT",
    "E_IO",
    "E_SLOT",
    "E_LINEAGE",
    "E_FENCED",
    "E_SCHEMA",
    "E_CONFLICT",
    "E_DATA",
    "E_ACCESS",
];

/// `reconnects_total{side}`.
pub const SIDES: [&str; 2] = ["source", "destination"];

/// `rows_total{op}`.
pub const OPS: [&str; 4] = ["insert", "update", "delete", "truncate"];

/// `conflicts_total{kind}`.
pub const CONFLICT_KINDS: [&str; 4] =
    ["update_missing", "delete_missing", "insert_exists", "suppressed"];

/// `slot_wal_status{status}`, as `pg_replication_slots.wal_status` says it.
pub const WAL_STATUSES: [&str; 4] = ["reserved", "extended", "unreserved", "lost"];

/// The `table` label of every table beyond the limit. No table can be called that: a table's label
/// has its schema and a dot in it.
pub const OTHER_TABLES: &str = "_other";
