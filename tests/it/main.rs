//! Everything that needs real servers, in one binary; each module is one theme.

#![forbid(unsafe_code)]

/// What the agent asks a server about itself and its objects.
mod catalog;
/// The harness itself: servers start, answer, stop, and nothing is left behind.
mod harness;
/// What every test stands on.
#[allow(dead_code, reason = "the scenarios that use the rest come with the pipeline")]
mod support;
