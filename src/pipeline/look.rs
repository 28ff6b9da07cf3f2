//! One look at both servers before anything is created.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::apply::preflight::{can_set_replica_role, closed_state_findings};
use crate::checkpoint::row::{self, Checkpoint};
use crate::checkpoint::schema::{self, Presence};
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::config::settings::{Failover, Partitions, Settings};
use crate::failpoint;
use crate::model::finding::{Finding, Severity, Side};
use crate::pg::catalog::{self, ServerFacts};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::choice::Present;
use crate::pipeline::context::Context;
use crate::pipeline::destination_check;
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions;
use crate::pipeline::expressions::pushed::{self, Kept};
use crate::pipeline::lineage;
use crate::pipeline::membership::{self, Writes};
use crate::pipeline::planner::Planner;
use crate::pipeline::requests::{self, Asked};
use crate::pipeline::selection::{Selection, select};
use crate::pipeline::switch::Switch;
use crate::pipeline::there_and_back;
use crate::source::publication::{self, PublicationError, PublicationPlan, PublicationRequest};
use crate::source::slot::{PresentSource, Verdict, judge};
use crate::wire::{Session, SystemIdentity};

/// What was seen.
#[derive(Debug)]
pub struct Look {
    pub source_facts: ServerFacts,
    pub destination_facts: ServerFacts,
    pub identity: SystemIdentity,
    pub selection: Selection,
    /// Updates and deletes that will not be sent, as counted so far.
    pub writes: Writes,
    /// The destination's row before we touched it.
    pub remembered: Option<Checkpoint>,
    /// As they are once the requests that wait are taken.
    pub records: Vec<TableRecord>,
    pub asked: Asked,
    /// The state is there and we may not read it: what it would explain must not be judged.
    pub is_state_closed: bool,
    /// Our role at the destination may set `session_replication_role`.
    pub has_replica_role: bool,
    pub slot_confirmed_flush: Option<Lsn>,
}

/// Looks at both servers. Changes nothing.
pub async fn look(
    context: &Context,
    source: &Client,
    destination: &Client,
    replication: &mut Session,
) -> Result<Look, PipelineError> {
    let identity = replication.identify_system().await;
    let identity = identity.map_err(PipelineError::wire(Side::Source, "identifying it"))?;
    look_as(context, source, destination, identity).await
}

/// The same where no replication connection is needed to know who the source is.
pub async fn look_as(
    context: &Context,
    source: &Client,
    destination: &Client,
    identity: SystemIdentity,
) -> Result<Look, PipelineError> {
    let at_source = || PipelineError::catalog(Side::Source);
    let mut source_facts = catalog::server_facts(source).await.map_err(at_source())?;
    source_facts.system_identifier = Some(identity.system_identifier.clone());
    let destination_facts = catalog::server_facts(destination).await;
    let destination_facts = destination_facts.map_err(PipelineError::catalog(Side::Destination))?;
    context.board.server_versions(
        Some(source_facts.version.clone()),
        Some(destination_facts.version.clone()),
    );
    refuse_same_database(&context.settings, &source_facts, &destination_facts)?;
    let sql = &context.checkpoint;
    let presence = schema::presence(destination, &sql.schema).await?;
    let (remembered, mut records) = if presence == Presence::Readable {
        let remembered = row::read(destination, sql).await?;
        let records = crate::checkpoint::tables::read_all(destination, &sql.schema, &sql.pipeline);
        (remembered, records.await?)
    } else {
        (None, Vec::new())
    };
    let asked = match remembered {
        Some(_) => requests::look(context, destination, &records).await?,
        None => Asked::default(),
    };
    asked.apply(&mut records);
    let owned = remembered.as_ref().map_or(&[][..], |row| &row.owned_publications);
    let present = Present { records: &records, owned, is_running: context.is_established() };
    let selection = select(source, &context.settings, present).await?;
    let switch = Switch { context, selection: &selection };
    switch.refuse(&records)?;
    records.extend(switch.inherited(destination, &records).await?);
    let writes = membership::read_writes(source, &selection.choice).await?;
    for table in &selection.tables {
        let name = context.settings.destination_name(&table.name);
        context.board.table(&table.name, &name, !table.has_usable_identity());
    }
    let slot = catalog::slot(source, &context.settings.source.slot).await.map_err(at_source())?;
    Ok(Look {
        has_replica_role: can_set_replica_role(destination)
            .await
            .map_err(PipelineError::catalog(Side::Destination))?,
        slot_confirmed_flush: slot.and_then(|slot| slot.confirmed_flush_lsn),
        source_facts,
        destination_facts,
        identity,
        selection,
        writes,
        remembered,
        records,
        asked,
        is_state_closed: presence == Presence::Closed,
    })
}

