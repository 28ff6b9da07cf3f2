//! A value's text form: wire bytes go in, what `value::text` gives at the source comes out.
//!
//! A type's text output (what the stream sends in text) is not always its cast to text:
//!
//! | type | output | `::text` | from text | from binary |
//! | --- | --- | --- | --- | --- |
//! | text, varchar, name, json, enums | `abc` | the same | yes | yes |
//! | bpchar | `ab   ` | `ab` | yes | yes |
//! | bool | `t` | `true` | yes | yes |
//! | int2, int4, int8, oid, uuid, bytea, jsonb | `1` | the same | yes | yes |
//! | inet | `10.0.0.1` | `10.0.0.1/32` | yes | no |
//! | xml | without its declaration | with it | no | no |
//! | a type with a cast function of its own | ? | ? | no | no |
//! | any other | | the same | yes | no |
//!
//! (`pg_cast` rows with target text; `xml_out` drops an XML declaration that the cast keeps.) A
//! domain is cast as its base type. "Yes" rests on the session settings that every connection to
//! the source pins (bytea_output, DateStyle, TimeZone, …).

use std::borrow::Cow;

use crate::model::row::Value;
use crate::pg::oid::{self, Oid};

/// Domains over domains that are followed; PostgreSQL has no limit, people do.
const DOMAIN_DEPTH_MAX: usize = 32;

/// What the source's catalog says about a type that is not built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeFacts {
    /// `pg_type.typtype`: b, c, d, e, r, m.
    pub kind: char,
    /// A domain's base type (`pg_type.typbasetype`); text for an extension's type whose values are
    /// texts in either format (citext); 0 otherwise.
    pub base_type: Oid,
    /// The modifier that a domain gives its base type; -1 otherwise.
    pub base_modifier: i32,
    /// Whether `pg_cast` has a row from this type to text whose method is a function.
    pub has_text_cast: bool,
}

/// How a type's wire bytes become its text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextForm {
    /// The same bytes in text, in binary and as text.
    Verbatim,
    /// Blank-padded: the cast removes trailing spaces.
    Padded,
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Uuid,
    Bytea,
    Jsonb,
    /// From text only; the cast always shows the prefix length.
    Inet,
    /// From text only, as it is.
    Output,
}

/// Why bytes have no text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoText {
    Malformed(&'static str),
    Binary,
    /// What was made of it has more characters than its type has room for.
    TooLong(usize),
}

