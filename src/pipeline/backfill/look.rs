//! One look at both servers before a backfill; changes nothing.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{queries, show};
use crate::apply::preflight::can_set_replica_role;
use crate::checkpoint::row;
use crate::checkpoint::schema::{self, Presence};
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{
    self, RelationKind, RelationSummary, ServerFacts, TableFilter, TableInfo,
};
use crate::pg::client::Client;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pipeline::context::{Context, SNAPSHOT_SUFFIX};
use crate::pipeline::copy::query::QueryPlan;
use crate::pipeline::destination_check::{self, Subject};
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::{act_on, refuse_same_database};
use crate::pipeline::planner::Planner;
use crate::pipeline::selection::select_for_copy;
use crate::source::preflight::{privilege_findings, relation_findings};
use crate::transform;

/// Stands in the state for a server that does not say who it is.
pub(super) const UNKNOWN_SYSTEM: &str = "unknown";

/// The oldest version whose TID range scans read a chunk without reading the table.
const VERSION_MIN: i32 = 14;

/// What was seen.
pub(super) struct Look {
    source_facts: ServerFacts,
    destination_facts: ServerFacts,
    pub(super) has_replica_role: bool,
    /// All chosen tables.
    pub(super) tables: Vec<TableInfo>,
    /// Those that are to be copied.
    pub(super) pending: Vec<TableInfo>,
    pub(super) records: Vec<TableRecord>,
    /// Queries are a part of it.
    pub(super) has_queries: bool,
    /// Those that are to be copied: positions in the settings.
    pub(super) pending_queries: Vec<usize>,
    relations: Vec<RelationSummary>,
    named: Vec<QualifiedName>,
    /// Partitions whose rows are elsewhere.
    foreign: Vec<Finding>,
    /// Destination tables that a running pipeline feeds, with its name.
    fed: Vec<(QualifiedName, String)>,
}

impl Look {
    pub(super) async fn take(
        context: &Context,
        only: &[QualifiedName],
        is_restart: bool,
        source: &Client,
        destination: &Client,
    ) -> Result<Look, PipelineError> {
        let at_source = || PipelineError::catalog(Side::Source);
        let at_destination = || PipelineError::catalog(Side::Destination);
        let source_facts = catalog::server_facts(source).await.map_err(at_source())?;
        let destination_facts =
            catalog::server_facts(destination).await.map_err(at_destination())?;
        context.board.server_versions(
            Some(source_facts.version.clone()),
            Some(destination_facts.version.clone()),
        );
        refuse_same_database(&context.settings, &source_facts, &destination_facts)?;
        let selection = select_for_copy(source, &context.settings).await?;
        let chosen = selection.only(only)?;
        let mut look = Look {
            has_replica_role: can_set_replica_role(destination).await.map_err(at_destination())?,
            source_facts,
            destination_facts,
            pending: chosen.clone(),
            tables: chosen,
            records: Vec::new(),
            has_queries: only.is_empty(),
            pending_queries: Vec::new(),
            foreign: selection.foreign_partitions(),
            relations: selection.choice.relations,
            named: selection.named,
            fed: Vec::new(),
        };
        let sql = &context.checkpoint;
        if schema::presence(destination, &sql.schema).await? == Presence::Readable {
            look.records = tables::read_all(destination, &sql.schema, &sql.pipeline).await?;
            look.fed = tables::fed_by_others(destination, &sql.schema, SNAPSHOT_SUFFIX).await?;
            let remembered = row::read(destination, sql).await?;
            if let Some(remembered) = remembered {
                let is_whole = is_restart && only.is_empty();
                look.check_source(&remembered.source_system_identifier, is_whole)?;
            }
            if !is_restart {
                look.leave_out_finished(context, destination).await?;
            }
        }
        if look.has_queries {
            look.pending_queries = match is_restart {
                true => (0..context.settings.queries.len()).collect(),
                false => queries::pending(context, &look.records, destination).await?,
            };
        }
        show(context, &look);
        Ok(look)
    }

    /// Who the source is, as the state remembers it.
    pub(super) fn source_system(&self) -> &str {
        self.source_facts.system_identifier.as_deref().unwrap_or(UNKNOWN_SYSTEM)
    }

    /// What the report is about: tables, and queries.
    pub(super) fn chosen(&self, context: &Context) -> Vec<QualifiedName> {
        let tables = self.tables.iter().map(|table| table.name.clone());
        tables.chain(self.chosen_queries(context)).collect()
    }

    pub(super) fn chosen_queries(&self, context: &Context) -> Vec<QualifiedName> {
        let queries = context.settings.queries.iter().filter(|_| self.has_queries);
        queries.map(queries::name).collect()
    }

    pub(super) fn chosen_count(&self, context: &Context) -> usize {
        self.chosen(context).len()
    }

    pub(super) fn pending_count(&self) -> usize {
        self.pending.len() + self.pending_queries.len()
    }

    /// Whether a finished table's foreign keys are still to come.
    pub(super) fn owes(&self) -> bool {
        let is_chosen = |record: &TableRecord| self.tables.iter().any(|t| t.name == record.source);
        self.records.iter().any(|record| !record.finished && is_chosen(record))
    }

    /// Tables of two sources do not belong into one backfill.
    fn check_source(&self, remembered: &str, is_whole_restart: bool) -> Result<(), PipelineError> {
        let present = self.source_system();
        let is_known = present != UNKNOWN_SYSTEM && remembered != UNKNOWN_SYSTEM;
        if !is_known || present == remembered || is_whole_restart || self.records.is_empty() {
            return Ok(());
        }
        Err(PipelineError::Lineage {
            message: format!(
                "the tables that an earlier snapshot finished came from system {remembered}, the source is system {present}: start over with --restart"
            ),
        })
    }

