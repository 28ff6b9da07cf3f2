//! Forgetting the local store: its directory is held, then removed.
//!
//! Only what a store makes is removed: sled's files, our lock, damaged stores that were set aside.
//! A directory that holds anything else is emptied of these and stays.
//!
//! **Invariant:** never while an agent uses it: the lock that a store takes is held from before the
//! first look until the last file is gone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::disk::{self, LOCK_FILE};
use crate::checkpoint::store_error::StoreError;

/// sled's own names in its directory; snapshots beside them are `snap.…`.
const SLED_NAMES: [&str; 3] = ["db", "conf", "blobs"];

/// A store's directory that nobody else uses meanwhile.
#[derive(Debug)]
pub struct HeldDirectory {
    dir: PathBuf,
    _lock: File,
}

impl HeldDirectory {
    /// Blocks for at most 2 s. `None`: there is no such directory. An agent that uses it is
    /// [`StoreError::InUse`].
    pub fn hold(dir: &Path) -> Result<Option<HeldDirectory>, StoreError> {
        if !dir.is_dir() {
            return Ok(None);
        }
        let lock = disk::lock(dir)?;
        Ok(Some(HeldDirectory { dir: dir.to_owned(), _lock: lock }))
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Removes it; `false` where it stays because it holds files that are not a store's.
    pub fn remove(self) -> Result<bool, StoreError> {
        for aside in disk::set_aside_before(&self.dir) {
            fs::remove_dir_all(&aside).map_err(failed(&aside))?;
        }
        let names = disk::entries(&self.dir);
        for name in names.iter().filter(|name| is_a_stores(name)) {
            let path = self.dir.join(name);
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(failed(&path))?;
        }
        // Last, so that nobody can open a store that is half gone.
        let lock = self.dir.join(LOCK_FILE);
        fs::remove_file(&lock).map_err(failed(&lock))?;
        match fs::remove_dir(&self.dir) {
            Ok(()) => Ok(true),
            // A mount point, or a parent that is not ours: empty is as good as gone.
            Err(_) => Ok(disk::entries(&self.dir).is_empty()),
        }
    }
}

fn is_a_stores(name: &str) -> bool {
    SLED_NAMES.contains(&name) || name.starts_with("snap.")
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { doing: "remove", path, source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Store;

    fn store_dir() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join("shop");
        (parent, dir)
    }

    #[tokio::test]
    async fn a_store_in_use_is_not_held_and_a_closed_one_goes_whole() {
        let (parent, dir) = store_dir();
        assert!(HeldDirectory::hold(&dir).expect("no directory").is_none());
        let store = Store::open(&dir).expect("it opens");
        let refused = HeldDirectory::hold(&dir);
        assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
        store.close().await;
        fs::create_dir(parent.path().join("shop.corrupt-20260101T000000.000Z")).expect("ours");
        let held = HeldDirectory::hold(&dir).expect("free").expect("there");
        assert!(matches!(Store::open(&dir), Err(StoreError::InUse { .. })), "it is held");
        assert!(held.remove().expect("ours"));
        assert_eq!(disk::entries(parent.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn files_of_others_stay() {
        let (_parent, dir) = store_dir();
        Store::open(&dir).expect("it opens").close().await;
        fs::write(dir.join("notes.txt"), "mine").expect("ours");
        let held = HeldDirectory::hold(&dir).expect("free").expect("there");
        assert!(!held.remove().expect("ours"), "the directory stays");
        assert_eq!(disk::entries(&dir), ["notes.txt"]);
    }
}
