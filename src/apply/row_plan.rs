//! One change as one row statement, for tables whose changes keep their order; pure.

use crate::apply::parameter::WireValue;
use crate::apply::remember;
use crate::apply::replace;
use crate::apply::statement::{self, Find, Mask};
use crate::apply::target::Target;
use crate::apply::writer::value_of;
use crate::model::change::{OldRow, RowChange};
use crate::model::mark;
use crate::model::row::Row;

/// The shape of a row statement inside one step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    Insert,
    Update {
        mask: Mask,
        find: Find,
    },
    UpdateOrInsert {
        mask: Mask,
        find: Find,
    },
    Replace {
        sent: Mask,
        find: Find,
    },
    Delete {
        find: Find,
    },
    /// A deleted row stays, and says so.
    Mark {
        find: Find,
    },
    /// A deleted row goes, because another one gets its key.
    Clear,
    /// An update of a row that may not be there yet.
    Remember {
        mask: Mask,
        find: Find,
    },
}

impl Shape {
    pub(super) fn sql(&self, target: &Target) -> String {
        match self {
            Shape::Insert => statement::insert_row(target),
            Shape::Update { mask, find } => statement::update_row(target, mask, *find),
            Shape::UpdateOrInsert { mask, find } => {
                statement::update_or_insert_row(target, mask, *find)
            }
            Shape::Replace { sent, find } => replace::replace_row(target, sent, *find),
            Shape::Delete { find } => statement::delete_row(target, *find),
            Shape::Mark { find } => statement::mark_row(target, *find),
            Shape::Clear => statement::clear_key(target),
            Shape::Remember { mask, find } => remember::update_or_remember(target, mask, *find),
        }
    }
}

pub(super) enum PlannedEffect<'a> {
    Insert(&'a Row),
    UpdateOrInsert,
    /// One row is due; what is sent of it is not all of it.
    Update(&'a Row),
    Delete,
    /// Nothing is expected of it.
    Remember,
}

pub(super) struct Planned<'a> {
    pub(super) shape: Shape,
    pub(super) values: Vec<WireValue<'a>>,
    pub(super) effect: PlannedEffect<'a>,
}

/// One change as one row statement; none where it changes nothing that is written.
pub(super) fn plan_change<'a>(target: &Target, change: &'a RowChange) -> Option<Planned<'a>> {
    match change {
        RowChange::Insert { new } if new.is_complete() => Some(Planned {
            shape: Shape::Insert,
            values: Vec::new(),
            effect: PlannedEffect::Insert(new),
        }),
        // A row that enters a filter without all its values: an update of a missing row.
        RowChange::Insert { new } => plan_update(target, None, new),
        RowChange::Update { old, new } => plan_update(target, old.as_ref(), new),
        RowChange::Delete { old } => {
            let find = find_by(target);
            Some(Planned {
                shape: Shape::Delete { find },
                values: found_values(target, find, old.row()),
                effect: PlannedEffect::Delete,
            })
        }
        RowChange::Mark { row } => {
            let find = find_by(target);
            let mut values = values_at(target, row, &mark_mask(target));
            values.extend(found_values(target, find, row));
            Some(Planned { shape: Shape::Mark { find }, values, effect: PlannedEffect::Delete })
        }
    }
}

/// What stands at the key that an update moves its row to, where rows stay that the source has deleted:
/// nobody has it any more. The parameters are the new key's values and the old one's.
pub(super) fn plan_clearing<'a>(target: &Target, change: &'a RowChange) -> Option<Planned<'a>> {
    let RowChange::Update { old: Some(old), new } = change else { return None };
    let is_moved = |&index: &usize| {
        let after = value_of(target, new, index);
        !after.is_unchanged() && after != value_of(target, old.row(), index)
    };
    if !target.keeps_deleted || !target.key.iter().any(is_moved) {
        return None;
    }
    let after = |&index: &usize| {
        let after = value_of(target, new, index);
        WireValue(if after.is_unchanged() { value_of(target, old.row(), index) } else { after })
    };
    let mut values: Vec<WireValue<'a>> = target.key.iter().map(after).collect();
    values.extend(values_at(target, old.row(), &target.key));
    Some(Planned { shape: Shape::Clear, values, effect: PlannedEffect::Remember })
}

