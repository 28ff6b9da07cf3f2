//! What a stream must show again of what was applied before it; pure.
//!
//! A source that was put back to an earlier state, and has gone on from there, has our slot, our
//! position and more behind it. Nothing in its catalogs says that what it wrote up to our position is
//! not what we applied. So the server is asked to begin at the last commit that was applied, and not
//! after it:
//!
//! ```text
//!   slot's confirmed_flush ≤ last commit:  it is sent again, first, and must be the same
//!   slot's confirmed_flush > last commit:  nothing is sent again that commits before our position
//! ```
//!
//! Whatever else commits before our position, and after the last commit, is another history.

use crate::checkpoint::row::LastCommit;
use crate::model::change::Commit;
use crate::pg::lsn::Lsn;

/// The past as the checkpoint has it.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    pub resume_lsn: Lsn,
    /// Where the stream is to begin.
    pub from_lsn: Lsn,
    last_commit: Option<LastCommit>,
    must_reappear: bool,
    let_go_below: Lsn,
}

/// What explains a difference.
#[derive(Clone, Copy, Debug)]
pub struct Leniency {
    /// The latest point at which a table was copied: transactions before it may have been passed by
    /// while what sends them was not yet asked for.
    pub let_go_below: Lsn,
    /// The last commit may have come by a publication that is not used any more.
    pub may_miss_last: bool,
}

impl Past {
    pub fn new(
        resume_lsn: Lsn,
        last_commit: Option<LastCommit>,
        confirmed_lsn: Lsn,
        leniency: Leniency,
    ) -> Past {
        let Leniency { let_go_below, may_miss_last } = leniency;
        // Exactly the transactions that commit at or after what is asked for are sent.
        let is_sent = |commit: LastCommit| confirmed_lsn <= commit.commit_lsn;
        Past {
            resume_lsn,
            from_lsn: last_commit.map_or(resume_lsn, |commit| commit.commit_lsn.min(resume_lsn)),
            last_commit,
            must_reappear: !may_miss_last && last_commit.is_some_and(is_sent),
            let_go_below,
        }
    }

    /// A stream that begins at its position, and is sent nothing again.
    pub fn unseen(resume_lsn: Lsn) -> Past {
        let leniency = Leniency { let_go_below: resume_lsn, may_miss_last: true };
        Past::new(resume_lsn, None, resume_lsn, leniency)
    }

    /// Why the source's history is not the one that was applied; `sent` is the last transaction that
    /// was sent again.
    pub fn contradiction(&self, sent: Option<Commit>) -> Option<String> {
        let applied = self.last_commit?;
        let found = match sent {
            None if self.must_reappear => "did not send".to_owned(),
            None => return None,
            Some(sent) if applied.agrees_with(sent) => {
                let is_last = sent.commit_lsn == applied.commit_lsn;
                if is_last || !self.must_reappear {
                    return None;
                }
                "did not send".to_owned()
            }
            Some(sent) if self.is_let_go(applied, sent) => return None,
            Some(sent) => {
                format!("sent the commit at {} (transaction {}) for", sent.commit_lsn, sent.xid)
            }
        };
        Some(format!(
            "the source {found} the commit at {} (transaction {}), the last one that the checkpoint \
             at {} has: its history is not the one that was applied; point [source] url at the server \
             it was before, or copy everything again from this one: \"sync-agent resync --all\", then \
             \"sync-agent run\"",
            applied.commit_lsn, applied.xid, self.resume_lsn
        ))
    }

    /// A later transaction that was none of ours when it was passed by.
    fn is_let_go(&self, applied: LastCommit, sent: Commit) -> bool {
        sent.commit_lsn > applied.commit_lsn && sent.commit_lsn < self.let_go_below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::time::PgTimestamp;

    const STRICT: Leniency = Leniency { let_go_below: Lsn::ZERO, may_miss_last: false };

    fn sent(commit_lsn: u64, xid: u32) -> Option<Commit> {
        let commit_lsn = Lsn::new(commit_lsn);
        Some(Commit { commit_lsn, end_lsn: commit_lsn, commit_time: PgTimestamp(5), xid })
    }

    /// Applied up to 200, the last commit at 100; the slot is at `confirmed`.
    fn past(confirmed: u64, leniency: Leniency) -> Past {
        let last = LastCommit { commit_lsn: Lsn::new(100), xid: 7, time: PgTimestamp(5) };
        Past::new(Lsn::new(200), Some(last), Lsn::new(confirmed), leniency)
    }

    #[test]
    fn what_must_come_again_comes_again_and_is_the_same() {
        let past = past(50, STRICT);
        assert_eq!(past.from_lsn, Lsn::new(100));
        assert_eq!(past.contradiction(sent(100, 7)), None);
        for other in [None, sent(100, 8), sent(60, 3), sent(150, 9)] {
            assert!(past.contradiction(other).is_some(), "{other:?}");
        }
    }

    #[test]
    fn what_the_slot_has_passed_does_not_come_again() {
        let past = past(101, STRICT);
        assert_eq!(past.contradiction(None), None);
        assert!(past.contradiction(sent(150, 9)).is_some(), "never applied");
    }

    #[test]
    fn what_was_none_of_ours_is_let_go() {
        let lenient = Leniency { let_go_below: Lsn::new(160), may_miss_last: true };
        let past = past(50, lenient);
        for fine in [None, sent(150, 9), sent(100, 7)] {
            assert_eq!(past.contradiction(fine), None);
        }
        assert!(past.contradiction(sent(170, 9)).is_some());
        assert!(past.contradiction(sent(100, 8)).is_some());
    }

    #[test]
    fn without_a_last_commit_it_begins_where_it_resumes() {
        let past = Past::new(Lsn::new(200), None, Lsn::new(200), STRICT);
        assert_eq!(past.from_lsn, Lsn::new(200));
        assert_eq!(past.contradiction(None), None);
    }
}
