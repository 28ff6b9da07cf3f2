//! The files in `config/`: they load, they are complete, they are current.

use std::path::PathBuf;

use serde_json::Value as Json;

use crate::config::load::Purpose;
use crate::config::schema;
use crate::config::tests::Case;

fn shipped(name: &str) -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

fn with_variables(text: &str) -> Case {
    ["SOURCE_PASSWORD", "DESTINATION_PASSWORD", "PII_KEY"]
        .into_iter()
        .fold(Case::new(text), |case, name| case.variable(name, "x"))
}

/// The example with its keys out of their comments: a comment that is `# key = …`, `# [table]`.
fn uncommented(text: &str) -> String {
    let is_key = |line: &str| {
        let key = line.split([' ', '=']).next().unwrap_or_default();
        let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_name && line[key.len()..].trim_start().starts_with("= ")
    };
    text.lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if is_key(code) || code.starts_with("[[") => code,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Every key path of the schema, lists and alternatives entered.
fn keys(root: &Json, schema: &Json, path: &str, found: &mut Vec<String>) {
    let reference = schema.get("$ref").and_then(Json::as_str);
    if let Some(target) = reference.and_then(|r| root.pointer(r.trim_start_matches('#'))) {
        keys(root, target, path, found);
    }
    for list in ["anyOf", "oneOf"].iter().filter_map(|name| schema.get(name)?.as_array()) {
        list.iter().for_each(|schema| keys(root, schema, path, found));
    }
    for inner in ["items", "additionalProperties"].iter().filter_map(|name| schema.get(name)) {
        keys(root, inner, path, found);
    }
    for (key, inner) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        found.push(path.clone());
        keys(root, inner, &path, found);
    }
}

/// Every key path that a TOML value holds; the names of columns and schemas are left out, as the
/// schema does not know them.
fn written(value: &toml::Value, path: &str, found: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, inner) in table {
                let is_free = path == "table.columns" || path == "destination.schemas";
                let path = match (is_free, path) {
                    (true, path) => path.to_owned(),
                    (false, "") => key.clone(),
                    (false, path) => format!("{path}.{key}"),
                };
                found.push(path.clone());
                match inner {
                    // A column's own table must not be taken for the table of columns again.
                    toml::Value::Table(step) if is_free => steps(step, &path, found),
                    toml::Value::Array(list) if is_free => {
                        list.iter().filter_map(toml::Value::as_table).for_each(|step| {
                            steps(step, &path, found);
                        });
                    }
                    _ => written(inner, &path, found),
                }
            }
        }
        toml::Value::Array(list) => list.iter().for_each(|inner| written(inner, path, found)),
        _ => {}
    }
}

fn steps(step: &toml::Table, path: &str, found: &mut Vec<String>) {
    for (key, inner) in step {
        let path = format!("{path}.{key}");
        found.push(path.clone());
        written(inner, &path, found);
    }
}

#[test]
fn the_shipped_files_load() {
    for name in ["sync-agent.minimal.toml", "sync-agent.example.toml"] {
        let (_, text) = shipped(name);
        for purpose in [Purpose::Run, Purpose::Snapshot] {
            let loaded = with_variables(&text).load_with(|inputs| inputs.purpose = purpose);
            let settings = loaded.map_err(|errors| errors.to_string()).expect(name);
            assert_eq!(settings.source.conninfo.dbname, "shop", "{name}");
        }
    }
}

#[test]
fn the_example_names_every_key() {
    let (_, text) = shipped("sync-agent.example.toml");
    let text = uncommented(&text);
    let value: toml::Value = toml::from_str(&text).expect("the example without comments is TOML");
    let (mut known, mut present) = (Vec::new(), Vec::new());
    let schema = schema::json_schema();
    keys(&schema, &schema, "", &mut known);
    written(&value, "", &mut present);
    let missing: Vec<&String> = known.iter().filter(|key| !present.contains(key)).collect();
    assert!(missing.is_empty(), "not in config/sync-agent.example.toml: {missing:?}");
    let unknown: Vec<&String> = present.iter().filter(|key| !known.contains(key)).collect();
    assert!(unknown.is_empty(), "not in the schema: {unknown:?}");
    assert!(known.len() > 60, "{known:?}");
}

#[test]
fn the_defaults_in_the_example_are_the_defaults() {
    // A default that is out of date would show as a setting that changes when its comment goes.
    let (_, text) = shipped("sync-agent.example.toml");
    let defaults: String = uncommented(&text)
        .lines()
        .filter(|line| {
            let not_a_default = ["password_command", "max_retained_wal =", "where", "key ="];
            !not_a_default.iter().any(|key| line.starts_with(key))
        })
        .take_while(|line| !line.ends_with("- queries"))
        .filter(|line| !line.starts_with("dir ="))
        .map(|line| format!("{line}\n"))
        .collect();
    let loaded = |text: &str| {
        let loaded = with_variables(text).load().map_err(|errors| errors.to_string());
        let mut settings = loaded.expect("valid");
        // Written or not, these mean the same.
        settings.source.publications_named = false;
        settings.places = Default::default();
        for table in &mut settings.tables {
            table.on_existing = None;
            table.on_truncate = None;
            table.new_columns = None;
            table.create_tables = None;
        }
        format!("{settings:#?}")
    };
    assert_eq!(loaded(&text), loaded(&defaults));
}

#[test]
fn the_committed_schema_is_current() {
    let (path, committed) = shipped("sync-agent.schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, schema::text()).expect("write");
        return;
    }
    assert!(
        committed == schema::text(),
        "{} is stale: UPDATE_GOLDEN=1 rewrites it",
        path.display()
    );
}
