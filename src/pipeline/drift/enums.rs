//! An enum that grew at the source: which label the destination lacks, by both catalogs.
//!
//! The destination's error quotes the value that it refused, and values are never shown. Labels are
//! no values: they are the type's, and it is the type that has to be mended.

use tokio_postgres::error::SqlState;

use crate::apply::ApplyError;
use crate::checkpoint::tables::TableRecord;
use crate::model::finding::Side;
use crate::pg::catalog::shapes::{self, EnumInfo};
use crate::pg::ident::literal;
use crate::pipeline::drift::tables::Sides;
use crate::pipeline::error::PipelineError;

/// The error in other words, where a label is what the destination refused.
pub async fn explain(
    sides: Sides<'_>,
    records: &[TableRecord],
    error: PipelineError,
) -> PipelineError {
    // Of several transactions the one that is refused is found first (`supervise`).
    if matches!(&error, PipelineError::Batch { place, .. } if place.transaction_count > 1) {
        return error;
    }
    let refused = match &error {
        PipelineError::Apply(ApplyError::Table { table, source })
        | PipelineError::Batch { source: ApplyError::Table { table, source }, .. }
            if source.code() == Some(&SqlState::INVALID_TEXT_REPRESENTATION) =>
        {
            table
        }
        _ => return error,
    };
    let Some(record) = records.iter().find(|record| record.destination == *refused) else {
        return error;
    };
    match missing_labels(sides, record).await {
        Ok(Some(message)) => {
            PipelineError::Schema { table: record.source.clone(), message, lsn: error.lsn() }
        }
        // The refusal counts, whatever a further question came to.
        Ok(None) | Err(_) => error,
    }
}

async fn missing_labels(
    sides: Sides<'_>,
    record: &TableRecord,
) -> Result<Option<String>, PipelineError> {
    let (Some(source), Some(destination)) = (record.source_oid, record.destination_oid) else {
        return Ok(None);
    };
    let here = shapes::enums(sides.source, source).await;
    let there = shapes::enums(sides.destination, destination).await;
    let (here, there) = (
        here.map_err(PipelineError::catalog(Side::Source))?,
        there.map_err(PipelineError::catalog(Side::Destination))?,
    );
    let same = |from: &EnumInfo| {
        let is_same = |to: &&EnumInfo| to.name == from.name;
        let found = there.iter().find(is_same);
        found.or_else(|| there.iter().find(|to| to.name.name == from.name.name))
    };
    let said: Vec<String> =
        here.iter().filter_map(|from| Some((from, same(from)?))).flat_map(differences).collect();
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

/// What makes the enums differ, with the statements that mend it at the destination.
fn differences((from, to): (&EnumInfo, &EnumInfo)) -> Vec<String> {
    let renamed = renamed(from, to);
    if renamed.is_empty() { additions((from, to)) } else { renamed }
}

/// Labels that have other names in their places, if that is all. A label added beside the old one would
/// leave the rows that have it behind.
fn renamed(from: &EnumInfo, to: &EnumInfo) -> Vec<String> {
    let pairs = || from.labels.iter().zip(&to.labels).filter(|(here, there)| here != there);
    let is_renamed = from.labels.len() == to.labels.len()
        && pairs().all(|(here, there)| !to.labels.contains(here) && !from.labels.contains(there));
    if !is_renamed {
        return Vec::new();
    }
    pairs()
        .map(|(here, there)| {
            let (name, here, there) = (to.name.sql(), literal(here), literal(there));
            format!(
                "type {name} has the value {there} at the destination where the source has {here}; do there: ALTER TYPE {name} RENAME VALUE {there} TO {here}"
            )
        })
        .collect()
}

/// What the destination's enum lacks, with the statements that bring it.
fn additions((from, to): (&EnumInfo, &EnumInfo)) -> Vec<String> {
    let missing = from.labels.iter().enumerate().filter(|(_, label)| !to.labels.contains(label));
    missing
        .map(|(index, label)| {
            let next = from.labels[index + 1..].iter().find(|label| to.labels.contains(label));
            let place = next.map(|next| format!(" BEFORE {}", literal(next)));
            format!(
                "type {} lacks the value {} at the destination; do there: ALTER TYPE {} ADD VALUE {}{}",
                to.name.sql(),
                literal(label),
                to.name.sql(),
                literal(label),
                place.unwrap_or_default()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::ident::QualifiedName;

    fn of(labels: &[&str]) -> EnumInfo {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        EnumInfo { name: QualifiedName::new("s", "e"), labels }
    }

    #[test]
    fn each_missing_label_is_named_with_its_place() {
        let said = additions((&of(&["a", "mid", "b", "last"]), &of(&["a", "b"])));
        assert_eq!(said.len(), 2);
        assert!(said[0].ends_with(r#"ALTER TYPE "s"."e" ADD VALUE 'mid' BEFORE 'b'"#), "{said:?}");
        assert!(said[1].ends_with(r#"ADD VALUE 'last'"#), "{said:?}");
        assert!(differences((&of(&["a"]), &of(&["a", "b"]))).is_empty());
    }

    #[test]
    fn a_renamed_label_is_not_taken_for_a_new_one() {
        let said = differences((&of(&["a", "blue"]), &of(&["a", "sad"])));
        assert_eq!(said.len(), 1);
        assert!(
            said[0].ends_with(r#"ALTER TYPE "s"."e" RENAME VALUE 'sad' TO 'blue'"#),
            "{said:?}"
        );
        // Swapped names, or one more: nobody can say what became of which.
        assert!(differences((&of(&["b", "a"]), &of(&["a", "b"]))).is_empty());
        assert!(
            differences((&of(&["a", "blue", "c"]), &of(&["a", "sad"])))[0].contains("ADD VALUE")
        );
    }
}
