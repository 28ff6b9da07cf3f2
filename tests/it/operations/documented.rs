//! docs/privileges.md as it stands: its statements, by the heading that they stand under.

use crate::support::cluster::Cluster;
use crate::support::database::Database;

const DOCUMENT: &str = include_str!("../../../docs/privileges.md");

/// The document's tables, foreign key and all.
pub(super) const SCHEMA: &str = "
    SET ROLE app_owner;
    CREATE TABLE customers (id int PRIMARY KEY, name text);
    CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, total numeric);
    CREATE TABLE journal (line text);
    RESET ROLE;";

const ROWS: &str = "
    INSERT INTO customers SELECT g, 'name ' || g FROM generate_series(1, 1000) g;
    INSERT INTO orders SELECT g, g, g FROM generate_series(1, 1000) g;
    INSERT INTO journal SELECT 'line' FROM generate_series(1, 10);";

/// The `nth` SQL block under a heading.
pub(super) fn block(heading: &str, nth: usize) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("### {heading}\n")).expect("a heading");
    let section = rest.split("\n#").next().unwrap_or(rest);
    let block = section.split("```sql\n").nth(nth + 1).expect("a block");
    block.split("```").next().expect("it is closed")
}

/// Executes the first block under a heading, as an administrator.
pub(super) async fn run(database: &Database, heading: &str) {
    database.exec(block(heading, 0)).await;
}

/// The document's database on both servers: the source's with tables and reader, the
/// destination's empty, with the writer.
pub(super) async fn shops(source: &Cluster, destination: &Cluster) -> (Database, Database) {
    for server in [source, destination] {
        server.exec("CREATE ROLE app_owner").await;
        server.exec("CREATE DATABASE shop").await;
        server.database("shop").exec("GRANT USAGE, CREATE ON SCHEMA public TO app_owner").await;
    }
    let (at_source, at_destination) = (source.database("shop"), destination.database("shop"));
    at_source.exec(SCHEMA).await;
    at_source.exec(ROWS).await;
    run(&at_source, "The reader").await;
    run(&at_destination, "The writer").await;
    (at_source, at_destination)
}
