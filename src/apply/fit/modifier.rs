//! One type with two modifiers; pure.

use super::{CUT, FRACTIONS, Fit, LONGER, RANGE, SECONDS};
use crate::pg::oid::{self, Oid};

/// `VARHDRSZ`, added to the stored modifiers of texts and numerics.
const HEADER: i32 = 4;

/// Digits after the point of a second that a type without a modifier has.
const SECOND_DIGITS: i32 = 6;

/// Whether a column with the modifier `to` holds every value of one with `from`, both of one type.
pub(super) fn fit(type_oid: Oid, from: i32, to: i32) -> Fit {
    if from == to || to < 0 {
        return Fit::Whole;
    }
    let has_room = has_room(from, to);
    match type_oid {
        oid::VARCHAR | oid::VARBIT | oid::BPCHAR if has_room => Fit::Whole,
        oid::VARCHAR => CUT,
        // Blanks at the end are no part of a bpchar's value.
        oid::BPCHAR | oid::VARBIT => LONGER,
        oid::BIT => Fit::Narrow("bit strings of another length are refused"),
        oid::NUMERIC => numeric(from, to),
        oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIME | oid::TIMETZ => {
            let digits = if from < 0 { SECOND_DIGITS } else { from };
            if to >= digits { Fit::Whole } else { SECONDS }
        }
        oid::INTERVAL => interval(from, to),
        _ => Fit::Narrow("values that do not keep to its modifier are refused"),
    }
}

pub(super) fn has_room(from: i32, to: i32) -> bool {
    from >= 0 && to >= from
}

/// The characters that a `varchar` or `bpchar` has room for.
pub(super) fn characters(modifier: i32) -> i32 {
    if modifier < 0 { i32::MAX } else { modifier - HEADER }
}

fn numeric(from: i32, to: i32) -> Fit {
    if from < 0 || numeric_scale(to) < numeric_scale(from) {
        FRACTIONS
    } else if whole_digits(to) < whole_digits(from) {
        RANGE
    } else {
        Fit::Whole
    }
}

/// Integers of up to `digits` digits as `numeric` with this modifier.
pub(super) fn integer_to_numeric(digits: i32, to: i32) -> Fit {
    if to < 0 {
        Fit::Whole
    } else if numeric_scale(to) < 0 {
        FRACTIONS
    } else if whole_digits(to) < digits {
        RANGE
    } else {
        Fit::Whole
    }
}

/// The other way round: `digits` nines fit into the integer.
pub(super) fn numeric_to_integer(from: i32, digits: i32) -> Fit {
    let is_whole = from >= 0 && numeric_scale(from) <= 0;
    if is_whole && whole_digits(from) <= digits {
        Fit::Whole
    } else {
        Fit::Narrow("numbers with a fraction or beyond its range are refused")
    }
}

/// Digits before the point.
fn whole_digits(modifier: i32) -> i32 {
    (((modifier - HEADER) >> 16) & 0xffff) - numeric_scale(modifier)
}

/// 11 bits, signed (`numeric_typmod_scale` in `numeric.c`).
fn numeric_scale(modifier: i32) -> i32 {
    (((modifier - HEADER) & 0x7ff) ^ 1024) - 1024
}

/// Fields in the upper half, digits of seconds in the lower (`INTERVAL_RANGE`, `INTERVAL_PRECISION`).
fn interval(from: i32, to: i32) -> Fit {
    const ALL: i32 = 0x7fff;
    let parts = |modifier: i32| match modifier {
        i32::MIN..0 => (ALL, SECOND_DIGITS),
        _ => ((modifier >> 16) & ALL, (modifier & 0xffff).min(SECOND_DIGITS)),
    };
    let ((fields, digits), (fields_to, digits_to)) = (parts(from), parts(to));
    if fields_to != ALL && fields_to != fields {
        Fit::Alters("fields are dropped")
    } else if digits_to < digits {
        SECONDS
    } else {
        Fit::Whole
    }
}
