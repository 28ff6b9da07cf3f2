//! What is remembered of what the publications send of a table, and what a difference means.
//!
//! The stream says nothing about the time in which a table was not published, or otherwise. So the
//! memberships are remembered by their OIDs (a table that is removed and added again has another),
//! publications by OID and by the `xmin` of their row (an option that is changed and changed back
//! leaves another), partitions by the `xmin` of their link. A difference that cannot be explained
//! away is a gap, and the table is copied again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::view::View;
use crate::pg::oid::Oid;

/// What `xmin` reads after the catalog was rewritten (VACUUM FULL): it says nothing any more.
const FROZEN: &str = "2";

/// Everything that decides what is sent of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub through: Vec<Through>,
    /// The leaves of a partitioned table with the versions of the links above them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<BTreeMap<Oid, String>>,
    /// Of a table whose updates and deletes are not sent: how many the server had counted, by the
    /// table that holds the rows, before its copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<BTreeMap<Oid, i64>>,
}

/// One publication that sends the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Through {
    pub publication: Oid,
    pub name: String,
    pub version: String,
    pub owner: String,
    pub operations: String,
    pub via_root: bool,
    #[serde(default)]
    pub generated: bool,
    pub members: Vec<String>,
    pub columns: Option<Vec<String>>,
    pub filter: Option<String>,
}

/// What a difference means for the rows at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    None,
    /// Nothing was missed.
    Harmless,
    /// These partitions came in by an attachment: what they held before was not sent.
    Attached(Vec<Oid>),
    /// Something may have been missed: why.
    Gap(String),
}

impl Mark {
    /// The text that is stored.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("names and numbers")
    }

    /// `None` for text of another make.
    pub fn parse(text: &str) -> Option<Mark> {
        serde_json::from_str(text).ok()
    }

    /// Whether rows of partitions went under the partitions' names.
    pub fn is_by_leaf(&self) -> bool {
        self.leaves.is_none() && self.through.iter().any(|through| !through.via_root)
    }

    /// Whether some publication sends `operation`.
    fn sends(&self, operation: &str) -> bool {
        self.through.iter().any(|through| through.operations.split(", ").any(|o| o == operation))
    }

    /// Whether `now` sends an operation that `self` did not.
    pub fn sends_less_than(&self, now: &Mark) -> bool {
        self.held_back(now).is_some()
    }

    fn held_back(&self, now: &Mark) -> Option<&'static str> {
        let operations = ["insert", "update", "delete", "truncate"];
        operations.into_iter().find(|operation| now.sends(operation) && !self.sends(operation))
    }

    /// What came to be missed between `self`, as remembered, and `now`.
    pub fn difference(&self, now: &Mark, table: Oid, view: &View) -> Difference {
        if let Some(reason) = self.gap(now) {
            return Difference::Gap(reason);
        }
        let nothing = BTreeMap::new();
        let before = self.leaves.as_ref().unwrap_or(&nothing);
        let leaves = now.leaves.as_ref().unwrap_or(&nothing);
        let is_new = |leaf: &Oid, versions: &String| before.get(leaf) != Some(versions);
        let attached: Vec<Oid> = leaves
            .iter()
            .filter(|(leaf, versions)| is_new(leaf, versions) && !view.is_born_in(**leaf, table))
            .map(|(leaf, _)| *leaf)
            .collect();
        if !attached.is_empty() {
            return Difference::Attached(attached);
        }
        let is_same = self.through == now.through && self.leaves == now.leaves;
        if is_same { Difference::None } else { Difference::Harmless }
    }

    fn gap(&self, now: &Mark) -> Option<String> {
        if let Some(operation) = self.held_back(now) {
            return Some(format!("its {operation}s were not published until now"));
        }
        let present = |known: &Through| {
            now.through.iter().find(|through| through.publication == known.publication)
        };
        let is_partitioned = self.leaves.is_some() || now.leaves.is_some();
        let gap = |known: &Through, now: &Through| known.gap(now, is_partitioned);
        // One that sends everything makes up for whatever happens to the others.
        let is_kept = |known: &Through| present(known).is_some_and(|now| gap(known, now).is_none());
        if self.through.iter().any(|known| known.is_whole() && is_kept(known)) {
            return None;
        }
        for known in &self.through {
            let of = &known.name;
            match present(known) {
                None => return Some(format!("publication \"{of}\" publishes it no more")),
                Some(through) => {
                    if let Some(what) = gap(known, through) {
                        return Some(format!("{what} publication \"{of}\""));
                    }
                }
            }
        }
        let known = |through: &&Through| {
            self.through.iter().any(|known| known.publication == through.publication)
        };
        let added = now.through.iter().find(|through| !known(through))?;
        Some(format!("publication \"{}\" publishes it now, too", added.name))
    }
}

impl Through {
    /// Whether it sends every row and every change.
    fn is_whole(&self) -> bool {
        self.filter.is_none() && self.columns.is_none() && self.operations.split(", ").count() == 4
    }

