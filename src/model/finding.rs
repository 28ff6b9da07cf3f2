//! One preflight problem: what, where, and the statement that mends it.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// `run` would refuse to start.
    Error,
    /// Worth knowing; `run` starts.
    Warning,
    /// What `run` would create or do.
    Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Source,
    Destination,
}

impl Side {
    pub fn label(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Destination => "destination",
        }
    }
}

/// One thing that preflight found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub side: Side,
    /// The object with its kind: `table "public"."orders"`, `setting wal_level`.
    pub object: String,
    /// Lowercase, factual, no final stop.
    pub message: String,
    /// The exact statement (or setting) that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub fn error(side: Side, object: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Error, side, object, message)
    }

    pub fn warning(side: Side, object: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, side, object, message)
    }

    pub fn info(side: Side, object: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Info, side, object, message)
    }

    fn new(
        severity: Severity,
        side: Side,
        object: impl Into<String>,
        message: impl Into<String>,
    ) -> Finding {
        Finding { severity, side, object: object.into(), message: message.into(), remedy: None }
    }

    #[must_use]
    pub fn remedy(mut self, statement: impl Into<String>) -> Finding {
        self.remedy = Some(statement.into());
        self
    }
}
