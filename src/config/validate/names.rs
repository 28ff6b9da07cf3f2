//! Names that become objects on the servers: pipeline, slot, publications, schemas.

use std::collections::BTreeMap;

use crate::config::document::Path;
use crate::config::file::OneOrMany;
use crate::config::validate::Check;

/// Leaves room for `sync_agent_` and for suffixes within the server's 63 bytes.
const PIPELINE_LENGTH_MAX: usize = 40;
/// The server's bound on a name (`NAMEDATALEN - 1`).
const NAME_LENGTH_MAX: usize = 63;
const PIPELINE: &str = "default";
const STATE_SCHEMA: &str = "sync_agent";

impl Check<'_> {
    pub(super) fn pipeline(&mut self, name: Option<&str>) -> String {
        let Some(name) = name else { return PIPELINE.to_owned() };
        let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > PIPELINE_LENGTH_MAX || !name.chars().all(is_good) {
            let message = format!(
                "\"{name}\" is not a pipeline name: letters, digits, _ and -, at most {PIPELINE_LENGTH_MAX}"
            );
            self.problems.value(&Path::of(&["pipeline"]), message);
            return PIPELINE.to_owned();
        }
        name.to_owned()
    }

    pub(super) fn slot(&mut self, name: Option<&str>, pipeline: &str) -> String {
        let Some(name) = name else { return default_name(pipeline) };
        let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(is_good) {
            let message = format!(
                "\"{name}\" is not a slot name: lower-case letters, digits and _, at most {NAME_LENGTH_MAX}"
            );
            self.problems.value(&Path::of(&["source", "slot"]), message);
        }
        name.to_owned()
    }

    pub(super) fn publications(
        &mut self,
        written: Option<&OneOrMany>,
        pipeline: &str,
    ) -> Vec<String> {
        let path = Path::of(&["source", "publication"]);
        match written {
            None => vec![default_name(pipeline)],
            Some(OneOrMany::One(name)) => {
                self.name(&path, "publication", name);
                vec![name.clone()]
            }
            Some(OneOrMany::Many(names)) => {
                if names.is_empty() {
                    self.problems.value(&path, "names no publication");
                }
                for (index, name) in names.iter().enumerate() {
                    self.name(&path.index(index), "publication", name);
                    if names[..index].contains(name) {
                        let message = format!("publication \"{name}\" is named twice");
                        self.problems.value(&path.index(index), message);
                    }
                }
                names.clone()
            }
        }
    }

    pub(super) fn state_schema(&mut self, name: Option<&str>) -> String {
        let Some(name) = name else { return STATE_SCHEMA.to_owned() };
        self.schema_name(&Path::of(&["destination", "state_schema"]), name);
        name.to_owned()
    }

    pub(super) fn schemas(
        &mut self,
        written: Option<&BTreeMap<String, String>>,
    ) -> BTreeMap<String, String> {
        let path = Path::of(&["destination", "schemas"]);
        for (source, destination) in written.into_iter().flatten() {
            self.schema_name(&path.key(source), destination);
        }
        written.cloned().unwrap_or_default()
    }

    fn schema_name(&mut self, path: &Path, name: &str) {
        self.name(path, "schema", name);
        if name.starts_with("pg_") || name == "information_schema" {
            self.problems.value(path, format!("schema \"{name}\" belongs to the server"));
        }
    }

    fn name(&mut self, path: &Path, kind: &str, name: &str) {
        if name.is_empty() {
            self.problems.value(path, format!("a {kind} needs a name"));
        } else if name.len() > NAME_LENGTH_MAX {
            let message = format!("{kind} name is longer than {NAME_LENGTH_MAX} bytes");
            self.problems.value(path, message);
        } else if name.contains('\0') {
            self.problems.value(path, format!("{kind} name contains a null character"));
        }
    }
}

/// The slot's and the publication's name. A slot takes no `-` and no upper case.
fn default_name(pipeline: &str) -> String {
    format!("sync_agent_{}", pipeline.replace('-', "_").to_ascii_lowercase())
}
