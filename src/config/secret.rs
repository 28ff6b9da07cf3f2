//! `${VAR}`, `${VAR:-default}` and `${file:/path}` inside string values.
//!
//! Expansion works on parsed values, never on the file's text: what a variable holds cannot
//! change the structure, and places stay right. `$${` is a literal `${`; any other `$` is itself.
//! A file loses one trailing newline. Defaults are taken as they stand, without expansion.
//!
//! **Invariant:** an error names the variable or the file, never what it holds.

use std::path::{Path, PathBuf};

/// Looks up an environment variable; a parameter so that tests need no process environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    #[error("variable {0} is not set")]
    Unset(String),
    #[error("variable name \"{0}\" is not valid")]
    BadName(String),
    #[error("\"${{\" is not closed")]
    Open,
    #[error("cannot read file \"{}\": {reason}", path.display())]
    File { path: PathBuf, reason: String },
}

impl ExpandError {
    /// What the operator can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            ExpandError::Unset(name) => {
                Some(format!("Set it, or give a default: ${{{name}:-default}}."))
            }
            ExpandError::BadName(_) => {
                Some("Write ${VAR}, ${VAR:-default} or ${file:/path}.".to_owned())
            }
            ExpandError::Open => Some("Write $${ for a literal ${.".to_owned()),
            ExpandError::File { .. } => None,
        }
    }
}

/// The text with every `${…}` replaced.
pub fn expand(text: &str, environment: Environment<'_>) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$${") {
            expanded.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let (inside, after) = after.split_once('}').ok_or(ExpandError::Open)?;
            expanded.push_str(&resolve(inside, environment)?);
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Whether the text takes something from a file, so that it must be expanded at each connect.
pub fn reads_file(text: &str) -> bool {
    // `$${file:` is a literal.
    text.match_indices("${file:").any(|(at, _)| !text[..at].ends_with('$'))
}

/// The names of the variables that the text may ask for.
pub fn variables(text: &str) -> Vec<&str> {
    text.match_indices("${")
        .filter_map(|(at, open)| text[at + open.len()..].split(['}', ':']).next())
        .collect()
}

fn resolve(inside: &str, environment: Environment<'_>) -> Result<String, ExpandError> {
    if let Some(path) = inside.strip_prefix("file:") {
        return read(Path::new(path));
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(ExpandError::BadName(name.to_owned()));
    }
    // As in a shell, `:-` also replaces an empty value; without a default, empty is a value.
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

fn read(path: &Path) -> Result<String, ExpandError> {
    let error = |reason: String| ExpandError::File { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|err| error(err.to_string()))?;
    let mut text = String::from_utf8(bytes).map_err(|_| error("it is not UTF-8".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "USER_NAME" => Some("ann".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn what_is_written_becomes_what_is_meant() {
        let cases = [
            ("plain", "plain"),
            ("${USER_NAME}", "ann"),
            ("a${USER_NAME}b${USER_NAME}", "aannbann"),
            ("${NOT_SET:-x:-y}", "x:-y"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${NOT_SET:-}", ""),
            ("$${USER_NAME}", "${USER_NAME}"),
            ("cost $5, 10$", "cost $5, 10$"),
            ("$$USER_NAME", "$$USER_NAME"),
        ];
        for (written, meant) in cases {
            assert_eq!(expand(written, &environment).expect(written), meant);
        }
    }

    #[test]
    fn an_unset_variable_is_an_error_that_names_it() {
        let error = expand("${NOT_SET}", &environment).expect_err("not set");
        assert_eq!(error.to_string(), "variable NOT_SET is not set");
        assert!(matches!(expand("${USER_NAME", &environment), Err(ExpandError::Open)));
        assert!(matches!(expand("${a b}", &environment), Err(ExpandError::BadName(_))));
        assert!(matches!(expand("${}", &environment), Err(ExpandError::BadName(_))));
    }

    #[test]
    fn a_file_loses_one_newline_and_is_read_anew() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("password");
        let written = format!("<${{file:{}}}>", path.display());
        std::fs::write(&path, "first\n\n").expect("write");
        assert_eq!(expand(&written, &environment).expect("file"), "<first\n>");
        std::fs::write(&path, "second").expect("write");
        assert_eq!(expand(&written, &environment).expect("file"), "<second>");
        std::fs::remove_file(&path).expect("remove");
        let error = expand(&written, &environment).expect_err("missing").to_string();
        assert!(error.starts_with("cannot read file \""), "{error}");
        assert!(reads_file(&written));
        assert!(!reads_file("$${file:/x}"));
    }
}
