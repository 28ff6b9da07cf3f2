//! Names of every kind, on everything that has one.

use std::fmt::Write as _;

/// Names that are the same but for what one overlooks, and the agent's own.
mod collisions;
/// Everything has a hostile name: copied, followed, created, resynced, shown.
mod hostile;
/// A schema that comes first and shadows what the server has.
mod search_path;

/// What a name may hold that somebody, somewhere, does not quote.
const NAMES: [&str; 33] = [
    "t'; DROP TABLE victim;--",
    "a.b \"c' $$",
    "line\nbreak",
    "tab\tand\rreturn",
    "back\\slash \\n\\",
    "%s %d %n {} {0} {name}",
    "${v} $1 $$x$$",
    " lead",
    "trail ",
    "SELECT",
    "user",
    "*",
    "?_%",
    "a*b",
    "\"",
    "\"\"",
    "'",
    "--",
    "/*",
    ";",
    "🦀 größe 表",
    // 63 bytes each: as long as names are.
    "表表表表表表表表表表表表表表表表表表表表表",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "\u{1}\u{1b}[2J\u{7f}\u{85}",
    "\u{a0}",
    "excluded",
    "Sync_Agent",
    "NULL",
    "\\N",
    "{a,\"b\"}",
    " ",
    "E'",
    "::text",
];

/// As an SQL identifier; written anew here, so that the product's own quoting is judged.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As an SQL literal under standard_conforming_strings.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// As a TOML key, or as a value that nothing is expanded in.
fn toml_key(text: &str) -> String {
    let mut written = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => written.extend(['\\', c]),
            c if c.is_control() => write!(written, "\\u{:04x}", u32::from(c)).expect("a String"),
            c => written.push(c),
        }
    }
    written + "\""
}

fn toml_value(text: &str) -> String {
    toml_key(&text.replace("${", "$${"))
}

/// As a part of a URL.
fn in_url(text: &str) -> String {
    text.bytes().fold(String::new(), |url, byte| format!("{url}%{byte:02X}"))
}

/// The labels of every series, unescaped; a text that is not in the exposition format is a failure.
fn exposition(text: &str) -> Vec<Vec<(String, String)>> {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut all = Vec::new();
    // Only this ends a line; a carriage return belongs to a label's value.
    for line in text.strip_suffix('\n').expect("the last line ends, too").split('\n') {
        if line.starts_with("# HELP ") || line.starts_with("# TYPE ") {
            continue;
        }
        let (name, mut rest) = line.split_at(line.find(['{', ' ']).expect(line));
        assert!(is_name(name), "{line:?}");
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"").expect(line);
                assert!(is_name(label), "{line:?}");
                let (value, after) = label_value(after).expect(line);
                labels.push((label.to_owned(), value));
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = &rest[1..];
        }
        let value = rest.strip_prefix(' ').expect(line);
        assert!(value.parse::<f64>().is_ok(), "{line:?}");
        all.push(labels);
    }
    all
}

/// Up to the closing quote: the value, and what follows.
fn label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                same @ ('\\' | '"') => same,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}
