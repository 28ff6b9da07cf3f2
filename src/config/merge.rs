//! Flags, variables and the file, laid over each other: flag > variable > file.
//!
//! In: [`Inputs`]. Out: one [`Document`], its strings expanded. With both URLs given no file is
//! needed; a file named by flag or variable must exist.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use toml::de::DeTable;

use crate::config::diagnostics::{ConfigError, ConfigErrors, ErrorPlace};
use crate::config::document::{Document, Node, NodeValue, Path, Place, Segment, Source, tree};
use crate::config::excerpt::Excerpt;
use crate::config::load::Inputs;
use crate::config::problems::Problems;
use crate::config::secret::{Environment, expand};

/// Where the configuration is looked for when neither flag nor variable names it.
const DEFAULT_FILE: &str = "sync-agent.toml";

/// The merged document, and what was wrong with its parts.
pub(crate) fn merge(inputs: &Inputs<'_>) -> Result<(Document, Problems), ConfigErrors> {
    let has_urls = given(inputs.source.as_deref(), "SYNC_AGENT_SOURCE", inputs).is_some()
        && given(inputs.destination.as_deref(), "SYNC_AGENT_DESTINATION", inputs).is_some();
    let mut document = match find_file(inputs) {
        Some(path) => read(&path)?,
        None if has_urls || !inputs.set.is_empty() => Document::empty(),
        None => return Err(no_file()),
    };
    let mut problems = Problems::default();
    for (path, name, node) in overrides(inputs, &mut problems) {
        if !put(&mut document.root, &path.0, node) {
            problems.value(&path, format!("{name} cannot be set: a part of it is not a table"));
        }
    }
    expand_strings(&mut document.root, &Path::default(), inputs.environment, &mut problems);
    Ok((document, problems))
}

// === the file ===

fn find_file(inputs: &Inputs<'_>) -> Option<PathBuf> {
    let named = || variable("SYNC_AGENT_CONFIG", inputs.environment).map(PathBuf::from);
    let default = || {
        let path = inputs.directory.join(DEFAULT_FILE);
        path.exists().then_some(path)
    };
    inputs.config.clone().or_else(named).or_else(default)
}

fn no_file() -> ConfigErrors {
    let hint = "Name one with --config, or give --source and --destination.";
    ConfigErrors(vec![ConfigError {
        place: ErrorPlace::File { name: DEFAULT_FILE.to_owned() },
        key: String::new(),
        message: "there is no configuration file".to_owned(),
        hint: Some(hint.to_owned()),
        excerpt: None,
    }])
}

fn read(path: &FilePath) -> Result<Document, ConfigErrors> {
    let name = match path.to_str() {
        Some(text) => text.strip_prefix("./").unwrap_or(text).to_owned(),
        None => path.display().to_string(),
    };
    let unreadable = |message: String| {
        let place = ErrorPlace::File { name: name.clone() };
        ConfigErrors(vec![ConfigError {
            place,
            key: String::new(),
            message,
            hint: None,
            excerpt: None,
        }])
    };
    let bytes = std::fs::read(path).map_err(|err| unreadable(format!("cannot be read: {err}")))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("is not UTF-8".to_owned()))?;
    parse(Source { name, text })
}

pub(crate) fn parse(source: Source) -> Result<Document, ConfigErrors> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        // A half understood tree would bring up problems that are none.
        return Err(ConfigErrors(errors.iter().map(|err| syntax_error(&source, err)).collect()));
    }
    let root = tree(table.get_ref(), Place::Span(0..0), &Place::Span);
    Ok(Document { source: Some(source), root })
}

fn syntax_error(source: &Source, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    // Nothing is known about the line, so nothing behind its `=` is shown.
    let start = source.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = source.text[start..].find('\n').map_or(source.text.len(), |at| start + at);
    let line = &source.text[start..end];
    let shown = match line.find('=') {
        Some(at) => at + 1,
        None if line.starts_with('[') && !line.contains(['"', '\'']) => line.len(),
        None => 0,
    };
    let hidden = start + shown..end;
    ConfigError {
        place: ErrorPlace::in_file(source, span.start),
        key: String::new(),
        message: format!("not TOML: {}", error.message()),
        hint: None,
        excerpt: Some(Excerpt::cut(source, &span, std::slice::from_ref(&hidden))),
    }
}

// === flags and variables ===

/// An environment variable; empty counts as not set, as compose files and unit files leave them.
fn variable(name: &str, environment: Environment<'_>) -> Option<String> {
    environment(name).filter(|value| !value.is_empty())
}

/// A setting from its flag or else its variable, with the name of the one it came from.
fn given(flag: Option<&str>, name: &str, inputs: &Inputs<'_>) -> Option<(String, bool)> {
    match flag {
        Some(value) => Some((value.to_owned(), true)),
        None => variable(name, inputs.environment).map(|value| (value, false)),
    }
}

