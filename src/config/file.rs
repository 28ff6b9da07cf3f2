//! The file as written: one field per key, nothing filled in, nothing judged.
//!
//! Every table denies unknown keys. The JSON schema of these types (`sync-agent config-schema`)
//! is also what [`crate::config::schema`] checks a document against, so that a key is declared
//! once, here. A key without a default in its sentence is required or has none.
//!
//! **Invariant:** values may be secrets (expanded `${…}`), so no type here implements `Debug`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration of sync-agent.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    /// Names the slot, the publication and the checkpoint row. Default "default".
    pub(crate) pipeline: Option<String>,
    /// Tables to replicate: SQL-style names, quoted where needed, `*` within a part. Default ["public.*"].
    pub(crate) include: Option<Vec<String>>,
    /// Tables to leave out of `include`. Default [].
    pub(crate) exclude: Option<Vec<String>>,
    /// How long a stopping `run` may take to finish the batch in hand. Default "10s".
    pub(crate) shutdown_grace: Option<String>,
    /// The PostgreSQL that is read.
    #[schemars(required)]
    pub(crate) source: Option<SourceFile>,
    /// The PostgreSQL that is written.
    #[schemars(required)]
    pub(crate) destination: Option<DestinationFile>,
    /// Local state.
    pub(crate) state: Option<StateFile>,
    /// Metrics, health and status.
    pub(crate) http: Option<HttpFile>,
    /// Bounds on memory.
    pub(crate) limits: Option<LimitsFile>,
    /// The copy.
    pub(crate) snapshot: Option<SnapshotFile>,
    /// The tail's writes.
    pub(crate) apply: Option<ApplyFile>,
    /// Settings of one table each.
    pub(crate) table: Option<Vec<TableFile>>,
    /// Query results to copy, for `snapshot` only.
    pub(crate) query: Option<Vec<QueryFile>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceFile {
    /// libpq URL or key=value string.
    #[schemars(required)]
    pub(crate) url: Option<String>,
    /// Overrides the URL's password; needs no escaping.
    pub(crate) password: Option<String>,
    /// A program and its arguments that print the password; run at each connect.
    pub(crate) password_command: Option<Vec<String>>,
    /// The replication slot. Default "sync_agent_<pipeline>".
    pub(crate) slot: Option<String>,
    /// The publication, or a list; created when absent. Default "sync_agent_<pipeline>".
    pub(crate) publication: Option<OneOrMany>,
    /// What happens to a table that appears in an included schema. Default "add": it is copied and followed.
    pub(crate) new_tables: Option<NewTablesFile>,
    /// How much WAL the slot may hold back. Default: no bound.
    pub(crate) max_retained_wal: Option<Size>,
    /// What happens when the slot holds back more. Default "alert".
    pub(crate) max_retained_wal_action: Option<RetainedWalActionFile>,
    /// Whether the slot is a failover slot where the server has them (17+). Default "auto".
    pub(crate) failover: Option<FailoverFile>,
    /// Under which name rows of partitions travel. Default "root".
    pub(crate) partitions: Option<PartitionsFile>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestinationFile {
    /// libpq URL or key=value string.
    #[schemars(required)]
    pub(crate) url: Option<String>,
    /// Overrides the URL's password; needs no escaping.
    pub(crate) password: Option<String>,
    /// A program and its arguments that print the password; run at each connect.
    pub(crate) password_command: Option<Vec<String>>,
    /// Source schema to destination schema; a schema not named keeps its name.
    pub(crate) schemas: Option<BTreeMap<String, String>>,
    /// Where the agent keeps its own tables. Default "sync_agent".
    pub(crate) state_schema: Option<String>,
    /// Create missing tables before their first copy. Default true.
    pub(crate) create_tables: Option<bool>,
    /// Copying into a table that holds rows the agent did not copy. Default "refuse".
    pub(crate) on_existing: Option<OnExistingFile>,
    /// A column that appears at the source. Default "add": it is added at the destination with its existing rows' value.
    pub(crate) new_columns: Option<NewColumnsFile>,
    /// A TRUNCATE at the source. Default "truncate".
    pub(crate) on_truncate: Option<OnTruncateFile>,
    /// A row that the destination rejects. Default "halt".
    pub(crate) on_error: Option<OnErrorFile>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateFile {
    /// The local store's directory; "/<pipeline>" is appended. Default: $STATE_DIRECTORY,
    /// /var/lib/sync-agent if writable, else the user's state directory.
    pub(crate) dir: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpFile {
    /// Address and port, or "off". Default "127.0.0.1:9847".
    pub(crate) listen: Option<String>,
    /// Tables beyond this number share the label "_other" in metrics. Default 500.
    #[schemars(range(min = 1))]
    pub(crate) max_tables: Option<u32>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsFile {
    /// All buffers together, copy and tail; at least "16MiB". Default "64MiB".
    pub(crate) memory: Option<Size>,
    /// The largest single value. Default "256MiB".
    pub(crate) max_value: Option<Size>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotFile {
    /// Parallel COPY streams. Default 4.
    #[schemars(range(min = 1, max = 256))]
    pub(crate) workers: Option<u32>,
    /// Tables larger than this are copied in chunks. Default "256MiB".
    pub(crate) chunk: Option<Size>,
    /// Build keys, indexes and foreign keys of created tables after the load. Default true.
    pub(crate) defer_indexes: Option<bool>,
    /// false: the destination already equals the source at slot creation. Default true.
    pub(crate) copy_data: Option<bool>,
    /// Bytes a second; "0" is unlimited. Default "0".
    pub(crate) max_rate: Option<Size>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyFile {
    /// Rows after which a batch is closed. Default 50000.
    #[schemars(range(min = 1))]
    pub(crate) max_batch_rows: Option<u32>,
    /// Bytes after which a batch is closed. Default "16MiB".
    pub(crate) max_batch_bytes: Option<Size>,
    /// Age at which a batch is closed. Default "5ms".
    pub(crate) max_batch_delay: Option<String>,
    /// Parallel apply lanes. Default 1.
    #[schemars(range(min = 1))]
    pub(crate) lanes: Option<u32>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableFile {
    /// One table, no pattern; must be covered by `include`.
    #[schemars(required)]
    pub(crate) name: Option<String>,
    /// Its name at the destination. Default: the same, through `destination.schemas`.
    pub(crate) destination: Option<String>,
    /// SQL row filter over the source row.
    #[serde(rename = "where")]
    pub(crate) filter: Option<String>,
    /// Source columns that identify a row at the destination. Default: the replica identity.
    pub(crate) key: Option<Vec<String>>,
    /// delete, keep or mark:<column>. Default "delete".
    pub(crate) on_delete: Option<String>,
    /// Columns that `[table.columns]` does not name. Default "pass"; with a masking step, a new
    /// source column halts.
    pub(crate) unlisted: Option<UnlistedFile>,
    /// Overrides `destination.on_existing`.
    pub(crate) on_existing: Option<OnExistingFile>,
    /// Overrides `destination.on_truncate`.
    pub(crate) on_truncate: Option<OnTruncateFile>,
    /// Overrides `destination.on_error`.
    pub(crate) on_error: Option<OnErrorFile>,
    /// Overrides `destination.new_columns`.
    pub(crate) new_columns: Option<NewColumnsFile>,
    /// Overrides `destination.create_tables`.
    pub(crate) create_tables: Option<bool>,
    /// Source column to its step, or a list of steps in order.
    pub(crate) columns: Option<BTreeMap<String, ColumnFile>>,
}

/// One step as an inline table, or several as a list of them.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ColumnFile {
    One(Box<StepFile>),
    Many(Vec<StepFile>),
}

/// One transform step: exactly one kind; `rename` may accompany it, `key` belongs to `hash` and `fake`.
/// An empty table names a column that passes as it is.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepFile {
    /// The column's name at the destination.
    pub(crate) rename: Option<String>,
    /// true: the column is not stored.
    pub(crate) drop: Option<bool>,
    /// A constant.
    pub(crate) value: Option<Scalar>,
    /// true: always NULL.
    pub(crate) null: Option<bool>,
    /// A hash in lower-case hex.
    pub(crate) hash: Option<HashFile>,
    /// The secret of `hash` or `fake`.
    pub(crate) key: Option<String>,
    /// "full", "email" or { keep_first, keep_last, with }.
    pub(crate) mask: Option<MaskFile>,
    /// What matches a regular expression is replaced.
    pub(crate) replace: Option<ReplaceFile>,
    /// true: lower case.
    pub(crate) lower: Option<bool>,
    /// true: white space at both ends is removed.
    pub(crate) trim: Option<bool>,
    /// Paths to remove from a JSON value, as "address.street"; `*` is every key or element.
    pub(crate) json_drop: Option<Vec<String>>,
    /// A made-up value of a kind, always the same for the same input and `key`.
    pub(crate) fake: Option<FakeFile>,
    /// An SQL expression over the source row.
    pub(crate) sql: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplaceFile {
    /// A regular expression.
    #[schemars(required)]
    pub(crate) pattern: Option<String>,
    /// What takes the place of each match; $1 is what the first group matched, $$ a dollar sign.
    #[schemars(required)]
    pub(crate) with: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum MaskFile {
    Named(MaskName),
    Parts(MaskParts),
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MaskName {
    Full,
    Email,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MaskParts {
    /// Characters kept at the start. Default 0.
    pub(crate) keep_first: Option<u32>,
    /// Characters kept at the end. Default 0.
    pub(crate) keep_last: Option<u32>,
    /// The character that stands for each of the others. Default "*".
    pub(crate) with: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryFile {
    /// The query's name in reports and records.
    #[schemars(required)]
    pub(crate) name: Option<String>,
    /// The query, run at the source: one statement that only reads.
    #[schemars(required)]
    pub(crate) sql: Option<String>,
    /// The table at the destination.
    #[schemars(required)]
    pub(crate) destination: Option<String>,
    /// Columns of the result that identify a row.
    pub(crate) key: Option<Vec<String>>,
}

// === values ===

/// A name, or a list of names.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Bytes: a number, or text with a unit ("64MiB"; KB is 1000, KiB is 1024).
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Size {
    Bytes(u64),
    Text(String),
}

/// A constant of any kind that TOML can write without a table.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Scalar {
    Text(String),
    Boolean(bool),
    Integer(i64),
    Float(f64),
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum HashFile {
    #[serde(rename = "sha256")]
    Sha256,
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FakeFile {
    Name,
    FirstName,
    LastName,
    Email,
    Phone,
    Uuid,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NewTablesFile {
    Add,
    Ignore,
    Halt,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RetainedWalActionFile {
    Alert,
    DropSlot,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailoverFile {
    Auto,
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PartitionsFile {
    Root,
    Leaf,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnExistingFile {
    Refuse,
    Truncate,
    Merge,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NewColumnsFile {
    Add,
    Halt,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnTruncateFile {
    Truncate,
    Ignore,
    Halt,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnErrorFile {
    Halt,
    DeadLetter,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UnlistedFile {
    Pass,
    Drop,
    Fail,
}
