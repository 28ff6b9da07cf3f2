//! A table as a server's catalog describes it, on either side.

use std::collections::BTreeMap;

use super::ReplicaIdentity;
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;

/// `pg_class.relkind`, as far as rows can be replicated from or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    Partitioned,
    /// A view, sequence, foreign table, …: never copied.
    Other,
}

/// `pg_attribute.attgenerated`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    No,
    Stored,
    Virtual,
}

/// `pg_attribute.attidentity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    No,
    Always,
    ByDefault,
}

/// What a column's values are made of once domains and arrays are looked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub type_oid: Oid,
    /// The innermost modifier: a domain's, where the type is one.
    pub type_modifier: i32,
    /// Arrays around it; their dimensions are not part of a type.
    pub array_depth: i32,
    /// `pg_type.typname`.
    pub name: String,
    /// `pg_type.typtype`.
    pub kind: char,
    /// As [`ColumnInfo::type_shape`].
    pub shape: String,
}

/// One live column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    pub name: String,
    /// `attnum`.
    pub number: i16,
    pub type_oid: Oid,
    /// `atttypmod`; -1 where the type has none.
    pub type_modifier: i32,
    /// `format_type(atttypid, atttypmod)` under an empty search path: what a CREATE TABLE says.
    pub type_name: String,
    /// `format_type(atttypid, -1)`: the type without its modifier, safe in a cast.
    pub base_type_name: String,
    /// Schema and bare name of the type: what two servers compare, since OIDs differ.
    pub type_qualified: QualifiedName,
    /// `pg_type.typarray`; 0 where there is none (arrays themselves).
    pub array_type_oid: Oid,
    /// `pg_type.typtype`: b, c, d, e, r, m.
    pub type_kind: char,
    /// Whether the type has binary send and receive functions whose bytes mean the same on another
    /// server, down to what it is made of: nothing that is text only anywhere inside.
    pub has_binary: bool,
    /// What a container or domain is made of, with names and modifiers, schemas left aside; empty for
    /// a scalar type. Two types with one name and one shape have one binary form.
    pub type_shape: String,
    /// The operator by which the type's indexes know equal keys, where it is not the server's own `=`.
    pub equality: Option<String>,
    pub leaf: Leaf,
    /// A `money` is somewhere inside: what it means depends on `lc_monetary`.
    pub has_money: bool,
    pub not_null: bool,
    /// `pg_get_expr` of the default (not of a generated column), under an empty search path.
    pub default: Option<String>,
    pub identity: Identity,
    pub generated: Generated,
    /// A generated column whose values are published as if it were a plain one (18 and up): COPY
    /// reads it by a query only.
    pub is_published_generated: bool,
    /// `pg_get_expr` of the generation expression.
    pub generation: Option<String>,
    /// The default or generation expression uses objects that users made (functions, types, …),
    /// sequences left aside.
    pub expression_has_dependencies: bool,
    /// The other columns that the generation expression reads.
    pub expression_columns: Vec<String>,
    /// The collation where it is not the type's default.
    pub collation: Option<QualifiedName>,
    /// The same where it is not the leaf's default: a domain has one of its own.
    pub base_collation: Option<QualifiedName>,
}

/// One index that could identify rows or reject them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexInfo {
    pub name: String,
    pub is_primary: bool,
    pub is_unique: bool,
    /// An exclusion constraint's index.
    pub is_exclusion: bool,
    /// Not deferrable: uniqueness is checked at once, so ON CONFLICT may use it.
    pub is_immediate: bool,
    pub is_valid: bool,
    pub is_partial: bool,
    /// Columns in index order; empty where the index has an expression.
    pub columns: Vec<String>,
    pub is_replica_identity: bool,
    /// The constraint's name and `pg_get_constraintdef`, where a constraint stands behind it.
    pub constraint: Option<(String, String)>,
    /// NULLS NOT DISTINCT.
    pub nulls_are_equal: bool,
    /// Columns that the index reads, where it has an expression; by name.
    pub read_columns: Vec<String>,
}

