//! Columns whose type is that of another table's rows.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

const TABLES: &str = "CREATE TABLE z_address (street text, zip int, at timestamptz); ALTER TABLE z_address DROP zip; \
     CREATE TABLE person (id int PRIMARY KEY, home z_address, others z_address[])";

fn rows(id: u32) -> String {
    format!(
        "INSERT INTO person VALUES ({id}, ROW('Main \"St\", (x)', 'infinity'), \
         ARRAY[ROW(NULL, NULL)::z_address, NULL, ROW('', '2024-01-01')::z_address])"
    )
}

#[tokio::test]
async fn values_of_another_tables_row_type_arrive() {
    for is_included in [true, false] {
        let (source, destination) = pair().await;
        source.exec(&format!("{TABLES}; {}", rows(1))).await;
        let mut agent = Agent::between(&source, &destination);
        if !is_included {
            agent = agent.set("exclude", "[\"public.z_address\"]");
            let output = agent.verb(&["check"]).await;
            assert_eq!(output.code, 4, "{output:?}");
            let statement = output.stdout.lines().find(|line| line.contains("CREATE TYPE"));
            destination.exec(statement.expect("the statement that mends it")).await;
        }
        agent.start_and_stream().await;
        source.exec(&rows(2)).await;
        source.exec("UPDATE person SET home = others[3], others = NULL WHERE id = 1").await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["person"]).await;
        assert_eq!(agent.terminate().await, Some(0));
    }
}
