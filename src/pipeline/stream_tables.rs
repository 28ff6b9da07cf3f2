//! The tables of one stream: what happens to each one's changes.
//!
//! A table is judged and planned when its description first arrives, and judged again whenever it
//! arrives again: the server repeats it when something about the table has changed, be it something
//! that a description does not tell. A table that the publication has and the settings do not select
//! is left aside, and so is one that is gone from the source.
//!
//! **Invariant:** a change of a table counts only from the table's own consistent point on:
//! transactions whose commit record starts before it are in the table's copy.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::apply::ApplyError;
use crate::apply::conflicts::ConflictKind;
use crate::apply::reread::RereadError;
use crate::apply::targets::Targets;
use crate::batch::FoldPolicy;
use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::config::settings::OnTruncate;
use crate::model::change::{Begin, Change, OldRow, Op, RowChange, Truncate};
use crate::model::finding::Side;
use crate::model::row::Row;
use crate::model::table::{Table, TableId};
use crate::pg::catalog::shapes::{self, TableShape};
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::drift::decide::{Case, Decision, Sight, decide, resync_text};
use crate::pipeline::drift::judge::{first_look, judge};
use crate::pipeline::drift::renamed::{self, RENAMED};
use crate::pipeline::drift::{Follow, Looks};
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::Calculator;
use crate::pipeline::planner::{Planner, TablePlan};
use crate::pipeline::reread::Rereader;
use crate::pipeline::visible::become_visible;
use crate::transform::{Mark, OpenChange, Outcome, Program, TransformError, TransformPlan};

/// Source names by table, for whoever counts. Filled as tables appear.
#[derive(Clone, Debug, Default)]
pub struct SourceNames(Arc<RwLock<HashMap<TableId, Counted>>>);

#[derive(Clone, Debug)]
struct Counted {
    name: QualifiedName,
    /// A filter looks at new rows alone: those that come in are missing at the destination, and those that
    /// stay out are, too.
    expects_missing: bool,
}

impl SourceNames {
    fn insert(&self, table: TableId, counted: Counted) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(table, counted);
    }

    pub fn of(&self, table: TableId) -> Option<QualifiedName> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&table).map(|counted| counted.name.clone())
    }

    /// The table's name where a row of it was not as the stream said; none where the stream said nothing
    /// of what was to be found.
    pub fn of_conflict(&self, table: TableId, kind: ConflictKind) -> Option<QualifiedName> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let counted = known.get(&table)?;
        let is_missing = matches!(kind, ConflictKind::UpdateMissing | ConflictKind::DeleteMissing);
        (!is_missing || !counted.expects_missing).then(|| counted.name.clone())
    }
}

/// What happens to one table's changes.
#[derive(Debug)]
pub enum StreamTable {
    /// Published, not selected.
    Ignored,
    /// Transactions before this position are in the table's copy. What they say of its columns is
    /// from before the copy, too, and means nothing.
    Copied {
        copied_lsn: Lsn,
    },
    Followed(Box<Followed>),
}

#[derive(Debug)]
pub struct Followed {
    source: QualifiedName,
    transform: Arc<TransformPlan>,
    policy: FoldPolicy,
    copied_lsn: Lsn,
    on_truncate: OnTruncate,
    on_delete: Deletes,
}

/// What a DELETE becomes.
#[derive(Clone, Copy, Debug)]
enum Deletes {
    Followed,
    Left,
    Marked(Mark),
}

impl StreamTable {
    /// A new row some of whose values were not sent, and that counts: they have to be read.
    pub fn needs_values(&self, change: &RowChange, commit_lsn: Lsn) -> bool {
        let StreamTable::Followed(table) = self else { return false };
        let is_open = match change {
            RowChange::Insert { new } => !new.is_complete(),
            RowChange::Update { new, .. } => {
                !new.is_complete() && table.transform.needs_reading(new)
            }
            RowChange::Delete { .. } | RowChange::Mark { .. } => false,
        };
        is_open && commit_lsn >= table.copied_lsn
    }