pub(super) fn refuse_same_database(
    settings: &Settings,
    source: &ServerFacts,
    destination: &ServerFacts,
) -> Result<(), PipelineError> {
    if !source.is_same_database(destination) {
        return Ok(());
    }
    Err(PipelineError::Config {
        message: format!(
            "{}: leads to the same database as source.url (\"{}\"): the agent would replicate into what it reads",
            settings.places.key(&["destination", "url"]),
            source.database
        ),
    })
}

impl Look {
    fn established(&self) -> Vec<QualifiedName> {
        established(&self.records)
    }

    /// Everything that is wrong or worth knowing on both sides.
    pub async fn findings(
        &self,
        context: &Context,
        source: &Arc<Client>,
        destination: &Arc<Client>,
    ) -> Result<Vec<Finding>, PipelineError> {
        let mut findings = self.source_findings(context, source, destination).await?;
        findings.extend(self.destination_findings(context, source, destination).await?);
        Ok(findings)
    }

    /// The tables' filters: pushed into our publications, or why not.
    async fn filters(
        &self,
        context: &Context,
        source: &Arc<Client>,
        destination: &Arc<Client>,
    ) -> Result<BTreeMap<QualifiedName, Result<String, Kept>>, PipelineError> {
        let planner = Planner::new(context, source, destination, !self.has_replica_role);
        let (settings, tables) = (&context.settings, &self.selection.tables);
        pushed::pushed(settings, &self.source_facts, &planner, tables).await
    }

    pub async fn source_findings(
        &self,
        context: &Context,
        source: &Arc<Client>,
        destination: &Arc<Client>,
    ) -> Result<Vec<Finding>, PipelineError> {
        if self.is_state_closed {
            return Ok(crate::source::preflight::server_findings(&self.source_facts));
        }
        let settings = &context.settings;
        let established = self.established();
        let owned = self.owned();
        let filters = self.filters(context, source, destination).await?;
        let told: Vec<Finding> = expressions::findings::of_filters(&filters).collect();
        let filters = pushed::only_pushed(filters);
        let request = crate::source::preflight::SourceRequest {
            facts: &self.source_facts,
            slot: &settings.source.slot,
            slot_is_ours: self
                .remembered
                .as_ref()
                .is_some_and(|row| row.slot.as_deref() == Some(settings.source.slot.as_str())),
            needs_failover: settings.source.failover == Failover::On,
            publication: PublicationRequest {
                names: &settings.source.publications,
                owned,
                via_root: settings.source.partitions == Partitions::Root,
                tables: &self.selection.tables,
                established: &established,
                filters: &filters,
            },
            relations: &self.selection.choice.relations,
            named: &self.selection.named,
        };
        let findings = crate::source::preflight::findings(source, request).await;
        let mut findings = findings.map_err(publication_error)?;
        findings.extend(told);
        findings.extend(self.selection.foreign_partitions());
        findings.extend(there_and_back::findings(settings, source, self).await);
        Ok(findings)
    }

    pub async fn destination_findings(
        &self,
        context: &Context,
        source: &Arc<Client>,
        destination: &Arc<Client>,
    ) -> Result<Vec<Finding>, PipelineError> {
        if self.is_state_closed {
            let (schema, facts) =
                (&context.settings.destination.state_schema, &self.destination_facts);
            let findings = closed_state_findings(destination, schema, facts).await;
            return findings.map_err(PipelineError::catalog(Side::Destination));
        }
        let mut planner = Planner::new(context, source, destination, !self.has_replica_role);
        planner.set_records(self.records.clone());
        let subject = destination_check::Subject {
            source_facts: &self.source_facts,
            destination_facts: &self.destination_facts,
            tables: &self.selection.tables,
            records: &self.records,
            is_copy_only: false,
        };
        destination_check::findings(context, subject, &planner, source, destination).await
    }

