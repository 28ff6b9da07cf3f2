//! `money` is a number of the currency's smallest units, and `lc_monetary` says how many of them make
//! one: under another locale the same bytes are another amount.

use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{ServerFacts, TableInfo};
use crate::pg::ident::{identifier, literal};
use crate::structure::TableRequest;

/// Columns whose amounts would be others at the destination.
pub(super) fn findings<'a>(
    source: &ServerFacts,
    destination: &ServerFacts,
    tables: impl Iterator<Item = (&'a TableInfo, &'a TableRequest)>,
) -> Vec<Finding> {
    let (there, here) = (&source.lc_monetary, &destination.lc_monetary);
    if spelled(here) == spelled(there) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (table, request) in tables {
        let passes = |name: &str| {
            let mut columns = request.columns.iter().filter(|column| column.is_untransformed);
            columns.any(|column| column.source_name.as_deref() == Some(name))
        };
        for column in table.columns.iter().filter(|c| c.has_money && passes(&c.name)) {
            let message = format!(
                "it is of type {}, and lc_monetary is {here} here and {there} at the source: its amounts \
                 would be others",
                column.type_name
            );
            let (name, on) = (identifier(&column.name), request.destination.sql());
            findings.push(
                Finding::error(Side::Destination, format!("column {name} of table {on}"), message)
                    .remedy(format!(
                        "ALTER DATABASE {} SET lc_monetary = {}",
                        identifier(&destination.database),
                        literal(there).trim_start()
                    )),
            );
        }
    }
    findings
}

/// `en_US.UTF-8` and `en_US.utf8` are one locale.
fn spelled(locale: &str) -> String {
    locale.to_ascii_lowercase().replace(".utf-8", ".utf8")
}
