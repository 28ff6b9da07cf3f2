//! One compiled step that makes a value of another: text in, text out.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::fake::FakeStep;
use super::hash::HashStep;
use super::text_form::{NoText, TextForm, uuid_bytes};
use super::{json_drop, mask, replace, text_case};
use crate::config::replacement::Replacement;
use crate::config::steps::{JsonPath, Mask};
use crate::model::row::Value;
use crate::pg::oid::{self, Oid};

/// What precedes the text in the binary form of jsonb (`jsonb_send`).
const JSONB_VERSION: u8 = 1;

#[derive(Clone, Debug)]
pub(super) enum ValueStep {
    Hash(HashStep),
    Mask(Mask),
    Replace(Box<Replacement>),
    Lower,
    Trim,
    JsonDrop(Vec<JsonPath>),
    Fake(FakeStep),
    /// No step of the configuration: what was made has to fit into its type, which would cut blanks off.
    Within {
        characters: usize,
        is_padded: bool,
    },
}

impl ValueStep {
    /// What the step makes of a text; `None` where it leaves it as it is.
    pub(super) fn apply(&self, text: &[u8]) -> Result<Option<Bytes>, NoText> {
        match self {
            ValueStep::Hash(step) => Ok(Some(step.digits(text))),
            ValueStep::Fake(step) => Ok(Some(step.made(text))),
            ValueStep::JsonDrop(paths) => json_drop::dropped(paths, text),
            ValueStep::Mask(mask) => Ok(Some(mask::masked(*mask, utf8(text)?))),
            ValueStep::Replace(replacement) => Ok(replace::replaced(replacement, utf8(text)?)),
            ValueStep::Lower => Ok(text_case::lower(utf8(text)?)),
            ValueStep::Trim => {
                let trimmed = text_case::trimmed(utf8(text)?).as_bytes();
                Ok((trimmed.len() < text.len()).then(|| Bytes::copy_from_slice(trimmed)))
            }
            ValueStep::Within { characters, is_padded } => {
                let text = utf8(text)?;
                let text = if *is_padded { text.trim_end_matches(' ') } else { text };
                match text.len() <= *characters || text.chars().count() <= *characters {
                    true => Ok(None),
                    false => Err(NoText::TooLong(*characters)),
                }
            }
        }
    }

    /// Whether two values that differ still do afterwards.
    pub(super) fn keeps_apart(&self) -> bool {
        match self {
            ValueStep::Hash(_) | ValueStep::Within { .. } => true,
            ValueStep::Fake(step) => step.is_unique(),
            ValueStep::Mask(_)
            | ValueStep::Replace(_)
            | ValueStep::Lower
            | ValueStep::Trim
            | ValueStep::JsonDrop(_) => false,
        }
    }
}

fn utf8(text: &[u8]) -> Result<&str, NoText> {
    std::str::from_utf8(text).map_err(|_| NoText::Malformed("text in UTF-8"))
}

/// What the steps make of a value, in the form (text or binary) that the value came in. `made` is the
/// type of the result.
pub(super) fn made(
    form: TextForm,
    steps: &[ValueStep],
    made: Oid,
    value: Value,
) -> Result<Value, NoText> {
    let Some(text) = form.render(&value)? else { return Ok(value) };
    let mut latest: Option<Bytes> = None;
    for step in steps {
        if let Some(next) = step.apply(latest.as_deref().unwrap_or(&text))? {
            latest = Some(next);
        }
    }
    let bytes = match (latest, text) {
        (Some(latest), _) => latest,
        (None, Cow::Owned(text)) => Bytes::from(text),
        // Nothing changed: the bytes as they came.
        (None, Cow::Borrowed(text)) => match value.bytes() {
            Some(bytes) => bytes.slice_ref(text),
            None => Bytes::copy_from_slice(text),
        },
    };
    Ok(match value {
        Value::Binary(_) => Value::Binary(binary(made, bytes)?),
        _ => Value::Text(bytes),
    })
}

/// The binary form of a text in a type.
fn binary(made: Oid, text: Bytes) -> Result<Bytes, NoText> {
    match made {
        oid::JSONB => {
            let mut bytes = BytesMut::with_capacity(text.len() + 1);
            bytes.put_u8(JSONB_VERSION);
            bytes.put_slice(&text);
            Ok(bytes.freeze())
        }
        oid::UUID => {
            let bytes = uuid_bytes(&text).ok_or(NoText::Malformed("uuid"))?;
            Ok(Bytes::copy_from_slice(&bytes))
        }
        _ => Ok(text),
    }
}

/// Whether the binary form of what is made is the destination's type's.
pub(super) fn joins_binary(made: Oid, destination: Oid) -> bool {
    match made {
        oid::JSONB | oid::UUID => destination == made,
        _ => {
            matches!(destination, oid::TEXT | oid::VARCHAR | oid::BPCHAR)
                || destination == made && made == oid::JSON
        }
    }
}
