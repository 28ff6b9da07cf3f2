//! Collations and types, in dependency order.

use std::collections::{HashMap, HashSet};

use super::Statement;
use super::scope::{Lack, Scope, comment_sql};
use crate::pg::catalog::structure::{CollationRow, Range, TypeRow};
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::oid::Oid;

/// Statements, and what they leave out.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) statements: Vec<Statement>,
    pub(super) notes: Vec<(String, String)>,
}

/// The collations that the destination lacks; the scope learns which there will be.
pub(super) fn collations(scope: &mut Scope<'_>) -> Made {
    let mut made = Made::default();
    for row in &scope.rows.collations {
        let name = scope.names.object(&row.qualified());
        let outcome = if scope.present.has_collation(&name) {
            Ok(name)
        } else {
            match collation_sql(scope, row, &name) {
                Ok(sql) => {
                    let object = format!("collation {}", name.sql());
                    made.statements.push(Statement::new(&object, sql));
                    if let Some(comment) = &row.comment {
                        let sql = comment_sql(&format!("COLLATION {}", name.sql()), comment);
                        made.statements.push(Statement::new(&object, sql));
                    }
                    Ok(name)
                }
                Err(reason) => {
                    let reason = format!("collation {} {reason}", name.sql());
                    Err(reason)
                }
            }
        };
        scope.collations.insert(row.oid, outcome);
    }
    made
}

fn collation_sql(
    scope: &Scope<'_>,
    row: &CollationRow,
    name: &QualifiedName,
) -> Result<String, &'static str> {
    const LACKS: &str = "is none that the destination has or can have";
    if row.schema == "pg_catalog" {
        return Err(LACKS);
    }
    let version = scope.present.version();
    let text = |value: &Option<String>| literal(value.as_deref().unwrap_or_default());
    let mut options = match row.provider.as_str() {
        "i" if !scope.present.server.has_icu => return Err(LACKS),
        // Before version 15 the locale stands in lc_collate.
        "i" => {
            let locale = if row.locale.is_some() { &row.locale } else { &row.lc_collate };
            format!("provider = icu, locale = {}", text(locale))
        }
        "b" if version < 17 => return Err(LACKS),
        "b" => format!("provider = builtin, locale = {}", text(&row.locale)),
        "c" => format!(
            "provider = libc, lc_collate = {}, lc_ctype = {}",
            text(&row.lc_collate),
            text(&row.lc_ctype)
        ),
        _ => return Err(LACKS),
    };
    if !row.is_deterministic {
        options.push_str(", deterministic = false");
    }
    if row.rules.is_some() {
        if version < 16 {
            return Err("has rules, which the destination's version does not know");
        }
        options.push_str(&format!(", rules = {}", text(&row.rules)));
    }
    Ok(format!("CREATE COLLATION {} ({options})", name.sql()))
}

/// The types that the destination lacks; the scope learns which there will not be.
pub(super) fn types(scope: &mut Scope<'_>, row_types: &HashSet<Oid>) -> Made {
    let mut made = Made::default();
    let rows = scope.rows;
    let by_oid: HashMap<Oid, &TypeRow> = rows.types.iter().map(|row| (row.oid, row)).collect();
    for row in in_order(&by_oid, rows.types.iter().map(|row| row.oid)) {
        let needed = row.needs.iter().find_map(|oid| scope.missing_types.get(oid).cloned());
        let outcome = match needed {
            Some(reason) => Err(reason),
            None => one_type(scope, row, row_types, &mut made),
        };
        if let Err(reason) = outcome {
            scope.missing_types.insert(row.oid, reason);
        }
    }
    made
}

/// What a type is made of comes before it.
fn in_order<'a>(
    by_oid: &HashMap<Oid, &'a TypeRow>,
    oids: impl Iterator<Item = Oid>,
) -> Vec<&'a TypeRow> {
    fn visit<'a>(
        by_oid: &HashMap<Oid, &'a TypeRow>,
        oid: Oid,
        seen: &mut HashSet<Oid>,
        ordered: &mut Vec<&'a TypeRow>,
    ) {
        let Some(row) = by_oid.get(&oid) else { return };
        if !seen.insert(oid) {
            return;
        }
        for &part in &row.needs {
            visit(by_oid, part, seen, ordered);
        }
        ordered.push(row);
    }
    let (mut seen, mut ordered) = (HashSet::new(), Vec::new());
    for oid in oids {
        visit(by_oid, oid, &mut seen, &mut ordered);
    }
    ordered
}

