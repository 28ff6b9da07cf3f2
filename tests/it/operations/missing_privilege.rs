//! One privilege taken away at a time: `check` names object, privilege and the statement, `run` ends
//! with 4 and creates nothing, and executing the statement is all that was needed.

use serde_json::Value;

use super::documented;
use crate::support::agent::{Agent, Output};
use crate::support::cluster::pair;
use crate::support::database::Database;

/// What is taken away, and the one finding that must come of it.
struct Case {
    damage: &'static str,
    object: &'static str,
    /// Part of the message.
    words: &'static str,
    remedy: &'static str,
}

const SOURCE: &[Case] = &[
    Case {
        damage: "ALTER ROLE sync_reader NOREPLICATION",
        object: "role \"sync_reader\"",
        words: "may not replicate",
        remedy: "ALTER ROLE \"sync_reader\" REPLICATION",
    },
    Case {
        damage: "REVOKE CONNECT ON DATABASE shop FROM PUBLIC, sync_reader",
        object: "connection",
        words: "permission denied for database",
        remedy: "GRANT CONNECT ON DATABASE \"shop\" TO \"sync_reader\"",
    },
    Case {
        damage: "REVOKE USAGE ON SCHEMA public FROM PUBLIC, sync_reader",
        object: "schema \"public\"",
        words: "USAGE",
        remedy: "GRANT USAGE ON SCHEMA \"public\" TO \"sync_reader\"",
    },
    Case {
        damage: "REVOKE SELECT ON customers FROM sync_reader",
        object: "table \"public\".\"customers\"",
        words: "no SELECT privilege on columns \"id\", \"name\"",
        remedy: "GRANT SELECT ON \"public\".\"customers\" TO \"sync_reader\"",
    },
    Case {
        damage: "REVOKE SELECT ON customers FROM sync_reader;
                 GRANT SELECT (id) ON customers TO sync_reader",
        object: "table \"public\".\"customers\"",
        words: "no SELECT privilege on columns \"name\"",
        remedy: "GRANT SELECT ON \"public\".\"customers\" TO \"sync_reader\"",
    },
];

const DESTINATION: &[Case] = &[
    Case {
        damage: "REVOKE CONNECT ON DATABASE shop FROM PUBLIC, sync_writer",
        object: "connection",
        words: "permission denied for database",
        remedy: "GRANT CONNECT ON DATABASE \"shop\" TO \"sync_writer\"",
    },
    Case {
        damage: "REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC, sync_writer",
        object: "database \"shop\"",
        words: "temporary tables",
        remedy: "GRANT TEMPORARY ON DATABASE \"shop\" TO \"sync_writer\"",
    },
    Case {
        damage: "DROP SCHEMA sync_agent",
        object: "schema \"sync_agent\"",
        words: "may not create it for its checkpoints",
        remedy: "CREATE SCHEMA \"sync_agent\" AUTHORIZATION \"sync_writer\"",
    },
    Case {
        damage: "ALTER SCHEMA sync_agent OWNER TO postgres;
                 GRANT USAGE ON SCHEMA sync_agent TO sync_writer",
        object: "schema \"sync_agent\"",
        words: "may not create its checkpoints there",
        remedy: "GRANT USAGE, CREATE ON SCHEMA \"sync_agent\" TO \"sync_writer\"",
    },
    Case {
        damage: "REVOKE USAGE ON SCHEMA public FROM PUBLIC, sync_writer",
        object: "schema \"public\"",
        words: "USAGE",
        remedy: "GRANT USAGE ON SCHEMA \"public\" TO \"sync_writer\"",
    },
    Case {
        damage: "REVOKE SELECT ON customers FROM sync_writer",
        object: "table \"public\".\"customers\"",
        words: "no SELECT privilege",
        remedy: "GRANT SELECT ON \"public\".\"customers\" TO \"sync_writer\"",
    },
    Case {
        damage: "REVOKE INSERT ON customers FROM sync_writer",
        object: "table \"public\".\"customers\"",
        words: "no INSERT privilege",
        remedy: "GRANT INSERT ON \"public\".\"customers\" TO \"sync_writer\"",
    },
    Case {
        damage: "REVOKE UPDATE ON customers FROM sync_writer;
                 GRANT UPDATE (id) ON customers TO sync_writer",
        object: "table \"public\".\"customers\"",
        words: "no UPDATE privilege",
        remedy: "GRANT UPDATE ON \"public\".\"customers\" TO \"sync_writer\"",
    },
    Case {
        damage: "REVOKE DELETE ON customers FROM sync_writer",
        object: "table \"public\".\"customers\"",
        words: "no DELETE privilege",
        remedy: "GRANT DELETE ON \"public\".\"customers\" TO \"sync_writer\"",
    },
    Case {
        damage: "REVOKE TRUNCATE ON customers FROM sync_writer",
        object: "table \"public\".\"customers\"",
        words: "no TRUNCATE privilege",
        remedy: "GRANT TRUNCATE ON \"public\".\"customers\" TO \"sync_writer\"",
    },
    Case {
        damage: "ALTER TABLE customers ADD COLUMN arrived serial",
        object: "sequence \"public\".\"customers_arrived_seq\"",
        words: "no USAGE privilege: the default of column \"arrived\"",
        remedy: "GRANT USAGE ON SEQUENCE \"public\".\"customers_arrived_seq\" TO \"sync_writer\"",
    },
];

