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

/// What `loaded` leaves of the chunks. Ranges of an earlier plan may be cut elsewhere.
pub fn missing_chunks(chunks: &[Chunk], loaded: &[Chunk]) -> Vec<Chunk> {
    let mut loaded = loaded.to_vec();
    loaded.sort_by_key(|chunk| chunk.first_block);
    let mut missing = Vec::new();
    for chunk in chunks {
        let mut first_block = chunk.first_block;
        let mut is_covered = false;
        for done in &loaded {
            if chunk.end_block.is_some_and(|end| done.first_block >= end) {
                break;
            }
            if done.end_block.is_some_and(|end| end <= first_block) {
                continue;
            }
            if done.first_block > first_block {
                missing.push(Chunk { first_block, end_block: Some(done.first_block) });
            }
            // Beyond the chunk's own end it is covered, too.
            match done.end_block {
                Some(end) if chunk.end_block.is_none_or(|chunk_end| end < chunk_end) => {
                    first_block = end;
                }
                _ => {
                    is_covered = true;
                    break;
                }
            }
        }
        if !is_covered {
            missing.push(Chunk { first_block, end_block: chunk.end_block });
        }
    }
    missing
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

    #[test]
    fn what_is_loaded_is_not_missing() {
        let range = |first_block, end_block| Chunk { first_block, end_block };
        let plan = [range(0, Some(4)), range(4, Some(8)), range(8, None)];
        assert_eq!(missing_chunks(&plan, &[]), plan);
        assert_eq!(missing_chunks(&plan, &[range(0, None)]), []);
        let loaded = [range(8, None), range(2, Some(5))];
        assert_eq!(missing_chunks(&plan, &loaded), [range(0, Some(2)), range(5, Some(8))]);
        assert_eq!(missing_chunks(&[Chunk::WHOLE], &[range(0, Some(3))]), [range(3, None)]);
    }

    fn cut(cuts: &std::collections::BTreeSet<u64>) -> Vec<Chunk> {
        let firsts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().map(Some).chain(std::iter::once(None));
        firsts.zip(ends).map(|(first_block, end_block)| Chunk { first_block, end_block }).collect()
    }

    fn covers(chunks: &[Chunk], block: u64) -> usize {
        let holds = |chunk: &&Chunk| {
            chunk.first_block <= block && chunk.end_block.is_none_or(|end| block < end)
        };
        chunks.iter().filter(holds).count()
    }

    proptest! {
        #[test]
        fn loaded_and_missing_are_every_block_once(
            cuts in proptest::collection::btree_set(1u64..40, 0..8),
            earlier in proptest::collection::btree_set(1u64..40, 0..8),
            kept in proptest::collection::vec(proptest::bool::ANY, 9),
        ) {
            let plan = cut(&cuts);
            let loaded: Vec<Chunk> =
                cut(&earlier).into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(c, _)| c).collect();
            let missing = missing_chunks(&plan, &loaded);
            for block in 0..50 {
                prop_assert_eq!(covers(&loaded, block) + covers(&missing, block), 1, "{}", block);
            }
        }
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
