//! What the destination has, looked up by name.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::names::canonical;
use crate::pg::catalog::present::{PresentRelation, PresentRows, ServerAbilities};
use crate::pg::ident::QualifiedName;

/// What the destination has.
#[derive(Clone, Debug, Default)]
pub struct Present {
    pub server: ServerAbilities,
    relations: HashMap<QualifiedName, PresentRelation>,
    /// Table → constraint → whether it is validated.
    constraints: HashMap<QualifiedName, HashMap<String, bool>>,
    types: HashMap<QualifiedName, Vec<String>>,
    collations: HashSet<QualifiedName>,
    statistics: HashSet<QualifiedName>,
    /// Kind and canonical identity.
    objects: HashSet<(String, String)>,
    functions: BTreeSet<String>,
}

impl Present {
    pub fn new(rows: PresentRows) -> Present {
        let mut present = Present {
            functions: rows.server.functions.iter().cloned().collect(),
            server: rows.server,
            ..Present::default()
        };
        for relation in rows.relations {
            let name = QualifiedName::new(&relation.schema, &relation.name);
            present.relations.insert(name, relation);
        }
        for constraint in rows.constraints {
            let table = QualifiedName::new(constraint.schema, constraint.table);
            let of_table = present.constraints.entry(table).or_default();
            of_table.insert(constraint.name, constraint.is_validated);
        }
        for object in rows.objects {
            let name = QualifiedName::new(&object.schema, &object.name);
            match object.kind.as_str() {
                "type" => drop(present.types.insert(name, object.labels)),
                "collation" => drop(present.collations.insert(name)),
                "statistics" => drop(present.statistics.insert(name)),
                _ => drop(present.objects.insert((object.kind, canonical(&object.name)))),
            }
        }
        present
    }

    pub(super) fn version(&self) -> i32 {
        self.server.major_version
    }

    pub(super) fn has_schema(&self, name: &str) -> bool {
        self.server.schemas.iter().any(|schema| schema == name)
    }

    pub fn has_relation(&self, name: &QualifiedName) -> bool {
        self.relations.contains_key(name)
    }

    pub fn is_partitioned(&self, name: &QualifiedName) -> bool {
        self.relations.get(name).is_some_and(|relation| relation.kind == "p")
    }

    /// The table whose index has the name.
    pub(super) fn table_of_index(&self, name: &QualifiedName) -> Option<QualifiedName> {
        let (schema, table) = self.relations.get(name)?.of_table.as_ref()?;
        Some(QualifiedName::new(schema, table))
    }

    pub(super) fn has_primary_key(&self, table: &QualifiedName) -> bool {
        self.relations.values().any(|index| {
            index.is_primary
                && index
                    .of_table
                    .as_ref()
                    .is_some_and(|(schema, name)| *schema == table.schema && *name == table.name)
        })
    }

    pub(super) fn is_child_of(&self, table: &QualifiedName, parent: &QualifiedName) -> bool {
        self.relations.get(table).is_some_and(|relation| {
            relation
                .parents
                .iter()
                .any(|(schema, name)| *schema == parent.schema && *name == parent.name)
        })
    }

    /// Whether the constraint is there; if so, whether it is validated.
    pub(super) fn constraint(&self, table: &QualifiedName, name: &str) -> Option<bool> {
        self.constraints.get(table)?.get(name).copied()
    }

    /// The type's labels (none but for an enum), if it is there.
    pub(super) fn type_labels(&self, name: &QualifiedName) -> Option<&[String]> {
        self.types.get(name).map(Vec::as_slice)
    }

    pub(super) fn has_collation(&self, name: &QualifiedName) -> bool {
        self.collations.contains(name)
    }

    pub(super) fn has_statistics(&self, name: &QualifiedName) -> bool {
        self.statistics.contains(name)
    }

    pub(super) fn has_object(&self, kind: &str, identity: &str) -> bool {
        self.objects.contains(&(kind.to_owned(), canonical(identity)))
    }

    /// A function of the system's own.
    pub(super) fn has_system_function(&self, name: &str) -> bool {
        self.functions.contains(name)
    }

    pub(super) fn has_access_method(&self, name: &str) -> bool {
        self.server.access_methods.iter().any(|method| method == name)
    }
}