fn one_type(
    scope: &Scope<'_>,
    row: &TypeRow,
    row_types: &HashSet<Oid>,
    made: &mut Made,
) -> Result<(), String> {
    // Arrays and multiranges come with what they are made of.
    if row.is_array || row.kind == "m" {
        return Ok(());
    }
    let name = scope.names.object(&row.qualified());
    let object = format!("type {}", name.sql());
    if let Some(labels) = scope.present.type_labels(&name) {
        missing_labels(scope, row, &name, labels);
        return Ok(());
    }
    // A table's own row type comes with the table.
    if row.is_row_type && row_types.contains(&row.oid) {
        return Ok(());
    }
    if row.needs.iter().any(|part| row_types.contains(part)) {
        let message = "it is made of a table's row type: such types are not created yet";
        scope.lacks(Lack { object: object.clone(), message: message.to_owned(), remedy: None });
        return Err(format!("the destination lacks {object}"));
    }
    if let Some(extension) = &row.extension {
        scope.lacks_extension(extension, &object);
        return Err(format!("the destination lacks {object} of extension \"{extension}\""));
    }
    let sql = match (row.kind.as_str(), &row.range) {
        ("e", _) => enum_sql(row, &name),
        ("d", _) => domain_sql(scope, row, &name, made),
        ("c", _) if !row.is_row_type => composite_sql(scope, row, &name, made),
        ("r", Some(range)) if !range.has_canonical => range_sql(scope, row, range, &name, made),
        ("c", _) => {
            let message = "it is the rows' type of a table that is not replicated: include that table, or make \
                           the type";
            let remedy = Some(composite_sql(scope, row, &name, made));
            scope.lacks(Lack { object: object.clone(), message: message.to_owned(), remedy });
            return Err(format!("the destination lacks {object}"));
        }
        _ => {
            let message = "the destination does not have it, and only an administrator can make it";
            scope.lacks(Lack { object: object.clone(), message: message.to_owned(), remedy: None });
            return Err(format!("the destination lacks {object}"));
        }
    };
    made.statements.push(Statement::new(&object, sql));
    comments(row, &name, &object, made);
    Ok(())
}

/// Labels that the destination's enum lacks stop its rows sooner or later.
fn missing_labels(scope: &Scope<'_>, row: &TypeRow, name: &QualifiedName, labels: &[String]) {
    let missing: Vec<String> = row
        .labels
        .iter()
        .filter(|label| !labels.contains(label))
        .map(|label| format!("ALTER TYPE {} ADD VALUE {}", name.sql(), literal(label).trim_start()))
        .collect();
    if !missing.is_empty() {
        scope.lacks(Lack {
            object: format!("type {}", name.sql()),
            message: "it lacks values that the source's has".to_owned(),
            remedy: Some(missing.join("; ")),
        });
    }
}

fn enum_sql(row: &TypeRow, name: &QualifiedName) -> String {
    let labels: Vec<String> = row.labels.iter().map(|label| literal(label)).collect();
    format!("CREATE TYPE {} AS ENUM ({})", name.sql(), labels.join(", "))
}

fn domain_sql(scope: &Scope<'_>, row: &TypeRow, name: &QualifiedName, made: &mut Made) -> String {
    let object = format!("type {}", name.sql());
    let base = scope.names.text(row.base.as_deref().unwrap_or_default());
    let mut sql = format!("CREATE DOMAIN {} AS {base}", name.sql());
    sql.push_str(&collate(scope, row.collation, &object, made));
    if let Some(default) = &row.default {
        match scope.usable(Some(row.oid), default) {
            Ok(()) => sql.push_str(&format!(" DEFAULT {}", scope.names.text(default))),
            Err(reason) => {
                made.notes.push((object.clone(), format!("its default is left out: {reason}")))
            }
        }
    }
    if row.not_null {
        sql.push_str(" NOT NULL");
    }
    let mut later = Vec::new();
    for check in &row.checks {
        let constraint = identifier(&check.name);
        match scope.usable(Some(check.oid), &check.definition) {
            Ok(()) if check.is_validated => {
                let definition = scope.names.text(&check.definition);
                sql.push_str(&format!(" CONSTRAINT {constraint} {definition}"));
            }
            Ok(()) => later.push(format!(
                "; ALTER DOMAIN {} ADD CONSTRAINT {constraint} {}",
                name.sql(),
                scope.names.text(&check.definition)
            )),
            Err(reason) => made
                .notes
                .push((object.clone(), format!("its check {constraint} is left out: {reason}"))),
        }
    }
    sql + &later.concat()
}

