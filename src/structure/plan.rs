//! The whole plan: what comes before the tables, each table, what follows all loads.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::describe::{Tables, describe, order, parent_name};
use super::foreign_keys::{self, ForeignKeys, Referable};
use super::indexes::{self, Built};
use super::names::Names;
use super::present::Present;
use super::scope::{Lack, Scope, by, comment_sql};
use super::table::{Table, VERSION_18};
use super::{Statement, TableRequest, sequences, types};
use crate::pg::catalog::structure::{IndexRow, RelationRow, StatisticsRow, StructureRows};
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid::Oid;

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct StructureInput<'a> {
    /// Of the tables that are ours.
    pub rows: &'a StructureRows,
    pub present: &'a Present,
    /// Source schema → destination schema, and tables that go elsewhere ([`Names::of`]).
    pub names: &'a Names,
    /// Names of the source's own functions, where its version is the younger one.
    pub source_functions: &'a [String],
    /// All selected tables.
    pub requests: &'a [TableRequest],
}

/// Everything that the destination lacks.
#[derive(Clone, Debug, Default)]
pub struct Structure {
    /// Schemas in which something is made.
    pub schemas: BTreeSet<String>,
    /// Before all tables, in order.
    pub before: Vec<Statement>,
    /// By the source's OID.
    pub tables: HashMap<Oid, TableStructure>,
    /// The tables' order: parents before children.
    pub order: Vec<Oid>,
    pub foreign_keys: ForeignKeys,
    pub lacks: Vec<Lack>,
    /// Of objects besides tables: object and what is left out.
    pub notes: Vec<(String, String)>,
}

/// One selected table.
#[derive(Clone, Debug, Default)]
pub struct TableStructure {
    /// In order; empty where the table is there.
    pub create: Vec<Statement>,
    /// Partitions that the destination lacks, each after what it is a partition of.
    pub partitions: Vec<PartitionStructure>,
    /// After the load, in order: what identifies rows.
    pub keys: Vec<Statement>,
    /// After the load, each for itself.
    pub indexes: Vec<Statement>,
    /// After all of these, in order.
    pub rest: Vec<Statement>,
    pub notes: Vec<String>,
}

/// A partition that the destination lacks.
#[derive(Clone, Debug)]
pub struct PartitionStructure {
    pub name: QualifiedName,
    pub create: Vec<Statement>,
    /// Its own keys and indexes, for one that comes later: before it is attached.
    pub indexes: Vec<Statement>,
    pub attach: Statement,
}

/// Plans what is missing.
pub fn plan(input: StructureInput<'_>) -> Structure {
    let mut names = input.names.clone();
    keep_extensions(input, &mut names);
    let mut scope = Scope::new(input.rows, input.present, &names, input.source_functions);
    let mut structure = Structure::default();
    let row_types: HashSet<Oid> =
        input.rows.relations.iter().map(|relation| relation.row_type).collect();
    let collations = types::collations(&mut scope);
    let types = types::types(&mut scope, &row_types);
    for made in [collations, types] {
        structure.before.extend(made.statements);
        structure.notes.extend(made.notes);
    }
    let mut tables = describe(&scope, input.requests);
    for table in tables.values() {
        scope.take(table.name.clone());
    }
    structure.before.extend(missing_sequences(&scope, &tables));
    structure.order = order(input.rows, &tables);
    let members = by(&input.rows.relations, |row| row.root);
    let objects = Objects {
        indexes: by(&input.rows.indexes, |row| row.relation),
        statistics: by(&input.rows.statistics, |row| row.relation),
    };
    for root in &structure.order {
        let relations = members.get(root).map_or(&[][..], Vec::as_slice);
        let planned = one_table(&scope, &mut tables, &objects, relations);
        structure.tables.insert(*root, planned);
    }
    let constraints: Vec<_> = input.rows.constraints.iter().collect();
    let requests = input.requests.iter().map(|request| (request.oid, request)).collect();
    let referable = Referable { requests, tables: &tables };
    structure.foreign_keys = foreign_keys::plan(&scope, &referable, &constraints);
    structure.schemas = schemas(&scope, &tables);
    let new_schemas = new_schemas(&scope, &structure.schemas);
    structure.before.splice(0..0, new_schemas);
    drop(referable);
    drop(tables);
    structure.lacks = scope.into_lacks();
    structure
}

