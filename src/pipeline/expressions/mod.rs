//! Expressions of the settings, computed by PostgreSQL: at the *source*, over values that are sent back to
//! it as parameters.
//!
//! The hard question: why there, when the rows are on their way to the destination? Because the copy
//! computes there, too (in its SELECT), so that copy and stream give the same by the same functions, types
//! and collations; and because a column that is dropped or masked then never leaves the source's side,
//! not even as the input of an expression.
//!
//! ```text
//!   reader ──(rows of a turn: what their expressions read)──► calculator ══ one statement for many rows ══► source
//!          ◄─────────────(a value for each, in order)────────            ◄═══════════════════════════════
//! ```
//!
//! A copy asks only where an expression reads a column in its masked form: that one the agent makes.
//!
//! **Invariants:**
//! * Names in an expression mean the same wherever it runs: the server's own functions and operators
//!   first, then what the role's default `search_path` has.
//! * The session writes nothing (`default_transaction_read_only`).
//! * What the server says of a failed row is not repeated: its message may hold the row's values. The
//!   SQLSTATE is.

mod compute;
mod examine;
pub mod findings;
pub mod pushed;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use tokio::sync::Mutex as AsyncMutex;
use tokio_postgres::Statement;

pub use compute::ComputeError;
use pushed::Kept;

use crate::model::finding::Side;
use crate::pg::client::{self, Client};
use crate::pg::dial::Endpoint;
use crate::pg::ident::QualifiedName;
use crate::pipeline::context::WHOLE_ROWS;
use crate::pipeline::error::PipelineError;
use crate::transform::{Answer, Program, Question, Unusable};

/// Computes expressions at the source, by a connection of its own that is made when it is first needed.
/// Clones share it.
#[derive(Clone, Debug)]
pub struct Calculator {
    endpoint: Endpoint,
    session: Arc<AsyncMutex<Option<Arc<Session>>>>,
    answers: Arc<Mutex<HashMap<Question, Answer>>>,
    publishable: Arc<AsyncMutex<HashMap<(QualifiedName, String), Publishable>>>,
}

/// A filter as a publication would have it, or why none takes it.
type Publishable = Result<String, Kept>;

/// One connection and what is prepared on it.
#[derive(Debug)]
struct Session {
    client: Client,
    /// `search_path TO …`.
    path: String,
    statements: Mutex<HashMap<Prepared, Statement>>,
}

/// Which statement: a program's for so many rows, in binary or not.
type Prepared = (Arc<Program>, usize, bool);

/// The statement that gives a transaction the search path of expressions. pg_catalog stands first, where
/// nobody else's function can take a name.
fn set_path(default_path: &str) -> String {
    match default_path {
        "" => "search_path TO pg_catalog".to_owned(),
        path => format!("search_path TO pg_catalog, {path}"),
    }
}

impl Calculator {
    pub fn new(endpoint: Endpoint) -> Calculator {
        Calculator {
            endpoint,
            session: Arc::default(),
            answers: Arc::default(),
            publishable: Arc::default(),
        }
    }

    async fn session(&self) -> Result<Arc<Session>, PipelineError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| session.is_open()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.connect().await?);
        *held = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn connect(&self) -> Result<Session, PipelineError> {
        let settings = [("default_transaction_read_only", "on"), WHOLE_ROWS];
        let client = client::connect_with(&self.endpoint, "expressions", &settings).await?;
        let prepared = async {
            // What it would be if we did not pin it: the role's, the database's or the server's.
            client.batch_execute("SET search_path TO DEFAULT").await?;
            let default_path: String =
                client.query_one("SHOW search_path", &[]).await?.try_get(0)?;
            let path = set_path(&default_path);
            client.batch_execute(&format!("SET {path}")).await?;
            Ok(path)
        };
        let path = prepared.await;
        let path =
            path.map_err(PipelineError::query(Side::Source, "preparing to compute expressions"))?;
        Ok(Session { client, path, statements: Mutex::default() })
    }

    /// For another session at the source: the statement that lets names mean, until the end of its
    /// transaction, what they mean in expressions.
    pub async fn local_path(&self) -> Result<String, PipelineError> {
        Ok(format!("SET LOCAL {}", self.session().await?.path))
    }

    /// What the server says of each question. A good answer is kept: it is asked again in another run.
    pub async fn examine(
        &self,
        questions: &[Question],
    ) -> Result<HashMap<Question, Result<Answer, Unusable>>, PipelineError> {
        let mut answers = HashMap::new();
        for question in questions {
            let known = self.lock().get(question).cloned();
            let answer = match known {
                Some(answer) => Ok(answer),
                None => examine::examine(&self.session().await?.client, question).await?,
            };
            if let Ok(answer) = &answer {
                self.lock().insert(question.clone(), answer.clone());
            }
            answers.insert(question.clone(), answer);
        }
        Ok(answers)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Question, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_open(&self) -> bool {
        self.client.closed().now_or_never().is_none()
    }
}
