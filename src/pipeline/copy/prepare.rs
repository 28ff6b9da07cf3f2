//! Before the tables' first rows: the destination's tables exist, are ours to fill, and are recorded
//! as such.
//!
//! However many tables there are, each catalog is asked a fixed number of times, and tables are
//! created [`TABLES_PER_TRANSACTION`] at a time: two thousand small tables spend their time on rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::create::{Sides, request, requests as requests_of_all};
use super::filling::{self, Filling, Found};
use super::job::{Rows, job};
use super::parts::{self, Part};
use super::resume::{Resumed, key_conditions};
use super::{Completion, CopyJob};
use crate::checkpoint::chunks;
use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::config::settings::{NewColumns, OnExisting};
use crate::model::finding::Side;
use crate::pg::catalog::{self, RelationKind, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::Context;
use crate::pipeline::drift::tables::know_leaves;
use crate::pipeline::error::PipelineError;
use crate::pipeline::membership::Membership;
use crate::pipeline::planner::{Planner, describe, map, not_mapped};
use crate::pipeline::structure_findings::lack_findings;
use crate::snapshot::{Chunk, missing_chunks};
use crate::structure::{PartitionStructure, Statement, Structure, TableRequest};
use crate::transform;

/// Tables created in one transaction. Each keeps up to six locks (table, sequence, TOAST, indexes,
/// type) until its end; a server's lock table holds 6,400 by default.
const TABLES_PER_TRANSACTION: usize = 100;

/// Other statements in one transaction, for the same reason.
const STATEMENTS_PER_TRANSACTION: usize = 300;

/// Prepares tables for their copy.
#[derive(Clone, Copy, Debug)]
pub struct Preparation<'a> {
    pub context: &'a Context,
    pub source: &'a Client,
    pub destination: &'a Client,
    pub planner: &'a Planner,
    /// What is published of the tables; empty for a copy that no stream follows.
    pub membership: &'a Membership,
    pub epoch: i64,
    /// The tables come by the second slot, beside a stream that goes on.
    pub is_beside: bool,
}

/// At which point the tables are copied, and what is there of it.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub point_lsn: Lsn,
    pub resumed: &'a Resumed,
}

/// What one table's destination needs.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) record: TableRecord,
    /// Creates the table.
    create_sql: Vec<String>,
    /// Those that it lacks.
    partitions: Vec<PartitionStructure>,
    /// What is built before the rows are there, because nothing is deferred.
    at_once: Vec<String>,
    /// Built once all rows are there.
    pub(super) completion: Completion,
    pub(super) filling: Filling,
    /// It holds rows that are not ours, and is to be emptied.
    pub(super) removes_others_rows: bool,
    /// Its rows, where other source tables have theirs in the table, too.
    pub(super) own_rows: Option<String>,
    is_partitioned: bool,
    /// When it is created: tables that others need come first.
    place: usize,
}

impl Step {
    /// Removes the source table's rows one by one.
    pub(super) fn delete_sql(&self) -> String {
        let own = self.own_rows.as_ref().map(|own| format!(" WHERE {own}"));
        format!("DELETE FROM {}{}", self.truncated(), own.unwrap_or_default())
    }

    /// The table in a TRUNCATE. Tables that inherit from it are not part of it; partitions are.
    pub(super) fn truncated(&self) -> String {
        let only = if self.is_partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.record.destination.sql())
    }
}

/// A table's destination, as it is found.
#[derive(Clone, Copy, Debug)]
struct AtDestination<'a> {
    found: Option<&'a TableInfo>,
    /// No record of ours explains them.
    has_rows: bool,
    /// What it holds is a part of this copy.
    is_resumed: bool,
}

/// What a source table is read from.
#[derive(Clone, Copy, Debug)]
struct Heaps {
    /// One chunk is all of it.
    is_single: bool,
    is_one_heap: bool,
}

impl Heaps {
    fn new(parts: &[Part]) -> Heaps {
        Heaps { is_single: parts::is_single(parts), is_one_heap: parts.len() == 1 }
    }
}

