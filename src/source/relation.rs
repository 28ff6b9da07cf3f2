//! What the relations of one connection look like: RELATION messages to [`Table`]s.
//!
//! One cache per connection, never longer: the server describes a relation before its first change
//! on a connection, and again after it changed, but not because we reconnected with an old memory.
//!
//! **Invariants:**
//! - A change refers to the description that was last sent before it.
//! - Every description sent is an `Arc` of its own, whatever it says: the server repeats one when
//!   something about the table has changed, and a column that was dropped and added again under its
//!   name looks the same. Whoever compares pointers sees that there is something to look at.
//!
//! Which columns are the key? The stream says so for identities `d` and `i` by flagging columns.
//! Under FULL it flags every column, and the primary key has to be looked up in the catalog, which
//! shows the present while the stream shows the past. So a looked-up column that the relation does
//! not have (it was renamed or dropped in between) means that no key is known for this description:
//! rows are then found by their whole old row, which FULL always sends.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::AssembleError;
use crate::model::table::{Column, Table, TableId};
use crate::pg::catalog::ReplicaIdentity;
use crate::pg::ident::QualifiedName;
use crate::pgoutput::Relation;

/// What the server writes as an empty schema name (`logicalrep_write_namespace`).
const CATALOG_SCHEMA: &str = "pg_catalog";

/// The primary key's columns of tables with FULL identity. A table that is absent, or present with
/// no columns, has no key.
#[derive(Clone, Debug, Default)]
pub struct KeyLookup(HashMap<TableId, Vec<String>>);

impl KeyLookup {
    fn columns(&self, id: TableId) -> &[String] {
        self.0.get(&id).map_or(&[], Vec::as_slice)
    }
}

impl FromIterator<(TableId, Vec<String>)> for KeyLookup {
    fn from_iter<I: IntoIterator<Item = (TableId, Vec<String>)>>(keys: I) -> KeyLookup {
        KeyLookup(keys.into_iter().collect())
    }
}

// === impl RelationCache ===

/// The tables that this connection has described so far.
#[derive(Debug)]
pub struct RelationCache {
    keys: KeyLookup,
    tables: HashMap<TableId, Arc<Table>>,
}

impl RelationCache {
    pub fn new(keys: KeyLookup) -> RelationCache {
        RelationCache { keys, tables: HashMap::new() }
    }

    /// Takes a description in.
    pub fn on_relation(&mut self, relation: &Relation) -> Arc<Table> {
        let table = Arc::new(describe(relation, &self.keys));
        self.tables.insert(table.id, Arc::clone(&table));
        table
    }

    pub fn table(&self, id: TableId) -> Result<&Arc<Table>, AssembleError> {
        self.tables.get(&id).ok_or(AssembleError::UnknownRelation { id })
    }
}

fn describe(relation: &Relation, keys: &KeyLookup) -> Table {
    let id = TableId(relation.id);
    let schema = if relation.schema.is_empty() { CATALOG_SCHEMA } else { &relation.schema };
    let columns: Vec<Column> = relation
        .columns
        .iter()
        .map(|column| Column {
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            is_identity: column.is_identity,
        })
        .collect();
    let key = match relation.identity {
        ReplicaIdentity::Default | ReplicaIdentity::Index => flagged_key(&columns),
        ReplicaIdentity::Full => looked_up_key(&columns, keys.columns(id)),
        ReplicaIdentity::Nothing => Vec::new(),
    };
    let name = QualifiedName::new(schema, relation.name.clone());
    Table { id, name, identity: relation.identity, columns, key }
}

fn flagged_key(columns: &[Column]) -> Vec<usize> {
    columns.iter().enumerate().filter(|(_, c)| c.is_identity).map(|(index, _)| index).collect()
}

fn looked_up_key(columns: &[Column], names: &[String]) -> Vec<usize> {
    let position = |name: &String| columns.iter().position(|column| &column.name == name);
    let mut key: Vec<usize> = names.iter().map_while(position).collect();
    if key.len() != names.len() {
        return Vec::new();
    }
    key.sort_unstable();
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgoutput::RelationColumn;

    const NO_KEY: [usize; 0] = [];

    fn relation(identity: ReplicaIdentity, columns: &[(&str, bool)]) -> Relation {
        let column = |&(name, is_identity): &(&str, bool)| RelationColumn {
            is_identity,
            name: name.to_owned(),
            type_oid: 23,
            type_modifier: -1,
        };
        Relation {
            xid: None,
            id: 16_384,
            schema: "public".to_owned(),
            name: "t".to_owned(),
            identity,
            columns: columns.iter().map(column).collect(),
        }
    }

    fn key(relation: &Relation, keys: &[&str]) -> Vec<usize> {
        let names = keys.iter().map(|&name| name.to_owned()).collect();
        let lookup = [(TableId(relation.id), names)].into_iter().collect();
        RelationCache::new(lookup).on_relation(relation).key.clone()
    }

    #[test]
    fn the_key_is_what_the_identity_flags() {
        use ReplicaIdentity::*;
        let columns = [("a", false), ("b", true), ("c", true)];
        assert_eq!(key(&relation(Default, &columns), &["a"]), [1, 2]);
        assert_eq!(key(&relation(Index, &columns), &[]), [1, 2]);
        assert_eq!(key(&relation(Default, &[("a", false)]), &["a"]), NO_KEY, "no primary key");
        assert_eq!(key(&relation(Nothing, &[("a", false)]), &["a"]), NO_KEY);
    }

    #[test]
    fn under_full_identity_the_key_is_looked_up_and_put_in_column_order() {
        let full = relation(ReplicaIdentity::Full, &[("a", true), ("b", true), ("c", true)]);
        assert_eq!(key(&full, &["c", "a"]), [0, 2]);
        assert_eq!(key(&full, &[]), NO_KEY);
        assert_eq!(RelationCache::new(KeyLookup::default()).on_relation(&full).key, NO_KEY);
    }

    #[test]
    fn a_key_column_that_the_relation_lacks_means_no_key() {
        let full = relation(ReplicaIdentity::Full, &[("a", true), ("b", true)]);
        assert_eq!(key(&full, &["a", "renamed"]), NO_KEY);
        assert_eq!(key(&full, &["renamed", "a"]), NO_KEY);
    }

    #[test]
    fn a_description_sent_again_is_an_equal_table_and_another_arc() {
        let mut cache = RelationCache::new(KeyLookup::default());
        let narrow = relation(ReplicaIdentity::Default, &[("a", true)]);
        let wide = relation(ReplicaIdentity::Default, &[("a", true), ("b", false)]);
        let first = cache.on_relation(&narrow);
        let again = cache.on_relation(&narrow);
        assert!(first == again && !Arc::ptr_eq(&first, &again), "there is something to look at");
        let second = cache.on_relation(&wide);
        assert_eq!((first.columns.len(), second.columns.len()), (1, 2));
        assert!(Arc::ptr_eq(&second, cache.table(first.id).expect("described")));
    }

    #[test]
    fn an_empty_schema_is_pg_catalog() {
        let mut relation = relation(ReplicaIdentity::Default, &[("a", true)]);
        relation.schema.clear();
        let table = RelationCache::new(KeyLookup::default()).on_relation(&relation);
        assert_eq!(table.name.to_string(), "pg_catalog.t");
    }

    #[test]
    fn a_relation_that_was_never_described_is_named() {
        let error = RelationCache::new(KeyLookup::default()).table(TableId(7)).expect_err("empty");
        let text = "relation with OID 7 was never described on this connection";
        assert_eq!(error.to_string(), text);
    }
}
