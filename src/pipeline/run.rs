//! `run`, without its command line: the local store, the poller, the supervisor.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::checkpoint::Store;
use crate::config::settings::Settings;
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::poll;
use crate::pipeline::status::Board;
use crate::pipeline::supervise::{RunEnd, supervise};

#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Drain to the source's position at the call, then end.
    pub until_caught_up: bool,
    /// Accept tables whose settings shape rows differently from when they were copied.
    pub keep_old_rows: bool,
}

/// Runs the pipeline until `shutdown`, its goal, or an error that nothing here can mend.
pub async fn run(
    settings: Arc<Settings>,
    board: Board,
    options: RunOptions,
    shutdown: CancellationToken,
) -> RunEnd {
    let dir = settings.state.dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&dir)).await;
    let store = match opened {
        Ok(Ok(store)) => Arc::new(store),
        Ok(Err(error)) => {
            return RunEnd::Failed { code: Code::E_IO, error: PipelineError::Store(error) };
        }
        Err(source) => {
            let error = PipelineError::TaskFailed { task: "local store", source };
            return RunEnd::Failed { code: Code::E_IO, error };
        }
    };
    let state_name = settings.pipeline.clone();
    let context = Context::new(settings, board, &state_name);
    let poller = poll::start(context.clone());
    let end = supervise(&context, &store, options, &shutdown).await;
    poller.abort();
    if let Ok(store) = Arc::try_unwrap(store) {
        store.close().await;
    }
    end
}
