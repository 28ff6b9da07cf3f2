//! `check`, without its command line: everything that stands between the settings and `run`.
//!
//! Out comes a [`Report`] that keeps three things apart: *findings* (a server is not prepared),
//! *mistakes* (the configuration does not fit the databases) and *failures* (it could not look).
//! One of a kind does not hide the others.
//!
//! **Invariant:** nothing is created or changed on either side.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::checkpoint::row;
use crate::checkpoint::tables::CopyState;
use crate::model::finding::{Finding, Severity, Side};
use crate::pg::catalog::{self, ServerFacts, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pipeline::backfill::queries;
use crate::pipeline::choice::{AsideReason, Present};
use crate::pipeline::code::Code;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::{Look, judge_slot, look_as};
use crate::pipeline::membership::diverged;
use crate::pipeline::patience::may_mend_itself;
use crate::pipeline::pending::changed_tables;
use crate::pipeline::policy::judge;
use crate::pipeline::pooling;
use crate::pipeline::selection::select;
use crate::source::preflight::server_findings;
use crate::source::slot::SlotError;
use crate::wire::{Session, SystemIdentity};

mod render;

pub use render::{render_human, render_json};

/// What was seen.
#[derive(Debug, Default)]
pub struct Report {
    pub pipeline: String,
    /// Server and role, as far as they were seen: side, text.
    pub servers: Vec<(Side, String)>,
    /// The selected tables by the source's name.
    pub tables: Vec<QualifiedName>,
    /// How many of them are still to be copied.
    pub pending_count: usize,
    /// How many queries there are, where there is nothing else and so nothing for `run`.
    pub lone_query_count: Option<usize>,
    /// No slot was ever made.
    pub is_first_contact: bool,
    /// Who runs the pipeline at this moment.
    pub holder: Option<String>,
    pub findings: Vec<Finding>,
    pub mistakes: Vec<String>,
    pub failures: Vec<PipelineError>,
}

impl Report {
    /// What it ends on; `None` where `run` would start. Where it could not look, it cannot say
    /// more; a mistake is mended before the servers are.
    pub fn code(&self) -> Option<Code> {
        if let Some(failure) = self.failures.first() {
            Some(judge(failure, false).code)
        } else if !self.mistakes.is_empty() {
            Some(Code::E_CONFIG)
        } else {
            self.has_errors().then_some(Code::E_PREFLIGHT)
        }
    }

    /// Whether looking again later may tell more.
    pub fn may_mend_itself(&self) -> bool {
        self.failures.iter().any(may_mend_itself)
    }

    fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Sorts an outcome into the three kinds.
    fn take(&mut self, outcome: Result<Vec<Finding>, PipelineError>) {
        match outcome {
            Ok(findings) | Err(PipelineError::Preflight(findings)) => {
                self.findings.extend(findings);
            }
            Err(PipelineError::Config { message }) => self.mistake(&message),
            Err(PipelineError::Schema { table, message, .. }) => {
                let object = format!("table {}", table.sql());
                self.findings.push(Finding::error(Side::Destination, object, message));
            }
            Err(error) => self.failures.push(error),
        }
    }

    /// One message a line; said once.
    fn mistake(&mut self, message: &str) {
        for line in message.lines().filter(|line| !line.is_empty()) {
            if !self.mistakes.iter().any(|known| known == line) {
                self.mistakes.push(line.to_owned());
            }
        }
    }
}

/// Looks at both servers.
pub async fn check(context: &Context) -> Report {
    let mut report = Report { pipeline: context.settings.pipeline.clone(), ..Report::default() };
    let (source, destination) =
        tokio::join!(context.source_client("check"), context.destination_client("check"));
    let source = connected(context, &mut report, Side::Source, source);
    let destination = connected(context, &mut report, Side::Destination, destination);
    if let (Some(source), Some(destination)) = (source, destination) {
        Box::pin(look_at_both(context, &mut report, &source, &destination)).await;
    }
    // Errors first, then by side, in the order in which they were found.
    report.findings.sort_by_key(|finding| (finding.severity, finding.side));
    report
}

/// What to say instead of `error`, which refused `run` a connection before it had looked: everything
/// that is wrong, if anything is found.
///
/// A server without a free walsender may have one in a moment, so that is waited for, unless there
/// never was a slot of ours: then it is a setting that does not suffice, and nothing will change it.
pub async fn explain_refusal(context: &Context, error: PipelineError) -> PipelineError {
    let is_full = is_full(&error);
    if may_mend_itself(&error) && !is_full {
        return error;
    }
    let report = Box::pin(check(context)).await;
    if !report.failures.is_empty() || is_full && !report.is_first_contact {
        return error;
    }
    if !report.mistakes.is_empty() {
        return PipelineError::Config { message: report.mistakes.join("\n") };
    }
    let mut errors = report.findings;
    errors.retain(|finding| finding.severity == Severity::Error);
    if errors.is_empty() { error } else { PipelineError::Preflight(errors) }
}

/// All connections of its kind are in use.
fn is_full(error: &PipelineError) -> bool {
    error.server_error().is_some_and(|error| error.code == SqlState::TOO_MANY_CONNECTIONS)
}

/// A refusal is a finding, an unreachable server is not.
fn connected(
    context: &Context,
    report: &mut Report,
    side: Side,
    client: Result<Client, PipelineError>,
) -> Option<Arc<Client>> {
    match client {
        Ok(client) => return Some(Arc::new(client)),
        Err(error) if may_mend_itself(&error) => report.failures.push(error),
        Err(error) => report.findings.push(refused(context, side, "connection", &error)),
    }
    None
}

fn refused(context: &Context, side: Side, object: &str, error: &PipelineError) -> Finding {
    let finding = Finding::error(side, object, error.chain());
    let conninfo = match side {
        Side::Source => &context.source.conninfo,
        Side::Destination => &context.destination.conninfo,
    };
    let exact = match error {
        PipelineError::Connect(error) => error.remedy(conninfo),
        _ => None,
    };
    exact.or_else(|| error.hint()).into_iter().fold(finding, Finding::remedy)
}

async fn look_at_both(
    context: &Context,
    report: &mut Report,
    source: &Arc<Client>,
    destination: &Arc<Client>,
) {
    for (side, client) in [(Side::Source, source), (Side::Destination, destination)] {
        let outcome = pooling::findings(context, side, client).await;
        report.take(outcome);
    }
    // There is nothing for `run` to do, and `snapshot` has queries.
    if context.settings.include.is_empty() {
        report.lone_query_count = Some(context.settings.queries.len());
        return queries(context, report, source, destination, &[]).await;
    }
    let facts = match catalog::server_facts(source).await {
        Ok(facts) => facts,
        Err(error) => return report.failures.push(PipelineError::catalog(Side::Source)(error)),
    };
    let (identity, mut replication) = match replication(context, report, &facts, source).await {
        Ok(known) => known,
        Err(error) => return report.failures.push(error),
    };
    let look = match look_as(context, source, destination, identity).await {
        Ok(look) => look,
        Err(PipelineError::Config { message }) => {
            report.mistake(&message);
            // It may have ended before it came to the tables.
            report.take(
                select(source, &context.settings, Present::default()).await.map(|_| Vec::new()),
            );
            report.findings.extend(server_findings(&facts));
            return queries(context, report, source, destination, &[]).await;
        }
        Err(error) => return report.take(Err(error)),
    };
    report.describe(&look);
    report.mistake(&changed_tables(context, &look.selection, &look.records).join("\n"));
    report.findings.extend(standing_findings(&look));
    report.take(look.source_findings(context, source, destination).await);
    report.take(look.destination_findings(context, source, destination).await);
    queries(context, report, source, destination, &look.selection.tables).await;
    if let Some(replication) = &mut replication {
        slot(context, report, source, replication, &look).await;
    }
    if look.remembered.is_some() {
        match row::holder(destination, &context.checkpoint).await {
            Ok(holder) => report.held_by(holder),
            Err(error) => report.failures.push(error.into()),
        }
    }
}

/// What keeps `snapshot` from copying the settings' queries.
async fn queries(
    context: &Context,
    report: &mut Report,
    source: &Client,
    destination: &Client,
    tables: &[TableInfo],
) {
    match queries::check(context, source, destination, tables).await {
        Ok(looked) => {
            let doomed = looked.doomed.into_iter().map(queries::doomed);
            report.findings.extend(looked.findings.into_iter().chain(doomed));
            looked.mistakes.iter().for_each(|mistake| report.mistake(mistake));
        }
        Err(error) => report.take(Err(error)),
    }
}

/// What holds or degrades a pipeline that has begun: tables that `new_tables` is about, and
/// insert-only ones that were updated or deleted from.
fn standing_findings(look: &Look) -> Vec<Finding> {
    let table = |name: &QualifiedName| format!("table {}", name.sql());
    let mut findings = Vec::new();
    for name in &look.selection.choice.halted {
        let message = "it is new, and new_tables is \"halt\": run holds its position (E_SCHEMA); \
                       name it in include or in exclude";
        findings.push(Finding::error(Side::Source, table(name), message));
    }
    for aside in &look.selection.choice.aside {
        let message = match aside.reason {
            AsideReason::Ignored => "it is new, and left aside (new_tables)",
            AsideReason::Detached => "it was a partition of a replicated table, and is left aside",
            AsideReason::Unpublished { .. } => continue,
        };
        findings.push(Finding::info(Side::Source, table(&aside.table), message));
    }
    for name in diverged(&look.records, &look.writes) {
        let message = "only its inserts are replicated, and it was updated or deleted from since its \
                       copy";
        let remedy = format!(
            "ALTER TABLE {} REPLICA IDENTITY FULL; -- then sync-agent resync --table {}",
            name.sql(),
            name.argument()
        );
        findings.push(Finding::warning(Side::Source, table(&name), message).remedy(remedy));
    }
    findings
}

/// Who the source is, and the connection that told it. Where no replication connection is to be
/// had, that is a finding, and the rest is looked at all the same.
async fn replication(
    context: &Context,
    report: &mut Report,
    facts: &ServerFacts,
    source: &Client,
) -> Result<(SystemIdentity, Option<Session>), PipelineError> {
    let error = match context.replication_session().await {
        Ok(mut session) => {
            let identity = session.identify_system().await;
            let identity = identity.map_err(PipelineError::wire(Side::Source, "identifying it"))?;
            return Ok((identity, Some(session)));
        }
        Err(error) => error,
    };
    let is_full = is_full(&error);
    if may_mend_itself(&error) && !is_full {
        return Err(error);
    }
    // The role's attribute and the number of senders have findings of their own.
    let is_explained = !facts.has_replication || is_full && facts.free_wal_senders() < 1;
    if !is_explained {
        report.findings.push(refused(context, Side::Source, "replication connection", &error));
    }
    let (wal_end, _) =
        catalog::wal_end(source).await.map_err(PipelineError::catalog(Side::Source))?;
    let system_identifier = facts.system_identifier.clone();
    let identity = SystemIdentity {
        system_identifier: system_identifier.unwrap_or_else(|| "unknown".to_owned()),
        timeline: 0,
        wal_end,
        dbname: Some(facts.database.clone()),
    };
    Ok((identity, None))
}

/// Whether history goes on. What is wrong with the slot's kind is among the source's findings.
async fn slot(
    context: &Context,
    report: &mut Report,
    source: &Client,
    replication: &mut Session,
    look: &Look,
) {
    let verdict = judge_slot(context, source, replication, look, look.remembered.as_ref()).await;
    let object = format!("replication slot \"{}\"", context.settings.source.slot);
    match verdict {
        // A running agent is the usual one; the lease tells.
        Ok(_)
        | Err(PipelineError::Slot(
            SlotError::Active { .. } | SlotError::Foreign { .. } | SlotError::Unsuitable { .. },
        )) => {}
        Err(PipelineError::Slot(error)) => {
            // That run would create it is not true then.
            report.findings.retain(|finding| finding.object != object);
            let code = judge(&PipelineError::Slot(error.clone()), false).code;
            report.findings.push(
                Finding::error(Side::Source, object, format!("{code}: {error}"))
                    .remedy(error.hint()),
            );
        }
        Err(error) => report.failures.push(error),
    }
}

impl Report {
    fn describe(&mut self, look: &Look) {
        for (side, facts) in
            [(Side::Source, &look.source_facts), (Side::Destination, &look.destination_facts)]
        {
            let text = format!(
                "PostgreSQL {}, database {}, role {}",
                facts.version,
                identifier(&facts.database),
                identifier(&facts.role)
            );
            self.servers.push((side, text));
        }
        self.tables = look.selection.names();
        let row = look.remembered.as_ref();
        self.is_first_contact = row.is_none_or(|row| row.slot.is_none());
        let is_copied = |name: &&QualifiedName| {
            look.records
                .iter()
                .any(|record| record.source == **name && record.state == CopyState::Copied)
        };
        self.pending_count = self.tables.iter().filter(|name| !is_copied(name)).count();
    }

    fn held_by(&mut self, holder: Option<String>) {
        if let Some(holder) = &holder {
            let object = format!("lease of pipeline \"{}\"", self.pipeline);
            let message = format!("an agent works on it ({holder}); another would stand by");
            self.findings.push(Finding::info(Side::Destination, object, message));
        }
        self.holder = holder;
    }
}
