//! What to do about an error: one exhaustive match, so that a new kind of error does not compile
//! until somebody has decided.

use tokio_postgres::error::SqlState;

use crate::apply::ApplyError;
use crate::apply::reread::RereadError;
use crate::checkpoint::CheckpointError;
use crate::model::finding::Side;
use crate::pg::server_error::ServerError;
use crate::pipeline::code::Code;
use crate::pipeline::error::PipelineError;
use crate::source::TailError;
use crate::source::slot::SlotError;
use crate::wire::WireError;

/// What the supervisor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Passing: try again with backoff, for ever.
    Retry,
    /// The data or the destination must be mended: degraded, hold the position, look again.
    Hold,
    /// Nothing will get better by itself.
    Exit,
}

/// The decision and the code that an operator sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub code: Code,
    pub disposition: Disposition,
}

const fn verdict(code: Code, disposition: Disposition) -> Verdict {
    Verdict { code, disposition }
}

const PASSING: Verdict = verdict(Code::E_CONNECT, Disposition::Retry);

/// Judges an error. `was_connected`: its server has let us in once, so that a refused
/// password is a rotation in progress and not a wrong configuration.
pub fn judge(error: &PipelineError, was_connected: bool) -> Verdict {
    use Disposition::{Exit, Hold, Retry};
    match error {
        PipelineError::Connect(error) if error.is_transient() => PASSING,
        // REPLICATION or CONNECT, taken away while running.
        PipelineError::Connect(error) if was_connected && error.is_about_privilege() => {
            verdict(Code::E_ACCESS, Hold)
        }
        PipelineError::Connect(_) if was_connected => PASSING,
        PipelineError::Connect(_) => verdict(Code::E_PREFLIGHT, Exit),
        PipelineError::Wire {
            source: WireError::TooLarge { .. } | WireError::ValueTooLarge { .. },
            ..
        }
        | PipelineError::Tail(TailError::Wire(WireError::TooLarge { .. }))
        | PipelineError::Oversized(_) => verdict(Code::E_DATA, Hold),
        PipelineError::Query { .. }
        | PipelineError::Catalog { .. }
        | PipelineError::Wire { .. }
        | PipelineError::Build { .. } => judge_server(error.server_error().as_ref(), PASSING),
        PipelineError::Tail(tail) => judge_tail(tail, error.server_error().as_ref()),
        PipelineError::Apply(apply) | PipelineError::Batch { source: apply, .. } => {
            judge_apply(apply, error.server_error().as_ref())
        }
        PipelineError::Checkpoint(checkpoint) => judge_checkpoint(checkpoint),
        PipelineError::Store(_) => verdict(Code::E_IO, Exit),
        PipelineError::Preflight(_) => verdict(Code::E_PREFLIGHT, Exit),
        PipelineError::Config { .. } => verdict(Code::E_CONFIG, Exit),
        PipelineError::Slot(slot) => judge_slot(slot),
        PipelineError::PublicationGone { .. } => verdict(Code::E_SLOT, Exit),
        PipelineError::Lineage { .. } => verdict(Code::E_LINEAGE, Exit),
        PipelineError::Schema { .. } => verdict(Code::E_SCHEMA, Hold),
        PipelineError::Data { .. } => verdict(Code::E_DATA, Hold),
        PipelineError::Copy { source, .. } => judge(source, was_connected),
        PipelineError::QueryCopy { source, .. } => judge_query(source, was_connected),
        PipelineError::QueryResult { .. } => verdict(Code::E_DATA, Hold),
        PipelineError::Rewritten { .. }
        | PipelineError::SnapshotGone
        | PipelineError::Answer { .. }
        | PipelineError::Silent { .. } => PASSING,
        PipelineError::Held { .. } => verdict(Code::E_FENCED, Retry),
        PipelineError::TaskEnded { .. } | PipelineError::TaskFailed { .. } => {
            verdict(Code::E_IO, Retry)
        }
    }
}

/// What the source says of a query of the settings: its rows, or what it tries to do.
fn judge_query(error: &PipelineError, was_connected: bool) -> Verdict {
    let server = error.server_error();
    match (error, server.as_ref()) {
        (PipelineError::Wire { side: Side::Source, .. }, Some(server)) => match server.class() {
            "21" | "22" => verdict(Code::E_DATA, Disposition::Hold),
            _ if server.is_raised() => verdict(Code::E_DATA, Disposition::Hold),
            _ if server.code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                verdict(Code::E_CONFIG, Disposition::Exit)
            }
            _ => judge(error, was_connected),
        },
        _ => judge(error, was_connected),
    }
}

