//! The settings as meant: defaults filled in, units resolved, every rule checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::pattern::Pattern;
use crate::config::places::Places;
use crate::config::replacement::Replacement;
use crate::config::steps::{Fake, JsonPath, Mask};
use crate::pg::conninfo::ConnInfo;
use crate::pg::dial::PasswordSource;
use crate::pg::ident::QualifiedName;

/// Everything a verb needs to know. Built by [`crate::config::load`], never changed after.
#[derive(Clone, Debug)]
pub struct Settings {
    pub pipeline: String,
    pub include: Vec<Pattern>,
    pub exclude: Vec<Pattern>,
    pub shutdown_grace: Duration,
    pub source: SourceSettings,
    pub destination: DestinationSettings,
    pub state: StateSettings,
    pub http: HttpSettings,
    pub limits: Limits,
    pub snapshot: SnapshotSettings,
    pub apply: ApplySettings,
    pub tables: Vec<TableSettings>,
    /// What `snapshot` copies beside tables; `run` leaves it aside.
    pub queries: Vec<QuerySettings>,
    /// Where all of this was written.
    pub places: Places,
}

#[derive(Clone, Debug)]
pub struct SourceSettings {
    pub conninfo: ConnInfo,
    pub password: PasswordSource,
    pub slot: String,
    /// At least one; the first is the one we create when it is absent.
    pub publications: Vec<String>,
    /// Whether the file names the publications (then an absent one is still created).
    pub publications_named: bool,
    pub max_retained_wal_bytes: Option<u64>,
    pub max_retained_wal_action: RetainedWalAction,
    pub new_tables: NewTables,
    pub failover: Failover,
    pub partitions: Partitions,
}

/// Whether the slot is a failover slot, which standbys keep a copy of (version 17 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// Where the server has them.
    Auto,
    On,
    Off,
}

/// Under which name rows of partitions travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitions {
    /// The partitioned table's: it is one table, and its partitions are none.
    Root,
    /// Their own: each partition that holds rows is a table, and what it is a partition of is none.
    Leaf,
}

/// What happens when the slot holds more WAL than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainedWalAction {
    Alert,
    DropSlot,
}

/// A table that appears in an included schema while we run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTables {
    Add,
    Ignore,
    Halt,
}

#[derive(Clone, Debug)]
pub struct DestinationSettings {
    pub conninfo: ConnInfo,
    pub password: PasswordSource,
    /// Source schema → destination schema; a schema not named maps to itself.
    pub schemas: std::collections::BTreeMap<String, String>,
    pub state_schema: String,
    pub create_tables: bool,
    pub on_existing: OnExisting,
    pub new_columns: NewColumns,
    pub on_truncate: OnTruncate,
}

/// A column that appears at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewColumns {
    Add,
    Halt,
}

/// Copying into a table that holds rows we did not copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    Refuse,
    Truncate,
    /// Rows of the source overwrite those of the same key; others stay.
    Merge,
}

/// What a TRUNCATE at the source does at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTruncate {
    Truncate,
    Ignore,
    Halt,
}

/// What a DELETE at the source does at the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    #[default]
    Delete,
    /// Nothing.
    Keep,
    /// The row stays, and this column, which only the destination has, says that it is deleted.
    Mark(String),
}

impl OnDelete {
    /// Whether rows stay that the source has deleted.
    pub fn keeps(&self) -> bool {
        *self != OnDelete::Delete
    }

