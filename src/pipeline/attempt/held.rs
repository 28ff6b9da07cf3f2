//! What an attempt holds while it works, and what both servers say by it.

use std::sync::Arc;

use crate::checkpoint::row::{self, Checkpoint};
use crate::checkpoint::tables::{self, TableRecord};
use crate::pg::client::Client;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::Look;
use crate::pipeline::planner::Planner;

/// What an attempt holds once the lease is its own.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) source: Arc<Client>,
    pub(super) destination: Arc<Client>,
    pub(super) checkpoint: Checkpoint,
}

impl Held {
    pub(super) async fn records(
        &self,
        context: &Context,
    ) -> Result<Vec<TableRecord>, PipelineError> {
        let sql = &context.checkpoint;
        Ok(tables::read_all(&self.destination, &sql.schema, &sql.pipeline).await?)
    }

    pub(super) async fn planner(
        &self,
        context: &Context,
        look: &Look,
        records: Vec<TableRecord>,
    ) -> Result<Planner, PipelineError> {
        let mut planner =
            Planner::new(context, &self.source, &self.destination, !look.has_replica_role);
        planner.set_source_tables(&look.selection.tables).await?;
        planner.set_records(records);
        Ok(planner)
    }

    /// Up to where is applied, as the destination has it now.
    pub(super) async fn position(
        &mut self,
        context: &Context,
    ) -> Result<Option<Lsn>, PipelineError> {
        if let Some(row) = row::read(&self.destination, &context.checkpoint).await? {
            self.checkpoint = row;
        }
        Ok(self.checkpoint.applied_lsn)
    }
}
