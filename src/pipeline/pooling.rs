//! A proxy between us and a server that gives each transaction another session.
//!
//! Session settings, advisory locks and prepared statements must stay ours, so such a proxy is
//! refused before anything else is asked: behind it the other questions fail in odd ways.

use crate::apply::preflight::{is_transaction_pooled, pooling_finding};
use crate::model::finding::{Finding, Side};
use crate::pg::client::Client;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;

/// What stands in the way on one side. `first` is a connection of ours there; a second one is
/// opened beside it: two that share a server session are behind such a proxy.
pub async fn findings(
    context: &Context,
    side: Side,
    first: &Client,
) -> Result<Vec<Finding>, PipelineError> {
    let second = match side {
        Side::Source => context.source_client("check").await?,
        Side::Destination => context.destination_client("check").await?,
    };
    let is_pooled = is_transaction_pooled(first, &second).await;
    let is_pooled = is_pooled.map_err(PipelineError::query(side, "looking for a proxy"))?;
    Ok(is_pooled.then(|| pooling_finding(side)).into_iter().collect())
}

/// Refuses to go on where a side is behind such a proxy.
pub async fn refuse(
    context: &Context,
    source: &Client,
    destination: &Client,
) -> Result<(), PipelineError> {
    let (mut found, at_destination) = tokio::try_join!(
        findings(context, Side::Source, source),
        findings(context, Side::Destination, destination)
    )?;
    found.extend(at_destination);
    if found.is_empty() { Ok(()) } else { Err(PipelineError::Preflight(found)) }
}