fn agent(source: &Database, destination: &Database) -> Agent {
    Agent::between(source, destination)
        .named("shop")
        .text("source.url", &source.url_as("sync_reader"))
        .text("destination.url", &destination.url_as("sync_writer"))
}

fn errors(output: &Output) -> Vec<Value> {
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    findings.iter().filter(|finding| finding["severity"] == "error").cloned().collect()
}

async fn check(agent: &Agent) -> Output {
    agent.verb(&["check", "--output", "json"]).await
}

async fn assert_named_and_mended(agent: &Agent, side: &str, database: &Database, case: &Case) {
    let before = agent.traces().await;
    database.exec(case.damage).await;
    let damaged = agent.traces().await;
    let output = check(agent).await;
    assert_eq!(output.code, 4, "{}: {output:?}", case.damage);
    let found = errors(&output);
    let [error] = &found[..] else { panic!("{}: {found:#?}", case.damage) };
    assert_eq!(error["side"], side, "{}", case.damage);
    assert_eq!(error["object"], case.object, "{}", case.damage);
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains(case.words), "{}: {message}", case.damage);
    assert_eq!(error["remedy"], case.remedy, "{}", case.damage);

    let output = agent.verb(&["run"]).await;
    assert_eq!(output.code, 4, "{}: {output:?}", case.damage);
    let said = output.stderr.replace("\\\"", "\"");
    assert!(said.contains("E_PREFLIGHT") && said.contains(case.remedy), "{}: {said}", case.damage);
    assert_eq!(agent.traces().await, damaged, "{}: run created something", case.damage);

    database.exec(error["remedy"].as_str().expect("a statement")).await;
    let output = check(agent).await;
    assert_eq!(output.code, 0, "{}: {output:?}", case.damage);
    assert_eq!(agent.traces().await, before, "{}", case.damage);
}

#[tokio::test]
async fn each_missing_privilege_is_named_and_its_statement_suffices() {
    let (source, destination) = pair().await;
    let (source, destination) = documented::shops(&source, &destination).await;
    documented::run(&source, "The publication, made by the owner").await;
    destination.exec(documented::SCHEMA).await;
    documented::run(&destination, "Tables that exist").await;
    let mut agent = agent(&source, &destination);
    assert_eq!(check(&agent).await.code, 0, "the documented grants suffice");
    for (side, database, cases) in
        [("source", &source, SOURCE), ("destination", &destination, DESTINATION)]
    {
        for case in cases {
            assert_named_and_mended(&agent, side, database, case).await;
        }
    }
    // Nor has anything been granted that was not asked for.
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
}

