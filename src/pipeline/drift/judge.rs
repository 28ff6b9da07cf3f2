//! What a description in the stream says about the columns; pure.
//!
//! In: what was judged before ([`SourceShape`]), the description (names and types, in the order of
//! the attribute numbers, as of some moment), and the source's catalog ([`TableShape`], as of now,
//! which is later). Out: every column that is new, and how sure one can be of it.
//!
//! The hard question: which value do the rows have that are older than a new column? PostgreSQL
//! keeps it in `attmissingval` when it did not have to rewrite them, and sends nothing either way.
//! So it is known only while nothing has rewritten the rows since there was no such column: the
//! files of then are compared with those of now. A rewrite that happened for another reason
//! (VACUUM FULL) makes it unknown all the same: doubt is said, never guessed away.
//!
//! **Invariant:** a column is followed under the number that it had when it was judged; a name that
//! means another number now is never taken for it.

use crate::checkpoint::shape::{KnownColumn, SourceShape};
use crate::model::table::Column;
use crate::pg::catalog::shapes::{Attribute, Files, TableShape};

/// What the description says that was not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Columns that the description has and nobody has judged.
    pub added: Vec<AddedColumn>,
    /// Generated columns that nobody has judged: the stream never has their values.
    pub generated: Vec<KnownColumn>,
    pub retyped: Vec<RetypedColumn>,
    pub renamed: Vec<RenamedColumn>,
    /// Columns whose name means another column now, or none.
    pub unclear: Vec<UnclearColumn>,
    /// What is known once all of it is settled.
    pub next: SourceShape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedColumn {
    pub name: String,
    pub existing: ExistingRows,
}

/// What rows hold that are older than the column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExistingRows {
    Null,
    /// As text.
    Constant(String),
    /// Lowercase, why nobody can know.
    Unknown(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetypedColumn {
    pub name: String,
    pub before: Type,
    pub now: Type,
    /// Rows may have been rewritten, in a way that the stream does not tell.
    pub is_rewritten: bool,
    /// The catalog still says so: not a description from further back.
    pub is_present: bool,
}

/// A type as the source's catalog numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    pub oid: crate::pg::oid::Oid,
    pub modifier: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedColumn {
    pub before: String,
    pub now: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclearColumn {
    pub name: String,
    /// Completes "column … of the source".
    pub reason: &'static str,
}

impl Drift {
    /// Nothing that was not known.
    pub fn is_none(&self) -> bool {
        self.added.is_empty()
            && self.generated.is_empty()
            && self.retyped.is_empty()
            && self.renamed.is_empty()
            && self.unclear.is_empty()
    }
}

/// Compares a description with what was judged before.
pub fn judge(known: &SourceShape, described: &[Column], present: &TableShape) -> Drift {
    let judge = Judge { known, described, present };
    let mut drift = Drift {
        added: Vec::new(),
        generated: Vec::new(),
        retyped: Vec::new(),
        renamed: Vec::new(),
        unclear: Vec::new(),
        next: known.clone(),
    };
    for (index, column) in described.iter().enumerate() {
        match known.by_name(&column.name) {
            Some(before) => judge.known_column(before, column, &mut drift),
            None => judge.new_column(index, column, &mut drift),
        }
    }
    judge.generated(&mut drift);
    judge.settle(&mut drift);
    drift
}

struct Judge<'a> {
    known: &'a SourceShape,
    described: &'a [Column],
    present: &'a TableShape,
}

impl Judge<'_> {
    fn known_column(&self, before: &KnownColumn, column: &Column, drift: &mut Drift) {
        let was = Type { oid: before.type_oid, modifier: before.type_modifier };
        let now = Type { oid: column.type_oid, modifier: column.type_modifier };
        let attribute = self.present.by_name(&column.name);
        if let Some(attribute) = attribute.filter(|found| found.number != before.number) {
            // The name means another column today. A description with the type of before, where
            // today's is another, is from before that; anything else may be from after.
            if was != now || type_of(attribute) == now {
                let reason = "is another column than the one whose values were copied: it was dropped and added again, or names were swapped";
                drift.unclear.push(UnclearColumn { name: column.name.clone(), reason });
            }
            return;
        }
        if was == now {
            return;
        }
        let is_present = attribute.is_some_and(|attribute| type_of(attribute) == now);
        if attribute.is_some_and(|attribute| type_of(attribute) == was) {
            // Judged already; this description is from before.
            return;
        }
        drift.retyped.push(RetypedColumn {
            name: column.name.clone(),
            before: was,
            now,
            is_rewritten: self.is_rewritten(),
            is_present,
        });
        if is_present
            && let Some(next) = drift.next.columns.iter_mut().find(|c| c.number == before.number)
        {
            (next.type_oid, next.type_modifier) = (now.oid, now.modifier);
        }
    }

    fn new_column(&self, index: usize, column: &Column, drift: &mut Drift) {
        let name = column.name.clone();
        let Some(attribute) = self.present.by_name(&name) else {
            let reason = "was added and is gone again, or has another name by now";
            drift.unclear.push(UnclearColumn { name, reason });
            return;
        };
        if attribute.number <= self.known.attribute_count {
            match self.known.by_number(attribute.number) {
                Some(before) => {
                    drift
                        .renamed
                        .push(RenamedColumn { before: before.name.clone(), now: name.clone() });
                    if let Some(next) =
                        drift.next.columns.iter_mut().find(|c| c.number == attribute.number)
                    {
                        next.name = name;
                    }
                }
                None => {
                    let reason = "was not there when the table was copied";
                    drift.unclear.push(UnclearColumn { name, reason });
                }
            }
            return;
        }
        drift.added.push(AddedColumn { name, existing: self.existing(index, attribute, column) });
        drift.next.columns.push(known(attribute));
    }

    /// What rows older than the attribute hold.
    fn existing(&self, index: usize, attribute: &Attribute, column: &Column) -> ExistingRows {
        let later = &self.described[index + 1..];
        if later.iter().any(|column| self.known.by_name(&column.name).is_some()) {
            return ExistingRows::Unknown("it stands where another column stood");
        }
        let between = self.known.attribute_count + 1..=self.present.attribute_count;
        let is_dropped =
            |attribute: &Attribute| attribute.is_dropped && between.contains(&attribute.number);
        if self.present.attributes.iter().any(is_dropped) {
            return ExistingRows::Unknown("another new column was dropped meanwhile");
        }
        if attribute.is_generated {
            return ExistingRows::Unknown("it is generated");
        }
        if self.is_rewritten() {
            return ExistingRows::Unknown(
                "the table was rewritten meanwhile, as a default that differs by row does it",
            );
        }
        if type_of(attribute).oid != column.type_oid
            && attribute.missing.values().any(Option::is_some)
        {
            return ExistingRows::Unknown("its type was changed meanwhile");
        }
        let parts = self.known.files.keys().filter_map(|part| attribute.missing.get(part));
        let mut values: Vec<&Option<String>> = parts.collect();
        values.dedup();
        match values.as_slice() {
            [] | [None] => ExistingRows::Null,
            [Some(value)] => ExistingRows::Constant(value.clone()),
            _ => ExistingRows::Unknown("it differs from partition to partition"),
        }
    }

    /// A part that held rows when nothing was new has another file now. A part that is gone took
    /// its rows along; one that came brought them by the stream.
    fn is_rewritten(&self) -> bool {
        let changed = |(part, file)| self.present.files.get(part).is_some_and(|now| now != file);
        self.known.files.is_empty() || self.known.files.iter().any(changed)
    }

    fn generated(&self, drift: &mut Drift) {
        let is_new = |attribute: &&Attribute| {
            attribute.number > self.known.attribute_count
                && attribute.is_generated
                && !attribute.is_dropped
                && !self.described.iter().any(|column| column.name == attribute.name)
        };
        let generated: Vec<KnownColumn> =
            self.present.attributes.iter().filter(is_new).map(known).collect();
        drift.next.columns.extend(generated.iter().cloned());
        drift.generated = generated;
    }

    /// How far all is judged once this is settled. Never up to today: the description may be from
    /// long ago, and what it is followed by is not known yet.
    fn settle(&self, drift: &mut Drift) {
        let judged = drift.next.columns.iter().map(|column| column.number).max();
        let judged = judged.unwrap_or(0).max(self.known.attribute_count);
        drift.next.attribute_count = judged;
    }
}

