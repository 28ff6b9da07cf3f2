//! The heaps behind the source's tables, cut into chunks.

use std::collections::HashMap;

use crate::model::finding::Side;
use crate::pg::catalog::{self, RelationKind, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::snapshot::{Chunk, TableSize, plan_chunks};

/// One heap: a table itself, or a leaf of a partitioned one.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) relation: QualifiedName,
    pub(super) oid: Oid,
    /// TOAST included.
    pub(super) bytes: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// The parts of each table, by its OID. A partitioned table without partitions has none.
pub(super) async fn read(
    context: &Context,
    source: &Client,
    tables: &[TableInfo],
) -> Result<HashMap<Oid, Vec<Part>>, PipelineError> {
    let asking = || PipelineError::catalog(Side::Source);
    let chunk_bytes = context.settings.snapshot.chunk_bytes;
    let is_partitioned = |info: &&TableInfo| info.kind == RelationKind::Partitioned;
    let mut parts: HashMap<Oid, Vec<Part>> = tables
        .iter()
        .filter(|info| !is_partitioned(info))
        .map(|info| (info.oid, vec![part(info, chunk_bytes)]))
        .collect();
    let roots: Vec<Oid> = tables.iter().filter(is_partitioned).map(|info| info.oid).collect();
    if roots.is_empty() {
        return Ok(parts);
    }
    let leaves = catalog::partition_leaves(source, &roots).await.map_err(asking())?;
    let oids: Vec<Oid> = leaves.iter().map(|leaf| leaf.oid).collect();
    let heaps = catalog::tables(source, TableFilter::Oids(&oids)).await.map_err(asking())?;
    let heaps: HashMap<Oid, &TableInfo> = heaps.iter().map(|heap| (heap.oid, heap)).collect();
    for leaf in &leaves {
        if let Some(heap) = heaps.get(&leaf.oid) {
            parts.entry(leaf.root).or_default().push(part(heap, chunk_bytes));
        }
    }
    Ok(parts)
}

fn part(heap: &TableInfo, chunk_bytes: u64) -> Part {
    let size = TableSize { heap_bytes: heap.heap_bytes, table_bytes: heap.table_bytes };
    // Other access methods have no blocks to cut by.
    let chunks = if heap.is_heap { plan_chunks(size, chunk_bytes) } else { vec![Chunk::WHOLE] };
    Part { relation: heap.name.clone(), oid: heap.oid, bytes: heap.table_bytes, chunks }
}

/// Whether the whole table is one chunk, so that one transaction loads it.
pub(super) fn is_single(parts: &[Part]) -> bool {
    matches!(parts, [part] if part.chunks.len() == 1)
}
