//! What every part of a pipeline needs: settings, endpoints, the board.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::row::CheckpointSql;
use crate::config::settings::Settings;
use crate::model::finding::Side;
use crate::pg::client::{self, Client};
use crate::pg::dial::Endpoint;
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::Calculator;
use crate::pipeline::status::{Board, BoardOptions};
use crate::wire::{Hold, Mode, Session};

/// Names of state rows that belong to one-off backfills: a pipeline of the same name may run, too.
pub const SNAPSHOT_SUFFIX: &str = ":snapshot";

/// By what our replication connections are known at the source.
pub const STREAM_PURPOSE: &str = "stream";

#[derive(Clone, Debug)]
pub struct Context {
    pub settings: Arc<Settings>,
    pub board: Board,
    pub source: Endpoint,
    pub destination: Endpoint,
    pub checkpoint: CheckpointSql,
    /// Preflight has passed in this process: what is gone since is no mistake in the settings.
    established: Arc<AtomicBool>,
    /// The slot holds more WAL than it may, and shall go.
    pub too_much_wal: CancellationToken,
    pub calculator: Calculator,
    /// Held by the copy worker that has a large row in hand.
    large_turn: Arc<Semaphore>,
}

impl Context {
    pub fn new(settings: Arc<Settings>, board: Board, state_name: &str) -> Context {
        let source = Endpoint {
            side: Side::Source.label(),
            conninfo: settings.source.conninfo.clone(),
            password: settings.source.password.clone(),
            pipeline: settings.pipeline.clone(),
        };
        let destination = Endpoint {
            side: Side::Destination.label(),
            conninfo: settings.destination.conninfo.clone(),
            password: settings.destination.password.clone(),
            pipeline: settings.pipeline.clone(),
        };
        let checkpoint = CheckpointSql::new(&settings.destination.state_schema, state_name);
        let established = Arc::default();
        let large_turn = Arc::new(Semaphore::new(1));
        let too_much_wal = CancellationToken::new();
        let calculator = Calculator::new(source.clone());
        Context {
            settings,
            calculator,
            board,
            source,
            destination,
            checkpoint,
            established,
            too_much_wal,
            large_turn,
        }
    }

    /// The same for what is copied beside the stream: it does not speak for the pipeline.
    pub fn beside(&self) -> Context {
        Context { board: self.board.beside(), ..self.clone() }
    }

    pub fn is_established(&self) -> bool {
        self.established.load(Ordering::Relaxed)
    }

    pub fn set_established(&self) {
        self.established.store(true, Ordering::Relaxed);
    }

    /// For a verb that ends by itself: nobody reads its board.
    pub fn of_verb(settings: Arc<Settings>) -> Context {
        let board = Board::new(BoardOptions {
            pipeline: settings.pipeline.clone(),
            max_tables: settings.http.max_tables,
        });
        let state_name = settings.pipeline.clone();
        Context::new(settings, board, &state_name)
    }

    pub async fn source_client(&self, purpose: &str) -> Result<Client, PipelineError> {
        let client = client::connect_with(&self.source, purpose, &[WHOLE_ROWS]).await?;
        self.board.source_reached();
        Ok(client)
    }

    pub async fn destination_client(&self, purpose: &str) -> Result<Client, PipelineError> {
        let client = client::connect_with(&self.destination, purpose, DESTINATION_SETTINGS).await?;
        self.board.destination_reached();
        Ok(client)
    }

    /// A destination connection that writes rows.
    pub async fn writing_client(
        &self,
        purpose: &str,
        has_replica_role: bool,
    ) -> Result<Client, PipelineError> {
        let settings = role_settings(has_replica_role, WRITING_SETTINGS);
        Ok(client::connect_with(&self.destination, purpose, &settings).await?)
    }