/// What extensions brought does not follow the mapping of schemas: it is where it is at the source, or
/// where the destination has the extension.
fn keep_extensions(input: StructureInput<'_>, names: &mut Names) {
    let place = |extension: &Option<String>, name: &str| {
        let schema = input.present.server.extensions.get(extension.as_ref()?)?;
        Some(QualifiedName::new(schema, name))
    };
    for row in &input.rows.types {
        let source = row.qualified();
        let Some(place) = place(&row.extension, &row.name) else { continue };
        let is_there = |name: &QualifiedName| input.present.type_labels(name).is_some();
        if !is_there(&names.object(&source)) {
            let kept = [source.clone(), place].into_iter().find(is_there);
            names.objects.extend(kept.map(|kept| (source, kept)));
        }
    }
    for row in &input.rows.dependencies {
        let source = QualifiedName::new(&row.schema, &row.name);
        let Some(place) = place(&row.extension, &row.name) else { continue };
        let is_there =
            |names: &Names| input.present.has_object(&row.kind, &names.text(&row.identity));
        for kept in [source.clone(), place] {
            if is_there(names) {
                break;
            }
            let mut tried = names.clone();
            let of_kind = match row.kind.as_str() {
                "function" => &mut tried.functions,
                _ => &mut tried.objects,
            };
            of_kind.insert(source.clone(), kept);
            if is_there(&tried) {
                *names = tried;
            }
        }
    }
}

struct Objects<'a> {
    indexes: BTreeMap<Oid, Vec<&'a IndexRow>>,
    statistics: BTreeMap<Oid, Vec<&'a StatisticsRow>>,
}

/// A selected table with its partitions; `relations`: roots before partitions.
fn one_table(
    scope: &Scope<'_>,
    tables: &mut Tables<'_>,
    objects: &Objects<'_>,
    relations: &[&RelationRow],
) -> TableStructure {
    let mut planned = TableStructure::default();
    let mut built = Built::default();
    // Partitions before what they are partitions of: its indexes stand on theirs.
    for relation in relations.iter().rev() {
        let parent = parent_name(tables, relation);
        let Some(table) = tables.get_mut(&relation.oid) else { continue };
        let own = after_load(scope, objects, table);
        let is_missing = !scope.present.has_relation(&table.name);
        let bound = relation.bound.as_deref().map(|bound| scope.names.text(bound));
        match (parent, bound) {
            (Some(parent), Some(bound)) => {
                let is_attached = scope.present.is_child_of(&table.name, &parent);
                if is_missing {
                    let create = create(scope, table);
                    planned.partitions.push(partition(table, &parent, &bound, create, &own));
                } else if !is_attached {
                    // We create and attach in one transaction: it is somebody else's.
                    let message = format!("it exists and is no partition of {}", parent.sql());
                    let object = table.object();
                    scope.lacks(Lack { object, message, remedy: None });
                }
            }
            _ if is_missing => planned.create = create(scope, table),
            _ => {}
        }
        let is_root = relation.oid == relation.root;
        let of = if is_root { String::new() } else { format!("partition {}: ", table.name.sql()) };
        planned.notes.extend(table.notes.drain(..).map(|note| format!("{of}{note}")));
        built.append(own);
    }
    planned.partitions.reverse();
    (planned.keys, planned.indexes, planned.rest) = (built.keys, built.indexes, built.rest);
    planned
}

fn after_load(scope: &Scope<'_>, objects: &Objects<'_>, table: &mut Table<'_>) -> Built {
    let oid = table.row.oid;
    let rows = objects.indexes.get(&oid).map_or(&[][..], Vec::as_slice);
    let mut own = indexes::build(scope, table, rows);
    own.rest.extend(table.late_checks(scope));
    own.rest.extend(late_not_nulls(scope, table));
    own.rest.extend(table.check_comments(scope));
    let rows = objects.statistics.get(&oid).map_or(&[][..], Vec::as_slice);
    own.rest.extend(indexes::statistics(scope, table, rows));
    own.rest.extend(sequences::positions(scope, table));
    own
}