    /// Refuses to go on where a finding says so; logs the rest.
    pub async fn preflight(
        &self,
        context: &Context,
        source: &Arc<Client>,
        destination: &Arc<Client>,
    ) -> Result<(), PipelineError> {
        act_on(self.findings(context, source, destination).await?)
    }

    /// Publications that are ours, as the destination remembers them.
    pub fn owned(&self) -> &[String] {
        self.remembered.as_ref().map_or(&[], |row| &row.owned_publications)
    }

    /// Makes our publications what the settings ask for.
    pub async fn ensure_publications(
        &self,
        context: &Context,
        source: &Arc<Client>,
        destination: &Arc<Client>,
        checkpoint: &Checkpoint,
        records: &[TableRecord],
    ) -> Result<PublicationPlan, PipelineError> {
        let established = established(records);
        let filters = pushed::only_pushed(self.filters(context, source, destination).await?);
        let mut request = PublicationRequest {
            names: &context.settings.source.publications,
            owned: &checkpoint.owned_publications,
            via_root: context.settings.source.partitions == Partitions::Root,
            tables: &self.selection.tables,
            established: &established,
            filters: &filters,
        };
        let plan = publication::plan(source, request).await.map_err(publication_error)?;
        let mut owned = checkpoint.owned_publications.clone();
        owned.extend(
            plan.owned.iter().filter(|name| !checkpoint.owned_publications.contains(name)).cloned(),
        );
        if owned != checkpoint.owned_publications {
            // Before they exist: a crash in between must not leave publications nobody knows.
            row::record_publications(destination, &context.checkpoint, checkpoint.epoch, &owned)
                .await?;
            failpoint::hit(failpoint::PUBLICATIONS_RECORDED).await;
        }
        request.owned = &owned;
        let plan = publication::ensure(source, request).await.map_err(publication_error)?;
        if !plan.statements.is_empty() {
            failpoint::hit(failpoint::PUBLICATIONS_ALTERED).await;
        }
        for name in &plan.created {
            tracing::info!(publication = name, "publication created");
        }
        Ok(plan)
    }
}

/// Refuses to go on where a finding says so; logs the rest.
pub(super) fn act_on(findings: Vec<Finding>) -> Result<(), PipelineError> {
    let (errors, others): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(PipelineError::Preflight(errors));
    }
    for finding in others.iter().filter(|finding| finding.severity == Severity::Warning) {
        tracing::warn!(
            side = finding.side.label(),
            object = finding.object,
            remedy = finding.remedy,
            "{}",
            finding.message
        );
    }
    Ok(())
}

/// Tables whose changes have been arriving.
fn established(records: &[TableRecord]) -> Vec<QualifiedName> {
    records
        .iter()
        .filter(|record| record.state == CopyState::Copied)
        .map(|record| record.source.clone())
        .collect()
}

fn publication_error(error: PublicationError) -> PipelineError {
    match error {
        PublicationError::Catalog(source) => PipelineError::Catalog { side: Side::Source, source },
        PublicationError::Statement(source) => PipelineError::Query {
            side: Side::Source,
            doing: "creating or altering publications",
            source,
        },
        PublicationError::Unsuitable { findings } => PipelineError::Preflight(
            findings.into_iter().filter(|f| f.severity == Severity::Error).collect(),
        ),
    }
}

/// Whether history goes on: the slot against the row. `checkpoint`: the row as it is now.
pub async fn judge_slot(
    context: &Context,
    source: &Client,
    replication: &mut Session,
    look: &Look,
    checkpoint: Option<&Checkpoint>,
) -> Result<Verdict, PipelineError> {
    let name = &context.settings.source.slot;
    let remembered = checkpoint.and_then(lineage::remembered);
    let history = match &remembered {
        Some(remembered) => lineage::history(replication, remembered, &look.identity).await?,
        None => Vec::new(),
    };
    let slot = catalog::slot(source, name).await.map_err(PipelineError::catalog(Side::Source))?;
    let present = PresentSource {
        system_identifier: &look.identity.system_identifier,
        timeline: look.identity.timeline,
        history: &history,
        wal_end: look.identity.wal_end,
        database: &look.source_facts.database,
    };
    Ok(judge(name, remembered.as_ref(), slot.as_ref(), &present)?)
}
