//! Names inside the server's own texts: schemas that map elsewhere, columns under other names.
//!
//! Under an empty search path the server qualifies every name that is not the system's, and a text
//! about one table never qualifies a column. So a name before a dot, which has no dot before it, is
//! a schema (`public.mood`, `OPERATOR(public.+)`), unless it is the table of a whole row (`t.*`);
//! fields of composites come after a parenthesis or bracket (`(size).width`). Strings are left
//! alone, but for those that name an object (`'public.s'::regclass`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::TableRequest;
use crate::pg::catalog::structure::{RelationRow, SequenceRow, StructureRows};
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::oid::Oid;

/// Where the source's objects are at the destination.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Source schema → destination schema; one that is not named maps to itself.
    pub schemas: BTreeMap<String, String>,
    /// Tables and sequences that go elsewhere than their schema does.
    pub objects: HashMap<QualifiedName, QualifiedName>,
    /// Functions that do: a table may have the name of one.
    pub functions: HashMap<QualifiedName, QualifiedName>,
}

impl Names {
    /// Tables where their requests say; what stands in a table's schema beside it (partitions, its
    /// sequences) goes with it.
    pub fn of(
        schemas: &BTreeMap<String, String>,
        requests: &[TableRequest],
        rows: &StructureRows,
    ) -> Names {
        let mut names = Names { schemas: schemas.clone(), ..Names::default() };
        let mut beside = Vec::new();
        for request in requests {
            names.objects.insert(request.source.clone(), request.destination.clone());
            if names.schema(&request.source.schema) == request.destination.schema {
                continue;
            }
            let members: HashSet<Oid> = rows
                .relations
                .iter()
                .filter(|relation| relation.root == request.oid)
                .map(|relation| relation.oid)
                .collect();
            let partitions = rows.relations.iter().filter(|r| members.contains(&r.oid));
            let partitions =
                partitions.filter(|r| r.oid != request.oid).map(RelationRow::qualified);
            let sequences = rows.sequences.iter().filter(|row| members.contains(&row.relation));
            for name in partitions.chain(sequences.map(SequenceRow::qualified)) {
                if name.schema == request.source.schema {
                    let moved = QualifiedName::new(&request.destination.schema, &name.name);
                    beside.push((name, moved));
                }
            }
        }
        for (name, moved) in beside {
            names.objects.entry(name).or_insert(moved);
        }
        names
    }

    /// Every schema of the destination that the rows' objects could be found in: where they map to,
    /// and where they are at the source, because extensions do not follow the mapping.
    pub fn destination_schemas(&self, rows: &StructureRows) -> Vec<String> {
        let mut schemas: BTreeSet<&str> = BTreeSet::new();
        schemas.extend(rows.relations.iter().map(|row| row.schema.as_str()));
        schemas.extend(rows.types.iter().map(|row| row.schema.as_str()));
        schemas.extend(rows.collations.iter().map(|row| row.schema.as_str()));
        schemas.extend(rows.sequences.iter().map(|row| row.schema.as_str()));
        schemas.extend(rows.statistics.iter().map(|row| row.schema.as_str()));
        schemas.extend(rows.dependencies.iter().map(|row| row.schema.as_str()));
        let mut found: BTreeSet<String> =
            schemas.iter().map(|schema| self.schema(schema).to_owned()).collect();
        found.extend(schemas.into_iter().map(str::to_owned));
        found.extend(self.objects.values().map(|name| name.schema.clone()));
        found.remove("pg_catalog");
        found.into_iter().collect()
    }

    pub fn schema<'a>(&'a self, source: &'a str) -> &'a str {
        self.schemas.get(source).map_or(source, String::as_str)
    }

    pub fn object(&self, source: &QualifiedName) -> QualifiedName {
        let mapped = || QualifiedName::new(self.schema(&source.schema), &source.name);
        self.objects.get(source).cloned().unwrap_or_else(mapped)
    }

    fn function(&self, schema: &str, name: &str) -> Option<&QualifiedName> {
        self.functions.get(&QualifiedName::new(schema, unquoted(name)))
    }

    /// The text under the destination's names.
    pub fn text(&self, text: &str) -> String {
        let tokens = tokens(text);
        let mut mapped = String::with_capacity(text.len());
        let mut at = 0;
        while at < tokens.len() {
            let (written, used) = self.token(&tokens, at);
            mapped.push_str(&written);
            at += used;
        }
        mapped
    }

