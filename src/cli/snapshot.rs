//! `snapshot`: one-off backfill without a slot.

mod report;

use std::process::ExitCode;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::cli::args::SnapshotArgs;
use crate::cli::confirm::confirm;
use crate::cli::{exit, output, progress, signals};
use crate::config::settings::Settings;
use crate::pipeline::backfill::{self, BackfillEnd, BackfillOptions, Unfinished};
use crate::pipeline::status::{Board, BoardOptions};

pub(crate) async fn execute(settings: Settings, args: SnapshotArgs) -> ExitCode {
    if args.restart
        && let Err(refused) = confirm(&what_restart_does(&settings, &args), args.yes.yes)
    {
        return refused;
    }
    let span = tracing::info_span!("snapshot", pipeline = settings.pipeline);
    Box::pin(snapshot(settings, args).instrument(span)).await
}

async fn snapshot(settings: Settings, args: SnapshotArgs) -> ExitCode {
    let board = Board::new(BoardOptions {
        pipeline: settings.pipeline.clone(),
        max_tables: settings.http.max_tables,
    });
    let shutdown = CancellationToken::new();
    let signalled = signals::watch(shutdown.clone(), signals::OnFirst::Graceful);
    let options =
        BackfillOptions { restart: args.restart, only: args.tables.tables, wait: args.retry.wait };
    let pipeline = settings.pipeline.clone();
    let has_queries = !settings.queries.is_empty() && options.only.is_empty();
    let kept = |unfinished| kept(unfinished, has_queries);
    let shown = progress::show(&board);
    let end = Box::pin(backfill::run(Arc::new(settings), board, options, shutdown)).await;
    shown.end().await;
    match end {
        BackfillEnd::Done(report) => {
            output::print(&report::render(&pipeline, &report, args.tables.output.output))
        }
        BackfillEnd::Interrupted(unfinished) => {
            let message = format!("interrupted; {}", kept(unfinished));
            output::failure(None, &message, None);
            tracing::warn!("{message}");
            signalled.exit_code().unwrap_or(ExitCode::from(exit::INTERRUPTED))
        }
        BackfillEnd::Failed { code, error, unfinished } => {
            output::failure(Some(code), &error.chain(), error.hint().as_deref());
            if unfinished.chosen_count > 0 {
                tracing::warn!("not finished; {}", kept(unfinished));
            }
            ExitCode::from(code.exit_code())
        }
    }
}

fn kept(unfinished: Unfinished, has_queries: bool) -> String {
    let what = if has_queries { "tables and queries" } else { "tables" };
    format!(
        "{} of {} {what} are finished and kept; run snapshot again to copy the others",
        unfinished.finished_count, unfinished.chosen_count
    )
}

fn what_restart_does(settings: &Settings, args: &SnapshotArgs) -> String {
    let tables = if args.tables.tables.is_empty() {
        match settings.queries.is_empty() {
            true => "all tables that the settings select".to_owned(),
            false => "all tables and queries of the settings".to_owned(),
        }
    } else {
        let names: Vec<String> = args.tables.tables.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    format!(
        "snapshot --restart copies {tables} again: what earlier snapshots of pipeline \"{}\" copied into {} is emptied or replaced.",
        settings.pipeline,
        settings.destination.conninfo.redacted(),
    )
}
