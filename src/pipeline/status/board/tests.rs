//! What the board shows after what the stages told it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::*;
use crate::model::change::Op;
use crate::pipeline::status::report::{LagStatus, Positions};
use crate::pipeline::status::states::ConflictKind;

#[derive(Clone, Debug, Default)]
struct ManualClock(Arc<AtomicI64>);

impl Clock for ManualClock {
    fn now(&self) -> Now {
        let micros = self.0.load(Ordering::Relaxed);
        Now { steady_micros: micros, wall: PgTimestamp::from_unix_micros(micros) }
    }
}

impl ManualClock {
    fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

fn board(max_tables: usize) -> (Board, ManualClock) {
    let clock = ManualClock::default();
    let options = BoardOptions { pipeline: "shop".to_owned(), max_tables };
    (Board::with_clock(options, Box::new(clock.clone())), clock)
}

fn poll(wal_end: u64) -> SourcePoll {
    SourcePoll { wal_end: Lsn::new(wal_end), server_time: PgTimestamp(0), slot: None }
}

fn slot(wal_status: &str) -> SlotPoll {
    SlotPoll {
        confirmed_flush: Some(Lsn::new(1)),
        restart_lsn: Some(Lsn::new(1)),
        retained_bytes: 4096,
        safe_bytes: None,
        wal_status: wal_status.to_owned(),
        active: true,
    }
}

fn table(name: &str) -> QualifiedName {
    QualifiedName::new("public", name)
}

/// The value of one series; `None` when it is not exported.
fn value(board: &Board, series: &str) -> Option<f64> {
    let text = board.metrics_text();
    let series = series.replace('{', "{pipeline=\"shop\",");
    let with_labels =
        if series.contains('{') { series } else { format!("{series}{{pipeline=\"shop\"}}") };
    let line = text.lines().find(|line| sorted(line).starts_with(&format!("{with_labels} ")))?;
    Some(line.rsplit(' ').next()?.parse().expect("a number"))
}

/// The exposition orders labels by name; here `pipeline` comes first.
fn sorted(line: &str) -> String {
    let Some((name, rest)) = line.split_once('{') else { return line.to_owned() };
    let Some((labels, value)) = rest.split_once("} ") else { return line.to_owned() };
    let mut labels: Vec<&str> = labels.split("\",").map(|l| l.trim_end_matches('"')).collect();
    labels.sort_by_key(|label| (!label.starts_with("pipeline="), label.to_owned()));
    let labels: Vec<String> = labels.iter().map(|label| format!("{label}\"")).collect();
    format!("{name}{{{}}} {value}", labels.join(","))
}

#[test]
fn what_is_not_known_is_absent_and_null() {
    let (board, _) = board(10);
    let text = board.metrics_text();
    for name in [
        "replication_lag_seconds",
        "replication_lag_bytes",
        "slot_retained_wal_bytes",
        "slot_safe_wal_bytes",
        "slot_lost",
        "slot_wal_status",
        "last_message_timestamp_seconds",
        "checkpoint_timestamp_seconds",
        "queue_capacity_bytes",
    ] {
        assert!(!text.contains(&format!("sync_agent_{name}")), "{name} is exported");
    }
    assert!(!text.contains("} -1"), "{text}");
    let status = board.status();
    assert_eq!(status.lag, LagStatus::default());
    assert_eq!(status.positions, Positions::default());
    assert_eq!(status.slot, None);
}

#[test]
fn one_state_is_present_at_a_time_and_since_is_when_it_began() {
    let (board, clock) = board(10);
    assert_eq!(value(&board, "sync_agent_state{state=\"starting\"}"), Some(1.0));
    clock.advance_seconds(5);
    board.set_state(State::Copying, "copying 3 tables");
    clock.advance_seconds(5);
    board.set_state(State::Copying, "copying 2 tables");
    assert_eq!(value(&board, "sync_agent_state{state=\"starting\"}"), Some(0.0));
    assert_eq!(value(&board, "sync_agent_state{state=\"copying\"}"), Some(1.0));
    let status = board.status();
    assert_eq!(status.since.as_second(), 5);
    assert_eq!(status.reason, "copying 2 tables");
}

#[test]
fn lag_is_shown_the_same_in_status_and_metrics() {
    let (board, clock) = board(10);
    board.resumed(Lsn::new(100), None);
    board.source_poll(poll(100));
    assert_eq!(value(&board, "sync_agent_replication_lag_seconds"), Some(0.0));
    clock.advance_seconds(1);
    board.source_poll(SourcePoll { server_time: PgTimestamp(1_000_000), ..poll(400) });
    board.received(Lsn::new(300), 200);
    clock.advance_seconds(1);
    let status = board.status();
    assert_eq!(status.lag.seconds, Some(2.0));
    assert_eq!(status.lag.received_bytes, Some(100));
    assert_eq!(status.lag.applied_bytes, Some(300));
    assert_eq!(status.lag.confirmed_bytes, None);
    assert_eq!(value(&board, "sync_agent_replication_lag_seconds"), Some(2.0));
    assert_eq!(value(&board, "sync_agent_replication_lag_bytes{stage=\"applied\"}"), Some(300.0));
    assert_eq!(value(&board, "sync_agent_replication_lag_bytes{stage=\"confirmed\"}"), None);
    board.applied(Lsn::new(400), None);
    board.confirmed(Lsn::new(350));
    assert_eq!(board.status().lag.seconds, Some(0.0));
    assert_eq!(board.status().lag.confirmed_bytes, Some(50));
}

#[test]
fn an_idle_source_has_no_lag_before_its_position_is_recorded() {
    let (board, _) = board(10);
    board.resumed(Lsn::new(100), None);
    board.source_poll(poll(100));
    board.source_poll(poll(500));
    assert_ne!(board.status().lag.seconds, None);
    board.idle_up_to(Lsn::new(500));
    let status = board.status();
    assert_eq!((status.lag.seconds, status.lag.applied_bytes), (Some(0.0), Some(0)));
    assert_eq!(status.positions.applied, Some(Lsn::new(100)), "that is the checkpoint's");
}

#[test]
fn positions_never_go_back_but_by_a_new_attempt() {
    let (board, _) = board(10);
    board.received(Lsn::new(50), 1);
    board.received(Lsn::new(40), 1);
    board.applied(Lsn::new(30), None);
    board.applied(Lsn::new(20), None);
    assert_eq!(board.status().positions.received, Some(Lsn::new(50)));
    assert_eq!(board.status().positions.applied, Some(Lsn::new(30)));
    board.resumed(Lsn::new(30), None);
    assert_eq!(board.status().positions.received, Some(Lsn::new(30)));
}

#[test]
fn a_slot_that_is_invalidated_or_vanishes_is_lost() {
    let (board, _) = board(10);
    board.source_poll(poll(1));
    assert_eq!(value(&board, "sync_agent_slot_lost"), None, "it was not created yet");
    board.source_poll(SourcePoll { slot: Some(slot("reserved")), ..poll(1) });
    assert_eq!(value(&board, "sync_agent_slot_lost"), Some(0.0));
    assert_eq!(value(&board, "sync_agent_slot_retained_wal_bytes"), Some(4096.0));
    assert_eq!(value(&board, "sync_agent_slot_safe_wal_bytes"), None, "nothing limits it");
    board.source_poll(SourcePoll { slot: Some(slot("lost")), ..poll(1) });
    assert_eq!(value(&board, "sync_agent_slot_lost"), Some(1.0));
    assert_eq!(value(&board, "sync_agent_slot_wal_status{status=\"lost\"}"), Some(1.0));
    assert_eq!(value(&board, "sync_agent_slot_wal_status{status=\"reserved\"}"), Some(0.0));
    board.source_poll(poll(1));
    assert_eq!(value(&board, "sync_agent_slot_lost"), Some(1.0));
    assert_eq!(value(&board, "sync_agent_slot_retained_wal_bytes"), None);
}

#[test]
fn counters_of_a_table_exist_at_zero_and_count_exactly() {
    let (board, _) = board(10);
    board.table(&table("t"), &table("t"), false);
    assert_eq!(value(&board, "sync_agent_rows_total{op=\"delete\",table=\"public.t\"}"), Some(0.0));
    board.rows(&table("t"), Op::Insert, 10);
    board.rows(&table("t"), Op::Update, 5);
    board.rows(&table("t"), Op::Truncate, 1);
    board.conflict(&table("t"), ConflictKind::UpdateMissing, 2);
    assert_eq!(
        value(&board, "sync_agent_rows_total{op=\"insert\",table=\"public.t\"}"),
        Some(10.0)
    );
    assert_eq!(
        value(&board, "sync_agent_conflicts_total{kind=\"update_missing\",table=\"public.t\"}"),
        Some(2.0)
    );
    let status = board.status();
    assert_eq!(status.totals.rows, status.tables[0].rows);
    assert_eq!(status.tables[0].rows.total(), 16);
}

#[test]
fn tables_beyond_the_limit_share_a_label_and_make_room_when_one_leaves() {
    let (board, _) = board(1);
    for (name, rows) in [("a", 1), ("b", 2), ("c", 4)] {
        board.table(&table(name), &table(name), false);
        board.rows(&table(name), Op::Insert, rows);
        board.snapshot_expected(&table(name), Some(rows * 10), 0);
    }
    let inserts = |label: &str| {
        value(&board, &format!("sync_agent_rows_total{{op=\"insert\",table=\"{label}\"}}"))
    };
    assert_eq!((inserts("public.a"), inserts("_other")), (Some(1.0), Some(6.0)));
    assert_eq!(inserts("public.b"), None);
    let expected = "sync_agent_snapshot_rows_expected{table=\"_other\"}";
    assert_eq!(value(&board, expected), Some(60.0));
    let pending = "sync_agent_table_state{state=\"pending\",table=\"_other\"}";
    assert_eq!(value(&board, pending), Some(2.0));
    assert_eq!(value(&board, "sync_agent_snapshot_tables{state=\"pending\"}"), Some(3.0));
    board.table_removed(&table("b"));
    assert_eq!((value(&board, expected), value(&board, pending)), (Some(40.0), Some(1.0)));
    board.table_removed(&table("a"));
    assert_eq!(inserts("public.a"), None);
    assert!(!board.metrics_text().contains("public.a"));
    board.table(&table("d"), &table("d"), false);
    assert_eq!(inserts("public.d"), Some(0.0));
    assert_eq!(board.status().tables.len(), 2);
}

#[test]
fn copy_progress_starts_over_while_its_counters_go_on() {
    let (board, _) = board(10);
    board.snapshot_expected(&table("t"), Some(100), 1000);
    board.table_state(&table("t"), TableState::Copying);
    board.snapshot_progress(&table("t"), 40, 400);
    board.snapshot_expected(&table("t"), Some(120), 1200);
    board.snapshot_progress(&table("t"), 10, 100);
    let status = board.status();
    assert_eq!(status.tables[0].copy.rows, 10);
    assert_eq!(status.tables[0].copy.expected_rows, Some(120));
    assert_eq!(status.totals.copied_rows, 50);
    assert_eq!(value(&board, "sync_agent_snapshot_rows_total{table=\"public.t\"}"), Some(50.0));
    assert_eq!(value(&board, "sync_agent_snapshot_bytes_total{table=\"public.t\"}"), Some(500.0));
    assert_eq!(value(&board, "sync_agent_snapshot_tables{state=\"copying\"}"), Some(1.0));
}

#[test]
fn errors_are_counted_by_stage_and_code_and_stay_visible_when_over() {
    let (board, _) = board(10);
    let series = "sync_agent_errors_total{code=\"E_DATA\",stage=\"apply\"}";
    assert_eq!(value(&board, series), Some(0.0));
    for _ in 0..2 {
        board.set_error(ErrorReport {
            stage: "apply",
            code: "E_DATA",
            message: "value too long".to_owned(),
            table: Some(table("t")),
        });
    }
    assert_eq!(value(&board, series), Some(2.0));
    assert_eq!(board.status().attempts, 2);
    board.clear_error();
    let status = board.status();
    let error = status.last_error.expect("kept");
    assert_eq!((status.attempts, error.active), (0, false));
    assert_eq!(error.table.as_deref(), Some("public.t"));
}

#[test]
fn started_needs_both_servers() {
    let (board, _) = board(10);
    board.source_reached();
    assert!(!board.is_started());
    board.destination_reached();
    assert!(board.is_started());
}

#[test]
fn latency_is_measured_on_the_sources_clock() {
    let (board, clock) = board(10);
    let commit = PgTimestamp(7_000_000);
    board.batch_applied(Duration::from_millis(5), 3, Some(commit));
    let count = "sync_agent_end_to_end_latency_seconds_count";
    assert_eq!(value(&board, count), Some(0.0), "the source's clock is not known yet");
    board.source_poll(SourcePoll { server_time: PgTimestamp(8_000_000), ..poll(1) });
    clock.advance_seconds(2);
    board.batch_applied(Duration::from_millis(5), 3, Some(commit));
    assert_eq!(value(&board, count), Some(1.0));
    assert_eq!(value(&board, "sync_agent_end_to_end_latency_seconds_sum"), Some(3.0));
    assert_eq!(value(&board, "sync_agent_apply_batch_rows_sum"), Some(6.0));
}

#[test]
fn versions_join_the_build_once_known() {
    let (board, _) = board(10);
    board.server_versions(Some("18.4".to_owned()), None);
    board.server_versions(None, Some("15.18".to_owned()));
    let text = board.metrics_text();
    assert_eq!(text.matches("sync_agent_build_info{").count(), 1, "{text}");
    assert!(text.contains("pg_source=\"18.4\""), "{text}");
    assert!(text.contains("pg_destination=\"15.18\""), "{text}");
}

#[test]
fn status_survives_json() {
    let (board, _) = board(10);
    board.resumed(Lsn::new(0x16_B374_D848), None);
    board.source_poll(SourcePoll { slot: Some(slot("reserved")), ..poll(1) });
    board.table(&table("t\"\n"), &table("t"), true);
    let status = board.status();
    let json = serde_json::to_string(&status).expect("serializable");
    assert!(json.contains("\"applied\":\"16/B374D848\""), "{json}");
    assert!(json.contains("\"schema_version\":1"), "{json}");
    assert_eq!(serde_json::from_str::<Status>(&json).expect("readable"), status);
}

#[test]
fn what_is_held_shows_as_degraded_until_it_has_come_further() {
    let (board, clock) = board(10);
    board.set_state(State::Streaming, "streaming");
    board.hold("E_CONFLICT: no");
    clock.advance_seconds(5);
    for retry in [State::Copying, State::CatchingUp] {
        board.set_state(retry, "again");
        let status = board.status();
        assert_eq!((status.state, status.reason.as_str()), (State::Degraded, "E_CONFLICT: no"));
        assert_eq!(value(&board, "sync_agent_state{state=\"degraded\"}"), Some(1.0));
    }
    assert_eq!(board.status().since, timestamp(PgTimestamp::from_unix_micros(0)), "since it began");
    board.went_on(State::CatchingUp, "going on");
    assert_eq!(board.state(), State::CatchingUp);
    board.set_state(State::Copying, "copying");
    assert_eq!(board.state(), State::Copying, "nothing holds it any more");
    board.went_on(State::CatchingUp, "going on");
    assert_eq!(board.state(), State::Copying, "it was not held");
    board.hold("E_ACCESS: no");
    board.set_state(State::Backoff, "gone");
    board.set_state(State::CatchingUp, "again");
    assert_eq!(board.state(), State::CatchingUp, "another trouble took its place");
}