    /// The change as the destination gets it, or as far as the agent makes it; none where it does not
    /// count.
    pub fn take(&self, change: RowChange, begun: Begin) -> Result<Option<Taken>, PipelineError> {
        let commit_lsn = begun.commit_lsn;
        let StreamTable::Followed(table) = self else { return Ok(None) };
        if commit_lsn < table.copied_lsn {
            return Ok(None);
        }
        let refused = |error: TransformError| self.data_error(&error.to_string(), commit_lsn);
        if table.transform.program().is_some() {
            return table.transform.open(change).map(Taken::Open).map(Some).map_err(refused);
        }
        let change = table.transform.apply(change).map_err(refused)?;
        let (change, policy) = table.row(change, begun);
        Ok(Some(Taken::Ready(change, policy)))
    }

    /// An open change with its outcomes, as the destination gets it; none where its row is not
    /// replicated.
    pub fn settle(
        &self,
        change: OpenChange,
        outcomes: impl Iterator<Item = Outcome>,
        begun: Begin,
    ) -> Result<Option<(Change, FoldPolicy)>, PipelineError> {
        let StreamTable::Followed(table) = self else { return Ok(None) };
        let settled = table.transform.settle(change, outcomes);
        let refused = |error: TransformError| self.data_error(&error.to_string(), begun.commit_lsn);
        Ok(settled.map_err(refused)?.map(|change| table.row(change, begun)))
    }

    pub fn followed(&self) -> Option<&Followed> {
        match self {
            StreamTable::Followed(table) => Some(table),
            StreamTable::Ignored | StreamTable::Copied { .. } => None,
        }
    }

    /// A row of the table did not go through its transform.
    pub fn data_error(&self, message: &str, commit_lsn: Lsn) -> PipelineError {
        let followed = self.followed();
        let table = followed.map(|table| table.source.clone());
        PipelineError::Data {
            table: table.unwrap_or_else(|| QualifiedName::new("", "")),
            key: followed.map_or_else(Vec::new, |table| table.transform.source_key()),
            message: message.to_owned(),
            lsn: Some(commit_lsn),
        }
    }
}

impl Followed {
    pub fn program(&self) -> Option<&Arc<Program>> {
        self.transform.program()
    }

    fn row(&self, change: RowChange, begun: Begin) -> (Change, FoldPolicy) {
        let table = Arc::clone(self.transform.table());
        let change = match (change, self.on_delete) {
            (RowChange::Delete { .. }, Deletes::Left) => Change::Left { table, op: Op::Delete },
            (RowChange::Delete { old }, Deletes::Marked(mark)) => {
                let row = self.transform.marked(mark, &old, begun.commit_time);
                Change::Row { table, change: RowChange::Mark { row } }
            }
            (change, _) => Change::Row { table, change },
        };
        (change, self.policy)
    }
}

/// A change that counts.
#[derive(Debug)]
pub enum Taken {
    Ready(Change, FoldPolicy),
    /// The source has to compute something of it.
    Open(OpenChange),
}

/// What a TRUNCATE becomes.
#[derive(Debug)]
pub struct Truncated {
    /// Of the tables that are emptied.
    pub change: Option<(Change, FoldPolicy)>,
    /// Tables that keep their rows (`on_truncate`), by the source's names.
    pub ignored: Vec<QualifiedName>,
}

/// What a description came to.
#[derive(Debug)]
pub enum Resolution {
    Known(Arc<StreamTable>),
    /// The stream has to begin anew for it.
    Restart(Restart),
}

/// What is to be done between two streams, once all before is applied.
#[derive(Debug)]
pub enum Restart {
    /// The destination follows the source's change.
    Follow(Box<Follow>),
    /// A column does not travel in binary: from the transaction at this position on, as text.
    AsText { commit_lsn: Lsn },
    /// Nothing: with all before applied, the table is judged again.
    LookAgain,
}

/// Which tables' changes count in a stream.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The second slot's stream: those that are copied beside the first.
    pub is_beside: bool,
    /// Tables that are loaded in part, each with the head of the statement that writes down the key of a
    /// row which it lacks.
    pub partial: HashMap<QualifiedName, String>,
}

impl Scope {
    pub fn has(&self, record: &TableRecord) -> bool {
        match record.state {
            CopyState::Copied => !self.is_beside,
            CopyState::CatchingUp => self.is_beside,
            CopyState::Copying | CopyState::Replacing | CopyState::Merging => {
                self.partial.contains_key(&record.source)
            }
        }
    }
}