    /// A raw destination connection for COPY and for building indexes.
    pub async fn copying_session(
        &self,
        purpose: &str,
        has_replica_role: bool,
    ) -> Result<Session, PipelineError> {
        let settings = role_settings(has_replica_role, COPYING_SETTINGS);
        let mut session =
            Session::connect_with(&self.destination, purpose, Mode::Ordinary, &settings).await?;
        let memory = maintenance_memory_sql(self.settings.snapshot.workers);
        let set = session.execute(&memory).await;
        set.map_err(PipelineError::wire(Side::Destination, "giving index builds their memory"))?;
        Ok(session)
    }

    /// A raw source connection for COPY.
    pub async fn reading_session(&self, purpose: &str) -> Result<Session, PipelineError> {
        let mut session =
            Session::connect_with(&self.source, purpose, Mode::Ordinary, &[WHOLE_ROWS]).await?;
        self.bound(&mut session);
        Ok(session)
    }

    pub async fn replication_session(&self) -> Result<Session, PipelineError> {
        let mut session = Session::connect(&self.source, STREAM_PURPOSE, Mode::Replication).await?;
        self.bound(&mut session);
        Ok(session)
    }

    /// What a session that reads rows may hold of them.
    fn bound(&self, session: &mut Session) {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let limits = &self.settings.limits;
        let row_bytes_max = limits.max_value_bytes.saturating_mul(2).max(MESSAGE_BYTES_MIN);
        session.limit_message_bytes(size(row_bytes_max));
        let workers = self.settings.snapshot.workers.max(1) as u64;
        session.hold_at_most(Hold {
            value_bytes_max: size(limits.max_value_bytes),
            large_bytes: size(limits.memory_bytes / workers / LARGE_SHARE),
            turn: Arc::clone(&self.large_turn),
        });
    }
}

/// Row-level security must fail who reads rows, and not thin them out: one that is hidden is not gone.
pub(super) const WHOLE_ROWS: (&str, &str) = ("row_security", "off");

/// What all copy workers hold together in frames that need no turn, as a part of `limits.memory`: a
/// quarter, because the destination's side and what is being read are beside it.
const LARGE_SHARE: u64 = 4;

/// A message holds a row, and a row more than one value.
const MESSAGE_BYTES_MIN: u64 = 64 << 20;

/// Commits of ours are durable whatever the server's or the role's default.
const DESTINATION_SETTINGS: &[(&str, &str)] = &[("synchronous_commit", "on")];

/// What all index builds of a copy may use together for sorting, in bytes. Half of it makes more of them
/// sort on disk; twice as much would surprise small servers.
const MAINTENANCE_BYTES: usize = 1 << 30;

/// What one of them gets at most, in bytes: beyond, sorting gains little.
const MAINTENANCE_BYTES_MAX: usize = 256 << 20;

/// `maintenance_work_mem`, in equal parts for all workers, and not below the server's own.
fn maintenance_memory_sql(worker_count: usize) -> String {
    let kilobytes = (MAINTENANCE_BYTES / worker_count.max(1)).min(MAINTENANCE_BYTES_MAX) / 1024;
    format!(
        "SELECT pg_catalog.set_config('maintenance_work_mem', greatest({kilobytes}, \
         pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')) / 1024)::text, \
         false)"
    )
}

/// For sessions that load whole tables and merge them in whole chunks.
const COPYING_SETTINGS: &[(&str, &str)] =
    &[("jit", "off"), ("temp_buffers", "32MB"), ("work_mem", "32MB")];

/// For sessions that apply changes. A staging table has no statistics: a plan that scans the whole
/// destination table for a small batch must be out of reach, and compiling it is never worth it.
const WRITING_SETTINGS: &[(&str, &str)] = &[
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("temp_buffers", "32MB"),
];

fn role_settings(
    has_replica_role: bool,
    further: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str)> {
    let mut settings = [DESTINATION_SETTINGS, further].concat();
    if has_replica_role {
        settings.push(("session_replication_role", "replica"));
    }
    settings
}
