//! Settings for tests: one place that names every field of a `[[table]]`.

use crate::config::replacement::Replacement;
use crate::config::settings::{ColumnSettings, Hash, OnDelete, Step, TableSettings, Unlisted};
use crate::config::steps::{Fake, FakeKind, JsonPath};
use crate::pg::ident::QualifiedName;

pub(crate) fn table_settings(
    name: &QualifiedName,
    unlisted: Option<Unlisted>,
    columns: Vec<ColumnSettings>,
) -> TableSettings {
    TableSettings {
        name: name.clone(),
        destination: None,
        on_existing: None,
        new_columns: None,
        on_truncate: None,
        on_delete: OnDelete::Delete,
        create_tables: None,
        apart: None,
        key: None,
        unlisted,
        filter: None,
        columns,
    }
}

pub(crate) fn named(name: &str, steps: Vec<Step>) -> ColumnSettings {
    ColumnSettings { name: name.to_owned(), rename: None, steps }
}

pub(crate) fn renamed(name: &str, rename: &str, steps: Vec<Step>) -> ColumnSettings {
    ColumnSettings { rename: Some(rename.to_owned()), ..named(name, steps) }
}

pub(crate) fn value(text: &str) -> Step {
    Step::Value(text.to_owned())
}

pub(crate) fn sha256() -> Step {
    Step::Hash(Hash::Sha256)
}

pub(crate) fn fake(kind: FakeKind) -> Step {
    Step::Fake(Fake { kind, key: "pepper".to_owned().into() })
}

pub(crate) fn replace(pattern: &str, with: &str) -> Step {
    Step::Replace(Box::new(Replacement::new(pattern, with).expect("compiles")))
}

pub(crate) fn json_drop(paths: &[&str]) -> Step {
    let path = |path: &&str| JsonPath::parse(path).expect("a path");
    Step::JsonDrop(paths.iter().map(path).collect())
}

pub(crate) fn hmac(key: &str) -> Step {
    Step::Hash(Hash::HmacSha256 { key: key.to_owned().into() })
}
