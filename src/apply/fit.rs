//! Whether a destination's column holds what a source's column sends.
//!
//! Where two types differ a value travels as text, and the destination's type reads it. PostgreSQL
//! refuses what is out of a type's range, and silently changes what is only too precise, too long by
//! blanks, or marked with a zone that the type does not keep. So there are three answers besides
//! "all of it": what is read otherwise (said), what is refused (found before the first row), and what
//! would be altered without an error (never written).
//!
//! Domains and arrays are looked through: a `numeric(5,2)[]` rounds as `numeric(5,2)` does.

use crate::pg::catalog::{ColumnInfo, Leaf};
use crate::pg::oid::{self, Oid};

mod modifier;

/// How a source's values fit into a destination's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Every value, as the same value.
    Whole,
    /// What the type can read, and as it reads it; the server refuses the rest.
    Read(&'static str),
    /// Not every value: the server refuses some and alters none.
    Narrow(&'static str),
    /// The server would alter some without an error.
    Alters(&'static str),
}

const DIGITS: Fit = Fit::Alters("digits are rounded");
const FRACTIONS: Fit = Fit::Alters("fractions are rounded to the type's scale");
const SECONDS: Fit = Fit::Alters("fractions of seconds are rounded");
const RANGE: Fit = Fit::Narrow("numbers beyond its range are refused");
const CUT: Fit = Fit::Alters("longer texts are refused, and blanks beyond its length are cut off");
const LONGER: Fit = Fit::Narrow("longer values are refused");
const AS_UTC: Fit = Fit::Read("times without a zone are taken as UTC");
const PARSED: Fit = Fit::Read("values that are none of its type are refused");
const JSON_TEXT: Fit = Fit::Read("the text is not kept: order and duplicates of keys, white space");

/// Whether `destination` holds every value of `source`.
pub fn fit(source: &ColumnInfo, destination: &ColumnInfo) -> Fit {
    let (from, to) = (&source.leaf, &destination.leaf);
    if to.array_depth == 0 && is_any_text(to) {
        return match from.type_oid {
            oid::MONEY => Fit::Alters("an amount's text depends on lc_monetary"),
            _ => Fit::Whole,
        };
    }
    if from.array_depth != to.array_depth {
        return match from.array_depth {
            0 if is_text(from) => PARSED,
            _ => Fit::Narrow("an array is no single value"),
        };
    }
    if is_same(from, to) {
        if from.shape != to.shape {
            return Fit::Alters("the two are made of other parts");
        }
        return modifier::fit(from.type_oid, from.type_modifier, to.type_modifier);
    }
    if is_text(from) { from_text(from, to) } else { other(from, to) }
}

/// Whether `destination` holds every value of `source` and reads none otherwise: what must be so of a
/// column whose type changes while its values go on.
pub fn takes_all(source: &ColumnInfo, destination: &ColumnInfo) -> bool {
    fit(source, destination) == Fit::Whole
}

/// One type on both sides. Those that users made have another OID on each server, and may be in
/// another schema.
fn is_same(from: &Leaf, to: &Leaf) -> bool {
    match (oid::is_built_in(from.type_oid), oid::is_built_in(to.type_oid)) {
        (true, true) => from.type_oid == to.type_oid,
        (false, false) => from.name == to.name && from.kind == to.kind,
        _ => false,
    }
}

/// An extension's text type, which no OID tells.
fn is_citext(leaf: &Leaf) -> bool {
    leaf.kind == 'b' && leaf.name == "citext" && !oid::is_built_in(leaf.type_oid)
}

fn is_text(leaf: &Leaf) -> bool {
    matches!(leaf.type_oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME) || is_citext(leaf)
}

/// Takes texts of any length as they are.
fn is_any_text(leaf: &Leaf) -> bool {
    match leaf.type_oid {
        oid::TEXT => true,
        oid::VARCHAR | oid::BPCHAR => leaf.type_modifier < 0,
        _ => is_citext(leaf),
    }
}

/// Texts to anything else.
fn from_text(from: &Leaf, to: &Leaf) -> Fit {
    if is_any_text(to) {
        return Fit::Whole;
    }
    let has_modifier = to.type_modifier >= 0;
    match to.type_oid {
        oid::VARCHAR => match from.type_oid {
            oid::BPCHAR if modifier::has_room(from.type_modifier, to.type_modifier) => Fit::Whole,
            oid::NAME if modifier::characters(to.type_modifier) >= oid::NAME_BYTES_MAX => {
                Fit::Whole
            }
            _ => CUT,
        },
        oid::BPCHAR => Fit::Alters("blanks at the end are padded or cut off"),
        oid::NAME => Fit::Alters("texts are cut after 63 bytes"),
        oid::CHAR => Fit::Alters("only the first byte is kept"),
        oid::FLOAT4 | oid::FLOAT8 => DIGITS,
        oid::NUMERIC if has_modifier => FRACTIONS,
        oid::MONEY => Fit::Alters("fractions are rounded to the currency's"),
        oid::DATE => Fit::Alters("a time of day is dropped"),
        oid::TIME | oid::TIMESTAMP => Fit::Alters("a time zone is dropped"),
        oid::TIMESTAMPTZ | oid::TIMETZ | oid::INTERVAL if has_modifier => SECONDS,
        oid::TIMESTAMPTZ | oid::TIMETZ => AS_UTC,
        oid::OID => Fit::Alters("negative numbers become others"),
        oid::JSONB => JSON_TEXT,
        _ => PARSED,
    }
}

/// Two types that are neither the same nor texts.
fn other(from: &Leaf, to: &Leaf) -> Fit {
    if from.kind == 'e' && to.kind == 'e' {
        return Fit::Read("labels that it lacks are refused");
    }
    let (before, after) = (from.type_modifier, to.type_modifier);
    match (from.type_oid, to.type_oid) {
        (source, oid::VARCHAR | oid::BPCHAR) => match longest_text(from, source) {
            Some(length) if modifier::characters(after) >= length => Fit::Whole,
            _ => LONGER,
        },
        (oid::INT2, oid::INT4 | oid::INT8 | oid::FLOAT4 | oid::FLOAT8)
        | (oid::INT4, oid::INT8 | oid::FLOAT8)
        | (oid::FLOAT4, oid::FLOAT8)
        | (oid::OID, oid::INT8)
        | (oid::CIDR, oid::INET)
        | (oid::JSONB, oid::JSON)
        | (oid::DATE, oid::TIMESTAMP)
        | (oid::INT4_RANGE, oid::INT8_RANGE | oid::NUM_RANGE)
        | (oid::INT8_RANGE, oid::NUM_RANGE)
        | (oid::INT4_MULTIRANGE, oid::INT8_MULTIRANGE | oid::NUM_MULTIRANGE)
        | (oid::INT8_MULTIRANGE, oid::NUM_MULTIRANGE) => Fit::Whole,
        (oid::INT2 | oid::INT4 | oid::INT8 | oid::OID, oid::NUMERIC) => {
            modifier::integer_to_numeric(integer_digits(from.type_oid), after)
        }
        (oid::NUMERIC, oid::INT2 | oid::INT4 | oid::INT8) => {
            // The widest number of so many digits is below the type's largest.
            modifier::numeric_to_integer(before, integer_digits(to.type_oid) - 1)
        }
        (oid::FLOAT4 | oid::FLOAT8, oid::NUMERIC) if after < 0 => Fit::Whole,
        (oid::FLOAT4 | oid::FLOAT8, oid::NUMERIC) => FRACTIONS,
        (oid::INT8 | oid::NUMERIC, oid::FLOAT4 | oid::FLOAT8)
        | (oid::INT4 | oid::FLOAT8, oid::FLOAT4) => DIGITS,
        (oid::BIT, oid::VARBIT) if after < 0 || after >= before => Fit::Whole,
        (oid::BIT | oid::VARBIT, oid::BIT | oid::VARBIT) => LONGER,
        (_, oid::MONEY) => Fit::Alters("fractions are rounded to the currency's"),
        (_, oid::NAME) => Fit::Alters("texts are cut after 63 bytes"),
        (_, oid::CHAR) => Fit::Alters("only the first byte is kept"),
        (oid::INT2 | oid::INT4 | oid::INT8, oid::OID) => {
            Fit::Alters("negative numbers become others")
        }
        (oid::TIMESTAMPTZ, oid::TIMESTAMP) | (oid::TIMETZ, oid::TIME) => {
            Fit::Alters("the time zone is dropped")
        }
        (oid::TIMESTAMP | oid::TIMESTAMPTZ, oid::DATE) => Fit::Alters("the time of day is dropped"),
        (oid::TIMESTAMP | oid::TIMESTAMPTZ, oid::TIME | oid::TIMETZ) => {
            Fit::Alters("the date is dropped")
        }
        (oid::TIMESTAMP, oid::TIMESTAMPTZ) | (oid::TIME, oid::TIMETZ) => {
            match modifier::fit(from.type_oid, before, after) {
                Fit::Whole => AS_UTC,
                rounded => rounded,
            }
        }
        (oid::DATE, oid::TIMESTAMPTZ) | (oid::TS_RANGE, oid::TSTZ_RANGE) => AS_UTC,
        (oid::JSON, oid::JSONB) => JSON_TEXT,
        (oid::INT4 | oid::INT8, oid::INT2 | oid::INT4) => RANGE,
        _ => Fit::Narrow("its values are none of that type"),
    }
}

/// The digits of the type's largest number.
fn integer_digits(type_oid: Oid) -> i32 {
    match type_oid {
        oid::INT2 => 5,
        oid::INT8 => 19,
        _ => 10,
    }
}

/// The characters of the type's longest text, where there is a longest.
fn longest_text(leaf: &Leaf, type_oid: Oid) -> Option<i32> {
    match type_oid {
        oid::BOOL | oid::CHAR => Some(1),
        oid::INT2 => Some(6),
        oid::INT4 => Some(11),
        oid::OID => Some(10),
        oid::INT8 => Some(20),
        oid::UUID => Some(36),
        _ if leaf.kind == 'e' => Some(oid::NAME_BYTES_MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
