//! A table as the publications send it: what is not sent is not there.
//!
//! Column lists and generated columns change the description itself, right after it was read, so
//! that whoever creates, maps, transforms or copies the table never sees more of it.

use super::view::SentTable;
use crate::pg::catalog::{Generated, TableInfo};

/// Leaves in `table` what is sent of it.
pub fn narrow(table: &mut TableInfo, sent: &SentTable) {
    table.row_filters.clone_from(&sent.filters);
    for column in &mut table.columns {
        let is_sent = match &sent.columns {
            Some(list) => list.contains(&column.name),
            None => sent.generated,
        };
        if column.generated == Generated::Stored && is_sent {
            column.generated = Generated::No;
            column.generation = None;
            column.expression_columns.clear();
            column.is_published_generated = true;
        }
    }
    let Some(list) = &sent.columns else { return };
    let is_sent = |name: &String| list.contains(name);
    // A column that the destination can work out from what is sent stays.
    table.columns.retain(|column| {
        is_sent(&column.name)
            || column.generated != Generated::No && column.expression_columns.iter().all(is_sent)
    });
    // An index over an expression, or with a condition, may read any column: in doubt it goes.
    table.indexes.retain(|index| {
        let is_simple = !index.is_partial && !index.columns.is_empty();
        is_simple && index.columns.iter().all(is_sent)
    });
    table.sequences.retain(|sequence| is_sent(&sequence.column));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::catalog::IndexInfo;
    use crate::pg::catalog::table_info::fixture;
    use crate::pg::oid::{INT4, TEXT};

    fn table() -> TableInfo {
        let generated = |name: &str, of: &str| crate::pg::catalog::ColumnInfo {
            generated: Generated::Stored,
            generation: Some(of.to_owned()),
            expression_columns: vec![of.to_owned()],
            ..fixture::column(name, "text", TEXT)
        };
        let columns = vec![
            fixture::column("id", "integer", INT4),
            fixture::column("public", "text", TEXT),
            fixture::column("secret", "text", TEXT),
            generated("of_public", "public"),
            generated("of_secret", "secret"),
        ];
        let partial = IndexInfo { is_partial: true, ..fixture::unique("partial", &["public"]) };
        let indexes =
            vec![fixture::primary_key(&["id"]), fixture::unique("s", &["id", "secret"]), partial];
        fixture::table("t", columns, indexes)
    }

    fn names(table: &TableInfo) -> Vec<&str> {
        table.columns.iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn what_is_not_listed_is_not_there_nor_what_reads_it() {
        let mut narrowed = table();
        let list = ["id", "public"].map(str::to_owned).to_vec();
        narrow(&mut narrowed, &SentTable { columns: Some(list), ..SentTable::default() });
        assert_eq!(names(&narrowed), ["id", "public", "of_public"]);
        assert_eq!(narrowed.indexes.len(), 1);
        assert_eq!(narrowed.key_columns(), ["id"]);
    }

    #[test]
    fn without_a_list_all_is_there_and_generated_columns_stay_generated() {
        let mut narrowed = table();
        narrow(&mut narrowed, &SentTable::default());
        assert_eq!(narrowed, table());
    }

    #[test]
    fn a_generated_column_that_is_sent_is_a_plain_one() {
        let mut narrowed = table();
        narrow(&mut narrowed, &SentTable { generated: true, ..SentTable::default() });
        let sent = &narrowed.columns[4];
        assert!(sent.generated == Generated::No && sent.is_published_generated);
        assert_eq!(names(&narrowed), names(&table()));
    }
}
