//! Every type with values at its edges, by copy and by tail: in binary, in text, and decoded for a step on
//! another column; whatever the agent's role and environment are set to.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};
use crate::support::database::Database;

use super::catalog_of_values::{
    ARRAYS, Kind, NUMBERS, PLACES, RANGES, TEXTS, TIMES, USER_TYPES, USERS,
};

/// Everything that changes how values look, how they are read, or what a session may do.
const SETTINGS: &[(&str, &str)] = &[
    ("DateStyle", "'German, DMY'"),
    ("IntervalStyle", "sql_standard"),
    ("extra_float_digits", "-15"),
    ("bytea_output", "escape"),
    ("TimeZone", "'America/St_Johns'"),
    ("timezone_abbreviations", "'India'"),
    ("search_path", "evil, public"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "on"),
    ("escape_string_warning", "on"),
    ("xmloption", "document"),
    ("xmlbinary", "hex"),
    ("default_text_search_config", "'pg_catalog.german'"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("quote_all_identifiers", "on"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("lc_numeric", "'C.utf8'"),
    ("lc_time", "'C.utf8'"),
    ("client_encoding", "LATIN1"),
    ("statement_timeout", "1000"),
    ("row_security", "off"),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("PGOPTIONS", "-c datestyle=SQL -c extra_float_digits=-15"),
    ("PGDATESTYLE", "SQL, DMY"),
    ("PGTZ", "Asia/Kathmandu"),
    ("PGCLIENTENCODING", "SJIS"),
    ("TZ", "America/Los_Angeles"),
    ("LC_ALL", "tr_TR.UTF-8"),
    ("LANG", "tr_TR.UTF-8"),
];

/// Types that travel as text only, and make the whole stream do so.
const TEXT_ONLY: &[Kind] = &[
    ("regclass", &["'pg_catalog.pg_class'", "'public.\"plain ıI\"'"]),
    ("regtype", &["'integer[]'", "'public.pt'"]),
    ("regproc", &["'pg_catalog.now'"]),
    ("regprocedure", &["'lower(text)'"]),
    ("regoperator", &["'+(integer,integer)'"]),
    ("regnamespace", &["'\"S x\"'"]),
    ("regrole", &["'postgres'"]),
    ("regconfig", &["'german'"]),
    ("regdictionary", &["'simple'"]),
    ("regcollation", &["'\"C\"'"]),
    ("regtype[]", &["'{integer,public.pt,NULL}'"]),
    ("int2vector", &["'1 -2 32767'", "''"]),
    ("oidvector", &["'1 4294967295'", "''"]),
    ("tsquery", &[r"'!a & (b | ''c d'':*AB) <-> e <3> f'", "''"]),
    ("aclitem", &["'postgres=r*/postgres'"]),
];

/// A table with a column for each type.
struct Table {
    name: &'static str,
    kinds: Vec<Kind>,
}

impl Table {
    fn columns(&self) -> String {
        let names = (0..self.kinds.len()).map(|number| format!("c{number}"));
        names.collect::<Vec<_>>().join(", ")
    }

    fn create(&self) -> String {
        let column = |(number, kind): (usize, &Kind)| format!("c{number} {}", kind.0);
        let columns: Vec<String> = self.kinds.iter().enumerate().map(column).collect();
        format!(
            "CREATE TABLE {} (id int PRIMARY KEY, tag text, {});",
            self.name,
            columns.join(", ")
        )
    }

    /// As many rows as the richest type has values, from this id on.
    fn insert(&self, first_id: usize) -> String {
        let count = self.kinds.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        let row = |number: usize| {
            let values = self.kinds.iter().map(|(type_name, values)| {
                format!("({})::{type_name}", values[number % values.len()])
            });
            let values: Vec<String> = values.collect();
            format!("({}, 'tag', {})", first_id + number, values.join(", "))
        };
        let rows: Vec<String> = (0..count).map(row).collect();
        format!("INSERT INTO {} VALUES {};", self.name, rows.join(", "))
    }

    /// Rows without a value, then with those of others; keys that move; one row gone.
    fn change(&self) -> String {
        let (name, columns) = (self.name, self.columns());
        // A NOT NULL domain takes no NULL.
        let nulls: Vec<String> = self
            .kinds
            .iter()
            .enumerate()
            .filter(|(_, (type_name, _))| *type_name != "pos2")
            .map(|(number, _)| format!("c{number} = NULL"))
            .collect();
        format!(
            "UPDATE {name} SET {nulls} WHERE id = 1000;
             UPDATE {name} AS t SET ({columns}) = (SELECT {columns} FROM {name} AS o WHERE o.id = t.id + 1)
               WHERE id < 3;
             UPDATE {name} SET tag = 'other' WHERE id < 100;
             UPDATE {name} SET id = id + 10000 WHERE id % 4 = 1;
             DELETE FROM {name} WHERE id = 2;",
            nulls = nulls.join(", ")
        )
    }

    /// The same, of so many rows that they are staged.
    fn change_many(&self) -> String {
        let name = self.name;
        format!(
            "BEGIN; {} UPDATE {name} SET tag = 'many', c0 = c0 WHERE id >= 2000; COMMIT;",
            (0..10).map(|block| self.insert(2000 + 100 * block)).collect::<String>()
        )
    }
}

fn tables(major: u32) -> [Table; 2] {
    let all = [NUMBERS, TIMES, TEXTS, PLACES, ARRAYS, RANGES, USERS];
    let is_known = |kind: &&Kind| major >= 15 || kind.0 != "numeric(3,-2)";
    let kinds = all.into_iter().flatten().filter(is_known).copied().collect();
    [
        // Two letters that Turkish takes for others.
        Table { name: "\"plain ıI\"", kinds },
        Table { name: "\"text only\"", kinds: TEXT_ONLY.to_vec() },
    ]
}

async fn assert_arrived(source: &Cluster, destination: &Database, tables: &[Table]) {
    for table in tables {
        let pair = Pair::table(table.name)
            .columns(&format!("id, {}", table.columns()), &format!("id, {}", table.columns()));
        assert_pair(source, destination, pair).await;
    }
}

const HASHED: &str = "[[table]]\nname = 'public.\"plain ıI\"'\n[table.columns]\n\
     tag = { hash = \"sha256\" }";

#[tokio::test]
async fn every_type_arrives_in_binary_in_text_and_beside_a_step() {
    let (source, destination) = pair().await;
    let tables = tables(source.major);
    for side in [&source, &destination] {
        let mut sql = "CREATE SCHEMA evil; CREATE ROLE agent SUPERUSER LOGIN;".to_owned();
        for (name, value) in SETTINGS {
            sql.push_str(&format!("ALTER ROLE agent SET {name} = {value};"));
        }
        side.exec(&sql).await;
    }
    source.exec(USER_TYPES).await;
    // Other OIDs on the other side.
    let further = "CREATE TYPE evil.filler AS ENUM ('x'); CREATE TABLE evil.filler2 (id int)";
    for name in ["in_binary", "in_text", "beside_a_step"] {
        destination.exec(&format!("CREATE DATABASE {name}")).await;
        destination.database(name).exec(&format!("CREATE SCHEMA evil; {further}")).await;
    }
    let created: String = tables.iter().map(Table::create).collect();
    let rows = |first| tables.iter().map(|table| table.insert(first)).collect::<String>();
    source.exec(&format!("{created} {}", rows(0))).await;
    let binary = "['public.\"plain ıI\"']";
    let agent = |name: &str| {
        let to = destination.database(name);
        let agent = Agent::between(&source, &to)
            .named(name)
            .text("source.url", &source.url_as("agent"))
            .text("destination.url", &to.url_as("agent"));
        ENVIRONMENT.iter().fold(agent, |agent, (name, value)| agent.variable(name, value))
    };
    let mut agents = [
        agent("in_binary").set("include", binary),
        agent("in_text").set("apply.max_batch_rows", "1"),
        agent("beside_a_step").set("include", binary).section(HASHED),
    ];
    for agent in &mut agents {
        agent.start_and_stream().await;
    }
    for table in &tables {
        for sql in [table.insert(1000), table.change(), table.change_many()] {
            source.exec(&sql).await;
        }
    }
    for (agent, tables) in agents.iter_mut().zip([&tables[..1], &tables, &tables[..1]]) {
        agent.caught_up().await;
        let is_binary = agent.pipeline != "in_text";
        let said = format!("\"binary\":{is_binary}");
        assert!(agent.log().contains(&said), "{said} in {}", agent.log());
        assert_arrived(&source, &destination.database(&agent.pipeline), tables).await;
        assert_eq!(agent.terminate().await, Some(0));
    }
}

/// Every column is an expression that is its value, and the text goes through steps that find nothing. The
/// agent makes the tables: what an expression gives has no modifier, and types that users made become text.
/// No expression may give what is named by the search path.
fn untouched(table: &Table) -> String {
    let columns: Vec<String> = table
        .kinds
        .iter()
        .enumerate()
        .filter(|(_, (type_name, _))| !type_name.starts_with("reg"))
        .map(|(number, _)| format!("c{number} = {{ sql = \"c{number}\" }}"))
        .collect();
    format!(
        "[[table]]\nname = 'public.{}'\n[table.columns]\n{}\n\
         tag = [{{ trim = true }}, {{ replace = {{ pattern = \"nothing\", with = \"\" }} }}]\n",
        table.name,
        columns.join("\n")
    )
}

#[tokio::test]
async fn every_type_passes_unchanged_through_expressions_and_steps() {
    let (source, destination) = pair().await;
    let tables = tables(source.major);
    source.exec("CREATE SCHEMA evil").await;
    source.exec(USER_TYPES).await;
    let created: String = tables.iter().map(Table::create).collect();
    let rows = |first| tables.iter().map(|table| table.insert(first)).collect::<String>();
    source.exec(&format!("{created} {}", rows(0))).await;
    let mut agents = Vec::new();
    for (name, count) in [("in_binary", 1), ("in_text", 2)] {
        destination.exec(&format!("CREATE DATABASE {name}")).await;
        let to = destination.database(name);
        // What values name (regtype) has to be there.
        to.exec(&format!("CREATE SCHEMA evil; {USER_TYPES}")).await;
        let sections: String = tables[..count].iter().map(untouched).collect();
        let include: Vec<String> =
            tables[..count].iter().map(|table| format!("'public.{}'", table.name)).collect();
        let mut agent = Agent::between(&source, &to)
            .named(name)
            .set("include", &format!("[{}]", include.join(", ")))
            .section(&sections);
        agent.start_and_stream().await;
        agents.push((agent, to, count));
    }
    for table in &tables {
        for sql in [table.insert(1000), table.change()] {
            source.exec(&sql).await;
        }
    }
    for (agent, to, count) in &mut agents {
        agent.caught_up().await;
        assert_arrived(&source, to, &tables[..*count]).await;
    }
}
