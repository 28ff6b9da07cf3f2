//! What is wrong with a configuration: collected, placed, printed.
//!
//! Checks add a [`Problem`] to [`Problems`] by key path and go on with a stand-in value, so that
//! all are found in one run. At the end each becomes a [`ConfigError`] with its line and column.
//! The first line of each is made for scripts: `E_CONFIG: <file>:<line>:<column>: <key>: <message>`.
//!
//! **Invariant:** secrets are never shown. An excerpt of the file shows only values whose key is
//! known not to hold one; every other value is replaced by `"…"` when the excerpt is cut.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::config::document::{Document, Node, NodeValue, Path, Place, Source};

/// Whether a problem lies in the key or in its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Key,
    Value,
}

pub(crate) struct Problem {
    pub(crate) path: Path,
    pub(crate) at: At,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Whether the value is of no known kind, so that it may be a secret in the wrong place.
    pub(crate) hide_value: bool,
}

/// The problems found so far.
#[derive(Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    /// Errors of flags that never became part of the document.
    placed: Vec<ConfigError>,
}

impl Problems {
    pub(crate) fn value(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        self.add(path, At::Value, message.into(), false)
    }

    pub(crate) fn key(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        self.add(path, At::Key, message.into(), false)
    }

    /// A problem of a value that must not be shown.
    pub(crate) fn hidden(
        &mut self,
        path: &Path,
        at: At,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.add(path, at, message.into(), true)
    }

    pub(crate) fn placed_already(&mut self, error: ConfigError) {
        self.placed.push(error);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.placed.is_empty()
    }

    /// Whether `path` or something around it has a problem already: then what follows from it
    /// (a key missing, because its table was of the wrong kind) is not worth a line.
    pub(crate) fn cover(&self, path: &Path) -> bool {
        self.list.iter().any(|problem| path.starts_with(&problem.path))
    }

    /// Whether `path` or something inside it has a problem.
    pub(crate) fn within(&self, path: &Path) -> bool {
        self.list.iter().any(|problem| problem.path.starts_with(path))
    }

    fn add(&mut self, path: &Path, at: At, message: String, hide_value: bool) -> &mut Problem {
        self.list.push(Problem { path: path.clone(), at, message, hint: None, hide_value });
        self.list.last_mut().expect("one was pushed")
    }

    /// The errors in the order of the file; those of flags and variables come first.
    pub(crate) fn placed(self, document: &Document) -> ConfigErrors {
        let mut hidden = Vec::new();
        hidden_spans(&document.root, &Path::default(), &self.list, &mut hidden);
        let mut errors = self.placed;
        errors.extend(self.list.into_iter().map(|problem| place(problem, document, &hidden)));
        errors.sort_by(|a, b| (&a.place, &a.key, &a.message).cmp(&(&b.place, &b.key, &b.message)));
        errors.dedup();
        ConfigErrors(errors)
    }
}

impl Problem {
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}

fn place(problem: Problem, document: &Document, hidden: &[Range<usize>]) -> ConfigError {
    let (node, rest) = document.nearest(&problem.path);
    let place = match problem.at {
        // A missing key is shown at the table it is missing from.
        _ if !rest.is_empty() => &node.place,
        At::Key => &node.key_place,
        At::Value => &node.place,
    };
    let (place, excerpt) = match (place, &document.source) {
        (Place::Span(span), Some(source)) => {
            // What is missing from the file as a whole has no line of its own to show.
            let excerpt = (!span.is_empty()).then(|| Excerpt::cut(source, span, hidden));
            (ErrorPlace::in_file(source, span.start), excerpt)
        }
        (Place::Outside(name), _) => (ErrorPlace::Outside(name.clone()), None),
        (Place::Span(_), None) => (ErrorPlace::Outside("the command line".to_owned()), None),
    };
    let (key, message, hint) = (problem.path.to_string(), problem.message, problem.hint);
    ConfigError { place, key, message, hint, excerpt }
}

/// The spans of every value that must not appear in an excerpt.
fn hidden_spans(node: &Node, path: &Path, problems: &[Problem], hidden: &mut Vec<Range<usize>>) {
    let is_hidden = holds_secret(path)
        || problems.iter().any(|problem| problem.hide_value && &problem.path == path);
    match (&node.value, &node.place) {
        (NodeValue::Table(table), _) if !is_hidden => {
            for (key, child) in table {
                hidden_spans(child, &path.key(key), problems, hidden);
            }
        }
        (NodeValue::List(list), _) if !is_hidden => {
            for (index, child) in list.iter().enumerate() {
                hidden_spans(child, &path.index(index), problems, hidden);
            }
        }
        (NodeValue::Table(_) | NodeValue::List(_), _) => hide_all(node, hidden),
        (_, Place::Span(span)) if is_hidden => hidden.push(span.clone()),
        _ => {}
    }
}

fn hide_all(node: &Node, hidden: &mut Vec<Range<usize>>) {
    let children: Vec<&Node> = match &node.value {
        NodeValue::Table(table) => table.values().collect(),
        NodeValue::List(list) => list.iter().collect(),
        _ => {
            hidden.extend(match &node.place {
                Place::Span(span) => Some(span.clone()),
                Place::Outside(_) => None,
            });
            return;
        }
    };
    for child in children {
        hide_all(child, hidden);
    }
}

/// Whether the key's value is or may contain a secret.
fn holds_secret(path: &Path) -> bool {
    use crate::config::document::Segment::Key;
    match path.0.as_slice() {
        [Key(side), Key(key)] if side == "source" || side == "destination" => {
            matches!(key.as_str(), "url" | "password" | "password_command")
        }
        // The secret of a step; `table[i].key` itself is a list of column names.
        [Key(table), _, Key(columns), .., Key(key)] if table == "table" && columns == "columns" => {
            key == "key"
        }
        _ => false,
    }
}

