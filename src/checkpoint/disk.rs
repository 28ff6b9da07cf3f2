//! One sled store on a disk: opened so that nothing found there can hurt, written so that it is
//! really there. Blocking; [`super::store`] calls it from a thread of its own.
//!
//! What opening does about what it finds:
//!
//! | found | done |
//! | --- | --- |
//! | nothing, or an empty directory | a new store |
//! | `snap.*.generating` (a snapshot cut off by a kill or a full disk) | removed: sled would take it for the newest snapshot and give up |
//! | damage (sled says so, or panics) | moved aside to `<dir>.corrupt-<time>`, a new store |
//! | data, but not the identity (snapshots deleted: sled then shows an empty store without a word) | the same |
//! | another process | an error, after 2 s |
//!
//! **Invariants:** our own lock is taken before anything is touched, so that a running agent's
//! files are never removed under it. The identity is the first key ever written. No panic of sled
//! gets out of here.
//!
//! sled's `flush` only starts the write-out on Linux (`sync_file_range`); the `sync_data` after it
//! is what makes a record durable.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs2::FileExt as _;
use sha2::{Digest as _, Sha256};

use crate::checkpoint::record::Record;
use crate::checkpoint::store_error::StoreError;

/// Disk a store must have to itself when it opens, free or already its own: sled breaks when the
/// disk fills, and a store of this size stays below 3 MB.
const ROOM_BYTES_MIN: u64 = 64 << 20;
/// sled's cache; its own default is 1 GiB. A store holds three keys.
const CACHE_BYTES: u64 = 8 << 20;
/// How often sled's own thread flushes. Records do not wait for it.
const FLUSH_EVERY_MS: u64 = 500;
/// How long a lock is waited for: a predecessor that was just stopped needs a moment to let go.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Damaged stores kept beside a directory; older ones are deleted.
const KEPT_ASIDE_MAX: usize = 3;

/// Our lock's file, inside the directory.
pub(super) const LOCK_FILE: &str = "lock";
/// sled's data file.
const DATA_FILE: &str = "db";
const IDENTITY_KEY: &str = "identity";
/// A record goes to the key that its sequence's lowest bit names, so the newest and the one before
/// it are both there and a torn write hits the older one.
const RECORD_KEYS: [&str; 2] = ["checkpoint/a", "checkpoint/b"];

/// Where an open store came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Existing,
    /// There was no directory.
    Created,
    /// There was an empty directory: emptied, or made ready by an administrator.
    Empty,
    /// What was there could not be used and made room for a new store.
    Replaced { reason: String },
}

pub(super) struct Disk {
    dir: PathBuf,
    identity: String,
    newest: Option<Record>,
    db: sled::Db,
    // Last: released after sled has let go of its files.
    _lock: File,
}

impl Disk {
    pub(super) fn open(dir: &Path) -> Result<(Disk, Origin), StoreError> {
        let existed = dir.exists();
        fs::create_dir_all(dir).map_err(io_error("create directory", dir))?;
        let lock = lock(dir)?;
        check_room(dir)?;
        remove_unfinished_snapshots(dir)?;

        let reason = if holds_data(dir) {
            match open_found(dir)? {
                Found::Usable(db, identity) => {
                    let newest = newest_record(&db, dir)?;
                    let disk = Disk { dir: dir.to_owned(), identity, newest, db, _lock: lock };
                    return Ok((disk, Origin::Existing));
                }
                Found::Unusable(reason) => Some(reason),
            }
        } else {
            None
        };

        let Some(reason) = reason else {
            let origin = if existed { Origin::Empty } else { Origin::Created };
            return Ok((Disk::create(dir, lock)?, origin));
        };
        let moved = set_aside(dir)?;
        tracing::warn!(
            dir = %dir.display(),
            moved_to = moved.as_deref().map(|path| tracing::field::display(path.display())),
            reason,
            "the local store could not be used; a new one takes its place and is filled from the \
             destination's checkpoint",
        );
        fs::create_dir_all(dir).map_err(io_error("create directory", dir))?;
        // Where the directory itself was moved our lock went with it, and a new one is due; the
        // old one is held until then.
        let lock = if moved.is_some() { self::lock(dir)? } else { lock };
        Ok((Disk::create(dir, lock)?, Origin::Replaced { reason }))
    }

