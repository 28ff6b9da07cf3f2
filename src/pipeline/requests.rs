//! What operators ask of the agent by rows in `sync_agent.requests`.
//!
//! A request is taken at the start of an attempt, before anything is judged: its effect (tables go
//! back to "to be copied") is committed together with the mark that it was taken. A running stream
//! looks for requests every second and ends its attempt in order when one has come; so does a
//! pipeline that waits with a held condition, because the request may be its way out.

use std::time::Duration;

use crate::checkpoint::requests::{self, Request};
use crate::checkpoint::row;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::config::pattern::parse_name;
use crate::config::settings::OnExisting;
use crate::model::finding::Side;
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::State;

/// The only verb that is carried out by now.
pub const RESYNC: &str = "resync";

/// Between two looks. The contract allows two seconds.
const LOOK: Duration = Duration::from_secs(1);

/// What the waiting requests come to, before they are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests to take, oldest first.
    accepted: Vec<Accepted>,
    /// Requests that cannot be carried out, and why.
    refused: Vec<(i64, String)>,
    /// One of them means every table: a slot that is lost may be made anew.
    pub is_all: bool,
}

impl Asked {
    /// Judges requests by the tables that have records.
    pub fn new(
        unfinished: &[Request],
        records: &[TableRecord],
        is_merged: &dyn Fn(&QualifiedName) -> bool,
    ) -> Asked {
        let mut asked = Asked::default();
        for request in unfinished {
            if request.is_taken {
                asked.is_all |= request.tables.is_none();
                continue;
            }
            match tables_of(request, records) {
                Ok(tables) => {
                    asked.is_all |= request.tables.is_none();
                    asked.accepted.push(accepted(request, tables, records, is_merged));
                }
                Err(message) => asked.refused.push((request.id, message)),
            }
        }
        asked
    }

    /// Shows the records as they will be once the requests are taken.
    pub fn apply(&self, records: &mut [TableRecord]) {
        let wanted = self.accepted.iter().flat_map(|accepted| &accepted.tables);
        for (name, state) in wanted {
            for record in records.iter_mut().filter(|record| record.source == *name) {
                record.state = *state;
                record.copied_lsn = None;
            }
        }
    }
}

/// A request to take, and to which state each of its tables goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Accepted {
    id: i64,
    tables: Vec<(QualifiedName, CopyState)>,
}

/// Emptied first, or replaced in one transaction so that the old rows stay readable; rows that were
/// there before us stay in any case.
fn accepted(
    request: &Request,
    names: Vec<QualifiedName>,
    records: &[TableRecord],
    is_merged: &dyn Fn(&QualifiedName) -> bool,
) -> Accepted {
    let is_made = |name: &QualifiedName| records.iter().any(|r| r.source == *name && r.created);
    let state = |name: &QualifiedName| match request.truncate {
        true => CopyState::Copying,
        false if is_merged(name) && !is_made(name) => CopyState::Merging,
        false => CopyState::Replacing,
    };
    let tables = names.into_iter().map(|name| (name.clone(), state(&name))).collect();
    Accepted { id: request.id, tables }
}

fn tables_of(request: &Request, records: &[TableRecord]) -> Result<Vec<QualifiedName>, String> {
    if request.verb != RESYNC {
        return Err(format!("verb \"{}\" is not known to this agent", request.verb));
    }
    let Some(written) = &request.tables else {
        return Ok(records.iter().map(|record| record.source.clone()).collect());
    };
    let known = |text: &String| {
        let name = parse_name(text).map_err(|error| format!("\"{text}\": {error}"))?;
        match records.iter().any(|record| record.source == name) {
            true => Ok(name),
            false => Err(format!("table {} is not part of the pipeline", name.sql())),
        }
    };
    written.iter().map(known).collect()
}

/// The requests that wait, judged. State of the first version has none.
pub async fn look(
    context: &Context,
    destination: &Client,
    records: &[TableRecord],
) -> Result<Asked, PipelineError> {
    let sql = &context.checkpoint;
    if !requests::exists(destination, sql).await? {
        return Ok(Asked::default());
    }
    let is_merged = |name: &QualifiedName| context.settings.on_existing(name) == OnExisting::Merge;
    Ok(Asked::new(&requests::unfinished(destination, sql).await?, records, &is_merged))
}

