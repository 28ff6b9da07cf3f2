//! `run`: copy what has not been copied, then tail until stopped.

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::cli::args::{OnHalt, RunArgs};
use crate::cli::{exit, progress, signals};
use crate::config::settings::Settings;
use crate::http;
use crate::pipeline::code::Code;
use crate::pipeline::status::{Board, BoardOptions};
use crate::pipeline::{self, RunEnd, RunOptions};

pub(crate) async fn execute(settings: Settings, args: RunArgs) -> ExitCode {
    let span = tracing::info_span!("run", pipeline = settings.pipeline);
    Box::pin(run(Arc::new(settings), args).instrument(span)).await
}

async fn run(settings: Arc<Settings>, args: RunArgs) -> ExitCode {
    let board = Board::new(BoardOptions {
        pipeline: settings.pipeline.clone(),
        max_tables: settings.http.max_tables,
    });
    let shutdown = CancellationToken::new();
    signals::watch(shutdown.clone(), signals::OnFirst::Graceful);
    let served = CancellationToken::new();
    let mut server = None;
    if let Some(address) = settings.http.listen {
        // Before anything is created anywhere: a port in use is a mistake in the configuration.
        let listener = match http::bind(address).await {
            Ok(listener) => listener,
            Err(error) => return exit::failed(Code::E_CONFIG, &error, error.hint()),
        };
        tracing::info!(%address, "serving /metrics, /status and the status page");
        let closed = served.clone().cancelled_owned();
        server = Some(tokio::spawn(http::serve(listener, board.clone(), closed)));
    }
    let options = RunOptions {
        until_caught_up: args.until.is_some(),
        keep_old_rows: args.keep_old_rows,
        stays_on_halt: args.on_halt == OnHalt::Stay,
    };
    if !settings.queries.is_empty() {
        tracing::info!(
            queries = settings.queries.len(),
            "[[query]] sections are left aside: snapshot copies them"
        );
    }
    let shown = progress::show(&board);
    let end = pipeline::run(settings, board.clone(), options, shutdown.clone()).await;
    shown.end().await;
    let code = match end {
        RunEnd::Shutdown => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        RunEnd::CaughtUp => {
            tracing::info!("caught up; the slot is kept");
            ExitCode::SUCCESS
        }
        // Also after a stay: whoever stops it then should still learn why it had halted.
        RunEnd::Failed { code, .. } => ExitCode::from(code.exit_code()),
    };
    served.cancel();
    if let Some(server) = server {
        // Open connections are not waited for: everything they could ask is over.
        server.abort();
    }
    code
}
