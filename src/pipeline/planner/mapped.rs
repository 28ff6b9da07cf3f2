//! A transform's output against the destination's table; pure.

use crate::apply::mapping::{Mapping, MappingError};
use crate::apply::mark::MarkMisfit;
use crate::pg::catalog::{ColumnInfo, TableInfo};
use crate::pipeline::made_fit;
use crate::transform::TransformPlan;

/// Which of its values goes where, or every reason why one cannot.
pub fn map(
    transform: &TransformPlan,
    source: &TableInfo,
    destination: &TableInfo,
) -> Result<Mapping, Vec<MappingError>> {
    // The catalog shows the present, the stream the past: a column that has another type by now is
    // taken as text.
    let described = |index| {
        let Some(passed) = transform.passed_column(index) else {
            return transform.computed_column(index);
        };
        source.column(&passed.name).filter(|column| column.type_oid == passed.type_oid)
    };
    let columns: Vec<Option<&ColumnInfo>> =
        (0..transform.table().columns.len()).map(described).collect();
    let mapped = Mapping::new(transform.table(), &columns, destination);
    let mut errors = made_fit::misfits(transform, destination);
    if let Some(mark) = transform.mark_name() {
        errors.extend(MarkMisfit::of(destination, mark).map(MappingError::from));
    }
    if errors.is_empty() {
        return mapped;
    }
    // A column that is marked has one reason only.
    let is_mark = |error: &MappingError| match error {
        MappingError::MissingColumn { column, .. } => {
            Some(column.as_str()) == transform.mark_name()
        }
        _ => false,
    };
    let others = mapped.err().into_iter().flatten().filter(|error| !is_mark(error));
    Err(others.chain(errors).collect())
}

/// Whether all values may be written in binary.
pub(in crate::pipeline) fn is_binary_compatible(
    transform: &TransformPlan,
    mapping: &Mapping,
) -> bool {
    mapping.columns.iter().filter(|column| column.is_written()).all(|column| {
        column.is_binary_compatible
            || transform.mark().is_some_and(|mark| mark.index == column.value_index)
            || transform.passed_column(column.value_index).is_none()
                && transform.computed_column(column.value_index).is_none()
                && transform.joins_binary(column.value_index, column.destination.type_oid)
    })
}