    pub fn mark(&self) -> Option<&str> {
        match self {
            OnDelete::Mark(column) => Some(column),
            OnDelete::Delete | OnDelete::Keep => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct StateSettings {
    /// The pipeline's own directory (`<dir>/<pipeline>`).
    pub dir: PathBuf,
}

#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `None` is "off".
    pub listen: Option<SocketAddr>,
    pub max_tables: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_bytes: u64,
    pub max_value_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct SnapshotSettings {
    pub workers: usize,
    pub chunk_bytes: u64,
    pub defer_indexes: bool,
    pub copy_data: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct ApplySettings {
    pub max_batch_rows: usize,
    pub max_batch_bytes: u64,
    pub max_batch_delay: Duration,
}

/// One `[[table]]`.
#[derive(Clone, Debug)]
pub struct TableSettings {
    pub name: QualifiedName,
    /// `None`: the same name, through the schema mapping.
    pub destination: Option<QualifiedName>,
    pub on_existing: Option<OnExisting>,
    pub new_columns: Option<NewColumns>,
    pub on_truncate: Option<OnTruncate>,
    pub on_delete: OnDelete,
    pub create_tables: Option<bool>,
    /// What tells its rows from those of other source tables in the same destination table.
    pub apart: Option<Apart>,
    /// Source columns that identify a row at the destination; `None`: the replica identity's.
    pub key: Option<Vec<String>>,
    /// `None`: columns not named pass, but where the table [`is_masked`](Self::is_masked), a
    /// column that is new at the source halts before any of its values leaves our memory.
    pub unlisted: Option<Unlisted>,
    /// SQL row filter over the source row (`where`).
    pub filter: Option<String>,
    pub columns: Vec<ColumnSettings>,
}

/// One `[[query]]`.
#[derive(Clone, Debug)]
pub struct QuerySettings {
    pub name: String,
    /// Without a semicolon at its end.
    pub sql: String,
    pub destination: QualifiedName,
    /// Columns of the result that identify a row; empty where none are named.
    pub key: Vec<String>,
}

/// A column that only the destination has, and that is one and the same in all rows of one source table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// At the destination.
    pub column: String,
    pub value: String,
}

impl Apart {
    /// The columns of a table's settings that could be it: those with nothing but a value.
    pub fn candidates(columns: &[ColumnSettings]) -> impl Iterator<Item = Apart> {
        columns.iter().filter_map(|column| match &column.steps[..] {
            [Step::Value(value)] => Some(Apart {
                column: column.rename.as_ref().unwrap_or(&column.name).clone(),
                value: value.clone(),
            }),
            _ => None,
        })
    }
}

/// What happens to a column that `[table.columns]` does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    Pass,
    Drop,
    Fail,
}

/// One column's steps, in order.
#[derive(Clone, Debug)]
pub struct ColumnSettings {
    /// The source's name.
    pub name: String,
    pub rename: Option<String>,
    pub steps: Vec<Step>,
}

/// One transform step.
#[derive(Clone, Debug)]
pub enum Step {
    Drop,
    /// A constant, as text that the destination's type parses.
    Value(String),
    Null,
    Hash(Hash),
    /// An SQL expression over the source row.
    Sql(String),
    Mask(Mask),
    Replace(Box<Replacement>),
    Lower,
    Trim,
    /// At most [`crate::config::steps::JSON_PATHS_MAX`] paths.
    JsonDrop(Vec<JsonPath>),
    Fake(Fake),
}

#[derive(Clone, Debug)]
pub enum Hash {
    Sha256,
    HmacSha256 { key: secrecy::SecretString },
}

impl TableSettings {
    /// Whether a step keeps values from the destination: then a column that nobody has judged
    /// yet must not travel (unless `unlisted` decides it).
    pub fn is_masked(&self) -> bool {
        self.columns.iter().flat_map(|column| &column.steps).any(|step| match step {
            Step::Drop | Step::Null | Step::Hash(_) | Step::Mask(_) => true,
            Step::Replace(_) | Step::JsonDrop(_) | Step::Fake(_) => true,
            Step::Value(_) | Step::Lower | Step::Trim | Step::Sql(_) => false,
        })
    }

    /// Whether the server has to compute anything for the table's rows.
    pub fn has_expressions(&self) -> bool {
        let is_sql = |step: &Step| matches!(step, Step::Sql(_));
        self.filter.is_some() || self.columns.iter().any(|column| column.steps.iter().any(is_sql))
    }

    /// Whether a column that is new at the source, and not named here, halts the pipeline.
    pub fn halts_on_new_column(&self) -> bool {
        match self.unlisted {
            Some(Unlisted::Fail) => true,
            Some(Unlisted::Pass | Unlisted::Drop) => false,
            None => self.is_masked(),
        }
    }
}

impl Settings {
    /// The destination's name of a source table.
    pub fn destination_name(&self, source: &QualifiedName) -> QualifiedName {
        if let Some(name) = self.table(source).and_then(|table| table.destination.clone()) {
            return name;
        }
        let schema = self.destination.schemas.get(&source.schema).unwrap_or(&source.schema);
        QualifiedName::new(schema.clone(), source.name.clone())
    }

    pub fn table(&self, source: &QualifiedName) -> Option<&TableSettings> {
        self.tables.iter().find(|table| &table.name == source)
    }

    /// Whether `include` and `exclude` select the table. The state schema and the server's own
    /// schemas never are.
    pub fn selects(&self, table: &QualifiedName) -> bool {
        !self.is_excluded(table) && self.include.iter().any(|pattern| pattern.matches(table))
    }

    /// The same for a partition that is a table of its own: what selects a table `above` it selects
    /// the partition, too, unless it is excluded itself.
    pub fn selects_below<'a>(
        &self,
        partition: &QualifiedName,
        mut above: impl Iterator<Item = &'a QualifiedName>,
    ) -> bool {
        self.selects(partition)
            || !self.is_excluded(partition) && above.any(|table| self.selects(table))
    }

    fn is_excluded(&self, table: &QualifiedName) -> bool {
        table.schema == self.destination.state_schema
            || table.schema.starts_with("pg_")
            || table.schema == "information_schema"
            || self.exclude.iter().any(|pattern| pattern.matches(table))
    }

    pub fn on_existing(&self, source: &QualifiedName) -> OnExisting {
        self.table(source).and_then(|t| t.on_existing).unwrap_or(self.destination.on_existing)
    }

    pub fn on_truncate(&self, source: &QualifiedName) -> OnTruncate {
        let table = self.table(source);
        if let Some(on_truncate) = table.and_then(|table| table.on_truncate) {
            return on_truncate;
        }
        match self.destination.on_truncate {
            // Where deleted rows stay, those of a TRUNCATE do.
            OnTruncate::Truncate if self.keeps_deleted(source) => OnTruncate::Ignore,
            on_truncate => on_truncate,
        }
    }

    /// Whether rows stay at the destination that the source has deleted.
    pub fn keeps_deleted(&self, source: &QualifiedName) -> bool {
        self.table(source).is_some_and(|table| table.on_delete.keeps())
    }

    pub fn new_columns(&self, source: &QualifiedName) -> NewColumns {
        self.table(source).and_then(|t| t.new_columns).unwrap_or(self.destination.new_columns)
    }

    pub fn create_tables(&self, source: &QualifiedName) -> bool {
        self.table(source).and_then(|t| t.create_tables).unwrap_or(self.destination.create_tables)
    }
}
