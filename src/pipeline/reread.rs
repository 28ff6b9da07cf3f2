//! Values that the stream did not send, read at the source.
//!
//! The server leaves large values that did not change out of an update, and so out of a row that enters
//! a publication's row filter, which comes as an insert (`pgoutput_row_filter`). Where the destination
//! does not have them they are read by the row's key as it is *now*: a later change of them is in the
//! stream and comes after. A row that is not there any more is left out, because the change that took it
//! away comes, too.
//!
//! "Not there" is believed only of a source that shows what the stream has brought: a commit is in the
//! stream a moment before others see it, or much longer where it waits for a synchronous standby.
//!
//! What it cannot see: a key that another row has by now. The healed row has that one's large values
//! until the change that gave it the key comes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_postgres::types::ToSql;

use crate::apply::parameter::{RawBytes, WireValue};
use crate::apply::reread::{Reread, RereadError};
use crate::model::row::{Row, Value};
use crate::model::table::{Table, TableId};
use crate::pg::client::Client;
use crate::pg::ident::identifier;
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::{Calculator, ComputeError};
use crate::pipeline::visible::become_visible;
use crate::transform::{TransformError, TransformPlan};

/// Descriptions kept a table, as in [`crate::apply::targets`].
const DESCRIPTIONS_MAX: usize = 64;

/// Reads rows at the source, for all tables of a stream. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Rereader {
    source: Arc<Client>,
    calculator: Calculator,
    plans: Arc<RwLock<HashMap<TableId, Vec<Arc<TransformPlan>>>>>,
    equalities: Arc<RwLock<HashMap<TableId, Equalities>>>,
}

/// By column: the operator that its values are compared with, where it is not the server's own `=`.
pub type Equalities = HashMap<String, String>;

impl Rereader {
    pub fn new(source: Arc<Client>, calculator: Calculator) -> Rereader {
        Rereader { source, calculator, plans: Arc::default(), equalities: Arc::default() }
    }

    /// Rows of this description may be asked for from now on.
    pub fn register(&self, plan: Arc<TransformPlan>, equalities: Equalities) {
        let mut known = self.equalities.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(plan.table().id, equalities);
        drop(known);
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        let known = plans.entry(plan.table().id).or_default();
        known.retain(|known| known.table() != plan.table());
        if known.len() >= DESCRIPTIONS_MAX {
            known.remove(0);
        }
        known.push(plan);
    }

    fn plan(&self, table: &Arc<Table>) -> Option<Arc<TransformPlan>> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        let mut known = plans.get(&table.id)?.iter().rev();
        known.find(|known| Arc::ptr_eq(known.table(), table) || known.table() == table).cloned()
    }

    /// Fills what was not sent of a row of the source's layout; false where its row is gone.
    pub async fn complete(
        &self,
        table: &Table,
        row: &mut Row,
        xids: &[u32],
    ) -> Result<bool, RereadError> {
        let equalities = self.equalities(table.id);
        if read(&self.source, table, &equalities, row).await? {
            return Ok(true);
        }
        let shown = become_visible(&self.source, xids).await;
        if !shown.map_err(|error| RereadError::Unasked(error.to_string()))? {
            return Err(RereadError::Hidden);
        }
        read(&self.source, table, &equalities, row).await
    }

    fn equalities(&self, table: TableId) -> Equalities {
        let known = self.equalities.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&table).cloned().unwrap_or_default()
    }
}

impl Reread for Rereader {
    fn reread<'a>(
        &'a self,
        table: &'a Arc<Table>,
        row: &'a Row,
        xids: &'a [u32],
    ) -> BoxFuture<'a, Result<Option<Row>, RereadError>> {
        async move {
            let plan = self.plan(table).ok_or(RereadError::NoPlan)?;
            let mut asked = plan.unsent(row);
            if !self.complete(plan.source_table(), &mut asked, xids).await? {
                return Ok(None);
            }
            let refused = |error: TransformError| RereadError::Value(error.to_string());
            let inputs = plan.inputs(&asked).map_err(refused)?;
            let is_binary = asked.values().iter().any(|value| matches!(value, Value::Binary(_)));
            let mut made = plan.row(asked).map_err(refused)?;
            if let Some(program) = plan.program().filter(|_| plan.lacks_computed(row)) {
                let computed = self.calculator.compute(program, &[&inputs], is_binary).await;
                // One row, one outcome.
                let outcome = computed.map_err(uncomputed)?.remove(0);
                // As it is by now it has left the filter: the change that did it comes, too.
                if !outcome.passes {
                    return Ok(None);
                }
                made = plan.fill(made, inputs, outcome).map_err(refused)?;
            }
            let mut whole = row.clone();
            whole.fill_unchanged_from(&made);
            Ok(Some(whole))
        }
        .boxed()
    }
}

/// A row that is refused is another thing than a server that does not answer.
fn uncomputed(error: ComputeError) -> RereadError {
    match error {
        ComputeError::Row { message, .. } => RereadError::Value(message),
        ComputeError::Pipeline(PipelineError::Query { source, .. }) => RereadError::Source(source),
        ComputeError::Pipeline(error) => RereadError::Unasked(error.chain()),
    }
}

async fn read(
    source: &Client,
    table: &Table,
    equalities: &Equalities,
    row: &mut Row,
) -> Result<bool, RereadError> {
    let missing: Vec<usize> =
        (0..row.values().len()).filter(|&index| row.values()[index].is_unchanged()).collect();
    // The stream has one format; the key, which is always sent, shows which.
    let is_binary = table.key.iter().any(|&key| matches!(row.values()[key], Value::Binary(_)));
    let name = |index: &usize| identifier(&table.columns[*index].name);
    let value = |index: &usize| match is_binary {
        true => name(index),
        // What the type's output function says, where a cast may say another thing (`char(n)`).
        false => format!(
            "CASE WHEN {name} IS DISTINCT FROM NULL THEN pg_catalog.concat({name}) END",
            name = name(index)
        ),
    };
    let columns: Vec<String> = missing.iter().map(value).collect();
    let condition = |(index, number): (&usize, usize)| {
        let equals = equalities.get(&table.columns[*index].name).map_or("=", String::as_str);
        format!("{} {equals} ${number}", name(index))
    };
    let conditions: Vec<String> = table.key.iter().zip(1..).map(condition).collect();
    if conditions.is_empty() {
        // Without a key an old row is sent whole, and nothing is missing that it had.
        return Ok(false);
    }
    // Tables that inherit from this one have rows of their own, under the same keys perhaps.
    let sql = format!(
        "SELECT {} FROM {} WHERE {} AND (tableoid = {oid} OR EXISTS (SELECT FROM \
         pg_catalog.pg_class c WHERE c.oid = {oid} AND c.relkind = 'p'))",
        columns.join(", "),
        table.name.sql(),
        conditions.join(" AND "),
        oid = table.id.0
    );
    let statement = source.prepare(&sql).await?;
    let key: Vec<WireValue<'_>> =
        table.key.iter().map(|&index| WireValue(&row.values()[index])).collect();
    let parameters: Vec<&(dyn ToSql + Sync)> =
        key.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    let Some(found) = source.query_opt(&statement, &parameters).await? else {
        return Ok(false);
    };
    for (place, index) in missing.into_iter().enumerate() {
        let value: Option<RawBytes> = found.try_get(place)?;
        row.values_mut()[index] = match value {
            None => Value::Null,
            Some(RawBytes(bytes)) if is_binary => Value::Binary(bytes),
            Some(RawBytes(bytes)) => Value::Text(bytes),
        };
    }
    Ok(true)
}
