//! Rows of others in a table that several source tables share, where this pipeline's settings do not say so
//! any more; pure.

use std::collections::BTreeSet;

use crate::config::settings::{Apart, TableSettings};
use crate::model::table::Table;
use crate::pg::catalog::TableInfo;

/// The settings of a table whose destination's key has one of its constants in front: other tables have rows
/// there, which are not of this pipeline, or not any more.
pub(super) fn left_alone(
    settings: &TableSettings,
    table: &Table,
    destination: &TableInfo,
) -> Option<TableSettings> {
    if settings.apart.is_some() || !table.has_key() && settings.key.is_none() {
        return None;
    }
    let renamed = |name: &str| {
        let column = settings.columns.iter().find(|column| column.name == name);
        column.and_then(|column| column.rename.clone()).unwrap_or_else(|| name.to_owned())
    };
    let key: BTreeSet<String> = match &settings.key {
        Some(key) => key.iter().map(|name| renamed(name)).collect(),
        None => table.key_columns().map(|column| renamed(&column.name)).collect(),
    };
    let has_unique = |wanted: &BTreeSet<String>| {
        let mut indexes = destination.indexes.iter().filter(|index| index.is_unique);
        indexes.any(|index| index.columns.iter().cloned().collect::<BTreeSet<_>>() == *wanted)
    };
    if has_unique(&key) {
        return None;
    }
    let is_it = |apart: &Apart| {
        let mut wanted = key.clone();
        table.column_index(&apart.column).is_none()
            && wanted.insert(apart.column.clone())
            && has_unique(&wanted)
    };
    let apart = Apart::candidates(&settings.columns).find(is_it)?;
    Some(TableSettings { apart: Some(apart), ..settings.clone() })
}
