//! Everything that needs real servers, in one binary; each module is one theme.

#![forbid(unsafe_code)]

/// Memory, held WAL and sizes have bounds.
mod bounds;
/// Broken configurations: place, key, no side effects.
mod broken_config;
/// What the agent asks a server about itself and its objects.
mod catalog;
/// Writers of every kind, faults at random, promises watched all along.
mod chaos;
/// Bad input, and the verbs that end by themselves.
mod cli;
/// Columns of every number, order and kind.
mod columns;
/// Settings that change between two runs.
mod config_change;
/// Passwords, hosts, refusals, pinned sessions.
mod connect;
/// The copy: rows in its way, indexes, locks, time limits.
mod copy;
/// What stands in the way at the destination is found.
mod destination;
/// Subtransactions, prepared transactions, messages, inheritance, every kind of statement.
mod events;
/// Kills, crashes and answers that never came: every row once.
mod exactly_once;
/// The shipped examples, on the tables that they describe.
mod examples;
/// Networks, servers, settings, locks, disks and neighbours that do their worst.
mod faults;
/// A process that was superseded commits nothing more.
mod fencing;
/// Snapshot and tail together are exact.
mod hand_over;
/// The harness itself: servers start, answer, stop, and nothing is left behind.
mod harness;
/// Slots, servers and positions that do not continue the history that was applied.
mod history;
/// Health, status, metrics, the page.
mod http;
/// An idle pipeline pins nothing and blocks nothing.
mod idle_progress;
/// The three changes in the tail.
mod insert_update_delete;
/// Keys deleted, inserted again, moved and swapped.
mod keys;
/// The agent dies between every two steps.
mod kill_points;
/// Names that need quotes, are nearly the same, or shadow the server's.
mod names;
/// Start-up, shutdown, the lease, held conditions, privileges.
mod operations;
/// Partitioned tables, by their roots and by their leaves.
mod partitions;
/// What check finds, and that its statements mend it.
mod preflight;
/// What publications send, and what happens when that changes.
mod publications;
/// Random changes over random tables, by way of every batch and of the servers themselves.
mod random_changes;
/// What servers really send: the seeds of the fuzz targets.
mod recorded;
/// Rows that the destination does not take.
mod rejected;
/// Kills, restarts and cuts in every phase.
mod resume;
/// Structure that changes while changes are followed.
mod schema_drift;
/// No password anywhere but where it is needed.
mod secrets;
/// Ports and state directories that somebody else has.
mod shared_places;
/// The one-off backfill.
mod snapshot;
/// Missing tables are created with all that belongs to them.
mod structure;
/// What every test stands on.
mod support;
/// sslmode, certificates, channel binding.
mod tls;
/// Unchanged large values.
mod toast;
/// The tour of the README, word for word.
mod tour;
/// Column steps, the same in the copy and in the tail.
mod transform;
/// Expressions, filters, shapes: what becomes of rows on their way.
mod transforms;
/// TRUNCATE among other changes.
mod truncate;
/// Values of every type, exactly.
mod values;
/// The verbs beside run: check, status, wait, reset.
mod verbs;
/// PostgreSQL 14 to 18.
mod versions;
/// COPY by frames, the replication stream.
mod wire;
