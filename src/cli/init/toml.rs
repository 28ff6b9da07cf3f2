//! Strings as TOML, and names as `include` takes them. Pure.

use crate::pg::ident::QualifiedName;

/// A string value that reads as `text` once `${…}` is expanded; always on one line.
pub(super) fn string(text: &str) -> String {
    // What the file would take for a variable is written as a literal.
    let text = text.replace("${", "$${");
    let is_plain = !text.contains(['\'', '\n']) && !text.chars().any(char::is_control);
    if is_plain && text.contains(['"', '\\']) {
        return format!("'{text}'");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A key of an inline table. Keys are not expanded, so a `${` in one is itself.
pub(super) fn key(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !text.is_empty() && text.chars().all(is_bare) {
        return text.to_owned();
    }
    string(text).replace("$${", "${")
}

/// Every table of a schema, as a pattern.
pub(super) fn schema_pattern(schema: &str) -> String {
    format!("{}.*", part(schema))
}

/// One table, as a pattern or as `[[table]] name`.
pub(super) fn table_name(name: &QualifiedName) -> String {
    format!("{}.{}", part(&name.schema), part(&name.name))
}

/// Quoted unless it is what an unquoted name folds to.
fn part(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.is_empty() && name.chars().all(is_plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pattern::{Pattern, parse_name};
    use crate::config::secret::expand;

    const HOSTILE: &[&str] = &[
        "plain",
        "Upper",
        "a.b",
        "a\"b",
        "it's",
        "both'\"",
        "new\nline",
        "tab\t",
        "back\\slash",
        "${HOME}",
        "$${x}",
        "ü€",
        "with space",
        "*",
        "#",
        "\u{1b}[2J",
        "]",
        "\u{7f}",
        "trail ",
    ];

    #[test]
    fn every_string_reads_as_what_it_was() {
        for text in HOSTILE {
            let written = format!("x = {}\n{} = 1\n", string(text), key(text));
            let table: ::toml::Table = written.parse().expect(&written);
            let read = table["x"].as_str().expect("a string");
            assert_eq!(expand(read, &|_| None).expect(read), *text);
            assert!(table.contains_key(*text), "{written}");
            assert_eq!(written.lines().count(), 2, "{written}");
        }
    }

    #[test]
    fn every_name_is_matched_by_what_is_written_for_it() {
        for schema in HOSTILE {
            for name in HOSTILE {
                let table = QualifiedName::new(*schema, *name);
                let pattern = Pattern::parse(&schema_pattern(schema)).expect(schema);
                assert!(pattern.matches(&table));
                assert!(!pattern.matches(&QualifiedName::new("other", *name)));
                assert_eq!(parse_name(&table_name(&table)).expect(name), table);
            }
        }
    }
}