impl Preparation<'_> {
    /// Creates or empties the tables' destinations, records them, and plans their copies.
    pub async fn prepare(
        &self,
        tables: &[TableInfo],
        start: Start<'_>,
    ) -> Result<Vec<CopyJob>, PipelineError> {
        self.planner.examine(tables).await?;
        self.remove_unfinished_keys(tables).await?;
        let present = self.planner.destination_tables(tables).await?;
        let with_rows = self.with_rows(tables, &present).await?;
        let mut parts = parts::read(self.context, self.source, tables).await?;
        let structure = self.structure(tables, &present, &with_rows).await?;
        let names: Vec<QualifiedName> = present.keys().cloned().collect();
        let order = self.order(&names).await?;
        let mut steps = Vec::with_capacity(tables.len());
        let mut missing = HashMap::new();
        for info in tables {
            let name = self.context.settings.destination_name(&info.name);
            if let Some(parts) = parts.get_mut(&info.oid) {
                order.keep_whole(&name, parts);
            }
            let found = present.get(&name).cloned();
            let heaps = Heaps::new(parts.get(&info.oid).map_or(&[][..], Vec::as_slice));
            let has_rows = with_rows.contains(&info.name);
            let keys = match start.resumed.has(info.oid) && found.is_some() {
                true => self.missing_keys(info).await?,
                false => None,
            };
            let is_resumed = keys.is_some() && self.has_known_columns(info);
            missing.insert(info.oid, keys.unwrap_or_default());
            let at_destination = AtDestination { found: found.as_ref(), has_rows, is_resumed };
            let mut step = self.step(info, at_destination, heaps, &structure)?;
            step.record.copied_lsn = Some(start.point_lsn);
            steps.push(step);
        }
        self.refuse_referred(&steps).await?;
        know_leaves(self.source, steps.iter_mut().map(|step| &mut step.record)).await?;
        self.begin(&steps, &structure).await?;
        let plans = self.planner.plan_catalog(tables).await?;
        let mut jobs = Vec::with_capacity(tables.len());
        for ((info, step), plan) in tables.iter().zip(steps).zip(plans) {
            let mut parts = parts.remove(&info.oid).unwrap_or_default();
            let is_marked = plan.target.mark.is_some() && parts.len() == 1;
            if step.filling == Filling::Replace || step.filling == Filling::Renew && is_marked {
                // One transaction replaces all rows.
                parts.iter_mut().for_each(|part| part.chunks = vec![Chunk::WHOLE]);
            }
            if step.filling == Filling::Resume {
                for part in &mut parts {
                    let loaded = start.resumed.loaded(info.oid, part.oid);
                    part.chunks = missing_chunks(&part.chunks, loaded);
                }
            }
            if step.filling == Filling::Renew && parts.len() != 1 {
                self.mark_before(&step, &plan).await?;
            }
            let bytes = parts.iter().map(|part| part.bytes).sum();
            self.context.board.snapshot_expected(&info.name, info.estimated_rows, bytes);
            let level = order.level(&plan.target.name);
            let keys = missing.remove(&info.oid).unwrap_or_default();
            let keys = match step.filling == Filling::Resume {
                true => key_conditions(info, &plan, &keys),
                false => Vec::new(),
            };
            jobs.push(job(info, step, plan, Rows { parts, keys, level }));
        }
        Ok(jobs)
    }

    /// Tables whose destinations hold rows that no record of ours explains.
    async fn with_rows(
        &self,
        tables: &[TableInfo],
        present: &HashMap<QualifiedName, TableInfo>,
    ) -> Result<HashSet<QualifiedName>, PipelineError> {
        let settings = &self.context.settings;
        let mut unexplained = Vec::new();
        let mut conditions = Vec::new();
        for info in tables.iter().filter(|info| !self.is_ours(info)) {
            let name = settings.destination_name(&info.name);
            let Some(found) = present.get(&name) else { continue };
            let transform = self.planner.transform(&Arc::new(describe(info)), info, Some(found))?;
            // A table without the column has no such rows, and preflight says that it lacks it.
            if transform.apart().is_none_or(|column| found.column(column).is_some()) {
                unexplained.push(info.name.clone());
                conditions.push((name, transform.own_rows()));
            }
        }
        let found = catalog::have_rows(self.destination, &conditions).await;
        let found = found.map_err(PipelineError::catalog(Side::Destination))?;
        Ok(unexplained.into_iter().zip(found).filter(|(_, has)| *has).map(|(n, _)| n).collect())
    }

    /// The table's record. It explains the rows of the table that it names and of no other.
    pub(super) fn earlier(&self, info: &TableInfo) -> Option<&TableRecord> {
        let name = self.context.settings.destination_name(&info.name);
        self.planner.record(&info.name).filter(|record| record.destination == name)
    }

    /// Whether whatever the table holds has come by an earlier copy.
    fn is_ours(&self, info: &TableInfo) -> bool {
        self.earlier(info).is_some_and(|record| record.state != CopyState::Merging)
    }

    /// What the destination lacks of the tables that are ours to create.
    pub(super) async fn structure(
        &self,
        tables: &[TableInfo],
        present: &HashMap<QualifiedName, TableInfo>,
        with_rows: &HashSet<QualifiedName>,
    ) -> Result<Structure, PipelineError> {
        let settings = &self.context.settings;
        let mut requests: Vec<TableRequest> = Vec::with_capacity(tables.len());
        for info in tables {
            let name = settings.destination_name(&info.name);
            if with_rows.contains(&info.name)
                && settings.on_existing(&info.name) == OnExisting::Refuse
            {
                return Err(filling::refused(&name));
            }
            let found = present.get(&name);
            let transform = self.planner.transform(&Arc::new(describe(info)), info, found)?;
            let is_ours = self.is_created(info, found);
            requests.push(request(self.context, info, &transform, is_ours));
        }
        // Foreign keys may point to tables that are copied already.
        let others = requests_of_all(self.context, self.planner, |_| false)?;
        let is_other = |other: &TableRequest| tables.iter().all(|info| info.oid != other.oid);
        requests.extend(others.into_iter().filter(is_other));
        let (source, destination) = (self.source, self.destination);
        let sides = Sides { context: self.context, source, destination };
        let structure = sides.plan(&requests).await?;
        if !structure.lacks.is_empty() {
            return Err(PipelineError::Preflight(lack_findings(&structure.lacks)));
        }
        for (object, note) in &structure.notes {
            tracing::info!(object, note, "a created object differs from the source's");
        }
        Ok(structure)
    }

    /// Whether the rows that are loaded have the columns that the table has now.
    fn has_known_columns(&self, info: &TableInfo) -> bool {
        let shape = self.earlier(info).and_then(|record| record.source_shape.as_ref());
        shape.is_some_and(|shape| shape.columns == SourceShape::of(info).columns)
    }

    /// Whether the destination's table is of our making, or about to be.
    fn is_created(&self, info: &TableInfo, found: Option<&TableInfo>) -> bool {
        match (found, self.earlier(info)) {
            (None, _) => true,
            (Some(_), Some(record)) => record.created,
            (Some(_), None) => false,
        }
    }

    fn step(
        &self,
        info: &TableInfo,
        AtDestination { found, has_rows, is_resumed }: AtDestination<'_>,
        Heaps { is_single, is_one_heap }: Heaps,
        structure: &Structure,
    ) -> Result<Step, PipelineError> {
        let settings = &self.context.settings;
        let name = settings.destination_name(&info.name);
        let earlier = self.earlier(info);
        let is_created = self.is_created(info, found);
        let is_replacing = earlier.is_some_and(|record| record.state == CopyState::Replacing);
        let transform = self.planner.transform(&Arc::new(describe(info)), info, found)?;
        let own_rows = transform.own_rows();
        let filling = Filling::of(Found {
            table: found,
            is_resumed,
            is_ours: self.is_ours(info),
            has_rows,
            is_single,
            is_again: is_replacing,
            keeps_deleted: settings.keeps_deleted(&info.name),
            is_one_heap,
            is_shared: own_rows.is_some(),
            heap_bytes: info.heap_bytes,
            on_existing: settings.on_existing(&info.name),
        });
        let filling = filling.ok_or_else(|| filling::refused(&name))?;
        if let (Filling::Merge | Filling::Renew, Some(found)) = (filling, found) {
            let mapping = map(&transform, info, found);
            let mapping = mapping.map_err(|errors| not_mapped(&info.name, &errors))?;
            match filling {
                Filling::Renew => filling::require_renewable(&mapping)?,
                _ => filling::require_arbiter(&mapping)?,
            }
        }
        let mut create_sql = Vec::new();
        let mut partitions = Vec::new();
        let mut completion = Completion::default();
        if let Some(planned) = structure.tables.get(&info.oid) {
            for note in &planned.notes {
                tracing::info!(table = %name, note, "created table differs from the source's");
            }
            create_sql = texts(&planned.create);
            partitions.clone_from(&planned.partitions);
            completion = Completion {
                keys: texts(&planned.keys),
                indexes: texts(&planned.indexes),
                rest: texts(&planned.rest),
            };
        }
        let at_once = if settings.snapshot.defer_indexes {
            Vec::new()
        } else {
            std::mem::take(&mut completion).statements().cloned().collect()
        };
        if let Some(found) = found.filter(|_| earlier.is_some())
            && settings.new_columns(&info.name) == NewColumns::Add
        {
            let sides =
                Sides { context: self.context, source: self.source, destination: self.destination };
            create_sql.extend(sides.missing_columns(info, found, &transform));
        }
        let owes = structure.foreign_keys.keys.iter().any(|key| key.source == info.oid);
        let loaded = earlier.filter(|_| filling == Filling::Resume);
        let mut record = TableRecord {
            source: info.name.clone(),
            destination: name.clone(),
            state: match (filling, earlier) {
                (Filling::Resume, Some(earlier)) => earlier.state,
                (Filling::Merge, _) => CopyState::Merging,
                _ if is_replacing => CopyState::Replacing,
                _ => CopyState::Copying,
            },
            copied_lsn: None,
            created: is_created,
            fingerprint: transform::fingerprint(settings.table(&info.name), &name),
            known_columns: info.columns.iter().map(|column| column.name.clone()).collect(),
            rows: loaded.map_or(0, |record| record.rows),
            bytes: loaded.map_or(0, |record| record.bytes),
            copied_at: None,
            source_oid: Some(info.oid),
            published: None,
            partitions: None,
            finished: !owes,
            source_shape: Some(SourceShape::of(info)),
            destination_oid: None,
            beside: self.is_beside,
        };
        self.membership.fill(&mut record);
        let is_partitioned = found.is_some_and(|found| found.kind == RelationKind::Partitioned);
        let place = structure.order.iter().position(|oid| *oid == info.oid).unwrap_or(usize::MAX);
        let removes_others_rows =
            has_rows && !matches!(filling, Filling::Merge | Filling::Renew | Filling::Resume);
        Ok(Step {
            record,
            create_sql,
            partitions,
            at_once,
            completion,
            filling,
            removes_others_rows,
            own_rows,
            is_partitioned,
            place,
        })
    }

    /// Records all tables at once, before any of them is touched: at a next start, a table without
    /// a record beside others that have one would count as new.
    async fn record_all(&self, steps: &[Step]) -> Result<(), PipelineError> {
        let sql = &self.context.checkpoint;
        let records =
            steps.iter().map(|step| tables::write_text(&sql.schema, &sql.pipeline, &step.record));
        let forgotten = self.forget_chunks(steps.iter());
        let recorded = self.transaction(forgotten.into_iter().chain(records), &[]).await;
        recorded.map_err(PipelineError::query(Side::Destination, "recording tables to copy"))
    }

    /// Creates or empties the tables and records them, in guarded transactions.
    async fn begin(&self, steps: &[Step], structure: &Structure) -> Result<(), PipelineError> {
        for statements in texts(&structure.before).chunks(STATEMENTS_PER_TRANSACTION) {
            let done = self.transaction(statements.iter().cloned(), &[]).await;
            done.map_err(creating())?;
        }
        let (emptied, mut others): (Vec<&Step>, Vec<&Step>) =
            steps.iter().partition(|step| step.filling == Filling::EmptyBefore);
        others.sort_by_key(|step| step.place);
        let is_one_transaction = match emptied.is_empty() {
            true => others.len() <= TABLES_PER_TRANSACTION,
            false => others.is_empty(),
        };
        if !is_one_transaction {
            self.record_all(steps).await?;
        }
        self.empty(&emptied).await?;
        for batch in others.chunks(TABLES_PER_TRANSACTION) {
            if self.transaction(std::iter::empty(), batch).await.is_ok() {
                continue;
            }
            // One of them failed: each for itself tells which.
            for step in batch {
                self.transaction(std::iter::empty(), std::slice::from_ref(step))
                    .await
                    .map_err(|error| of_table(step, error))?;
            }
        }
        for step in steps {
            self.add_partitions(step).await.map_err(|error| of_table(step, error))?;
        }
        Ok(())
    }

    /// Partitions come in transactions of their own: there may be thousands. Whatever is built
    /// before the rows needs them.
    async fn add_partitions(&self, step: &Step) -> Result<(), tokio_postgres::Error> {
        for partitions in step.partitions.chunks(TABLES_PER_TRANSACTION) {
            let statements = partitions.iter().flat_map(|partition| {
                partition.create.iter().chain(std::iter::once(&partition.attach))
            });
            let statements: Vec<String> = statements.map(|made| made.sql.clone()).collect();
            self.transaction(statements.into_iter(), &[]).await?;
        }
        for statements in step.at_once.chunks(STATEMENTS_PER_TRANSACTION) {
            self.transaction(statements.iter().cloned(), &[]).await?;
        }
        Ok(())
    }

    /// What starts over has no chunk loaded.
    fn forget_chunks<'s>(&self, steps: impl Iterator<Item = &'s Step>) -> Option<String> {
        let sql = &self.context.checkpoint;
        let mut anew = steps
            .filter(|step| step.filling != Filling::Resume)
            .map(|step| &step.record.source)
            .peekable();
        anew.peek()?;
        Some(chunks::forget_text(&sql.schema, &sql.pipeline, anew))
    }

    pub(super) async fn transaction(
        &self,
        first: impl Iterator<Item = String>,
        steps: &[&Step],
    ) -> Result<(), tokio_postgres::Error> {
        let sql = &self.context.checkpoint;
        let mut all = vec![sql.guarded_begin_text(self.epoch)];
        all.extend(first);
        all.extend(self.forget_chunks(steps.iter().copied()));
        for step in steps {
            all.extend(step.create_sql.iter().cloned());
            all.push(tables::write_text(&sql.schema, &sql.pipeline, &step.record));
        }
        all.push("COMMIT".to_owned());
        let done = self.destination.batch_execute(&all.join("; ")).await;
        if done.is_err() {
            // The transaction is still open on this connection; its error is what counts.
            let _ = self.destination.batch_execute("ROLLBACK").await;
        }
        done
    }
}

fn texts(statements: &[Statement]) -> Vec<String> {
    statements.iter().map(|statement| statement.sql.clone()).collect()
}

fn creating() -> impl FnOnce(tokio_postgres::Error) -> PipelineError {
    PipelineError::query(Side::Destination, "creating schemas, types and sequences")
}

pub(super) fn of_table(step: &Step, source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Copy {
        table: step.record.source.clone(),
        source: Box::new(PipelineError::Query {
            side: Side::Destination,
            doing: "preparing a table for its copy",
            source,
        }),
    }
}
