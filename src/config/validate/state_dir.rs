//! Where local state is kept when the file does not say.

use std::path::{Path as FilePath, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::document::Path;
use crate::config::load::Purpose;
use crate::config::validate::Check;

/// The system's place for state, used where it can be written.
const SYSTEM_DIR: &str = "/var/lib/sync-agent";

impl Check<'_> {
    /// The directory above the pipeline's own. Nothing is created.
    pub(super) fn state_dir(&mut self, written: Option<&str>) -> PathBuf {
        let path = Path::of(&["state", "dir"]);
        match written {
            Some("") => {
                self.problems.value(&path, "a directory needs a name");
                PathBuf::from(SYSTEM_DIR)
            }
            Some(dir) => PathBuf::from(dir),
            None => self.default_state_dir().unwrap_or_else(|| {
                // Only `run` opens it.
                if self.purpose == Purpose::Run {
                    let message = format!(
                        "is missing: {SYSTEM_DIR} is not writable, and there is no home directory"
                    );
                    self.problems.value(&path, message).hint("Set state.dir, or STATE_DIRECTORY.");
                }
                PathBuf::from(SYSTEM_DIR)
            }),
        }
    }

    fn default_state_dir(&self) -> Option<PathBuf> {
        let variable = |name| (self.environment)(name).filter(|value| !value.is_empty());
        if let Some(list) = variable("STATE_DIRECTORY") {
            // systemd separates several by colons.
            return list.split(':').next().map(PathBuf::from);
        }
        let system = FilePath::new(SYSTEM_DIR);
        if can_write(system) {
            return Some(system.to_owned());
        }
        // The specification has relative paths ignored.
        let state_home = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        state_home
            .or_else(|| variable("HOME").map(|home| FilePath::new(&home).join(".local/state")))
            .map(|dir| dir.join("sync-agent"))
    }
}

/// Whether the directory can be written, or made.
fn can_write(dir: &FilePath) -> bool {
    let existing = dir.ancestors().find(|ancestor| ancestor.exists());
    existing.is_some_and(|dir| access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
}