fn judge_slot(error: &SlotError) -> Verdict {
    use Disposition::Exit;
    match error {
        SlotError::Foreign { .. } | SlotError::Unsuitable { .. } => {
            verdict(Code::E_PREFLIGHT, Exit)
        }
        SlotError::Active { .. } => PASSING,
        SlotError::Missing { .. }
        | SlotError::GivenUp { .. }
        | SlotError::NotGivenUp { .. }
        | SlotError::Lost { .. }
        | SlotError::Ahead { .. } => verdict(Code::E_SLOT, Exit),
        SlotError::WalEndBehind { .. }
        | SlotError::OtherSystem { .. }
        | SlotError::OtherTimeline { .. } => verdict(Code::E_LINEAGE, Exit),
    }
}

fn judge_tail(error: &TailError, server: Option<&ServerError>) -> Verdict {
    match error {
        TailError::Wire(_) => judge_source(server),
        // A message that we cannot read is not read better the second time, but a broken
        // connection may have produced it: retried, visibly, never skipped.
        TailError::Decode(_) | TailError::Assemble(_) => verdict(Code::E_DATA, Disposition::Retry),
        TailError::Oversized(_) => verdict(Code::E_DATA, Disposition::Hold),
        TailError::Publication(_) => verdict(Code::E_SLOT, Disposition::Exit),
        TailError::Ended => PASSING,
    }
}

/// What the walsender said.
fn judge_source(server: Option<&ServerError>) -> Verdict {
    let Some(server) = server else { return PASSING };
    match &server.code {
        // The slot, or a publication that it names, does not exist.
        code if *code == SqlState::UNDEFINED_OBJECT => verdict(Code::E_SLOT, Disposition::Exit),
        // Invalidated: "can no longer get changes from replication slot".
        code if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            verdict(Code::E_SLOT, Disposition::Exit)
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            verdict(Code::E_ACCESS, Disposition::Hold)
        }
        // A text that has no UTF-8 form.
        _ if server.class() == "22" => verdict(Code::E_DATA, Disposition::Hold),
        _ => PASSING,
    }
}

fn judge_apply(error: &ApplyError, server: Option<&ServerError>) -> Verdict {
    match error {
        ApplyError::Table { .. } => judge_server(server, PASSING),
        ApplyError::Transaction { .. } => judge_server(server, PASSING),
        ApplyError::Checkpoint(error) => judge_checkpoint(error),
        ApplyError::RowMissing { .. } => verdict(Code::E_CONFLICT, Disposition::Hold),
        ApplyError::Reread { source, .. } => judge_reread(source, server),
        ApplyError::Encode { .. } => verdict(Code::E_DATA, Disposition::Hold),
        ApplyError::NoTarget { .. } => verdict(Code::E_SCHEMA, Disposition::Retry),
    }
}

fn judge_reread(error: &RereadError, server: Option<&ServerError>) -> Verdict {
    match error {
        RereadError::Source(_) => judge_server(server, PASSING),
        RereadError::Value(_) => verdict(Code::E_DATA, Disposition::Hold),
        RereadError::NoPlan => verdict(Code::E_SCHEMA, Disposition::Retry),
        RereadError::Hidden | RereadError::Unasked(_) => PASSING,
    }
}

fn judge_checkpoint(error: &CheckpointError) -> Verdict {
    match error {
        CheckpointError::Destination(source) => {
            judge_server(crate::pg::server_error::of(source).as_ref(), PASSING)
        }
        CheckpointError::NewerState { .. } => verdict(Code::E_PREFLIGHT, Disposition::Exit),
        CheckpointError::Fenced { .. } => verdict(Code::E_FENCED, Disposition::Exit),
        CheckpointError::Moved { .. } | CheckpointError::Gone { .. } => {
            verdict(Code::E_LINEAGE, Disposition::Exit)
        }
    }
}

/// By SQLSTATE class (Appendix A of the PostgreSQL documentation).
fn judge_server(server: Option<&ServerError>, otherwise: Verdict) -> Verdict {
    use Disposition::{Hold, Retry};
    let Some(server) = server else { return otherwise };
    match server.class() {
        // Data exceptions: a value that the destination's type does not take.
        "22" => verdict(Code::E_DATA, Hold),
        // Integrity constraints; two rows of one statement that are one row at the destination.
        "23" | "21" => verdict(Code::E_CONFLICT, Hold),
        // A feature that a table's shape rules out (TRUNCATE of a referenced table, …).
        "0A" => verdict(Code::E_CONFLICT, Hold),
        "42" if server.code == SqlState::INSUFFICIENT_PRIVILEGE => verdict(Code::E_ACCESS, Hold),
        // Undefined or mismatched tables, columns, types.
        "42" => verdict(Code::E_SCHEMA, Hold),
        // Read-only: a standby, or a server about to be one.
        "25" => verdict(Code::E_CONNECT, Retry),
        // Disk full, out of memory, too many connections; lock not available, deadlock,
        // serialization; admin shutdown; connection failures: they pass.
        "53" | "55" | "40" | "57" | "08" | "58" => PASSING,
        // A trigger's RAISE.
        _ if server.is_raised() => verdict(Code::E_CONFLICT, Hold),
        _ => otherwise,
    }
}
