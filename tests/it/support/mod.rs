//! The harness: throwaway servers, the agent as a child process, comparison by query.
//!
//! In: an installed PostgreSQL and the built binary. Out: panics that say what was expected, with
//! the end of the logs. Invariants: nothing outlives the test process, whatever kills it; no test
//! waits without a deadline; every deadline and the only pause between two looks are in [`wait`].

pub(crate) mod agent;
pub(crate) mod both_ways;
pub(crate) mod cluster;
pub(crate) mod compare;
pub(crate) mod database;
pub(crate) mod hold;
pub(crate) mod installation;
pub(crate) mod monitor;
pub(crate) mod pooler;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod small_disk;
pub(crate) mod thrice;
pub(crate) mod wait;
pub(crate) mod workload;
