//! What an expression reads and gives, and whether it may be used: asked of the real server.
//!
//! Nothing is run. The expression is parsed over a row of the columns that it may see, then over rows that
//! lack one of them: what it does not miss it does not read. Where it stands in a WHERE, the server refuses
//! aggregates, window functions and functions that return sets. Whether it is volatile shows in a plan: the
//! planner leaves a subquery with a volatile function in its list standing, and no other.

use tokio_postgres::types::{Kind, ToSql, Type};

use crate::apply::parameter::{RawBytes, WireValue};
use crate::model::finding::Side;
use crate::model::row::Value;
use crate::pg::catalog;
use crate::pg::client::Client;
use crate::pg::ident::identifier;
use crate::pg::oid::{self, Oid};
use crate::pg::server_error;
use crate::pipeline::error::PipelineError;
use crate::transform::{
    Answer, Purpose, Question, ROW, Unusable, VisibleColumn, check_shape, visible,
};

pub(super) async fn examine(
    client: &Client,
    question: &Question,
) -> Result<Result<Answer, Unusable>, PipelineError> {
    let examined = Examination { client, question }.run().await;
    match examined {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failed::Unusable(unusable)) => Ok(Err(unusable)),
        Err(Failed::Pipeline(error)) => Err(*error),
    }
}

enum Failed {
    Unusable(Unusable),
    Pipeline(Box<PipelineError>),
}

impl From<PipelineError> for Failed {
    fn from(error: PipelineError) -> Failed {
        Failed::Pipeline(Box::new(error))
    }
}

impl From<Unusable> for Failed {
    fn from(unusable: Unusable) -> Failed {
        Failed::Unusable(unusable)
    }
}

struct Examination<'a> {
    client: &'a Client,
    question: &'a Question,
}

type Columns<'a> = Vec<&'a VisibleColumn>;

