//! A destination that is older than what the source was told.

use std::process::Stdio;

use super::Scene;
use crate::support::agent::Agent;
use crate::support::cluster::{Stop, pair};
use crate::support::database::Database;
use crate::support::installation::client;

/// A client program at the server's socket; what it says on stdout.
fn tool(program: &str, database: &Database, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(client(program));
    command.arg("-h").arg(&database.socket).arg("-p").arg(database.port.to_string());
    command.args(["-U", "postgres", "-d", &database.name]).args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The backup has our state in it, and the local store is from later.
#[tokio::test]
async fn a_destination_restored_from_a_dump_is_refused() {
    let mut scene = Scene::streaming().await;
    let dump = tool("pg_dump", &scene.destination, &["--clean", "--if-exists"]);
    let earlier = scene.applied().await;
    for _ in 0..20 {
        scene.write().await;
    }
    scene.agent.caught_up().await;
    assert_eq!(scene.agent.terminate().await, Some(0));
    let files = tempfile::tempdir().expect("a temporary folder");
    let path = files.path().join("dump.sql");
    std::fs::write(&path, dump).expect("our own folder");
    let path = path.to_str().expect("text");
    tool("psql", &scene.destination, &["-q", "-v", "ON_ERROR_STOP=1", "-f", path]);
    assert_eq!(scene.applied().await, earlier);
    let confirmed = scene.confirmed().await;
    assert!(scene.agent.has_state());
    scene.is_refused("E_SLOT", &[&earlier, &confirmed]).await;
    scene.agent.delete_state();
    scene.is_refused("E_SLOT", &[&earlier, &confirmed]).await;
    scene.goes_on_after_resync().await;
}

/// While the agent runs, and without a stop of it.
#[tokio::test]
async fn a_destination_whose_files_were_put_back_is_refused() {
    let mut scene = Scene::streaming().await;
    let saved = scene.destination.saved().await;
    scene.agent.wait_for_state("streaming").await;
    let earlier = scene.applied().await;
    scene.is_exact().await;
    assert_eq!(scene.agent.terminate().await, Some(0));
    scene.agent.start_and_stream().await;
    scene.destination.put_back(&saved).await;
    let before = scene.untouched().await;
    let confirmed = scene.confirmed().await;
    scene.ends(before, "E_SLOT", &[&earlier, &confirmed]).await;
    scene.is_refused("E_SLOT", &[&earlier, &confirmed]).await;
}

/// Its standby took over without the last commits, which the source has been told of.
#[tokio::test]
async fn a_destination_failed_over_to_a_lagging_standby_is_refused() {
    let (source, mut destination) = pair().await;
    source.exec(super::TABLES).await;
    let standby = destination.standby("").await;
    let both = format!(
        "postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
        standby.port, destination.port
    );
    let mut agent = Agent::between(&source, &destination).text("destination.url", &both);
    agent.start_and_stream().await;
    super::write(&source).await;
    agent.caught_up().await;
    standby.follows(&destination).await;
    standby.stay_behind().await;
    let sql = "SELECT applied_lsn FROM sync_agent.checkpoint";
    let earlier = standby.scalar(sql).await;
    super::write(&source).await;
    agent.caught_up().await;
    let confirmed = "SELECT confirmed_flush_lsn FROM pg_replication_slots";
    agent
        .wait_for("a confirmation", async |_| {
            source
                .scalar(&format!(
                    "SELECT confirmed_flush_lsn > '{earlier}' FROM pg_replication_slots"
                ))
                .await
                == "t"
        })
        .await;
    destination.stop(Stop::Kill).await;
    standby.promote().await;
    let rows = "SELECT count(*) || ' ' || (SELECT count(*) FROM journal) FROM t";
    let before = standby.scalar(rows).await;
    let begun = std::time::Instant::now();
    assert_eq!(agent.wait_for_exit().await, Some(5), "{}", agent.log());
    assert!(begun.elapsed() < super::LIMIT, "{:?}", begun.elapsed());
    let (code, said) = super::last_error(&agent);
    assert_eq!(code, "E_SLOT", "{said}");
    let confirmed = source.scalar(confirmed).await;
    assert!(said.contains(&earlier) && said.contains(&confirmed), "{said}");
    assert_eq!(standby.scalar(sql).await, earlier);
    assert_eq!(standby.scalar(rows).await, before);
}
