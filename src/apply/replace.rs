//! Updates of rows with columns that no UPDATE may set; pure.

use crate::apply::statement::{Find, column_list, finding, typed};
use crate::apply::target::Target;
use crate::pg::ident::identifier;

/// Updates a row of a table with columns that no UPDATE may set (`GENERATED ALWAYS AS IDENTITY`):
/// in place where these stay as they are, else as a delete and an insert. Values that `sent` does
/// not name are the deleted row's. The parameters are the sent columns' values.
///
/// Where all are sent, the row is inserted even if none was found, and the rows inserted so are
/// counted; else the rows updated are.
pub(super) fn replace_row(target: &Target, sent: &[usize], find: Find) -> String {
    let (table, rows) = (target.name.sql(), target.rows_sql());
    let found = finding(target, find, sent.len() + 1);
    let parameter = |index: usize| {
        let place = sent.iter().position(|&column| column == index)?;
        Some(typed(target, index, place + 1))
    };
    let assigned = |is_identity: bool, between: &str| {
        let column = |&index: &usize| {
            let column = &target.columns[index];
            let parameter =
                parameter(index).filter(|_| column.is_identity_always == is_identity)?;
            Some(format!("{} = {parameter}", identifier(&column.name)))
        };
        sent.iter().filter_map(column).collect::<Vec<_>>().join(between)
    };
    let (set, same) = (assigned(false, ", "), assigned(true, " AND "));
    let kept = match set.is_empty() {
        true => format!("SELECT 1 FROM {rows} WHERE {found} AND {same}"),
        false => format!("UPDATE {rows} SET {set} WHERE {found} AND {same} RETURNING 1"),
    };
    let own = target.own_columns.iter().map(|name| identifier(name));
    let names = target.columns.iter().map(|column| identifier(&column.name));
    let kept_columns = names.clone().chain(own.clone()).collect::<Vec<_>>().join(", ");
    let of_gone = |name: String| format!("gone.{name}");
    let values = names
        .enumerate()
        .map(|(index, name)| parameter(index).unwrap_or_else(|| of_gone(name)))
        .chain(own.map(of_gone))
        .collect::<Vec<_>>()
        .join(", ");
    let insert = format!("INSERT INTO {table} ({kept_columns}) OVERRIDING SYSTEM VALUE");
    let mut sql = format!(
        "WITH kept AS ({kept}), \
         gone AS (DELETE FROM {rows} WHERE {found} AND NOT EXISTS (SELECT 1 FROM kept) RETURNING *), \
         moved AS ({insert} SELECT {values} FROM gone RETURNING 1) "
    );
    sql.push_str(&match sent.len() == target.columns.len() {
        true => format!(
            "INSERT INTO {table} ({}) OVERRIDING SYSTEM VALUE SELECT {} \
             WHERE NOT EXISTS (SELECT 1 FROM kept) AND NOT EXISTS (SELECT 1 FROM gone)",
            column_list(&target.columns),
            (0..target.columns.len()).filter_map(parameter).collect::<Vec<_>>().join(", "),
        ),
        false => "SELECT 1 FROM kept UNION ALL SELECT 1 FROM moved".to_owned(),
    });
    sql
}
