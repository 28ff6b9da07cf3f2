//! Changes on their way into batches, in order, some of which the source has to compute first.
//!
//! ```text
//!   begin, change, …, commit ──► (nothing open) ─────────────────────► batcher
//!                                (a change is open: it and all after it wait)
//!                                    │ end of a turn, or enough of them
//!                                    ▼
//!                                 settle: one question a table and 256 rows ──► batcher
//! ```
//!
//! A table without expressions pays one comparison a change.
//!
//! **Invariant:** what waits is in the order in which it came, and nothing goes to the batcher past it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::batch::{Batcher, FoldPolicy, Limits};
use crate::model::change::{Begin, Change, Commit};
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::{Calculator, ComputeError};
use crate::pipeline::stream_tables::{Followed, StreamTable, Taken};
use crate::transform::{Inputs, OpenChange, Outcome};

#[derive(Debug)]
pub(super) struct Intake {
    batcher: Batcher,
    calculator: Calculator,
    /// The stream's values are in binary.
    is_binary: bool,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    waiting_bytes_max: usize,
}

/// One event behind the first open change.
#[derive(Debug)]
enum Waiting {
    Begin(Begin),
    Ready { change: Change, policy: FoldPolicy, held_bytes: usize },
    Open { table: Arc<StreamTable>, change: OpenChange, held_bytes: usize, begun: Begin },
    Commit { commit: Commit, is_alone: bool },
}

impl Intake {
    pub(super) fn new(limits: Limits, calculator: Calculator, is_binary: bool) -> Intake {
        Intake {
            batcher: Batcher::new(limits),
            calculator,
            is_binary,
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_bytes_max: limits.memory_bytes_max,
        }
    }

    pub(super) fn batcher(&self) -> &Batcher {
        &self.batcher
    }

    pub(super) fn batcher_mut(&mut self) -> &mut Batcher {
        &mut self.batcher
    }

