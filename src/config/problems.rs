//! What is wrong with a configuration: collected by key path, then placed.
//!
//! Checks add a [`Problem`] to [`Problems`] and go on with a stand-in value, so that all are found
//! in one run. At the end each becomes a [`ConfigError`] with its line and column.
//!
//! **Invariant:** secrets are never shown. An excerpt of the file shows only values whose key is
//! known not to hold one; every other value is masked when the excerpt is cut.

use std::ops::Range;

use crate::config::diagnostics::{ConfigError, ConfigErrors, ErrorPlace};
use crate::config::document::{Document, Node, NodeValue, Path, Place, Segment};
use crate::config::excerpt::Excerpt;

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
    use Segment::Key;
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
