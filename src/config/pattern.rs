//! `include` and `exclude` patterns, and table names: SQL-style, `*` within a part.
//!
//! In: text as written (`public.*`, `"Weird Schema".orders_*`). Out: a [`Pattern`] or a
//! [`QualifiedName`], or what is wrong with the text. As in SQL, an unquoted letter is folded to
//! lower case (ASCII only, as the server does with UTF8), a quoted one is not, and `""` inside
//! quotes is one quote. `*` stands for any run of characters, none included; inside quotes it is
//! itself.

use std::fmt;

pub use crate::pg::ident::QualifiedName;

/// What is wrong with a name or pattern. Messages follow the form `is …`, `has …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("\"{0}\" has no schema part")]
    NoSchema(String),
    #[error("\"{0}\" has more than two parts")]
    TooManyParts(String),
    #[error("\"{0}\" has an empty part")]
    EmptyPart(String),
    #[error("\"{0}\" has a quote that is not closed")]
    OpenQuote(String),
    #[error("\"{text}\" has the character {character:?} outside quotes")]
    NeedsQuotes { text: String, character: char },
    #[error("\"{0}\" is a pattern; one table is wanted here")]
    Wildcard(String),
}

impl PatternError {
    /// What the operator can write instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            PatternError::NoSchema(text) => Some(format!("Did you mean \"public.{text}\"?")),
            PatternError::TooManyParts(_) => {
                Some("Write schema.table, without the database.".to_owned())
            }
            PatternError::EmptyPart(_) => Some("Write schema.table.".to_owned()),
            PatternError::OpenQuote(_) => None,
            PatternError::NeedsQuotes { .. } => {
                Some("Put the part into double quotes: '\"my-schema\".orders'.".to_owned())
            }
            PatternError::Wildcard(_) => {
                Some("Quote the star ('\"*\"') where it belongs to the name.".to_owned())
            }
        }
    }
}

/// One pattern: `public.*`, `"Weird Schema".orders_*`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    schema: Glob,
    name: Glob,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let (schema, name) = two_parts(text)?;
        Ok(Pattern { text: text.to_owned(), schema, name })
    }

    pub fn matches(&self, table: &QualifiedName) -> bool {
        self.schema.matches(&table.schema) && self.name.matches(&table.name)
    }

    /// Whether both patterns mean the same, however they are quoted.
    pub fn same_as(&self, other: &Pattern) -> bool {
        self.schema == other.schema && self.name == other.name
    }

    /// The one table that a pattern without `*` names.
    pub fn literal(&self) -> Option<QualifiedName> {
        Some(QualifiedName::new(self.schema.literal()?, self.name.literal()?))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

/// One table's name, as in `[[table]] name` and `--table`.
pub fn parse_name(text: &str) -> Result<QualifiedName, PatternError> {
    Pattern::parse(text)?.literal().ok_or_else(|| PatternError::Wildcard(text.to_owned()))
}

// === impl Glob ===

/// One part: literal pieces with a `*` between each two. `["a", "b"]` is `a*b`, `["", ""]` is `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Glob(Vec<String>);

impl Glob {
    fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return first == name };
        let Some(mut remaining) = name.strip_prefix(first.as_str()) else { return false };
        // The leftmost place of each piece leaves most for the others, so no backtracking.
        for piece in middle {
            let Some(at) = remaining.find(piece.as_str()) else { return false };
            remaining = &remaining[at + piece.len()..];
        }
        remaining.ends_with(last.as_str())
    }
}

fn two_parts(text: &str) -> Result<(Glob, Glob), PatternError> {
    let mut parts = split(text)?.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), None, _) => Err(PatternError::NoSchema(text.to_owned())),
        (Some(schema), Some(name), None) => Ok((schema, name)),
        (Some(_), Some(_), Some(_)) => Err(PatternError::TooManyParts(text.to_owned())),
        (None, ..) => Err(PatternError::EmptyPart(text.to_owned())),
    }
}

