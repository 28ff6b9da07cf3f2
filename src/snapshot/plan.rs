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

/// Cuts a heap of `heap_bytes` into chunks of about `chunk_bytes`.
pub fn plan_chunks(heap_bytes: u64, chunk_bytes: u64) -> Vec<Chunk> {
    let block_count = heap_bytes.div_ceil(BLOCK_BYTES);
    let wanted = (chunk_bytes / BLOCK_BYTES).max(1);
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

    #[test]
    fn a_small_table_is_one_chunk() {
        assert_eq!(plan_chunks(0, 256 << 20), [Chunk::WHOLE]);
        assert_eq!(plan_chunks(8192, 8192), [Chunk::WHOLE]);
    }

    #[test]
    fn the_last_chunk_has_no_end() {
        let chunks = plan_chunks(3 * 8192, 8192);
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[2], Chunk { first_block: 2, end_block: None });
    }

    proptest! {
        #[test]
        fn chunks_cover_every_block_once(heap in 0u64..1 << 50, chunk in 0u64..1 << 40) {
            let chunks = plan_chunks(heap, chunk);
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
