//! Block counts to chunks; pure.
//!
//! A chunk is a range of heap blocks, read by a TID range scan (PostgreSQL 14 and up), so no key is
//! needed. The last chunk has no end: blocks that appear after the plan was made hold only rows
//! that the snapshot does not see, but a row must never be missed for a wrong guess of the size.
//!
//! **Invariant:** the chunks of a table cover every block, and no block twice.

/// Bytes in a heap block. `BLCKSZ` is 8192 in every packaged server; another size only makes chunks
/// larger or smaller than asked for.
const BLOCK_BYTES: u64 = 8192;

/// Chunks a table at most: bounds the plan, whatever `snapshot.chunk` says.
const CHUNKS_MAX: u64 = 10_000;

/// A part of one table's heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// First block in it.
    pub first_block: u64,
    /// First block not in it; none for "to the end".
    pub end_block: Option<u64>,
}

impl Chunk {
    pub const WHOLE: Chunk = Chunk { first_block: 0, end_block: None };

    pub fn is_whole(&self) -> bool {
        *self == Chunk::WHOLE
    }
}

/// A table's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Of the heap, which is what can be cut.
    pub heap_bytes: u64,
    /// Of the heap and of what its rows keep in TOAST.
    pub table_bytes: u64,
}

/// Cuts a heap so that its chunks hold about `chunk_bytes` each, TOAST included.
pub fn plan_chunks(size: TableSize, chunk_bytes: u64) -> Vec<Chunk> {
    let block_count = size.heap_bytes.div_ceil(BLOCK_BYTES);
    // Small tables have maps larger than themselves, which hold no rows.
    let is_toasted = size.table_bytes / 2 > size.heap_bytes;
    let weight = if is_toasted { size.table_bytes / size.heap_bytes.max(1) } else { 1 };
    let wanted = (chunk_bytes / BLOCK_BYTES / weight).max(1);
    let whole = size.table_bytes.max(size.heap_bytes) <= chunk_bytes;
    let wanted = if whole { block_count.max(1) } else { wanted };
    let blocks_per_chunk = wanted.max(block_count.div_ceil(CHUNKS_MAX));
    let chunk_count = block_count.div_ceil(blocks_per_chunk).max(1);
    (0..chunk_count)
        .map(|number| Chunk {
            first_block: number * blocks_per_chunk,
            end_block: (number + 1 < chunk_count).then(|| (number + 1) * blocks_per_chunk),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(heap_bytes: u64, table_bytes: u64) -> TableSize {
        TableSize { heap_bytes, table_bytes }
    }

    #[test]
    fn what_lies_in_toast_counts() {
        // A thousand blocks that carry a hundred times as much: four chunks.
        let heap_bytes = 1000 * 8192;
        let chunks = plan_chunks(size(heap_bytes, 100 * heap_bytes), 25 * heap_bytes);
        assert_eq!(chunks.len(), 4);
        assert_eq!(chunks[1].first_block, 250);
    }

    #[test]
    fn a_small_table_is_one_chunk() {
        assert_eq!(plan_chunks(size(0, 8192), 256 << 20), [Chunk::WHOLE]);
        assert_eq!(plan_chunks(size(8192, 8192), 8192), [Chunk::WHOLE]);
        assert_eq!(plan_chunks(size(8192, 40960), 40960), [Chunk::WHOLE], "with its maps");
    }

    #[test]
    fn the_last_chunk_has_no_end() {
        let chunks = plan_chunks(size(3 * 8192, 3 * 8192), 8192);
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[2], Chunk { first_block: 2, end_block: None });
    }

    proptest! {
        #[test]
        fn chunks_cover_every_block_once(
            heap in 0u64..1 << 50,
            toast in 0u64..1 << 50,
            chunk in 0u64..1 << 40,
        ) {
            let chunks = plan_chunks(size(heap, heap + toast), chunk);
            prop_assert!(chunks.len() as u64 <= CHUNKS_MAX);
            prop_assert_eq!(chunks[0].first_block, 0);
            prop_assert_eq!(chunks[chunks.len() - 1].end_block, None);
            for pair in chunks.windows(2) {
                prop_assert_eq!(pair[0].end_block, Some(pair[1].first_block));
                prop_assert!(pair[0].first_block < pair[1].first_block);
            }
        }
    }
}