/// What is laid over the file, weakest first, with the name it goes by in messages.
fn overrides(inputs: &Inputs<'_>, problems: &mut Problems) -> Vec<(Path, String, Node)> {
    let mut list = Vec::new();
    for text in &inputs.set {
        match set(text) {
            Ok((path, node)) => list.push((path, "--set".to_owned(), node)),
            Err(error) => problems.placed_already(*error),
        }
    }
    let urls = [
        ("source", inputs.source.as_deref(), "--source", "SYNC_AGENT_SOURCE"),
        ("destination", inputs.destination.as_deref(), "--destination", "SYNC_AGENT_DESTINATION"),
    ];
    for (side, flag, flag_name, variable_name) in urls {
        if let Some((value, is_flag)) = given(flag, variable_name, inputs) {
            let name = if is_flag { flag_name } else { variable_name };
            let path = Path::of(&[side, "url"]);
            // A `--set` of the same key is a flag, so it outranks the variable.
            if !is_flag && list.iter().any(|(other, ..)| other == &path) {
                continue;
            }
            list.push((path, name.to_owned(), outside(name, NodeValue::string(value))));
        }
    }
    for (key, patterns) in [("include", &inputs.include), ("exclude", &inputs.exclude)] {
        if !patterns.is_empty() {
            let name = format!("--{key}");
            let items =
                patterns.iter().map(|text| outside(&name, NodeValue::string(text.as_str())));
            let node = outside(&name, NodeValue::List(items.collect()));
            list.push((Path::of(&[key]), name, node));
        }
    }
    list
}

fn outside(name: &str, value: NodeValue) -> Node {
    let place = Place::Outside(name.to_owned());
    Node { key_place: place.clone(), place, value }
}

/// `--set key=value`: a dotted TOML key and a TOML value.
fn set(text: &str) -> Result<(Path, Node), Box<ConfigError>> {
    let error = |key: &str, message: &str, hint: String| {
        Box::new(ConfigError {
            place: ErrorPlace::Outside(format!("--set {key}").trim_end().to_owned()),
            key: String::new(),
            message: message.to_owned(),
            hint: Some(hint),
            excerpt: None,
        })
    };
    let Some((key, value)) = text.split_once('=') else {
        let hint = "Write --set key=value, where the value is TOML.".to_owned();
        return Err(error("", "there is no \"=\"", hint));
    };
    let key = key.trim();
    let Some(path) = dotted(key) else {
        let hint = "Write a dotted key: source.slot.".to_owned();
        return Err(error("", "the key is not a TOML key", hint));
    };
    // The value may be a secret: it is not repeated.
    let line = format!("value = {value}");
    let name = format!("--set {key}");
    let at = |_| Place::Outside(name.clone());
    let parsed = DeTable::parse(&line).ok().map(|table| tree(table.get_ref(), at(0..0), &at));
    let node = match parsed.map(|root| root.value) {
        Some(NodeValue::Table(mut table)) if table.len() == 1 => table.remove("value"),
        _ => None,
    };
    node.map(|node| (path, node)).ok_or_else(|| {
        let hint = format!("A string needs its quotes: --set '{key}=\"text\"'.");
        error(key, "the value is not a TOML value", hint)
    })
}

/// The segments of a dotted TOML key.
fn dotted(key: &str) -> Option<Path> {
    let line = format!("{key} = 0");
    let table = DeTable::parse(&line).ok()?;
    let at = |_| Place::Outside(String::new());
    let mut node = tree(table.get_ref(), at(0..0), &at);
    let mut path = Path::default();
    while let NodeValue::Table(table) = node.value {
        let mut entries = table.into_iter();
        let (key, child) = entries.next()?;
        if entries.next().is_some() {
            return None;
        }
        path = path.key(&key);
        node = child;
    }
    Some(path)
}

/// Puts `value` at `path`, making tables on the way. `false` where something else is in the way.
fn put(node: &mut Node, path: &[Segment], value: Node) -> bool {
    let Some((Segment::Key(key), rest)) = path.split_first() else {
        *node = value;
        return true;
    };
    let NodeValue::Table(table) = &mut node.value else { return false };
    let place = value.place.clone();
    let child = table.entry(key.clone()).or_insert_with(|| Node {
        key_place: place.clone(),
        place,
        value: NodeValue::Table(BTreeMap::new()),
    });
    put(child, rest, value)
}

// === ${…} ===

fn expand_strings(
    node: &mut Node,
    path: &Path,
    environment: Environment<'_>,
    problems: &mut Problems,
) {
    match &mut node.value {
        NodeValue::String { raw, text } => match expand(raw, environment) {
            Ok(expanded) => *text = expanded,
            Err(err) => problems.value(path, err.to_string()).hint = err.hint(),
        },
        NodeValue::List(list) => {
            for (index, child) in list.iter_mut().enumerate() {
                expand_strings(child, &path.index(index), environment, problems);
            }
        }
        NodeValue::Table(table) => {
            for (key, child) in table {
                expand_strings(child, &path.key(key), environment, problems);
            }
        }
        _ => {}
    }
}
