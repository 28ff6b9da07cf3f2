//! A source that writes and an agent that follows, on clocks that the test moves.

use super::*;

const SECOND: i64 = 1_000_000;
/// The source's clock differs from ours: 100 years, so that mixing them up shows.
const SKEW_MICROS: i64 = 100 * 365 * 86_400 * SECOND;

fn lsn(value: u64) -> Lsn {
    Lsn::new(value)
}

fn source_time(steady_micros: i64) -> PgTimestamp {
    PgTimestamp(steady_micros + SKEW_MICROS)
}

fn at(steady_micros: i64) -> Moment {
    Moment { steady_micros, source: source_time(steady_micros) }
}

/// Polls at every second from `from` to `to`; the source writes 10 bytes a second.
fn poll_each_second(lag: &mut Lag, from: i64, to: i64) {
    for second in from..=to {
        let wal_end = lsn(u64::try_from(second * 10).expect("not negative"));
        lag.poll(wal_end, at(second * SECOND));
    }
}

#[test]
fn nothing_is_known_before_the_first_poll_and_the_first_position() {
    let mut lag = Lag::default();
    assert_eq!(lag.micros(0), None);
    lag.cover(lsn(5));
    assert_eq!(lag.micros(SECOND), None);
    let mut lag = Lag::default();
    lag.poll(lsn(5), at(0));
    assert_eq!(lag.micros(SECOND), None);
}

#[test]
fn there_is_no_lag_once_everything_up_to_the_last_poll_is_covered() {
    let mut lag = Lag::default();
    poll_each_second(&mut lag, 0, 10);
    lag.cover(lsn(100));
    assert_eq!(lag.micros(10 * SECOND), Some(0));
    assert_eq!(lag.micros(10 * SECOND + SECOND / 2), Some(0));
}

#[test]
fn the_lag_is_the_age_of_the_poll_before_the_first_missing_byte() {
    let mut lag = Lag::default();
    poll_each_second(&mut lag, 0, 10);
    // Byte 35 was written between the polls of seconds 3 and 4.
    lag.cover(lsn(35));
    assert_eq!(lag.micros(10 * SECOND), Some(7 * SECOND));
    lag.cover(lsn(40));
    assert_eq!(lag.micros(10 * SECOND), Some(6 * SECOND));
}

#[test]
fn the_lag_grows_while_nothing_is_applied() {
    let mut lag = Lag::default();
    lag.cover(lsn(35));
    let mut before = 0;
    for second in 0..600 {
        poll_each_second(&mut lag, second, second);
        let now = lag.micros(second * SECOND).unwrap_or(0);
        assert!(now >= before, "fell from {before} to {now} in second {second}");
        before = now;
    }
    assert_eq!(before, 596 * SECOND);
}

#[test]
fn the_lag_grows_while_the_source_is_unreachable_though_all_it_had_is_covered() {
    let mut lag = Lag::default();
    poll_each_second(&mut lag, 0, 10);
    lag.cover(lsn(100));
    lag.unreachable();
    assert_eq!(lag.micros(11 * SECOND), Some(SECOND));
    assert_eq!(lag.micros(100 * SECOND), Some(90 * SECOND));
    lag.poll(lsn(100), at(101 * SECOND));
    assert_eq!(lag.micros(101 * SECOND), Some(0));
}

#[test]
fn a_poll_that_hangs_counts_as_an_unreachable_source() {
    let mut lag = Lag::default();
    poll_each_second(&mut lag, 0, 10);
    lag.cover(lsn(100));
    assert_eq!(lag.micros(12 * SECOND), Some(0));
    assert_eq!(lag.micros(15 * SECOND), Some(5 * SECOND));
}

#[test]
fn an_idle_hour_is_no_lag_when_the_next_change_comes() {
    let mut lag = Lag::default();
    lag.cover(lsn(10));
    for second in 0..3600 {
        lag.poll(lsn(10), at(second * SECOND));
    }
    assert_eq!(lag.micros(3599 * SECOND), Some(0));
    lag.poll(lsn(11), at(3600 * SECOND));
    assert_eq!(lag.micros(3600 * SECOND), Some(SECOND));
}

#[test]
fn the_last_commit_bounds_the_lag_where_no_poll_does() {
    let mut lag = Lag::default();
    lag.restart(lsn(5));
    // Known before the first poll, as after a start with a backlog.
    lag.commit(source_time(-3600 * SECOND), 0);
    lag.poll(lsn(100), at(0));
    assert_eq!(lag.micros(0), Some(3600 * SECOND));
    lag.cover(lsn(50));
    lag.commit(source_time(-60 * SECOND), SECOND);
    assert_eq!(lag.micros(SECOND), Some(61 * SECOND));
}

#[test]
fn a_backlog_of_unknown_age_is_not_called_young() {
    let mut lag = Lag::default();
    lag.restart(lsn(5));
    lag.poll(lsn(100), at(0));
    lag.poll(lsn(110), at(SECOND));
    assert_eq!(lag.micros(SECOND), None);
}

