//! Whatever else a transaction can be made of arrives as it was, by copy and by tail, change by change
//! and all at once.

mod inheritance;
mod noise;
mod prepared;
mod savepoints;
mod shared_positions;
mod statements;
mod there_and_back;

use crate::support::agent::Agent;
use crate::support::thrice::{Thrice, tables};

/// Tables in a schema of their own, and what happens to them.
struct Group {
    schema: &'static str,
    setup: &'static str,
    changes: &'static [&'static str],
    tables: &'static [&'static str],
}

const GROUPS: [&Group; 3] = [&statements::GROUP, &savepoints::GROUP, &noise::GROUP];

impl Group {
    fn within(&self, sql: &str) -> String {
        format!("SET search_path = {}; {sql}", self.schema)
    }
}

#[tokio::test]
async fn every_kind_of_transaction_arrives_as_what_was_left_of_it() {
    let setup: Vec<String> = GROUPS
        .iter()
        .map(|group| format!("CREATE SCHEMA {}; {}", group.schema, group.within(group.setup)))
        .collect();
    let include = r#"["statements.*", "savepoints.*", "noise.*", "public.gate"]"#;
    let including = |agent: Agent| agent.set("include", include);
    let mut thrice = Thrice::start_with(&setup.join(";"), "", including).await;
    let changes: Vec<String> = GROUPS
        .iter()
        .flat_map(|group| group.changes.iter().map(|change| group.within(change)))
        .collect();
    thrice.play(&changes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let names: Vec<String> = GROUPS
        .iter()
        .flat_map(|group| group.tables.iter().map(|table| format!("{}.{table}", group.schema)))
        .collect();
    let pairs = tables(&names.iter().map(String::as_str).collect::<Vec<_>>());
    thrice.assert_followed(&pairs).await;
    noise::stop_and_start_beside_messages(&mut thrice).await;
    thrice.assert_followed(&pairs).await;
    savepoints::assert_nothing_undone(&thrice.whole).await;
    noise::assert_nothing_else_came(&thrice).await;
    let of_tables = r#"["statements.*", "savepoints.*", "noise.t"]"#;
    thrice.assert_copied(&pairs, |agent| agent.set("include", of_tables)).await;
    let log = thrice.whole.agent.log();
    assert!(!log.contains("\"ERROR\""), "{log}");
}