/// The tables of one stream.
#[derive(Debug)]
pub struct StreamTables {
    planner: Planner,
    scope: Scope,
    targets: Targets,
    rereader: Rereader,
    names: SourceNames,
    looks: Looks,
    is_binary: bool,
    /// The first transaction of this stream: all before is applied.
    first_commit_lsn: Option<Lsn>,
    /// The transaction that is being received.
    xid: u32,
    known: HashMap<TableId, (Arc<Table>, Arc<StreamTable>)>,
}

impl StreamTables {
    pub fn new(
        planner: Planner,
        scope: Scope,
        (targets, rereader): (Targets, Rereader),
        looks: Looks,
        is_binary: bool,
    ) -> StreamTables {
        StreamTables {
            planner,
            scope,
            targets,
            rereader,
            names: SourceNames::default(),
            looks,
            is_binary,
            first_commit_lsn: None,
            xid: 0,
            known: HashMap::new(),
        }
    }

    /// A transaction begins.
    pub fn begin(&mut self, begin: Begin) {
        self.first_commit_lsn.get_or_insert(begin.commit_lsn);
        self.xid = begin.xid;
    }

    /// What computes, and whether values of the stream are in binary.
    pub fn calculation(&self) -> (Calculator, bool) {
        (self.planner.calculator().clone(), self.is_binary)
    }

    pub fn names(&self) -> SourceNames {
        self.names.clone()
    }

    /// Source names of the tables that are followed.
    pub fn followed(&self) -> Vec<QualifiedName> {
        let records = self.planner.records().filter(|record| self.scope.has(record));
        records.map(|record| record.source.clone()).collect()
    }

    /// The plan of a table as described, if it was made already. A description that was sent again
    /// is another `Arc`, whatever it says.
    pub fn known(&self, table: &Arc<Table>, commit_lsn: Lsn) -> Option<Arc<StreamTable>> {
        let (described, known) = self.known.get(&table.id)?;
        let is_over = |known: &StreamTable| matches!(known, StreamTable::Copied { copied_lsn } if commit_lsn >= *copied_lsn);
        (Arc::ptr_eq(described, table) && !is_over(known)).then(|| Arc::clone(known))
    }

    /// Judges and plans a table that is described for the first time, or again.
    pub async fn resolve(
        &mut self,
        table: &Arc<Table>,
        commit_lsn: Lsn,
    ) -> Result<Resolution, PipelineError> {
        let resolved = self.judge(table, commit_lsn).await;
        let resolved = resolved.map_err(|error| at_commit(error, commit_lsn))?;
        if let Resolution::Known(known) = &resolved {
            self.known.insert(table.id, (Arc::clone(table), Arc::clone(known)));
        }
        Ok(resolved)
    }

    async fn judge(
        &mut self,
        table: &Arc<Table>,
        commit_lsn: Lsn,
    ) -> Result<Resolution, PipelineError> {
        let ignored = || Ok(Resolution::Known(Arc::new(StreamTable::Ignored)));
        let Some(record) = self.record(table) else {
            tracing::debug!(table = %table.name, "published but not selected: left aside");
            return ignored();
        };
        if !self.scope.has(&record) {
            tracing::debug!(table = %table.name, "its copy has these changes, or another stream");
            return ignored();
        }
        if let Some(copied_lsn) = record.copied_lsn.filter(|copied_lsn| commit_lsn < *copied_lsn) {
            return Ok(Resolution::Known(Arc::new(StreamTable::Copied { copied_lsn })));
        }
        if record.source_oid == Some(RENAMED) {
            return ignored();
        }
        if record.source != table.name {
            let mark = renamed::mark(&record, &table.name);
            return Ok(Resolution::Restart(Restart::Follow(Box::new(mark))));
        }
        if record.source_oid.is_some_and(|oid| oid != table.id.0) {
            let message = "is another table than the one that was copied: it was dropped or renamed, and made anew under its name";
            return Err(schema_error(&table.name, resync_text(&table.name, message)));
        }
        self.wait_until_visible(table).await?;
        let shapes = shapes::shapes(self.planner.source(), &[table.id.0]).await;
        let shapes = shapes.map_err(PipelineError::catalog(Side::Source))?;
        let Some(present) = shapes.get(&table.id.0) else { return ignored_as_gone(table) };
        let known = known_shape(&record, present, &self.looks, commit_lsn);
        let drift = judge(&known, &table.columns, present);
        if drift.is_none()
            && let Some((described, plan)) = self.known.get(&table.id)
            && described == table
            && matches!(**plan, StreamTable::Followed(_))
        {
            return Ok(Resolution::Known(Arc::clone(plan)));
        }
        if !drift.is_none() {
            self.planner.look_again(table.id);
        }
        let Some(outline) = self.planner.outline(table).await? else {
            return ignored_as_gone(table);
        };
        if !drift.is_none() {
            let case = Case {
                settings: self.planner.settings(),
                source: self.planner.source(),
                destination: self.planner.destination(),
                record: &record,
                known: &known,
                outline: &outline,
                drift: &drift,
                sight: self.sight(table.id, commit_lsn),
            };
            match decide(case).await? {
                Decision::GoOn => {}
                Decision::Follow(follow) => {
                    return Ok(Resolution::Restart(Restart::Follow(follow)));
                }
                Decision::LookAgain => return Ok(Resolution::Restart(Restart::LookAgain)),
            }
        }
        let plan = self.planner.plan_outlined(&table.name, outline)?;
        if self.is_binary && !plan.is_stream_binary {
            return Ok(Resolution::Restart(Restart::AsText { commit_lsn }));
        }
        Ok(Resolution::Known(Arc::new(self.follow(table, &record, plan))))
    }

