//! Our table against the destination's: which value goes where, and what stands in the way.
//!
//! In: a table as it leaves the transforms (destination names), the types its values have, and the
//! destination's table from the catalog. Out: a [`Mapping`], or every reason why not.

use std::collections::BTreeSet;

use crate::apply::fit::{Fit, fit};
use crate::apply::mark::MarkMisfit;
use crate::model::table::Table;
use crate::pg::catalog::{ColumnInfo, Generated, Identity, IndexInfo, RelationKind, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid::is_built_in;

/// One value of a row and the column it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedColumn {
    /// Position in the table's columns, and in its rows.
    pub value_index: usize,
    pub destination: ColumnInfo,
    /// Whether the binary form that the source sends is what the destination takes.
    pub is_binary_compatible: bool,
    /// How the source's values fit into it.
    pub fit: Fit,
    /// The source's type; `None` for a value that a transform makes.
    pub source_type: Option<String>,
}

impl MappedColumn {
    /// Generated columns are left to the destination.
    pub fn is_written(&self) -> bool {
        self.destination.generated == Generated::No
    }

    /// Where its type would alter values and nobody would know, or refuse some of them.
    fn misfit(&self, table: &QualifiedName) -> Option<MappingError> {
        let table = table.clone();
        let column = self.destination.name.clone();
        let type_name = self.destination.type_name.clone();
        let source_type = self.source_type.clone().unwrap_or_default();
        let misfit = match self.fit {
            Fit::Whole | Fit::Read(_) => return None,
            Fit::Alters(reason) => {
                MappingError::AlteringType { table, column, type_name, source_type, reason }
            }
            Fit::Narrow(reason) => {
                MappingError::NarrowType { table, column, type_name, source_type, reason }
            }
        };
        self.is_written().then_some(misfit)
    }

    /// `GENERATED ALWAYS AS IDENTITY`: inserted with OVERRIDING SYSTEM VALUE, never updated.
    pub fn is_identity_always(&self) -> bool {
        self.destination.identity == Identity::Always
    }
}

/// How a table's rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub destination: QualifiedName,
    pub is_partitioned: bool,
    /// One for each of the table's columns, in its order, generated ones included.
    pub columns: Vec<MappedColumn>,
    /// The key's columns under their destination names; empty where nothing identifies a row.
    pub key: Vec<String>,
    /// The unique index that ON CONFLICT may use for the key, by name.
    pub arbiter: Result<String, ArbiterProblem>,
    /// Another unique or exclusion constraint than the arbiter can reject a row.
    pub has_extra_unique: bool,
    /// A unique or exclusion constraint is DEFERRABLE.
    pub has_deferrable: bool,
    pub has_foreign_keys: bool,
    pub has_before_triggers: bool,
    /// The destination keeps columns of its own that no value is sent for: a row that is deleted and
    /// inserted again would lose them.
    pub own_columns: Vec<String>,
}

impl Mapping {
    pub fn needs_overriding(&self) -> bool {
        self.columns.iter().any(MappedColumn::is_identity_always)
    }

    pub fn is_binary_compatible(&self) -> bool {
        self.columns.iter().all(|column| column.is_binary_compatible || !column.is_written())
    }
}

/// Why no index identifies rows by the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArbiterProblem {
    #[error("it has no key: no columns identify a row")]
    NoKey,
    #[error("no unique index on exactly the key columns {columns}")]
    NoIndex { columns: String },
    /// A partitioned table's unique indexes have its partition key in them.
    #[error(
        "its partitioning leaves room for no unique index on exactly the key columns ({index} has \
         more); rows are found by the key all the same, but one that somebody else has written under \
         a key is not overwritten: E_CONFLICT, or a second row"
    )]
    Wider { index: String },
    #[error("index \"{index}\" on the key columns is partial")]
    Partial { index: String },
    #[error("index \"{index}\" on the key columns is deferrable, which ON CONFLICT does not take")]
    Deferrable { index: String },
    /// A temporal key (`WITHOUT OVERLAPS`): unique, and no arbiter. Rows are found by it all the same.
    #[error("index \"{index}\" on the key columns is temporal, which ON CONFLICT does not take")]
    Temporal { index: String },
    #[error("index \"{index}\" on the key columns is not valid")]
    Invalid { index: String },
}

