//! The rules: the file as written to the settings as meant.
//!
//! In: a [`ConfigFile`] of the right shape. Out: [`Settings`], and a problem for each rule that is
//! broken. A broken value is replaced by a stand-in so that the rules behind it are still checked;
//! the settings count only when no problem was found.
//!
//! Rules that need the database (a pattern without a match, a column that is not there) are not
//! here.

mod columns;
mod connection;
mod made;
mod merged;
mod names;
mod not_yet;
mod queries;
mod state_dir;
mod tables;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::document::{Document, Path};
use crate::config::file::{
    ApplyFile, ConfigFile, DestinationFile, FailoverFile, HttpFile, LimitsFile, NewColumnsFile,
    NewTablesFile, OnExistingFile, OnTruncateFile, PartitionsFile, RetainedWalActionFile, Size,
    SnapshotFile, SourceFile,
};
use crate::config::load::Purpose;
use crate::config::pattern::Pattern;
use crate::config::places::Places;
use crate::config::problems::Problems;
use crate::config::secret::Environment;
use crate::config::settings::{
    ApplySettings, DestinationSettings, Failover, HttpSettings, Limits, NewColumns, NewTables,
    OnExisting, OnTruncate, Partitions, RetainedWalAction, Settings, SnapshotSettings,
    SourceSettings, StateSettings,
};
use crate::config::units;

/// The rules at work on one document.
pub(crate) struct Check<'a> {
    pub(crate) document: &'a Document,
    pub(crate) problems: Problems,
    pub(crate) environment: Environment<'a>,
    pub(crate) purpose: Purpose,
}

// === Defaults ===

/// Long enough for a batch to commit on a busy server, short of what supervisors wait (Docker
/// kills after 10 s, Kubernetes after 30).
const SHUTDOWN_GRACE: &str = "10s";
/// Loopback: what the agent shows is for its host until told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9847);
/// Tables with labels of their own; some thirty series each, so about 15,000 series.
const MAX_TABLES: u32 = 500;
/// All buffers together. Half is too small for four copy streams to keep the network busy.
const MEMORY_BYTES: u64 = 64 << 20;
/// Below this a batch, a read buffer and the copy streams do not fit beside each other.
const MEMORY_BYTES_MIN: u64 = 16 << 20;
/// PostgreSQL's own bound on a value is 1 GiB; values near it are refused before they fill memory.
const MAX_VALUE_BYTES: u64 = 256 << 20;
/// COPY streams. One rarely fills the network; more than four cost the source more than they bring.
const WORKERS: u32 = 4;
/// A table's unit of copying and of starting over: a few seconds' work.
const CHUNK_BYTES: u64 = 256 << 20;
/// A batch's bounds: whichever comes first. Larger ones gain little, and are redone when they fail.
const MAX_BATCH_ROWS: u32 = 50_000;
const MAX_BATCH_BYTES: u64 = 16 << 20;
/// How long a batch waits for more work; an idle stream does not wait.
const MAX_BATCH_DELAY: &str = "5ms";