/// NOT NULL constraints that rows of the source may break (since version 18).
fn late_not_nulls(scope: &Scope<'_>, table: &mut Table<'_>) -> Vec<Statement> {
    let on = table.name.sql();
    let mut statements = Vec::new();
    for row in table.not_nulls.clone() {
        let column = row.columns.first().and_then(|&number| table.passed_name(number));
        let Some(column) = column.map(identifier).filter(|_| !row.is_validated) else { continue };
        if scope.present.version() < VERSION_18 {
            table.notes.push(format!("NOT NULL of column {column} is left out: it is not valid"));
        } else if scope.present.constraint(&table.name, &row.name).is_none() {
            let name = identifier(&row.name);
            let sql = format!("ALTER TABLE {on} ADD CONSTRAINT {name} NOT NULL {column} NOT VALID");
            statements.push(Statement::new(format!("constraint {name} of table {on}"), sql));
        }
    }
    statements
}

fn create(scope: &Scope<'_>, table: &mut Table<'_>) -> Vec<Statement> {
    let mut statements = table.create(scope);
    statements.extend(table.inheritance(scope));
    statements.extend(sequences::owned_by(scope, table));
    statements.extend(sequences::identity_comments(scope, table));
    statements
}

fn partition(
    table: &Table<'_>,
    parent: &QualifiedName,
    bound: &str,
    create: Vec<Statement>,
    own: &Built,
) -> PartitionStructure {
    let (parent, name) = (parent.sql(), table.name.sql());
    let sql = format!("ALTER TABLE ONLY {parent} ATTACH PARTITION {name} {bound}");
    PartitionStructure {
        name: table.name.clone(),
        create,
        indexes: own.keys.iter().chain(&own.indexes).cloned().collect(),
        attach: Statement::new(table.object(), sql),
    }
}

/// Sequences that are not there: before all tables, because several may read one.
fn missing_sequences(scope: &Scope<'_>, tables: &Tables<'_>) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut seen = HashSet::new();
    for row in &scope.rows.sequences {
        let is_read =
            tables.get(&row.relation).is_some_and(|table| table.passed_name(row.column).is_some());
        let name = scope.names.object(&row.qualified());
        if row.is_identity || !is_read || !seen.insert(row.oid) {
            continue;
        }
        statements.extend(sequences::create(scope, row, &name));
        scope.take(name);
    }
    statements
}

/// Schemas in which something is made.
fn schemas(scope: &Scope<'_>, tables: &Tables<'_>) -> BTreeSet<String> {
    let mut names: Vec<QualifiedName> = tables
        .values()
        .map(|table| table.name.clone())
        .filter(|name| !scope.present.has_relation(name))
        .collect();
    let made = |row: &&crate::pg::catalog::structure::TypeRow| {
        !row.is_array && row.kind != "m" && !row.is_row_type && row.extension.is_none()
    };
    let types =
        scope.rows.types.iter().filter(made).map(|row| scope.names.object(&row.qualified()));
    names.extend(types.filter(|name| scope.present.type_labels(name).is_none()));
    let collations = scope.rows.collations.iter().filter(|row| row.schema != "pg_catalog");
    let collations = collations.map(|row| scope.names.object(&row.qualified()));
    names.extend(collations.filter(|name| !scope.present.has_collation(name)));
    let sequences = scope.rows.sequences.iter().filter(|row| tables.contains_key(&row.relation));
    let sequences = sequences.map(|row| scope.names.object(&row.qualified()));
    names.extend(sequences.filter(|name| !scope.present.has_relation(name)));
    names.into_iter().map(|name| name.schema).collect()
}

/// `CREATE SCHEMA IF NOT EXISTS` would ask for a privilege even where there is nothing to do.
fn new_schemas(scope: &Scope<'_>, schemas: &BTreeSet<String>) -> Vec<Statement> {
    let mut statements = Vec::new();
    for schema in schemas.iter().filter(|schema| !scope.present.has_schema(schema)) {
        let name = identifier(schema);
        let object = format!("schema {name}");
        let sql = format!("CREATE SCHEMA IF NOT EXISTS {name}");
        statements.push(Statement::new(&object, sql));
        let of_tables = scope.rows.relations.iter().map(|row| (&row.schema, &row.schema_comment));
        let of_types = scope.rows.types.iter().map(|row| (&row.schema, &row.schema_comment));
        let comment = of_tables
            .chain(of_types)
            .find(|(source, comment)| scope.names.schema(source) == schema && comment.is_some())
            .and_then(|(_, comment)| comment.as_ref());
        statements.extend(
            comment
                .map(|text| Statement::new(&object, comment_sql(&format!("SCHEMA {name}"), text))),
        );
    }
    statements
}