/// A sequence behind a column: an identity's, or one that the default reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceInfo {
    pub column: String,
    pub name: QualifiedName,
    pub type_name: String,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cache: i64,
    pub cycle: bool,
    /// It belongs to the column and goes with it.
    pub is_owned: bool,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    pub oid: Oid,
    pub name: QualifiedName,
    pub kind: RelationKind,
    /// `relispartition`: a leaf or sub-root of a partitioned table.
    pub is_partition: bool,
    /// `relpersistence = 'p'`: unlogged and temporary tables are not in the WAL.
    pub is_permanent: bool,
    pub identity: ReplicaIdentity,
    /// In `attnum` order; dropped columns left out.
    pub columns: Vec<ColumnInfo>,
    /// Unique indexes and exclusion constraints, the primary key first.
    pub indexes: Vec<IndexInfo>,
    pub sequences: Vec<SequenceInfo>,
    /// What the publications let through, by the table that holds the rows: SQL over a row. A
    /// table without one sends every row.
    pub row_filters: BTreeMap<Oid, String>,
    /// The partitioned tables above this one, nearest first.
    pub partition_ancestors: Vec<Oid>,
    /// A leaf below this partitioned table has no usable identity of its own. The server checks
    /// updates against the leaf's, whatever the root's says.
    pub has_leaf_without_identity: bool,
    /// The replica identity is FULL, and the server (18 and up) refuses updates and deletes of a
    /// published table while a generated column of it is not published.
    pub needs_generated_published: bool,
    /// Row triggers that fire before a row is written, and may keep it from being written.
    pub has_before_triggers: bool,
    /// Whether the table itself has foreign keys, or is referenced by one.
    pub has_foreign_keys: bool,
    /// Row-level security applies to our role (`row_security_active`).
    pub row_security_active: bool,
    /// Whether our role owns the table (or is a member of the owner).
    pub is_owner: bool,
    pub owner: String,
    /// Current size of the heap in bytes and its blocks (`pg_relation_size`, main fork).
    pub heap_bytes: u64,
    /// The same with what its rows keep in TOAST (`pg_table_size`).
    pub table_bytes: u64,
    /// `reltuples`; `None` where the table was never analyzed (-1).
    pub estimated_rows: Option<u64>,
    /// `relfilenode`: changes when the table is rewritten; 0 for a partitioned table.
    pub filenode: Oid,
    /// `relnatts`: how many columns it ever had, dropped ones included.
    pub attribute_count: i16,
    /// Whether the table's access method is `heap`, so that ctid ranges mean something.
    pub is_heap: bool,
}

impl ColumnInfo {
    /// What two values of the column are compared with.
    pub fn equals(&self) -> &str {
        self.equality.as_deref().unwrap_or("=")
    }
}

impl TableInfo {
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub fn primary_key(&self) -> Option<&IndexInfo> {
        self.indexes.iter().find(|index| index.is_primary)
    }

    /// The columns that identify a row in the stream: the replica identity's, or under FULL the
    /// primary key's, or under FULL without one nothing.
    pub fn key_columns(&self) -> Vec<String> {
        // The server does not take a deferrable or invalid index as identity
        // (`RelationGetIndexList`), so neither do we.
        let usable = |index: &&IndexInfo| index.is_immediate && index.is_valid;
        let index = match self.identity {
            ReplicaIdentity::Nothing => None,
            ReplicaIdentity::Default => self.primary_key().filter(usable),
            // A deferrable key may be in two rows at once inside a transaction.
            ReplicaIdentity::Full => self.primary_key().filter(usable),
            ReplicaIdentity::Index => {
                self.indexes.iter().find(|index| index.is_replica_identity).filter(usable)
            }
        };
        index.map_or_else(Vec::new, |index| index.columns.clone())
    }

    /// Whether updates and deletes of this table can be published.
    pub fn has_usable_identity(&self) -> bool {
        let own = self.identity == ReplicaIdentity::Full || !self.key_columns().is_empty();
        own && !self.has_leaf_without_identity && !self.has_unpublished_identity()
    }

