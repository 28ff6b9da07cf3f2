//! Steps, expressions and filters at random over the random tables, and what they make of the source's rows
//! in SQL.

use super::tables::{Kind, Table};
use crate::support::compare::Pair;
use crate::support::random::Random;

/// One table's `[[table]]`.
pub(super) struct Transformed {
    name: String,
    filter: Option<String>,
    columns: Vec<Column>,
}

struct Column {
    /// A line of `[table.columns]`; none for a column that is not named there.
    setting: Option<String>,
    /// The destination's column, and what the source's SQL says that it holds.
    at_destination: Option<(String, String)>,
}

impl Column {
    fn passes(name: &str) -> Self {
        Self { setting: None, at_destination: Some((name.to_owned(), name.to_owned())) }
    }

    fn drops(name: &str) -> Self {
        Self { setting: Some(format!("{name} = {{ drop = true }}")), at_destination: None }
    }

    fn becomes(name: &str, step: &str, at_destination: &str, sql: String) -> Self {
        Self {
            setting: Some(format!("{name} = {{ {step} }}")),
            at_destination: Some((at_destination.to_owned(), sql)),
        }
    }

    fn computes(name: &str, sql: &str, seen: &str) -> Self {
        Self::becomes(name, &format!("sql = \"{sql}\""), name, seen.to_owned())
    }

    /// The value stays in a key and in a unique column, and what is made of it tells rows apart.
    fn stays_apart(random: &mut Random, name: &str) -> Self {
        match random.between(0, 2) {
            0 => Self::passes(name),
            1 => Self::becomes(
                name,
                &format!("rename = \"its_{name}\""),
                &format!("its_{name}"),
                name.to_owned(),
            ),
            _ => {
                let sql = format!("encode(sha256(convert_to({name}::text, 'UTF8')), 'hex')");
                Self::becomes(name, "hash = \"sha256\"", name, sql)
            }
        }
    }
}

impl Transformed {
    pub(super) fn draw(random: &mut Random, table: &Table) -> Self {
        let mut columns = vec![Column::stays_apart(random, "k")];
        let mut filters = vec!["n % 3 <> 0", "coalesce(n, 0) < 600", "n IS NULL OR n % 2 = 0"];
        if columns[0].setting.as_ref().is_none_or(|setting| !setting.contains("hash")) {
            filters.extend(["k % 4 <> 1", "k > 2 AND n >= 0"]);
        }
        columns.push(match random.between(0, 2) {
            0 => Column::passes("n"),
            1 => Column::becomes("n", "rename = \"number\"", "number", "n".to_owned()),
            _ => Column::computes("n", "n * 2 + 1", "n * 2 + 1"),
        });
        if matches!(table.kind, Kind::Composite | Kind::LongKey) {
            columns.push(Column::stays_apart(random, "l"));
        }
        if table.has_unique {
            columns.push(Column::stays_apart(random, "u"));
        }
        if table.has_large {
            let (column, seen, is_masked) = large(random);
            columns.push(column);
            if random.one_in(2) {
                let computed = |big: &str| format!("left({big}, 5) || coalesce(n, 0)");
                columns.push(Column::computes("mixed", &computed("big"), &computed(seen)));
            }
            columns.push(Column::computes("size", "length(big)", &format!("length({seen})")));
            if !is_masked {
                filters.extend(["length(big) > 20", "big IS NULL OR n % 2 = 0"]);
            }
        }
        if table.has_json {
            let drops_k =
                || Column::becomes("js", "json_drop = [\"k\"]", "js", "js - 'k'".to_owned());
            columns.push(match random.between(0, 2) {
                0 => Column::passes("js"),
                1 => Column::drops("js"),
                _ => drops_k(),
            });
        }
        if table.has_float {
            columns.push(match random.one_in(2) {
                true => Column::passes("f"),
                false => Column::computes("f", "coalesce(f, 0) + 0.5", "coalesce(f, 0) + 0.5"),
            });
        }
        let filter = (!random.one_in(4)).then(|| random.of(&filters).to_owned());
        Self { name: table.name.clone(), filter, columns }
    }

    pub(super) fn section(&self) -> String {
        let mut section = format!("[[table]]\nname = \"public.{}\"\n", self.name);
        if let Some(filter) = &self.filter {
            section.push_str(&format!("where = \"{filter}\"\n"));
        }
        section.push_str("[table.columns]\n");
        for setting in self.columns.iter().filter_map(|column| column.setting.as_ref()) {
            section.push_str(setting);
            section.push('\n');
        }
        section
    }

    /// The source's rows as they should be, beside the destination's.
    pub(super) fn pair(&self) -> Pair {
        let name = &self.name;
        let passes = self.filter.as_deref().unwrap_or("true");
        let columns = self.columns.iter().filter_map(|column| column.at_destination.as_ref());
        let (there, here): (Vec<&str>, Vec<&str>) =
            columns.map(|(name, sql)| (name.as_str(), sql.as_str())).unzip();
        Pair::renamed(&format!("(SELECT * FROM {name} WHERE {passes}) AS {name}"), name)
            .columns(&here.join(", "), &there.join(", "))
    }
}

/// What happens to the large column, how expressions see it, and whether no filter may read it.
fn large(random: &mut Random) -> (Column, &'static str, bool) {
    const MASKED: &str = "(CASE WHEN length(big) <= 3 THEN repeat('*', length(big)) \
                           ELSE left(big, 3) || repeat('*', length(big) - 3) END)";
    match random.between(0, 3) {
        0 => (Column::passes("big"), "big", false),
        1 => (Column::drops("big"), "big", false),
        2 => {
            let step = "mask = { keep_first = 3 }";
            (Column::becomes("big", step, "big", MASKED.to_owned()), MASKED, true)
        }
        _ => (Column::computes("big", "right(big, 40)", "right(big, 40)"), "big", false),
    }
}
