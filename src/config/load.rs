//! Flags, variables and the file to settings, or every reason why not.
//!
//! ```text
//! file ─┐
//! flags ┼► merge ► expand ${…} ► shape ► rules ► Settings
//! vars ─┘            └── each step adds its problems and goes on ──► ConfigErrors
//! ```
//!
//! **Invariant:** nothing is started, created or contacted here. Only files are read: the
//! configuration, and what `${file:…}` names.

use std::path::PathBuf;

use crate::config::diagnostics::ConfigErrors;
use crate::config::document::Path;
use crate::config::secret::Environment;
use crate::config::settings::Settings;
use crate::config::validate::Check;
use crate::config::{merge, schema};

/// What the configuration is for: some keys matter to one verb only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `run`: opens the local state and leaves `[[query]]` aside.
    Run,
    /// `snapshot`: copies `[[query]]` too.
    Snapshot,
    Other,
}

/// Everything that settings are made from.
pub struct Inputs<'a> {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--source`.
    pub source: Option<String>,
    /// `--destination`.
    pub destination: Option<String>,
    /// `--include`; replaces the file's list.
    pub include: Vec<String>,
    /// `--exclude`; replaces the file's list.
    pub exclude: Vec<String>,
    /// `--set key=value`, in order.
    pub set: Vec<String>,
    /// Where `./sync-agent.toml` is looked for.
    pub directory: PathBuf,
    pub environment: Environment<'a>,
    pub purpose: Purpose,
}

impl<'a> Inputs<'a> {
    pub fn new(environment: Environment<'a>, purpose: Purpose) -> Inputs<'a> {
        Inputs {
            config: None,
            source: None,
            destination: None,
            include: Vec::new(),
            exclude: Vec::new(),
            set: Vec::new(),
            directory: PathBuf::from("."),
            environment,
            purpose,
        }
    }
}

/// The settings, or every error at once.
pub fn load(inputs: &Inputs<'_>) -> Result<Settings, ConfigErrors> {
    let (document, mut problems) = merge::merge(inputs)?;
    let file = schema::check(&document, &mut problems);
    // A document that is broken at its root says nothing about its keys.
    if problems.cover(&Path::default()) {
        return Err(problems.placed(&document));
    }
    let mut check = Check {
        document: &document,
        problems,
        environment: inputs.environment,
        purpose: inputs.purpose,
    };
    let settings = check.settings(&file);
    let problems = check.problems;
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems.placed(&document)),
    }
}