    /// Whether publishing the table's updates would make the application's fail, because a generated
    /// column belongs to its identity.
    pub fn has_unpublished_identity(&self) -> bool {
        let is_unpublished = |column: &ColumnInfo| {
            column.generated != Generated::No && !column.is_published_generated
        };
        self.needs_generated_published && self.columns.iter().any(is_unpublished)
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    //! Plain tables for tests: `id int primary key` and what the test changes.

    use super::{ColumnInfo, Generated, Identity, IndexInfo, Leaf, RelationKind, TableInfo};
    use crate::pg::catalog::ReplicaIdentity;
    use crate::pg::ident::QualifiedName;
    use crate::pg::oid::Oid;

    pub(crate) fn column(name: &str, type_name: &str, type_oid: Oid) -> ColumnInfo {
        ColumnInfo {
            name: name.to_owned(),
            number: 1,
            type_oid,
            type_modifier: -1,
            type_name: type_name.to_owned(),
            base_type_name: type_name.to_owned(),
            type_qualified: QualifiedName::new("pg_catalog", type_name),
            array_type_oid: 0,
            type_kind: 'b',
            has_binary: true,
            type_shape: String::new(),
            equality: None,
            leaf: Leaf {
                type_oid,
                type_modifier: -1,
                array_depth: 0,
                name: type_name.to_owned(),
                kind: 'b',
                shape: String::new(),
            },
            has_money: false,
            not_null: false,
            default: None,
            identity: Identity::No,
            generated: Generated::No,
            is_published_generated: false,
            generation: None,
            expression_has_dependencies: false,
            expression_columns: Vec::new(),
            collation: None,
            base_collation: None,
        }
    }

    pub(crate) fn unique(name: &str, columns: &[&str]) -> IndexInfo {
        IndexInfo {
            name: name.to_owned(),
            is_primary: false,
            is_unique: true,
            is_exclusion: false,
            is_immediate: true,
            is_valid: true,
            is_partial: false,
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            is_replica_identity: false,
            constraint: None,
            nulls_are_equal: false,
            read_columns: Vec::new(),
        }
    }

    pub(crate) fn primary_key(columns: &[&str]) -> IndexInfo {
        let definition = format!("PRIMARY KEY ({})", columns.join(", "));
        IndexInfo {
            is_primary: true,
            constraint: Some(("t_pkey".to_owned(), definition)),
            ..unique("t_pkey", columns)
        }
    }

    pub(crate) fn table(
        name: &str,
        columns: Vec<ColumnInfo>,
        indexes: Vec<IndexInfo>,
    ) -> TableInfo {
        let attribute_count = i16::try_from(columns.len()).expect("few columns");
        let numbered = columns.into_iter().zip(1..);
        TableInfo {
            oid: 20_000,
            name: QualifiedName::new("public", name),
            kind: RelationKind::Table,
            is_partition: false,
            is_permanent: true,
            identity: ReplicaIdentity::Default,
            columns: numbered.map(|(column, number)| ColumnInfo { number, ..column }).collect(),
            indexes,
            sequences: Vec::new(),
            row_filters: Default::default(),
            partition_ancestors: Vec::new(),
            has_leaf_without_identity: false,
            needs_generated_published: false,
            has_before_triggers: false,
            has_foreign_keys: false,
            row_security_active: false,
            is_owner: true,
            owner: "owner".to_owned(),
            heap_bytes: 0,
            table_bytes: 0,
            estimated_rows: None,
            filenode: 20_000,
            attribute_count,
            is_heap: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::oid::INT4;

    fn orders(identity: ReplicaIdentity) -> TableInfo {
        let columns = vec![fixture::column("id", "integer", INT4)];
        let indexes = vec![
            fixture::primary_key(&["id"]),
            IndexInfo { is_replica_identity: true, ..fixture::unique("t_b_key", &["b"]) },
        ];
        TableInfo { identity, ..fixture::table("orders", columns, indexes) }
    }

    #[test]
    fn the_key_follows_the_replica_identity() {
        let key = |identity| orders(identity).key_columns();
        assert_eq!(key(ReplicaIdentity::Default), ["id"]);
        assert_eq!(key(ReplicaIdentity::Full), ["id"]);
        assert_eq!(key(ReplicaIdentity::Index), ["b"]);
        assert!(key(ReplicaIdentity::Nothing).is_empty());
    }

    #[test]
    fn a_deferrable_primary_key_is_no_identity() {
        let mut table = orders(ReplicaIdentity::Default);
        table.indexes[0].is_immediate = false;
        assert!(!table.has_usable_identity());
        table.identity = ReplicaIdentity::Full;
        assert!(table.has_usable_identity());
        assert!(table.key_columns().is_empty(), "its rows are found by all their values");
    }

    #[test]
    fn one_leaf_without_identity_spoils_its_root() {
        let mut table = orders(ReplicaIdentity::Default);
        table.has_leaf_without_identity = true;
        assert!(!table.has_usable_identity());
    }
}
