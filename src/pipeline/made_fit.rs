//! Whether the destination's column holds what steps make, found before the first row.

use crate::apply::mapping::MappingError;
use crate::pg::catalog::{ColumnInfo, Generated, TableInfo};
use crate::pg::oid;
use crate::transform::{Content, MadeValues, TransformPlan};

/// The columns that do not hold it.
pub(super) fn misfits(transform: &TransformPlan, destination: &TableInfo) -> Vec<MappingError> {
    let columns = transform.table().columns.iter().enumerate();
    let misfit = |(index, column): (usize, &crate::model::table::Column)| {
        let made = transform.made_values(index)?;
        let found = destination.column(&column.name)?;
        let is_misfit = found.generated == Generated::No && !holds(found, made);
        is_misfit.then(|| MappingError::MadeType {
            table: destination.name.clone(),
            column: found.name.clone(),
            type_name: found.type_name.clone(),
            made: described(made),
            made_type: oid::written(made.type_oid, -1).unwrap_or_else(|| "text".to_owned()),
        })
    };
    columns.filter_map(misfit).collect()
}

fn described(made: MadeValues) -> String {
    match (made.type_oid, made.longest) {
        (oid::JSON | oid::JSONB, _) => "JSON".to_owned(),
        (oid::UUID, _) => "a uuid".to_owned(),
        (_, Some(longest)) => format!("text of up to {longest} characters"),
        (_, None) => "text of any length".to_owned(),
    }
}

/// A domain is looked through: its checks are nobody's to know.
fn holds(destination: &ColumnInfo, made: MadeValues) -> bool {
    /// Bytes of the widest character.
    const CHARACTER_BYTES: usize = 4;
    let leaf = &destination.leaf;
    if leaf.array_depth > 0 {
        return false;
    }
    let is_json = matches!(made.type_oid, oid::JSON | oid::JSONB);
    let room = oid::characters(leaf.type_oid, leaf.type_modifier);
    let has_room = room.is_none_or(|room| made.longest.is_some_and(|longest| longest <= room));
    match leaf.type_oid {
        oid::TEXT => true,
        oid::VARCHAR => has_room,
        // Blanks at the end are no part of its values.
        oid::BPCHAR => {
            let has_none = matches!(made.content, Content::Word | Content::Uuid);
            has_room && (has_none || made.type_oid == oid::BPCHAR)
        }
        oid::NAME => {
            let most = usize::try_from(oid::NAME_BYTES_MAX).unwrap_or(0) / CHARACTER_BYTES;
            made.longest.is_some_and(|longest| longest <= most)
        }
        oid::JSON | oid::JSONB => {
            is_json || made.content == Content::Any && made.type_oid != oid::UUID
        }
        oid::UUID => made.content == Content::Uuid || made.content == Content::Any && !is_json,
        _ if leaf.kind == 'b' && leaf.name == "citext" => true,
        _ => made.content == Content::Any && !is_json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::catalog::table_info::fixture::column;
    use crate::pg::oid::Oid;

    fn made(type_oid: Oid, longest: Option<usize>, content: Content) -> MadeValues {
        MadeValues { type_oid, longest, content }
    }

    fn takes(type_oid: Oid, characters: Option<i32>, made: MadeValues) -> bool {
        let mut there = column("x", "x", type_oid);
        there.leaf.type_modifier = characters.map_or(-1, |characters| characters + 4);
        holds(&there, made)
    }

    #[test]
    fn a_hash_needs_a_text_of_its_length() {
        let hash = made(oid::TEXT, Some(64), Content::Word);
        for (type_oid, characters, expected) in [
            (oid::TEXT, None, true),
            (oid::VARCHAR, None, true),
            (oid::VARCHAR, Some(64), true),
            (oid::VARCHAR, Some(63), false),
            (oid::BPCHAR, Some(64), true),
            (oid::NAME, None, false),
            (oid::UUID, None, false),
            (oid::INT8, None, false),
            (oid::JSONB, None, false),
        ] {
            assert_eq!(takes(type_oid, characters, hash), expected, "{type_oid} {characters:?}");
        }
    }

    #[test]
    fn other_values_need_a_type_that_can_read_them() {
        let masked = made(oid::VARCHAR, Some(20), Content::Masked);
        assert!(takes(oid::VARCHAR, Some(20), masked) && !takes(oid::VARCHAR, Some(19), masked));
        assert!(!takes(oid::BPCHAR, Some(20), masked), "it would cut blanks off");
        assert!(takes(oid::BPCHAR, Some(20), made(oid::BPCHAR, Some(20), Content::Masked)));
        assert!(!takes(oid::DATE, None, masked));
        let any = made(oid::TEXT, None, Content::Any);
        assert!(takes(oid::DATE, None, any) && !takes(oid::VARCHAR, Some(500), any));
        let uuid = made(oid::UUID, Some(36), Content::Uuid);
        assert!(takes(oid::UUID, None, uuid) && takes(oid::VARCHAR, Some(36), uuid));
        assert!(!takes(oid::VARCHAR, Some(35), uuid) && !takes(oid::INT4, None, uuid));
        let json = made(oid::JSONB, None, Content::Any);
        assert!(takes(oid::JSON, None, json) && takes(oid::TEXT, None, json));
        assert!(!takes(oid::UUID, None, json) && !takes(oid::VARCHAR, Some(9), json));
        let mut array = column("x", "text[]", oid::TEXT);
        array.leaf.array_depth = 1;
        assert!(!holds(&array, any));
    }
}