impl Check<'_> {
    /// The settings; `None` only where there is nothing to stand in (a connection string).
    pub(crate) fn settings(&mut self, file: &ConfigFile) -> Option<Settings> {
        self.refuse_what_is_not_built(file);
        let pipeline = self.pipeline(file.pipeline.as_deref());
        let include = self.patterns("include", file.include.as_deref(), &["public.*"]);
        let exclude = self.patterns("exclude", file.exclude.as_deref(), &[]);
        self.overlap(&include, &exclude);
        let source = self.source(file.source.as_ref(), &pipeline);
        let destination = self.destination(file.destination.as_ref());
        if let (Some(source), Some(destination)) = (&source, &destination) {
            self.different_databases(&source.conninfo, &destination.conninfo);
        }
        let mut tables = self.tables(file, &include, &exclude);
        self.merged(&mut tables, destination.as_ref());
        let queries = self.queries(file, destination.as_ref(), &tables);
        let dir = file.state.as_ref().and_then(|state| state.dir.as_deref());
        let grace = file.shutdown_grace.as_deref().unwrap_or(SHUTDOWN_GRACE);
        let settings = Settings {
            shutdown_grace: self.duration(&["shutdown_grace"], grace),
            state: StateSettings { dir: self.state_dir(dir).join(&pipeline) },
            http: self.http(file.http.as_ref()),
            limits: self.limits(file.limits.as_ref()),
            snapshot: self.snapshot(file.snapshot.as_ref()),
            apply: self.apply(file.apply.as_ref()),
            places: Places::of(self.document),
            queries,
            pipeline,
            include,
            exclude,
            source: source?,
            destination: destination?,
            tables,
        };
        Some(settings)
    }

    fn patterns(&mut self, key: &str, list: Option<&[String]>, default: &[&str]) -> Vec<Pattern> {
        let path = Path::of(&[key]);
        let Some(list) = list else {
            return default.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
        };
        if list.is_empty() && key == "include" && !self.may_select_nothing() {
            self.problems.value(&path, "selects no table").hint("Leave it out for \"public.*\".");
        }
        let mut patterns = Vec::new();
        for (index, text) in list.iter().enumerate() {
            match Pattern::parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(err) => {
                    let message = format!("pattern {err}");
                    self.problems.value(&path.index(index), message).hint = err.hint();
                }
            }
        }
        patterns
    }

    /// A pattern in both lists selects nothing: one of the two is a slip.
    fn overlap(&mut self, include: &[Pattern], exclude: &[Pattern]) {
        for (index, pattern) in include.iter().enumerate() {
            if exclude.iter().any(|other| other.same_as(pattern)) {
                let message = format!("pattern \"{pattern}\" is also excluded");
                self.problems.value(&Path::of(&["include"]).index(index), message);
            }
        }
    }

    fn source(&mut self, file: Option<&SourceFile>, pipeline: &str) -> Option<SourceSettings> {
        let nothing = SourceFile::default();
        let file = file.unwrap_or(&nothing);
        let slot = self.slot(file.slot.as_deref(), pipeline);
        let publications = self.publications(file.publication.as_ref(), pipeline);
        let max_retained_wal_bytes = file.max_retained_wal.as_ref().map(|size| {
            self.size(&["source", "max_retained_wal"], Some(size), 0, "Leave it out for no bound.")
        });
        let (conninfo, password) = self.connection(
            "source",
            file.url.as_deref(),
            file.password.as_deref(),
            file.password_command.as_deref(),
        )?;
        Some(SourceSettings {
            conninfo,
            password,
            slot,
            publications,
            publications_named: file.publication.is_some(),
            max_retained_wal_bytes,
            max_retained_wal_action: self.retained_wal_action(file),
            new_tables: match file.new_tables {
                None | Some(NewTablesFile::Add) => NewTables::Add,
                Some(NewTablesFile::Ignore) => NewTables::Ignore,
                Some(NewTablesFile::Halt) => NewTables::Halt,
            },
            failover: match file.failover {
                None | Some(FailoverFile::Auto) => Failover::Auto,
                Some(FailoverFile::On) => Failover::On,
                Some(FailoverFile::Off) => Failover::Off,
            },
            partitions: match file.partitions {
                None | Some(PartitionsFile::Root) => Partitions::Root,
                Some(PartitionsFile::Leaf) => Partitions::Leaf,
            },
        })
    }

    fn retained_wal_action(&mut self, file: &SourceFile) -> RetainedWalAction {
        match file.max_retained_wal_action {
            None | Some(RetainedWalActionFile::Alert) => RetainedWalAction::Alert,
            Some(RetainedWalActionFile::DropSlot) => {
                if file.max_retained_wal.is_none() {
                    let path = Path::of(&["source", "max_retained_wal_action"]);
                    self.problems
                        .value(&path, "\"drop-slot\" needs a bound")
                        .hint("Set max_retained_wal, for example \"20GiB\".");
                }
                RetainedWalAction::DropSlot
            }
        }
    }

    fn destination(&mut self, file: Option<&DestinationFile>) -> Option<DestinationSettings> {
        let nothing = DestinationFile::default();
        let file = file.unwrap_or(&nothing);
        let state_schema = self.state_schema(file.state_schema.as_deref());
        let schemas = self.schemas(file.schemas.as_ref());
        let (conninfo, password) = self.connection(
            "destination",
            file.url.as_deref(),
            file.password.as_deref(),
            file.password_command.as_deref(),
        )?;
        Some(DestinationSettings {
            conninfo,
            password,
            schemas,
            state_schema,
            create_tables: file.create_tables.unwrap_or(true),
            on_existing: file.on_existing.map_or(OnExisting::Refuse, on_existing),
            new_columns: file.new_columns.map_or(NewColumns::Add, new_columns),
            on_truncate: file.on_truncate.map_or(OnTruncate::Truncate, on_truncate),
        })
    }

    fn http(&mut self, file: Option<&HttpFile>) -> HttpSettings {
        let listen = match file.and_then(|file| file.listen.as_deref()) {
            None => Some(LISTEN),
            Some("off") => None,
            Some(text) => {
                let numeric = match text.strip_prefix("localhost:") {
                    Some(port) => format!("127.0.0.1:{port}"),
                    None => text.to_owned(),
                };
                let listen = numeric.parse().ok();
                if listen.is_none() {
                    let message = format!("\"{text}\" is not an address and port");
                    let problem = self.problems.value(&Path::of(&["http", "listen"]), message);
                    problem.hint("Write \"127.0.0.1:9847\", \"0.0.0.0:9847\" or \"off\".");
                }
                listen
            }
        };
        let max_tables = file.and_then(|file| file.max_tables).unwrap_or(MAX_TABLES);
        HttpSettings { listen, max_tables: max_tables as usize }
    }

    fn limits(&mut self, file: Option<&LimitsFile>) -> Limits {
        let memory_path = ["limits", "memory"];
        let memory = file.and_then(|file| file.memory.as_ref());
        let value = file.and_then(|file| file.max_value.as_ref());
        let memory_bytes = self.size(&memory_path, memory, MEMORY_BYTES, "");
        if memory_bytes > 0 && memory_bytes < MEMORY_BYTES_MIN {
            self.problems.value(&Path::of(&memory_path), "must be at least \"16MiB\"");
        }
        let max_value_bytes = self.size(&["limits", "max_value"], value, MAX_VALUE_BYTES, "");
        Limits { memory_bytes, max_value_bytes }
    }

    fn snapshot(&mut self, file: Option<&SnapshotFile>) -> SnapshotSettings {
        let chunk = file.and_then(|file| file.chunk.as_ref());
        let flag = |read: fn(&SnapshotFile) -> Option<bool>| file.and_then(read).unwrap_or(true);
        SnapshotSettings {
            workers: file.and_then(|file| file.workers).unwrap_or(WORKERS) as usize,
            chunk_bytes: self.size(&["snapshot", "chunk"], chunk, CHUNK_BYTES, ""),
            defer_indexes: flag(|file| file.defer_indexes),
            copy_data: flag(|file| file.copy_data),
        }
    }

    fn apply(&mut self, file: Option<&ApplyFile>) -> ApplySettings {
        let rows = file.and_then(|file| file.max_batch_rows).unwrap_or(MAX_BATCH_ROWS);
        let bytes = file.and_then(|file| file.max_batch_bytes.as_ref());
        let delay = file.and_then(|file| file.max_batch_delay.as_deref());
        ApplySettings {
            max_batch_rows: rows as usize,
            max_batch_bytes: self.size(&["apply", "max_batch_bytes"], bytes, MAX_BATCH_BYTES, ""),
            max_batch_delay: self
                .duration(&["apply", "max_batch_delay"], delay.unwrap_or(MAX_BATCH_DELAY)),
        }
    }

    fn duration(&mut self, keys: &[&str], text: &str) -> Duration {
        units::duration(text).unwrap_or_else(|err| {
            self.problems.value(&Path::of(keys), err.to_string()).hint(err.hint());
            Duration::ZERO
        })
    }

    /// A size above zero. `zero_hint` says what to write instead of zero.
    fn size(&mut self, keys: &[&str], size: Option<&Size>, default: u64, zero_hint: &str) -> u64 {
        let path = Path::of(keys);
        let bytes = match size {
            None => return default,
            Some(Size::Bytes(bytes)) => *bytes,
            Some(Size::Text(text)) => match units::size(text) {
                Ok(bytes) => bytes,
                Err(err) => {
                    self.problems.value(&path, err.to_string()).hint(err.hint());
                    return default;
                }
            },
        };
        if bytes == 0 {
            let problem = self.problems.value(&path, "must not be zero");
            if !zero_hint.is_empty() {
                problem.hint(zero_hint);
            }
        }
        bytes
    }
}

// === The words of the file to the words of the settings ===

/// `merge` is refused elsewhere; it stands in as the careful choice.
fn on_existing(file: OnExistingFile) -> OnExisting {
    match file {
        OnExistingFile::Refuse => OnExisting::Refuse,
        OnExistingFile::Merge => OnExisting::Merge,
        OnExistingFile::Truncate => OnExisting::Truncate,
    }
}

fn on_truncate(file: OnTruncateFile) -> OnTruncate {
    match file {
        OnTruncateFile::Truncate => OnTruncate::Truncate,
        OnTruncateFile::Ignore => OnTruncate::Ignore,
        OnTruncateFile::Halt => OnTruncate::Halt,
    }
}

fn new_columns(file: NewColumnsFile) -> NewColumns {
    match file {
        NewColumnsFile::Add => NewColumns::Add,
        NewColumnsFile::Halt => NewColumns::Halt,
    }
}
