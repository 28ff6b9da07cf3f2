//! Claims about [`load`](crate::config::load::load) as a whole.

mod broken;
mod loading;
mod queries;
mod shipped;

use std::path::PathBuf;

use crate::config::diagnostics::ConfigErrors;
use crate::config::load::{Inputs, Purpose, load};
use crate::config::settings::Settings;

pub(super) const URLS: &str = "[source]\nurl = \"postgresql://u@db1/shop\"\n\
     [destination]\nurl = \"postgresql://u@db2/shop\"\n";

/// A file in a directory of its own, and what stands around it.
pub(super) struct Case {
    directory: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Case {
    pub(super) fn new(text: &str) -> Case {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("sync-agent.toml"), text).expect("write");
        Case { directory, variables: vec![("STATE_DIRECTORY", "/state".to_owned())] }
    }

    pub(super) fn variable(mut self, name: &'static str, value: &str) -> Case {
        self.variables.push((name, value.to_owned()));
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn load(&self) -> Result<Settings, ConfigErrors> {
        self.load_with(|_| {})
    }

    pub(super) fn load_with(
        &self,
        change: impl FnOnce(&mut Inputs<'_>),
    ) -> Result<Settings, ConfigErrors> {
        let environment = |name: &str| {
            self.variables.iter().rev().find(|(key, _)| *key == name).map(|(_, v)| v.clone())
        };
        let mut inputs = Inputs::new(&environment, Purpose::Run);
        inputs.directory = self.directory.path().to_owned();
        change(&mut inputs);
        load(&inputs)
    }
}
