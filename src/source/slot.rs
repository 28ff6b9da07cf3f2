//! Whether the slot and the source still continue the checkpoint's history.
//!
//! In: the checkpoint's position, the slot as the catalog shows it, the source's identity. Out: a
//! [`Verdict`] or the reason why not to go on. [`judge`] is pure.
//!
//! Why so suspicious: the server silently fast-forwards a client that asks for less than
//! `confirmed_flush_lsn` (`CreateDecodingContext` in `logical.c`), and accepts a start beyond its
//! WAL's end and then sends nothing. Neither shows in the stream, both lose rows.
//!
//! ```text
//!   restart_lsn ≤ confirmed_flush_lsn ≤ applied_lsn ≤ wal_end      sound
//!                 confirmed_flush_lsn > applied_lsn                E_SLOT: somebody else moved it
//!                                       applied_lsn > wal_end      E_LINEAGE: the source is older
//! ```
//!
//! A slot behind the checkpoint is normal: what is sent again is skipped by its commit's position.

use tokio_postgres::Client;

use crate::pg::catalog::SlotInfo;
use crate::pg::ident::literal;
use crate::pg::lsn::Lsn;

/// What the destination remembers of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedSource<'a> {
    pub system_identifier: &'a str,
    pub timeline: u32,
    /// `None` before the slot existed for the first time.
    pub applied_lsn: Option<Lsn>,
}

/// What the source is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentSource<'a> {
    pub system_identifier: &'a str,
    pub timeline: u32,
    /// Where each earlier timeline was left; empty where nobody asked because it did not change.
    pub history: &'a [TimelineSwitch],
    pub wal_end: Lsn,
    pub database: &'a str,
}

/// One line of a timeline's history file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSwitch {
    pub timeline: u32,
    /// WAL of `timeline` belongs to our history up to here.
    pub switch_lsn: Lsn,
}

/// How to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was ever applied: make the slot and copy. `replace` drops what an earlier first
    /// contact left behind.
    FirstContact { replace: bool },
    /// Start replication; transactions that end at or before `applied_lsn` are skipped.
    /// `confirmed_flush_lsn`: whatever the slot has from there on is sent when asked for.
    Resume { applied_lsn: Lsn, confirmed_flush_lsn: Lsn, promoted_from: Option<u32> },
}

/// Why not to go on. Positions and names only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// E_PREFLIGHT: no checkpoint row knows it.
    #[error(
        "replication slot \"{slot}\" exists, but no checkpoint at the destination belongs to it"
    )]
    Foreign { slot: String },
    /// E_PREFLIGHT.
    #[error("replication slot \"{slot}\" is not ours to use: {reason}")]
    Unsuitable { slot: String, reason: String },
    /// Transient: it is used by somebody, perhaps by our own earlier connection.
    #[error("replication slot \"{slot}\" is active for PID {pid}")]
    Active { slot: String, pid: i32 },
    /// E_SLOT.
    #[error(
        "replication slot \"{slot}\" does not exist, but the checkpoint is at {applied_lsn}; the \
         source's WAL ends at {wal_end}"
    )]
    Missing { slot: String, applied_lsn: Lsn, wal_end: Lsn },
    /// E_SLOT: by `max_retained_wal_action = "drop-slot"`.
    #[error(
        "replication slot \"{slot}\" held more WAL than max_retained_wal allows ({limit_bytes} \
         bytes) and was dropped; what it held is lost to the pipeline"
    )]
    GivenUp { slot: String, limit_bytes: u64 },
    /// E_SLOT.
    #[error(
        "replication slot \"{slot}\" holds more WAL than max_retained_wal allows ({limit_bytes} \
         bytes), and could not be dropped"
    )]
    NotGivenUp { slot: String, limit_bytes: u64 },
    /// E_SLOT.
    #[error(
        "replication slot \"{slot}\" has lost WAL that is still needed ({reason}); the checkpoint \
         is at {applied_lsn}, its confirmed_flush at {}",
        .confirmed_flush_lsn.map_or_else(|| "no position".to_owned(), |lsn| lsn.to_string())
    )]
    Lost { slot: String, reason: String, applied_lsn: Lsn, confirmed_flush_lsn: Option<Lsn> },
    /// E_SLOT.
    #[error(
        "replication slot \"{slot}\": confirmed_flush {confirmed_flush_lsn} is ahead of checkpoint \
         {applied_lsn}; the changes between them ({} bytes of WAL) are gone",
        .confirmed_flush_lsn.bytes_since(*.applied_lsn)
    )]
    Ahead { slot: String, confirmed_flush_lsn: Lsn, applied_lsn: Lsn },
    /// E_LINEAGE.
    #[error(
        "the source's WAL ends at {wal_end}, behind checkpoint {applied_lsn}: the source was \
         rewound or restored from a backup"
    )]
    WalEndBehind { wal_end: Lsn, applied_lsn: Lsn },
    /// E_LINEAGE.
    #[error(
        "the source's system identifier is {present}, the checkpoint was made with {remembered}: it is \
         another server; the checkpoint is at {}, this one's WAL ends at {wal_end}",
        .applied_lsn.map_or_else(|| "no position".to_owned(), |lsn| lsn.to_string())
    )]
    OtherSystem { present: String, remembered: String, applied_lsn: Option<Lsn>, wal_end: Lsn },
    /// E_LINEAGE.
    #[error(
        "checkpoint {applied_lsn} on timeline {remembered} is not in the history of the source's \
         timeline {present}, {}",
        .left_at.map_or_else(
            || "which never was on that one".to_owned(),
            |lsn| format!("which left that one at {lsn}")
        )
    )]
    OtherTimeline { applied_lsn: Lsn, remembered: u32, present: u32, left_at: Option<Lsn> },
}