/// Why rows cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error("{} is not a table", .table.sql())]
    NotATable { table: QualifiedName },
    #[error("table {} has no column \"{column}\"", .table.sql())]
    MissingColumn { table: QualifiedName, column: String, type_name: Option<String> },
    #[error(
        "column \"{column}\" of table {} is NOT NULL without a default, and the source has no value \
         for it", .table.sql()
    )]
    RequiredColumn { table: QualifiedName, column: String },
    #[error(
        "column \"{column}\" of table {} has type {type_name}, which would alter values of the source's \
         type {source_type} without an error: {reason}", .table.sql()
    )]
    AlteringType {
        table: QualifiedName,
        column: String,
        type_name: String,
        source_type: String,
        reason: &'static str,
    },
    /// For a value that a transform makes.
    #[error(
        "column \"{column}\" of table {} has type {type_name}, which does not hold what its steps make: \
         {made}", .table.sql()
    )]
    MadeType {
        table: QualifiedName,
        column: String,
        type_name: String,
        made: String,
        made_type: String,
    },
    /// Said beside other errors alone: by itself it keeps nobody from writing the values that fit.
    #[error(
        "column \"{column}\" of table {} has type {type_name}, which does not hold all of the source's \
         {source_type}: {reason}", .table.sql()
    )]
    NarrowType {
        table: QualifiedName,
        column: String,
        type_name: String,
        source_type: String,
        reason: &'static str,
    },
    #[error(transparent)]
    Mark(#[from] MarkMisfit),
}

impl MappingError {
    /// The statement that mends it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            MappingError::NotATable { .. } => None,
            MappingError::Mark(misfit) => Some(misfit.remedy()),
            MappingError::MissingColumn { table, column, type_name } => {
                let type_name = type_name.as_deref()?;
                let column = identifier(column);
                Some(format!("ALTER TABLE {} ADD COLUMN {column} {type_name}", table.sql()))
            }
            MappingError::RequiredColumn { table, column } => {
                let column = identifier(column);
                Some(format!("ALTER TABLE {} ALTER COLUMN {column} DROP NOT NULL", table.sql()))
            }
            MappingError::MadeType { table, column, made_type, .. } => {
                Some(retype_sql(table, column, made_type))
            }
            MappingError::AlteringType { table, column, source_type, .. }
            | MappingError::NarrowType { table, column, source_type, .. } => {
                Some(retype_sql(table, column, source_type))
            }
        }
    }
}

impl Mapping {
    /// `source_columns` describes `source.columns` one by one; `None` is a value that a transform
    /// makes: text, which the destination's type parses.
    pub fn new(
        source: &Table,
        source_columns: &[Option<&ColumnInfo>],
        destination: &TableInfo,
    ) -> Result<Mapping, Vec<MappingError>> {
        assert_eq!(source.columns.len(), source_columns.len(), "one description a column");
        let table = &destination.name;
        if destination.kind == RelationKind::Other {
            return Err(vec![MappingError::NotATable { table: table.clone() }]);
        }
        let mut errors = Vec::new();
        let mut columns = Vec::with_capacity(source.columns.len());
        for (value_index, (column, described)) in
            source.columns.iter().zip(source_columns).enumerate()
        {
            match destination.column(&column.name) {
                Some(found) => {
                    let mapped = map_column(value_index, *described, found);
                    errors.extend(mapped.misfit(table));
                    columns.push(mapped);
                }
                None => errors.push(MappingError::MissingColumn {
                    table: table.clone(),
                    column: column.name.clone(),
                    type_name: described.map(|described| described.type_name.clone()),
                }),
            }
        }
        let unfilled = destination
            .columns
            .iter()
            .filter(|column| source.column_index(&column.name).is_none() && needs_value(column));
        errors.extend(unfilled.map(|column| MappingError::RequiredColumn {
            table: table.clone(),
            column: column.name.clone(),
        }));
        if errors.iter().any(|error| !matches!(error, MappingError::NarrowType { .. })) {
            return Err(errors);
        }
        let key: Vec<&str> = source.key_columns().map(|column| column.name.as_str()).collect();
        let is_partitioned = destination.kind == RelationKind::Partitioned;
        let arbiter = find_arbiter(&key, &destination.indexes, is_partitioned);
        let is_arbiter = |index: &IndexInfo| arbiter.as_ref().is_ok_and(|name| *name == index.name);
        Ok(Mapping {
            destination: table.clone(),
            is_partitioned,
            columns,
            has_extra_unique: destination.indexes.iter().any(|index| !is_arbiter(index)),
            has_deferrable: destination.indexes.iter().any(|index| !index.is_immediate),
            has_foreign_keys: destination.has_foreign_keys,
            has_before_triggers: destination.has_before_triggers,
            own_columns: destination
                .columns
                .iter()
                .filter(|column| {
                    column.generated == Generated::No && source.column_index(&column.name).is_none()
                })
                .map(|column| column.name.clone())
                .collect(),
            key: key.iter().map(|&column| column.to_owned()).collect(),
            arbiter,
        })
    }
}