/// Takes what is asked, under our epoch; refuses the rest.
pub async fn take(
    context: &Context,
    destination: &Client,
    epoch: i64,
    asked: &Asked,
) -> Result<(), PipelineError> {
    let sql = &context.checkpoint;
    for (id, message) in &asked.refused {
        tracing::warn!(request = id, "request refused: {message}");
        requests::refuse(destination, sql, *id, message).await?;
    }
    for Accepted { id, tables: wanted } in &asked.accepted {
        // Whoever sees that it is taken must not find us streaming, as if it were done.
        context.board.set_state(State::Copying, format!("request {id}: {} tables", wanted.len()));
        let mut statements = vec![sql.guarded_begin_text(epoch)];
        for state in [CopyState::Copying, CopyState::Merging, CopyState::Replacing] {
            let names: Vec<QualifiedName> = wanted
                .iter()
                .filter(|(_, to)| *to == state)
                .map(|(name, _)| name.clone())
                .collect();
            if !names.is_empty() {
                statements.push(tables::reopen_text(&sql.schema, &sql.pipeline, &names, state));
            }
        }
        statements.push(requests::take_text(sql, *id));
        statements.push("COMMIT".to_owned());
        guarded(context, destination, epoch, &statements.join("; ")).await?;
        let tables: Vec<String> = wanted.iter().map(|(name, _)| name.to_string()).collect();
        let tables = tables.join(", ");
        tracing::info!(request = id, tables, "resync: these tables are copied again");
    }
    Ok(())
}

/// Runs statements in a guarded transaction of their own.
pub async fn change(
    context: &Context,
    destination: &Client,
    epoch: i64,
    statements: &str,
) -> Result<(), PipelineError> {
    let begin = context.checkpoint.guarded_begin_text(epoch);
    guarded(context, destination, epoch, &format!("{begin}; {statements}; COMMIT")).await
}

/// Runs a guarded transaction; where it fails because we were fenced, that is the error.
pub async fn guarded(
    context: &Context,
    destination: &Client,
    epoch: i64,
    text: &str,
) -> Result<(), PipelineError> {
    let Err(error) = destination.batch_execute(text).await else { return Ok(()) };
    // The transaction is still open on this connection; its error is what counts.
    let _ = destination.batch_execute("ROLLBACK").await;
    match row::read(destination, &context.checkpoint).await? {
        Some(row) if row.epoch == epoch => {
            Err(PipelineError::query(Side::Destination, "changing the agent's state")(error))
        }
        _ => Err(row::explain(destination, &context.checkpoint, epoch, None).await?.into()),
    }
}

/// Returns when a request waits. A question that fails is asked again: whoever uses the connection
/// for more notices that it is gone.
pub async fn arrived(context: &Context, destination: &Client) {
    loop {
        tokio::time::sleep(LOOK).await;
        match requests::has_waiting(destination, &context.checkpoint).await {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => tracing::debug!(%error, "could not look for requests"),
        }
    }
}

/// The same without a connection at hand, while a condition holds the pipeline.
pub async fn arrived_meanwhile(context: &Context) {
    let client = loop {
        match context.destination_client("requests").await {
            Ok(client) => break client,
            Err(error) => tracing::debug!(error = error.chain(), "could not look for requests"),
        }
        tokio::time::sleep(LOOK).await;
    };
    arrived(context, &client).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(table: &str) -> TableRecord {
        TableRecord {
            source: QualifiedName::new("public", table),
            destination: QualifiedName::new("public", table),
            state: CopyState::Copied,
            copied_lsn: None,
            created: false,
            fingerprint: String::new(),
            known_columns: Vec::new(),
            rows: 0,
            bytes: 0,
            copied_at: None,
            source_oid: None,
            published: None,
            partitions: None,
            finished: true,
            source_shape: None,
            destination_oid: None,
            beside: false,
        }
    }

    fn request(id: i64, verb: &str, tables: Option<&[&str]>, truncate: bool) -> Request {
        let tables = tables.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Request { id, is_taken: false, verb: verb.to_owned(), tables, truncate }
    }

    #[test]
    fn named_tables_go_back_and_the_others_stay() {
        let mut records = vec![record("a"), record("B c"), record("d")];
        let waiting = [request(1, RESYNC, Some(&["public.\"B c\""]), false)];
        let asked = Asked::new(&waiting, &records, &|_| false);
        asked.apply(&mut records);
        let states: Vec<CopyState> = records.iter().map(|record| record.state).collect();
        assert_eq!(states, [CopyState::Copied, CopyState::Replacing, CopyState::Copied]);
        assert!(!asked.is_all);
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_with_its_reason() {
        let records = [record("a")];
        let waiting = [
            request(1, "dance", None, false),
            request(2, RESYNC, Some(&["public.z"]), false),
            request(3, RESYNC, Some(&["no.such.name.at.all"]), false),
            request(4, RESYNC, None, true),
        ];
        let asked = Asked::new(&waiting, &records, &|name| name.name == "a");
        let refused: Vec<i64> = asked.refused.iter().map(|(id, _)| *id).collect();
        assert_eq!(refused, [1, 2, 3]);
        assert!(asked.refused[1].1.contains("not part of the pipeline"));
        let emptied = [(QualifiedName::new("public", "a"), CopyState::Copying)];
        assert_eq!(asked.accepted[0].tables, emptied, "to truncate is to truncate");
        let waiting = [request(5, RESYNC, None, false)];
        let asked = Asked::new(&waiting, &records, &|name| name.name == "a");
        assert_eq!(asked.accepted[0].tables[0].1, CopyState::Merging);
        assert!(asked.is_all);
    }
}
