//! The states of a pipeline and of a table, with the words that people and Prometheus see.

use serde::{Deserialize, Serialize};

pub use crate::apply::conflicts::ConflictKind;

/// What the pipeline is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Reading configuration, connecting for the first time.
    Starting,
    /// Everything is in order, and something outside is waited for (a prepared transaction that
    /// holds the slot's creation back, for instance).
    Waiting,
    /// Another agent holds the lease.
    Standby,
    Copying,
    /// The copy is done, the tail is behind.
    CatchingUp,
    Streaming,
    Paused,
    /// The data or the destination halted it; it holds its position and retries.
    Degraded,
    /// A server is unreachable; it will be tried again.
    Backoff,
    /// Stopped for good; only the endpoints still answer.
    Halted,
}

impl State {
    pub fn label(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Waiting => "waiting",
            State::Standby => "standby",
            State::Copying => "copying",
            State::CatchingUp => "catching_up",
            State::Streaming => "streaming",
            State::Paused => "paused",
            State::Degraded => "degraded",
            State::Backoff => "backoff",
            State::Halted => "halted",
        }
    }

    /// Copy done and stream connected, or standing by to take over.
    pub fn is_ready(self) -> bool {
        matches!(self, State::CatchingUp | State::Streaming | State::Standby)
    }
}

/// Where one table stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableState {
    Pending,
    Copying,
    Copied,
    CatchingUp,
    Ready,
    Error,
}

impl TableState {
    pub fn label(self) -> &'static str {
        match self {
            TableState::Pending => "pending",
            TableState::Copying => "copying",
            TableState::Copied => "copied",
            TableState::CatchingUp => "catching_up",
            TableState::Ready => "ready",
            TableState::Error => "error",
        }
    }

    /// The same as the copy sees it (`snapshot_tables{state}`).
    pub fn copy_label(self) -> &'static str {
        match self {
            TableState::Pending => "pending",
            TableState::Copying => "copying",
            TableState::Copied | TableState::CatchingUp | TableState::Ready => "copied",
            TableState::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::labels;
    use crate::model::change::Op;

    #[test]
    fn every_word_is_a_pre_created_label() {
        let states = [
            State::Starting,
            State::Waiting,
            State::Standby,
            State::Copying,
            State::CatchingUp,
            State::Streaming,
            State::Paused,
            State::Degraded,
            State::Backoff,
            State::Halted,
        ];
        assert_eq!(states.map(State::label), labels::STATES);
        let tables = [
            TableState::Pending,
            TableState::Copying,
            TableState::Copied,
            TableState::CatchingUp,
            TableState::Ready,
            TableState::Error,
        ];
        assert_eq!(tables.map(TableState::label), labels::TABLE_STATES);
        assert!(tables.iter().all(|state| labels::COPY_STATES.contains(&state.copy_label())));
        let kinds = [
            ConflictKind::UpdateMissing,
            ConflictKind::DeleteMissing,
            ConflictKind::InsertExists,
            ConflictKind::Suppressed,
        ];
        assert_eq!(kinds.map(ConflictKind::label), labels::CONFLICT_KINDS);
        assert_eq!(Op::ALL.map(Op::label), labels::OPS);
    }

    #[test]
    fn json_says_the_same_words_as_the_metrics() {
        for state in [State::CatchingUp, State::Backoff] {
            let json = serde_json::to_value(state).expect("a word");
            assert_eq!(json, serde_json::json!(state.label()));
        }
    }
}
