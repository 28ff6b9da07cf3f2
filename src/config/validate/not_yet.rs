//! What the contract names and this build does not do: refused by key and place, never ignored.
//! Building one of these ends with the removal of its line here.

use crate::config::document::Path;
use crate::config::file::{ConfigFile, DestinationFile, OnErrorFile, Size, TableFile};
use crate::config::units;
use crate::config::validate::Check;
use crate::config::validate::columns::{STEP_KINDS, steps};

impl Check<'_> {
    pub(super) fn refuse_what_is_not_built(&mut self, file: &ConfigFile) {
        file.destination.iter().for_each(|destination| self.refuse_in_destination(destination));
        let max_rate = file.snapshot.as_ref().and_then(|snapshot| snapshot.max_rate.as_ref());
        if let Some(size) = max_rate {
            self.refuse_max_rate(size);
        }
        if file.apply.as_ref().is_some_and(|apply| apply.lanes.is_some_and(|lanes| lanes != 1)) {
            self.not_yet(&Path::of(&["apply", "lanes"]), "more than one lane is not built");
        }
        for (index, table) in file.table.iter().flatten().enumerate() {
            self.refuse_in_table(table, &Path::of(&["table"]).index(index));
        }
    }

    fn not_yet(&mut self, path: &Path, what: &str) {
        self.problems.value(path, format!("not yet: {what}"));
    }

    fn refuse_in_destination(&mut self, file: &DestinationFile) {
        let path = Path::of(&["destination"]);
        self.refuse_dead_letter(&path, file.on_error);
    }

    fn refuse_dead_letter(&mut self, path: &Path, written: Option<OnErrorFile>) {
        if written == Some(OnErrorFile::DeadLetter) {
            self.not_yet(&path.key("on_error"), "\"dead-letter\" is not built");
        }
    }

    fn refuse_max_rate(&mut self, size: &Size) {
        let path = Path::of(&["snapshot", "max_rate"]);
        let bytes = match size {
            Size::Bytes(bytes) => Ok(*bytes),
            Size::Text(text) => units::size(text),
        };
        match bytes {
            Ok(0) => {}
            Ok(_) => self.not_yet(&path, "a limit on the copy's rate is not built"),
            Err(err) => self.problems.value(&path, err.to_string()).hint(err.hint()),
        }
    }

    fn refuse_in_table(&mut self, table: &TableFile, path: &Path) {
        self.refuse_dead_letter(path, table.on_error);
        let columns_path = path.key("columns");
        for (name, column) in table.columns.iter().flatten() {
            for (step_path, step) in steps(column, &columns_path.key(name)) {
                let missing =
                    STEP_KINDS.iter().filter(|(_, is_built, is_there)| !is_built && is_there(step));
                for (kind, ..) in missing {
                    let message = format!("the step \"{kind}\" is not built");
                    self.not_yet(&step_path.key(kind), &message);
                }
            }
        }
    }
}
