//! A preview as text: blocks of one line a column for people, which any width has room for; JSON for
//! scripts.
//!
//! For people a value stands as it is where that is plain to see, and else in quotation marks with
//! escapes: NULL is no text, and no control character reaches a terminal.

use std::fmt::Write as _;

use console::{Term, measure_text_width, truncate_str};
use serde::Serialize;

use crate::cli::output;
use crate::pipeline::preview::{Filtered, PreviewColumn, PreviewRow, TablePreview};

const SCHEMA_VERSION: u32 = 1;

/// Where stdout is no terminal, or one that does not tell.
const WIDTH: usize = 80;

/// A name that is longer moves its value to the right.
const NAME_WIDTH_MAX: usize = 30;

pub(super) fn width() -> usize {
    Term::stdout().size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns))
}

// === for people ===

pub(super) fn human(tables: &[TablePreview], shows_source: bool, width: usize) -> String {
    let mut text = String::new();
    for (index, table) in tables.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        push(&mut text, width, &format!("table {} -> {}", table.source, table.destination));
        if !table.dropped.is_empty() {
            push(&mut text, width, &format!("left out: {}", table.dropped.join(", ")));
        }
        if let Some(Filtered { looked_at, left_out }) = table.filtered {
            let line = format!("where: {left_out} of the first {looked_at} rows stay out");
            push(&mut text, width, &line);
        }
        if table.rows.is_empty() {
            push(&mut text, width, "no rows");
        }
        let names: Vec<String> = table.columns.iter().map(name).collect();
        let dropped = table.dropped.iter().filter(|_| shows_source);
        let widths = names.iter().chain(dropped).map(|name| measure_text_width(&clean(name)));
        let name_width = widths.max().unwrap_or(0).min(NAME_WIDTH_MAX);
        for (number, row) in table.rows.iter().enumerate() {
            push(&mut text, width, &format!("row {}", number + 1));
            block(&mut text, table, row, &names, Layout { width, name_width, shows_source });
        }
    }
    text
}

#[derive(Clone, Copy)]
struct Layout {
    width: usize,
    name_width: usize,
    shows_source: bool,
}

/// `full_name <- name`, where the two differ.
fn name(column: &PreviewColumn) -> String {
    match &column.source {
        Some(source) if *source != column.name => format!("{} <- {source}", column.name),
        _ => column.name.clone(),
    }
}

fn block(
    text: &mut String,
    table: &TablePreview,
    row: &PreviewRow,
    names: &[String],
    layout: Layout,
) {
    let Layout { width, name_width, shows_source } = layout;
    let source_value = |name: &String| {
        let place = table.source_columns.iter().position(|column| column == name)?;
        row.source.get(place)
    };
    for ((column, name), value) in table.columns.iter().zip(names).zip(&row.destination) {
        let value = shown(value.as_deref());
        let before = column.source.as_ref().filter(|_| shows_source && !column.is_untouched);
        let before = before.and_then(source_value).map(|value| shown(value.as_deref()));
        let name = padded(name, name_width);
        match before {
            None => push(text, width, &format!("  {name}  {value}")),
            Some(before) => {
                let line = format!("  {name}  {before} => {value}");
                if measure_text_width(&line) <= width {
                    push(text, width, &line);
                } else {
                    push(text, width, &format!("  {name}  {before}"));
                    push(text, width, &format!("  {}  => {value}", " ".repeat(name_width)));
                }
            }
        }
    }
    for name in table.dropped.iter().filter(|_| shows_source) {
        let Some(value) = source_value(name) else { continue };
        let value = shown(value.as_deref());
        push(text, width, &format!("  {}  {value} => left out", padded(name, name_width)));
    }
}

/// One line, cut at the width.
fn push(text: &mut String, width: usize, line: &str) {
    let line = clean(line);
    writeln!(text, "{}", truncate_str(&line, width, "…"))
        .expect("writing to a string does not fail");
}

fn padded(name: &str, width: usize) -> String {
    let name = clean(name);
    let missing = width.saturating_sub(measure_text_width(&name));
    format!("{name}{}", " ".repeat(missing))
}

/// A value as it is, or in quotation marks where that could be taken for something else.
fn shown(value: Option<&str>) -> String {
    let Some(value) = value else { return "NULL".to_owned() };
    // What is escaped for being no sign that one sees; quotation marks inside are seen.
    let is_plain = |c: char| matches!(c, '"' | '\\' | '\'') || c.escape_debug().len() == 1;
    let is_whole = !value.is_empty() && value.trim() == value && value != "NULL";
    let is_whole = is_whole && !value.starts_with('"');
    if is_whole && value.chars().all(is_plain) && !value.contains(" => ") {
        return value.to_owned();
    }
    format!("\"{}\"", value.escape_debug())
}

