//! The catalog's description of a table in the stream's terms, and whether the two agree; pure.

use crate::model::table::{Column, Table, TableId};
use crate::pg::catalog::{ColumnInfo, Generated, TableInfo};
use crate::pg::oid::{self, Oid};
use crate::transform::TypeFacts;

/// The catalog's description in the stream's terms: generated columns are not replicated.
pub fn describe(info: &TableInfo) -> Table {
    let key_names = info.key_columns();
    let columns: Vec<Column> = info
        .columns
        .iter()
        .filter(|column| column.generated == Generated::No)
        .map(|column| Column {
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            is_identity: key_names.contains(&column.name),
        })
        .collect();
    let key = (0..columns.len()).filter(|&index| columns[index].is_identity).collect();
    Table { id: TableId(info.oid), name: info.name.clone(), identity: info.identity, columns, key }
}

/// Whether the catalog's description has every column of the stream's, with its type.
pub(super) fn knows(info: &TableInfo, table: &Table) -> bool {
    info.name == table.name
        && table.columns.iter().all(|column| {
            info.column(&column.name).is_some_and(|known| {
                known.type_oid == column.type_oid && known.type_modifier == column.type_modifier
            })
        })
}

/// Types that users made have a text form of their own choosing; until the catalog question for
/// casts is asked, only those whose text is their output function's are known: enums, citext, and
/// domains over these and over built-in types.
pub(super) fn type_facts(columns: &[ColumnInfo], oid: Oid) -> Option<TypeFacts> {
    let is_it = |column: &&ColumnInfo| {
        column.leaf.array_depth == 0 && (column.type_oid == oid || column.leaf.type_oid == oid)
    };
    let column = columns.iter().find(is_it)?;
    let leaf = &column.leaf;
    let facts =
        TypeFacts { kind: leaf.kind, base_type: 0, base_modifier: -1, has_text_cast: false };
    match leaf.kind {
        _ if leaf.type_oid != oid => Some(TypeFacts {
            kind: 'd',
            base_type: leaf.type_oid,
            base_modifier: leaf.type_modifier,
            ..facts
        }),
        'e' => Some(facts),
        'b' if leaf.name == "citext" => Some(TypeFacts { base_type: oid::TEXT, ..facts }),
        _ => None,
    }
}
