//! What a reset drops at the source: our slots and our publications.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Forgotten, Place};
use crate::checkpoint::row::Checkpoint;
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::catalog::{self, ServerFacts, SlotInfo};
use crate::pg::client::Client;
use crate::pg::ident::{identifier, literal};
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::patience;
use crate::snapshot::point::sync_slot_name;
use crate::source::slot::{drop_slot, judge_kind};

/// A walsender whose client is gone notices at its next keepalive or write.
const FREE_WAIT: Duration = Duration::from_secs(5);
const FREE_LOOK: Duration = Duration::from_millis(100);

/// The names to drop, and what would drop them by hand.
struct Owned {
    slots: Vec<String>,
    publications: Vec<String>,
}

impl Owned {
    fn of(checkpoint: &Checkpoint) -> Owned {
        let slots = checkpoint.slot.iter().flat_map(|slot| [slot.clone(), sync_slot_name(slot)]);
        Owned { slots: slots.collect(), publications: checkpoint.owned_publications.clone() }
    }

    /// Nothing can be dropped: everything but the temporary slot, which ends by itself, is left.
    fn leave(&self, forgotten: &mut Forgotten, reason: &str) {
        if let Some(slot) = self.slots.first() {
            let reason = format!("{reason}; while it exists it keeps WAL for ever");
            forgotten.left(Place::Source, slot_object(slot), reason, Some(slot_statement(slot)));
        }
        for publication in &self.publications {
            let (object, statement) = publication_texts(publication);
            forgotten.left(Place::Source, object, reason, Some(statement));
        }
    }
}

fn slot_object(name: &str) -> String {
    format!("replication slot \"{name}\"")
}

fn slot_statement(name: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", literal(name))
}

fn publication_texts(name: &str) -> (String, String) {
    (format!("publication \"{name}\""), format!("DROP PUBLICATION {}", identifier(name)))
}

/// Drops what `checkpoint` says is ours. Whatever goes wrong is among what is left.
pub(super) async fn forget(
    context: &Context,
    checkpoint: Option<&Checkpoint>,
    wait: Option<Duration>,
    forgotten: &mut Forgotten,
) {
    let Some(checkpoint) = checkpoint else {
        return look_for_strays(context, wait, forgotten).await;
    };
    let owned = Owned::of(checkpoint);
    let (client, facts) = match connect(context, wait).await {
        Ok(connected) => connected,
        Err(error) => return owned.leave(forgotten, &error.chain()),
    };
    match other_server(context, &facts, checkpoint).await {
        Ok(None) => {}
        Ok(Some(reason)) => return owned.leave(forgotten, &reason),
        Err(error) => return owned.leave(forgotten, &error.chain()),
    }
    for slot in &owned.slots {
        match forget_slot(context, &client, &facts.database, slot).await {
            Ok(true) => {
                forgotten.dropped(Place::Source, slot_object(slot));
                failpoint::hit(failpoint::RESET_SLOT_DROPPED).await;
            }
            Ok(false) => {}
            Err(reason) => {
                let statement = Some(slot_statement(slot));
                forgotten.left(Place::Source, slot_object(slot), reason, statement);
            }
        }
    }
    for publication in &owned.publications {
        let (object, statement) = publication_texts(publication);
        match forget_publication(&client, publication, &statement).await {
            Ok(true) => forgotten.dropped(Place::Source, object),
            Ok(false) => {}
            Err(error) => {
                forgotten.left(Place::Source, object, error.chain(), Some(statement));
            }
        }
    }
}

async fn connect(
    context: &Context,
    wait: Option<Duration>,
) -> Result<(Client, ServerFacts), PipelineError> {
    let is_passing = |made: &Result<_, _>| made.as_ref().is_err_and(patience::may_mend_itself);
    let attempt = async || context.source_client("reset").await;
    let client = patience::retry(wait, attempt, is_passing).await?;
    let facts = catalog::server_facts(&client).await;
    Ok((client, facts.map_err(PipelineError::catalog(Side::Source))?))
}

