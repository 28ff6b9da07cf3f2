//! A look at the source every ten seconds, beside the stream: publications, tables, partitions.
//!
//! It compares with what the attempt stands on, and does nothing itself: a difference stops the
//! stream in order, and the next attempt's start does the work, the same as after a restart. What
//! is wrong without stopping anything (a table whose updates do not arrive) becomes a condition on
//! the board, which shows the pipeline as degraded while it streams.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::checkpoint::tables::TableRecord;
use crate::pace;
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::choice::{AsideReason, Choice, Present};
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::membership::{self, Writes};
use crate::pipeline::status::State;

/// Between two looks. A gap is found at most this late; the questions cost a few milliseconds.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// Objects named in one log line.
const NAMED_MAX: usize = 5;

/// What the looks are compared with.
#[derive(Debug)]
pub struct Watch {
    context: Context,
    source: Arc<Client>,
    baseline: Choice,
    records: Vec<TableRecord>,
    owned: Vec<String>,
}

impl Watch {
    pub fn new(
        context: &Context,
        source: &Arc<Client>,
        baseline: Choice,
        records: Vec<TableRecord>,
        owned: Vec<String>,
    ) -> Watch {
        Watch { context: context.clone(), source: Arc::clone(source), baseline, records, owned }
    }

    /// Looks until something has changed, then cancels `stop`. Ends when the set is dropped.
    pub fn start(self, stop: CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.run(stop).in_current_span());
        tasks
    }

    async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(pace::between_looks(WATCH_INTERVAL));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tick.tick().await;
            match self.look().await {
                Ok(differences) if differences.is_empty() => {}
                Ok(differences) => {
                    // As long as nobody has judged it, nothing is known to be well.
                    let reason = "what is published has changed; looking anew";
                    self.context.board.set_state(State::CatchingUp, reason);
                    let named = differences[..differences.len().min(NAMED_MAX)].join(", ");
                    tracing::info!(
                        objects = differences.len(),
                        "what is published has changed ({named}); looking anew"
                    );
                    return stop.cancel();
                }
                // Whether the source is there shows elsewhere; a look that fails is no news.
                Err(error) => {
                    tracing::warn!("could not look at what is published: {}", error.chain());
                }
            }
        }
    }

    async fn look(&self) -> Result<Vec<String>, PipelineError> {
        let present = Present { records: &self.records, owned: &self.owned, is_running: true };
        let choice = Choice::take(&self.source, &self.context.settings, present).await?;
        let differences = self.baseline.differences(&choice);
        if differences.is_empty() {
            let writes = membership::read_writes(&self.source, &choice).await?;
            show_conditions(&self.context, &choice, &self.records, &writes);
        }
        Ok(differences)
    }
}

/// Puts on the board what is wrong beside a stream that goes on, and logs what is new of it.
pub fn show_conditions(
    context: &Context,
    choice: &Choice,
    records: &[TableRecord],
    writes: &Writes,
) {
    let mut conditions: Vec<(QualifiedName, String)> = Vec::new();
    for table in membership::diverged(records, writes) {
        let name = table.sql();
        let text = format!(
            "table {name} has no usable replica identity, and was updated or deleted from since its \
             copy: these changes do not arrive; do: ALTER TABLE {name} REPLICA IDENTITY FULL; then \
             sync-agent resync --table {}",
            table.argument()
        );
        conditions.push((table, text));
    }
    for aside in &choice.aside {
        if let AsideReason::Unpublished { remedy } = &aside.reason {
            let text = format!("table {} is not published; do: {remedy}", aside.table.sql());
            conditions.push((aside.table.clone(), text));
        }
    }
    let texts: BTreeSet<String> = conditions.iter().map(|(_, text)| text.clone()).collect();
    let new = context.board.set_conditions(texts);
    for (table, text) in conditions.iter().filter(|(_, text)| new.contains(text)) {
        tracing::error!(code = Code::E_SCHEMA.as_str(), %table, "{text}");
    }
}
