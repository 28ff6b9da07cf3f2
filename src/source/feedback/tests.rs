//! A clock that the tests move, and random runs against what is durable.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

mod stateful;

const INTERVAL: Duration = Duration::from_secs(10);

fn lsn(value: u64) -> Lsn {
    Lsn::new(value)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A feedback that has reported `flushed` just now.
fn reported(flushed: u64, now: Instant) -> Feedback {
    let mut feedback = Feedback::new(INTERVAL);
    feedback.set_flushed(lsn(flushed));
    assert!(feedback.due(now).is_some());
    feedback
}

#[test]
fn the_first_report_is_due_at_once_and_confirms_nothing_of_its_own() {
    let now = Instant::now();
    let mut feedback = Feedback::new(INTERVAL);
    feedback.set_received(lsn(50));
    let expected = StatusLsns { written: lsn(50), flushed: Lsn::ZERO, applied: Lsn::ZERO };
    assert_eq!(feedback.due(now), Some(expected));
    assert_eq!(feedback.due(now), None);
}

#[test]
fn without_news_a_report_leaves_every_interval() {
    let now = Instant::now();
    let mut feedback = reported(10, now);
    assert_eq!(feedback.next_deadline(now), now + INTERVAL);
    assert_eq!(feedback.due(now + INTERVAL - ms(1)), None);
    assert!(feedback.due(now + INTERVAL).is_some());
    assert_eq!(feedback.due(now + INTERVAL + ms(1)), None);
}

#[test]
fn what_is_only_received_waits_for_the_interval() {
    let now = Instant::now();
    let mut feedback = reported(10, now);
    feedback.set_received(lsn(500));
    assert_eq!(feedback.next_deadline(now), now + INTERVAL);
    let report = feedback.due(now + INTERVAL).expect("due");
    assert_eq!((report.written, report.flushed), (lsn(500), lsn(10)));
}

#[test]
fn an_advance_is_reported_at_once_after_a_pause() {
    let now = Instant::now();
    let mut feedback = reported(10, now);
    feedback.set_flushed(lsn(20));
    let later = now + PROMPT_GAP;
    assert_eq!(feedback.next_deadline(later), later);
    assert_eq!(feedback.due(later).map(|report| report.flushed), Some(lsn(20)));
}

#[test]
fn many_advances_are_one_report() {
    let now = Instant::now();
    let mut feedback = reported(10, now);
    for step in 0..50 {
        feedback.set_flushed(lsn(11 + step));
        assert_eq!(feedback.due(now + ms(step)), None);
    }
    assert_eq!(feedback.next_deadline(now + ms(50)), now + PROMPT_GAP);
    assert_eq!(feedback.due(now + PROMPT_GAP).map(|report| report.flushed), Some(lsn(60)));
}

#[test]
fn a_request_is_answered_at_once_with_what_is_durable() {
    let now = Instant::now();
    let mut feedback = reported(10, now);
    feedback.set_received(lsn(900));
    feedback.on_keepalive(true);
    let report = feedback.due(now).expect("due");
    assert_eq!((report.written, report.flushed, report.applied), (lsn(900), lsn(10), lsn(10)));
    assert_eq!(feedback.due(now + ms(100)), None, "one request, one answer");
}

#[test]
fn a_server_that_asks_on_and_on_is_answered_at_a_bounded_rate() {
    let now = Instant::now();
    let mut feedback = reported(10, now);
    let mut answers = 0;
    for step in 0..1_000 {
        feedback.on_keepalive(true);
        answers += u32::from(feedback.due(now + ms(step)).is_some());
    }
    assert_eq!(answers, 99);
}

#[test]
fn a_keepalive_without_a_request_is_not_answered() {
    let now = Instant::now();
    let mut feedback = reported(10, now);
    feedback.on_keepalive(false);
    assert_eq!(feedback.next_deadline(now), now + INTERVAL);
    feedback.on_keepalive(true);
    feedback.on_keepalive(false);
    assert!(feedback.due(now + REPEAT_GAP).is_some(), "the request before it still stands");
}

#[derive(Clone, Debug)]
enum Step {
    Received(u64),
    Flushed(u64),
    Keepalive(bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..1_000_u64).prop_map(Step::Received),
        (0..1_000_u64).prop_map(Step::Flushed),
        any::<bool>().prop_map(Step::Keepalive),
        (0..15_000_u64).prop_map(Step::Wait),
        (0..30_u64).prop_map(Step::Wait),
    ];
    vec(step, 0..80)
}

proptest! {
    #[test]
    fn reports_never_exceed_what_is_durable_never_go_back_and_are_never_late(steps in steps()) {
        let mut now = Instant::now();
        let mut feedback = Feedback::new(INTERVAL);
        let (mut durable, mut received) = (Lsn::ZERO, Lsn::ZERO);
        let mut last: Option<(StatusLsns, Instant)> = None;
        let mut asked = false;
        for step in steps {
            match step {
                Step::Received(to) => { received = received.max(lsn(to)); feedback.set_received(lsn(to)) }
                Step::Flushed(to) => { durable = durable.max(lsn(to)); feedback.set_flushed(lsn(to)) }
                Step::Keepalive(request) => { asked |= request; feedback.on_keepalive(request) }
                Step::Wait(millis) => now += ms(millis),
            }
            let deadline = feedback.next_deadline(now);
            let report = feedback.due(now);
            prop_assert_eq!(report.is_some(), deadline <= now, "deadline and report disagree");
            if let Some(report) = report {
                prop_assert_eq!(report.flushed, durable);
                prop_assert_eq!(report.applied, durable);
                prop_assert_eq!(report.written, received.max(durable));
                if let Some((before, _)) = last {
                    prop_assert!(report.written >= before.written && report.flushed >= before.flushed);
                }
                last = Some((report, now));
                asked = false;
            } else {
                let (before, at) = last.expect("the first report is never held back");
                prop_assert!(now < at + INTERVAL);
                prop_assert!(durable == before.flushed || now < at + PROMPT_GAP);
                prop_assert!(!asked || now < at + REPEAT_GAP);
                prop_assert!(deadline > now);
            }
        }
    }
}