    async fn leave_out_finished(
        &mut self,
        context: &Context,
        destination: &Client,
    ) -> Result<(), PipelineError> {
        let settings = &context.settings;
        let finished: Vec<&TableRecord> = self
            .records
            .iter()
            .filter(|record| record.state == CopyState::Copied)
            .filter(|record| self.tables.iter().any(|table| table.name == record.source))
            .collect();
        let changed: Vec<String> = finished
            .iter()
            .filter(|record| {
                let name = settings.destination_name(&record.source);
                transform::fingerprint(settings.table(&record.source), &name) != record.fingerprint
            })
            .map(|record| {
                let name = record.source.sql();
                format!(
                    "[[table]] {name}: its destination or columns differ from those its rows were copied with; undo the change, or copy it again: snapshot --restart --table '{name}'"
                )
            })
            .collect();
        if !changed.is_empty() {
            return Err(PipelineError::Config { message: changed.join("\n") });
        }
        let names: Vec<QualifiedName> =
            finished.iter().map(|record| record.destination.clone()).collect();
        let present = catalog::tables(destination, TableFilter::Names(&names)).await;
        let present = present.map_err(PipelineError::catalog(Side::Destination))?;
        let present: HashSet<&QualifiedName> = present.iter().map(|table| &table.name).collect();
        let mut done = HashSet::new();
        for record in finished {
            if present.contains(&record.destination) {
                done.insert(&record.source);
            } else {
                tracing::warn!(table = %record.source, destination = %record.destination, "the destination's table is gone; it is copied again");
            }
        }
        self.pending.retain(|table| !done.contains(&table.name));
        Ok(())
    }

    /// Refuses to go on where something is wrong; logs the rest. Gives the queries that are to be
    /// copied.
    pub(super) async fn preflight(
        &self,
        context: &Context,
        source: &Arc<Client>,
        destination: &Arc<Client>,
    ) -> Result<Vec<QueryPlan>, PipelineError> {
        if self.pending_count() == 0 {
            return Ok(Vec::new());
        }
        let subject = queries::Subject {
            context,
            destination,
            source_facts: &self.source_facts,
            destination_facts: &self.destination_facts,
            records: &self.records,
            tables: &self.tables,
            fed: &self.fed,
        };
        let mut queries = queries::look(subject, &self.pending_queries).await?;
        if !queries.mistakes.is_empty() {
            return Err(PipelineError::Config { message: queries.mistakes.join("\n") });
        }
        let mut findings = self.source_findings(source).await?;
        let mut planner =
            Planner::new(context, source, destination, !self.has_replica_role).for_copy_only();
        planner.set_records(self.records.clone());
        let subject = Subject {
            source_facts: &self.source_facts,
            destination_facts: &self.destination_facts,
            tables: &self.pending,
            records: &self.records,
            is_copy_only: true,
        };
        findings.extend(
            destination_check::findings(context, subject, &planner, source, destination).await?,
        );
        findings.extend(self.fed_findings(context));
        findings.extend(queries.findings);
        act_on(findings)?;
        if let Some((query, message)) = queries.doomed.pop() {
            return Err(PipelineError::QueryResult { query, message });
        }
        Ok(queries.plans)
    }

    async fn source_findings(&self, source: &Client) -> Result<Vec<Finding>, PipelineError> {
        let failed = || PipelineError::catalog(Side::Source);
        let facts = &self.source_facts;
        let mut findings = Vec::new();
        if facts.major_version() < VERSION_MIN {
            let message =
                format!("it is PostgreSQL {}; version {VERSION_MIN} is the oldest", facts.version);
            findings.push(Finding::error(Side::Source, "server", message));
        }
        // An unlogged table is copied like any other: nothing follows that would need the WAL.
        let others: Vec<RelationSummary> = self
            .relations
            .iter()
            .filter(|relation| relation.kind == RelationKind::Other)
            .cloned()
            .collect();
        findings.extend(relation_findings(&others, &self.named));
        findings.extend(self.foreign.iter().cloned());
        let mut oids: Vec<u32> = self.pending.iter().map(|table| table.oid).collect();
        let leaves = catalog::partition_leaves(source, &oids).await.map_err(failed())?;
        oids.extend(leaves.iter().map(|leaf| leaf.oid));
        let privileges = catalog::privileges(source, &oids).await.map_err(failed())?;
        findings.extend(privilege_findings(&facts.role, &privileges));
        for table in self.pending.iter().filter(|table| table.row_security_active) {
            let message = "row-level security hides rows of it from our role";
            findings.push(
                Finding::error(Side::Source, format!("table {}", table.name.sql()), message)
                    .remedy(format!("ALTER ROLE {} BYPASSRLS", identifier(&facts.role))),
            );
        }
        Ok(findings)
    }

    /// Tables that a pipeline of ours keeps in step: a backfill would break it.
    fn fed_findings(&self, context: &Context) -> Vec<Finding> {
        let names: BTreeSet<QualifiedName> = self
            .pending
            .iter()
            .map(|table| context.settings.destination_name(&table.name))
            .collect();
        self.fed
            .iter()
            .filter(|(name, _)| names.contains(name))
            .map(|(name, pipeline)| {
                let message = format!(
                    "pipeline \"{pipeline}\" keeps it in step; a snapshot would overwrite what it has applied: leave the table out, or reset that pipeline first"
                );
                Finding::error(Side::Destination, format!("table {}", name.sql()), message)
            })
            .collect()
    }
}