/// Names may hold anything; a terminal gets no control character from us.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

// === for scripts ===

#[derive(Serialize)]
struct Json<'a> {
    schema_version: u32,
    pipeline: &'a str,
    ok: bool,
    tables: Vec<JsonTable<'a>>,
}

#[derive(Serialize)]
struct JsonTable<'a> {
    name: String,
    destination: String,
    columns: Vec<JsonColumn<'a>>,
    /// The order of the rows' `source`; `null` where that is not shown.
    source_columns: Option<&'a [String]>,
    dropped: &'a [String],
    /// `null` where no filter is.
    filtered: Option<JsonFiltered>,
    rows: Vec<JsonRow<'a>>,
}

#[derive(Serialize)]
struct JsonFiltered {
    looked_at: u64,
    left_out: u64,
}

#[derive(Serialize)]
struct JsonColumn<'a> {
    name: &'a str,
    source: Option<&'a str>,
    untouched: bool,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    source: Option<&'a [Option<String>]>,
    destination: &'a [Option<String>],
}

pub(super) fn json(pipeline: &str, tables: &[TablePreview], shows_source: bool) -> String {
    let tables = tables
        .iter()
        .map(|table| JsonTable {
            name: table.source.to_string(),
            destination: table.destination.to_string(),
            columns: table
                .columns
                .iter()
                .map(|column| JsonColumn {
                    name: &column.name,
                    source: column.source.as_deref(),
                    untouched: column.is_untouched,
                })
                .collect(),
            source_columns: shows_source.then_some(table.source_columns.as_slice()),
            dropped: &table.dropped,
            filtered: table
                .filtered
                .map(|Filtered { looked_at, left_out }| JsonFiltered { looked_at, left_out }),
            rows: table
                .rows
                .iter()
                .map(|row| JsonRow {
                    source: shows_source.then_some(row.source.as_slice()),
                    destination: &row.destination,
                })
                .collect(),
        })
        .collect();
    output::json(&Json { schema_version: SCHEMA_VERSION, pipeline, ok: true, tables })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::ident::QualifiedName;

    fn people() -> TablePreview {
        let column = |name: &str, source: Option<&str>, is_untouched| PreviewColumn {
            name: name.to_owned(),
            source: source.map(str::to_owned),
            is_untouched,
        };
        let text = |value: &str| Some(value.to_owned());
        TablePreview {
            source: QualifiedName::new("public", "people"),
            destination: QualifiedName::new("hr", "staff"),
            columns: vec![
                column("id", Some("id"), true),
                column("full_name", Some("name"), true),
                column("ssn", Some("ssn"), false),
                column("region", None, false),
            ],
            source_columns: ["id", "name", "ssn", "notes"].map(str::to_owned).to_vec(),
            dropped: vec!["notes".to_owned()],
            filtered: None,
            rows: vec![PreviewRow {
                source: vec![text("7"), text(""), text("078-05-1120"), text("a\tb")],
                destination: vec![text("7"), text(""), text("5e88"), None],
            }],
        }
    }

    #[test]
    fn a_row_is_a_block_of_one_line_a_column() {
        assert_eq!(
            human(&[people()], false, 80),
            "table public.people -> hr.staff\nleft out: notes\nrow 1\n\
             \x20 id                 7\n\
             \x20 full_name <- name  \"\"\n\
             \x20 ssn                5e88\n\
             \x20 region             NULL\n"
        );
        assert_eq!(
            human(&[people()], true, 34),
            "table public.people -> hr.staff\nleft out: notes\nrow 1\n\
             \x20 id                 7\n\
             \x20 full_name <- name  \"\"\n\
             \x20 ssn                078-05-1120\n\
             \x20                    => 5e88\n\
             \x20 region             NULL\n\
             \x20 notes              \"a\\tb\" => le…\n"
        );
    }

    #[test]
    fn what_is_shown_is_never_taken_for_something_else() {
        for (value, expected) in [
            (None, "NULL"),
            (Some(""), "\"\""),
            (Some("NULL"), "\"NULL\""),
            (Some("a b"), "a b"),
            (Some(" a"), "\" a\""),
            (Some("a => b"), "\"a => b\""),
            (Some("a\u{1b}[2J\n"), "\"a\\u{1b}[2J\\n\""),
            (Some("\"\\"), "\"\\\"\\\\\""),
            (Some(r#"{"a": "b\n"}"#), r#"{"a": "b\n"}"#),
            (Some("a\u{202e}b"), "\"a\\u{202e}b\""),
        ] {
            assert_eq!(shown(value), expected);
        }
    }
}
