//! Updates for a table that is loaded in part; pure.
//!
//! The row that an update means may be in a block that is not copied yet. Where the update brings all
//! values the row is made of them; where it does not (unchanged large values), the key is written down
//! in the same transaction, and the row is read by it when the rest of the table is.

use crate::apply::statement::{Find, finding, set_parameters, typed};
use crate::apply::target::Target;

/// Updates the columns of `mask` (none: only looks for the row), or writes the key down where the row is
/// not there. The parameters are the mask's values, the key's after the change, and what finds the row.
pub(super) fn update_or_remember(target: &Target, mask: &[usize], find: Find) -> String {
    let after = mask.len() + 1;
    let key: Vec<String> = (after..)
        .zip(&target.key)
        .map(|(number, &index)| format!("({})::pg_catalog.text", typed(target, index, number)))
        .collect();
    let table = target.rows_sql();
    let found = finding(target, find, after + target.key.len());
    let looked = match mask.is_empty() {
        true => format!("SELECT 1 FROM {table} WHERE {found}"),
        false => {
            format!("UPDATE {table} SET {} WHERE {found} RETURNING 1", set_parameters(target, mask))
        }
    };
    let remember = target.remember.as_deref().unwrap_or_default();
    format!(
        "WITH found AS ({looked}) {remember} ARRAY[{}]::text[] \
         WHERE NOT EXISTS (SELECT 1 FROM found)",
        key.join(", ")
    )
}
