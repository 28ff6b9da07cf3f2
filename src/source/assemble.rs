//! Messages to transactions; pure.
//!
//! In: the messages of one connection, in order. Out: `Begin Change* Commit`, each change with its
//! table and rows in our model. Transactions below `resume_lsn` come out as nothing.
//!
//! ```text
//!             Begin                       Commit that agrees
//!   outside ─────────► inside (delivered) ──────────────────► outside
//!      │                 │ Insert Update Delete Truncate: a change
//!      │ commit_lsn      ▼
//!      │ < resume_lsn  inside (skipped) ────────────────────► outside, counted
//!      └───────────────►   Relation still taken in: it is sent once
//! ```
//!
//! **Invariants:** a change outside a transaction, a begin inside one, a commit that disagrees with
//! its begin and an end inside a transaction are errors; commits only go forward; a row has as many
//! values as its table has columns; an old row has every value that identifies it.
//!
//! What is skipped, and why `<`? A transaction counts as applied when its commit record starts
//! before the position we resume at (`SnapBuildXactNeedsSkip` in `snapbuild.c`). That position is
//! the end of the last applied commit, which is exactly where the next commit record may start:
//! with `<=` an adjacent transaction would be lost.

use std::sync::Arc;

use super::error::AssembleError;
use super::relation::RelationCache;
use crate::model::change::{Begin, Change, Commit, OldRow, RowChange, TailEvent, Truncate};
use crate::model::row::{Row, Value};
use crate::model::table::{Table, TableId};
use crate::pg::catalog::ReplicaIdentity;
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;
use crate::pgoutput::{self, Message, OldTuple, Tuple, TupleField};

#[derive(Debug)]
pub struct Assembler {
    relations: RelationCache,
    resume_lsn: Lsn,
    open: Option<Open>,
    /// End of the last commit seen, skipped or not.
    previous_end_lsn: Lsn,
    skipped_count: u64,
    last_skipped: Option<Commit>,
}

/// The transaction we are inside.
#[derive(Clone, Copy, Debug)]
struct Open {
    begin: Begin,
    is_skipped: bool,
}

impl Assembler {
    pub fn new(relations: RelationCache, resume_lsn: Lsn) -> Assembler {
        Assembler {
            relations,
            resume_lsn,
            open: None,
            previous_end_lsn: Lsn::ZERO,
            skipped_count: 0,
            last_skipped: None,
        }
    }

    /// Takes one message in and gives the event that it completes, if any.
    pub fn feed(&mut self, message: Message) -> Result<Option<TailEvent>, AssembleError> {
        let kind = message.kind();
        match message {
            Message::Begin(begin) => self.begin(begin),
            Message::Commit(commit) => self.commit(commit),
            Message::Relation(relation) => {
                self.relations.on_relation(&relation);
                Ok(None)
            }
            Message::Insert(insert) => self.change(kind, |relations| {
                let table = table(relations, insert.relation_id)?;
                let new = row(&table, &insert.new)?;
                Ok(Change::Row { table, change: RowChange::Insert { new } })
            }),
            Message::Update(update) => self.change(kind, |relations| {
                let table = table(relations, update.relation_id)?;
                let change = update_change(&table, &update)?;
                Ok(Change::Row { table, change })
            }),
            Message::Delete(delete) => self.change(kind, |relations| {
                let table = table(relations, delete.relation_id)?;
                let old = old_row(&table, &delete.old)?;
                Ok(Change::Row { table, change: RowChange::Delete { old } })
            }),
            Message::Truncate(truncate) => self.change(kind, |relations| {
                let ids = truncate.relation_ids.iter();
                let tables = ids.map(|&id| table(relations, id)).collect::<Result<_, _>>()?;
                let pgoutput::Truncate { cascade, restart_identity, .. } = truncate;
                Ok(Change::Truncate(Truncate { tables, cascade, restart_identity }))
            }),
            // They change no row: types are named by OID in relations, where a transaction first
            // came from does not matter, and logical messages are somebody else's.
            Message::Type(_) | Message::Origin(_) | Message::Logical(_) => Ok(None),
            Message::StreamStart(_)
            | Message::StreamStop
            | Message::StreamCommit(_)
            | Message::StreamAbort(_) => {
                Err(AssembleError::StreamingNotRequested { message: kind })
            }
        }
    }