    /// `is_partitioned`: under which name rows of partitions go matters to the table.
    fn gap(&self, now: &Through, is_partitioned: bool) -> Option<&'static str> {
        // A member whose filter or columns are set anew is another member, too.
        if self.filter != now.filter {
            return Some("its row filter was changed in");
        }
        if self.columns != now.columns || self.generated != now.generated {
            return Some("its column list was changed in");
        }
        if self.members != now.members {
            return Some("it was removed from and added to");
        }
        let is_elsewhere = self.via_root != now.via_root;
        if is_elsewhere && is_partitioned {
            return Some("publish_via_partition_root was changed in");
        }
        let is_touched = self.version != now.version && now.version != FROZEN;
        let is_explained =
            is_elsewhere || self.owner != now.owner || self.operations != now.operations;
        (is_touched && !is_explained).then_some("options were changed, and changed back, in")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(publication: Oid) -> Through {
        Through {
            publication,
            name: format!("p{publication}"),
            version: "700".to_owned(),
            owner: "owner".to_owned(),
            operations: "insert, update, delete, truncate".to_owned(),
            via_root: true,
            generated: false,
            members: vec!["table 1".to_owned()],
            columns: None,
            filter: None,
        }
    }

    fn mark(through: Vec<Through>) -> Mark {
        Mark { through, ..Mark::default() }
    }

    fn difference(before: &Mark, now: &Mark) -> Difference {
        before.difference(now, 1, &View::default())
    }

    fn is_gap(before: &Mark, now: &Mark) -> bool {
        matches!(difference(before, now), Difference::Gap(_))
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark {
            leaves: Some([(5, "7 8".to_owned())].into()),
            writes: Some([(5, 12)].into()),
            ..mark(vec![Through { filter: Some("a > 1".to_owned()), ..through(9) }])
        };
        assert_eq!(Mark::parse(&mark.text()), Some(mark));
        assert_eq!(Mark::parse("of another make"), None);
    }

    #[test]
    fn whatever_may_have_kept_a_change_back_is_a_gap() {
        let before = mark(vec![through(9)]);
        assert_eq!(difference(&before, &before.clone()), Difference::None);
        let changes: [fn(&mut Through); 5] = [
            |now| now.members = vec!["table 2".to_owned()],
            |now| now.filter = Some("a > 1".to_owned()),
            |now| now.columns = Some(vec!["a".to_owned()]),
            |now| now.version = "701".to_owned(),
            |now| now.publication = 10,
        ];
        for change in changes {
            let mut now = through(9);
            change(&mut now);
            assert!(is_gap(&before, &mark(vec![now.clone()])), "{now:?}");
        }
    }

    #[test]
    fn under_which_name_partitions_go_matters_where_there_are_any() {
        let by_root = mark(vec![through(9)]);
        let elsewhere = Through { via_root: false, version: "701".to_owned(), ..through(9) };
        let by_leaf = mark(vec![elsewhere]);
        assert_eq!(difference(&by_root, &by_leaf), Difference::Harmless);
        let leaves = || Some([(5, "7".to_owned())].into());
        let partitioned = Mark { leaves: leaves(), ..by_root };
        assert!(is_gap(&partitioned, &Mark { leaves: leaves(), ..by_leaf.clone() }));
        assert!(by_leaf.is_by_leaf() && !partitioned.is_by_leaf());
    }

    #[test]
    fn an_operation_that_is_sent_from_now_on_was_missed_before() {
        let insert = |operations: &str| {
            mark(vec![Through { operations: operations.to_owned(), ..through(9) }])
        };
        assert!(is_gap(&insert("insert"), &insert("insert, update")));
        assert_eq!(difference(&insert("insert, update"), &insert("insert")), Difference::Harmless);
    }

    #[test]
    fn another_owner_or_a_rewritten_catalog_is_no_gap() {
        let before = mark(vec![through(9)]);
        let owned = Through { version: "701".to_owned(), owner: "b".to_owned(), ..through(9) };
        assert_eq!(difference(&before, &mark(vec![owned])), Difference::Harmless);
        let frozen = Through { version: FROZEN.to_owned(), ..through(9) };
        assert_eq!(difference(&before, &mark(vec![frozen])), Difference::Harmless);
    }

    #[test]
    fn a_further_publication_matters_where_the_first_kept_rows_back() {
        let further = |first: Through| mark(vec![first, through(10)]);
        let whole = mark(vec![through(9)]);
        assert_eq!(difference(&whole, &further(through(9))), Difference::Harmless);
        let filtered = Through { filter: Some("a > 1".to_owned()), ..through(9) };
        assert!(is_gap(&mark(vec![filtered.clone()]), &further(filtered)));
    }

    #[test]
    fn a_leaf_of_unknown_origin_is_attached_and_one_that_left_is_harmless() {
        let with = |leaves: &[(Oid, &str)]| Mark {
            leaves: Some(
                leaves.iter().map(|&(leaf, version)| (leaf, version.to_owned())).collect(),
            ),
            ..mark(vec![through(9)])
        };
        let attached = |before: &[(Oid, &str)], now: &[(Oid, &str)]| {
            let link = |&(leaf, version): &(Oid, &str)| crate::pg::catalog::PartitionLink {
                partition: leaf,
                parent: 1,
                version: version.to_owned(),
                is_born: leaf == 30,
            };
            let view = View::new(Vec::new(), &[], now.iter().map(link).collect());
            with(before).difference(&with(now), 1, &view)
        };
        assert_eq!(attached(&[(20, "7")], &[(20, "7")]), Difference::None);
        assert_eq!(attached(&[(20, "7")], &[(20, "7"), (21, "8")]), Difference::Attached(vec![21]));
        assert_eq!(attached(&[(20, "7")], &[(20, "9")]), Difference::Attached(vec![20]));
        assert_eq!(attached(&[(20, "7")], &[(20, "7"), (30, "8")]), Difference::Harmless);
        assert_eq!(attached(&[(20, "7")], &[]), Difference::Harmless);
    }
}
