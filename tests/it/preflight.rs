//! What `check` finds: each thing that is missing, alone, with the statement that mends it; and
//! that the statement does mend it.

use sync_agent::model::finding::{Finding, Severity};
use sync_agent::pg::catalog::{self, TableFilter, TableInfo};
use sync_agent::pg::ident::QualifiedName;
use sync_agent::source::preflight::{self, SourceRequest};
use sync_agent::source::publication::{self, PublicationError, PublicationRequest};
use tokio_postgres::Client;

use crate::support::cluster::{Cluster, Spec};
use crate::support::database::Database;

/// As the agent pins its sessions, as the role `agent`.
async fn session(database: &Database) -> Client {
    let client = database.session().await.expect("the server answers");
    client.batch_execute("SET search_path = ''; SET ROLE agent").await.expect("a role");
    client
}

/// A role with the documented grants for a source, and tables with and without keys.
const SOURCE: &str = "
    CREATE ROLE agent LOGIN REPLICATION;
    CREATE SCHEMA shop AUTHORIZATION agent;
    CREATE TABLE shop.orders (id int PRIMARY KEY, note text);
    CREATE TABLE shop.log (line text);
    CREATE TABLE shop.parts (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
    CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES IN (1);
    ALTER TABLE shop.orders OWNER TO agent; ALTER TABLE shop.log OWNER TO agent;
    ALTER TABLE shop.parts OWNER TO agent; ALTER TABLE shop.parts_1 OWNER TO agent;
    GRANT CREATE ON DATABASE postgres TO agent;";

async fn selected(client: &Client) -> Vec<TableInfo> {
    let schemas = ["shop".to_owned()];
    let tables = catalog::tables(client, TableFilter::Schemas(&schemas)).await.expect("tables");
    publication::without_covered_partitions(tables)
}

async fn source_findings(database: &Database) -> Vec<Finding> {
    let client = session(database).await;
    let facts = catalog::server_facts(&client).await.expect("facts");
    let relations = catalog::relations(&client).await.expect("relations");
    let tables = selected(&client).await;
    let publications = ["sync_agent".to_owned()];
    let named = ["unlogged", "view"].map(|name| QualifiedName::new("shop", name));
    let request = SourceRequest {
        facts: &facts,
        slot: "sync_agent",
        slot_is_ours: false,
        needs_failover: false,
        publication: PublicationRequest {
            via_root: true,
            names: &publications,
            owned: &[],
            tables: &tables,
            established: &[],
            filters: &std::collections::BTreeMap::new(),
        },
        relations: &relations,
        named: &named,
    };
    preflight::findings(&client, request).await.expect("it could look")
}

fn errors(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.severity == Severity::Error).collect()
}

/// `damage` leads to one error for `object` whose remedy makes it go away.
async fn assert_mended(source: &Cluster, damage: &str, object: &str, remedy: &str) {
    source.exec(damage).await;
    let findings = source_findings(source).await;
    let errors = errors(&findings);
    let [error] = errors.as_slice() else { panic!("{damage}: {errors:#?}") };
    assert_eq!(error.object, object, "{damage}");
    assert_eq!(error.remedy.as_deref(), Some(remedy), "{damage}");
    source.exec(remedy).await;
    let findings = source_findings(source).await;
    assert!(self::errors(&findings).is_empty(), "{damage}: {findings:#?}");
}

#[tokio::test]
async fn each_missing_privilege_is_one_finding_and_its_statement_mends_it() {
    let source = Cluster::source().await;
    source.exec(SOURCE).await;
    let findings = source_findings(&source).await;
    assert!(errors(&findings).is_empty(), "the documented grants suffice: {findings:#?}");
    let warnings: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Warning)
        .map(|finding| finding.object.as_str())
        .collect();
    assert_eq!(warnings, ["table \"shop\".\"log\""], "no key: only inserts");
    for (damage, object, remedy) in [
        ("ALTER ROLE agent NOREPLICATION", "role \"agent\"", "ALTER ROLE \"agent\" REPLICATION"),
        (
            "REVOKE CREATE ON DATABASE postgres FROM agent",
            "publication \"sync_agent\", \"sync_agent_insert\"",
            "GRANT CREATE ON DATABASE \"postgres\" TO \"agent\"",
        ),
        (
            "REVOKE SELECT ON shop.orders FROM agent; GRANT SELECT (id) ON shop.orders TO agent",
            "table \"shop\".\"orders\"",
            "GRANT SELECT ON \"shop\".\"orders\" TO \"agent\"",
        ),
        (
            "REVOKE SELECT ON shop.parts_1 FROM agent",
            "table \"shop\".\"parts_1\"",
            "GRANT SELECT ON \"shop\".\"parts_1\" TO \"agent\"",
        ),
        (
            "ALTER SCHEMA shop OWNER TO postgres",
            "schema \"shop\"",
            "GRANT USAGE ON SCHEMA \"shop\" TO \"agent\"",
        ),
        (
            "ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "table \"shop\".\"orders\"",
            "ALTER ROLE \"agent\" BYPASSRLS",
        ),
        (
            "CREATE UNLOGGED TABLE shop.unlogged (id int PRIMARY KEY);
             ALTER TABLE shop.unlogged OWNER TO agent",
            "table \"shop\".\"unlogged\"",
            "ALTER TABLE \"shop\".\"unlogged\" SET LOGGED",
        ),
        (
            "SELECT pg_create_logical_replication_slot('sync_agent', 'test_decoding')",
            "replication slot \"sync_agent\"",
            "SELECT pg_drop_replication_slot('sync_agent')",
        ),
        (
            "SELECT pg_create_logical_replication_slot('sync_agent', 'pgoutput')",
            "replication slot \"sync_agent\"",
            "SELECT pg_drop_replication_slot('sync_agent')",
        ),
    ] {
        assert_mended(&source, damage, object, remedy).await;
    }
    source.exec("CREATE VIEW shop.view AS SELECT 1").await;
    let findings = source_findings(&source).await;
    assert_eq!(errors(&findings)[0].object, "view \"shop\".\"view\"");
}