    /// The server ended the stream: that must not be inside a transaction.
    pub fn finish(&self) -> Result<(), AssembleError> {
        match self.open {
            None => Ok(()),
            Some(Open { begin: Begin { commit_lsn, .. }, .. }) => {
                Err(AssembleError::EndInsideTransaction { commit_lsn })
            }
        }
    }

    /// Whether a transaction has begun and its commit has not come, skipped ones included.
    pub fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// The commit that the transaction we are inside announced.
    pub fn commit_lsn(&self) -> Option<Lsn> {
        self.open.map(|open| open.begin.commit_lsn)
    }

    /// A table that this connection has described.
    pub fn table(&self, relation_id: Oid) -> Option<&Arc<Table>> {
        self.relations.table(TableId(relation_id)).ok()
    }

    /// Transactions left out because they were applied before.
    pub fn skipped_count(&self) -> u64 {
        self.skipped_count
    }

    /// The last transaction left out: what the checkpoint's last applied commit is compared with.
    pub fn last_skipped(&self) -> Option<Commit> {
        self.last_skipped
    }

    fn begin(&mut self, begin: pgoutput::Begin) -> Result<Option<TailEvent>, AssembleError> {
        let pgoutput::Begin { commit_lsn, commit_time, xid } = begin;
        if let Some(open) = self.open {
            let open_commit_lsn = open.begin.commit_lsn;
            return Err(AssembleError::NestedBegin { open_commit_lsn, commit_lsn });
        }
        let previous_end_lsn = self.previous_end_lsn;
        if commit_lsn < previous_end_lsn {
            return Err(AssembleError::OutOfOrder { commit_lsn, previous_end_lsn });
        }
        let begin = Begin { commit_lsn, commit_time, xid };
        let is_skipped = commit_lsn < self.resume_lsn;
        self.open = Some(Open { begin, is_skipped });
        Ok((!is_skipped).then_some(TailEvent::Begin(begin)))
    }

    fn commit(&mut self, commit: pgoutput::Commit) -> Result<Option<TailEvent>, AssembleError> {
        let Some(Open { begin, is_skipped }) = self.open.take() else {
            return Err(AssembleError::OutsideTransaction { message: "Commit" });
        };
        let pgoutput::Commit { commit_lsn, end_lsn, commit_time } = commit;
        let agrees = commit_lsn == begin.commit_lsn && commit_time == begin.commit_time;
        if !agrees || end_lsn <= commit_lsn {
            let begin_commit_lsn = begin.commit_lsn;
            return Err(AssembleError::CommitMismatch { begin_commit_lsn, commit_lsn, end_lsn });
        }
        self.previous_end_lsn = end_lsn;
        let commit = Commit { commit_lsn, end_lsn, commit_time, xid: begin.xid };
        if is_skipped {
            self.skipped_count += 1;
            self.last_skipped = Some(commit);
            return Ok(None);
        }
        Ok(Some(TailEvent::Commit(commit)))
    }

    /// A change of the open transaction; not even built where the transaction is skipped.
    fn change(
        &self,
        message: &'static str,
        build: impl FnOnce(&RelationCache) -> Result<Change, AssembleError>,
    ) -> Result<Option<TailEvent>, AssembleError> {
        match self.open {
            None => Err(AssembleError::OutsideTransaction { message }),
            Some(Open { is_skipped: true, .. }) => Ok(None),
            Some(_) => Ok(Some(TailEvent::Change(build(&self.relations)?))),
        }
    }
}