/// Where the agent creates and keeps everything itself.
#[tokio::test]
async fn each_privilege_to_create_is_named_and_its_statement_suffices() {
    let (source, destination) = pair().await;
    let (source, destination) = documented::shops(&source, &destination).await;
    documented::run(&source, "Or: the agent keeps the publication").await;
    documented::run(&destination, "Or: tables that the agent creates").await;
    let agent = agent(&source, &destination);
    assert_eq!(check(&agent).await.code, 0, "the documented grants suffice");
    let publications = "publication \"sync_agent_shop\", \"sync_agent_shop_insert\"";
    let create = Case {
        damage: "REVOKE CREATE ON DATABASE shop FROM sync_reader",
        object: publications,
        words: "may not create it",
        remedy: "GRANT CREATE ON DATABASE \"shop\" TO \"sync_reader\"",
    };
    assert_named_and_mended(&agent, "source", &source, &create).await;
    let tables = Case {
        damage: "REVOKE CREATE ON SCHEMA public FROM sync_writer",
        object: "schema \"public\"",
        words: "tables may not be created there",
        remedy: "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"sync_writer\"",
    };
    assert_named_and_mended(&agent, "destination", &destination, &tables).await;
    // Tables of an owner that our role is no member of: the owner's statement, not a grant.
    source.exec("REVOKE app_owner FROM sync_reader").await;
    let output = check(&agent).await;
    let found = errors(&output);
    let [error] = &found[..] else { panic!("{found:#?}") };
    assert!(error["message"].to_string().contains("let an owner of all of them run this"));
    assert_eq!(agent.verb(&["run"]).await.code, 4);
    source.exec(error["remedy"].as_str().expect("a script")).await;
    assert_eq!(check(&agent).await.code, 0);
}

/// Privileges on what the agent has made already.
#[tokio::test]
async fn what_was_taken_away_between_two_runs_is_named_too() {
    let (source, destination) = pair().await;
    let (source, destination) = documented::shops(&source, &destination).await;
    documented::run(&source, "Or: the agent keeps the publication").await;
    documented::run(&destination, "Or: tables that the agent creates").await;
    let mut agent = agent(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    let state = Case {
        damage: "ALTER TABLE sync_agent.tables OWNER TO postgres",
        object: "schema \"sync_agent\"",
        words: "may not write its tables tables",
        remedy: "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"sync_agent\" TO \"sync_writer\"",
    };
    assert_named_and_mended(&agent, "destination", &destination, &state).await;
    source
        .exec("CREATE TABLE late (id int PRIMARY KEY); ALTER TABLE late OWNER TO app_owner")
        .await;
    let publication = Case {
        damage: "ALTER PUBLICATION sync_agent_shop OWNER TO postgres",
        object: "publication \"sync_agent_shop\", \"sync_agent_shop_insert\"",
        words: "it has another owner",
        remedy: "ALTER PUBLICATION \"sync_agent_shop\" OWNER TO \"sync_reader\"",
    };
    assert_named_and_mended(&agent, "source", &source, &publication).await;
}

/// A pg_hba.conf that has no line for us: the line is the remedy.
#[tokio::test]
async fn a_missing_line_of_pg_hba_is_spelled_out() {
    let (source, destination) = pair().await;
    let at = documented::shops(&source, &destination).await;
    documented::run(&at.0, "The publication, made by the owner").await;
    documented::run(&at.1, "Or: tables that the agent creates").await;
    let agent = agent(&at.0, &at.1);
    for (side, server) in [("source", &source), ("destination", &destination)] {
        server.rules("local all all trust\nhost postgres all all trust\n").await;
        let output = check(&agent).await;
        assert_eq!(output.code, 4, "{output:?}");
        let found = errors(&output);
        let [error] = &found[..] else { panic!("{found:#?}") };
        assert_eq!(error["side"], side);
        let role = if side == "source" { "sync_reader" } else { "sync_writer" };
        let line = format!("host \"shop\" \"{role}\" 127.0.0.1/32");
        let remedy = error["remedy"].as_str().expect("a line").to_owned();
        assert!(remedy.contains(&line), "{remedy}");
        assert_eq!(agent.verb(&["run"]).await.code, 4);
        server.rules(&format!("local all all trust\n{line} trust\n")).await;
        assert_eq!(check(&agent).await.code, 0, "{side}");
    }
}
