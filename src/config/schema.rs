//! The shape of a configuration: which keys there are and what kind of value each takes.
//!
//! In: the merged [`Document`]. Out: the part of it that has the right shape, as the types of
//! [`crate::config::file`], and a problem for everything else: all of them, where serde would
//! stop at the first. The rules are read from the JSON schema of those types, so there is one
//! declaration of each key. Only what schemars writes for our types is understood here
//! (`type`, `properties`, `additionalProperties`, `items`, `required`, `enum`, `const`,
//! `anyOf`/`oneOf`, `minimum`, `maximum`, `$ref`); the tests check that nothing else occurs.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::config::document::{Document, Node, NodeValue, Path};
use crate::config::file::ConfigFile;
use crate::config::problems::{At, Problems};

/// The JSON schema of the configuration file, for editors and for `config-schema`.
pub fn json_schema() -> Json {
    let mut schema = schemars::schema_for!(ConfigFile);
    schema.insert("title".to_owned(), "sync-agent configuration".into());
    schema.to_value()
}

/// The schema as `config-schema` prints it and as the repository holds it.
pub fn text() -> String {
    format!("{:#}\n", json_schema())
}

/// The document as far as it has the right shape.
pub(crate) fn check(document: &Document, problems: &mut Problems) -> ConfigFile {
    let schema = json_schema();
    let checker = Checker { schema: &schema };
    let table = checker.node(&document.root, &schema, &Path::default(), problems);
    let table = table.unwrap_or_else(|| toml::Value::Table(toml::Table::new()));
    ConfigFile::deserialize(table).unwrap_or_else(|_| {
        // serde's text may quote the value, so it is not passed on.
        if problems.is_empty() {
            problems.value(&Path::default(), "the configuration does not have the expected shape");
        }
        ConfigFile::default()
    })
}

struct Checker<'s> {
    schema: &'s Json,
}

impl<'s> Checker<'s> {
    /// The value, if it and what it must contain have the right shape.
    fn node(
        &self,
        node: &Node,
        schema: &'s Json,
        path: &Path,
        problems: &mut Problems,
    ) -> Option<toml::Value> {
        if problems.cover(path) {
            // Its text could not be expanded: nothing more can be said of it.
            return None;
        }
        let alternatives = self.alternatives(schema);
        if let Some(words) = words(&alternatives) {
            return word(node, &words, path, problems);
        }
        let Some(schema) = alternatives.iter().find(|schema| accepts(schema, &node.value)) else {
            let wanted = wanted(&alternatives);
            let found = node.value.kind();
            problems.hidden(path, At::Value, format!("expected {wanted}, found {found}"));
            return None;
        };
        if let Some(words) = words(&[schema]) {
            return word(node, &words, path, problems);
        }
        match &node.value {
            NodeValue::Table(table) => self.table(table, schema, path, problems),
            NodeValue::List(list) => self.list(list, schema, path, problems),
            NodeValue::String { text, .. } => Some(toml::Value::String(text.clone())),
            NodeValue::Integer(value) => bounded(*value, schema, path, problems),
            NodeValue::Float(value) => Some(toml::Value::Float(*value)),
            NodeValue::Boolean(value) => Some(toml::Value::Boolean(*value)),
            NodeValue::HugeInteger | NodeValue::Datetime => {
                problems.value(path, "is out of range");
                None
            }
        }
    }

    fn table(
        &self,
        table: &std::collections::BTreeMap<String, Node>,
        schema: &'s Json,
        path: &Path,
        problems: &mut Problems,
    ) -> Option<toml::Value> {
        let properties = schema.get("properties").and_then(Json::as_object);
        let mut shaped = toml::Table::new();
        for (key, node) in table {
            let path = path.key(key);
            let known = properties.and_then(|properties| properties.get(key));
            // `additionalProperties` is a schema for maps and `false` for our structs.
            let rule = known
                .or_else(|| schema.get("additionalProperties").filter(|rule| rule.is_object()));
            match rule {
                Some(rule) => {
                    if let Some(value) = self.node(node, rule, &path, problems) {
                        shaped.insert(key.clone(), value);
                    }
                }
                None => unknown_key(key, properties, &path, problems),
            }
        }
        // Our types take every key as optional, so what is left is still of use to later checks.
        self.missing(&|key| shaped.contains_key(key), schema, path, problems);
        Some(toml::Value::Table(shaped))
    }