fn table(relations: &RelationCache, relation_id: Oid) -> Result<Arc<Table>, AssembleError> {
    relations.table(TableId(relation_id)).map(Arc::clone)
}

fn update_change(table: &Table, update: &pgoutput::Update) -> Result<RowChange, AssembleError> {
    let old = update.old.as_ref().map(|old| old_row(table, old)).transpose()?;
    let mut new = row(table, &update.new)?;
    match &old {
        Some(OldRow::Full(old)) => fill_unchanged(&mut new, old),
        Some(OldRow::Identity(old)) => fill_identity(table, &mut new, old),
        None => {}
    }
    Ok(RowChange::Update { old, new })
}

/// An unchanged value is the old row's. It is stored out of line, so it is never NULL: where the
/// old row says NULL it is not really whole (a partitioned table has FULL, the partition that
/// logged the change has not), and the value stays unchanged instead of becoming NULL.
fn fill_unchanged(new: &mut Row, old: &Row) {
    for (value, before) in new.values_mut().iter_mut().zip(old.values()) {
        if value.is_unchanged() && *before != Value::Null {
            value.clone_from(before);
        }
    }
}

/// A large value of the identity that did not change is not sent with the new row; the old one has it,
/// because the server sends it whenever such a value is stored out of line.
fn fill_identity(table: &Table, new: &mut Row, old: &Row) {
    let columns = table.columns.iter().zip(new.values_mut()).zip(old.values());
    for ((column, value), before) in columns {
        if column.is_identity && value.is_unchanged() {
            value.clone_from(before);
        }
    }
}

fn old_row(table: &Table, old: &OldTuple) -> Result<OldRow, AssembleError> {
    match (old, table.identity) {
        (OldTuple::Full(tuple), ReplicaIdentity::Full) => {
            let row = row(table, tuple)?;
            require_sent(table, &row, |_| true)?;
            Ok(OldRow::Full(row))
        }
        (
            OldTuple::Key(tuple),
            ReplicaIdentity::Default | ReplicaIdentity::Index | ReplicaIdentity::Nothing,
        ) => {
            let row = row(table, tuple)?;
            require_sent(table, &row, |index| table.columns[index].is_identity)?;
            Ok(OldRow::Identity(row))
        }
        (OldTuple::Key(_), identity @ ReplicaIdentity::Full)
        | (
            OldTuple::Full(_),
            identity @ (ReplicaIdentity::Default
            | ReplicaIdentity::Index
            | ReplicaIdentity::Nothing),
        ) => Err(AssembleError::OldTupleKind { table: table.name.clone(), identity }),
    }
}

/// The server writes old values inline (`ExtractReplicaIdentity` in `heapam.c`), so the marker
/// "unchanged" has no meaning in an old row: there is no older one to take the value from.
fn require_sent(
    table: &Table,
    row: &Row,
    is_needed: impl Fn(usize) -> bool,
) -> Result<(), AssembleError> {
    let missing =
        row.values().iter().enumerate().find(|(i, value)| value.is_unchanged() && is_needed(*i));
    match missing {
        None => Ok(()),
        Some((index, _)) => Err(AssembleError::OldValueNotSent {
            table: table.name.clone(),
            column: table.columns[index].name.clone(),
        }),
    }
}

fn row(table: &Table, tuple: &Tuple) -> Result<Row, AssembleError> {
    let (expected, actual) = (table.columns.len(), tuple.count());
    if expected != actual {
        let table = table.name.clone();
        return Err(AssembleError::ColumnCount { table, expected, actual });
    }
    let value = |field| match field {
        TupleField::Null => Value::Null,
        TupleField::Unchanged => Value::Unchanged,
        TupleField::Text(bytes) => Value::Text(bytes),
        TupleField::Binary(bytes) => Value::Binary(bytes),
    };
    Ok(Row::new(tuple.iter().map(value).collect()))
}

#[cfg(test)]
mod tests;