// === idle positions ===

fn idle(applied_lsn: u64) -> InFlight {
    InFlight { applied_lsn: lsn(applied_lsn), is_busy: false }
}

fn busy(applied_lsn: u64) -> InFlight {
    InFlight { applied_lsn: lsn(applied_lsn), is_busy: true }
}

/// A rule that has recorded 100 just now.
fn recorded(now: Instant) -> IdleRule {
    let mut rule = IdleRule::new();
    rule.on_keepalive(lsn(100), false);
    assert_eq!(rule.due(idle(10), now), Some(lsn(100)));
    rule
}

#[test]
fn nothing_is_recorded_while_anything_is_in_flight() {
    let now = Instant::now();
    let mut rule = IdleRule::new();
    rule.on_keepalive(lsn(100), true);
    assert_eq!(rule.due(busy(10), now), None);
    assert_eq!(rule.next_deadline(busy(10), now), None);
    assert_eq!(rule.due(idle(10), now), Some(lsn(100)), "the request waited for the work");
}

#[test]
fn nothing_is_recorded_that_the_checkpoint_covers() {
    let now = Instant::now();
    let mut rule = IdleRule::new();
    rule.on_keepalive(lsn(100), true);
    assert_eq!(rule.due(idle(100), now), None);
    assert_eq!(rule.due(idle(101), now), None);
}

#[test]
fn a_keepalive_position_is_recorded_every_ten_seconds_at_most() {
    let now = Instant::now();
    let mut rule = recorded(now);
    let mut positions = Vec::new();
    let mut applied = 100;
    for second in 1..=30 {
        rule.on_keepalive(lsn(100 + second), false);
        let at = now + Duration::from_secs(second);
        if let Some(position) = rule.due(idle(applied), at) {
            applied = position.as_u64();
            positions.push(position);
        }
    }
    assert_eq!(positions, [lsn(110), lsn(120), lsn(130)]);
}

#[test]
fn a_position_held_back_is_recorded_without_another_keepalive() {
    let now = Instant::now();
    let mut rule = recorded(now);
    rule.on_keepalive(lsn(150), false);
    assert_eq!(rule.due(idle(100), now + ms(1)), None);
    let deadline = rule.next_deadline(idle(100), now + ms(1)).expect("held back");
    assert_eq!(deadline, now + IDLE_GAP);
    assert_eq!(rule.due(idle(100), deadline), Some(lsn(150)));
}

#[test]
fn a_requested_reply_records_at_once() {
    let now = Instant::now();
    let mut rule = recorded(now);
    rule.on_keepalive(lsn(150), true);
    assert_eq!(rule.due(idle(100), now + ms(1)), Some(lsn(150)));
    rule.on_keepalive(lsn(160), false);
    assert_eq!(rule.due(idle(150), now + ms(2)), None, "one request, one record");
}

#[test]
fn a_request_without_news_does_not_make_the_next_position_urgent() {
    let now = Instant::now();
    let mut rule = recorded(now);
    rule.on_keepalive(lsn(100), true);
    assert_eq!(rule.due(idle(100), now + ms(1)), None);
    rule.on_keepalive(lsn(160), false);
    assert_eq!(rule.due(idle(100), now + ms(2)), None);
}

#[test]
fn after_data_one_position_is_recorded_at_once() {
    let now = Instant::now();
    let mut rule = recorded(now);
    rule.on_applied();
    assert_eq!(rule.due(idle(200), now + ms(1)), None, "nothing beyond the data yet");
    rule.on_keepalive(lsn(210), false);
    assert_eq!(rule.due(idle(200), now + ms(2)), Some(lsn(210)));
    rule.on_keepalive(lsn(220), false);
    assert_eq!(rule.due(idle(210), now + ms(3)), None, "its own WAL is not data");
}

proptest! {
    #[test]
    fn an_idle_position_is_new_was_sent_by_the_server_and_leaves_at_its_deadline(
        steps in vec((0..500_u64, any::<bool>(), 0..500_u64, any::<bool>(), 0..12_000_u64), 0..60),
    ) {
        let mut now = Instant::now();
        let mut rule = IdleRule::new();
        let mut sent = Lsn::ZERO;
        for (wal_end, requested, applied, is_busy, wait) in steps {
            now += ms(wait);
            sent = sent.max(lsn(wal_end));
            rule.on_keepalive(lsn(wal_end), requested);
            let in_flight = InFlight { applied_lsn: lsn(applied), is_busy };
            let deadline = rule.next_deadline(in_flight, now);
            let position = rule.due(in_flight, now);
            prop_assert_eq!(position.is_some(), deadline.is_some_and(|at| at <= now));
            if let Some(position) = position {
                prop_assert!(!is_busy);
                prop_assert!(position > lsn(applied) && position <= sent);
            }
        }
    }
}
