//! SQL expressions of the settings (`sql = "…"`, `where = "…"`): what is asked of the server about one,
//! and what it says. Pure.
//!
//! An expression is PostgreSQL's from its first character to its last: we look at no more of it than we
//! must so that it stays one expression wherever it is put (balanced, without parameters and without a
//! query of its own).
//!
//! **What it may see:** the table's source columns, by their bare names. A column that a step masks is
//! seen as the step leaves it; a column that is dropped is seen as the source has it.

use crate::pg::catalog::ColumnInfo;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid::Oid;

/// What an expression is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A column's value (`sql`).
    Column,
    /// Whether a row is replicated (`where`).
    Filter,
}

/// One expression over the columns that it may see. The same question has the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub purpose: Purpose,
    pub sql: String,
    /// In the table's order.
    pub columns: Vec<VisibleColumn>,
}

/// A column that an expression may see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VisibleColumn {
    pub name: String,
    pub type_oid: Oid,
    /// Where it is not the type's default.
    pub collation: Option<QualifiedName>,
}

/// What the row of an expression is called: a name that nobody says.
pub(crate) const ROW: &str = "sync_agent row";

/// `value` under a column's name: with its collation it compares and folds as the column does.
pub(crate) fn visible(value: &str, collation: Option<&QualifiedName>, name: &str) -> String {
    let collated = collation.map(|collation| format!(" COLLATE {}", collation.sql()));
    format!("{value}{} AS {}", collated.unwrap_or_default(), identifier(name))
}

/// What the server says of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The columns that it reads, in the table's order.
    pub inputs: Vec<String>,
    /// Its values, described as a column's without a name.
    pub result: ColumnInfo,
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unusable {
    #[error("{0}")]
    Shape(#[from] ShapeError),
    /// The server's own words: about the expression, never about a row.
    #[error("PostgreSQL does not take the expression: {message} (SQLSTATE {code})")]
    Refused { message: String, code: String },
    #[error(
        "the expression calls a volatile function, so that copy and stream would give other values"
    )]
    Volatile,
    #[error("the condition has type {0}, and must be boolean")]
    NotBoolean(String),
    #[error(
        "the expression has type {0}, whose text depends on the search path: cast it to oid, or to text"
    )]
    Named(String),
    #[error("the expression has type {0}, which no column has")]
    NoColumnType(String),
}

/// Why a text is not one expression.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ShapeError {
    #[error("the expression is empty")]
    Empty,
    #[error("the expression's brackets do not match")]
    Brackets,
    #[error("the expression has a quote or a comment that does not end")]
    Quote,
    #[error("the expression has a \";\"")]
    Semicolon,
    #[error("the expression has a parameter ($1); it sees the row's columns by name")]
    Parameter,
    #[error(
        "the expression has a query of its own (SELECT, VALUES, TABLE or WITH), whose answer would \
         differ between copy and stream; it may see the row alone"
    )]
    Query,
}

/// Whether `sql` is one expression, as far as that shows without a grammar.
pub fn check_shape(sql: &str) -> Result<(), ShapeError> {
    let mut rest = sql;
    let mut open = Vec::new();
    let mut is_empty = true;
    // A query stands right behind a bracket, and behind nothing else.
    let mut is_behind_bracket = false;
    while let Some(token) = next_token(rest)? {
        rest = &rest[token.skipped + token.text.len()..];
        let first = token.text.chars().next().unwrap_or_default();
        match first {
            '(' | '[' => open.push(first),
            ')' if open.pop() != Some('(') => return Err(ShapeError::Brackets),
            ']' if open.pop() != Some('[') => return Err(ShapeError::Brackets),
            ';' => return Err(ShapeError::Semicolon),
            '$' if token.text[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                return Err(ShapeError::Parameter);
            }
            _ => {}
        }
        let is_query = ["select", "values", "table", "with"]
            .iter()
            .any(|word| token.text.eq_ignore_ascii_case(word));
        if is_query && (is_behind_bracket || is_empty) {
            return Err(ShapeError::Query);
        }
        is_empty = false;
        is_behind_bracket = first == '(';
    }
    match (is_empty, open.is_empty()) {
        (true, _) => Err(ShapeError::Empty),
        (_, false) => Err(ShapeError::Brackets),
        (false, true) => Ok(()),
    }
}

