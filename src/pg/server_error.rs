//! What a server said when it refused: SQLSTATE and fields, never a row's values in our logs.

use std::fmt;

use tokio_postgres::error::SqlState;

/// An ErrorResponse, whichever kind of connection it came over.
///
/// `Display` prints severity, message and SQLSTATE. `detail` is kept apart because PostgreSQL puts
/// row values into it (`Key (id)=(1) already exists.`): it must not be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    pub severity: String,
    pub code: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.code.code())
    }
}

impl std::error::Error for ServerError {}

impl From<&tokio_postgres::error::DbError> for ServerError {
    fn from(error: &tokio_postgres::error::DbError) -> ServerError {
        ServerError {
            severity: error.severity().to_owned(),
            code: error.code().clone(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            schema: error.schema().map(str::to_owned),
            table: error.table().map(str::to_owned),
            column: error.column().map(str::to_owned),
            constraint: error.constraint().map(str::to_owned),
        }
    }
}

/// The server's own words for a failure of an ordinary connection, if it was the server that
/// spoke.
pub fn of(error: &tokio_postgres::Error) -> Option<ServerError> {
    error.as_db_error().map(ServerError::from)
}