    /// The token's text at the destination, and how many tokens it stands for.
    fn token(&self, tokens: &[Token<'_>], at: usize) -> (String, usize) {
        let follows = |offset: usize, text: &str| {
            tokens.get(at + offset).is_some_and(|token| token.text() == text)
        };
        match tokens[at] {
            Token::Identifier(schema) if follows(1, ".") && !is_after_dot(tokens, at) => {
                let source_schema = unquoted(schema);
                match tokens.get(at + 2) {
                    Some(Token::Identifier(name)) if !follows(3, "(") => {
                        let source = QualifiedName::new(source_schema, unquoted(name));
                        let object = self.object(&source);
                        if object == source {
                            return (format!("{schema}.{name}"), 3);
                        }
                        (object.sql(), 3)
                    }
                    Some(Token::Identifier(name))
                        if self.function(&source_schema, name).is_some() =>
                    {
                        let function = self.function(&source_schema, name);
                        (function.map(QualifiedName::sql).unwrap_or_default(), 3)
                    }
                    _ => match self.schemas.get(&source_schema) {
                        Some(mapped) => (identifier(mapped), 1),
                        None => (schema.to_owned(), 1),
                    },
                }
            }
            Token::Literal(text) if names_an_object(tokens, at) => {
                let inner = text.trim_start_matches('\'').trim_end_matches('\'').replace("''", "'");
                let mapped = self.text(&inner);
                (if mapped == inner { text.to_owned() } else { literal(&mapped) }, 1)
            }
            token => (token.text().to_owned(), 1),
        }
    }
}

/// `'…'::reg…`.
fn names_an_object(tokens: &[Token<'_>], at: usize) -> bool {
    matches!(
        tokens.get(at + 1..=at + 3),
        Some([Token::Other(":"), Token::Other(":"), Token::Identifier(kind)])
            if kind.starts_with("reg")
    )
}

fn is_after_dot(tokens: &[Token<'_>], at: usize) -> bool {
    at > 0 && tokens[at - 1].text() == "."
}

/// The same name however it is quoted: every identifier quoted, no blanks.
pub(super) fn canonical(text: &str) -> String {
    let written = |token: Token<'_>| match token {
        Token::Identifier(name) => identifier(&unquoted(name)),
        token => token.text().trim().to_owned(),
    };
    tokens(text).into_iter().map(written).collect()
}

/// System functions (and syntax that looks like them) that the text calls: names before a
/// parenthesis without a schema.
pub(super) fn called_functions(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let is_call = |at: &usize| {
        matches!(tokens[*at], Token::Identifier(_))
            && tokens.get(at + 1).is_some_and(|token| token.text() == "(")
            && !is_after_dot(&tokens, *at)
    };
    (0..tokens.len()).filter(is_call).map(|at| unquoted(tokens[at].text())).collect()
}

/// Renames the columns of a list as key definitions have them (`PRIMARY KEY (a, b) INCLUDE (c)`,
/// `btree (a DESC, b)`, `gist (a WITH =)`): the first name of each item of each list in parentheses,
/// storage parameters left aside. Only for texts without expressions.
pub(super) fn with_listed_columns(text: &str, rename: impl Fn(&str) -> Option<String>) -> String {
    let mut written = String::with_capacity(text.len());
    let (mut depth, mut is_first, mut is_options) = (0, false, false);
    let mut word = String::new();
    for token in tokens(text) {
        match token {
            Token::Other("(") => {
                depth += 1;
                is_options = depth == 1 && word == "WITH";
                is_first = depth == 1 && !is_options;
            }
            Token::Other(")") => depth -= 1,
            Token::Other(",") if depth == 1 => is_first = !is_options,
            Token::Identifier("PERIOD") if is_first => {}
            Token::Identifier(name) if is_first => {
                is_first = false;
                if let Some(renamed) = rename(&unquoted(name)) {
                    written.push_str(&identifier(&renamed));
                    continue;
                }
            }
            Token::Identifier(name) if depth == 0 => name.clone_into(&mut word),
            _ => {}
        }
        written.push_str(token.text());
    }
    written
}

/// Whether an index's definition is that of a partial one.
pub(super) fn has_predicate(text: &str) -> bool {
    let mut depth = 0;
    for token in tokens(text) {
        match token {
            Token::Other("(") => depth += 1,
            Token::Other(")") => depth -= 1,
            Token::Identifier("WHERE") if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// Puts `insert` before the first top-level word of `before`, or at the end.
pub(super) fn with_inserted(text: &str, insert: &str, before: &str) -> String {
    let mut written = String::with_capacity(text.len() + insert.len());
    let (mut depth, mut is_done) = (0, false);
    for token in tokens(text) {
        match token {
            Token::Other("(") => depth += 1,
            Token::Other(")") => depth -= 1,
            Token::Identifier(word) if depth == 0 && word == before && !is_done => {
                written.push_str(insert);
                written.push(' ');
                is_done = true;
            }
            _ => {}
        }
        written.push_str(token.text());
    }
    if !is_done {
        written.push(' ');
        written.push_str(insert);
    }
    written
}

/// A piece of SQL as the server writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or key word, in quotes where it has them.
    Identifier(&'a str),
    /// With its quotes.
    Literal(&'a str),
    /// Blanks, digits, or one other character.
    Other(&'a str),
}

impl<'a> Token<'a> {
    pub(super) fn text(self) -> &'a str {
        match self {
            Token::Identifier(text) | Token::Literal(text) | Token::Other(text) => text,
        }
    }
}

pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, make): (usize, fn(&str) -> Token<'_>) = match first {
            '"' => (quoted_length(rest, '"'), |text| Token::Identifier(text)),
            '\'' => (quoted_length(rest, '\''), |text| Token::Literal(text)),
            c if c.is_alphabetic() || c == '_' => {
                (span(rest, |c| c.is_alphanumeric() || c == '_' || c == '$'), |text| {
                    Token::Identifier(text)
                })
            }
            c if c.is_ascii_digit() => {
                (span(rest, |c| c.is_ascii_alphanumeric() || c == '.'), |text| Token::Other(text))
            }
            c if c.is_whitespace() => (span(rest, char::is_whitespace), |text| Token::Other(text)),
            c => (c.len_utf8(), |text| Token::Other(text)),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(make(token));
        rest = after;
    }
    tokens
}

fn span(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// Up to the closing quote; doubled ones are part of the text. The server doubles them in `E'…'`, too.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(found) = text[at..].find(quote) {
        at += found + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

pub(super) fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.schemas.insert("public".to_owned(), "Shop".to_owned());
        names
            .objects
            .insert(QualifiedName::new("public", "orders"), QualifiedName::new("hr", "staff"));
        names
    }

    #[test]
    fn schemas_are_mapped_and_nothing_else() {
        for (text, mapped) in [
            ("(a > 1.5)", "(a > 1.5)"),
            ("'happy'::public.mood", "'happy'::\"Shop\".\"mood\""),
            ("'public.mood'::text", "'public.mood'::text"),
            ("(x OPERATOR(public.+) 1)", "(x OPERATOR(\"Shop\".+) 1)"),
            (
                "public.f((size).public, 'it''s public.x')",
                "\"Shop\".f((size).public, 'it''s public.x')",
            ),
            ("(a[1]).public.x", "(a[1]).public.x"),
            ("nextval('public.s'::regclass)", "nextval('\"Shop\".\"s\"'::regclass)"),
            ("nextval('public.orders'::regclass)", "nextval('\"hr\".\"staff\"'::regclass)"),
            ("NULL::public.orders", "NULL::\"hr\".\"staff\""),
            ("public.orders(1)", "\"Shop\".orders(1)"),
            ("\"public\".\"My \"\"Type\"\"\"[]", "\"Shop\".\"My \"\"Type\"\"\"[]"),
            ("kit.size", "kit.size"),
            ("E'a\\\\b''public.x'::text", "E'a\\\\b''public.x'::text"),
        ] {
            assert_eq!(names().text(text), mapped, "{text}");
        }
    }

    #[test]
    fn one_object_has_one_canonical_name() {
        assert_eq!(canonical("public.f(integer, \"x\".y)"), canonical("\"public\".f(integer,x.y)"));
        assert_ne!(canonical("public.f(integer)"), canonical("public.f(\"Integer\")"));
    }

    #[test]
    fn listed_columns_are_renamed_where_they_stand() {
        let rename = |name: &str| (name == "a").then(|| "b c".to_owned());
        for (text, renamed) in [
            ("PRIMARY KEY (a, x) INCLUDE (a)", "PRIMARY KEY (\"b c\", x) INCLUDE (\"b c\")"),
            ("btree (x a, \"a\" DESC) WITH (a='1')", "btree (x a, \"b c\" DESC) WITH (a='1')"),
            ("gist (a WITH =, r WITH &&)", "gist (\"b c\" WITH =, r WITH &&)"),
            ("UNIQUE NULLS NOT DISTINCT (a)", "UNIQUE NULLS NOT DISTINCT (\"b c\")"),
            ("btree (a COLLATE \"a\" public.a)", "btree (\"b c\" COLLATE \"a\" public.a)"),
            ("(id, PERIOD a)", "(id, PERIOD \"b c\")"),
        ] {
            assert_eq!(with_listed_columns(text, rename), renamed, "{text}");
        }
    }

    #[test]
    fn calls_of_the_systems_functions_are_found() {
        let text = "(uuidv7() || lower(public.f(a)) || 'g(')";
        assert_eq!(called_functions(text), ["uuidv7", "lower"]);
    }

    #[test]
    fn options_come_before_the_deferrable_clause() {
        let with = |text| with_inserted(text, "WITH (fillfactor=70)", "DEFERRABLE");
        assert_eq!(with("UNIQUE (\"DEFERRABLE\")"), "UNIQUE (\"DEFERRABLE\") WITH (fillfactor=70)");
        assert_eq!(
            with("UNIQUE (a) DEFERRABLE INITIALLY DEFERRED"),
            "UNIQUE (a) WITH (fillfactor=70) DEFERRABLE INITIALLY DEFERRED"
        );
    }
}
