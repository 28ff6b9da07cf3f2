//! What a server said when it refused: SQLSTATE and fields, never a row's values in our logs.

use std::fmt;

use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;
use tokio_postgres::error::SqlState;

/// Stands for words that are not repeated.
const UNSPOKEN: &str = "what it says may hold a row's values; the server's log has it";

/// The classes of SQLSTATEs that PostgreSQL has (Appendix A of its documentation).
const CLASSES: [&str; 44] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22",
    "23", "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40",
    "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
];

/// An ErrorResponse or NoticeResponse, whichever kind of connection it came over.
///
/// `Display` prints severity, message and SQLSTATE. `detail` is kept apart because PostgreSQL puts
/// row values into it (`Key (id)=(1) already exists.`): it must not be logged. So does the message
/// of some classes (`invalid input syntax for type integer: "abc"`): `Display` blanks what is
/// quoted there, and says nothing of what a function raised; `message` has it whole. `Debug` says no
/// more than `Display`, and the objects.
#[derive(Clone, PartialEq, Eq)]
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

impl ServerError {
    /// From the fields of a message on a raw connection; `None` where they are cut short.
    pub fn from_fields(mut fields: ErrorFields<'_>) -> Option<ServerError> {
        let mut error = ServerError {
            severity: String::new(),
            code: SqlState::INTERNAL_ERROR,
            message: String::new(),
            detail: None,
            hint: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        };
        while let Some(field) = fields.next().ok()? {
            // A server may speak before it knows the client's encoding.
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'S' if error.severity.is_empty() => error.severity = value,
                // Not translated, so preferred; servers older than 9.6 lack it.
                b'V' => error.severity = value,
                b'C' => error.code = SqlState::from_code(&value),
                b'M' => error.message = value,
                b'D' => error.detail = Some(value),
                b'H' => error.hint = Some(value),
                b's' => error.schema = Some(value),
                b't' => error.table = Some(value),
                b'c' => error.column = Some(value),
                b'n' => error.constraint = Some(value),
                _ => {}
            }
        }
        Some(error)
    }

    /// From a whole ErrorResponse or NoticeResponse message, header included.
    pub fn from_frame(frame: Bytes) -> Option<ServerError> {
        use postgres_protocol::message::backend::Message;
        match Message::parse(&mut frame.into()).ok()?? {
            Message::ErrorResponse(body) => ServerError::from_fields(body.fields()),
            Message::NoticeResponse(body) => ServerError::from_fields(body.fields()),
            _ => None,
        }
    }

    /// The SQLSTATE's first two characters.
    pub fn class(&self) -> &str {
        self.code.code().get(..2).unwrap_or("")
    }

    /// Whether the same request may succeed later without anybody mending anything: the server is
    /// starting, stopping or full, or it lost an internal race. A file that is missing
    /// (WAL, a timeline's history, a library) and corrupted data do not come back.
    pub fn is_transient(&self) -> bool {
        match self.class() {
            // Who does not understand us will not do so later: a pooler without replication.
            "08" => self.code != SqlState::PROTOCOL_VIOLATION,
            "40" | "53" | "57" => true,
            "58" => self.code != SqlState::UNDEFINED_FILE,
            "XX" => self.code == SqlState::INTERNAL_ERROR,
            _ => false,
        }
    }

    /// Whether what a statement computed, with functions of anybody's making, may be the cause: those raise
    /// what they like. Not what is missing or forbidden, nor what passes.
    pub fn may_be_about_a_row(&self) -> bool {
        self.class() != "42" && !self.is_transient()
    }

    /// The error with nothing that a row's values may be in: a function's author writes them into any
    /// field but these.
    pub fn without_words(&self) -> String {
        let meaning = self.meaning().map(|meaning| format!(" ({meaning})")).unwrap_or_default();
        format!("{}: SQLSTATE {}{meaning}", self.severity, self.code.code())
    }

    /// The same error in words of ours, for what a statement said that computed with rows' values. What
    /// ends a session (FATAL) is of the server alone, and stays.
    pub fn reworded(&self) -> ServerError {
        if self.severity != "ERROR" {
            return self.clone();
        }
        ServerError {
            severity: self.severity.clone(),
            code: self.code.clone(),
            message: self.meaning().unwrap_or(UNSPOKEN).to_owned(),
            detail: None,
            hint: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }
    }

    /// What the code means, for those that are met where rows are computed.
    fn meaning(&self) -> Option<&'static str> {
        Some(match self.code.code() {
            "22003" | "22008" => "out of range",
            "22012" => "division by zero",
            "22P02" | "22007" => "a text that is no value of the type",
            "22001" => "too long",
            "23502" => "NULL where none may be",
            "23514" => "a check failed",
            "P0001" => "raised by a function",
            "21000" => "a query inside of another gave more than one row",
            "25006" => "something is written where nothing may be",
            "42501" => "permission denied",
            "42P01" | "42703" | "42704" | "42883" | "3F000" => {
                "something of this name does not exist"
            }
            "40001" | "40P01" => "in the way of another transaction",
            "53100" => "the disk is full",
            "53200" => "out of memory",
            "57014" => "canceled",
            _ => return None,
        })
    }

    /// The hint, where it is PostgreSQL's own.
    pub fn own_hint(&self) -> Option<&str> {
        self.hint.as_deref().filter(|_| !self.message_may_hold_values())
    }

    /// Whether the code is none of PostgreSQL's, or that of PL/pgSQL's RAISE: then somebody's function chose
    /// its words.
    pub fn is_raised(&self) -> bool {
        !CLASSES.contains(&self.class()) || self.class() == "P0"
    }

    fn is_about_encoding(&self) -> bool {
        self.code == SqlState::CHARACTER_NOT_IN_REPERTOIRE
            || self.code == SqlState::UNTRANSLATABLE_CHARACTER
    }

    fn message_may_hold_values(&self) -> bool {
        // Data exceptions quote the input; RAISE prints whatever its author wanted.
        self.class() == "22" || self.is_raised()
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blanked;
        let message = if self.is_raised() {
            self.meaning().unwrap_or(UNSPOKEN)
        } else if self.message_may_hold_values() {
            blanked = if self.is_about_encoding() {
                blank_bytes(&self.message)
            } else {
                blank_quoted(&self.message)
            };
            &blanked
        } else {
            &self.message
        };
        write!(f, "{}: {} (SQLSTATE {})", self.severity, message, self.code.code())
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerError")
            .field("said", &self.to_string())
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("column", &self.column)
            .field("constraint", &self.constraint)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ServerError {}

/// `message` with everything from the first to the last quotation mark as `"…"`: a value may hold
/// quotation marks itself.
fn blank_quoted(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}\"…\"{}", &message[..first], &message[last + 1..])
        }
        _ => message.to_owned(),
    }
}

