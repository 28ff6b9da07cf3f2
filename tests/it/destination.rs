//! What stands between tables that exist at the destination and apply is found, each with the
//! statement that mends it.

use sync_agent::apply::mapping::{Mapping, MappingError};
use sync_agent::apply::preflight::{self, DestinationRequest, DestinationTable};
use sync_agent::model::finding::{Finding, Severity, Side};
use sync_agent::model::table::{Column, Table, TableId};
use sync_agent::pg::catalog::{self, ColumnInfo, TableFilter, TableInfo};
use sync_agent::pg::ident::QualifiedName;
use tokio_postgres::Client;

use crate::support::cluster::{Cluster, pair};
use crate::support::database::Database;

async fn session(database: &Database, role: &str) -> Client {
    let client = database.session().await.expect("the server answers");
    let pin = format!("SET search_path = ''; SET ROLE {role}");
    client.batch_execute(&pin).await.expect("a role");
    client
}

async fn tables(client: &Client) -> Vec<TableInfo> {
    let schemas = ["public".to_owned()];
    catalog::tables(client, TableFilter::Schemas(&schemas)).await.expect("tables")
}

/// The table's rows as they are, all columns sent.
fn map(source: &TableInfo, destination: &TableInfo) -> Result<Mapping, Vec<MappingError>> {
    let key = source.key_columns();
    let table = Table {
        id: TableId(source.oid),
        name: source.name.clone(),
        identity: source.identity,
        columns: source
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
                is_identity: key.contains(&column.name),
            })
            .collect(),
        key: (0..source.columns.len())
            .filter(|&index| key.contains(&source.columns[index].name))
            .collect(),
    };
    let described: Vec<Option<&ColumnInfo>> = source.columns.iter().map(Some).collect();
    Mapping::new(&table, &described, destination)
}

/// A destination whose role has the documented grants: its state schema, and writing.
const DESTINATION: &str = "
    CREATE ROLE agent LOGIN;
    CREATE SCHEMA sync_agent AUTHORIZATION agent;
    CREATE TABLE orders (id int PRIMARY KEY, note text);
    GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON orders TO agent;";

struct Look<'a> {
    source: &'a Database,
    destination: &'a Database,
    must_be_empty: bool,
}

impl Look<'_> {
    async fn findings(&self) -> Vec<Finding> {
        let from = session(self.source, "postgres").await;
        let to = session(self.destination, "agent").await;
        let facts = catalog::server_facts(&to).await.expect("facts");
        let source_facts = catalog::server_facts(&from).await.expect("facts");
        let (sources, existing) = (tables(&from).await, tables(&to).await);
        let find = |name: &QualifiedName| existing.iter().find(|table| table.name == *name);
        let mappings: Vec<_> =
            sources.iter().map(|source| find(&source.name).map(|to| map(source, to))).collect();
        let planned: Vec<DestinationTable<'_>> = sources
            .iter()
            .zip(&mappings)
            .map(|(source, mapping)| DestinationTable {
                is_copy_only: false,
                is_followed: false,
                source,
                name: &source.name,
                own_rows: None,
                existing: find(&source.name),
                mapping: mapping.as_ref(),
                must_be_empty: self.must_be_empty,
                is_emptied: false,
                is_merged: false,
                needs_truncate: true,
                needs_delete: false,
                keys_are_pending: false,
            })
            .collect();
        let request = DestinationRequest {
            facts: &facts,
            source_facts: &source_facts,
            state_schema: "sync_agent",
            tables: &planned,
        };
        preflight::findings(&to, request).await.expect("it could look")
    }
}

fn errors(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.severity == Severity::Error).collect()
}

