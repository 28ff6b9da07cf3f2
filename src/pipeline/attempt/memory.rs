//! What one attempt leaves to the next.

use std::collections::BTreeSet;

use crate::model::finding::Side;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;

/// What outlives an attempt.
#[derive(Debug, Default)]
pub struct Memory {
    /// The epoch held before: our own old lease does not stand in our way.
    pub epoch: Option<i64>,
    pub reached: Reached,
    /// Preflight passed in this process, with the lease in hand.
    pub is_preflighted: bool,
    /// The source's position when the first attempt began: where a drain ends.
    pub until: Option<Lsn>,
    /// The commit at which the destination rejected something: up to there transactions are applied
    /// one by one, so that those before it are not held up and it can be named.
    pub alone_until: Lsn,
    /// The lease was taken from an agent that is alive but does not move: its stream may still hold
    /// the slot.
    pub has_superseded: bool,
    /// Up to the transaction at this position the stream runs in text.
    pub as_text_through: Option<Lsn>,
    /// The last attempt ended by what was copied beside its stream: that the stream itself came further
    /// says nothing then.
    pub has_failed_beside: bool,
    /// Tables left aside that were spoken of.
    pub told: BTreeSet<QualifiedName>,
    /// Publications, by OID, that our position in the stream has passed the creation of.
    pub settled: BTreeSet<Oid>,
}

/// Which servers have let us in once: what they refuse later is a rotation in progress, and not a
/// wrong configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// For replication, too.
    pub source: bool,
    pub destination: bool,
}

impl Reached {
    pub fn has(self, side: Side) -> bool {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }
}
