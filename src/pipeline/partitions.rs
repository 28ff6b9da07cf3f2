//! Partitions that appear later at the source, of tables that we created.
//!
//! Rows arrive under their root's name; the destination's root has to have a place for them. A new
//! partition is created with its indexes and then attached, so that nothing is built over rows.

use crate::checkpoint::tables::CopyState;
use crate::model::finding::Side;
use crate::pg::catalog::{RelationKind, TableInfo};
use crate::pg::client::Client;
use crate::pipeline::copy::create::{Sides, requests};
use crate::pipeline::error::PipelineError;
use crate::pipeline::foreign_keys::Building;
use crate::structure::PartitionStructure;

impl Building<'_> {
    /// Creates the partitions that the destination lacks; gives their number. One that cannot be
    /// attached (a default partition holds its rows, say) is left out with a warning: its rows stay
    /// where they are.
    pub async fn ensure_partitions(&self, destination: &Client) -> Result<usize, PipelineError> {
        let is_ours = |info: &TableInfo| {
            let record = self.planner.record(&info.name);
            info.kind == RelationKind::Partitioned
                && record.is_some_and(|r| r.created && r.state == CopyState::Copied)
        };
        if !self.planner.source_tables().any(is_ours) {
            return Ok(0);
        }
        let requests = requests(self.context, self.planner, is_ours)?;
        let sides = Sides { context: self.context, source: self.source, destination };
        let structure = sides.plan(&requests).await?;
        let mut count = 0;
        for planned in structure.order.iter().filter_map(|oid| structure.tables.get(oid)) {
            for partition in &planned.partitions {
                if self.add_partition(destination, partition).await? {
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    async fn add_partition(
        &self,
        destination: &Client,
        partition: &PartitionStructure,
    ) -> Result<bool, PipelineError> {
        let made = partition.create.iter().chain(&partition.indexes);
        let statements: Vec<String> =
            made.chain(std::iter::once(&partition.attach)).map(|made| made.sql.clone()).collect();
        let Err(error) = self.transaction(destination, &statements).await else {
            tracing::info!(partition = %partition.name, "partition created");
            return Ok(true);
        };
        let Some(refusal) = error.as_db_error().filter(|_| is_of_the_partition(&error)) else {
            let doing = PipelineError::query(Side::Destination, "creating a partition");
            return Err(doing(error));
        };
        let (reason, remedy) = (refusal.message(), statements.join("; "));
        tracing::warn!(partition = %partition.name, reason, remedy, "partition not created");
        Ok(false)
    }
}

/// Rows or objects that are in its way, or a privilege; not our lease, nor the connection.
fn is_of_the_partition(error: &tokio_postgres::Error) -> bool {
    let class = error.code().map_or("", |code| &code.code()[..2]);
    matches!(class, "23" | "42" | "0A")
}