/// The column that a deleted row's mark is set in.
pub(super) fn mark_mask(target: &Target) -> Mask {
    target.mark.iter().map(|mark| mark.column).collect()
}

fn plan_update<'a>(target: &Target, old: Option<&'a OldRow>, new: &'a Row) -> Option<Planned<'a>> {
    let find = find_by(target);
    let before = old.map_or(new, OldRow::row);
    let mut mask = sent_mask(target, new);
    // A key that changes is set, too.
    mask.extend(target.key.iter().filter(|&&index| {
        let after = value_of(target, new, index);
        !after.is_unchanged() && after != value_of(target, before, index)
    }));
    // And with it the mark is cleared, as by an insert.
    if mask.iter().any(|index| target.key.contains(index)) {
        mask.retain(|&index| !target.is_mark(index));
        mask.extend(mark_mask(target));
    }
    mask.sort_unstable();
    if target.has_unsettable() || mask.iter().any(|&i| target.columns[i].is_identity_always) {
        return Some(plan_replace(target, find, before, new));
    }
    let is_complete = new.is_complete();
    if target.is_partial() && !is_complete {
        return Some(plan_remember(target, find, mask, before, new));
    }
    if mask.is_empty() {
        return None;
    }
    let mut values =
        if is_complete { values_of(target, new) } else { values_at(target, new, &mask) };
    values.extend(found_values(target, find, before));
    let (shape, effect) = if is_complete {
        (Shape::UpdateOrInsert { mask, find }, PlannedEffect::UpdateOrInsert)
    } else {
        (Shape::Update { mask, find }, PlannedEffect::Update(new))
    };
    Some(Planned { shape, values, effect })
}

/// Even an update that sets nothing has moved its row to another block.
fn plan_remember<'a>(
    target: &Target,
    find: Find,
    mask: Mask,
    before: &'a Row,
    new: &'a Row,
) -> Planned<'a> {
    let mut values = values_at(target, new, &mask);
    values.extend(target.key.iter().map(|&index| {
        let after = value_of(target, new, index);
        WireValue(if after.is_unchanged() { value_of(target, before, index) } else { after })
    }));
    values.extend(found_values(target, find, before));
    Planned { shape: Shape::Remember { mask, find }, values, effect: PlannedEffect::Remember }
}

fn plan_replace<'a>(target: &Target, find: Find, before: &'a Row, new: &'a Row) -> Planned<'a> {
    let mut sent: Mask = (0..target.columns.len()).collect();
    sent.retain(|&index| !value_of(target, new, index).is_unchanged());
    let mut values = values_at(target, new, &sent);
    values.extend(found_values(target, find, before));
    let effect = match sent.len() == target.columns.len() {
        true => PlannedEffect::UpdateOrInsert,
        false => PlannedEffect::Update(new),
    };
    Planned { shape: Shape::Replace { sent, find }, values, effect }
}

fn find_by(target: &Target) -> Find {
    if target.key.is_empty() { Find::Equal } else { Find::Key }
}

fn found_values<'a>(target: &Target, find: Find, row: &'a Row) -> Vec<WireValue<'a>> {
    match find {
        Find::Key => values_at(target, row, &target.key),
        Find::Equal => values_of(target, row),
    }
}

pub(super) fn values_at<'a>(
    target: &Target,
    row: &'a Row,
    columns: &[usize],
) -> Vec<WireValue<'a>> {
    columns.iter().map(|&index| WireValue(value_of(target, row, index))).collect()
}

pub(super) fn values_of<'a>(target: &Target, row: &'a Row) -> Vec<WireValue<'a>> {
    (0..target.columns.len()).map(|index| WireValue(value_of(target, row, index))).collect()
}

/// The columns that an update of this row sets: sent, not of the key, not the server's own. The mark of
/// deleted rows where it is set, and where updates clear it.
pub(super) fn sent_mask(target: &Target, row: &Row) -> Mask {
    let mut mask = statement::insert_mask(target);
    mask.retain(|&index| {
        let value = value_of(target, row, index);
        !(value.is_unchanged() || target.keeps_mark(index) && mark::is_cleared(value))
    });
    mask
}