#[tokio::test]
async fn tables_of_other_owners_are_published_by_their_owner() {
    let source = Cluster::source().await;
    source.exec(SOURCE).await;
    source
        .exec("ALTER TABLE shop.orders OWNER TO postgres; GRANT SELECT ON shop.orders TO agent")
        .await;
    let findings = source_findings(&source).await;
    let [error] = errors(&findings)[..] else { panic!("{findings:#?}") };
    assert!(error.message.contains("\"shop\".\"orders\" (owner \"postgres\")"), "{error:?}");
    source.exec(error.remedy.as_deref().expect("a script")).await;
    let findings = source_findings(&source).await;
    assert!(errors(&findings).is_empty(), "used as they are: {findings:#?}");
}

#[tokio::test]
async fn settings_of_a_wrong_environment_are_named_with_the_value_needed() {
    let settings = "wal_level = replica\nmax_replication_slots = 0\nmax_wal_senders = 0\n";
    let spec = Spec { settings: settings.to_owned(), ..Spec::default() };
    let source = Cluster::start(spec).await;
    source.exec(SOURCE).await;
    let findings = source_findings(&source).await;
    let remedies: Vec<&str> =
        errors(&findings).iter().filter_map(|error| error.remedy.as_deref()).collect();
    assert_eq!(
        remedies,
        [
            "ALTER SYSTEM SET wal_level = 'logical'; -- then restart",
            "ALTER SYSTEM SET max_replication_slots = 2; -- then restart",
            "ALTER SYSTEM SET max_wal_senders = 2; -- then restart",
        ]
    );
    assert_eq!(source.scalar("SELECT count(*) FROM pg_publication").await, "0", "only looked");
}

#[tokio::test]
async fn publications_are_made_once_follow_the_selection_and_never_break_the_application() {
    let source = Cluster::source().await;
    source.exec(SOURCE).await;
    let client = session(&source).await;
    let names = ["sync_agent".to_owned()];
    let ensure = async |owned: &[String], established: &[QualifiedName]| {
        let tables = selected(&client).await;
        let request = PublicationRequest {
            names: &names,
            owned,
            via_root: true,
            tables: &tables,
            established,
            filters: &std::collections::BTreeMap::new(),
        };
        publication::ensure(&client, request).await
    };
    let published =
        "SELECT string_agg(pubname || ' ' || tablename, ', ' ORDER BY pubname, tablename)
                     FROM pg_publication_tables";
    let plan = ensure(&[], &[]).await.expect("it creates");
    assert_eq!(plan.names, ["sync_agent", "sync_agent_insert"]);
    let all = "sync_agent orders, sync_agent parts, sync_agent_insert log";
    assert_eq!(source.scalar(published).await, all);
    source.exec("INSERT INTO shop.log VALUES ('x'); UPDATE shop.log SET line = 'y'").await;
    let owned = plan.owned;
    assert!(ensure(&owned, &[]).await.expect("again").statements.is_empty(), "nothing to do");

    source.exec("ALTER TABLE shop.log REPLICA IDENTITY FULL").await;
    source.exec("SET ROLE agent; CREATE TABLE shop.late (id int PRIMARY KEY)").await;
    let late = QualifiedName::new("shop", "late");
    ensure(&owned, std::slice::from_ref(&QualifiedName::new("shop", "log")))
        .await
        .expect("it follows");
    let now = "sync_agent late, sync_agent log, sync_agent orders, sync_agent parts";
    assert_eq!(source.scalar(published).await, now);

    source.exec("ALTER PUBLICATION sync_agent DROP TABLE shop.late").await;
    ensure(&owned, std::slice::from_ref(&late)).await.expect("it is put in again");
    assert_eq!(source.scalar(published).await, now);
    source.exec("DROP PUBLICATION sync_agent").await;
    let refused = ensure(&owned, &[late]).await;
    let Err(PublicationError::Unsuitable { findings }) = refused else { panic!("{refused:?}") };
    assert!(findings[0].message.contains("it was dropped"), "{findings:?}");
}
