//! Several `[[table]]` with one destination: each has a column with a value of its own, by which its rows are
//! told from the others'.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::document::Path;
use crate::config::settings::{Apart, DestinationSettings, TableSettings};
use crate::config::validate::Check;
use crate::pg::ident::QualifiedName;

impl Check<'_> {
    pub(super) fn merged(
        &mut self,
        tables: &mut [TableSettings],
        destination: Option<&DestinationSettings>,
    ) {
        let mut groups: BTreeMap<QualifiedName, Vec<usize>> = BTreeMap::new();
        for (index, table) in tables.iter().enumerate() {
            // A second entry for one table is refused as such.
            if tables[..index].iter().any(|other| other.name == table.name) {
                continue;
            }
            let mapped = |schema: &String| destination?.schemas.get(schema).cloned();
            let name = table.destination.clone().unwrap_or_else(|| {
                let schema = mapped(&table.name.schema);
                let schema = schema.unwrap_or_else(|| table.name.schema.clone());
                QualifiedName::new(schema, table.name.name.clone())
            });
            groups.entry(name).or_default().push(index);
        }
        for (name, group) in groups.iter().filter(|(_, group)| group.len() > 1) {
            match apart(tables, group) {
                Some(found) => {
                    for (&index, apart) in group.iter().zip(found) {
                        tables[index].apart = Some(apart);
                    }
                }
                None => self.not_apart(name, tables, group),
            }
        }
    }

    fn not_apart(&mut self, name: &QualifiedName, tables: &[TableSettings], group: &[usize]) {
        let at = |index: usize| Path::of(&["table"]).index(index);
        let (first, rest) = (group[0], &group[1..]);
        for &index in rest {
            let key = match tables[index].destination {
                Some(_) => "destination",
                None => "name",
            };
            let message = format!(
                "\"{name}\" is the destination of \"{}\", too ({}), and nothing tells their rows apart",
                tables[first].name,
                at(first)
            );
            let problem = self.problems.value(&at(index).key(key), message);
            problem.hint(
                "Give each of them the same column with another value: tenant = { value = \"a\" }, or another destination.",
            );
        }
    }
}

/// The first column that all of the tables have, each with another value.
fn apart(tables: &[TableSettings], group: &[usize]) -> Option<Vec<Apart>> {
    let candidates = |index: usize| Apart::candidates(&tables[index].columns);
    let mut names: Vec<String> = candidates(group[0]).map(|apart| apart.column).collect();
    names.sort_unstable();
    names.into_iter().find_map(|name| {
        let of = |&index: &usize| candidates(index).find(|apart| apart.column == name);
        let found: Vec<Apart> = group.iter().map(of).collect::<Option<_>>()?;
        let values: BTreeSet<&str> = found.iter().map(|apart| apart.value.as_str()).collect();
        (values.len() == found.len()).then_some(found)
    })
}
