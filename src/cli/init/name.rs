//! What the pipeline is to be called. Pure.

use crate::config::settings::Settings;
use crate::pipeline::survey::Survey;

/// Room for a suffix within the loader's 40.
const PIPELINE_LENGTH_MAX: usize = 36;

/// Names that are tried for a second pipeline of the same database.
const SUFFIX_MAX: usize = 99;

/// The pipeline's name and what there is to say about it.
pub(super) struct Name {
    pub(super) text: String,
    pub(super) note: Option<String>,
}

/// The one that was given, or one made of the source database's name that no other pipeline's slot
/// stands in the way of.
pub(super) fn pipeline(settings: &Settings, survey: &Survey) -> Name {
    let given = &settings.pipeline;
    let known = |name: &str| {
        let note = "It is known at the destination already: `run` goes on with it.";
        survey.pipelines.contains(name).then(|| note.to_owned())
    };
    if given != "default" {
        return Name { note: known(given), text: given.clone() };
    }
    let base = name_of_database(&survey.source.database);
    let is_free = |name: &str| {
        survey.pipelines.contains(name) || !survey.slots.contains(&default_object(name))
    };
    if is_free(&base) {
        return Name { note: known(&base), text: base };
    }
    let numbered = (2..=SUFFIX_MAX).map(|number| format!("{base}_{number}"));
    let text = numbered.into_iter().find(|name| is_free(name)).unwrap_or_else(|| base.clone());
    let note = format!(
        "Slot \"{}\" at the source belongs to another pipeline, so this one has another name.",
        default_object(&base)
    );
    Name { note: Some(note), text }
}

fn name_of_database(database: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = database.chars().map(good).take(PIPELINE_LENGTH_MAX).collect();
    let name = name.to_ascii_lowercase();
    if name.chars().any(|c| c.is_ascii_alphanumeric()) { name } else { "default".to_owned() }
}

/// The loader's default for slot and publication.
pub(super) fn default_object(pipeline: &str) -> String {
    format!("sync_agent_{}", pipeline.replace('-', "_").to_ascii_lowercase())
}
