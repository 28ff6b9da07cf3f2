//! What can happen to a store's files between two runs, and what comes back.
#![allow(clippy::unwrap_used)]

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::pg::lsn::Lsn;

/// A round takes about 10 ms.
const NOISE_ROUNDS: usize = 40;

fn record(lsn: u64) -> Record {
    Record {
        pipeline: "shop".to_owned(),
        source_system_identifier: 7_301_234_567_890_123_456,
        timeline: 1,
        slot: "sync_agent_shop".to_owned(),
        applied_lsn: Lsn::new(lsn),
        epoch: 3,
        sequence: 0,
    }
}

fn new_dir() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("shop");
    (parent, dir)
}

/// Leaves a store behind that holds positions 1 to `last`.
async fn filled(dir: &Path, last: u64) {
    let store = Store::open(dir).unwrap();
    for lsn in 1..=last {
        store.mirror(record(lsn)).await.unwrap();
    }
    store.close().await;
}

/// Leaves positions up to 6 behind, in data and snapshot files: sled makes a snapshot when it opens
/// what was there.
async fn filled_and_snapshotted(dir: &Path) {
    filled(dir, 3).await;
    filled(dir, 6).await;
    assert_eq!(files_named(dir, "snap.").len(), 1, "one snapshot is what these tests are about");
}

fn lsn_of(store: &Store) -> Option<u64> {
    store.load().map(|record| record.applied_lsn.as_u64())
}

fn set_aside_count(parent: &TempDir) -> usize {
    let names = fs::read_dir(parent.path()).unwrap().map(|e| e.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("shop.corrupt-")).count()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn files_named(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with(prefix)).collect()
}

#[tokio::test]
async fn the_newest_record_is_there_after_a_restart() {
    let (_parent, dir) = new_dir();
    let store = Store::open(&dir).unwrap();
    assert_eq!((store.load(), store.was_lost()), (None, false));
    assert_eq!(store.origin(), &Origin::Created);
    let identity = store.identity().to_owned();
    for lsn in 1..=5 {
        store.mirror(record(lsn)).await.unwrap();
        assert_eq!(lsn_of(&store), Some(lsn));
    }
    store.close().await;

    let store = Store::open(&dir).unwrap();
    assert_eq!(store.load(), Some(Record { sequence: 5, ..record(5) }));
    assert_eq!((store.identity(), store.origin()), (identity.as_str(), &Origin::Existing));
}

#[tokio::test]
async fn a_position_that_went_back_is_kept_as_handed_in() {
    let (_parent, dir) = new_dir();
    filled(&dir, 9).await;
    let store = Store::open(&dir).unwrap();
    store.mirror(record(2)).await.unwrap();
    store.close().await;
    assert_eq!(lsn_of(&Store::open(&dir).unwrap()), Some(2));
}

#[tokio::test]
async fn records_that_wait_are_replaced_by_the_latest_and_all_callers_hear() {
    let (_parent, dir) = new_dir();
    let store = Store::open(&dir).unwrap();
    let waiting: Vec<_> = (1..=1000).map(|lsn| store.mirror(record(lsn))).collect();
    for waiter in waiting {
        waiter.await.unwrap();
    }
    let newest = store.load().unwrap();
    assert_eq!(newest.applied_lsn, Lsn::new(1000));
    assert!(newest.sequence < 1000, "1000 records took {} writes", newest.sequence);
}

#[tokio::test]
async fn closing_writes_what_is_pending() {
    let (_parent, dir) = new_dir();
    let store = Store::open(&dir).unwrap();
    drop(store.mirror(record(7)));
    store.close().await;
    assert_eq!(lsn_of(&Store::open(&dir).unwrap()), Some(7));
}

