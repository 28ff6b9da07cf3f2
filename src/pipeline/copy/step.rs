//! What has to be done to one table's destination before its first row; decided from what was found, and
//! nobody is asked.

use std::sync::Arc;

use super::Completion;
use super::create::Sides;
use super::filling::{self, Filling, Found};
use super::parts::{self, Part};
use super::prepare::Preparation;
use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::config::settings::NewColumns;
use crate::pg::catalog::{RelationKind, TableInfo};
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::{describe, map, not_mapped};
use crate::structure::{PartitionStructure, Statement, Structure};
use crate::transform::{self, TransformPlan};

/// What one table's destination needs.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) record: TableRecord,
    /// Creates the table.
    pub(super) create_sql: Vec<String>,
    /// Those that it lacks.
    pub(super) partitions: Vec<PartitionStructure>,
    /// What is built before the rows are there, because nothing is deferred.
    pub(super) at_once: Vec<String>,
    /// Built once all rows are there.
    pub(super) completion: Completion,
    pub(super) filling: Filling,
    /// It holds rows that are not ours, and is to be emptied.
    pub(super) removes_others_rows: bool,
    /// Its rows, where other source tables have theirs in the table, too.
    pub(super) own_rows: Option<String>,
    is_partitioned: bool,
    /// When it is created: tables that others need come first.
    pub(super) place: usize,
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
pub(super) struct AtDestination<'a> {
    pub(super) found: Option<&'a TableInfo>,
    /// No record of ours explains them.
    pub(super) has_rows: bool,
    /// What it holds is a part of this copy.
    pub(super) is_resumed: bool,
}

/// What a source table is read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heaps {
    /// One chunk is all of it.
    is_single: bool,
    is_one_heap: bool,
}

impl Heaps {
    pub(super) fn new(parts: &[Part]) -> Heaps {
        Heaps { is_single: parts::is_single(parts), is_one_heap: parts.len() == 1 }
    }
}

impl Preparation<'_> {
    pub(super) fn step(
        &self,
        info: &TableInfo,
        at: AtDestination<'_>,
        heaps: Heaps,
        structure: &Structure,
    ) -> Result<Step, PipelineError> {
        let found = at.found;
        let transform = self.planner.transform(&Arc::new(describe(info)), info, found)?;
        let filling = self.filling(info, at, heaps, &transform)?;
        let mut created = self.created(info, structure);
        if let Some(found) = found.filter(|_| self.earlier(info).is_some())
            && self.context.settings.new_columns(&info.name) == NewColumns::Add
        {
            let sides =
                Sides { context: self.context, source: self.source, destination: self.destination };
            created.create_sql.extend(sides.missing_columns(info, found, &transform));
        }
        let Created { create_sql, partitions, at_once, completion } = created;
        let is_emptied = !matches!(filling, Filling::Merge | Filling::Renew | Filling::Resume);
        let mut record = self.record(info, found, filling);
        record.finished = structure.foreign_keys.keys.iter().all(|key| key.source != info.oid);
        Ok(Step {
            record,
            create_sql,
            partitions,
            at_once,
            completion,
            filling,
            removes_others_rows: at.has_rows && is_emptied,
            own_rows: transform.own_rows(),
            is_partitioned: found.is_some_and(|found| found.kind == RelationKind::Partitioned),
            place: structure.order.iter().position(|oid| *oid == info.oid).unwrap_or(usize::MAX),
        })
    }

    /// How the table comes to hold its rows; an error where what is there stands in the way.
    fn filling(
        &self,
        info: &TableInfo,
        at: AtDestination<'_>,
        heaps: Heaps,
        transform: &TransformPlan,
    ) -> Result<Filling, PipelineError> {
        let settings = &self.context.settings;
        let filling = Filling::of(Found {
            table: at.found,
            is_resumed: at.is_resumed,
            is_ours: self.is_ours(info),
            has_rows: at.has_rows,
            is_single: heaps.is_single,
            is_again: self.is_replacing(info),
            keeps_deleted: settings.keeps_deleted(&info.name),
            is_one_heap: heaps.is_one_heap,
            is_shared: transform.own_rows().is_some(),
            heap_bytes: info.heap_bytes,
            on_existing: settings.on_existing(&info.name),
        });
        let name = settings.destination_name(&info.name);
        let filling = filling.ok_or_else(|| filling::refused(&name))?;
        if let (Filling::Merge | Filling::Renew, Some(found)) = (filling, at.found) {
            let mapping = map(transform, info, found);
            let mapping = mapping.map_err(|errors| not_mapped(&info.name, &errors))?;
            match filling {
                Filling::Renew => filling::require_renewable(&mapping)?,
                _ => filling::require_arbiter(&mapping)?,
            }
        }
        Ok(filling)
    }

    /// What is built of the table: before its rows, and after them.
    fn created(&self, info: &TableInfo, structure: &Structure) -> Created {
        let Some(planned) = structure.tables.get(&info.oid) else { return Created::default() };
        let table = self.context.settings.destination_name(&info.name);
        for note in &planned.notes {
            tracing::info!(%table, note, "created table differs from the source's");
        }
        let completion = Completion {
            keys: texts(&planned.keys),
            indexes: texts(&planned.indexes),
            rest: texts(&planned.rest),
        };
        let (at_once, completion) = match self.context.settings.snapshot.defer_indexes {
            true => (Vec::new(), completion),
            false => (completion.statements().cloned().collect(), Completion::default()),
        };
        let partitions = planned.partitions.clone();
        Created { create_sql: texts(&planned.create), partitions, at_once, completion }
    }

    /// The table as being copied, without foreign keys that are to come.
    fn record(&self, info: &TableInfo, found: Option<&TableInfo>, filling: Filling) -> TableRecord {
        let settings = &self.context.settings;
        let destination = settings.destination_name(&info.name);
        let loaded = self.earlier(info).filter(|_| filling == Filling::Resume);
        let mut record = TableRecord {
            source: info.name.clone(),
            state: match (filling, loaded) {
                (Filling::Resume, Some(loaded)) => loaded.state,
                (Filling::Merge, _) => CopyState::Merging,
                _ if self.is_replacing(info) => CopyState::Replacing,
                _ => CopyState::Copying,
            },
            copied_lsn: None,
            created: self.is_created(info, found),
            fingerprint: transform::fingerprint(settings.table(&info.name), &destination),
            destination,
            known_columns: info.columns.iter().map(|column| column.name.clone()).collect(),
            rows: loaded.map_or(0, |record| record.rows),
            bytes: loaded.map_or(0, |record| record.bytes),
            copied_at: None,
            source_oid: Some(info.oid),
            published: None,
            partitions: None,
            finished: true,
            source_shape: Some(SourceShape::of(info)),
            destination_oid: None,
            beside: self.is_beside,
        };
        self.membership.fill(&mut record);
        record
    }

    /// Whether an earlier copy stays readable until this one is there.
    fn is_replacing(&self, info: &TableInfo) -> bool {
        self.earlier(info).is_some_and(|record| record.state == CopyState::Replacing)
    }
}

/// The part of a step that builds.
#[derive(Default)]
struct Created {
    create_sql: Vec<String>,
    partitions: Vec<PartitionStructure>,
    at_once: Vec<String>,
    completion: Completion,
}

pub(super) fn texts(statements: &[Statement]) -> Vec<String> {
    statements.iter().map(|statement| statement.sql.clone()).collect()
}
