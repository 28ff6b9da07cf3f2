//! Before the tables' first rows: the destination's tables exist, are ours to fill, and are recorded
//! as such.
//!
//! However many tables there are, each catalog is asked a fixed number of times, and tables are
//! created many at a time ([`begin`](super::begin)): two thousand small tables spend their time on rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::CopyJob;
use super::create::{Sides, request, requests as requests_of_all};
use super::filling::{self, Filling};
use super::job::{Rows, job};
use super::parts::{self, Part};
use super::resume::{Resumed, key_conditions};
use super::step::{AtDestination, Heaps, Step};
use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::config::settings::OnExisting;
use crate::model::finding::Side;
use crate::pg::catalog::{self, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::Context;
use crate::pipeline::drift::tables::know_leaves;
use crate::pipeline::error::PipelineError;
use crate::pipeline::membership::Membership;
use crate::pipeline::planner::{Planner, TablePlan, describe};
use crate::pipeline::structure_findings::lack_findings;
use crate::snapshot::{Chunk, missing_chunks};
use crate::structure::{Structure, TableRequest};

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
            let found = present.get(&name);
            let heaps = Heaps::new(parts.get(&info.oid).map_or(&[][..], Vec::as_slice));
            let has_rows = with_rows.contains(&info.name);
            let keys = match start.resumed.has(info.oid) && found.is_some() {
                true => self.missing_keys(info).await?,
                false => None,
            };
            let is_resumed = keys.is_some() && self.has_known_columns(info);
            missing.insert(info.oid, keys.unwrap_or_default());
            let at_destination = AtDestination { found, has_rows, is_resumed };
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
            let loaded = |part: &Part| start.resumed.loaded(info.oid, part.oid);
            let heaps = parts.remove(&info.oid).unwrap_or_default();
            let parts = to_read(&step, &plan, heaps, loaded);
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
    pub(super) fn is_ours(&self, info: &TableInfo) -> bool {
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
    pub(super) fn is_created(&self, info: &TableInfo, found: Option<&TableInfo>) -> bool {
        match (found, self.earlier(info)) {
            (None, _) => true,
            (Some(_), Some(record)) => record.created,
            (Some(_), None) => false,
        }
    }
}

/// The chunks of a table's heaps that are read.
fn to_read<'r>(
    step: &Step,
    plan: &TablePlan,
    mut parts: Vec<Part>,
    loaded: impl Fn(&Part) -> &'r [Chunk],
) -> Vec<Part> {
    let is_marked = plan.target.mark.is_some() && parts.len() == 1;
    if step.filling == Filling::Replace || step.filling == Filling::Renew && is_marked {
        // One transaction replaces all rows.
        parts.iter_mut().for_each(|part| part.chunks = vec![Chunk::WHOLE]);
    }
    if step.filling == Filling::Resume {
        for part in &mut parts {
            part.chunks = missing_chunks(&part.chunks, loaded(part));
        }
    }
    parts
}