#[test]
fn a_source_clock_set_back_hides_no_lag() {
    let mut lag = Lag::default();
    poll_each_second(&mut lag, 0, 10);
    lag.cover(lsn(35));
    lag.commit(source_time(3 * SECOND), 4 * SECOND);
    let an_hour_back = PgTimestamp(source_time(11 * SECOND).0 - 3600 * SECOND);
    lag.poll(lsn(110), Moment { steady_micros: 11 * SECOND, source: an_hour_back });
    assert_eq!(lag.micros(11 * SECOND), Some(8 * SECOND));
    // A commit that still carries the old time says nothing.
    lag.commit(source_time(11 * SECOND), 11 * SECOND);
    assert_eq!(lag.micros(11 * SECOND), Some(8 * SECOND));
}

#[test]
fn a_suspended_machine_hides_no_lag() {
    let mut lag = Lag::default();
    poll_each_second(&mut lag, 0, 10);
    lag.cover(lsn(35));
    // Our steady clock stood still for an hour, the source's did not.
    let woken = PgTimestamp(source_time(11 * SECOND).0 + 3600 * SECOND);
    lag.poll(lsn(110), Moment { steady_micros: 11 * SECOND, source: woken });
    assert_eq!(lag.micros(11 * SECOND), Some(3608 * SECOND));
}

#[test]
fn a_source_rewound_behind_what_is_covered_leaves_no_stale_sample() {
    let mut lag = Lag::default();
    poll_each_second(&mut lag, 0, 10);
    lag.cover(lsn(35));
    lag.poll(lsn(20), at(11 * SECOND));
    assert_eq!(lag.micros(11 * SECOND), Some(0));
}

#[test]
fn a_long_backlog_takes_bounded_memory_and_is_never_called_shorter() {
    let mut lag = Lag::default();
    poll_each_second(&mut lag, 0, 36_000);
    assert!(lag.samples.len() <= SAMPLES_MAX);
    let now = 36_000 * SECOND;
    for covered in (1..360_000).step_by(997) {
        lag.cover(lsn(covered));
        let real = now - i64::try_from(covered).expect("small") * SECOND / 10;
        let shown = lag.micros(now).expect("known");
        assert!(shown >= real, "{shown} is below the real {real} at {covered}");
    }
    lag.cover(lsn(360_000));
    assert_eq!(lag.micros(now), Some(0));
}

proptest::proptest! {
    /// The source commits at known times, the agent applies any prefix at any time, polls fail.
    #[test]
    fn never_below_the_real_lag(
        steps in proptest::collection::vec((0u8..4, 1i64..3_000_000), 1..300)
    ) {
        let mut lag = Lag::default();
        let mut commits: Vec<i64> = Vec::new();
        let mut applied = 0usize;
        let mut now = 0;
        lag.cover(lsn(0));
        lag.poll(lsn(0), at(0));
        let wal_end = |commits: &[i64]| lsn(commits.len() as u64);
        for (kind, pause_micros) in steps {
            now += pause_micros;
            match kind {
                0 => commits.push(now),
                1 => lag.poll(wal_end(&commits), at(now)),
                2 => lag.unreachable(),
                _ if applied < commits.len() => {
                    lag.commit(source_time(commits[applied]), now);
                    applied += 1;
                    lag.cover(lsn(applied as u64));
                }
                _ => {}
            }
            let real = commits.get(applied).map_or(0, |commit| now - commit);
            let shown = lag.micros(now).expect("known since the first poll");
            // Zero is allowed for the time until the next poll is overdue.
            let tolerance = if shown == 0 { POLL_OVERDUE_MICROS } else { 0 };
            proptest::prop_assert!(shown + tolerance >= real, "{} < {}", shown, real);
        }
    }

    /// The source's clock may stand anywhere at each look, and commits may carry any time: by an
    /// hour, by a decade, in the future.
    #[test]
    fn whatever_clocks_say_the_lag_is_a_number_of_seconds_and_not_negative(
        steps in proptest::collection::vec((0u8..4, 1i64..3_000_000, proptest::num::i64::ANY), 1..100)
    ) {
        let mut lag = Lag::default();
        let mut now = 0;
        let mut end = 0;
        for (kind, pause_micros, clock) in steps {
            now += pause_micros;
            match kind {
                0 => {
                    end += 1;
                    let source = PgTimestamp(clock);
                    lag.poll(lsn(end), Moment { steady_micros: now, source });
                }
                1 => lag.commit(PgTimestamp(clock), now),
                2 => lag.cover(lsn(end.saturating_sub(1))),
                _ => lag.unreachable(),
            }
            if let Some(shown) = lag.micros(now) {
                proptest::prop_assert!(shown >= 0, "{}", shown);
                proptest::prop_assert!((shown as f64 / 1e6).is_finite());
            }
        }
    }
}