    fn create(dir: &Path, lock: File) -> Result<Disk, StoreError> {
        let db = open_sled(dir)?;
        let identity = new_identity();
        let disk = Disk { dir: dir.to_owned(), identity, newest: None, db, _lock: lock };
        disk.put(IDENTITY_KEY, disk.identity.as_bytes())?;
        // The files' names must survive a power cut as their contents do.
        for name in [Some(dir), dir.parent()].into_iter().flatten() {
            if let Ok(directory) = File::open(name) {
                directory.sync_all().map_err(io_error("sync directory", name))?;
            }
        }
        Ok(disk)
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    pub(super) fn newest(&self) -> Option<&Record> {
        self.newest.as_ref()
    }

    /// Makes `record` the newest one; it is durable when this returns.
    pub(super) fn write(&mut self, mut record: Record) -> Result<(), StoreError> {
        let sequence = self.newest.as_ref().map_or(0, |newest| newest.sequence) + 1;
        record.sequence = sequence;
        let key = RECORD_KEYS[usize::from(sequence.is_multiple_of(2))];
        self.put(key, &record.encode()?)?;
        self.newest = Some(record);
        Ok(())
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        guarded("write", &self.dir, || {
            let mut batch = sled::Batch::default();
            batch.insert(key, value);
            self.db.apply_batch(batch)?;
            self.db.flush().map(drop)
        })?;
        // By name and not by a kept handle: where the directory was deleted under us, this fails
        // instead of making an unreachable file durable.
        let path = self.dir.join(DATA_FILE);
        File::open(&path).and_then(|file| file.sync_data()).map_err(io_error("sync file", &path))
    }

    /// Lets go of sled, whose drop can panic too.
    pub(super) fn close(self) {
        let Disk { dir, db, _lock, .. } = self;
        drop_sled(db, &dir);
    }
}

// === finding out what is there ===

enum Found {
    Usable(sled::Db, String),
    Unusable(String),
}

fn open_found(dir: &Path) -> Result<Found, StoreError> {
    let unusable = |error: StoreError| match damage(&error) {
        Some(reason) => Ok(Found::Unusable(reason)),
        None => Err(error),
    };
    let db = match open_sled(dir) {
        Ok(db) => db,
        Err(error) => return unusable(error),
    };
    let identity = match guarded("read", dir, || db.get(IDENTITY_KEY)) {
        Ok(identity) => identity,
        Err(error) => {
            drop_sled(db, dir);
            return unusable(error);
        }
    };
    let reason = match identity.map(|bytes| String::from_utf8(bytes.to_vec())) {
        Some(Ok(identity)) => return Ok(Found::Usable(db, identity)),
        Some(Err(_)) => "its identity is damaged",
        None => "it has lost its identity, and so its contents",
    };
    drop_sled(db, dir);
    Ok(Found::Unusable(reason.to_owned()))
}

/// The valid record with the highest sequence. Damaged ones are left aside: the destination knows.
fn newest_record(db: &sled::Db, dir: &Path) -> Result<Option<Record>, StoreError> {
    let mut newest: Option<Record> = None;
    for key in RECORD_KEYS {
        let Some(bytes) = guarded("read", dir, || db.get(key))? else { continue };
        match Record::decode(&bytes) {
            Ok(record) if newest.as_ref().is_none_or(|n| n.sequence < record.sequence) => {
                newest = Some(record);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(
                dir = %dir.display(), key, %error,
                "a checkpoint record in the local store was left aside",
            ),
        }
    }
    Ok(newest)
}

/// Why the store is beyond use; `None` where the fault is around it (disk full, no permission), so
/// that another attempt may succeed.
fn damage(error: &StoreError) -> Option<String> {
    use io::ErrorKind::{
        InvalidInput, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    match error {
        StoreError::Panicked { message, .. } => Some(format!("sled panicked: {message}")),
        StoreError::Sled { source: sled::Error::Io(source), .. } => {
            // sled reports damage as I/O errors of its own making too; those of the system carry
            // a number, unless sled has cloned them.
            let from_around = match source.kind() {
                PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull => true,
                InvalidInput | NotFound => false,
                _ => source.raw_os_error().is_some(),
            };
            (!from_around).then(|| source.to_string())
        }
        StoreError::Sled { source, .. } => Some(source.to_string()),
        _ => None,
    }
}

fn holds_data(dir: &Path) -> bool {
    entries(dir).iter().any(|name| name != LOCK_FILE)
}

/// Names in `dir`; none where it cannot be read, which opening then reports.
pub(super) fn entries(dir: &Path) -> Vec<String> {
    let listed = fs::read_dir(dir).into_iter().flatten().flatten();
    listed.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StoreError> {
    for name in entries(dir) {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            let path = dir.join(name);
            fs::remove_file(&path).map_err(io_error("remove file", &path))?;
        }
    }
    Ok(())
}

fn check_room(dir: &Path) -> Result<(), StoreError> {
    let free_bytes = fs2::available_space(dir).map_err(io_error("measure the disk of", dir))?;
    let own = |name: &String| fs::metadata(dir.join(name)).map_or(0, |data| data.len());
    let room_bytes = free_bytes.saturating_add(entries(dir).iter().map(own).sum());
    if room_bytes < ROOM_BYTES_MIN {
        let dir = dir.to_owned();
        return Err(StoreError::NoSpace { dir, room_bytes, needed_bytes: ROOM_BYTES_MIN });
    }
    Ok(())
}

// === locks ===

pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error("open file", &path))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock_exclusive() {
            Ok(()) => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(io_error("lock file", &path)(error));
            }
            Err(_) if Instant::now() >= deadline => {
                return Err(StoreError::InUse { dir: dir.to_owned() });
            }
            // Parked rather than asleep: nobody unparks this thread, and a spurious wake-up only
            // asks once more.
            Err(_) => std::thread::park_timeout(LOCK_POLL),
        }
    }
}

