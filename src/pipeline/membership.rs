//! What the publications send of each table, against what was remembered: a table about which
//! something may have been missed is copied again.
//!
//! ```text
//!   choice ─► compare with the records ─► gaps: to be copied again
//!     └─► our publications brought up to date ─► choice again ─► the rest: mark adopted
//! ```
//!
//! **Invariants:**
//! - A record is never given a new mark while a gap is unexplained: a crash in between finds the gap
//!   again.
//! - Numbers of updates and deletes are read before the consistent point of the copy that they
//!   belong to, so that one in between counts as missed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pg::catalog;
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;
use crate::pipeline::choice::{AsideReason, Choice};
use crate::pipeline::context::Context;
use crate::pipeline::drift::renamed::RENAMED;
use crate::pipeline::error::PipelineError;
use crate::pipeline::requests;
use crate::pipeline::status::State;
use crate::source::publication::{Difference, Mark};

/// Updates and deletes of the tables without identity, by the table that holds the rows.
pub type Writes = BTreeMap<Oid, i64>;

/// Marks of the selected tables.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    marks: HashMap<QualifiedName, (Oid, Mark)>,
}

/// The tables to copy again, each with its reason.
pub type Gaps = BTreeMap<QualifiedName, String>;

/// Counts what will not be sent.
pub async fn read_writes(client: &Client, choice: &Choice) -> Result<Writes, PipelineError> {
    let insert_only = choice.selected.iter().filter(|(_, oid)| choice.lacks_identity(*oid));
    let heaps: Vec<Oid> = insert_only.flat_map(|(_, oid)| choice.view.heaps(*oid)).collect();
    if heaps.is_empty() {
        return Ok(Writes::new());
    }
    let counts = catalog::writes(client, &heaps).await;
    Ok(counts.map_err(PipelineError::catalog(Side::Source))?.into_iter().collect())
}

/// A publication that the records know, and that is not there any more: what was written meanwhile
/// is not in the stream. Only those of the settings count: what became of the second one shows in
/// its tables.
pub fn lost_publication<'a>(
    context: &Context,
    choice: &Choice,
    owned: &[String],
    records: impl Iterator<Item = &'a TableRecord> + Clone,
) -> Option<PipelineError> {
    for name in &context.settings.source.publications {
        let present = choice.view.publication(name).map(|publication| publication.oid);
        let known = records
            .clone()
            .filter_map(|record| Mark::parse(record.published.as_deref()?))
            .flat_map(|mark| mark.through)
            .find(|through| through.name == *name);
        let is_lost = match &known {
            Some(known) => present != Some(known.publication),
            None => present.is_none() && owned.contains(name) && records.clone().next().is_some(),
        };
        if is_lost {
            let is_replaced = present.is_some();
            return Some(PipelineError::PublicationGone { name: name.clone(), is_replaced });
        }
    }
    None
}

/// Refuses to go on without it, as long as rows that came by it are to stay.
pub fn refuse_lost(
    context: &Context,
    choice: &Choice,
    owned: &[String],
    records: &[TableRecord],
) -> Result<(), PipelineError> {
    let copied = records.iter().filter(|record| record.state == CopyState::Copied);
    lost_publication(context, choice, owned, copied).map_or(Ok(()), Err)
}

/// Which copied tables have a gap. `ours`: tables that we ourselves have just moved from one of our
/// publications to the other; they miss something only if more is sent of them now.
pub async fn gaps(
    source: &Client,
    choice: &Choice,
    records: &[TableRecord],
    ours: &BTreeSet<QualifiedName>,
) -> Result<Gaps, PipelineError> {
    let selected: HashMap<&QualifiedName, Oid> =
        choice.selected.iter().map(|(name, oid)| (name, *oid)).collect();
    let mut gaps = Gaps::new();
    let mut attached: Vec<(QualifiedName, QualifiedName)> = Vec::new();
    for record in records.iter().filter(|record| record.state == CopyState::Copied) {
        let name = &record.source;
        let Some(&oid) = selected.get(name) else {
            if let Some(reason) = unreachable(choice, name) {
                gaps.insert(name.clone(), reason.to_owned());
            }
            continue;
        };
        if let Some(known) = record.source_oid.filter(|known| *known != oid) {
            let reason = match known {
                RENAMED => "it had another name for a while",
                _ => "it was dropped and created again",
            };
            gaps.insert(name.clone(), reason.to_owned());
            continue;
        }
        let Some(before) = record.published.as_deref().and_then(Mark::parse) else { continue };
        let Some(now) = choice.view.mark(oid, &choice.publications) else {
            gaps.insert(name.clone(), "it is not published".to_owned());
            continue;
        };
        if ours.contains(name) {
            if before.sends_less_than(&now) {
                let reason = "its updates and deletes were not published until now";
                gaps.insert(name.clone(), reason.to_owned());
            }
            continue;
        }
        match before.difference(&now, oid, &choice.view) {
            Difference::None | Difference::Harmless => {}
            Difference::Gap(reason) => {
                gaps.insert(name.clone(), reason);
            }
            Difference::Attached(leaves) => {
                let leaf_names = leaves.iter().filter_map(|leaf| choice.view.name(*leaf));
                attached.extend(leaf_names.map(|leaf| (leaf.clone(), name.clone())));
            }
        }
    }
    // An empty one has nothing that was not sent.
    let leaves: Vec<QualifiedName> = attached.iter().map(|(leaf, _)| leaf.clone()).collect();
    let with_rows = catalog::tables_with_rows(source, &leaves).await;
    let with_rows = with_rows.map_err(PipelineError::catalog(Side::Source))?;
    for (leaf, table) in attached.into_iter().filter(|(leaf, _)| with_rows.contains(leaf)) {
        let reason = format!("partition {} was attached with rows in it", leaf.sql());
        gaps.entry(table).or_insert(reason);
    }
    Ok(gaps)
}

