//! What is wrong with a configuration, printed.
//!
//! The first line of each error is made for scripts:
//! `E_CONFIG: <file>:<line>:<column>: <key>: <message>`. Its excerpt and hint follow for people.
//! [`Problems`](crate::config::problems::Problems) makes these.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::config::document::Source;
use crate::config::excerpt::Excerpt;

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
        for object in self.objects() {
            text.push_str(&object.to_string());
            text.push('\n');
        }
        text
    }

    /// Each error as a JSON object with its place.
    pub fn objects(&self) -> Vec<serde_json::Value> {
        let mut objects = Vec::with_capacity(self.0.len());
        for error in &self.0 {
            let (file, line, column) = match &error.place {
                ErrorPlace::Line { name, line, column } => (Some(name), Some(line), Some(column)),
                ErrorPlace::File { name } => (Some(name), None, None),
                ErrorPlace::Outside(_) => (None, None, None),
            };
            objects.push(serde_json::json!({
                "level": "ERROR", "code": "E_CONFIG", "message": error.to_string(), "file": file,
                "line": line, "column": column, "key": error.key, "hint": error.hint,
            }));
        }
        objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source { name: "f".into(), text: "ö = 1\nää = 2".into() };
        let at = source.text.find('2').expect("2");
        assert_eq!(ErrorPlace::in_file(&source, at).to_string(), "f:2:6");
    }
}
