//! In which order tables are loaded where foreign keys are checked meanwhile: each after those that it
//! refers to.
//!
//! The replica role does not check them, and then all tables are loaded side by side. A table that
//! refers to itself is loaded by one COPY, whose rows are checked at its end.

use std::collections::{BTreeMap, BTreeSet};

use super::parts::Part;
use super::prepare::Preparation;
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, Reference};
use crate::pg::ident::QualifiedName;
use crate::pipeline::error::PipelineError;
use crate::snapshot::Chunk;

/// What foreign keys at the destination ask of the copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    levels: BTreeMap<QualifiedName, usize>,
    self_referring: BTreeSet<QualifiedName>,
}

impl Order {
    /// Tables of a lower level are loaded before.
    pub(super) fn level(&self, destination: &QualifiedName) -> usize {
        self.levels.get(destination).copied().unwrap_or(0)
    }

    pub(super) fn keep_whole(&self, destination: &QualifiedName, parts: &mut [Part]) {
        if self.self_referring.contains(destination) {
            for part in parts {
                part.chunks = vec![Chunk::WHOLE];
            }
        }
    }
}

impl Preparation<'_> {
    pub(super) async fn order(&self, names: &[QualifiedName]) -> Result<Order, PipelineError> {
        if !self.planner.keeps_order() {
            return Ok(Order::default());
        }
        let references = catalog::references(self.destination, names).await;
        let references = references.map_err(PipelineError::catalog(Side::Destination))?;
        order(names, &references).map_err(|circle| {
            let names: Vec<String> = circle.iter().map(QualifiedName::sql).collect();
            let finding = Finding::error(
                Side::Destination,
                format!("tables {}", names.join(", ")),
                "their foreign keys form a circle, so that no order of loading them satisfies these, and our role may not set session_replication_role",
            );
            PipelineError::Preflight(vec![finding.remedy(
                "GRANT SET ON PARAMETER session_replication_role (version 15 and up); or drop one of the foreign keys until the copy is done",
            )])
        })
    }
}

/// The tables that are left over where no order exists.
fn order(names: &[QualifiedName], references: &[Reference]) -> Result<Order, Vec<QualifiedName>> {
    let (to_itself, to_others): (Vec<&Reference>, Vec<&Reference>) =
        references.iter().partition(|reference| reference.table == reference.referred);
    let mut left: BTreeSet<&QualifiedName> = names.iter().collect();
    let mut levels = BTreeMap::new();
    let mut level = 0;
    while !left.is_empty() {
        let waits = |name: &QualifiedName| {
            to_others.iter().any(|other| other.table == *name && left.contains(&other.referred))
        };
        let free: Vec<&QualifiedName> = left.iter().copied().filter(|name| !waits(name)).collect();
        if free.is_empty() {
            return Err(left.into_iter().cloned().collect());
        }
        for name in free {
            left.remove(name);
            levels.insert(name.clone(), level);
        }
        level += 1;
    }
    let self_referring = to_itself.iter().map(|reference| reference.table.clone()).collect();
    Ok(Order { levels, self_referring })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> QualifiedName {
        QualifiedName::new("public", name)
    }

    fn references(pairs: &[(&str, &str)]) -> Vec<Reference> {
        let reference = |(table, referred): &(&str, &str)| Reference {
            table: name(table),
            referred: name(referred),
        };
        pairs.iter().map(reference).collect()
    }

    #[test]
    fn a_table_comes_after_those_that_it_refers_to() {
        let names = ["a", "b", "c", "d", "alone"].map(name);
        let edges = references(&[("c", "b"), ("b", "a"), ("c", "a"), ("d", "a"), ("b", "b")]);
        let order = order(&names, &edges).expect("there is one");
        let levels: Vec<usize> = names.iter().map(|name| order.level(name)).collect();
        assert_eq!(levels, [0, 1, 2, 1, 0]);
        assert_eq!(order.self_referring, BTreeSet::from([name("b")]));
    }

    #[test]
    fn a_circle_has_no_order() {
        let names = ["a", "b", "c"].map(name);
        let edges = references(&[("a", "b"), ("b", "a")]);
        assert_eq!(order(&names, &edges), Err(vec![name("a"), name("b")]));
    }
}