    /// Reports required keys that are not there; of a missing table, those that it must contain.
    fn missing(
        &self,
        is_there: &dyn Fn(&str) -> bool,
        schema: &'s Json,
        path: &Path,
        problems: &mut Problems,
    ) {
        let required = schema.get("required").and_then(Json::as_array);
        for key in required.into_iter().flatten().filter_map(Json::as_str) {
            let path = path.key(key);
            if is_there(key) || problems.cover(&path) {
                continue;
            }
            let rule = self.resolve(&schema["properties"][key]);
            if rule.get("required").is_some() {
                self.missing(&|_| false, rule, &path, problems);
            } else {
                problems.value(&path, "is missing");
            }
        }
    }

    fn list(
        &self,
        list: &[Node],
        schema: &'s Json,
        path: &Path,
        problems: &mut Problems,
    ) -> Option<toml::Value> {
        let items = schema.get("items")?;
        let shaped: Vec<Option<toml::Value>> = list
            .iter()
            .enumerate()
            .map(|(index, node)| self.node(node, items, &path.index(index), problems))
            .collect();
        // A list is kept whole or not at all: an index must mean the same entry everywhere.
        shaped.into_iter().collect::<Option<Vec<_>>>().map(toml::Value::Array)
    }

    fn resolve(&self, schema: &'s Json) -> &'s Json {
        let reference = schema.get("$ref").and_then(Json::as_str);
        reference
            .and_then(|reference| self.schema.pointer(reference.trim_start_matches('#')))
            .unwrap_or(schema)
    }

    /// The alternatives of a schema, `null` left out (TOML has none), nested ones flattened.
    fn alternatives(&self, schema: &'s Json) -> Vec<&'s Json> {
        let schema = self.resolve(schema);
        let list = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array);
        match list {
            Some(list) => list.iter().flat_map(|schema| self.alternatives(schema)).collect(),
            None if schema.get("type").and_then(Json::as_str) == Some("null") => Vec::new(),
            None => vec![schema],
        }
    }
}

fn unknown_key(
    key: &str,
    properties: Option<&serde_json::Map<String, Json>>,
    path: &Path,
    problems: &mut Problems,
) {
    let known: Vec<&str> =
        properties.into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
    let problem = problems.hidden(path, At::Key, format!("unknown key \"{key}\""));
    match nearest(key, &known) {
        Some(near) => problem.hint(format!("Did you mean \"{near}\"?")),
        None => problem.hint(format!("Known here: {}.", known.join(", "))),
    }
}

/// The known word nearest to `word`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, near) = known
        .iter()
        .map(|known| (edit_distance(&word.to_lowercase(), &known.to_lowercase()), *known))
        .min()?;
    (distance <= 1 + near.len() / 4).then_some(near)
}

/// Insertions, deletions, replacements and swaps of neighbors that make one word of the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The words that a schema made of words alone allows.
fn words<'s>(alternatives: &[&'s Json]) -> Option<Vec<&'s str>> {
    let mut words = Vec::new();
    for schema in alternatives {
        if let Some(word) = schema.get("const").and_then(Json::as_str) {
            words.push(word);
        } else {
            words.extend(schema.get("enum")?.as_array()?.iter().filter_map(Json::as_str));
        }
    }
    (!words.is_empty()).then_some(words)
}

