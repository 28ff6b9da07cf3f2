//! Small tables at random: what identifies their rows, and what else they have.

use crate::support::random::Random;

/// What identifies a row. `k` is an integer in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    /// Of two columns, in another order than the table's.
    Composite,
    /// A key of text that is so long that it may be stored out of line.
    LongKey,
    /// The identity is a unique index, and there is no key.
    Index,
    /// FULL, beside a key.
    FullWithKey,
    /// FULL alone: rows may be equal.
    Full,
}

pub(super) const KINDS: [Kind; 8] = [
    Kind::Key,
    Kind::Key,
    Kind::Composite,
    Kind::LongKey,
    Kind::Index,
    Kind::FullWithKey,
    Kind::Full,
    Kind::Full,
];

#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// A second unique column.
    pub(super) has_unique: bool,
    /// A column that is often stored out of line.
    pub(super) has_large: bool,
    pub(super) has_json: bool,
    pub(super) has_float: bool,
}

impl Table {
    pub(super) fn draw(random: &mut Random, kind: Kind) -> Self {
        Self {
            name: format!("t{}", random.between(1, u64::MAX - 1)),
            kind,
            has_unique: kind != Kind::Full && random.one_in(4),
            has_large: !random.one_in(8),
            has_json: random.one_in(2),
            has_float: random.one_in(2),
        }
    }

    pub(super) fn create(&self) -> String {
        let name = &self.name;
        let mut columns = vec!["n int", "k int NOT NULL"];
        let mut after = Vec::new();
        match self.kind {
            Kind::Key => columns.push("PRIMARY KEY (k)"),
            Kind::Composite => columns.extend(["l text NOT NULL", "PRIMARY KEY (l, k)"]),
            Kind::LongKey => {
                columns.extend(["l text NOT NULL", "PRIMARY KEY (l)"]);
                after.push(format!("ALTER TABLE {name} ALTER l SET STORAGE EXTERNAL"));
            }
            Kind::Index => {
                after.push(format!("CREATE UNIQUE INDEX {name}_k ON {name} (k)"));
                after.push(format!("ALTER TABLE {name} REPLICA IDENTITY USING INDEX {name}_k"));
            }
            Kind::FullWithKey => {
                columns.push("PRIMARY KEY (k)");
                after.push(format!("ALTER TABLE {name} REPLICA IDENTITY FULL"));
            }
            Kind::Full => after.push(format!("ALTER TABLE {name} REPLICA IDENTITY FULL")),
        }
        if self.has_unique {
            columns.push("u int UNIQUE");
        }
        if self.has_large {
            columns.push("big text");
            after.push(format!("ALTER TABLE {name} ALTER big SET STORAGE EXTERNAL"));
        }
        if self.has_json {
            columns.push("js jsonb");
        }
        if self.has_float {
            columns.push("f float8");
        }
        let mut sql = format!("CREATE TABLE {name} ({})", columns.join(", "));
        for statement in after {
            sql = format!("{sql}; {statement}");
        }
        sql
    }

    /// The rows that the copy finds.
    pub(super) fn fill(&self, random: &mut Random) -> String {
        let sql = self.insert("g", "generate_series(1, 20) AS g", random);
        format!("{sql} ON CONFLICT DO NOTHING")
    }

    /// Inserts a row for each of `from`, with the key `k`.
    pub(super) fn insert(&self, k: &str, from: &str, random: &mut Random) -> String {
        let mut columns = vec!["k", "n"];
        let mut values = vec![k.to_owned(), random.between(0, 999).to_string()];
        if let Some(l) = self.letters(k) {
            columns.push("l");
            values.push(l);
        }
        if self.has_unique {
            columns.push("u");
            let nothing = random.one_in(3);
            values.push(if nothing { "NULL".to_owned() } else { format!("{k} + 1000") });
        }
        if self.has_large {
            columns.push("big");
            values.push(large(random, k));
        }
        if self.has_json {
            columns.push("js");
            values.push(json(random, k));
        }
        if self.has_float {
            columns.push("f");
            values.push(float(random));
        }
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM {from}",
            self.name,
            columns.join(", "),
            values.join(", ")
        )
    }

    /// The text part of the key that goes with `k`.
    pub(super) fn letters(&self, k: &str) -> Option<String> {
        match self.kind {
            Kind::Composite => Some(format!("chr(97 + ({k}) % 3)")),
            Kind::LongKey => {
                let pieces = "generate_series(1, 58) AS i";
                Some(format!(
                    "(SELECT string_agg(md5((({k}) + 10000 * i)::text), '') FROM {pieces})"
                ))
            }
            _ => None,
        }
    }
}

/// A large value of the row `k`: out of line, short, or none.
pub(super) fn large(random: &mut Random, k: &str) -> String {
    match random.between(0, 5) {
        0 => "NULL".to_owned(),
        1 => format!("'short ' || ({k})"),
        _ => format!(
            "repeat(md5((({k}) + {})::text), {})",
            random.next() % 100_000,
            random.between(75, 120)
        ),
    }
}

pub(super) fn json(random: &mut Random, k: &str) -> String {
    match random.between(0, 3) {
        0 => "NULL".to_owned(),
        1 => format!("jsonb_build_object('k', {k})"),
        _ => format!(
            "jsonb_build_object('k', (SELECT string_agg(md5((i + ({k}))::text), '') \
             FROM generate_series(1, {}) AS i))",
            random.between(75, 120)
        ),
    }
}

pub(super) fn float(random: &mut Random) -> String {
    let value = random.of(&["0.1", "'-0'", "'NaN'", "'Infinity'", "1e300", "NULL", "random()"]);
    value.to_owned()
}