/// Gives the destination's column the source's type.
pub fn retype_sql(table: &QualifiedName, column: &str, source_type: &str) -> String {
    let column = identifier(column);
    format!("ALTER TABLE {} ALTER COLUMN {column} TYPE {source_type}", table.sql())
}

fn needs_value(column: &ColumnInfo) -> bool {
    column.not_null
        && column.default.is_none()
        && column.identity == Identity::No
        && column.generated == Generated::No
}

fn map_column(
    value_index: usize,
    source: Option<&ColumnInfo>,
    destination: &ColumnInfo,
) -> MappedColumn {
    MappedColumn {
        value_index,
        is_binary_compatible: source.is_some_and(|source| is_same_type(source, destination)),
        fit: source.map_or(Fit::Whole, |source| fit(source, destination)),
        source_type: source.map(|source| source.type_name.clone()),
        destination: destination.clone(),
    }
}

/// Whether the type's binary form is one and the same on both sides.
///
/// Built-in types are known by OID. Others have another OID on each server, so name and shape must
/// agree: enums travel as labels; arrays, ranges and composites carry OIDs of what is inside, and
/// the receiving functions look past those that users' objects have (`array_recv`, `record_recv`).
fn is_same_type(source: &ColumnInfo, destination: &ColumnInfo) -> bool {
    let is_same = match (is_built_in(source.type_oid), is_built_in(destination.type_oid)) {
        (true, true) => source.type_oid == destination.type_oid,
        (false, false) => source.type_qualified == destination.type_qualified,
        _ => false,
    };
    is_same
        && source.has_binary
        && destination.has_binary
        && source.type_shape == destination.type_shape
}