#[tokio::test]
async fn each_thing_the_destination_lacks_is_one_finding_and_its_statement_mends_it() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE orders (id int PRIMARY KEY, note text)").await;
    destination.exec(DESTINATION).await;
    let look = Look { source: &source, destination: &destination, must_be_empty: true };
    let findings = look.findings().await;
    assert!(errors(&findings).is_empty(), "the documented grants suffice: {findings:#?}");
    let orders = "table \"public\".\"orders\"";
    for (damage, object, remedy) in [
        (
            "REVOKE INSERT, TRUNCATE ON orders FROM agent",
            orders,
            "GRANT INSERT, TRUNCATE ON \"public\".\"orders\" TO \"agent\"",
        ),
        (
            "REVOKE SELECT ON orders FROM agent; GRANT SELECT (id) ON orders TO agent",
            orders,
            "GRANT SELECT ON \"public\".\"orders\" TO \"agent\"",
        ),
        ("INSERT INTO orders VALUES (1)", orders, "TRUNCATE \"public\".\"orders\""),
        (
            "ALTER TABLE orders DROP COLUMN note",
            orders,
            "ALTER TABLE \"public\".\"orders\" ADD COLUMN \"note\" text",
        ),
        (
            "ALTER TABLE orders ADD COLUMN must int NOT NULL",
            orders,
            "ALTER TABLE \"public\".\"orders\" ALTER COLUMN \"must\" DROP NOT NULL",
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_pkey",
            orders,
            "CREATE UNIQUE INDEX ON \"public\".\"orders\" (\"id\")",
        ),
        (
            "REVOKE USAGE ON SCHEMA public FROM public",
            "schema \"public\"",
            "GRANT USAGE ON SCHEMA \"public\" TO \"agent\"",
        ),
        ("ALTER TABLE orders ENABLE ROW LEVEL SECURITY", orders, "ALTER ROLE \"agent\" BYPASSRLS"),
        (
            "ALTER SCHEMA sync_agent OWNER TO postgres",
            "schema \"sync_agent\"",
            "GRANT USAGE, CREATE ON SCHEMA \"sync_agent\" TO \"agent\"",
        ),
        (
            "DROP SCHEMA sync_agent",
            "schema \"sync_agent\"",
            "CREATE SCHEMA \"sync_agent\" AUTHORIZATION \"agent\"",
        ),
    ] {
        destination.exec(damage).await;
        let findings = look.findings().await;
        let [error] = errors(&findings)[..] else { panic!("{damage}: {findings:#?}") };
        assert_eq!(error.object, object, "{damage}");
        assert_eq!(error.remedy.as_deref(), Some(remedy), "{damage}");
        destination.exec(remedy).await;
        let findings = look.findings().await;
        assert!(errors(&findings).is_empty(), "{damage}: {findings:#?}");
    }
}

#[tokio::test]
async fn the_replica_role_is_asked_for_and_its_grant_is_seen() {
    let destination = Cluster::destination().await;
    destination.exec("CREATE ROLE agent LOGIN").await;
    let to = session(&destination, "agent").await;
    assert!(!preflight::can_set_replica_role(&to).await.expect("an answer"));
    let superuser = destination.session().await.expect("a session");
    assert!(preflight::can_set_replica_role(&superuser).await.expect("an answer"));
    let shown = superuser.simple_query("SHOW session_replication_role").await.expect("an answer");
    let tokio_postgres::SimpleQueryMessage::Row(row) = &shown[1] else { panic!("{shown:?}") };
    assert_eq!(row.get(0), Some("origin"), "it was only tried");
    if destination.major >= 15 {
        destination.exec("GRANT SET ON PARAMETER session_replication_role TO agent").await;
        assert!(preflight::can_set_replica_role(&to).await.expect("an answer"));
    }
}

#[tokio::test]
async fn one_server_session_behind_two_connections_is_a_transaction_pool() {
    let destination = Cluster::destination().await;
    let first = destination.session().await.expect("a session");
    let second = destination.session().await.expect("a session");
    assert!(!preflight::is_transaction_pooled(&first, &second).await.expect("an answer"));
    // What a pool of one server session looks like from here.
    assert!(preflight::is_transaction_pooled(&first, &first).await.expect("an answer"));
    let finding = preflight::pooling_finding(Side::Destination);
    assert_eq!(finding.severity, Severity::Error);
}