// === impl ConfigError ===

/// Where an error lies, for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorPlace {
    /// A flag or a variable.
    Outside(String),
    /// The whole of a file, as when it cannot be read.
    File { name: String },
    /// A place in the file; both count from 1, columns in characters.
    Line { name: String, line: usize, column: usize },
}

impl ErrorPlace {
    pub(crate) fn in_file(source: &Source, offset: usize) -> ErrorPlace {
        let before = source.text.get(..offset).unwrap_or(&source.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        ErrorPlace::Line { name: source.name.clone(), line, column }
    }
}

impl fmt::Display for ErrorPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorPlace::Outside(name) | ErrorPlace::File { name } => f.write_str(name),
            ErrorPlace::Line { name, line, column } => write!(f, "{name}:{line}:{column}"),
        }
    }
}

/// One error of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub place: ErrorPlace,
    /// The key path; empty where the file as a whole is meant.
    pub key: String,
    pub message: String,
    pub hint: Option<String>,
    pub(crate) excerpt: Option<Excerpt>,
}

impl fmt::Display for ConfigError {
    /// `<file>:<line>:<column>: <key>: <message>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Every error of a configuration, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(crate) Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl ConfigErrors {
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// For people: each error's line, its excerpt and its hint. Ends with a newline.
    pub fn render(&self, colored: bool) -> String {
        let renderer = if colored { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for error in &self.0 {
            let title = error.to_string();
            let mut group = Level::ERROR.with_name("E_CONFIG").primary_title(&title).elements(
                error.excerpt.iter().map(|excerpt| {
                    Snippet::source(&excerpt.line)
                        .line_start(excerpt.line_number)
                        .annotation(AnnotationKind::Primary.span(excerpt.span.clone()))
                }),
            );
            if let Some(hint) = &error.hint {
                group = group.element(Level::HELP.message(hint));
            }
            text.push_str(&renderer.render(&[group]));
            text.push('\n');
        }
        text
    }

    /// For machines: one JSON object a line, in the form of the log. Ends with a newline.
    pub fn render_json(&self) -> String {
        let mut text = String::new();
        for error in &self.0 {
            let (file, line, column) = match &error.place {
                ErrorPlace::Line { name, line, column } => (Some(name), Some(line), Some(column)),
                ErrorPlace::File { name } => (Some(name), None, None),
                ErrorPlace::Outside(_) => (None, None, None),
            };
            let object = serde_json::json!({
                "level": "ERROR", "code": "E_CONFIG", "message": error.to_string(), "file": file,
                "line": line, "column": column, "key": error.key, "hint": error.hint,
            });
            text.push_str(&object.to_string());
            text.push('\n');
        }
        text
    }
}

// === impl Excerpt ===

/// One line of the file, without the values that must not be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    line_number: usize,
    line: String,
    /// What is meant, in bytes of `line`.
    span: Range<usize>,
}

/// What stands for a value that is not shown.
const MASK: &str = "\"…\"";

impl Excerpt {
    pub(crate) fn cut(source: &Source, span: &Range<usize>, hidden: &[Range<usize>]) -> Excerpt {
        let text = &source.text;
        let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
        let mut hidden: Vec<Range<usize>> = hidden
            .iter()
            .map(|range| range.start.max(start)..range.end.min(end))
            .filter(|range| range.start < range.end)
            .collect();
        hidden.sort_by_key(|range| range.start);

        let mut line = String::new();
        let mut copied_to = start;
        let mut moved = Vec::new();
        for range in hidden.into_iter() {
            if range.start < copied_to {
                continue;
            }
            line.push_str(&text[copied_to..range.start]);
            moved.push((range.clone(), line.len()));
            line.push_str(MASK);
            copied_to = range.end;
        }
        line.push_str(text[copied_to..end].trim_end_matches('\r'));

        // Where a byte of the text stands in the line, masks taken into account.
        let position = |offset: usize, is_end: bool| {
            let mut base = (start, 0);
            for (range, at) in &moved {
                if offset >= range.end {
                    base = (range.end, at + MASK.len());
                } else if offset >= range.start {
                    return if is_end && offset > range.start { at + MASK.len() } else { *at };
                }
            }
            (base.1 + offset.saturating_sub(base.0)).min(line.len())
        };
        let from = position(span.start, false);
        let to = position(span.end.min(end), true).max(from);
        let line_number = text[..start].matches('\n').count() + 1;
        Excerpt { line_number, span: from..to, line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_hides_values_and_still_points_right() {
        let text = "a = 1\nb = { key = \"hunter2\", kind = 5 } # ö\n";
        let source = Source { name: "x".into(), text: text.into() };
        let secret = text.find("\"hunter2\"").map(|at| at..at + 9).expect("secret");
        let kind = text.find("5").map(|at| at..at + 1).expect("kind");
        let excerpt = Excerpt::cut(&source, &kind, std::slice::from_ref(&secret));
        assert_eq!(excerpt.line, "b = { key = \"…\", kind = 5 } # ö");
        assert_eq!(&excerpt.line[excerpt.span.clone()], "5");
        assert_eq!(excerpt.line_number, 2);
        let excerpt = Excerpt::cut(&source, &secret, std::slice::from_ref(&secret));
        assert_eq!(&excerpt.line[excerpt.span.clone()], MASK);
    }

    #[test]
    fn columns_count_characters() {
        let source = Source { name: "f".into(), text: "ö = 1\nää = 2".into() };
        let at = source.text.find('2').expect("2");
        assert_eq!(ErrorPlace::in_file(&source, at).to_string(), "f:2:6");
    }
}
