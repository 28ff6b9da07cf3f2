//! A prepared table as a job for the workers; pure: which statements read it, which load it, what is built
//! after.

use std::sync::Arc;

use super::CopyJob;
use super::builds::{self, Built};
use super::filling::Filling;
use super::parts::Part;
use super::step::Step;
use crate::apply::merge::{mark_unstaged, merge_sql};
use crate::apply::statement;
use crate::apply::target::Target;
use crate::pg::catalog::TableInfo;
use crate::pipeline::planner::TablePlan;
use crate::snapshot::Chunk;
use crate::snapshot::copy_out::CopyOutPlan;

/// Heaps from this size on have each index built by itself, by any worker. Below, all of them take less
/// time than it takes to read the rows again from the disk's cache.
const BUILT_APART_BYTES_MIN: u64 = 16 << 20;

/// Which rows are read, and when.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) parts: Vec<Part>,
    /// Conditions by which further rows are read, wherever they lie.
    pub(super) keys: Vec<String>,
    pub(super) level: usize,
}

pub(super) fn job(info: &TableInfo, step: Step, plan: TablePlan, rows: Rows) -> CopyJob {
    let Rows { parts, keys, level } = rows;
    let is_binary = plan.is_copy_binary;
    let target = &plan.target;
    let columns = plan.transform.copy_columns();
    // The COPY's columns are the target's: what the destination generates itself is left out.
    let outputs: Vec<usize> = target.columns.iter().map(|column| column.value_index).collect();
    let select = outputs.iter().map(|&index| columns[index].source_sql.clone());
    let select: Vec<String> = select.chain(plan.transform.copy_input_columns()).collect();
    let is_plain = columns.iter().all(|column| column.is_bare)
        && !info.columns.iter().any(|column| column.is_published_generated);
    let name = target.name.sql();
    let is_whole = matches!(&parts[..], [part] if part.chunks == [Chunk::WHOLE]);
    let (copy_in_sql, merge) = loading(&step, target, is_binary, is_whole);
    let out = |part: &Part| CopyOutPlan {
        relation: part.relation.clone(),
        columns: select.clone(),
        is_plain,
        is_binary,
        filter: both(info.row_filters.get(&part.oid), plan.transform.copy_filter()),
    };
    let by_key = |part: &Part, keys: &String| {
        let plan = out(part);
        let filter = both(plan.filter.as_ref(), Some(keys));
        (CopyOutPlan { filter, ..plan }, part.oid, vec![Chunk::WHOLE])
    };
    let keyed: Vec<_> =
        parts.iter().flat_map(|part| keys.iter().map(move |keys| by_key(part, keys))).collect();
    let heap_count = parts.len();
    let heaps: Vec<_> =
        parts.iter().map(|part| (out(part), part.oid, part.chunks.clone())).collect();
    let bytes = parts.iter().map(|part| part.bytes).sum();
    let built = Built {
        table: &name,
        oid: plan.destination.oid,
        is_partitioned: target.is_partitioned,
        is_small: bytes < BUILT_APART_BYTES_MIN,
    };
    let builds = builds::plan(&step.completion, built);
    CopyJob {
        record: step.record,
        bytes,
        level,
        transform: Arc::clone(&plan.transform),
        outputs,
        parts: heaps.into_iter().chain(keyed).collect(),
        heap_count,
        copy_in_sql,
        merge,
        is_binary,
        is_resumed: step.filling == Filling::Resume,
        is_renewed: step.filling == Filling::Renew,
        query: None,
        builds,
    }
}

/// Rows for which both are true. On lines of their own: an expression may end in a comment.
fn both(one: Option<&String>, other: Option<&str>) -> Option<String> {
    let conditions: Vec<&str> = one.map(String::as_str).into_iter().chain(other).collect();
    match conditions.as_slice() {
        [] => None,
        [single] => Some(format!("{single}\n")),
        _ => Some(format!("({}\n)", conditions.join("\n) AND ("))),
    }
}

/// The COPY that loads a chunk with what stands before it, and the statements behind it.
/// `is_whole`: one chunk is all of the table.
fn loading(step: &Step, target: &Target, is_binary: bool, is_whole: bool) -> (String, Vec<String>) {
    let mask: Vec<usize> = (0..target.columns.len()).collect();
    let name = target.name.sql();
    match step.filling {
        Filling::EmptyWithLoad => {
            let load = statement::copy_in_frozen(&name, target, &mask, is_binary);
            (format!("TRUNCATE ONLY {name}; {load}"), Vec::new())
        }
        Filling::Replace => {
            let load = statement::copy_in(&name, target, &mask, is_binary);
            (format!("{}; {load}", step.delete_sql()), Vec::new())
        }
        Filling::Load | Filling::EmptyBefore => {
            (statement::copy_in(&name, target, &mask, is_binary), Vec::new())
        }
        Filling::Merge | Filling::Resume => {
            let sql = merge_sql(target, is_binary);
            (sql.copy_in, sql.merge)
        }
        Filling::Renew => {
            let mut sql = merge_sql(target, is_binary);
            if is_whole {
                sql.merge.splice(0..0, mark_unstaged(target));
            }
            (sql.copy_in, sql.merge)
        }
    }
}
