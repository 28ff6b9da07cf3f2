//! Quoting. The only place that turns names and text into SQL.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names that no table's column may have.
pub const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// `name` as an SQL identifier, always quoted.
pub fn identifier(name: &str) -> String {
    postgres_protocol::escape::escape_identifier(name)
}

/// `text` as an SQL literal.
pub fn literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(text)
}

/// `text` as a string of the replication commands' grammar, where a backslash means nothing.
pub fn replication_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `names` as a comma-separated list of quoted identifiers.
pub fn identifiers<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// An operator by its schema: with an empty `search_path` only the server's own are found by name.
pub fn operator(schema: &str, name: &str) -> String {
    format!("OPERATOR({}.{name})", identifier(schema))
}

/// A table's (or type's) name with its schema. `Display` gives the unquoted form for people
/// (`public.orders`), [`QualifiedName::sql`] the quoted one for servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QualifiedName {
    pub schema: String,
    pub name: String,
}

impl QualifiedName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> QualifiedName {
        QualifiedName { schema: schema.into(), name: name.into() }
    }

    pub fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// As an argument in a shell: bare where it can be, else quoted for SQL and for the shell.
    pub fn argument(&self) -> String {
        let is_plain = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        if is_plain(&self.schema) && is_plain(&self.name) {
            return self.to_string();
        }
        format!("'{}'", self.sql().replace('\'', "'\\''"))
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is in no schema: a query's result.
        if self.schema.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}.{}", self.schema, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_always_quoted() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(QualifiedName::new("public", "select").sql(), "\"public\".\"select\"");
    }

    #[test]
    fn an_argument_is_what_a_shell_passes_on() {
        assert_eq!(QualifiedName::new("public", "orders_2").argument(), "public.orders_2");
        let odd = QualifiedName::new("a.b", "it's");
        assert_eq!(odd.argument(), "'\"a.b\".\"it'\\''s\"'");
    }

    #[test]
    fn backslashes_in_literals_use_the_escape_form() {
        assert_eq!(literal("it's"), "'it''s'");
        assert!(literal("a\\b").trim_start().starts_with("E'"));
    }
}