fn find_arbiter(
    key: &[&str],
    indexes: &[IndexInfo],
    is_partitioned: bool,
) -> Result<String, ArbiterProblem> {
    if key.is_empty() {
        return Err(ArbiterProblem::NoKey);
    }
    let wanted: BTreeSet<&str> = key.iter().copied().collect();
    let (mut arbiter, mut problem) = (None, None);
    let on_key = indexes.iter().filter(|index| {
        let columns: BTreeSet<&str> = index.columns.iter().map(String::as_str).collect();
        index.is_unique && columns == wanted
    });
    for index in on_key {
        let name = index.name.clone();
        let found = if index.is_exclusion {
            ArbiterProblem::Temporal { index: name }
        } else if index.is_partial {
            ArbiterProblem::Partial { index: name }
        } else if !index.is_valid {
            ArbiterProblem::Invalid { index: name }
        } else if !index.is_immediate {
            // The server takes every index on the columns for an arbiter, and this one it refuses.
            return Err(ArbiterProblem::Deferrable { index: name });
        } else {
            arbiter.get_or_insert(name);
            continue;
        };
        problem.get_or_insert(found);
    }
    let is_wider = |index: &&IndexInfo| {
        let has = |column: &&str| index.columns.iter().any(|known| known == column);
        let is_sound = index.is_valid && index.is_immediate && !index.is_partial;
        index.is_unique && !index.is_exclusion && is_sound && wanted.iter().all(has)
    };
    if let (true, Some(index)) = (is_partitioned, indexes.iter().find(is_wider)) {
        let wider = ArbiterProblem::Wider { index: identifier(&index.name) };
        problem.get_or_insert(wider);
    }
    let columns = crate::pg::ident::identifiers(key.iter().copied());
    arbiter.ok_or(problem.unwrap_or(ArbiterProblem::NoIndex { columns }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::table::{Column, ReplicaIdentity, TableId};
    use crate::pg::catalog::table_info::fixture::{column, primary_key, table, unique};
    use crate::pg::oid::{INT4, INT8, NUMERIC, TEXT};

    fn source(columns: &[&ColumnInfo], key: &[usize]) -> Table {
        let described = |column: &&ColumnInfo| Column {
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: -1,
            is_identity: false,
        };
        Table {
            id: TableId(1),
            name: QualifiedName::new("public", "t"),
            identity: ReplicaIdentity::Default,
            columns: columns.iter().map(described).collect(),
            key: key.to_vec(),
        }
    }

    fn map(columns: &[&ColumnInfo], to: &TableInfo) -> Result<Mapping, Vec<MappingError>> {
        let described: Vec<Option<&ColumnInfo>> = columns.iter().map(|&c| Some(c)).collect();
        Mapping::new(&source(columns, &[0]), &described, to)
    }

    #[test]
    fn all_problems_of_a_table_are_reported_together_with_their_statements() {
        let id = column("id", "integer", INT4);
        let note = column("note", "text", TEXT);
        let required = ColumnInfo { not_null: true, ..column("extra", "integer", INT4) };
        let to = table("t", vec![id.clone(), required], vec![primary_key(&["id"])]);
        let errors = map(&[&id, &note], &to).expect_err("two problems");
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "table \"public\".\"t\" has no column \"note\"",
                "column \"extra\" of table \"public\".\"t\" is NOT NULL without a default, and the \
                 source has no value for it",
            ]
        );
        assert_eq!(
            errors[0].remedy().as_deref(),
            Some("ALTER TABLE \"public\".\"t\" ADD COLUMN \"note\" text")
        );
    }

    #[test]
    fn generated_columns_are_mapped_but_not_written() {
        let id = column("id", "integer", INT4);
        let always = ColumnInfo { identity: Identity::Always, ..id.clone() };
        let double = column("double", "integer", INT4);
        let stored = ColumnInfo { generated: Generated::Stored, ..double.clone() };
        let to = table("t", vec![always, stored], vec![primary_key(&["id"])]);
        let mapping = map(&[&id, &double], &to).expect("it fits");
        assert!(mapping.needs_overriding());
        let written: Vec<bool> = mapping.columns.iter().map(MappedColumn::is_written).collect();
        assert_eq!(written, [true, false]);
    }

    #[test]
    fn only_a_plain_unique_index_on_exactly_the_key_is_an_arbiter() {
        let id = column("id", "integer", INT4);
        let arbiter = |index: IndexInfo| {
            let to = table("t", vec![id.clone()], vec![index]);
            map(&[&id], &to).expect("it fits").arbiter
        };
        assert_eq!(arbiter(unique("i", &["id"])), Ok("i".to_owned()));
        let index = "i".to_owned();
        let partial = IndexInfo { is_partial: true, ..unique("i", &["id"]) };
        assert_eq!(arbiter(partial), Err(ArbiterProblem::Partial { index: index.clone() }));
        let late = IndexInfo { is_immediate: false, ..unique("i", &["id"]) };
        assert_eq!(arbiter(late), Err(ArbiterProblem::Deferrable { index: index.clone() }));
        let invalid = IndexInfo { is_valid: false, ..unique("i", &["id"]) };
        assert_eq!(arbiter(invalid), Err(ArbiterProblem::Invalid { index }));
        let columns = "\"id\"".to_owned();
        let none = Err(ArbiterProblem::NoIndex { columns });
        assert_eq!(arbiter(unique("i", &["id", "k"])), none);
        assert_eq!(arbiter(unique("on_expression", &[])), none);
        let exclusion = IndexInfo { is_unique: false, is_exclusion: true, ..unique("i", &["id"]) };
        assert_eq!(arbiter(exclusion), none);
        let temporal = IndexInfo { is_exclusion: true, ..unique("i", &["id"]) };
        assert_eq!(arbiter(temporal), Err(ArbiterProblem::Temporal { index: "i".to_owned() }));
        let late = IndexInfo { is_immediate: false, ..unique("j", &["id"]) };
        let to = table("t", vec![id.clone()], vec![unique("i", &["id"]), late]);
        let both = map(&[&id], &to).expect("it fits").arbiter;
        assert_eq!(both, Err(ArbiterProblem::Deferrable { index: "j".to_owned() }));
    }

    #[test]
    fn other_unique_indexes_and_deferrable_ones_are_announced() {
        let id = column("id", "integer", INT4);
        let with = |indexes: Vec<IndexInfo>| {
            let mapping = map(&[&id], &table("t", vec![id.clone()], indexes)).expect("it fits");
            (mapping.has_extra_unique, mapping.has_deferrable)
        };
        assert_eq!(with(vec![primary_key(&["id"])]), (false, false));
        assert_eq!(with(vec![primary_key(&["id"]), unique("u", &["a"])]), (true, false));
        let late = IndexInfo { is_immediate: false, ..unique("u", &["a"]) };
        assert_eq!(with(vec![primary_key(&["id"]), late]), (true, true));
    }

    #[test]
    fn columns_of_the_destinations_own_are_announced() {
        let id = column("id", "integer", INT4);
        let own = |column: ColumnInfo| {
            let to = table("t", vec![id.clone(), column], vec![primary_key(&["id"])]);
            map(&[&id], &to).expect("it fits").own_columns
        };
        assert_eq!(own(column("own", "text", TEXT)), ["own"]);
        let stored = ColumnInfo { generated: Generated::Stored, ..column("g", "text", TEXT) };
        assert!(own(stored).is_empty(), "the server makes it again");
    }

    #[test]
    fn binary_passes_between_types_of_one_name_and_shape_only() {
        let mood = |schema: &str, oid: u32, shape: &str| ColumnInfo {
            type_qualified: QualifiedName::new(schema, "mood"),
            type_shape: shape.to_owned(),
            ..column("id", "mood", oid)
        };
        let compatible = |from: &ColumnInfo, to: &ColumnInfo| {
            let to = table("t", vec![to.clone()], Vec::new());
            map(&[from], &to).expect("it fits").is_binary_compatible()
        };
        let (int4, int8) = (column("id", "integer", INT4), column("id", "bigint", INT8));
        assert!(compatible(&int4, &int4));
        assert!(!compatible(&int4, &int8));
        assert!(compatible(&mood("s", 20_001, ""), &mood("s", 30_001, "")));
        assert!(!compatible(&mood("s", 20_001, ""), &mood("other", 30_001, "")));
        assert!(!compatible(&mood("s", 20_001, ".1 a:x"), &mood("s", 30_001, ".1 b:x")));
        let no_binary = ColumnInfo { has_binary: false, ..int4.clone() };
        assert!(!compatible(&no_binary, &no_binary));
        let computed = Mapping::new(
            &source(&[&int4], &[0]),
            &[None],
            &table("t", vec![int4.clone()], Vec::new()),
        );
        assert!(!computed.expect("it fits").is_binary_compatible(), "a transform makes text");
    }

    #[test]
    fn a_type_that_would_alter_values_is_refused_with_its_statement() {
        let price = column("price", "numeric", NUMERIC);
        let mut narrow = column("price", "numeric(5,2)", NUMERIC);
        narrow.leaf.type_modifier = ((5 << 16) | 2) + 4;
        let errors = map(&[&price], &table("t", vec![narrow], Vec::new())).expect_err("it rounds");
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(
            error.to_string(),
            "column \"price\" of table \"public\".\"t\" has type numeric(5,2), which would alter values \
             of the source's type numeric without an error: fractions are rounded to the type's scale"
        );
        assert_eq!(
            error.remedy().as_deref(),
            Some("ALTER TABLE \"public\".\"t\" ALTER COLUMN \"price\" TYPE numeric")
        );
    }

    #[test]
    fn a_type_that_refuses_values_is_named_beside_others_and_no_misfit_alone() {
        let n = column("n", "bigint", INT8);
        let small = || column("n", "integer", INT4);
        let alone = table("t", vec![small()], Vec::new());
        assert!(map(&[&n], &alone).is_ok(), "the values that fit can be written");
        let missing = column("lost", "text", TEXT);
        let errors = map(&[&n, &missing], &alone).expect_err("a column is missing");
        let is_narrow = |error: &MappingError| matches!(error, MappingError::NarrowType { .. });
        assert_eq!((errors.len(), errors.iter().filter(|e| is_narrow(e)).count()), (2, 1));
    }
}