/// The parts between unquoted dots, at least one, none empty.
fn split(text: &str) -> Result<Vec<Glob>, PatternError> {
    let mut parts = Vec::new();
    let mut pieces = vec![String::new()];
    let mut characters = text.trim().chars().peekable();
    let mut end_part = |pieces: &mut Vec<String>| {
        let pieces = std::mem::replace(pieces, vec![String::new()]);
        if pieces.len() == 1 && pieces[0].is_empty() {
            return Err(PatternError::EmptyPart(text.to_owned()));
        }
        parts.push(Glob(pieces));
        Ok(())
    };
    while let Some(character) = characters.next() {
        let piece = pieces.last_mut().expect("there is always a current piece");
        match character {
            '.' => end_part(&mut pieces)?,
            '*' => pieces.push(String::new()),
            '"' => loop {
                match characters.next() {
                    Some('"') if characters.next_if_eq(&'"').is_some() => piece.push('"'),
                    Some('"') => break,
                    Some(quoted) => piece.push(quoted),
                    None => return Err(PatternError::OpenQuote(text.to_owned())),
                }
            },
            plain if plain.is_alphanumeric() || plain == '_' || plain == '$' => {
                piece.push(plain.to_ascii_lowercase());
            }
            character => {
                return Err(PatternError::NeedsQuotes { text: text.to_owned(), character });
            }
        }
    }
    end_part(&mut pieces)?;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, schema: &str, name: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).matches(&QualifiedName::new(schema, name))
    }

    #[test]
    fn a_star_stands_for_any_run_within_its_part() {
        assert!(matches("public.*", "public", "orders"));
        assert!(matches("public.*", "public", "we.ird"));
        assert!(!matches("public.*", "publication", "orders"));
        assert!(matches("*.*", "a", "b"));
        assert!(matches("s.a*b*c", "s", "abc"));
        assert!(matches("s.a*b*c", "s", "a-b-b-c"));
        assert!(!matches("s.a*b*c", "s", "acb"));
        assert!(!matches("s.ab*ba", "s", "aba"));
        assert!(matches("s.*_log", "s", "a_log"));
        assert!(!matches("s.*_log", "s", "a_logs"));
    }

    #[test]
    fn unquoted_folds_and_quoted_does_not() {
        assert!(matches("Public.Orders", "public", "orders"));
        assert!(!matches("public.\"Orders\"", "public", "orders"));
        assert!(matches("public.\"Orders\"", "public", "Orders"));
        assert!(matches("\"My.Schema\".t", "My.Schema", "t"));
        assert!(matches("s.\"a\"\"b\"", "s", "a\"b"));
        assert!(matches("s.\"a*\"", "s", "a*"));
        assert!(!matches("s.\"a*\"", "s", "ab"));
        assert!(matches("s.\"Part-\"*", "s", "Part-7"));
        assert!(matches("s.größe", "s", "größe"));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let cases = [
            ("orders", PatternError::NoSchema("orders".into())),
            ("*", PatternError::NoSchema("*".into())),
            ("db.public.orders", PatternError::TooManyParts("db.public.orders".into())),
            ("public.", PatternError::EmptyPart("public.".into())),
            ("", PatternError::EmptyPart("".into())),
            (".x", PatternError::EmptyPart(".x".into())),
            ("s.\"\"", PatternError::EmptyPart("s.\"\"".into())),
            ("s.\"x", PatternError::OpenQuote("s.\"x".into())),
            ("my-s.x", PatternError::NeedsQuotes { text: "my-s.x".into(), character: '-' }),
        ];
        for (text, error) in cases {
            assert_eq!(Pattern::parse(text).expect_err(text), error);
        }
        assert_eq!(
            Pattern::parse("orders").expect_err("one part").hint().as_deref(),
            Some("Did you mean \"public.orders\"?")
        );
    }

    #[test]
    fn a_table_name_is_a_pattern_without_stars() {
        assert_eq!(parse_name("HR.\"Staff\"").expect("name"), QualifiedName::new("hr", "Staff"));
        assert_eq!(parse_name("public.*"), Err(PatternError::Wildcard("public.*".into())));
        assert_eq!(parse_name("s.\"*\"").expect("name"), QualifiedName::new("s", "*"));
    }
}