fn open_sled(dir: &Path) -> Result<sled::Db, StoreError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        let opened = guarded("open", dir, || {
            sled::Config::new()
                .path(dir)
                .cache_capacity(CACHE_BYTES)
                .mode(sled::Mode::LowSpace)
                .flush_every_ms(Some(FLUSH_EVERY_MS))
                .open()
        });
        match opened {
            // With our lock held this is a predecessor in this process whose threads still end.
            Err(StoreError::Sled { source: sled::Error::Io(source), .. })
                if source.to_string().contains("could not acquire lock") =>
            {
                if Instant::now() >= deadline {
                    return Err(StoreError::InUse { dir: dir.to_owned() });
                }
                std::thread::park_timeout(LOCK_POLL);
            }
            done => return done,
        }
    }
}

// === setting a damaged store aside ===

/// Moves the directory to `<dir>.corrupt-<time>` and says where; where it cannot be moved (a mount
/// point, a parent that is not ours) empties it, keeping the lock. It was a mirror.
fn set_aside(dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    let prefix = aside_prefix(dir);
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ");
    let aside = dir.with_file_name(format!("{prefix}{time}"));
    if fs::rename(dir, &aside).is_ok() {
        forget_oldest_aside(dir);
        return Ok(Some(aside));
    }
    for name in entries(dir).into_iter().filter(|name| name != LOCK_FILE) {
        let path = dir.join(name);
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(io_error("remove", &path))?;
    }
    Ok(None)
}

fn aside_prefix(dir: &Path) -> String {
    let name = dir.file_name().map_or_else(Default::default, |name| name.to_string_lossy());
    format!("{name}.corrupt-")
}

/// Damaged stores of this directory that were set aside, oldest first.
pub(super) fn set_aside_before(dir: &Path) -> Vec<PathBuf> {
    let Some(parent) = dir.parent() else { return Vec::new() };
    let prefix = aside_prefix(dir);
    let mut kept: Vec<String> =
        entries(parent).into_iter().filter(|name| name.starts_with(&prefix)).collect();
    kept.sort_unstable();
    kept.into_iter().map(|name| parent.join(name)).collect()
}

fn forget_oldest_aside(dir: &Path) {
    for path in set_aside_before(dir).iter().rev().skip(KEPT_ASIDE_MAX) {
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::warn!(path = %path.display(), %error, "an old damaged store could not be removed");
        }
    }
}

// === small tools ===

fn drop_sled(db: sled::Db, dir: &Path) {
    let dropped = guarded("close", dir, move || {
        drop(db);
        Ok(())
    });
    if let Err(error) = dropped {
        tracing::warn!(dir = %dir.display(), %error, "the local store was not closed cleanly");
    }
}

/// Runs a call of sled, which can panic where its files are not what it expects.
fn guarded<T>(
    doing: &'static str,
    dir: &Path,
    call: impl FnOnce() -> Result<T, sled::Error>,
) -> Result<T, StoreError> {
    // Unwind safety: after an error the Db is dropped and never asked again.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(StoreError::Sled { doing, dir: dir.to_owned(), source }),
        Err(payload) => {
            let message = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("no message")
                .to_owned();
            Err(StoreError::Panicked { doing, dir: dir.to_owned(), message })
        }
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { doing, path, source: Arc::new(source) }
}

/// Tells stores apart; nothing secret hangs on it, so time, process and the standard library's
/// per-process random seed are enough.
fn new_identity() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let time = jiff::Timestamp::now().as_nanosecond();
    let seed = RandomState::new().hash_one(time);
    let digest = Sha256::digest(format!("{time} {} {seed}", std::process::id()));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
