//! Tables that another pipeline leads the other way, from our destination to our source.
//!
//! What an agent writes is a change like any other, and nothing in the stream says whose it was: two
//! pipelines there and back would send each other's writes for ever. The state that a pipeline keeps in
//! our source, as its destination, tells of it; a pipeline that is not used any more may have left it.

use crate::checkpoint::schema::{self, Presence};
use crate::checkpoint::tables::{Filled, filled_from};
use crate::config::settings::Settings;
use crate::model::finding::{Finding, Side};
use crate::pg::client::Client;
use crate::pipeline::look::Look;

/// A warning for each of them. Where our role may not read that state nothing is known of it.
pub(super) async fn findings(settings: &Settings, source: &Client, look: &Look) -> Vec<Finding> {
    let name = &settings.destination.state_schema;
    let Some(destination) = &look.destination_facts.system_identifier else { return Vec::new() };
    // Of two databases of one server the state does not say which one it means.
    if look.source_facts.system_identifier.as_ref() == Some(destination) {
        return Vec::new();
    }
    let read = async {
        match schema::presence(source, name).await? {
            Presence::Readable => filled_from(source, name, destination).await,
            _ => Ok(Vec::new()),
        }
    };
    let filled = read.await.unwrap_or_else(|error| {
        tracing::debug!(%error, "state of other pipelines at the source cannot be read");
        Vec::new()
    });
    let goes_round = |filled: &&Filled| {
        look.selection.table(&filled.destination).is_some()
            && settings.destination_name(&filled.destination) == filled.source
    };
    filled.iter().filter(goes_round).map(finding).collect()
}

fn finding(filled: &Filled) -> Finding {
    let Filled { pipeline, source, destination } = filled;
    let message = format!(
        "pipeline \"{pipeline}\" fills it from table {} of our destination: if it still runs, every \
         change goes round for ever",
        source.sql()
    );
    Finding::warning(Side::Source, format!("table {}", destination.sql()), message).remedy(format!(
        "leave it out of one of the two (exclude); or, if pipeline \"{pipeline}\" is not used any \
         more: sync-agent reset, with its configuration"
    ))
}
