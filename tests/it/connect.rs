//! Connections to real servers: passwords, hosts, refusals in an operator's words, pinned sessions.

use std::time::Duration;

use sync_agent::pg::client::{self, Disconnected};
use sync_agent::pg::conninfo::ConnInfo;
use sync_agent::pg::dial::{Endpoint, PasswordReader, PasswordSource};
use sync_agent::wire::{Mode, Session, WireError};
use tokio::time::timeout;

use crate::support::cluster::{Cluster, Spec, free_port};
use crate::support::wait;

/// A password with everything in it that a connection string treats specially.
const CANARY: &str = "p@:/% '\"\\ €canary";

fn endpoint(text: &str, password: Option<&str>) -> Endpoint {
    Endpoint {
        side: "source",
        conninfo: ConnInfo::parse(text, &|_| None).expect("valid"),
        password: password.map_or(PasswordSource::ConnInfo, |password| {
            PasswordSource::Inline(password.to_owned().into())
        }),
        pipeline: "it".to_owned(),
    }
}

async fn with_roles(hba: &str) -> (Cluster, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hba.conf");
    std::fs::write(&path, hba).expect("written");
    if let Some((uid, gid)) = crate::support::installation::server_user() {
        for path in [dir.path(), &path] {
            nix::unistd::chown(path, Some(uid), Some(gid)).expect("root may");
        }
    }
    let settings = format!("hba_file = '{}'\n", path.display());
    let cluster = Cluster::start(Spec { settings, ..Spec::default() }).await;
    let literal = sync_agent::pg::ident::literal(CANARY);
    for (role, encryption) in [("scram", "scram-sha-256"), ("md5u", "md5"), ("clear", "md5")] {
        cluster
            .exec(&format!(
                "SET password_encryption = '{encryption}';
                 CREATE ROLE {role} LOGIN REPLICATION PASSWORD {literal}"
            ))
            .await;
    }
    (cluster, dir)
}

const RULES: &str = "local all all trust
host all scram all scram-sha-256
host all md5u all md5
host all clear all password
host all postgres,limited,nologin all trust
";

#[tokio::test]
async fn every_kind_of_password_opens_both_kinds_of_connection() {
    let (cluster, _rules) = with_roles(RULES).await;
    for role in ["scram", "md5u", "clear", "postgres"] {
        let text = format!("host=127.0.0.1 port={} user={role} dbname=postgres", cluster.port);
        let endpoint = endpoint(&text, Some(CANARY));
        let client = client::connect(&endpoint, "test").await.expect(role);
        let row = client.query_one("SELECT current_user::text", &[]).await.expect("a row");
        assert_eq!(row.get::<_, &str>(0), role);
        assert_eq!(client.server_version_num() / 10_000, cluster.major);
        let mut session = Session::connect(&endpoint, "tail", Mode::Replication).await.expect(role);
        session.identify_system().await.expect("a walsender");
    }
    // As part of the text, escaped; and fetched at each connect.
    let quoted = CANARY.replace('\\', "\\\\").replace('\'', "\\'");
    let text = format!(
        "host=127.0.0.1 port={} user=scram dbname=postgres password='{quoted}'",
        cluster.port
    );
    client::connect(&endpoint(&text, None), "test").await.expect("from the text");
    let mut fetched = endpoint(&text, None);
    fetched.password = PasswordSource::Read(PasswordReader::new(|| Ok(CANARY.to_owned().into())));
    client::connect(&fetched, "test").await.expect("from the reader");
    fetched.password =
        PasswordSource::Command(vec!["printf".into(), "%s\\n".into(), CANARY.into()]);
    client::connect(&fetched, "test").await.expect("from the command");
}