impl TextForm {
    /// The form of a column's type, or why the agent can not make it.
    pub(super) fn of_type(
        type_oid: Oid,
        type_info: &dyn Fn(Oid) -> Option<TypeFacts>,
    ) -> Result<TextForm, &'static str> {
        let mut type_oid = type_oid;
        for _ in 0..DOMAIN_DEPTH_MAX {
            if oid::is_built_in(type_oid) {
                return TextForm::of_built_in(type_oid);
            }
            // A guess would give other hashes for a domain over bool, so there is none.
            let facts = type_info(type_oid).ok_or("its type is not known from the catalog")?;
            match facts.kind {
                'd' => type_oid = facts.base_type,
                'b' if facts.base_type != 0 => type_oid = facts.base_type,
                _ if facts.has_text_cast => {
                    return Err("its type has a cast to text of its own, which the change stream \
                                cannot carry out");
                }
                'e' => return Ok(TextForm::Verbatim),
                _ => return Ok(TextForm::Output),
            }
        }
        Err("its type is a domain over too many domains")
    }

    fn of_built_in(type_oid: Oid) -> Result<TextForm, &'static str> {
        Ok(match type_oid {
            oid::TEXT | oid::VARCHAR | oid::NAME | oid::JSON => TextForm::Verbatim,
            oid::BPCHAR => TextForm::Padded,
            oid::BOOL => TextForm::Bool,
            oid::INT2 => TextForm::Int2,
            oid::INT4 => TextForm::Int4,
            oid::INT8 => TextForm::Int8,
            oid::OID => TextForm::Oid,
            oid::UUID => TextForm::Uuid,
            oid::BYTEA => TextForm::Bytea,
            oid::JSONB => TextForm::Jsonb,
            oid::INET => TextForm::Inet,
            oid::XML => {
                return Err(
                    "the change stream sends xml without its declaration, so that copy and \
                            stream would differ",
                );
            }
            _ => TextForm::Output,
        })
    }

    /// Whether the text form can be made from the binary form.
    pub(super) fn reads_binary(self) -> bool {
        !matches!(self, TextForm::Inet | TextForm::Output)
    }

    /// The text form of a value that was sent; `None` for one that was not, and for NULL.
    pub(super) fn render(self, value: &Value) -> Result<Option<Cow<'_, [u8]>>, NoText> {
        match value {
            Value::Null | Value::Unchanged => Ok(None),
            Value::Text(bytes) => self.read_text(bytes).map(Some),
            Value::Binary(bytes) => self.read_binary(bytes).map(Some),
        }
    }

    fn read_text(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, NoText> {
        match self {
            TextForm::Padded => Ok(Cow::Borrowed(without_padding(bytes))),
            TextForm::Bool => match bytes {
                b"t" => Ok(Cow::Borrowed(b"true")),
                b"f" => Ok(Cow::Borrowed(b"false")),
                _ => Err(NoText::Malformed("bool")),
            },
            TextForm::Inet if !bytes.contains(&b'/') => {
                let prefix: &[u8] = if bytes.contains(&b':') { b"/128" } else { b"/32" };
                Ok(Cow::Owned([bytes, prefix].concat()))
            }
            _ => Ok(Cow::Borrowed(bytes)),
        }
    }

    fn read_binary(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, NoText> {
        match self {
            TextForm::Verbatim => Ok(Cow::Borrowed(bytes)),
            TextForm::Padded => Ok(Cow::Borrowed(without_padding(bytes))),
            TextForm::Bool => match bytes {
                [1] => Ok(Cow::Borrowed(b"true")),
                [0] => Ok(Cow::Borrowed(b"false")),
                _ => Err(NoText::Malformed("bool")),
            },
            TextForm::Int2 => Ok(text(i16::from_be_bytes(fixed(bytes, "int2")?).to_string())),
            TextForm::Int4 => Ok(text(i32::from_be_bytes(fixed(bytes, "int4")?).to_string())),
            TextForm::Int8 => Ok(text(i64::from_be_bytes(fixed(bytes, "int8")?).to_string())),
            TextForm::Oid => Ok(text(u32::from_be_bytes(fixed(bytes, "oid")?).to_string())),
            TextForm::Uuid => Ok(text(uuid_text(&fixed::<16>(bytes, "uuid")?))),
            TextForm::Bytea => Ok(text(format!("\\x{}", hex(bytes)))),
            TextForm::Jsonb => match bytes {
                // jsonb_send: a version, then the text.
                [1, text @ ..] => Ok(Cow::Borrowed(text)),
                _ => Err(NoText::Malformed("jsonb")),
            },
            TextForm::Inet | TextForm::Output => Err(NoText::Binary),
        }
    }
}

/// A type without the domains around it: its OID and modifier, and the built-in type that its values
/// are texts of, where it is none itself.
pub(super) fn base_type(
    type_oid: Oid,
    type_modifier: i32,
    type_info: &dyn Fn(Oid) -> Option<TypeFacts>,
) -> (Oid, i32, Oid) {
    let (mut type_oid, mut type_modifier) = (type_oid, type_modifier);
    for _ in 0..DOMAIN_DEPTH_MAX {
        match type_info(type_oid).filter(|_| !oid::is_built_in(type_oid)) {
            Some(TypeFacts { kind: 'd', base_type, base_modifier, .. }) => {
                (type_oid, type_modifier) = (base_type, base_modifier);
            }
            Some(TypeFacts { kind: 'b', base_type, .. }) if base_type != 0 => {
                return (type_oid, type_modifier, base_type);
            }
            _ => break,
        }
    }
    (type_oid, type_modifier, type_oid)
}

/// Lower-case hexadecimal digits, as `encode(…, 'hex')` writes them.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        digits.push(char::from(DIGITS[usize::from(byte >> 4)]));
        digits.push(char::from(DIGITS[usize::from(byte & 0xf)]));
    }
    digits
}

/// The type's output.
pub(super) fn uuid_text(bytes: &[u8; 16]) -> String {
    let digits = hex(bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

/// What that output stands for.
pub(super) fn uuid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let digits = str::from_utf8(text).ok().filter(|text| text.len() == 36)?.replace('-', "");
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(number.to_be_bytes())
}

fn text(text: String) -> Cow<'static, [u8]> {
    Cow::Owned(text.into_bytes())
}

fn fixed<const N: usize>(bytes: &[u8], form: &'static str) -> Result<[u8; N], NoText> {
    bytes.try_into().map_err(|_| NoText::Malformed(form))
}

fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn none(_: Oid) -> Option<TypeFacts> {
        None
    }

    fn form(type_oid: Oid) -> TextForm {
        TextForm::of_type(type_oid, &none).expect("has a text form")
    }

    fn rendered(type_oid: Oid, value: Value) -> String {
        let bytes = form(type_oid).render(&value).expect("renders").expect("was sent").into_owned();
        String::from_utf8(bytes).expect("is text")
    }

    fn binary(bytes: &[u8]) -> Value {
        Value::Binary(Bytes::copy_from_slice(bytes))
    }

    fn wire_text(text: &str) -> Value {
        Value::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn text_and_binary_give_what_the_cast_to_text_gives() {
        let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        let uuid_bytes = 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11_u128.to_be_bytes();
        let cases: &[(Oid, &str, &[u8], &str)] = &[
            (oid::TEXT, "ab ", b"ab ", "ab "),
            (oid::VARCHAR, "ab ", b"ab ", "ab "),
            (oid::NAME, "ab", b"ab", "ab"),
            (oid::JSON, "{ }", b"{ }", "{ }"),
            (oid::BPCHAR, "ab\t   ", b"ab\t   ", "ab\t"),
            (oid::BPCHAR, "    ", b"    ", ""),
            (oid::BOOL, "t", &[1], "true"),
            (oid::BOOL, "f", &[0], "false"),
            (oid::INT2, "-1", &(-1_i16).to_be_bytes(), "-1"),
            (oid::INT4, "-2147483648", &i32::MIN.to_be_bytes(), "-2147483648"),
            (oid::INT8, "9223372036854775807", &i64::MAX.to_be_bytes(), "9223372036854775807"),
            (oid::OID, "4294967295", &u32::MAX.to_be_bytes(), "4294967295"),
            (oid::UUID, uuid, &uuid_bytes, uuid),
            (oid::BYTEA, "\\x00ff", &[0, 255], "\\x00ff"),
            (oid::JSONB, "{\"a\": 1}", b"\x01{\"a\": 1}", "{\"a\": 1}"),
        ];
        for &(type_oid, sent_text, sent_binary, expected) in cases {
            assert_eq!(rendered(type_oid, wire_text(sent_text)), expected, "type {type_oid}");
            assert_eq!(rendered(type_oid, binary(sent_binary)), expected, "type {type_oid}");
        }
    }

    #[test]
    fn an_address_is_cast_with_its_prefix_length() {
        for (output, cast) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.1/8", "10.0.0.1/8"),
            ("::1", "::1/128"),
            ("::1/64", "::1/64"),
        ] {
            assert_eq!(rendered(oid::INET, wire_text(output)), cast);
        }
    }

    #[test]
    fn other_types_are_read_from_text_only() {
        for type_oid in [oid::INET, oid::NUMERIC, oid::TIMESTAMPTZ, oid::FLOAT8, oid::CHAR] {
            assert!(!form(type_oid).reads_binary());
            assert_eq!(form(type_oid).render(&binary(&[0])), Err(NoText::Binary));
        }
        assert_eq!(rendered(oid::NUMERIC, wire_text("1.50")), "1.50");
    }

    #[test]
    fn malformed_bytes_are_an_error_and_never_another_text() {
        for type_oid in
            [oid::BOOL, oid::INT2, oid::INT4, oid::INT8, oid::OID, oid::UUID, oid::JSONB]
        {
            for bytes in [&[][..], &[2], &[9, 9, 9]] {
                let value = binary(bytes);
                let rendered = form(type_oid).render(&value);
                assert!(matches!(rendered, Err(NoText::Malformed(_))), "type {type_oid}");
            }
        }
        assert_eq!(form(oid::BOOL).render(&wire_text("true")), Err(NoText::Malformed("bool")));
    }

    #[test]
    fn nothing_is_made_of_null_and_of_what_was_not_sent() {
        assert_eq!(form(oid::BOOL).render(&Value::Null), Ok(None));
        assert_eq!(form(oid::BOOL).render(&Value::Unchanged), Ok(None));
    }

    #[test]
    fn a_domain_is_read_as_its_base_type_and_nothing_is_guessed() {
        let facts = |kind, base_type, has_text_cast| TypeFacts {
            kind,
            base_type,
            base_modifier: -1,
            has_text_cast,
        };
        let catalog = |type_oid: Oid| match type_oid {
            20_001 => Some(facts('d', 20_002, false)),
            20_002 => Some(facts('d', oid::BOOL, false)),
            20_003 => Some(facts('e', 0, false)),
            20_004 => Some(facts('b', 0, true)),
            20_005 => Some(facts('c', 0, false)),
            20_006 => Some(facts('d', 20_006, false)),
            _ => None,
        };
        assert_eq!(TextForm::of_type(20_001, &catalog), Ok(TextForm::Bool));
        assert_eq!(TextForm::of_type(20_003, &catalog), Ok(TextForm::Verbatim));
        assert_eq!(TextForm::of_type(20_005, &catalog), Ok(TextForm::Output));
        for refused in [20_004, 20_006, 20_007, oid::XML] {
            assert!(TextForm::of_type(refused, &catalog).is_err(), "type {refused}");
        }
    }
}