    /// A catalog without what the transaction did to the table would be older than the description, and
    /// all is judged as if it were younger.
    async fn wait_until_visible(&self, table: &Arc<Table>) -> Result<(), PipelineError> {
        let shown = become_visible(self.planner.source(), &[self.xid]).await;
        if shown.map_err(PipelineError::catalog(Side::Source))? {
            return Ok(());
        }
        let message = "was described by a transaction whose commit the source does not show yet: does it wait for a synchronous standby?";
        Err(schema_error(&table.name, message.to_owned()))
    }

    /// The record of the table's name, or else of the table under another name; none for one that is
    /// not selected.
    fn record(&self, table: &Arc<Table>) -> Option<TableRecord> {
        let of_name = self.planner.record(&table.name);
        let of_table = || {
            let mut records = self.planner.records();
            records.find(|record| record.source_oid == Some(table.id.0))
        };
        of_name.or_else(of_table).cloned()
    }

    fn sight(&self, table: TableId, commit_lsn: Lsn) -> Sight {
        let was_followed = self
            .known
            .get(&table)
            .is_some_and(|(_, known)| matches!(**known, StreamTable::Followed(_)));
        match was_followed {
            false => Sight::First,
            true if self.first_commit_lsn == Some(commit_lsn) => Sight::SameTransaction,
            true => Sight::Later,
        }
    }

    fn follow(&mut self, table: &Arc<Table>, record: &TableRecord, plan: TablePlan) -> StreamTable {
        let TablePlan { transform, mut target, source_equalities, .. } = plan;
        if let Some(remember) = self.scope.partial.get(&table.name) {
            target = target.into_partial(remember.clone());
        }
        let is_filtered = transform.program().is_some_and(|program| program.has_filter());
        let name = table.name.clone();
        // Without a key each change is what it means.
        let expects_missing = is_filtered && transform.table().has_key();
        self.names.insert(table.id, Counted { name, expects_missing });
        let policy = target.policy;
        self.targets.register(Arc::clone(transform.table()), Arc::new(target));
        self.rereader.register(Arc::clone(&transform), source_equalities);
        let on_delete = match transform.mark() {
            Some(mark) => Deletes::Marked(mark),
            None if self.planner.settings().keeps_deleted(&table.name) => Deletes::Left,
            None => Deletes::Followed,
        };
        StreamTable::Followed(Box::new(Followed {
            source: table.name.clone(),
            transform,
            policy,
            copied_lsn: record.copied_lsn.unwrap_or(Lsn::ZERO),
            on_truncate: self.planner.settings().on_truncate(&table.name),
            on_delete,
        }))
    }