/// Why changes of a recorded table that is not among the selected ones do not come, though they
/// should. A table that is gone, or excluded, is not of that kind.
fn unreachable(choice: &Choice, name: &QualifiedName) -> Option<&'static str> {
    let is_aside = |reason: &AsideReason| matches!(reason, AsideReason::Unpublished { .. });
    if choice.aside.iter().any(|aside| aside.table == *name && is_aside(&aside.reason)) {
        return Some("it was removed from its publication");
    }
    let is_unlogged = choice.unlogged.contains(name);
    is_unlogged.then_some("it is unlogged: its changes are not in the stream")
}

/// Has the tables copied again, their old rows readable until then; says why.
pub async fn reopen(
    context: &Context,
    destination: &Client,
    epoch: i64,
    gaps: &Gaps,
) -> Result<(), PipelineError> {
    if gaps.is_empty() {
        return Ok(());
    }
    // Before anybody is told: whoever waits for it must not find us streaming.
    context.board.set_state(State::Copying, format!("{} tables are copied again", gaps.len()));
    let sql = &context.checkpoint;
    let names: Vec<QualifiedName> = gaps.keys().cloned().collect();
    let reopen = tables::reopen_text(&sql.schema, &sql.pipeline, &names, CopyState::Replacing);
    requests::change(context, destination, epoch, &reopen).await?;
    for (table, reason) in gaps {
        tracing::warn!(table = %table, reason, "the table is copied again");
    }
    Ok(())
}

impl Membership {
    pub fn new(choice: &Choice, writes: &Writes) -> Membership {
        let mark = |(name, oid): &(QualifiedName, Oid)| {
            let mut mark = choice.view.mark(*oid, &choice.publications)?;
            mark.writes = choice.lacks_identity(*oid).then(|| {
                let heaps = choice.view.heaps(*oid).into_iter();
                heaps.map(|heap| (heap, writes.get(&heap).copied().unwrap_or(0))).collect()
            });
            Some((name.clone(), (*oid, mark)))
        };
        Membership { marks: choice.selected.iter().filter_map(mark).collect() }
    }

    /// Puts into `record` what is sent of its table now.
    pub fn fill(&self, record: &mut TableRecord) {
        let Some((oid, mark)) = self.marks.get(&record.source) else { return };
        record.source_oid = Some(*oid);
        record.published = Some(mark.text());
        record.partitions = mark.leaves.as_ref().map(|leaves| leaves.keys().copied().collect());
    }

    /// Remembers what is sent now of the tables whose rows are fine.
    pub async fn adopt(
        &self,
        context: &Context,
        destination: &Client,
        epoch: i64,
        records: &[TableRecord],
    ) -> Result<(), PipelineError> {
        let sql = &context.checkpoint;
        let copied = records.iter().filter(|record| record.state == CopyState::Copied);
        let changed: Vec<String> = copied
            .filter_map(|record| self.adopted(record))
            .map(|record| tables::write_text(&sql.schema, &sql.pipeline, &record))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        requests::change(context, destination, epoch, &changed.join("; ")).await
    }

    /// The record with the present mark; none where it has it.
    fn adopted(&self, record: &TableRecord) -> Option<TableRecord> {
        let (_, now) = self.marks.get(&record.source)?;
        let before = record.published.as_deref().and_then(Mark::parse);
        let mut mark = now.clone();
        if let (Some(now), Some(known)) =
            (mark.writes.as_mut(), before.as_ref().and_then(|mark| mark.writes.as_ref()))
        {
            // Counted from the copy on; a partition that is new had none then.
            for (heap, count) in now {
                *count = known.get(heap).copied().unwrap_or(0);
            }
        }
        let mut adopted = record.clone();
        self.fill(&mut adopted);
        adopted.published = Some(mark.text());
        // A partition that left stays known: it is not a new table.
        if let (Some(leaves), Some(known)) = (&mut adopted.partitions, &record.partitions) {
            leaves.extend(known.iter().filter(|leaf| !leaves.contains(leaf)).collect::<Vec<_>>());
            leaves.sort_unstable();
        }
        let is_same = adopted.published == record.published
            && adopted.partitions == record.partitions
            && adopted.source_oid == record.source_oid;
        (!is_same).then_some(adopted)
    }
}

/// Insert-only tables that were updated or deleted from since their copy.
pub fn diverged(records: &[TableRecord], writes: &Writes) -> Vec<QualifiedName> {
    let is_diverged = |record: &&TableRecord| {
        let mark = record.published.as_deref().and_then(Mark::parse);
        let Some(known) = mark.and_then(|mark| mark.writes) else { return false };
        known.iter().any(|(heap, before)| {
            let now = writes.get(heap).copied().unwrap_or(*before);
            // Fewer than before: the statistics were reset, and all of these came after it.
            now != *before && now > 0
        })
    };
    let copied = records.iter().filter(|record| record.state == CopyState::Copied);
    copied.filter(is_diverged).map(|record| record.source.clone()).collect()
}
