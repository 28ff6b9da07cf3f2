//! The law of the fold, its algebra case by case, and the limits of a batch.

#![allow(clippy::unwrap_used)]

mod destination;
mod fold;
mod history;
mod law;
mod limits;

use std::sync::Arc;

use bytes::Bytes;

use crate::model::row::{Row, Value};
use crate::model::table::{Column, ReplicaIdentity, Table, TableId};
use crate::pg::ident::QualifiedName;

/// A table of text columns.
fn table(id: u32, identity: ReplicaIdentity, columns: &[&str], key: &[usize]) -> Arc<Table> {
    let column = |(index, name): (usize, &&str)| Column {
        name: (*name).to_owned(),
        type_oid: 25,
        type_modifier: -1,
        is_identity: identity == ReplicaIdentity::Full || key.contains(&index),
    };
    Arc::new(Table {
        id: TableId(id),
        name: QualifiedName::new("public", format!("t{id}")),
        identity,
        columns: columns.iter().enumerate().map(column).collect(),
        key: key.to_vec(),
    })
}

/// One value a word: `_` is NULL, `?` a value that was not sent.
fn row(words: &str) -> Row {
    Row::new(words.split_whitespace().map(value).collect())
}

fn value(word: &str) -> Value {
    match word {
        "_" => Value::Null,
        "?" => Value::Unchanged,
        text => Value::Text(Bytes::copy_from_slice(text.as_bytes())),
    }
}

/// The reverse of [`row`].
fn words(row: &Row) -> String {
    let word = |value: &Value| match value {
        Value::Null => "_".to_owned(),
        Value::Unchanged => "?".to_owned(),
        Value::Text(bytes) | Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    row.values().iter().map(word).collect::<Vec<_>>().join(" ")
}
