//! How a table of our making is completed after its load; pure.
//!
//! Several indexes of one table can be built at once, each by a worker of its own: `CREATE INDEX`
//! takes a SHARE lock, which goes with itself. `ALTER TABLE … ADD PRIMARY KEY` does not, so a key is
//! built as a unique index under a name of ours and becomes the constraint at the end, in no time:
//! `ADD CONSTRAINT … USING INDEX` gives the index the constraint's name. A copy that is cut off between
//! the two leaves indexes of such names ([`MARKER`]), which the next one removes before it plans.

use super::Completion;
use crate::pg::ident::identifier;
use crate::pg::oid::Oid;

/// What the names of unfinished keys' indexes begin with.
pub(super) const MARKER: &str = "sync_agent_building_";

/// The statements that complete a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Builds {
    /// In any order, several at once.
    pub(super) apart: Vec<String>,
    /// Then these, in order, in the transaction that records the table as copied.
    pub(super) last: Vec<String>,
}

/// The table to complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Built<'a> {
    /// Quoted.
    pub(super) table: &'a str,
    /// At the destination: makes the names of its keys' indexes unlike those of other tables.
    pub(super) oid: Oid,
    /// A constraint of a partitioned table cannot be made of an index.
    pub(super) is_partitioned: bool,
    /// Small: what several workers would gain is less than what their transactions cost.
    pub(super) is_small: bool,
}

pub(super) fn plan(completion: &Completion, built: Built<'_>) -> Builds {
    let whole = || Builds { apart: Vec::new(), last: completion.statements().cloned().collect() };
    if built.is_small || built.is_partitioned {
        return whole();
    }
    let mut builds = Builds::default();
    for (number, key) in completion.keys.iter().enumerate() {
        let marker = identifier(&format!("{MARKER}{}_{number}", built.oid));
        match split_key(key, built.table, &marker) {
            Some((build, attach)) => {
                builds.apart.push(build);
                builds.last.push(attach);
            }
            None if key.starts_with("CREATE UNIQUE INDEX ") => builds.apart.push(key.clone()),
            None => builds.last.push(key.clone()),
        }
    }
    builds.apart.extend(completion.indexes.iter().cloned());
    builds.last.extend(completion.rest.iter().cloned());
    // One alone has nobody to run beside.
    if builds.apart.len() < 2 { whole() } else { builds }
}

/// A key's `ALTER TABLE … ADD CONSTRAINT` as the index and its attachment; `None` where the two do
/// not come to the same (`WITHOUT OVERLAPS`, `EXCLUDE`), or the server would choose the name.
fn split_key(statement: &str, table: &str, marker: &str) -> Option<(String, String)> {
    let rest = statement.strip_prefix("ALTER TABLE ")?;
    let rest = rest.strip_prefix(table)?.strip_prefix(" ADD CONSTRAINT ")?;
    let (name, rest) = split_at_end(rest, '"', '"')?;
    let rest = rest.strip_prefix(' ')?;
    let (kind, rest) = match rest.strip_prefix("PRIMARY KEY ") {
        Some(rest) => ("PRIMARY KEY", rest),
        None => ("UNIQUE", rest.strip_prefix("UNIQUE ")?),
    };
    let (nulls, rest) = match rest.strip_prefix("NULLS NOT DISTINCT ") {
        Some(rest) => (" NULLS NOT DISTINCT", rest),
        None => ("", rest),
    };
    let (columns, rest) = split_at_end(rest, '(', ')')?;
    if columns.contains(" WITHOUT OVERLAPS") {
        return None;
    }
    let (include, rest) = match rest.strip_prefix(" INCLUDE ") {
        Some(rest) => {
            let (columns, rest) = split_at_end(rest, '(', ')')?;
            (format!(" INCLUDE {columns}"), rest)
        }
        None => (String::new(), rest),
    };
    let deferral = match rest {
        "" | " DEFERRABLE" | " DEFERRABLE INITIALLY DEFERRED" => rest,
        _ => return None,
    };
    Some((
        format!("CREATE UNIQUE INDEX {marker} ON {table} {columns}{include}{nulls}"),
        format!("ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {marker}{deferral}"),
    ))
}