fn word(node: &Node, words: &[&str], path: &Path, problems: &mut Problems) -> Option<toml::Value> {
    let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    match &node.value {
        NodeValue::String { text, .. } if words.contains(&text.as_str()) => {
            return Some(toml::Value::String(text.clone()));
        }
        NodeValue::String { text, .. } => {
            let near = nearest(text, words).map(|near| format!("Did you mean \"{near}\"?"));
            // Expanded text may come from a secret, so it is not repeated.
            problems.value(path, format!("expected one of {list}")).hint = near;
        }
        other => {
            let found = other.kind();
            problems.hidden(path, At::Value, format!("expected one of {list}, found {found}"));
        }
    }
    None
}

fn bounded(value: i64, schema: &Json, path: &Path, problems: &mut Problems) -> Option<toml::Value> {
    let bound = |name: &str| {
        let bound = schema.get(name)?;
        bound.as_i64().or_else(|| bound.as_f64().map(|bound| bound as i64))
    };
    let format = schema.get("format").and_then(Json::as_str);
    let maximum = bound("maximum").or((format == Some("uint32")).then_some(i64::from(u32::MAX)));
    let message = match (bound("minimum"), maximum) {
        (Some(_), _) if value < 0 => "must not be negative".to_owned(),
        (Some(minimum), _) if value < minimum => format!("must be at least {minimum}"),
        (_, Some(maximum)) if value > maximum => format!("must be at most {maximum}"),
        _ => return Some(toml::Value::Integer(value)),
    };
    problems.value(path, message);
    None
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn accepts(schema: &Json, value: &NodeValue) -> bool {
    types(schema).iter().any(|kind| match value {
        NodeValue::String { .. } => *kind == "string",
        NodeValue::Integer(_) | NodeValue::HugeInteger => matches!(*kind, "integer" | "number"),
        NodeValue::Float(_) => *kind == "number",
        NodeValue::Boolean(_) => *kind == "boolean",
        NodeValue::Datetime => false,
        NodeValue::List(_) => *kind == "array",
        NodeValue::Table(_) => *kind == "object",
    })
}

fn wanted(alternatives: &[&Json]) -> String {
    let mut kinds: Vec<&str> = alternatives
        .iter()
        .flat_map(|schema| types(schema))
        .filter_map(|kind| match kind {
            "string" => Some("a string"),
            "integer" => Some("an integer"),
            "number" => Some("a number"),
            "boolean" => Some("true or false"),
            "array" => Some("a list"),
            "object" => Some("a table"),
            _ => None,
        })
        .collect();
    kinds.dedup();
    kinds.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_find_the_word_meant() {
        let known = ["slot", "publication", "password", "max_retained_wal"];
        assert_eq!(nearest("slto", &known), Some("slot"));
        assert_eq!(nearest("publicaton", &known), Some("publication"));
        assert_eq!(nearest("Password", &known), Some("password"));
        assert_eq!(nearest("workers", &known), None);
        assert_eq!(edit_distance("ab", "ba"), 1);
    }

    #[test]
    fn the_schema_uses_only_keywords_that_the_check_knows() {
        const KNOWN: [&str; 15] = [
            "$schema",
            "title",
            "description",
            "type",
            "format",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "enum",
            "const",
            "anyOf",
            "oneOf",
            "minimum",
            "maximum",
        ];
        fn walk(schema: &Json) {
            for (keyword, value) in schema.as_object().expect("a schema is an object") {
                match keyword.as_str() {
                    "$ref" => {}
                    "properties" | "$defs" => {
                        value.as_object().expect("map").values().for_each(walk);
                    }
                    "items" => walk(value),
                    "additionalProperties" if value.is_object() => walk(value),
                    "anyOf" | "oneOf" => value.as_array().expect("list").iter().for_each(walk),
                    keyword => assert!(KNOWN.contains(&keyword), "unknown keyword {keyword}"),
                }
            }
        }
        walk(&json_schema());
    }
}
