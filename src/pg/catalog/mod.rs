//! The catalog questions we ask: what a database holds, in our words.
//!
//! One function per question, its SQL in a file of its own beside this one. Every name in the SQL
//! is qualified, so that no schema on the search path can answer instead of `pg_catalog`; the
//! session's `search_path` is expected to be empty, because `format_type` and `pg_get_expr` leave
//! out schemas that are on it. One text serves all versions: columns that younger servers added
//! are read by name from `to_jsonb`.

use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Row};

use crate::pg::ident::QualifiedName;

mod filling;
mod names;
pub mod present;
mod privileges;
mod publications;
mod server;
pub mod shapes;
mod slots;
pub mod structure;
pub mod table_info;
mod tables;

pub use filling::{
    Reference, Referrer, does_refer, loose_indexes, may_make_temporary_tables, references,
    referrers,
};
pub use names::{
    PartitionLeaf, RelationSummary, SchemaInfo, partition_leaves, relations, schemas,
    tables_without_references,
};
pub use privileges::{
    TablePrivileges, closed_sequences, closed_tables, may_use_temporary, privileges,
};
pub use publications::{
    PartitionLink, PublicationInfo, PublicationMember, PublicationSchema, partition_links,
    publications, without_identity, writes, young_publications,
};
pub use server::{ServerFacts, server_facts};
pub use slots::{
    BlockingTransaction, SlotInfo, SlotPoll, SourcePollRow, WrittenWal, blocking_transactions,
    poll, slot, wal_end, written_wal,
};
pub use table_info::{
    ColumnInfo, Generated, Identity, IndexInfo, Leaf, RelationKind, SequenceInfo, TableInfo,
};
pub use tables::{
    ResultColumn, TableFilter, has_rows, have_rows, result_columns, result_type, table_by_oid,
    tables, tables_with_rows, types_by_name,
};

/// `relreplident`: what the source sends of the old row on update and delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// `d`: the primary key's columns.
    Default,
    /// `n`: nothing; only inserts can be replicated.
    Nothing,
    /// `f`: the whole old row.
    Full,
    /// `i`: the columns of one unique index.
    Index,
}

/// A catalog question that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("could not ask the server for {question}")]
    Query {
        question: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("the server's answer to the question for {question} has an unknown value \"{value}\"")]
    UnknownValue { question: &'static str, value: String },
}

async fn query(
    client: &Client,
    question: &'static str,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, CatalogError> {
    let failed = |source| CatalogError::Query { question, source };
    client.query(sql, parameters).await.map_err(failed)
}

async fn query_one(
    client: &Client,
    question: &'static str,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, CatalogError> {
    let failed = |source| CatalogError::Query { question, source };
    client.query_one(sql, parameters).await.map_err(failed)
}

/// Reads a row's values from left to right, so that no index is written twice.
struct Cells<'a> {
    row: &'a Row,
    next: usize,
    question: &'static str,
}

impl<'a> Cells<'a> {
    fn new(row: &'a Row, question: &'static str) -> Cells<'a> {
        Cells { row, next: 0, question }
    }

    fn next<T: FromSql<'a>>(&mut self) -> Result<T, CatalogError> {
        let index = self.next;
        self.next += 1;
        let failed = |source| CatalogError::Query { question: self.question, source };
        self.row.try_get(index).map_err(failed)
    }

    /// A value of PostgreSQL's one-byte type `"char"`.
    fn next_char(&mut self) -> Result<char, CatalogError> {
        let byte: i8 = self.next()?;
        Ok(char::from(byte.cast_unsigned()))
    }

    /// Schema and name, or NULL for both.
    fn next_name(&mut self) -> Result<Option<QualifiedName>, CatalogError> {
        let (schema, name): (Option<String>, Option<String>) = (self.next()?, self.next()?);
        Ok(schema.zip(name).map(|(schema, name)| QualifiedName::new(schema, name)))
    }

    fn unknown(&self, value: impl ToString) -> CatalogError {
        CatalogError::UnknownValue { question: self.question, value: value.to_string() }
    }
}
