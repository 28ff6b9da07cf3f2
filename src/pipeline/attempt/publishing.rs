//! What is published, made and found to be as it should: before the slot, the copy, the stream.
//!
//! The hard question: may a stream ask for a publication that is younger than its position? No: the
//! server looks publications up as of each change (`LoadPublications`, under the historic snapshot),
//! and ends the stream, or skips rows, where one did not exist yet. So a publication that appeared
//! after the slot is left out until the position has passed its creation; the tables that it sends
//! are copied after that.

use std::collections::BTreeSet;

use super::streaming::{Stage, source_position};
use super::{Attempt, Held};
use crate::checkpoint::tables::TableRecord;
use crate::model::finding::Side;
use crate::pg::catalog::{self, TableInfo};
use crate::pg::ident::QualifiedName;
use crate::pipeline::choice::{AsideReason, Choice, Present};
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::Look;
use crate::pipeline::membership::{self, Membership};
use crate::pipeline::watch::{Watch, show_conditions};
use crate::source::publication::Sent;

/// What the rest of an attempt stands on.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) publications: Vec<String>,
    /// Those of them that are ours.
    pub(super) owned: Vec<String>,
    pub(super) choice: Choice,
    pub(super) membership: Membership,
    /// As they are after tables were put back to copying.
    pub(super) records: Vec<TableRecord>,
}

impl Published {
    pub(super) fn watch(&self, context: &Context, held: &Held, records: Vec<TableRecord>) -> Watch {
        let (choice, owned) = (self.choice.clone(), self.owned.clone());
        Watch::new(context, &held.source, choice, records, owned)
    }
}

impl Attempt<'_> {
    /// Brings publications and records up to date. `None`: what was looked at has changed meanwhile.
    pub(super) async fn publish(
        &mut self,
        held: &Held,
        look: &Look,
        records: Vec<TableRecord>,
    ) -> Result<Option<Published>, PipelineError> {
        let context = self.context;
        let epoch = held.checkpoint.epoch;
        let mut choice = look.selection.choice.clone();
        self.speak_of_aside(&choice);
        refuse_halted(&choice)?;
        let nobody = BTreeSet::new();
        let gaps = membership::gaps(&held.source, &choice, &records, &nobody).await?;
        membership::reopen(context, &held.destination, epoch, &gaps).await?;
        let mut records = records;
        if !gaps.is_empty() {
            records = held.records(context).await?;
        }
        let plan = look
            .ensure_publications(
                context,
                &held.source,
                &held.destination,
                &held.checkpoint,
                &records,
            )
            .await?;
        if !plan.statements.is_empty() {
            let present = Present { records: &records, owned: &plan.owned, is_running: true };
            choice = Choice::take(&held.source, &context.settings, present).await?;
            let are_filtered_otherwise = |info: &TableInfo| {
                let sent = choice.view.sent(info.oid, &choice.publications);
                matches!(sent, Sent::Table(sent) if sent.filters != info.row_filters)
            };
            if choice.selected != look.selection.choice.selected
                || look.selection.tables.iter().any(are_filtered_otherwise)
            {
                return Ok(None);
            }
            let ours: BTreeSet<QualifiedName> = plan.added.iter().cloned().collect();
            let gaps = membership::gaps(&held.source, &choice, &records, &ours).await?;
            membership::reopen(context, &held.destination, epoch, &gaps).await?;
            if !gaps.is_empty() {
                records = held.records(context).await?;
            }
        }
        let membership = Membership::new(&choice, &look.writes);
        membership.adopt(context, &held.destination, epoch, &records).await?;
        show_conditions(context, &choice, &records, &look.writes);
        let (publications, owned) = (plan.names, plan.owned);
        Ok(Some(Published { publications, owned, choice, membership, records }))
    }

    /// Each table that is left aside is spoken of once.
    fn speak_of_aside(&mut self, choice: &Choice) {
        for aside in &choice.aside {
            if !self.memory.told.insert(aside.table.clone()) {
                continue;
            }
            let table = &aside.table;
            match &aside.reason {
                AsideReason::Ignored => tracing::info!(
                    %table,
                    "a new table is left aside (new_tables); name it in include to have it copied"
                ),
                AsideReason::Detached => tracing::info!(
                    %table,
                    "a table that was a partition of a replicated one is left aside; name it in \
                     include to have it copied as a table of its own"
                ),
                AsideReason::Unpublished { remedy } => tracing::warn!(
                    %table,
                    remedy,
                    "the table is not published, and our role may not publish it: left aside"
                ),
            }
        }
    }

    /// What to stream first, where some of `names` are younger than our position: the older ones,
    /// until it has passed the younger ones.
    pub(super) async fn stage(
        &self,
        held: &Held,
        names: &[String],
    ) -> Result<Option<(Vec<String>, Stage)>, PipelineError> {
        let slot = &self.context.settings.source.slot;
        let young = catalog::young_publications(&held.source, slot, names).await;
        let mut young = young.map_err(PipelineError::catalog(Side::Source))?;
        young.retain(|(oid, _)| !self.memory.settled.contains(oid));
        let is_young = |name: &&String| young.iter().any(|(_, young)| young == *name);
        let (later, now): (Vec<&String>, Vec<&String>) = names.iter().partition(is_young);
        // Without any publication there is no stream: the server says what is wrong then.
        if later.is_empty() || now.is_empty() {
            return Ok(None);
        }
        let until = source_position(&held.source).await?;
        tracing::info!(publications = ?later, lsn = %until, "publications younger than our position are used once it has passed them");
        let now = now.into_iter().cloned().collect();
        let young = young.into_iter().map(|(oid, _)| oid).collect();
        Ok(Some((now, Stage { until, young })))
    }
}

fn refuse_halted(choice: &Choice) -> Result<(), PipelineError> {
    let Some(table) = choice.halted.first() else { return Ok(()) };
    Err(PipelineError::Schema {
        table: table.clone(),
        message: format!(
            "is new at the source, and new_tables is \"halt\"; name it in include or in exclude \
             ({} in all)",
            choice.halted.len()
        ),
        lsn: None,
    })
}
