//! Values that the stream did not send with a new row, read at the source.
//!
//! A row that enters a publication's row filter comes as an insert, and the server leaves out what
//! it always leaves out of an update: large values that did not change (`pgoutput_row_filter`). The
//! destination has never had them. They are read by the row's key as it is *now*: a later change of
//! them is in the stream and comes after. A row that is not there any more is left out, because the
//! change that took it away comes, too.

use std::error::Error;

use bytes::Bytes;
use tokio_postgres::types::{FromSql, Type};

use crate::apply::parameter::WireValue;
use crate::model::finding::Side;
use crate::model::row::{Row, Value};
use crate::model::table::Table;
use crate::pg::client::Client;
use crate::pg::ident::identifier;
use crate::pipeline::error::PipelineError;

/// A value's bytes, whatever its type.
struct Raw(Bytes);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw, Box<dyn Error + Sync + Send>> {
        Ok(Raw(Bytes::copy_from_slice(raw)))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Fills what was not sent of `new`; false where its row is gone.
pub async fn complete(
    source: &Client,
    table: &Table,
    new: &mut Row,
) -> Result<bool, PipelineError> {
    let missing: Vec<usize> =
        (0..new.values().len()).filter(|&index| new.values()[index].is_unchanged()).collect();
    // The stream has one format; the key, which is always sent, shows which.
    let is_binary = table.key.iter().any(|&key| matches!(new.values()[key], Value::Binary(_)));
    let name = |index: &usize| identifier(&table.columns[*index].name);
    let cast = if is_binary { "" } else { "::pg_catalog.text" };
    let columns: Vec<String> =
        missing.iter().map(|index| format!("{}{cast}", name(index))).collect();
    let conditions: Vec<String> = table
        .key
        .iter()
        .zip(1..)
        .map(|(index, number)| format!("{} = ${number}", name(index)))
        .collect();
    if conditions.is_empty() {
        // Without a key an old row is sent whole, and nothing is missing that it had.
        return Ok(false);
    }
    let sql = format!(
        "SELECT {} FROM {} WHERE {}",
        columns.join(", "),
        table.name.sql(),
        conditions.join(" AND ")
    );
    let asking = || PipelineError::query(Side::Source, "reading a row that entered a filter");
    let statement = source.prepare(&sql).await.map_err(asking())?;
    let key: Vec<WireValue<'_>> =
        table.key.iter().map(|&index| WireValue(&new.values()[index])).collect();
    let parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
        key.iter().map(|value| value as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
    let Some(found) = source.query_opt(&statement, &parameters).await.map_err(asking())? else {
        return Ok(false);
    };
    for (place, index) in missing.into_iter().enumerate() {
        let value: Option<Raw> = found.try_get(place).map_err(asking())?;
        new.values_mut()[index] = match value {
            None => Value::Null,
            Some(Raw(bytes)) if is_binary => Value::Binary(bytes),
            Some(Raw(bytes)) => Value::Text(bytes),
        };
    }
    Ok(true)
}