impl Examination<'_> {
    async fn run(&self) -> Result<Answer, Failed> {
        let sql = &self.question.sql;
        check_shape(sql).map_err(Unusable::from)?;
        // A column that is not named anywhere in the text is not read.
        let folded = sql.to_lowercase();
        let is_named = |name: &String| {
            let name = name.to_lowercase();
            folded.contains(&name) || folded.contains(&name.replace('"', "\"\""))
        };
        let named: Columns<'_> =
            self.question.columns.iter().filter(|column| is_named(&column.name)).collect();
        let result = self.result_type(&named).await?;
        let mut inputs = Vec::new();
        for &column in &named {
            // Without it the name would be that of the row.
            if column.name == ROW {
                inputs.push(column.name.clone());
                continue;
            }
            let others: Columns<'_> =
                named.iter().copied().filter(|other| *other != column).collect();
            match self.result_type(&others).await {
                Ok(_) => {}
                Err(Failed::Unusable(_)) => inputs.push(column.name.clone()),
                Err(failed) => return Err(failed),
            }
        }
        let condition = format!("SELECT 1 FROM {} WHERE (\n{sql}\n) IS NULL", row_of(&named));
        self.parse(&condition, &named).await?;
        self.refuse_volatile(&named).await?;
        let column = catalog::result_type(self.client, result).await;
        let column = column.map_err(PipelineError::catalog(Side::Source))?;
        let name = || format!("of OID {}", result.0);
        let result = column.ok_or_else(|| Unusable::NoColumnType(name()))?;
        if self.question.purpose == Purpose::Filter && result.type_oid != oid::BOOL {
            return Err(Unusable::NotBoolean(result.type_name).into());
        }
        if oid::is_named(result.type_oid) {
            return Err(Unusable::Named(result.type_name).into());
        }
        Ok(Answer { inputs, result })
    }

    /// The type of the expression's values over a row of `columns`, with the modifier that a cast gives
    /// them (`::numeric(10, 2)`).
    async fn result_type(&self, columns: &Columns<'_>) -> Result<(Oid, i32), Failed> {
        let sql = format!("SELECT (\n{}\n) FROM {}", self.question.sql, row_of(columns));
        let statement = self.parse(&sql, columns).await?;
        let column = statement.columns().first();
        Ok(column.map_or((oid::TEXT, -1), |column| (column.type_().oid(), column.type_modifier())))
    }

    async fn parse(
        &self,
        sql: &str,
        columns: &Columns<'_>,
    ) -> Result<tokio_postgres::Statement, Failed> {
        let types: Vec<Type> =
            columns.iter().map(|column| parameter_type(column.type_oid)).collect();
        match self.client.prepare_typed(sql, &types).await {
            Ok(statement) => Ok(statement),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// In the plan below, `s` is gone where its list has no volatile function.
    async fn refuse_volatile(&self, columns: &Columns<'_>) -> Result<(), Failed> {
        let sql = format!(
            "EXPLAIN (FORMAT JSON) SELECT s.x FROM (SELECT (\n{}\n) AS x FROM {}) AS s \
             WHERE s.x IS NULL",
            self.question.sql,
            row_of(columns)
        );
        let types: Vec<Type> =
            columns.iter().map(|column| parameter_type(column.type_oid)).collect();
        let nulls: Vec<WireValue<'_>> = columns.iter().map(|_| WireValue(&Value::Null)).collect();
        let explained = async {
            let statement = self.client.prepare_typed(&sql, &types).await?;
            let nulls: Vec<_> = nulls.iter().map(|null| null as &(dyn ToSql + Sync)).collect();
            let row = self.client.query_one(&statement, &nulls).await?;
            row.try_get::<_, RawBytes>(0)
        };
        let RawBytes(plan) = explained.await.map_err(|error| self.failed(error))?;
        // A plan that cannot be read shows nothing: then it is not let through.
        let plan: serde_json::Value = serde_json::from_slice(&plan).unwrap_or_default();
        if !plan.is_array() {
            return Err(Unusable::Volatile.into());
        }
        match has_alias(&plan, "s") {
            true => Err(Unusable::Volatile.into()),
            false => Ok(()),
        }
    }

    /// What the server refuses is about the expression; the rest is about the connection.
    fn failed(&self, error: tokio_postgres::Error) -> Failed {
        match server_error::of(&error) {
            Some(refused) if is_about_statement(refused.code.code()) => {
                let code = refused.code.code().to_owned();
                Unusable::Refused { message: refused.message, code }.into()
            }
            _ => PipelineError::query(Side::Source, "examining an expression")(error).into(),
        }
    }
}

/// Syntax and names (42), what is not supported (0A), constants that are no values of their types (22).
fn is_about_statement(code: &str) -> bool {
    ["42", "0A", "22"].iter().any(|class| code.starts_with(class))
}

/// A row of parameters under the columns' names, and under a name that nobody says: a row as a whole
/// cannot be read, because nobody could tell which of its columns are. OFFSET keeps the planner from
/// looking through it.
fn row_of(columns: &Columns<'_>) -> String {
    let column = |(number, column): (usize, &&VisibleColumn)| {
        visible(&format!("${number}"), column.collation.as_ref(), &column.name)
    };
    let columns: Vec<String> = (1..).zip(columns).map(column).collect();
    format!("(SELECT {} OFFSET 0) AS {}", columns.join(", "), identifier(ROW))
}

/// A parameter of a type that only the server knows more of.
pub(super) fn parameter_type(oid: Oid) -> Type {
    Type::from_oid(oid)
        .unwrap_or_else(|| Type::new(String::new(), oid, Kind::Simple, String::new()))
}

fn has_alias(plan: &serde_json::Value, alias: &str) -> bool {
    match plan {
        serde_json::Value::Array(items) => items.iter().any(|item| has_alias(item, alias)),
        serde_json::Value::Object(fields) => {
            fields.get("Alias").and_then(serde_json::Value::as_str) == Some(alias)
                || fields.values().any(|field| has_alias(field, alias))
        }
        _ => false,
    }
}