    /// Reads what was not sent of a new row. Of one that is gone from the source by now the stream says
    /// later what became of it; until then the destination's row is to stand in nobody's way, with the key
    /// and the unique values that it had before.
    pub async fn complete(
        &self,
        table: &Arc<Table>,
        followed: &StreamTable,
        mut change: RowChange,
    ) -> Result<Option<RowChange>, PipelineError> {
        let (RowChange::Insert { new } | RowChange::Update { new, .. }) = &mut change else {
            return Ok(Some(change));
        };
        let is_there = self.rereader.complete(table, new, &[self.xid]).await;
        if is_there.map_err(|error| reread_error(&table.name, error))? {
            return Ok(Some(change));
        }
        let is_open = |new: &Row| {
            let followed = followed.followed();
            followed.is_some_and(|followed| followed.transform.is_filter_open(new))
        };
        Ok(match change {
            RowChange::Update { old: Some(old), .. } => Some(RowChange::Delete { old }),
            // Nobody can say any more whether it passed.
            RowChange::Update { old: None, new } if is_open(&new) => {
                Some(RowChange::Delete { old: OldRow::Identity(new) })
            }
            update @ RowChange::Update { .. } => Some(update),
            RowChange::Insert { .. } | RowChange::Delete { .. } | RowChange::Mark { .. } => None,
        })
    }

    /// What a TRUNCATE of tables that are all known becomes.
    pub fn truncate(
        &self,
        truncate: Truncate,
        commit_lsn: Lsn,
    ) -> Result<Truncated, PipelineError> {
        let mut tables = Vec::with_capacity(truncate.tables.len());
        let mut policy = FoldPolicy::Fold;
        let mut ignored = Vec::new();
        for table in &truncate.tables {
            let Some(known) = self.known(table, commit_lsn) else { continue };
            let StreamTable::Followed(followed) = &*known else { continue };
            if commit_lsn < followed.copied_lsn {
                continue;
            }
            match followed.on_truncate {
                OnTruncate::Ignore => {
                    tracing::info!(table = %followed.source, lsn = %commit_lsn, "TRUNCATE ignored (on_truncate)");
                    ignored.push(followed.source.clone());
                }
                OnTruncate::Halt => {
                    return Err(held_truncate(&followed.source, commit_lsn));
                }
                OnTruncate::Truncate => {
                    policy = followed.policy;
                    tables.push(Arc::clone(followed.transform.table()));
                }
            }
        }
        let Truncate { cascade, restart_identity, .. } = truncate;
        let is_empty = tables.is_empty();
        let change = Change::Truncate(Truncate { tables, cascade, restart_identity });
        Ok(Truncated { change: (!is_empty).then_some((change, policy)), ignored })
    }
}

/// `on_truncate = "halt"`: what to do is the operator's choice.
fn held_truncate(table: &QualifiedName, commit_lsn: Lsn) -> PipelineError {
    PipelineError::Schema {
        table: table.clone(),
        message: format!(
            "was truncated at the source, and on_truncate is \"halt\"; have it copied again as it is \
             now: sync-agent resync --table {}; or set on_truncate to \"truncate\" or \"ignore\" and \
             start the agent again",
            table.argument()
        ),
        lsn: Some(commit_lsn),
    }
}

/// What is known of the table's columns, as well as it can be for this transaction.
fn known_shape(
    record: &TableRecord,
    present: &TableShape,
    looks: &Looks,
    commit_lsn: Lsn,
) -> SourceShape {
    let known = match &record.source_shape {
        Some(shape) => shape.clone(),
        None => first_look(&record.known_columns, present),
    };
    let oid = record.source_oid.unwrap_or_default();
    looks.moved_on(oid, &known, commit_lsn).unwrap_or(known)
}

/// The last changes of a table that was dropped: nobody can say any more what they mean there.
fn ignored_as_gone(table: &Arc<Table>) -> Result<Resolution, PipelineError> {
    tracing::warn!(table = %table.name, "the table is gone from the source: its last changes are let go by");
    Ok(Resolution::Known(Arc::new(StreamTable::Ignored)))
}

/// An error of the source's is one of its connection; what it sent is about the table.
fn reread_error(table: &QualifiedName, error: RereadError) -> PipelineError {
    match error {
        RereadError::Source(source) => PipelineError::Query {
            side: Side::Source,
            doing: "reading a row that entered a filter",
            source,
        },
        other => PipelineError::Apply(ApplyError::Reread { table: table.clone(), source: other }),
    }
}

fn schema_error(table: &QualifiedName, message: String) -> PipelineError {
    PipelineError::Schema { table: table.clone(), message, lsn: None }
}

/// A planning error gets the position at which it was met.
fn at_commit(error: PipelineError, commit_lsn: Lsn) -> PipelineError {
    match error {
        PipelineError::Schema { table, message, .. } => {
            PipelineError::Schema { table, message, lsn: Some(commit_lsn) }
        }
        other => other,
    }
}
