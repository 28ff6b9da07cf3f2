//! Changes of every kind, in transactions and between starts: each is followed exactly, or held with
//! its name, or the table is copied again. One table a scene, all over one pair of servers; every scene
//! ends with equal tables.

use Outcome::{CopiedAgain, Followed, Held};

use super::resync;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::wait;

/// What becomes of a scene's table.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Followed,
    /// `E_SCHEMA` with these words.
    Held(&'static [&'static str]),
    /// By itself, for this reason.
    CopiedAgain(&'static str),
}

struct Scene {
    tables: &'static [&'static str],
    /// Each for itself.
    statements: &'static [&'static str],
    outcome: Outcome,
}

const fn scene(
    tables: &'static [&'static str],
    statements: &'static [&'static str],
    outcome: Outcome,
) -> Scene {
    Scene { tables, statements, outcome }
}

/// Tables of `id int PRIMARY KEY, a text, b text` with two rows; "away" is not selected.
const SCENES: [Scene; 12] = [
    scene(
        &["middle"],
        &["BEGIN; INSERT INTO middle VALUES (10); ALTER TABLE middle ADD c int DEFAULT 7;
           INSERT INTO middle VALUES (11, 'x', 'y', 8); UPDATE middle SET a = 'z' WHERE id = 1; COMMIT"],
        Followed,
    ),
    scene(
        &["came"],
        &["BEGIN; ALTER TABLE came ADD c int; INSERT INTO came VALUES (11, 'x', 'y', 8);
           ALTER TABLE came DROP c; INSERT INTO came VALUES (12, 'x', 'y'); COMMIT"],
        Held(&["\"c\"", "public.came"]),
    ),
    scene(
        &["undone"],
        &[
            "BEGIN; INSERT INTO undone VALUES (10); SAVEPOINT s; ALTER TABLE undone ADD c int DEFAULT 7;
             INSERT INTO undone VALUES (11, 'x', 'y', 8); ROLLBACK TO s;
             INSERT INTO undone VALUES (12); COMMIT",
            "ALTER TABLE undone ADD c text DEFAULT 'k'",
            "INSERT INTO undone VALUES (13)",
        ],
        Followed,
    ),
    scene(
        &["column"],
        &["BEGIN; INSERT INTO \"column\" VALUES (10); ALTER TABLE \"column\" RENAME a TO c;
           INSERT INTO \"column\" VALUES (11, 'x', 'y'); COMMIT"],
        Held(&["\"a\"", "\"c\"", "public.column"]),
    ),
    scene(
        &["back"],
        &[
            "ALTER TABLE back RENAME TO away",
            "INSERT INTO away VALUES (20, 'under another name')",
            "ALTER TABLE away RENAME TO back",
            "INSERT INTO back VALUES (21)",
        ],
        CopiedAgain("it had another name for a while"),
    ),
    scene(
        &["within"],
        &["BEGIN; INSERT INTO within VALUES (19); ALTER TABLE within RENAME TO away;
           INSERT INTO away VALUES (20); ALTER TABLE away RENAME TO within;
           INSERT INTO within VALUES (21); COMMIT"],
        CopiedAgain("it had another name for a while"),
    ),
    scene(
        &["selected"],
        &[
            "ALTER TABLE selected RENAME TO other",
            "INSERT INTO other VALUES (20, 'under another name')",
            "ALTER TABLE other RENAME TO selected",
            "INSERT INTO selected VALUES (21)",
        ],
        CopiedAgain("it had another name for a while"),
    ),
    scene(
        &["moved"],
        &[
            "ALTER TABLE moved SET SCHEMA hidden",
            "UPDATE hidden.moved SET a = 'elsewhere'",
            "ALTER TABLE hidden.moved SET SCHEMA public",
            "INSERT INTO moved VALUES (21)",
        ],
        CopiedAgain("it had another name for a while"),
    ),
    scene(
        &["one", "two"],
        &[
            "BEGIN; ALTER TABLE one RENAME TO away; ALTER TABLE two RENAME TO one;
             ALTER TABLE away RENAME TO two; COMMIT",
            "INSERT INTO one VALUES (5, 'five')",
            "INSERT INTO two VALUES (6, 'six')",
        ],
        CopiedAgain("it was dropped and created again"),
    ),
    scene(
        &["defaults"],
        &[
            "ALTER TABLE defaults ALTER a SET NOT NULL, ALTER b SET DEFAULT 'q'",
            "INSERT INTO defaults VALUES (5, 'x')",
        ],
        Followed,
    ),
    scene(
        &["identity"],
        &[
            "ALTER TABLE identity REPLICA IDENTITY FULL",
            "UPDATE identity SET a = 'full' WHERE id = 1",
            "ALTER TABLE identity REPLICA IDENTITY DEFAULT",
            "DELETE FROM identity WHERE id = 2",
        ],
        Followed,
    ),
    scene(
        &["gone"],
        &["BEGIN; INSERT INTO gone VALUES (10, 'p', 'q'); ALTER TABLE gone DROP a;
           INSERT INTO gone VALUES (11, 'x'); UPDATE gone SET b = 'r' WHERE id = 10; COMMIT"],
        Followed,
    ),
];

/// Of a tenth of a second: what takes longer is taken to be stuck.
const LOOKS: usize = 150;

struct Stage {
    source: Cluster,
    destination: Cluster,
    agent: Agent,
}

impl Stage {
    async fn set() -> Stage {
        let (source, destination) = pair().await;
        source.exec("CREATE SCHEMA hidden").await;
        for name in SCENES.iter().flat_map(|scene| scene.tables) {
            source
                .exec(&format!(
                    "CREATE TABLE \"{name}\" (id int CONSTRAINT {name}_pkey PRIMARY KEY, a text, b text);
                     INSERT INTO \"{name}\" VALUES (1, '{name}', 'b1'), (2, 'a2', 'b2')"
                ))
                .await;
        }
        let mut agent = Agent::between(&source, &destination)
            .set("exclude", "[\"public.away\"]")
            .set("apply.max_batch_rows", "1");
        agent.start_and_stream().await;
        Stage { source, destination, agent }
    }

    /// All scenes, whatever becomes of one of them; the failures.
    async fn play_all(&mut self, is_down: bool) -> Vec<String> {
        let mut failed = Vec::new();
        for scene in &SCENES {
            if is_down {
                assert_eq!(self.agent.terminate().await, Some(0));
            }
            if let Err(error) = self.play(scene).await {
                failed.push(error);
                // So that the others are not held up by it.
                for table in scene.tables {
                    resync(&self.agent, &format!("public.\"{table}\"")).await;
                }
            }
        }
        failed
    }

    async fn play(&mut self, scene: &Scene) -> Result<(), String> {
        let before = self.agent.log().len();
        for statement in scene.statements {
            self.source.exec(statement).await;
        }
        if self.agent.pid().is_none() {
            self.agent.start();
        }
        match scene.outcome {
            Followed | CopiedAgain(_) => self.until_same(scene).await?,
            Held(words) => {
                let message = self.held(scene).await?;
                if let Some(word) = words.iter().find(|word| !message.contains(**word)) {
                    return Err(format!("{:?}: {word} is not in: {message}", scene.tables));
                }
                for table in scene.tables {
                    resync(&self.agent, &format!("public.\"{table}\"")).await;
                }
                self.until_same(scene).await?;
            }
        }
        if let CopiedAgain(reason) = scene.outcome {
            let log = self.agent.log();
            let reason = format!("\"reason\":\"{reason}\"");
            if !log[before..].contains(&reason) {
                return Err(format!("{:?}: no {reason} in:\n{}", scene.tables, &log[before..]));
            }
        }
        Ok(())
    }

    async fn held(&mut self, scene: &Scene) -> Result<String, String> {
        let name = format!("public.{}", scene.tables[0]);
        for _ in 0..LOOKS {
            let error = self.last_error().await;
            if error["active"] == true && error["table"] == name.as_str() {
                let message = error["message"].as_str().unwrap_or_default().to_owned();
                return if error["code"] == "E_SCHEMA" { Ok(message) } else { Err(message) };
            }
            wait::between_looks().await;
        }
        Err(format!("{:?}: not held; {:?}", scene.tables, self.rows(scene).await))
    }

    async fn until_same(&mut self, scene: &Scene) -> Result<(), String> {
        let lsn = self.source.current_lsn().await;
        let applied = format!("SELECT bool_and(applied_lsn >= '{lsn}') FROM sync_agent.checkpoint");
        let copied = "SELECT bool_and(state = 'copied') FROM sync_agent.tables";
        for _ in 0..LOOKS {
            let settled = self.destination.scalar(&applied).await == "t"
                && self.destination.scalar(copied).await == "t";
            let (here, there) = self.rows(scene).await;
            if settled && self.is_joined() && here == there {
                return Ok(());
            }
            wait::between_looks().await;
        }
        let error = self.last_error().await;
        let rows = self.rows(scene).await;
        Err(format!("{:?}: {rows:?}; {error}; {}", scene.tables, self.agent.log()))
    }

    /// What was copied last is part of the stream: no look is on its way, which would find the next scene's
    /// table under its other name and forget it.
    fn is_joined(&self) -> bool {
        let log = self.agent.log();
        let copied = log.rfind("the copy is complete");
        copied.is_none_or(|at| log[at..].contains("caught up; streaming"))
    }

    /// Null before it serves.
    async fn last_error(&self) -> serde_json::Value {
        let Some((_, body)) = self.agent.try_get("/status").await else {
            return Default::default();
        };
        let status: serde_json::Value = serde_json::from_str(&body).expect("/status is JSON");
        status["last_error"].clone()
    }

    /// All rows, by the source's columns.
    async fn rows(&self, scene: &Scene) -> (Vec<String>, Vec<String>) {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for table in scene.tables {
            let columns = "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute \
                 WHERE attnum > 0 AND NOT attisdropped AND attrelid = ";
            let columns = self.source.scalar(&format!("{columns}'\"{table}\"'::regclass")).await;
            let rows = format!(
                "SELECT string_agg(ROW({columns})::text, ' ' ORDER BY id) FROM \"{table}\""
            );
            here.push(self.source.scalar(&rows).await);
            let found = self.destination.try_query(&rows).await.unwrap_or_default();
            there.push(found.first().and_then(|row| row[0].clone()).unwrap_or_default());
        }
        (here, there)
    }

    async fn end(self) {
        let tables: Vec<String> = SCENES
            .iter()
            .flat_map(|scene| scene.tables)
            .map(|name| format!("\"{name}\""))
            .collect();
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        assert_same(&self.source, &self.destination, &tables).await;
    }
}

async fn plays(is_wanted: impl Fn(&Scene) -> bool) {
    let mut stage = Stage::set().await;
    for scene in SCENES.iter().filter(|scene| is_wanted(scene)) {
        stage.play(scene).await.unwrap_or_else(|error| panic!("{error}"));
    }
    stage.end().await;
}

#[tokio::test]
async fn changes_inside_transactions_are_followed_one_row_a_batch() {
    plays(|scene| matches!(scene.outcome, Followed)).await;
}

#[tokio::test]
async fn a_table_that_comes_back_under_its_name_is_copied_again() {
    plays(|scene| matches!(scene.tables, ["within"] | ["moved"])).await;
}

/// In the long run, because each that holds has to be copied again.
mod long {
    use super::Stage;

    #[ignore = "long: make test-long"]
    #[tokio::test]
    async fn every_change_is_followed_or_held_or_copied_again_while_running() {
        let mut stage = Stage::set().await;
        let failed = stage.play_all(false).await;
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        stage.end().await;
    }

    #[ignore = "long: make test-long"]
    #[tokio::test]
    async fn every_change_is_followed_or_held_or_copied_again_while_it_is_down() {
        let mut stage = Stage::set().await;
        stage.agent.change("apply.max_batch_rows", "50000");
        let failed = stage.play_all(true).await;
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        stage.end().await;
    }
}