fn composite_sql(
    scope: &Scope<'_>,
    row: &TypeRow,
    name: &QualifiedName,
    made: &mut Made,
) -> String {
    let object = format!("type {}", name.sql());
    let mut attributes = Vec::with_capacity(row.attributes.len());
    for attribute in &row.attributes {
        attributes.push(format!(
            "{} {}{}",
            identifier(&attribute.name),
            scope.names.text(&attribute.type_name),
            collate(scope, attribute.collation, &object, made)
        ));
    }
    format!("CREATE TYPE {} AS ({})", name.sql(), attributes.join(", "))
}

fn range_sql(
    scope: &Scope<'_>,
    row: &TypeRow,
    range: &Range,
    name: &QualifiedName,
    made: &mut Made,
) -> String {
    let object = format!("type {}", name.sql());
    let mut options = vec![format!("SUBTYPE = {}", scope.names.text(&range.subtype))];
    let is_usable = match scope.usable(Some(row.oid), "") {
        Ok(()) => true,
        Err(reason) => {
            let note = format!("its operator class and subtype_diff are left out: {reason}");
            made.notes.push((object.clone(), note));
            false
        }
    };
    if let Some(class) = range.operator_class.as_ref().filter(|_| is_usable) {
        options.push(format!("SUBTYPE_OPCLASS = {}", scope.names.text(class)));
    }
    let collation = collate(scope, range.collation, &object, made);
    if !collation.is_empty() {
        options.push(format!("COLLATION = {}", collation.trim_start_matches(" COLLATE ")));
    }
    if let Some(function) = range.subtype_difference.as_ref().filter(|_| is_usable) {
        // A function before a parenthesis is what `Names::text` takes it for.
        options.push(format!("SUBTYPE_DIFF = {}", scope.names.text(function)));
    }
    let multirange = QualifiedName::new(&range.multirange_schema, &range.multirange_name);
    options.push(format!("MULTIRANGE_TYPE_NAME = {}", scope.names.object(&multirange).sql()));
    format!("CREATE TYPE {} AS RANGE ({})", name.sql(), options.join(", "))
}

/// ` COLLATE …`, or nothing and a note.
pub(super) fn collate(
    scope: &Scope<'_>,
    collation: Option<Oid>,
    object: &str,
    made: &mut Made,
) -> String {
    match collation.and_then(|oid| scope.collations.get(&oid)) {
        None => String::new(),
        Some(Ok(name)) => format!(" COLLATE {}", name.sql()),
        Some(Err(reason)) => {
            made.notes
                .push((object.to_owned(), format!("the default collation is used: {reason}")));
            String::new()
        }
    }
}

fn comments(row: &TypeRow, name: &QualifiedName, object: &str, made: &mut Made) {
    let mut comment = |kind: String, text: &Option<String>| {
        if let Some(text) = text {
            made.statements.push(Statement::new(object, comment_sql(&kind, text)));
        }
    };
    let kind = if row.kind == "d" { "DOMAIN" } else { "TYPE" };
    comment(format!("{kind} {}", name.sql()), &row.comment);
    for check in &row.checks {
        let of = format!("CONSTRAINT {} ON DOMAIN {}", identifier(&check.name), name.sql());
        comment(of, &check.comment);
    }
    for attribute in &row.attributes {
        let of = format!("COLUMN {}.{}", name.sql(), identifier(&attribute.name));
        comment(of, &attribute.comment);
    }
}
