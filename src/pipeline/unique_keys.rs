//! What is unique at the source and at the destination, in the transform's terms.

use crate::config::settings::TableSettings;
use crate::pg::catalog::{IndexInfo, TableInfo};
use crate::transform::UniqueKey;

/// The unique keys of both tables by the source's names. `destination`: the table as it is; none where
/// it will be created with the source's keys.
pub(super) fn unique_keys(
    settings: Option<&TableSettings>,
    source: &TableInfo,
    destination: Option<&TableInfo>,
) -> Vec<UniqueKey> {
    let at_source = source.indexes.iter().filter(is_unique).map(|index| UniqueKey {
        columns: columns(index),
        nulls_are_equal: index.nulls_are_equal,
        is_kept: destination.is_none(),
        is_sure: index.is_valid && !index.is_partial && index.read_columns.is_empty(),
    });
    let there = destination.map_or(&[][..], |destination| &destination.indexes);
    let at_destination = there.iter().filter(is_unique).map(|index| UniqueKey {
        columns: columns(index).into_iter().map(|name| source_name(settings, name)).collect(),
        nulls_are_equal: index.nulls_are_equal,
        is_kept: true,
        is_sure: false,
    });
    at_source.chain(at_destination).collect()
}

fn is_unique(index: &&IndexInfo) -> bool {
    index.is_unique && !index.is_exclusion
}

fn columns(index: &IndexInfo) -> Vec<String> {
    let columns = if index.columns.is_empty() { &index.read_columns } else { &index.columns };
    columns.clone()
}

/// What a destination's column is called in the configuration, where it is named there.
fn source_name(settings: Option<&TableSettings>, destination: String) -> String {
    let columns = settings.map_or(&[][..], |settings| &settings.columns);
    let renamed = columns.iter().find(|column| column.rename.as_ref() == Some(&destination));
    renamed.map_or(destination, |column| column.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::catalog::table_info::fixture::{column, primary_key, table, unique};
    use crate::pg::oid::{INT4, TEXT};
    use crate::transform::fixture::{renamed, table_settings};

    #[test]
    fn the_destinations_keys_count_where_it_has_a_table() {
        let columns = || vec![column("id", "integer", INT4), column("email", "text", TEXT)];
        let source = table("t", columns(), vec![primary_key(&["id"]), unique("e", &["email"])]);
        let on_expression =
            IndexInfo { read_columns: vec!["mail".to_owned()], ..unique("lower_mail", &[]) };
        let destination = table("t", columns(), vec![primary_key(&["id"]), on_expression]);
        let settings = table_settings(&source.name, None, vec![renamed("email", "mail", vec![])]);
        let kept = |destination| {
            let keys = unique_keys(Some(&settings), &source, destination);
            keys.into_iter().filter(|key| key.is_kept).map(|key| key.columns.join(",")).collect()
        };
        let names: Vec<String> = kept(None);
        assert_eq!(names, ["id", "email"]);
        let names: Vec<String> = kept(Some(&destination));
        assert_eq!(names, ["id", "email"]);
        let keys = unique_keys(Some(&settings), &source, Some(&destination));
        assert_eq!(keys.iter().filter(|key| key.is_sure).count(), 2);
    }
}