    /// Nothing received waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.batcher.is_empty()
    }

    /// It must be settled before more is taken.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes > self.waiting_bytes_max
    }

    pub(super) fn is_open(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn begin(&mut self, begin: Begin) {
        self.take(Waiting::Begin(begin), 0);
    }

    pub(super) fn push(&mut self, change: Change, policy: FoldPolicy) {
        self.take(Waiting::Ready { change, policy, held_bytes: 0 }, 0);
    }

    /// A change of a table; `held_bytes`: what it keeps in memory.
    pub(super) fn take_row(
        &mut self,
        table: &Arc<StreamTable>,
        taken: Taken,
        held_bytes: usize,
        begun: Begin,
    ) {
        match taken {
            Taken::Ready(change, policy) => {
                // Rows of many NULLs are larger here than on their way.
                let bytes = match &change {
                    Change::Row { change, .. } if self.is_open() => change.memory_bytes(),
                    _ => 0,
                };
                let event = Waiting::Ready { change, policy, held_bytes };
                self.take(event, held_bytes.max(bytes));
            }
            Taken::Open(change) => {
                let bytes = held_bytes.max(change.memory_bytes());
                let table = Arc::clone(table);
                self.waiting.push(Waiting::Open { table, change, held_bytes, begun });
                self.waiting_bytes += bytes;
            }
        }
    }

    /// `is_alone`: no other commit may be in its batch.
    pub(super) fn commit(&mut self, commit: Commit, is_alone: bool) {
        self.take(Waiting::Commit { commit, is_alone }, 0);
    }

    fn take(&mut self, event: Waiting, bytes: usize) {
        match self.is_open() {
            true => {
                self.waiting.push(event);
                self.waiting_bytes += bytes;
            }
            false => put(&mut self.batcher, event),
        }
    }

    /// Has the open changes computed, and hands everything on. Of a row that cannot be computed all
    /// before it is handed on.
    pub(super) async fn settle(&mut self) -> Result<(), PipelineError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let (outcomes, failed) = self.outcomes(&waiting).await?;
        let mut outcomes = outcomes.into_iter();
        for (place, event) in waiting.into_iter().enumerate() {
            if let Some((_, message)) = failed.as_ref().filter(|(failed, _)| *failed == place) {
                return Err(refused(&event, message));
            }
            match event {
                Waiting::Open { table, change, held_bytes, begun } => {
                    let outcomes =
                        outcomes.next().ok_or(PipelineError::Answer { found: 0, expected: 1 })?;
                    let outcomes = outcomes.into_iter();
                    if let Some((change, policy)) = table.settle(change, outcomes, begun)? {
                        self.batcher.push_holding(change, policy, held_bytes);
                    }
                }
                ready => put(&mut self.batcher, ready),
            }
        }
        Ok(())
    }

    /// The outcomes of each open change, in order; and the first of `waiting` that has none, with the
    /// reason.
    async fn outcomes(
        &self,
        waiting: &[Waiting],
    ) -> Result<(Vec<Vec<Outcome>>, Option<(usize, String)>), PipelineError> {
        let mut tables: HashMap<*const StreamTable, Asked<'_>> = HashMap::new();
        let mut open_count = 0;
        for (place, event) in waiting.iter().enumerate() {
            let Waiting::Open { table, change, .. } = event else { continue };
            let asked = tables.entry(Arc::as_ptr(table)).or_insert_with(|| Asked::of(table));
            asked.rows.extend(change.inputs().map(|inputs| (place, open_count, inputs)));
            open_count += 1;
        }
        let mut outcomes = vec![Vec::new(); open_count];
        let mut failed: Option<(usize, String)> = None;
        for asked in tables.into_values() {
            let Some(program) = asked.table.and_then(Followed::program) else { continue };
            let rows: Vec<&Inputs> = asked.rows.iter().map(|(.., inputs)| *inputs).collect();
            match self.calculator.compute(program, &rows, self.is_binary).await {
                Ok(computed) => {
                    for ((_, open, _), outcome) in asked.rows.iter().zip(computed) {
                        outcomes[*open].push(outcome);
                    }
                }
                Err(ComputeError::Row { index, message }) => {
                    let place = asked.rows[index].0;
                    // What came before it is applied, so it is computed again without what follows.
                    if failed.as_ref().is_none_or(|(known, _)| place < *known) {
                        failed = Some((place, message));
                    }
                }
                Err(ComputeError::Pipeline(error)) => return Err(error),
            }
        }
        match failed {
            None => Ok((outcomes, None)),
            Some((place, _))
                if waiting[..place].iter().any(|w| matches!(w, Waiting::Open { .. })) =>
            {
                let (outcomes, earlier) = Box::pin(self.outcomes(&waiting[..place])).await?;
                Ok((outcomes, earlier.or(failed)))
            }
            Some(_) => Ok((Vec::new(), failed)),
        }
    }
}

/// The open rows of one table: where each waits, which open change it is of, what it gives.
struct Asked<'a> {
    table: Option<&'a Followed>,
    rows: Vec<(usize, usize, &'a Inputs)>,
}

impl<'a> Asked<'a> {
    fn of(table: &'a StreamTable) -> Asked<'a> {
        Asked { table: table.followed(), rows: Vec::new() }
    }
}

fn put(batcher: &mut Batcher, event: Waiting) {
    match event {
        Waiting::Begin(begin) => batcher.begin(begin),
        Waiting::Ready { change, policy, held_bytes } => {
            batcher.push_holding(change, policy, held_bytes);
        }
        Waiting::Commit { commit, is_alone } => {
            batcher.commit(commit, Instant::now());
            if is_alone {
                batcher.close();
            }
        }
        Waiting::Open { .. } => unreachable!("an open change is settled, not put"),
    }
}

fn refused(event: &Waiting, message: &str) -> PipelineError {
    match event {
        Waiting::Open { table, begun, .. } => table.data_error(message, begun.commit_lsn),
        _ => PipelineError::TaskEnded { task: "calculator" },
    }
}
