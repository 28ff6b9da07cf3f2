//! kill -9 at random moments, with the local state deleted, stale, truncated, bit-flipped or emptied
//! in between. `SYNC_AGENT_SEED` repeats a run as far as two servers and a kernel let it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{TABLES, assert_exact, counting, finish, progress};
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::monitor::Monitor;
use crate::support::wait;

/// SplitMix64: a seed is a whole run.
struct Dice(u64);

impl Dice {
    /// From the environment, or new; printed for whoever sees the test fail.
    #[allow(clippy::print_stderr, reason = "a failed run is repeated by its seed")]
    #[allow(clippy::print_stderr, reason = "a failed run is repeated by its seed")]
    fn seeded() -> Dice {
        let given = std::env::var("SYNC_AGENT_SEED").ok();
        let seed = given.map_or_else(
            || {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
                u64::from(now.subsec_nanos())
            },
            |text| text.parse().expect("SYNC_AGENT_SEED is a number"),
        );
        eprintln!("SYNC_AGENT_SEED={seed}");
        Dice(seed)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % end
    }
}

/// What becomes of the local state between two starts.
#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    Deleted,
    /// The directories stay, the files are gone.
    Emptied,
    /// An older copy is put back.
    Stale,
    Truncated,
    BitFlipped,
}

const DAMAGES: [Damage; 6] = [
    Damage::None,
    Damage::Deleted,
    Damage::Emptied,
    Damage::Stale,
    Damage::Truncated,
    Damage::BitFlipped,
];

/// The local state of an agent that does not run.
struct State {
    dir: PathBuf,
    /// The older copy.
    kept: tempfile::TempDir,
}

impl State {
    fn of(agent: &Agent) -> State {
        State { dir: agent.state_dir(), kept: tempfile::tempdir().expect("a temporary folder") }
    }

    fn keep(&self) {
        drop(fs::remove_dir_all(self.kept.path()));
        copy(&self.dir, self.kept.path());
    }

    fn damage(&self, damage: Damage, dice: &mut Dice) {
        let mut files = files(&self.dir);
        match damage {
            Damage::None => {}
            Damage::Deleted => drop(fs::remove_dir_all(&self.dir)),
            Damage::Emptied => {
                for file in files {
                    fs::remove_file(file).expect("our own file");
                }
            }
            Damage::Stale => {
                drop(fs::remove_dir_all(&self.dir));
                copy(self.kept.path(), &self.dir);
            }
            Damage::Truncated | Damage::BitFlipped => {
                files.retain(|file| fs::metadata(file).is_ok_and(|file| file.len() > 0));
                if files.is_empty() {
                    return;
                }
                let file = &files[usize::try_from(dice.below(files.len() as u64)).expect("few")];
                let mut bytes = fs::read(file).expect("our own file");
                let at = usize::try_from(dice.below(bytes.len() as u64)).expect("in memory");
                if matches!(damage, Damage::Truncated) {
                    bytes.truncate(at);
                } else {
                    bytes[at] ^= 1 << dice.below(8);
                }
                fs::write(file, bytes).expect("our own file");
            }
        }
    }
}

/// Every file below, sorted, so that a seed means the same one.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder of ours");
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file of ours");
        }
    }
}

/// The agent is killed so many times, each time within so much of its start.
async fn kills(count: usize, longest: Duration) {
    let mut dice = Dice::seeded();
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let load = counting(&source);
    let monitor = Monitor::watch(&source, &destination, "it");
    let mut agent = Agent::between(&source, &destination);
    let state = State::of(&agent);
    let applied = "SELECT applied_lsn FROM sync_agent.checkpoint";
    let (mut before, mut moved_count) = (Vec::new(), 0);
    for round in 0..count {
        agent.start();
        // On a machine that is busy, few starts come as far as a batch by themselves.
        if moved_count < (round + 1) / 4 {
            let is_moved =
                async || destination.try_query(applied).await.unwrap_or_default() != before;
            wait::until("a batch is applied", wait::CATCH_UP, is_moved).await;
        }
        let most = u64::try_from(longest.as_millis()).expect("seconds");
        wait::somewhere_within(Duration::from_millis(50 + dice.below(most))).await;
        agent.kill9();
        let now = destination.try_query(applied).await.unwrap_or_default();
        moved_count += usize::from(now != before);
        before = now;
        // What is put back is some rounds older than what it replaces.
        if round % 5 == 0 {
            state.keep();
        }
        // Each kind of damage in turn, so that a short run has them all.
        state.damage(DAMAGES[round % DAMAGES.len()], &mut dice);
    }
    // Kills that all come before the first batch would prove nothing.
    assert!(moved_count >= count / 4, "{moved_count} of {count} starts came as far as a batch");
    agent.start_and_stream().await;
    finish((&source, &destination), agent, load, monitor).await;
}

#[tokio::test]
async fn ten_kills_with_damaged_local_state_lose_and_repeat_nothing() {
    kills(10, Duration::from_millis(1500)).await;
}

/// CKPT-03: it names an older position, and is not asked.
#[tokio::test]
async fn an_older_local_store_moves_nothing() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let state = State::of(&agent);
    // A store that has nothing yet would say nothing.
    source.exec("INSERT INTO ev VALUES (nextval('next'), 'x')").await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    state.keep();
    let load = counting(&source);
    agent.start_and_stream().await;
    progress(&mut agent, &destination).await;
    load.stop(&source).await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    let applied = "SELECT applied_lsn FROM sync_agent.checkpoint";
    let position = destination.scalar(applied).await;
    let mut dice = Dice(0);
    state.damage(Damage::Stale, &mut dice);
    agent.start_and_stream().await;
    let log = agent.log();
    let mut going_on = log.lines().filter(|line| line.contains("going on from the destination's"));
    let last = going_on.next_back().expect("each start says where it goes on");
    assert!(last.contains(&format!("\"applied_lsn\":\"{position}\"")), "{position}: {last}");
    assert_eq!(agent.terminate().await, Some(0));
    assert_exact(&source, &destination).await;
}

mod long {
    use super::*;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_hundred_kills_with_damaged_local_state_lose_and_repeat_nothing() {
        kills(100, Duration::from_secs(3)).await;
    }
}
