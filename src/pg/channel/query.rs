//! Simple queries: text in, all rows as text out.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;

use crate::pg::channel::{Channel, WireError, server_error};
use crate::pg::server_error::ServerError;

/// The text rows of all statements of one simple query.
pub type TextRows = Vec<Vec<Option<String>>>;

impl Channel {
    /// Refuses when an earlier request was dropped before its replies were read; otherwise marks
    /// the connection as busy until [`Channel::end_request`].
    pub fn begin_request(&mut self) -> Result<(), WireError> {
        if self.is_busy {
            return Err(WireError::protocol(
                b'Q',
                "an earlier request on this connection was given up half-way",
            ));
        }
        self.is_busy = true;
        Ok(())
    }

    pub fn end_request(&mut self) {
        self.is_busy = false;
    }

    /// Sends a simple query; the replies are the caller's.
    pub async fn send_query(&mut self, sql: &str) -> Result<(), WireError> {
        self.begin_request()?;
        frontend::query(sql, &mut self.output)
            .map_err(|error| WireError::protocol(b'Q', error.to_string()))?;
        self.flush().await
    }

    /// Runs `sql` (any number of statements) and returns all rows as text.
    pub async fn simple_query(&mut self, sql: &str) -> Result<TextRows, WireError> {
        self.send_query(sql).await?;
        let mut rows = Vec::new();
        loop {
            match self.message().await? {
                Message::DataRow(body) => rows.push(text_row(&body)?),
                Message::RowDescription(_)
                | Message::CommandComplete(_)
                | Message::EmptyQueryResponse
                | Message::NoticeResponse(_) => {}
                Message::ReadyForQuery(_) => {
                    self.end_request();
                    return Ok(rows);
                }
                Message::ErrorResponse(body) => {
                    let error = server_error(&body)?;
                    return Err(self.after_error(error).await);
                }
                other => return Err(WireError::unexpected(&other, "a simple query")),
            }
        }
    }

    /// Reads up to ReadyForQuery after an ErrorResponse, so that the connection can be used on.
    /// A fatal error is followed by the end of the connection instead.
    pub async fn after_error(&mut self, error: ServerError) -> WireError {
        loop {
            match self.message().await {
                Ok(Message::ReadyForQuery(_)) => {
                    self.end_request();
                    return error.into();
                }
                Ok(_) => {}
                Err(_) => return error.into(),
            }
        }
    }
}

fn text_row(body: &DataRowBody) -> Result<Vec<Option<String>>, WireError> {
    let mut row = Vec::new();
    let mut ranges = body.ranges();
    let bad = |message: &str| WireError::protocol(b'D', message);
    while let Some(range) = ranges.next().map_err(|_| bad("its values are cut short"))? {
        row.push(match range {
            None => None,
            Some(range) => {
                let bytes = body.buffer().get(range).ok_or_else(|| bad("a value is cut short"))?;
                let text = std::str::from_utf8(bytes).map_err(|_| bad("a value is not UTF-8"))?;
                Some(text.to_owned())
            }
        });
    }
    Ok(row)
}