impl SlotError {
    /// Whether it says that the stream cannot go on from the checkpoint, whatever is done to the
    /// slot: only copying everything again helps.
    pub fn is_broken_history(&self) -> bool {
        match self {
            SlotError::Foreign { .. } | SlotError::Unsuitable { .. } | SlotError::Active { .. } => {
                false
            }
            SlotError::Missing { .. }
            | SlotError::GivenUp { .. }
            | SlotError::NotGivenUp { .. }
            | SlotError::Lost { .. }
            | SlotError::Ahead { .. }
            | SlotError::WalEndBehind { .. }
            | SlotError::OtherSystem { .. }
            | SlotError::OtherTimeline { .. } => true,
        }
    }

    /// What an operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            SlotError::Foreign { .. } => {
                "Choose another [source] slot, or drop it with pg_drop_replication_slot if nobody \
                 needs it."
            }
            SlotError::Unsuitable { .. } => "Choose another [source] slot.",
            SlotError::Active { .. } => {
                "It becomes free when that session ends; pg_terminate_backend ends it now."
            }
            SlotError::NotGivenUp { .. } => {
                "Drop it with pg_drop_replication_slot before the source's disk is full; then copy \
                 everything again: `sync-agent resync --all`, then `run`."
            }
            SlotError::Missing { .. }
            | SlotError::GivenUp { .. }
            | SlotError::Lost { .. }
            | SlotError::Ahead { .. } => {
                "Copy everything again from a new slot: `sync-agent resync --all`, then `run`."
            }
            SlotError::WalEndBehind { .. }
            | SlotError::OtherSystem { .. }
            | SlotError::OtherTimeline { .. } => {
                "Point [source] url at the server it was before, or copy everything again from this \
                 one: `sync-agent resync --all`, then `run`."
            }
        }
    }
}

/// Whether history goes on. `remembered` is `None` where the destination has no checkpoint row.
pub fn judge(
    slot_name: &str,
    remembered: Option<&RememberedSource<'_>>,
    slot: Option<&SlotInfo>,
    present: &PresentSource<'_>,
) -> Result<Verdict, SlotError> {
    let Some(remembered) = remembered else {
        return match slot {
            None => Ok(Verdict::FirstContact { replace: false }),
            Some(_) => Err(SlotError::Foreign { slot: slot_name.to_owned() }),
        };
    };
    judge_lineage(remembered, present)?;
    let Some(applied_lsn) = remembered.applied_lsn else {
        return judge_first_contact(slot, present.database);
    };
    let Some(slot) = slot else {
        let (slot, wal_end) = (slot_name.to_owned(), present.wal_end);
        return Err(SlotError::Missing { slot, applied_lsn, wal_end });
    };
    judge_kind(slot, present.database)?;
    let confirmed_flush_lsn = judge_position(slot, applied_lsn)?;
    judge_free(slot)?;
    let promoted = (remembered.timeline != present.timeline).then_some(remembered.timeline);
    Ok(Verdict::Resume { applied_lsn, confirmed_flush_lsn, promoted_from: promoted })
}

