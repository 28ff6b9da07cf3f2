//! `[table.columns]`: each column's steps, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::document::Path;
use crate::config::file::{ColumnFile, HashFile, Scalar, StepFile};
use crate::config::settings::{ColumnSettings, Step};
use crate::config::validate::Check;
use crate::pg::ident::SYSTEM_COLUMNS;

/// A kind of step: its key, whether it is built, whether a table of the file asks for it.
pub(super) type StepKind = (&'static str, bool, fn(&StepFile) -> bool);

/// The kinds of step. `rename` is not one: it accompanies.
pub(super) const STEP_KINDS: [StepKind; 11] = [
    ("drop", true, |step| step.drop.is_some()),
    ("value", true, |step| step.value.is_some()),
    ("null", true, |step| step.null.is_some()),
    ("hash", true, |step| step.hash.is_some()),
    ("mask", true, |step| step.mask.is_some()),
    ("replace", true, |step| step.replace.is_some()),
    ("lower", true, |step| step.lower.is_some()),
    ("trim", true, |step| step.trim.is_some()),
    ("json_drop", true, |step| step.json_drop.is_some()),
    ("fake", true, |step| step.fake.is_some()),
    ("sql", true, |step| step.sql.is_some()),
];

/// The steps of a column with their places.
pub(super) fn steps<'f>(column: &'f ColumnFile, path: &Path) -> Vec<(Path, &'f StepFile)> {
    match column {
        ColumnFile::One(step) => vec![(path.clone(), step)],
        ColumnFile::Many(steps) => {
            steps.iter().enumerate().map(|(index, step)| (path.index(index), step)).collect()
        }
    }
}

pub(super) const SYSTEM_HINT: &str = "PostgreSQL keeps the name for itself: choose another.";

/// `{ }`
fn is_empty(step: &StepFile) -> bool {
    let has_step = STEP_KINDS.iter().any(|(_, _, is_there)| is_there(step));
    !has_step && step.rename.is_none() && step.key.is_none()
}

impl Check<'_> {
    pub(super) fn columns(
        &mut self,
        columns: Option<&BTreeMap<String, ColumnFile>>,
        path: &Path,
    ) -> Vec<ColumnSettings> {
        let mut names = BTreeSet::new();
        let mut settings = Vec::new();
        for (name, column) in columns.into_iter().flatten() {
            let column = self.column(name, column, &path.key(name));
            let is_stored = !column.steps.iter().any(|step| matches!(step, Step::Drop));
            let stored_name = column.rename.as_ref().unwrap_or(&column.name);
            if is_stored && !names.insert(stored_name.clone()) {
                let message = format!("another column is stored as \"{stored_name}\" already");
                self.problems.value(&path.key(name), message);
            }
            if is_stored && SYSTEM_COLUMNS.contains(&stored_name.as_str()) {
                let message = format!("no table's column can be called \"{stored_name}\"");
                self.problems.value(&path.key(name), message).hint(SYSTEM_HINT);
            }
            settings.push(column);
        }
        settings
    }

    fn column(&mut self, name: &str, column: &ColumnFile, path: &Path) -> ColumnSettings {
        let mut settings =
            ColumnSettings { name: name.to_owned(), rename: None, steps: Vec::new() };
        if let ColumnFile::One(step) = column
            && is_empty(step)
            && !self.problems.within(path)
        {
            // It is named, and passes as it is.
            return settings;
        }
        let steps = steps(column, path);
        if steps.is_empty() {
            self.problems.value(path, "the list has no step");
        }
        for (path, step) in &steps {
            if let Some(rename) = &step.rename {
                if rename.is_empty() {
                    self.problems.value(&path.key("rename"), "a column needs a name");
                }
                if settings.rename.replace(rename.clone()).is_some() {
                    self.problems.value(&path.key("rename"), "the column is renamed twice");
                }
            }
            settings.steps.extend(self.step(step, path));
        }
        let drops = settings.steps.iter().any(|step| matches!(step, Step::Drop));
        if drops && (settings.steps.len() > 1 || settings.rename.is_some()) {
            self.problems.value(path, "drop stands alone: a dropped column has no other step");
        }
        settings
    }

    /// The step of one inline table; `None` for a lone `rename`, and where it is refused.
    fn step(&mut self, step: &StepFile, path: &Path) -> Option<Step> {
        let kinds: Vec<&str> = STEP_KINDS
            .iter()
            .filter(|(_, _, is_there)| is_there(step))
            .map(|(kind, ..)| *kind)
            .collect();
        if kinds.len() > 1 {
            let message = format!("has several steps in one table: {}", kinds.join(", "));
            self.problems.value(path, message).hint("Write a list: [{ … }, { … }].");
            return None;
        }
        // Whose key it is may be what could not be read.
        let takes_key = step.hash == Some(HashFile::HmacSha256) || step.fake.is_some();
        if step.key.is_some() && !takes_key && !self.problems.within(path) {
            let message = match step.hash {
                Some(_) => "hash \"sha256\" takes no key",
                None => "belongs to no hash or fake",
            };
            let problem = self.problems.key(&path.key("key"), message);
            problem.hint("Write hash = \"hmac-sha256\" beside it.");
        }
        if kinds.is_empty() && step.rename.is_none() {
            // A step that could not be read has its problem already.
            if step.key.is_none() && !self.problems.within(path) {
                let problem = self.problems.value(path, "the table has no step");
                problem.hint("A column that passes as it is has { } alone, and no list.");
            }
            return None;
        }
        let flags =
            [("drop", step.drop), ("null", step.null), ("lower", step.lower), ("trim", step.trim)];
        for (kind, flag) in flags {
            if flag == Some(false) {
                let problem = self.problems.value(&path.key(kind), "takes true only");
                problem.hint("Leave it out to keep the value.");
            }
        }
        if step.drop.is_some() {
            return Some(Step::Drop);
        }
        if step.null.is_some() {
            return Some(Step::Null);
        }
        if step.sql.is_some() {
            return self.expression(step.sql.as_deref(), &path.key("sql")).map(Step::Sql);
        }
        if let Some(value) = &step.value {
            return Some(Step::Value(text(value)));
        }
        if step.lower.is_some() {
            return Some(Step::Lower);
        }
        if step.trim.is_some() {
            return Some(Step::Trim);
        }
        self.made(step, path)
    }
}

/// A constant as text that the destination's type parses.
fn text(value: &Scalar) -> String {
    match value {
        Scalar::Text(text) => text.clone(),
        Scalar::Boolean(value) => value.to_string(),
        Scalar::Integer(value) => value.to_string(),
        // PostgreSQL spells these two its own way.
        Scalar::Float(value) if value.is_nan() => "NaN".to_owned(),
        Scalar::Float(value) if value.is_infinite() => {
            if *value > 0.0 {
                "Infinity".to_owned()
            } else {
                "-Infinity".to_owned()
            }
        }
        Scalar::Float(value) => value.to_string(),
    }
}
