//! `run`, without its command line: the local store, the poller, the supervisor.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::checkpoint::Store;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::poll;
use crate::pipeline::pulse;
use crate::pipeline::status::{Board, State};
use crate::pipeline::supervise::{RunEnd, supervise};

#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Drain to the source's position at the call, then end.
    pub until_caught_up: bool,
    /// Accept tables whose settings shape rows differently from when they were copied.
    pub keep_old_rows: bool,
    /// Halted, it stays to be looked at until `shutdown`, and writes nothing.
    pub stays_on_halt: bool,
}

/// Runs the pipeline until `shutdown`, its goal, or an error that nothing here can mend.
pub async fn run(
    settings: Arc<Settings>,
    board: Board,
    options: RunOptions,
    shutdown: CancellationToken,
) -> RunEnd {
    let store = match open_store(&settings).await {
        Ok(store) => Arc::new(store),
        Err(error) => {
            let (code, hint) = (Code::E_IO, error.hint());
            tracing::error!(code = code.as_str(), hint, "{}", error.chain());
            halt(&board, code, &error, options, &shutdown).await;
            return RunEnd::Failed { code, error };
        }
    };
    let state_name = settings.pipeline.clone();
    let context = Context::new(settings, board, &state_name);
    let (at_source, at_destination, mut silences) = pulse::channel();
    let poller = poll::start(context.clone(), at_source);
    let pulse = pulse::start(context.clone(), at_destination);
    let end = supervise(&context, &store, options, &mut silences, &shutdown).await;
    pulse.abort();
    if let Ok(store) = Arc::try_unwrap(store) {
        store.close().await;
    }
    if let RunEnd::Failed { code, error } = &end {
        halt(&context.board, *code, error, options, &shutdown).await;
    }
    poller.abort();
    end
}

async fn open_store(settings: &Settings) -> Result<Store, PipelineError> {
    let dir = settings.state.dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&dir)).await;
    let opened = opened.map_err(|source| PipelineError::TaskFailed { task: "local store", source });
    Ok(opened??)
}

/// The last state. What the slot holds back at the source goes on being shown while it stays.
async fn halt(
    board: &Board,
    code: Code,
    error: &PipelineError,
    options: RunOptions,
    shutdown: &CancellationToken,
) {
    board.set_state(State::Halted, format!("{code}: {}", error.chain()));
    if options.stays_on_halt && !shutdown.is_cancelled() {
        tracing::warn!(code = code.as_str(), "halted; staying to be looked at, until stopped");
        shutdown.cancelled().await;
    }
}