/// Why this is not the server that the pipeline was on, if it is not: a slot of the same name there
/// would be somebody else's.
async fn other_server(
    context: &Context,
    facts: &ServerFacts,
    checkpoint: &Checkpoint,
) -> Result<Option<String>, PipelineError> {
    let present = match &facts.system_identifier {
        Some(identifier) => identifier.clone(),
        None => {
            let identity = context.replication_session().await?.identify_system().await;
            identity.map_err(PipelineError::wire(Side::Source, "identifying it"))?.system_identifier
        }
    };
    let remembered = &checkpoint.source_system_identifier;
    Ok((present != *remembered).then(|| {
        format!(
            "source.url leads to another server (system identifier {present}); it was made on \
             {remembered}"
        )
    }))
}

/// Drops a slot of the pipeline, and ends a session of ours that still has it.
pub(in crate::pipeline) async fn forget_slot_in_use(
    context: &Context,
    name: &str,
) -> Result<bool, String> {
    let (client, facts) = connect(context, None).await.map_err(|error| error.chain())?;
    forget_slot(context, &client, &facts.database, name).await
}

/// `false`: there is no such slot.
async fn forget_slot(
    context: &Context,
    client: &Client,
    database: &str,
    name: &str,
) -> Result<bool, String> {
    let Some(slot) = look(client, name).await? else { return Ok(false) };
    // A copy's own slot goes with its session.
    if slot.temporary {
        return Ok(false);
    }
    judge_kind(&slot, database).map_err(|error| error.to_string())?;
    if !is_free(client, name).await? {
        end_our_walsender(context, client, name).await?;
        if !is_free(client, name).await? {
            return Err("it is in use by another session".to_owned());
        }
    }
    let dropped = drop_slot(client, name).await;
    dropped.map_err(|error| PipelineError::query(Side::Source, "dropping it")(error).chain())?;
    Ok(true)
}

async fn look(client: &Client, name: &str) -> Result<Option<SlotInfo>, String> {
    let slot = catalog::slot(client, name).await;
    slot.map_err(|error| PipelineError::catalog(Side::Source)(error).chain())
}

/// Waits a while for the slot to be free.
async fn is_free(client: &Client, name: &str) -> Result<bool, String> {
    let deadline = Instant::now() + FREE_WAIT;
    loop {
        let is_active = look(client, name).await?.is_some_and(|slot| slot.active);
        if !is_active || Instant::now() >= deadline {
            return Ok(!is_active);
        }
        sleep(FREE_LOOK).await;
    }
}

/// Ends the walsender of an agent of ours that has lost its lease.
async fn end_our_walsender(context: &Context, client: &Client, name: &str) -> Result<(), String> {
    let sql = format!(
        "SELECT pg_catalog.pg_terminate_backend(a.pid) \
         FROM pg_catalog.pg_replication_slots s \
         JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid \
         WHERE s.slot_name = {} AND pg_catalog.starts_with(a.application_name, {})",
        literal(name),
        literal(&format!("sync-agent/{}/", context.settings.pipeline))
    );
    let ended = client.batch_execute(&sql).await;
    ended.map_err(|error| PipelineError::query(Side::Source, "ending its session")(error).chain())
}

/// `false`: there is no such publication.
async fn forget_publication(
    client: &Client,
    name: &str,
    statement: &str,
) -> Result<bool, PipelineError> {
    let names = [name.to_owned()];
    let present = catalog::publications(client, &names).await;
    if present.map_err(PipelineError::catalog(Side::Source))?.is_empty() {
        return Ok(false);
    }
    let dropped = client.batch_execute(statement).await;
    dropped.map_err(PipelineError::query(Side::Source, "dropping it"))?;
    Ok(true)
}

/// Without a row nothing is known to be ours: a slot of our name is shown, not dropped.
async fn look_for_strays(context: &Context, wait: Option<Duration>, forgotten: &mut Forgotten) {
    let slot = &context.settings.source.slot;
    let seen = match connect(context, wait).await {
        Ok((client, _)) => look(&client, slot).await,
        Err(error) => Err(error.chain()),
    };
    let (reason, statement) = match seen {
        Ok(None) => return,
        Ok(Some(_)) => {
            let reason = "it exists, but no checkpoint says that it is ours; while it exists it \
                          keeps WAL for ever";
            (reason.to_owned(), Some(slot_statement(slot)))
        }
        Err(reason) => (format!("could not look whether it exists: {reason}"), None),
    };
    forgotten.left(Place::Source, slot_object(slot), reason, statement);
}