/// Whether the source is the one that the position belongs to, and has it in its history: all that
/// can be said without looking at the slot.
pub fn judge_lineage(
    remembered: &RememberedSource<'_>,
    present: &PresentSource<'_>,
) -> Result<(), SlotError> {
    if remembered.system_identifier != present.system_identifier {
        return Err(SlotError::OtherSystem {
            present: present.system_identifier.to_owned(),
            remembered: remembered.system_identifier.to_owned(),
            applied_lsn: remembered.applied_lsn,
            wal_end: present.wal_end,
        });
    }
    let Some(applied_lsn) = remembered.applied_lsn else { return Ok(()) };
    if remembered.timeline != present.timeline {
        // The last record before the switch ends exactly at it, hence not `>=`.
        let is_ours = |switch: &&TimelineSwitch| switch.timeline == remembered.timeline;
        let left_at = present.history.iter().find(is_ours).map(|switch| switch.switch_lsn);
        if left_at.is_none_or(|left_at| applied_lsn > left_at) {
            return Err(SlotError::OtherTimeline {
                applied_lsn,
                remembered: remembered.timeline,
                present: present.timeline,
                left_at,
            });
        }
    }
    if present.wal_end < applied_lsn {
        return Err(SlotError::WalEndBehind { wal_end: present.wal_end, applied_lsn });
    }
    Ok(())
}

/// A row without a position announces a slot: whatever stands there under its name is ours, made by
/// an attempt that was cut off, and its snapshot is gone with that attempt.
fn judge_first_contact(slot: Option<&SlotInfo>, database: &str) -> Result<Verdict, SlotError> {
    if let Some(slot) = slot {
        judge_kind(slot, database)?;
        judge_free(slot)?;
    }
    Ok(Verdict::FirstContact { replace: slot.is_some() })
}

/// Whether a slot of this name could be one of ours at all.
pub fn judge_kind(slot: &SlotInfo, database: &str) -> Result<(), SlotError> {
    let reason = if slot.kind != "logical" {
        format!("it is a {} slot", slot.kind)
    } else if slot.plugin.as_deref() != Some("pgoutput") {
        format!("its plugin is {}, not pgoutput", slot.plugin.as_deref().unwrap_or("unknown"))
    } else if slot.database.as_deref() != Some(database) {
        let of = slot.database.as_deref().unwrap_or("unknown");
        format!("it belongs to database \"{of}\", not \"{database}\"")
    } else if slot.temporary {
        "it is temporary".to_owned()
    } else {
        return Ok(());
    };
    Err(SlotError::Unsuitable { slot: slot.name.clone(), reason })
}

fn judge_position(slot: &SlotInfo, applied_lsn: Lsn) -> Result<Lsn, SlotError> {
    let lost = |reason: String| SlotError::Lost {
        slot: slot.name.clone(),
        reason,
        applied_lsn,
        confirmed_flush_lsn: slot.confirmed_flush_lsn,
    };
    if let Some(reason) = &slot.invalidation_reason {
        return Err(lost(format!("invalidated: {reason}")));
    }
    if slot.conflicting {
        return Err(lost("conflicting with recovery".to_owned()));
    }
    if slot.wal_status.as_deref() == Some("lost") {
        return Err(lost("wal_status is lost".to_owned()));
    }
    let Some(confirmed_flush_lsn) = slot.confirmed_flush_lsn else {
        // A slot whose creation was cut off has no consistent point yet.
        return Err(lost("it has no confirmed_flush_lsn".to_owned()));
    };
    if confirmed_flush_lsn > applied_lsn {
        return Err(SlotError::Ahead { slot: slot.name.clone(), confirmed_flush_lsn, applied_lsn });
    }
    Ok(confirmed_flush_lsn)
}

fn judge_free(slot: &SlotInfo) -> Result<(), SlotError> {
    match slot.active_pid {
        Some(pid) => Err(SlotError::Active { slot: slot.name.clone(), pid }),
        None => Ok(()),
    }
}

/// Drops the slot; one that does not exist (any more) is no error.
pub async fn drop_slot(client: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    let sql = format!(
        "SELECT pg_catalog.pg_drop_replication_slot(slot_name) \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        literal(name)
    );
    client.batch_execute(&sql).await
}

#[cfg(test)]
mod tests;
