//! The steps of one column, put together: which types each takes, and what type comes out.
//!
//! | step | takes | gives |
//! | --- | --- | --- |
//! | hash | every type with a text form | text |
//! | fake | every type with a text form | the column's type where it is a text's (for "uuid" also uuid), else text |
//! | mask, replace, lower, trim | text, varchar, char, name, citext | the same type |
//! | json_drop | json, jsonb | the same type |
//!
//! A domain is taken as its base type, and that is what comes out: its checks are about the source's
//! values. Of `name`, which cuts what is too long, text comes out.

use super::error::Refusal;
use super::fake::FakeStep;
use super::hash::HashStep;
use super::text_form::{TextForm, TypeFacts, base_type};
use super::value_step::ValueStep;
use crate::config::settings::Step;
use crate::config::steps::FakeKind;
use crate::pg::oid::{self, Oid};

const TEXTS: &str = "text, varchar, char, name, citext and domains over them";

/// A type as a step leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) type_oid: Oid,
    pub(super) type_modifier: i32,
    /// Its own, or the built-in one that it behaves as (citext: text).
    base: Oid,
}

const TEXT: Made = Made { type_oid: oid::TEXT, type_modifier: -1, base: oid::TEXT };

impl Made {
    fn is_text(self) -> bool {
        matches!(self.base, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME)
    }

    /// The same where a step may make any text.
    fn of_texts(self) -> Made {
        if self.base == oid::NAME { TEXT } else { self }
    }

    /// The characters that it has room for.
    fn room(self) -> Option<usize> {
        oid::characters(self.base, self.type_modifier)
    }
}

/// Steps over one value, as far as they are compiled.
#[derive(Debug)]
pub(super) struct Chain {
    form: TextForm,
    steps: Vec<ValueStep>,
    made: Made,
    /// Something in it may make a text longer.
    may_grow: bool,
}

impl Chain {
    /// Over a column of the source.
    pub(super) fn over(
        type_oid: Oid,
        type_modifier: i32,
        type_info: &dyn Fn(Oid) -> Option<TypeFacts>,
    ) -> Result<Chain, Refusal> {
        let form = TextForm::of_type(type_oid, type_info).map_err(Refusal::NoTextForm)?;
        let (type_oid, type_modifier, base) = base_type(type_oid, type_modifier, type_info);
        let made = Made { type_oid, type_modifier, base };
        Ok(Chain { form, steps: Vec::new(), made, may_grow: false })
    }

    /// Over a constant.
    pub(super) fn over_text() -> Chain {
        Chain { form: TextForm::Verbatim, steps: Vec::new(), made: TEXT, may_grow: false }
    }

    /// `is_unique`: what is made up must differ where the values do.
    pub(super) fn push(&mut self, step: &Step, is_unique: bool) -> Result<(), Refusal> {
        let compiled = match step {
            Step::Hash(hash) => {
                (self.made, self.may_grow) = (TEXT, false);
                ValueStep::Hash(HashStep::compile(hash)?)
            }
            Step::Fake(fake) => {
                let compiled = FakeStep::compile(fake, is_unique)?;
                self.made = self.made_up(&compiled)?;
                self.may_grow = false;
                ValueStep::Fake(compiled)
            }
            Step::Mask(mask) => self.over_texts("mask", ValueStep::Mask(*mask))?,
            Step::Lower => self.over_texts("lower", ValueStep::Lower)?,
            Step::Trim => self.over_texts("trim", ValueStep::Trim)?,
            Step::Replace(replacement) => {
                self.may_grow = true;
                self.over_texts("replace", ValueStep::Replace(replacement.clone()))?
            }
            Step::JsonDrop(paths) => {
                if !matches!(self.made.base, oid::JSON | oid::JSONB) {
                    return Err(self.takes("json_drop", "json, jsonb and domains over them"));
                }
                ValueStep::JsonDrop(paths.clone())
            }
            Step::Drop | Step::Null | Step::Value(_) => return Err(Refusal::DropAndMore),
            Step::Sql(_) => return Err(Refusal::SecondExpression),
        };
        self.steps.push(compiled);
        Ok(())
    }

    fn over_texts(
        &mut self,
        step: &'static str,
        compiled: ValueStep,
    ) -> Result<ValueStep, Refusal> {
        if !self.made.is_text() {
            return Err(self.takes(step, TEXTS));
        }
        self.made = self.made.of_texts();
        Ok(compiled)
    }

    fn takes(&self, step: &'static str, takes: &'static str) -> Refusal {
        let found = oid::built_in_name(self.made.base).unwrap_or("one of its own");
        Refusal::TakesNot { step, takes, found }
    }

    fn made_up(&self, step: &FakeStep) -> Result<Made, Refusal> {
        if step.kind() == FakeKind::Uuid && self.made.base == oid::UUID {
            return Ok(self.made);
        }
        if !self.made.is_text() {
            return Ok(TEXT);
        }
        let made = self.made.of_texts();
        match made.room() {
            Some(room) if room < step.characters_max() => Err(Refusal::TooNarrow {
                kind: step.kind().word(),
                needed: step.characters_max(),
                room,
            }),
            _ => Ok(made),
        }
    }

    /// What the steps make of a constant.
    pub(super) fn of_constant(&self, text: &[u8]) -> Result<bytes::Bytes, Refusal> {
        let mut text = bytes::Bytes::copy_from_slice(text);
        for step in &self.steps {
            let made =
                step.apply(&text).map_err(|_| Refusal::NoTextForm("its value is no text"))?;
            text = made.unwrap_or(text);
        }
        Ok(text)
    }

    pub(super) fn finish(mut self) -> (TextForm, Vec<ValueStep>, Made) {
        if let (true, Some(characters)) = (self.may_grow, self.made.room()) {
            let is_padded = self.made.base == oid::BPCHAR;
            self.steps.push(ValueStep::Within { characters, is_padded });
        }
        (self.form, self.steps, self.made)
    }
}
