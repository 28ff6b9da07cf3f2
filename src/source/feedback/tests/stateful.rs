//! Both rules together, against a model of all that they speak for: a source that sends, a
//! destination that commits later, a mirror that is durable later still, and starts in between.
//!
//! The model knows what is true; the rules know only what the reader tells them. So a report beyond
//! what is durable shows whoever computed it, and an idle position shows whatever it stepped over.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The source writes WAL that is not for us.
    Noise(u64),
    /// It sends a transaction of ours: its beginning, …
    Begin(u64),
    /// … and its commit, which completes what it began.
    Commit(u64),
    Keepalive {
        reply_requested: bool,
    },
    /// The oldest piece of work is committed at the destination.
    Apply,
    /// The mirror catches up with the destination.
    Mirror,
    Wait(u64),
    /// The process dies and starts again, from the destination's checkpoint.
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (1..500_u64).prop_map(Event::Noise),
        3 => (1..500_u64).prop_map(Event::Begin),
        4 => (1..500_u64).prop_map(Event::Commit),
        4 => any::<bool>().prop_map(|reply_requested| Event::Keepalive { reply_requested }),
        5 => Just(Event::Apply),
        5 => Just(Event::Mirror),
        3 => (0..200_u64).prop_map(Event::Wait),
        1 => (0..15_000_u64).prop_map(Event::Wait),
        1 => Just(Event::Restart),
    ];
    vec(event, 0..120)
}

/// The world, and the rules in it.
struct Model {
    now: Instant,
    feedback: Feedback,
    idle_rule: IdleRule,
    /// The source's WAL end; all of it has been sent.
    wal_end: u64,
    is_in_transaction: bool,
    /// Handed over and not applied: ends of transactions, and idle positions.
    outstanding: VecDeque<u64>,
    /// The destination's checkpoint.
    applied: u64,
    /// What the local mirror has.
    mirrored: u64,
    /// Ends of transactions that are not at the destination.
    missing: VecDeque<u64>,
    /// What the source was told last, over all starts.
    confirmed: u64,
    asked_at: Option<Instant>,
    reported_at: Option<Instant>,
}

impl Model {
    fn new() -> Model {
        Model {
            now: Instant::now(),
            feedback: Feedback::new(INTERVAL),
            idle_rule: IdleRule::new(),
            wal_end: 0,
            is_in_transaction: false,
            outstanding: VecDeque::new(),
            applied: 0,
            mirrored: 0,
            missing: VecDeque::new(),
            confirmed: 0,
            asked_at: None,
            reported_at: None,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Noise(bytes) => self.wal_end += bytes,
            Event::Begin(bytes) if !self.is_in_transaction => {
                self.wal_end += bytes;
                self.is_in_transaction = true;
                self.feedback.set_received(lsn(self.wal_end));
            }
            Event::Commit(bytes) if self.is_in_transaction => {
                self.wal_end += bytes;
                self.is_in_transaction = false;
                self.feedback.set_received(lsn(self.wal_end));
                self.missing.push_back(self.wal_end);
                self.outstanding.push_back(self.wal_end);
            }
            Event::Begin(_) | Event::Commit(_) => {}
            Event::Keepalive { reply_requested } => {
                let wal_end = lsn(self.wal_end);
                self.feedback.set_received(wal_end);
                self.feedback.on_keepalive(reply_requested);
                self.idle_rule.on_keepalive(wal_end, reply_requested);
                if reply_requested {
                    self.asked_at.get_or_insert(self.now);
                }
            }
            Event::Apply => {
                if let Some(end) = self.outstanding.pop_front() {
                    self.applied = end;
                    self.missing.retain(|missing| *missing > end);
                    self.idle_rule.on_applied();
                }
            }
            Event::Mirror => {
                self.mirrored = self.applied;
                self.feedback.set_flushed(lsn(self.mirrored));
            }
            Event::Wait(millis) => self.now += ms(millis),
            Event::Restart => self.restart(),
        }
    }

    /// What was in flight is sent again.
    fn restart(&mut self) {
        self.feedback = Feedback::new(INTERVAL);
        self.feedback.set_flushed(lsn(self.applied));
        self.idle_rule = IdleRule::new();
        self.mirrored = self.applied;
        self.is_in_transaction = false;
        self.outstanding = self.missing.clone();
        self.feedback.set_received(lsn(self.missing.back().copied().unwrap_or(0)));
        (self.asked_at, self.reported_at) = (None, None);
    }

    /// What the reader does in each turn of its loop.
    fn turn(&mut self) -> Result<(), TestCaseError> {
        self.hand_over_idle()?;
        self.report()
    }

    fn hand_over_idle(&mut self) -> Result<(), TestCaseError> {
        let is_busy = self.is_in_transaction || !self.outstanding.is_empty();
        let in_flight = InFlight { applied_lsn: lsn(self.applied), is_busy };
        let Some(position) = self.idle_rule.due(in_flight, self.now) else { return Ok(()) };
        let position = position.as_u64();
        prop_assert!(!is_busy, "recorded with something in flight");
        prop_assert!(self.missing.is_empty(), "{position} steps over {:?}", self.missing);
        prop_assert!(position > self.applied, "the checkpoint would go back, or stand still");
        prop_assert!(position <= self.wal_end, "the source is not there yet");
        self.outstanding.push_back(position);
        Ok(())
    }

    fn report(&mut self) -> Result<(), TestCaseError> {
        let Some(report) = self.feedback.due(self.now) else {
            let asked_for = self.asked_at.map(|at| self.now - at);
            let gap = self.reported_at.map(|at| self.now - at);
            let is_late = asked_for.is_some() && gap.is_none_or(|gap| gap >= REPEAT_GAP);
            prop_assert!(!is_late, "a requested reply was not sent");
            prop_assert!(gap.is_some_and(|gap| gap < INTERVAL), "silent for too long");
            return Ok(());
        };
        let flushed = report.flushed.as_u64();
        prop_assert!(flushed <= self.mirrored, "{flushed} is reported, {} durable", self.mirrored);
        prop_assert!(flushed <= self.applied, "the local mirror is no proof by itself");
        prop_assert!(flushed >= self.confirmed, "reported positions went back");
        prop_assert!(self.missing.front().is_none_or(|missing| flushed < *missing));
        prop_assert_eq!(report.applied, report.flushed);
        prop_assert!(report.written >= report.flushed);
        prop_assert!(report.written.as_u64() <= self.wal_end, "more than was ever sent");
        self.confirmed = flushed;
        self.asked_at = None;
        self.reported_at = Some(self.now);
        Ok(())
    }

    /// Left alone, everything is applied, and all of the source's WAL is let go.
    fn settles(&mut self) -> Result<(), TestCaseError> {
        self.happens(Event::Commit(1));
        for _ in 0..2 {
            self.happens(Event::Keepalive { reply_requested: false });
            for event in [Event::Wait(10_000), Event::Apply, Event::Mirror, Event::Wait(100)] {
                self.happens(event);
                self.turn()?;
                while !self.outstanding.is_empty() {
                    self.happens(Event::Apply);
                }
            }
            self.happens(Event::Mirror);
            self.happens(Event::Wait(100));
            self.turn()?;
        }
        prop_assert_eq!(self.confirmed, self.wal_end, "an idle stream holds WAL back");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_happens_only_durable_work_is_confirmed_and_in_the_end_all_of_it(events in events()) {
        let mut model = Model::new();
        model.turn()?;
        for event in events {
            model.happens(event);
            model.turn()?;
        }
        model.settles()?;
    }
}
