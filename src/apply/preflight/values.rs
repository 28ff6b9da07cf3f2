//! Whether the destination's columns mean and hold what the source's do.

use crate::apply::fit::Fit;
use crate::apply::mapping::{MappedColumn, Mapping, retype_sql};
use crate::apply::preflight::DestinationTable;
use crate::model::finding::{Finding, Side};
use crate::pg::ident::identifier;

/// Types that do not hold all values of the source's, or read them otherwise. One that would alter
/// values without an error is no mapping at all.
pub(super) fn type_findings(table: &DestinationTable<'_>, mapping: &Mapping) -> Vec<Finding> {
    let written = mapping.columns.iter().filter(|column| column.is_written());
    let finding = |column: &MappedColumn| {
        let name = &column.destination.name;
        let object = format!("column {} of table {}", identifier(name), table.name.sql());
        let type_name = &column.destination.type_name;
        let source_type = column.source_type.as_deref().unwrap_or_default();
        let finding = match column.fit {
            Fit::Whole | Fit::Alters(_) => return None,
            Fit::Read(reason) => {
                let message =
                    format!("its type {type_name} reads the source's {source_type}: {reason}");
                return Some(Finding::warning(Side::Destination, object, message));
            }
            Fit::Narrow(reason) => {
                let message = format!(
                    "its type {type_name} does not hold all of the source's {source_type}: {reason}"
                );
                match table.is_followed {
                    // What was copied did fit; the row that does not is held.
                    true => Finding::warning(Side::Destination, object, message),
                    false => Finding::error(Side::Destination, object, message),
                }
            }
        };
        Some(finding.remedy(retype_sql(table.name, name, source_type)))
    };
    written.filter_map(finding).collect()
}
