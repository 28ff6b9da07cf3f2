//! Every way in which a slot and a checkpoint can disagree.

use super::*;

const DATABASE: &str = "shop";

fn lsn(value: u64) -> Lsn {
    Lsn::new(value)
}

fn slot() -> SlotInfo {
    SlotInfo {
        name: "sync_agent".to_owned(),
        kind: "logical".to_owned(),
        plugin: Some("pgoutput".to_owned()),
        database: Some(DATABASE.to_owned()),
        temporary: false,
        active: false,
        active_pid: None,
        restart_lsn: Some(lsn(50)),
        confirmed_flush_lsn: Some(lsn(100)),
        wal_status: Some("reserved".to_owned()),
        safe_wal_bytes: None,
        two_phase: false,
        invalidation_reason: None,
        conflicting: false,
        failover: false,
    }
}

fn at(applied: Option<u64>) -> RememberedSource<'static> {
    RememberedSource { system_identifier: "7", timeline: 1, applied_lsn: applied.map(lsn) }
}

fn present() -> PresentSource<'static> {
    PresentSource {
        system_identifier: "7",
        timeline: 1,
        history: &[],
        wal_end: lsn(1000),
        database: DATABASE,
    }
}

fn verdict(applied: Option<u64>, slot: Option<&SlotInfo>) -> Result<Verdict, SlotError> {
    judge("sync_agent", Some(&at(applied)), slot, &present())
}

fn resume(applied: u64, promoted_from: Option<u32>) -> Verdict {
    let (applied_lsn, confirmed_flush_lsn) = (lsn(applied), lsn(100));
    Verdict::Resume { applied_lsn, confirmed_flush_lsn, promoted_from }
}

#[test]
fn a_slot_at_or_behind_the_checkpoint_resumes() {
    for applied in [100, 101, 1000] {
        let expected = resume(applied, None);
        assert_eq!(verdict(Some(applied), Some(&slot())), Ok(expected));
    }
}

#[test]
fn a_slot_ahead_of_the_checkpoint_names_both_positions() {
    let error = verdict(Some(99), Some(&slot())).expect_err("a byte is missing");
    assert_eq!(
        error.to_string(),
        "replication slot \"sync_agent\": confirmed_flush 0/64 is ahead of checkpoint 0/63; the \
         changes between them (1 bytes of WAL) are gone"
    );
}

#[test]
fn a_wal_end_behind_the_checkpoint_is_another_history() {
    let error = verdict(Some(1001), Some(&slot())).expect_err("the source is older");
    assert_eq!(error, SlotError::WalEndBehind { wal_end: lsn(1000), applied_lsn: lsn(1001) });
}

#[test]
fn without_a_row_a_slot_is_somebody_elses() {
    let free = judge("sync_agent", None, None, &present());
    assert_eq!(free, Ok(Verdict::FirstContact { replace: false }));
    let taken = judge("sync_agent", None, Some(&slot()), &present());
    assert_eq!(taken, Err(SlotError::Foreign { slot: "sync_agent".to_owned() }));
}

#[test]
fn a_row_without_a_position_makes_the_slot_anew() {
    assert_eq!(verdict(None, None), Ok(Verdict::FirstContact { replace: false }));
    // Cut off inside its creation, or lost since: nothing was ever applied from it.
    let unfinished =
        SlotInfo { confirmed_flush_lsn: None, wal_status: Some("lost".to_owned()), ..slot() };
    assert_eq!(verdict(None, Some(&unfinished)), Ok(Verdict::FirstContact { replace: true }));
    let active = SlotInfo { active: true, active_pid: Some(42), ..slot() };
    assert!(matches!(verdict(None, Some(&active)), Err(SlotError::Active { pid: 42, .. })));
}

#[test]
fn a_missing_slot_after_a_checkpoint_is_never_made_anew() {
    assert!(matches!(verdict(Some(100), None), Err(SlotError::Missing { .. })));
}

#[test]
fn a_lost_slot_says_why() {
    let reason = |slot: SlotInfo| match verdict(Some(100), Some(&slot)) {
        Err(SlotError::Lost { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let status = Some("lost".to_owned());
    let invalidation = Some("wal_removed".to_owned());
    assert_eq!(reason(SlotInfo { wal_status: status.clone(), ..slot() }), "wal_status is lost");
    assert_eq!(
        reason(SlotInfo { wal_status: status, invalidation_reason: invalidation, ..slot() }),
        "invalidated: wal_removed"
    );
    assert_eq!(reason(SlotInfo { conflicting: true, ..slot() }), "conflicting with recovery");
    let unfinished = SlotInfo { confirmed_flush_lsn: None, ..slot() };
    assert_eq!(reason(unfinished), "it has no confirmed_flush_lsn");
    let tight = SlotInfo { wal_status: Some("unreserved".to_owned()), ..slot() };
    assert!(verdict(Some(100), Some(&tight)).is_ok(), "still there");
}

#[test]
fn a_slot_of_another_kind_is_refused_with_its_reason() {
    let reason = |slot: SlotInfo| match verdict(Some(100), Some(&slot)) {
        Err(SlotError::Unsuitable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        reason(SlotInfo { plugin: text("wal2json"), ..slot() }),
        "its plugin is wal2json, not pgoutput"
    );
    assert_eq!(
        reason(SlotInfo { database: text("other"), ..slot() }),
        "it belongs to database \"other\", not \"shop\""
    );
    assert_eq!(reason(SlotInfo { temporary: true, ..slot() }), "it is temporary");
    assert_eq!(reason(SlotInfo { kind: "physical".to_owned(), ..slot() }), "it is a physical slot");
}

#[test]
fn a_sound_slot_that_is_busy_is_transient_and_a_broken_one_is_not() {
    let busy = SlotInfo { active: true, active_pid: Some(42), ..slot() };
    assert!(matches!(verdict(Some(100), Some(&busy)), Err(SlotError::Active { .. })));
    let ahead = verdict(Some(99), Some(&busy));
    assert!(matches!(ahead, Err(SlotError::Ahead { .. })), "waiting would not help");
}

#[test]
fn another_system_is_named_before_its_slot_is_looked_at() {
    let other = PresentSource { system_identifier: "8", ..present() };
    let error = judge("sync_agent", Some(&at(Some(100))), None, &other);
    assert!(matches!(error, Err(SlotError::OtherSystem { .. })));
    let error = judge("sync_agent", Some(&at(None)), None, &other);
    assert!(matches!(error, Err(SlotError::OtherSystem { .. })));
}

#[test]
fn a_promotion_goes_on_only_from_before_the_fork() {
    let history = [
        TimelineSwitch { timeline: 1, switch_lsn: lsn(200) },
        TimelineSwitch { timeline: 2, switch_lsn: lsn(400) },
    ];
    let promoted = PresentSource { timeline: 3, history: &history, ..present() };
    let on = |timeline: u32, applied: u64| {
        let remembered = RememberedSource { timeline, ..at(Some(applied)) };
        judge("sync_agent", Some(&remembered), Some(&slot()), &promoted)
    };
    let resumes = |from: u32, applied: u64| Ok(resume(applied, Some(from)));
    assert_eq!(on(1, 200), resumes(1, 200));
    assert!(matches!(on(1, 201), Err(SlotError::OtherTimeline { .. })));
    assert_eq!(on(2, 400), resumes(2, 400));
    assert!(matches!(on(4, 150), Err(SlotError::OtherTimeline { .. })), "never heard of");
}
