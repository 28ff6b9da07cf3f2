//! Two servers, a link to each that can be spoiled, and two agents of which one works.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::invariants::MEMORY_MIB;
use super::plan::Side;
use super::record::Record;
use super::workload::{PEOPLE_STEPS, TABLES};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::proxy::{Behavior, Proxy};
use crate::support::random::Random;

/// Little WAL is kept beyond what the slot asks for, checkpoints are frequent, and a dead peer is
/// noticed before a long stall ends.
const SOURCE_SETTINGS: &str = "max_wal_size = 64MB\nmin_wal_size = 32MB\nwal_sender_timeout = 10s\n\
     checkpoint_timeout = 30s\n";

/// What a careless administrator sets: commits that return before they are durable. The agent's own
/// must not.
const DESTINATION_SETTINGS: &str =
    "synchronous_commit = off\nwal_writer_delay = 10s\nmax_wal_size = 64MB\nmin_wal_size = 32MB\n";

/// Halting conditions.
const HALTS: [&str; 9] = [
    "E_CONFIG",
    "E_PREFLIGHT",
    "E_SLOT",
    "E_LINEAGE",
    "E_SCHEMA",
    "E_CONFLICT",
    "E_DATA",
    "E_ACCESS",
    "E_IO",
];

#[derive(Debug)]
pub(super) struct Scene {
    pub(super) source: Cluster,
    pub(super) destination: Cluster,
    pub(super) links: [Arc<Proxy>; 2],
    agents: [Agent; 2],
    current: usize,
    pub(super) record: Arc<Record>,
    pub(super) random: Random,
    /// An earlier local store.
    pub(super) stale: tempfile::TempDir,
}

impl Scene {
    pub(super) async fn prepare(record: Arc<Record>) -> Self {
        let source = Spec { settings: SOURCE_SETTINGS.to_owned(), ..Spec::default() };
        let destination =
            Spec { identity: 1, settings: DESTINATION_SETTINGS.to_owned(), ..Spec::default() };
        let (source, destination) =
            tokio::join!(Cluster::start(source), Cluster::start(destination));
        source.exec(TABLES).await;
        let links = [Proxy::to(source.port).await, Proxy::to(destination.port).await];
        let agent = || {
            Agent::between(&source, &destination)
                .text("source.url", &source.url_by_way_of(links[0].port))
                .text("destination.url", &destination.url_by_way_of(links[1].port))
                .text("limits.memory", &format!("{MEMORY_MIB}MiB"))
                .text("snapshot.chunk", "1MiB")
                .set("snapshot.workers", "2")
                .section(PEOPLE_STEPS)
        };
        let agents = [agent(), agent()];
        let random = Random::part(record.seed, "inject");
        Self {
            source,
            destination,
            links: links.map(Arc::new),
            agents,
            current: 0,
            record,
            random,
            stale: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(super) fn agent(&mut self) -> &mut Agent {
        &mut self.agents[self.current]
    }

    pub(super) fn server(&self, side: Side) -> &Cluster {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }

    pub(super) fn server_mut(&mut self, side: Side) -> &mut Cluster {
        match side {
            Side::Source => &mut self.source,
            Side::Destination => &mut self.destination,
        }
    }

    pub(super) fn link(&self, side: Side) -> &Arc<Proxy> {
        &self.links[side as usize]
    }

    pub(super) fn heal(&self) {
        for link in &self.links {
            link.set(Behavior::Forward);
        }
    }

    pub(super) fn start_agent(&mut self) {
        let record = Arc::clone(&self.record);
        let agent = self.agent();
        agent.start();
        record.agent_started(agent.pid().expect("just started"), agent.http_port);
    }

    /// The one that stands by, and the one at work.
    pub(super) fn both_agents(&mut self) -> (&mut Agent, &mut Agent) {
        let [first, second] = &mut self.agents;
        if self.current == 0 { (second, first) } else { (first, second) }
    }

    /// The one that stood by is at work.
    pub(super) fn hand_over(&mut self) {
        self.current = 1 - self.current;
        let agent = &self.agents[self.current];
        self.record.agent_port.store(agent.http_port, Ordering::Relaxed);
        self.record.agent_pid.store(agent.pid().expect("it works"), Ordering::Relaxed);
    }

    /// An agent that ends without being told to has broken the promise to go on.
    pub(super) fn agent_must_live(&mut self) {
        if let Some(code) = self.agent().ended() {
            let log = self.agent().log();
            let end: Vec<&str> = log.lines().rev().take(5).collect();
            let end = end.into_iter().rev().collect::<Vec<_>>().join("\n");
            self.record.breach("liveness", format!("the agent ended with {code:?}:\n{end}"));
        }
    }

    /// Nothing in a run gives reason to a halt, be it one that passes by itself.
    pub(super) fn nothing_may_halt(&self) {
        let log = self.agent_logs();
        let halted = log.lines().find(|line| {
            let is_halt = HALTS.iter().any(|code| line.contains(code));
            line.contains("\"ERROR\"") && is_halt || line.contains("panicked at")
        });
        if let Some(line) = halted {
            self.record.breach("no halt", line.to_owned());
        }
    }

    fn agent_logs(&self) -> String {
        self.agents.iter().map(Agent::log).collect()
    }

    /// Everything that may explain a failure, where it stays.
    pub(super) fn keep(&self) -> PathBuf {
        let kept =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}", self.record.seed));
        drop(std::fs::remove_dir_all(&kept));
        std::fs::create_dir_all(&kept).expect("the build's own folder");
        for (i, agent) in self.agents.iter().enumerate() {
            copy_folder(agent.folder(), &kept.join(format!("agent-{i}")));
        }
        for (name, text) in [
            ("source.log", self.source.log()),
            ("destination.log", self.destination.log()),
            ("faults.txt", self.record.faults()),
            ("summary.txt", format!("{}{}", self.record.summary(), self.record.breaches())),
        ] {
            std::fs::write(kept.join(name), text).expect("the build's own folder");
        }
        kept
    }
}

/// Everything in it; files that vanish meanwhile are left out.
pub(super) fn copy_folder(from: &Path, to: &Path) {
    drop(std::fs::create_dir_all(to));
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            drop(std::fs::copy(entry.path(), target));
        }
    }
}

pub(super) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}
