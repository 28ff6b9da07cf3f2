//! A table as a server's catalog describes it, on either side.

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
    /// Whether the type has binary send and receive functions.
    pub has_binary: bool,
    pub not_null: bool,
    /// `pg_get_expr` of the default (not of a generated column), under an empty search path.
    pub default: Option<String>,
    pub identity: Identity,
    pub generated: Generated,
    /// `pg_get_expr` of the generation expression.
    pub generation: Option<String>,
    /// The collation where it is not the type's default.
    pub collation: Option<QualifiedName>,
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
    pub indexes: Vec<IndexInfo>,
    /// Whether the table itself has foreign keys, or is referenced by one.
    pub has_foreign_keys: bool,
    /// Row-level security applies to our role (`row_security_active`).
    pub row_security_active: bool,
    /// Whether our role owns the table (or is a member of the owner).
    pub is_owner: bool,
    /// Current size of the heap in bytes and its blocks (`pg_relation_size`, main fork).
    pub heap_bytes: u64,
    /// `reltuples`; `None` where the table was never analyzed (-1).
    pub estimated_rows: Option<u64>,
    /// `pg_relation_filenode`: changes when the table is rewritten.
    pub filenode: Oid,
    /// Whether the table's access method is `heap`, so that ctid ranges mean something.
    pub is_heap: bool,
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
        let of = |index: Option<&IndexInfo>| index.map_or_else(Vec::new, |i| i.columns.clone());
        match self.identity {
            ReplicaIdentity::Nothing => Vec::new(),
            ReplicaIdentity::Default | ReplicaIdentity::Full => of(self.primary_key()),
            ReplicaIdentity::Index => {
                of(self.indexes.iter().find(|index| index.is_replica_identity))
            }
        }
    }

    /// Whether updates and deletes of this table can be published.
    pub fn has_usable_identity(&self) -> bool {
        self.identity == ReplicaIdentity::Full || !self.key_columns().is_empty()
    }
}