#[tokio::test]
async fn every_refusal_has_its_own_words_and_no_password() {
    let (cluster, _rules) = with_roles(RULES).await;
    cluster.exec("CREATE ROLE limited LOGIN CONNECTION LIMIT 0; CREATE ROLE nologin NOLOGIN").await;
    let closed_port = free_port();
    let at =
        |user: &str, rest: &str| format!("host=127.0.0.1 port={} user={user} {rest}", cluster.port);
    let refused = format!("host=127.0.0.1 port={closed_port} user=u");
    for (text, password, is_transient, code, words) in [
        (at("scram", "dbname=postgres"), Some("canary"), false, "28P01", "password"),
        (at("md5u", "dbname=postgres"), Some("canary"), false, "28P01", "password"),
        (at("scram", "dbname=postgres"), None, false, "", "there is none"),
        (at("scram", "dbname=none"), Some(CANARY), false, "3D000", "\"none\" does not exist"),
        (at("nobody", "dbname=postgres"), Some(CANARY), false, "28000", "pg_hba.conf"),
        (at("nologin", "dbname=postgres"), Some(CANARY), false, "28000", "not permitted to log in"),
        (at("limited", "dbname=postgres"), Some(CANARY), true, "53300", "too many connections"),
        (refused, Some(CANARY), true, "", "connection refused"),
        ("host=no.such.invalid user=u".to_owned(), Some(CANARY), true, "", "does not resolve"),
        ("host=/nonexistent user=u".to_owned(), Some(CANARY), true, "", "socket does not exist"),
    ] {
        let error = client::connect(&endpoint(&text, password), "test").await.expect_err(&text);
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(error.to_string().starts_with("cannot connect to the source at "), "{error}");
        assert_eq!(error.is_transient(), is_transient, "{text}: {error}");
        assert!(error.hint().is_some(), "{text}: {error}");
        let given = error.server_error().map_or("", |error| error.code.code());
        assert_eq!(given, code, "{text}: {error}");
        let everything = format!("{error} {error:?} {:?}", error.hint());
        assert!(!everything.contains("canary"), "{everything}");
    }
    let plain = endpoint(&at("limited", "dbname=postgres"), None);
    cluster.exec("ALTER ROLE limited CONNECTION LIMIT -1").await;
    let error = Session::connect(&plain, "tail", Mode::Replication).await.expect_err("no right");
    assert!(error.hint().expect("a hint").contains("REPLICATION"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn hosts_are_tried_in_order_until_one_is_as_wanted() {
    let (closed, server) = (free_port(), Cluster::source().await);
    server
        .exec("CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only = on")
        .await;
    let text = |user: &str, attrs: &str| {
        format!(
            "postgresql://{user}@127.0.0.1:{closed},127.0.0.1:{}/postgres?target_session_attrs={attrs}",
            server.port
        )
    };
    for (user, attrs) in [
        ("postgres", "any"),
        ("postgres", "primary"),
        ("postgres", "read-write"),
        ("reader", "primary"),
    ] {
        let client = client::connect(&endpoint(&text(user, attrs), None), "test").await;
        let client = client.expect(attrs);
        // Whatever the role says, our transactions write.
        client.batch_execute("CREATE TEMP TABLE t (a int)").await.expect("pinned");
    }
    let refused = client::connect(&endpoint(&text("reader", "read-write"), None), "test").await;
    let error = refused.expect_err("no host is as wanted");
    let words = error.to_string();
    assert!(words.contains("connection refused") && words.contains("read-only"), "{words}");
    assert!(error.is_transient());
    // A refusal that the others would repeat ends the search at once.
    let wrong = format!("postgresql://postgres@127.0.0.1:{},127.0.0.1:{closed}/none", server.port);
    let error = client::connect(&endpoint(&wrong, None), "test").await.expect_err("no database");
    assert!(!error.is_transient(), "{error}");
}

#[tokio::test]
async fn sessions_are_pinned_whatever_the_role_says() {
    let cluster = Cluster::destination().await;
    let hostile = [
        ("statement_timeout", "1"),
        ("lock_timeout", "1"),
        ("idle_in_transaction_session_timeout", "1"),
        ("DateStyle", "SQL, DMY"),
        ("IntervalStyle", "iso_8601"),
        ("TimeZone", "Asia/Tokyo"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-15"),
        ("search_path", "public"),
        ("default_transaction_isolation", "serializable"),
        ("synchronous_commit", "off"),
        ("xmlbinary", "hex"),
    ];
    // By one session: the next one has a millisecond for each statement.
    let statements =
        hostile.map(|(name, value)| format!("ALTER ROLE postgres SET {name} = '{value}'"));
    cluster.exec(&statements.join("; ")).await;
    let mut destination = endpoint(&cluster.url(), None);
    destination.side = "destination";
    let client = client::connect_with(&destination, "apply", &[("row_security", "off")])
        .await
        .expect("connected");
    let mut session =
        Session::connect(&destination, "apply", Mode::Replication).await.expect("connected");
    for (name, wanted) in [
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("bytea_output", "hex"),
        ("extra_float_digits", "3"),
        ("search_path", "\"\""),
        ("default_transaction_isolation", "read committed"),
        ("synchronous_commit", "on"),
        ("xmlbinary", "base64"),
        ("client_encoding", "UTF8"),
        ("application_name", "sync-agent/it/apply"),
    ] {
        let row = client.query_one("SELECT current_setting($1)", &[&name]).await.expect("a row");
        assert_eq!(row.get::<_, &str>(0), wanted, "{name}");
        let rows = session.simple_query(&format!("SELECT current_setting('{name}')")).await;
        assert_eq!(rows.expect("a row")[0][0].as_deref(), Some(wanted), "{name}");
    }
    let row = client.query_one("SELECT current_setting('row_security')", &[]).await.expect("a row");
    assert_eq!(row.get::<_, &str>(0), "off");
    // A source's durability is its own business.
    let source = client::connect(&endpoint(&cluster.url(), None), "read").await.expect("connected");
    let row = source.query_one("SELECT current_setting('synchronous_commit')", &[]).await;
    assert_eq!(row.expect("a row").get::<_, &str>(0), "off");
}

#[tokio::test]
async fn a_running_query_is_cancelled_from_beside_it() {
    let cluster = Cluster::source().await;
    let endpoint = endpoint(&cluster.url(), None);
    let client = client::connect(&endpoint, "test").await.expect("connected");
    let mut session = Session::connect(&endpoint, "test", Mode::Ordinary).await.expect("connected");
    let sleepers = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
    for handle in [client.cancel_handle(), session.cancel_handle()] {
        let cancel = async {
            wait::until("it sleeps", wait::PROCESS, async || cluster.scalar(sleepers).await == "1")
                .await;
            handle.cancel().await.expect("taken");
        };
        let sleep = async {
            let code = if handle.process_id() == client.backend_pid() {
                let error = client.simple_query("SELECT pg_sleep(300)").await.expect_err("long");
                error.code().cloned()
            } else {
                let error = session.execute("SELECT pg_sleep(300)").await.expect_err("long");
                error.server_error().map(|error| error.code.clone())
            };
            assert_eq!(code.expect("the server's").code(), "57014");
        };
        timeout(wait::PROCESS, async { tokio::join!(sleep, cancel) }).await.expect("cancelled");
        cluster.exec("SELECT 1").await;
    }
    client.simple_query("SELECT 1").await.expect("the connection goes on");
    session.execute("SELECT 1").await.expect("the session goes on");
}

#[tokio::test]
async fn the_end_of_a_connection_is_noticed_with_its_reason() {
    let mut cluster = Cluster::source().await;
    let endpoint = endpoint(&cluster.url(), None);
    let client = client::connect(&endpoint, "test").await.expect("connected");
    let closed = client.closed();
    cluster.exec(&format!("SELECT pg_terminate_backend({})", client.backend_pid())).await;
    match timeout(wait::PROCESS, closed).await.expect("noticed") {
        Disconnected::Server(error) => assert_eq!(error.code.code(), "57P01"),
        other => panic!("{other}"),
    }
    let client = client::connect(&endpoint, "test").await.expect("connected");
    let (pid, closed) = (client.backend_pid(), client.closed());
    drop(client);
    assert!(matches!(
        timeout(Duration::from_secs(5), closed).await.expect("noticed"),
        Disconnected::Closed
    ));
    wait::until("the backend ends", wait::PROCESS, async || {
        cluster.scalar(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).await
            == "0"
    })
    .await;
    let mut session = Session::connect(&endpoint, "test", Mode::Ordinary).await.expect("connected");
    cluster.stop(crate::support::cluster::Stop::Immediate).await;
    let error = session.execute("SELECT 1").await.expect_err("it is gone");
    assert!(error.is_transient(), "{error}");
    assert!(matches!(error, WireError::Server(_) | WireError::Closed | WireError::Io(_)));
    assert!(client::connect(&endpoint, "test").await.expect_err("gone").is_transient());
}