#[tokio::test]
async fn a_second_agent_is_told_whose_directory_it_is() {
    let (_parent, dir) = new_dir();
    let store = Store::open(&dir).unwrap();
    // What sled writes for a moment while it works; taking it away would break the first agent.
    let unfinished = dir.join("snap.0000000000000001.generating");
    fs::write(&unfinished, b"half").unwrap();
    let error = Store::open(&dir).map(|_| ()).unwrap_err();
    assert!(unfinished.exists(), "a running agent's file was removed");
    let text = error.to_string();
    assert!(text.contains(dir.to_str().unwrap()), "{text}");
    assert!(text.contains("in use by another sync-agent"), "{text}");
    store.mirror(record(1)).await.unwrap();
}

#[tokio::test]
async fn a_store_opens_at_once_after_a_drop_without_close() {
    let (_parent, dir) = new_dir();
    for lsn in 1..=10 {
        let store = Store::open(&dir).unwrap();
        store.mirror(record(lsn)).await.unwrap();
        drop(store);
        assert_eq!(lsn_of(&Store::open(&dir).unwrap()), Some(lsn));
    }
}

/// What a kill leaves behind is what the files hold at some moment: copies of a live store's files
/// stand for it.
#[tokio::test]
async fn a_copy_taken_while_running_holds_every_acknowledged_record() {
    let (parent, dir) = new_dir();
    let store = Store::open(&dir).unwrap();
    for lsn in 1..=30 {
        store.mirror(record(lsn)).await.unwrap();
        let copy = parent.path().join(format!("copy-{lsn}"));
        copy_dir(&dir, &copy);
        let killed = Store::open(&copy).unwrap();
        assert_eq!((lsn_of(&killed), killed.origin()), (Some(lsn), &Origin::Existing));
    }
}

#[tokio::test]
async fn an_emptied_directory_is_a_lost_store() {
    let (_parent, dir) = new_dir();
    filled(&dir, 3).await;
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    let store = Store::open(&dir).unwrap();
    assert_eq!((lsn_of(&store), store.was_lost()), (None, true));
    assert_eq!(store.origin(), &Origin::Empty);
}

/// sled can then show an empty store without a word; that must not pass for a new one.
#[tokio::test]
async fn deleted_snapshot_files_give_the_newest_record_or_a_lost_store() {
    let (_parent, dir) = new_dir();
    for _ in 0..2 {
        let store = Store::open(&dir).unwrap();
        for lsn in 1..=700 {
            // Long texts fill segments sooner, so that they are used again.
            let slot = "s".repeat(1000);
            store.mirror(Record { slot, ..record(lsn) }).await.unwrap();
        }
        store.close().await;
    }
    let snapshots = files_named(&dir, "snap.");
    assert!(!snapshots.is_empty());
    snapshots.iter().for_each(|path| fs::remove_file(path).unwrap());

    let store = Store::open(&dir).unwrap();
    let found = lsn_of(&store);
    assert!(found == Some(700) || (found.is_none() && store.was_lost()), "{found:?}");
}