struct Token<'a> {
    /// Bytes of white space and comments before it.
    skipped: usize,
    text: &'a str,
}

/// The next word, quoted piece or single character.
fn next_token(sql: &str) -> Result<Option<Token<'_>>, ShapeError> {
    let mut at = 0;
    loop {
        let rest = &sql[at..];
        if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += comment_length(rest).ok_or(ShapeError::Quote)?;
        } else if let Some(space) = rest.chars().next().filter(|c| c.is_whitespace()) {
            at += space.len_utf8();
        } else {
            break;
        }
    }
    let rest = &sql[at..];
    let Some(first) = rest.chars().next() else { return Ok(None) };
    let length = match first {
        '"' => quoted_length(rest, '"', false)?,
        '\'' => quoted_length(rest, '\'', false)?,
        '$' => dollar_length(rest)?,
        _ if is_word(first) => {
            let word = rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len());
            // E'…' is the one kind of string in which a backslash hides a quote.
            match rest[..word].eq_ignore_ascii_case("e") && rest[word..].starts_with('\'') {
                true => word + quoted_length(&rest[word..], '\'', true)?,
                false => word,
            }
        }
        _ => first.len_utf8(),
    };
    Ok(Some(Token { skipped: at, text: &rest[..length] }))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

/// A doubled quote inside is read as the end of one piece and the beginning of the next, which comes to
/// the same.
fn quoted_length(text: &str, quote: char, has_escapes: bool) -> Result<usize, ShapeError> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == quote {
            return Ok(at + 1);
        }
        if has_escapes && c == '\\' {
            characters.next();
        }
    }
    Err(ShapeError::Quote)
}

/// `$$…$$`, `$tag$…$tag$`, or a parameter.
fn dollar_length(text: &str) -> Result<usize, ShapeError> {
    let tag = text[1..].find(|c| !is_word(c)).map_or(text.len(), |end| end + 1);
    if !text[tag..].starts_with('$') || text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(tag);
    }
    let mark = &text[..=tag];
    let inside = text[mark.len()..].find(mark).ok_or(ShapeError::Quote)?;
    Ok(mark.len() + inside + mark.len())
}

/// Comments nest.
fn comment_length(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_let_through_as_it_is() {
        for sql in [
            "age + 1",
            "salary * 0.8",
            "(a)",
            "coalesce(\"a;b\", ')', $$;($$, $x$ $$ $x$)",
            "a -- the rest ) is a comment\n + 1",
            "a /* ) /* ; */ ( */ + 1",
            "E'it\\'s (' || 'it''s ('",
            "CASE WHEN a THEN ARRAY[1, 2] END",
            "ts::timestamp with time zone",
            "selected AND \"table\"",
            "f(selected)",
            "naïve || $äöü$ ( $äöü$",
        ] {
            assert_eq!(check_shape(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn what_would_leave_its_place_is_refused() {
        for (sql, error) in [
            ("", ShapeError::Empty),
            (" -- nothing", ShapeError::Empty),
            ("a) FROM t --", ShapeError::Brackets),
            ("(a", ShapeError::Brackets),
            ("(a]", ShapeError::Brackets),
            ("a; DROP TABLE t", ShapeError::Semicolon),
            ("'a", ShapeError::Quote),
            ("E'a\\'", ShapeError::Quote),
            ("\"a", ShapeError::Quote),
            ("$$a", ShapeError::Quote),
            ("a /* b", ShapeError::Quote),
            ("a + $1", ShapeError::Parameter),
            ("(SELECT max(x) FROM t)", ShapeError::Query),
            ("a IN (values (1))", ShapeError::Query),
            ("exists(/* */ TABLE t)", ShapeError::Query),
            ("SELECT 1", ShapeError::Query),
        ] {
            assert_eq!(check_shape(sql), Err(error), "{sql}");
        }
    }
}
