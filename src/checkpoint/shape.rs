//! What has been judged of a source table's columns, in the table's record.
//!
//! The stream names columns and never says that one was renamed, or dropped and added again. The
//! catalog numbers them for ever but shows the present while the stream shows the past. So the
//! numbers of the columns that the destination's rows stand for are remembered, and the files that
//! held the rows while there were no others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pg::catalog::TableInfo;
use crate::pg::oid::Oid;

/// One source column that the destination's rows stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownColumn {
    /// `attnum`.
    pub number: i16,
    pub name: String,
    pub type_oid: Oid,
    pub type_modifier: i32,
}

/// The source table as it was judged last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceShape {
    /// Attributes up to this number have been judged (`relnatts` then).
    pub attribute_count: i16,
    /// A column that is gone stays: the stream may still come to the time when it was there.
    pub columns: Vec<KnownColumn>,
    /// Each part's file when there were no attributes beyond; empty where that is not known.
    pub files: BTreeMap<Oid, Oid>,
}

impl SourceShape {
    /// What a copy stands for that reads the table as the catalog describes it.
    pub fn of(table: &TableInfo) -> SourceShape {
        let columns = table.columns.iter().map(|column| KnownColumn {
            number: column.number,
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
        });
        let columns: Vec<KnownColumn> = columns.collect();
        let last = columns.iter().map(|column| column.number).max().unwrap_or(0);
        // The columns were read a moment after the count.
        let attribute_count = table.attribute_count.max(last);
        let is_alone = table.filenode != 0;
        let files = is_alone.then_some((table.oid, table.filenode)).into_iter().collect();
        SourceShape { attribute_count, columns, files }
    }

    pub fn by_name(&self, name: &str) -> Option<&KnownColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub fn by_number(&self, number: i16) -> Option<&KnownColumn> {
        self.columns.iter().find(|column| column.number == number)
    }

    /// The columns' names, for whoever asks whether one is new.
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("numbers and names are JSON")
    }

    /// `None` for text that is not one of ours: then the columns are judged anew.
    pub(super) fn from_text(text: &str) -> Option<SourceShape> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::catalog::table_info::fixture::{column, table};
    use crate::pg::oid::INT4;

    #[test]
    fn what_is_remembered_survives_being_stored() {
        let info = table("t", vec![column("a\"b", "integer", INT4)], Vec::new());
        let shape = SourceShape::of(&info);
        assert_eq!(shape.files, BTreeMap::from([(20_000, 20_000)]));
        assert_eq!(SourceShape::from_text(&shape.to_text()), Some(shape));
        assert_eq!(SourceShape::from_text("{\"columns\": 1}"), None);
    }

    #[test]
    fn a_partitioned_table_has_no_file_of_its_own() {
        let mut info = table("t", vec![column("a", "integer", INT4)], Vec::new());
        info.filenode = 0;
        assert!(SourceShape::of(&info).files.is_empty());
    }
}
