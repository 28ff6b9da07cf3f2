//! A value's wire bytes as a statement's parameter, and as a result, as they are.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};

use crate::model::row::Value;

/// Sends the bytes in the format they came in. A value that was not sent must never get here.
#[derive(Debug)]
pub struct WireValue<'a>(pub &'a Value);

impl ToSql for WireValue<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Value::Text(bytes) | Value::Binary(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            Value::Null => Ok(IsNull::Yes),
            Value::Unchanged => {
                Err("a value that the source did not send was about to be written".into())
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self.0 {
            Value::Binary(_) => Format::Binary,
            _ => Format::Text,
        }
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }
}

/// A result's bytes, whatever its type.
#[derive(Debug)]
pub struct RawBytes(pub Bytes);

impl<'a> FromSql<'a> for RawBytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<RawBytes, Box<dyn Error + Sync + Send>> {
        Ok(RawBytes(Bytes::copy_from_slice(raw)))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
