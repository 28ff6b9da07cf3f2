//! Everything at once: writers of every kind, faults at random, promises watched all along.
//!
//! ```text
//!   plan (seed) ──► inject ──► servers, links, agents ◄── writers, rare events
//!                                   │
//!   invariants ── samples, breaches ┴──► record ──► summary, or what is kept of a failure
//! ```
//!
//! `make test` runs a minute of it with a seed of its own; `make chaos SEED=n MINUTES=m` repeats one,
//! or goes on for longer. The seed stands first in the output. A failure names it, the moment, the
//! last faults, and a folder with the logs of servers and agents and the local store.

mod inject;
mod invariants;
mod plan;
mod rare;
mod record;
mod run;
mod scene;
mod workload;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;

use record::Record;
use scene::Scene;

/// Faults in the suite: with start and end the test takes about a minute.
const SHORT: Duration = Duration::from_secs(35);

/// One that nobody had before, unless somebody asks for his.
fn seed() -> u64 {
    if let Some(seed) = variable("SYNC_AGENT_CHAOS_SEED") {
        return seed.parse().expect("SYNC_AGENT_CHAOS_SEED is a number");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::from(now.subsec_nanos()) ^ (now.as_secs() & 0xffff) << 16
}

fn faults_for() -> Duration {
    variable("SYNC_AGENT_CHAOS_MINUTES").map_or(SHORT, |minutes| {
        let minutes: f64 = minutes.parse().expect("SYNC_AGENT_CHAOS_MINUTES is a number");
        Duration::from_secs_f64(minutes * 60.0)
    })
}

/// Whether both servers restart again and again, instead of everything that can go wrong.
fn only_servers() -> bool {
    match variable("SYNC_AGENT_CHAOS_FAULTS").as_deref() {
        None => false,
        Some("servers") => true,
        Some(other) => panic!("SYNC_AGENT_CHAOS_FAULTS={other}: it knows only \"servers\""),
    }
}

/// An empty one is what `make` passes where nobody said anything.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the seed first, the summary last, a failure in between")]
async fn faults_at_random_lose_nothing_and_repeat_nothing() {
    let (seed, faults, only_servers) = (seed(), faults_for(), only_servers());
    eprintln!("chaos with seed {seed}, faults for {} s", faults.as_secs());
    let record = Arc::new(Record::new(seed));
    let mut scene = Box::pin(Scene::prepare(Arc::clone(&record))).await;
    let result = AssertUnwindSafe(Box::pin(scene.run(faults, only_servers))).catch_unwind().await;
    if result.is_ok() && !record.is_broken() {
        eprintln!("{}", record.summary());
        return;
    }
    let kept = scene.keep();
    eprintln!(
        "chaos with seed {seed} failed:\n{}{}what is left is in {}\n\
         the same faults again: make chaos SEED={seed} MINUTES={:.2}",
        record.breaches(),
        record.summary(),
        kept.display(),
        faults.as_secs_f64() / 60.0,
    );
    match result {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(()) => panic!("a promise was broken"),
    }
}