/// Bytes of a fixed sequence stand for noise, so that a failure can be repeated.
#[tokio::test]
async fn noise_in_any_file_gives_a_record_once_handed_in_or_none() {
    let (parent, dir) = new_dir();
    filled_and_snapshotted(&dir).await;
    let pristine = parent.path().join("pristine");
    copy_dir(&dir, &pristine);
    let mut seed = 42_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for round in 0..NOISE_ROUNDS {
        fs::remove_dir_all(&dir).unwrap();
        copy_dir(&pristine, &dir);
        let prefix = ["db", "db", "snap.", "conf"][random(4)];
        let path = &files_named(&dir, prefix)[0];
        let mut bytes = fs::read(path).unwrap();
        // The first kilobytes of the data are where the records are.
        let end = bytes.len().min(4096);
        for _ in 0..=random(8) {
            bytes[random(end)] = u8::try_from(random(256)).unwrap();
        }
        fs::write(path, bytes).unwrap();

        let store = Store::open(&dir).unwrap();
        let found = lsn_of(&store);
        assert!(found.is_none_or(|lsn| lsn <= 6), "round {round}, {prefix}: {found:?}");
        store.mirror(record(7)).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn a_store_without_its_identity_is_a_lost_store() {
    let (parent, dir) = new_dir();
    filled(&dir, 3).await;
    let db = sled::open(&dir).unwrap();
    assert!(db.remove("identity").unwrap().is_some());
    drop(db);
    let store = Store::open(&dir).unwrap();
    assert!(store.was_lost() && store.load().is_none(), "{:?}", store.origin());
    assert_eq!(set_aside_count(&parent), 1);
}

#[tokio::test]
async fn a_damaged_record_gives_way_to_the_one_before() {
    let (_parent, dir) = new_dir();
    filled(&dir, 4).await;
    let db = sled::open(&dir).unwrap();
    let mut bytes = db.get("checkpoint/b").unwrap().unwrap().to_vec();
    bytes[20] ^= 1;
    db.insert("checkpoint/b", bytes).unwrap();
    drop(db);
    assert_eq!(lsn_of(&Store::open(&dir).unwrap()), Some(3));
}

#[tokio::test]
async fn a_cut_off_snapshot_beside_a_good_store_does_no_harm() {
    let (_parent, dir) = new_dir();
    filled(&dir, 3).await;
    fs::write(dir.join("snap.FFFFFFFFFFFFFFFF.generating"), b"cut off").unwrap();
    let store = Store::open(&dir).unwrap();
    assert_eq!((lsn_of(&store), store.was_lost()), (Some(3), false));
}

#[tokio::test]
async fn a_store_put_back_from_a_copy_gives_its_old_record() {
    let (parent, dir) = new_dir();
    filled(&dir, 3).await;
    let copy = parent.path().join("copy");
    copy_dir(&dir, &copy);
    filled(&dir, 8).await;
    fs::remove_dir_all(&dir).unwrap();
    copy_dir(&copy, &dir);
    let store = Store::open(&dir).unwrap();
    assert_eq!((lsn_of(&store), store.was_lost()), (Some(3), false));
    store.mirror(record(9)).await.unwrap();
    store.close().await;
    assert_eq!(lsn_of(&Store::open(&dir).unwrap()), Some(9));
}

/// Whatever was cut, the store opens, and what it gives was once handed in.
#[tokio::test]
async fn truncated_files_give_an_earlier_record_or_none() {
    let (parent, dir) = new_dir();
    filled_and_snapshotted(&dir).await;
    let pristine = parent.path().join("pristine");
    copy_dir(&dir, &pristine);
    for prefix in ["db", "snap.", "conf"] {
        let full = fs::metadata(&files_named(&pristine, prefix)[0]).unwrap().len();
        for kept in [0, 1, full / 4, full / 2, full - 1] {
            fs::remove_dir_all(&dir).unwrap();
            copy_dir(&pristine, &dir);
            let damaged = &files_named(&dir, prefix)[0];
            fs::File::options().write(true).open(damaged).unwrap().set_len(kept).unwrap();

            let store = Store::open(&dir).unwrap();
            let found = lsn_of(&store);
            assert!(found.is_none_or(|lsn| (1..=6).contains(&lsn)), "{prefix} {kept}: {found:?}");
            store.mirror(record(7)).await.unwrap();
            store.close().await;
            assert_eq!(lsn_of(&Store::open(&dir).unwrap()), Some(7), "{prefix} cut to {kept}");
        }
    }
    assert!((1..=3).contains(&set_aside_count(&parent)), "{} kept aside", set_aside_count(&parent));
}

#[tokio::test]
async fn a_directory_deleted_while_running_is_noticed_and_made_anew() {
    let (_parent, dir) = new_dir();
    let store = Store::open(&dir).unwrap();
    store.mirror(record(1)).await.unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(store.mirror(record(2)).await.is_err(), "a deleted file was called durable");
    store.mirror(record(3)).await.unwrap();
    store.close().await;
    assert_eq!(lsn_of(&Store::open(&dir).unwrap()), Some(3));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let (parent, _dir) = new_dir();
    let file = parent.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Store::open(&file.join("shop")).map(|_| ()).unwrap_err();
    assert!(matches!(&error, StoreError::Io { path, .. } if path.starts_with(&file)), "{error}");
    assert!(error.hint().is_some());
}