/// `character with byte sequence 0xe6 0x97 0xa5 in encoding "UTF8" has no equivalent in encoding
/// "LATIN1"`: what is quoted are names of encodings, what is a value are the bytes.
fn blank_bytes(message: &str) -> String {
    let mut blanked = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find("0x") {
        let bytes = rest[at..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == ' ');
        let end = rest.len() - bytes.len();
        // The first word that is no byte goes on.
        let words = rest[at..end].split_inclusive(' ');
        let length: usize = words.take_while(|word| word.starts_with("0x")).map(str::len).sum();
        let is_spaced = rest[at..at + length].ends_with(' ');
        blanked.push_str(&rest[..at]);
        blanked.push_str(if is_spaced { "… " } else { "…" });
        rest = &rest[at + length..];
    }
    blanked + rest
}

impl From<&tokio_postgres::error::DbError> for ServerError {
    fn from(error: &tokio_postgres::error::DbError) -> ServerError {
        ServerError {
            // Not translated, where the server says it so.
            severity: error
                .parsed_severity()
                .map_or_else(|| error.severity().to_owned(), |severity| severity.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(fields: &[(u8, &str)]) -> Bytes {
        let mut body = Vec::new();
        for (tag, value) in fields {
            body.push(*tag);
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        let mut frame = vec![b'E'];
        frame.extend_from_slice(&u32::try_from(body.len() + 4).expect("small").to_be_bytes());
        frame.extend_from_slice(&body);
        Bytes::from(frame)
    }

    #[test]
    fn fields_are_taken_by_their_tags() {
        let error = ServerError::from_frame(frame(&[
            (b'S', "FEHLER"),
            (b'V', "ERROR"),
            (b'C', "23505"),
            (b'M', "duplicate key value violates unique constraint \"t_pkey\""),
            (b'D', "Key (id)=(canary) already exists."),
            (b't', "t"),
            (b'n', "t_pkey"),
            (b'R', "_bt_check_unique"),
        ]))
        .expect("whole");
        assert_eq!(error.constraint.as_deref(), Some("t_pkey"));
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        assert_eq!(
            error.to_string(),
            "ERROR: duplicate key value violates unique constraint \"t_pkey\" (SQLSTATE 23505)"
        );
    }

    #[test]
    fn values_in_a_message_are_blanked() {
        for (code, message) in [
            ("22P02", "invalid input syntax for type integer: \"can\"canary\""),
            ("P0001", "row \"canary\" is bad"),
            ("P0001", "row canary is bad"),
            ("ABCDE", "row canary is bad"),
        ] {
            let error =
                ServerError::from_frame(frame(&[(b'C', code), (b'M', message)])).expect("whole");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn bytes_in_a_message_are_blanked_and_encodings_are_not() {
        for (code, message, said) in [
            (
                "22021",
                "invalid byte sequence for encoding \"UTF8\": 0xe9 0x20 0x78",
                "invalid byte sequence for encoding \"UTF8\": …",
            ),
            (
                "22P05",
                "character with byte sequence 0xe6 0x97 in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
                "character with byte sequence … in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
            ),
        ] {
            let error =
                ServerError::from_frame(frame(&[(b'C', code), (b'M', message)])).expect("whole");
            assert_eq!(error.to_string(), format!(": {said} (SQLSTATE {code})"));
        }
    }

    #[test]
    fn a_message_cut_short_is_not_an_error_of_the_server() {
        let whole = frame(&[(b'M', "x")]);
        assert!(ServerError::from_frame(whole.slice(..whole.len() - 1)).is_none());
    }
}