/// Splits behind what `open` begins and `close` ends; quoted names in between are passed over.
fn split_at_end(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(open)?;
    let mut is_quoted = false;
    let mut characters = inner.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character == close && !is_quoted {
            // A doubled quote is one of the name.
            if close == '"' && characters.next_if(|(_, next)| *next == '"').is_some() {
                continue;
            }
            return Some(text.split_at(open.len_utf8() + at + close.len_utf8()));
        }
        if character == '"' {
            is_quoted = !is_quoted;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\"public\".\"t\"";

    fn built() -> Built<'static> {
        Built { table: TABLE, oid: 7, is_partitioned: false, is_small: false }
    }

    fn key(definition: &str) -> String {
        format!("ALTER TABLE {TABLE} ADD CONSTRAINT \"t \"\" key\" {definition}")
    }

    fn completion(keys: &[String]) -> Completion {
        Completion {
            keys: keys.to_vec(),
            indexes: vec!["CREATE INDEX a".to_owned(), "CREATE INDEX b".to_owned()],
            rest: vec!["ALTER TABLE t REPLICA IDENTITY FULL".to_owned()],
        }
    }

    #[test]
    fn a_key_is_built_as_an_index_and_attached_at_the_end() {
        let definition =
            "UNIQUE NULLS NOT DISTINCT (a, \"b)\") INCLUDE (c) DEFERRABLE INITIALLY DEFERRED";
        let builds = plan(&completion(&[key("PRIMARY KEY (id)"), key(definition)]), built());
        assert_eq!(
            builds.apart[..2],
            [
                format!("CREATE UNIQUE INDEX \"{MARKER}7_0\" ON {TABLE} (id)"),
                format!(
                    "CREATE UNIQUE INDEX \"{MARKER}7_1\" ON {TABLE} (a, \"b)\") INCLUDE (c) NULLS NOT DISTINCT"
                ),
            ]
        );
        assert_eq!(
            builds.last,
            [
                format!(
                    "ALTER TABLE {TABLE} ADD CONSTRAINT \"t \"\" key\" PRIMARY KEY USING INDEX \"{MARKER}7_0\""
                ),
                format!(
                    "ALTER TABLE {TABLE} ADD CONSTRAINT \"t \"\" key\" UNIQUE USING INDEX \"{MARKER}7_1\" \
                     DEFERRABLE INITIALLY DEFERRED"
                ),
                "ALTER TABLE t REPLICA IDENTITY FULL".to_owned(),
            ]
        );
        assert_eq!(builds.apart.len(), 4, "and both indexes");
    }

    #[test]
    fn what_no_index_can_become_waits_for_the_end() {
        let keys = [
            key("PRIMARY KEY (id, valid WITHOUT OVERLAPS)"),
            key("EXCLUDE USING gist (r WITH &&)"),
            key("UNIQUE (a) WITH (fillfactor = 50)"),
            format!("ALTER TABLE {TABLE} ADD PRIMARY KEY (id)"),
            "ALTER TABLE \"public\".\"other\" ADD CONSTRAINT \"c\" UNIQUE (a)".to_owned(),
        ];
        let builds = plan(&completion(&keys), built());
        assert_eq!(builds.apart, ["CREATE INDEX a", "CREATE INDEX b"]);
        assert_eq!(builds.last[..keys.len()], keys);
    }

    #[test]
    fn one_build_alone_small_tables_and_partitioned_ones_stay_whole() {
        let alone = Completion {
            keys: vec![key("PRIMARY KEY (id)")],
            rest: vec!["CLUSTER".to_owned()],
            ..Completion::default()
        };
        assert_eq!(plan(&alone, built()).last, [key("PRIMARY KEY (id)"), "CLUSTER".to_owned()]);
        let many = completion(&[key("PRIMARY KEY (id)")]);
        for built in
            [Built { is_small: true, ..built() }, Built { is_partitioned: true, ..built() }]
        {
            let builds = plan(&many, built);
            assert_eq!(builds.apart, Vec::<String>::new());
            assert_eq!(builds.last, many.statements().cloned().collect::<Vec<_>>());
        }
    }
}
