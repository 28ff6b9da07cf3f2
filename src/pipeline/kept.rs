//! `on_delete = "keep"` and `"mark:<column>"`: what has to be so at both sides, each with the statement that
//! mends it; pure.

use std::collections::BTreeSet;

use crate::apply::mapping::{Mapping, MappingError};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{IndexInfo, TableInfo};
use crate::pg::ident::{QualifiedName, identifier, identifiers};
use crate::pipeline::planner::NO_KEY_TO_MARK_BY;
use crate::transform::TransformPlan;

/// One table in which rows stay that the source has deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub transform: &'a TransformPlan,
    /// The destination's table, where it is there.
    pub existing: Option<&'a TableInfo>,
    /// No change follows the copy.
    pub is_copy_only: bool,
}

impl Kept<'_> {
    /// What keeps rows from being marked is taken out of what keeps them from being written: no change at
    /// the source would mend it.
    pub(super) fn findings(
        self,
        mapping: &mut Option<Result<Mapping, Vec<MappingError>>>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let table = self.transform.table();
        let name = table.name.sql();
        let mark = self.transform.mark_name();
        if let Some(mark) = mark.filter(|_| !table.has_key() && !self.is_copy_only) {
            let object = format!("table {}", self.transform.source_table().name.sql());
            let message = format!("on_delete is \"mark:{mark}\", and {NO_KEY_TO_MARK_BY}");
            findings.push(Finding::error(Side::Source, object, message));
        }
        if let Some(Err(errors)) = mapping {
            for error in errors.iter().filter(|error| matches!(error, MappingError::Mark(_))) {
                let object = format!("table {name}");
                let finding = Finding::error(Side::Destination, object, error.to_string());
                findings.push(error.remedy().into_iter().fold(finding, Finding::remedy));
            }
            errors.retain(|error| !matches!(error, MappingError::Mark(_)));
            if errors.is_empty() {
                *mapping = None;
            }
        }
        let key: BTreeSet<&str> = table.key_columns().map(|column| column.name.as_str()).collect();
        let indexes = self.existing.iter().flat_map(|existing| &existing.indexes);
        let in_the_way = indexes.filter(|index| is_in_the_way(index, &key));
        findings.extend(in_the_way.map(|index| self.index_finding(index, mark)));
        findings
    }

    fn index_finding(&self, index: &IndexInfo, mark: Option<&str>) -> Finding {
        let table = &self.transform.table().name;
        let (name, own) = (table.sql(), identifier(&index.name));
        let message = "rows stay in the table that the source has deleted (on_delete): one that gets a value \
                       of theirs is refused (E_CONFLICT)";
        let object = format!("index {own} of table {name}");
        let finding = Finding::warning(Side::Destination, object, message);
        let drop = match index.constraint {
            Some(_) => format!("ALTER TABLE {name} DROP CONSTRAINT {own}"),
            None => format!("DROP INDEX {}", QualifiedName::new(&table.schema, &index.name).sql()),
        };
        match mark {
            Some(mark) if !index.columns.is_empty() && !index.is_exclusion => {
                let columns = identifiers(index.columns.iter().map(String::as_str));
                let column = identifier(mark);
                let present = match self.existing.and_then(|table| table.column(mark)) {
                    Some(info) if info.type_oid == crate::pg::oid::BOOL => {
                        format!("{column} IS NOT TRUE")
                    }
                    _ => format!("{column} IS NULL"),
                };
                finding.remedy(format!(
                    "{drop}; CREATE UNIQUE INDEX ON {name} ({columns}) WHERE {present}"
                ))
            }
            _ => finding.remedy(drop),
        }
    }
}

fn is_in_the_way(index: &IndexInfo, key: &BTreeSet<&str>) -> bool {
    let columns: BTreeSet<&str> = index.columns.iter().map(String::as_str).collect();
    !index.is_partial && (index.is_exclusion || index.is_unique && columns != *key)
}