/// What is known, moved on to a look at the catalog that everything read now is later than: there,
/// the table had just the columns that are known, and these files.
pub fn moved_on(known: &SourceShape, past: &TableShape) -> Option<SourceShape> {
    let is_known = |attribute: &Attribute| {
        attribute.is_dropped
            || known.by_number(attribute.number).is_some_and(|column| {
                let was = Type { oid: column.type_oid, modifier: column.type_modifier };
                column.name == attribute.name && was == type_of(attribute)
            })
    };
    let moved = past.attributes.iter().all(is_known).then(|| SourceShape {
        attribute_count: past.attribute_count,
        columns: known.columns.clone(),
        files: past.files.clone(),
    })?;
    (moved != *known).then_some(moved)
}

/// What a record without a shape stands for, as well as the catalog of today can tell.
pub fn first_look(known_columns: &[String], present: &TableShape) -> SourceShape {
    let live = present.attributes.iter().filter(|attribute| !attribute.is_dropped);
    let (columns, new): (Vec<&Attribute>, Vec<&Attribute>) =
        live.partition(|attribute| known_columns.contains(&attribute.name));
    let columns: Vec<KnownColumn> = columns.into_iter().map(known).collect();
    if new.is_empty() {
        let (attribute_count, files) = (present.attribute_count, present.files.clone());
        return SourceShape { attribute_count, columns, files };
    }
    let attribute_count = columns.iter().map(|column| column.number).max().unwrap_or(0);
    SourceShape { attribute_count, columns, files: Files::new() }
}

fn type_of(attribute: &Attribute) -> Type {
    Type { oid: attribute.type_oid, modifier: attribute.type_modifier }
}

fn known(attribute: &Attribute) -> KnownColumn {
    KnownColumn {
        number: attribute.number,
        name: attribute.name.clone(),
        type_oid: attribute.type_oid,
        type_modifier: attribute.type_modifier,
    }
}

#[cfg(test)]
mod tests;
