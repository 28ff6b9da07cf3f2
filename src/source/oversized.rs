//! A row that is not taken in, because there is to be memory left.

use std::fmt;

use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;

/// Which row, as far as its beginning tells, and how large it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversized {
    pub table: QualifiedName,
    /// The names of the columns that identify its rows.
    pub key: Vec<String>,
    /// Whose value is too long; `None`: the row altogether is.
    pub column: Option<String>,
    pub bytes: usize,
    /// `limits.max_value`.
    pub limit: usize,
    /// The commit it belongs to; `None` in the copy.
    pub lsn: Option<Lsn>,
}

impl std::error::Error for Oversized {}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Oversized { table, column, bytes, limit, .. } = self;
        write!(f, "table \"{table}\": ")?;
        match column {
            Some(column) => write!(
                f,
                "a value of column \"{column}\" has {bytes} bytes, more than limits.max_value ({limit})"
            )?,
            None => write!(
                f,
                "a row has {bytes} bytes, more than limits.max_value ({limit}) leaves room for"
            )?,
        }
        self.lsn.map_or(Ok(()), |lsn| write!(f, " (in the transaction at {lsn})"))
    }
}

impl Oversized {
    /// What an operator can do.
    pub fn hint(&self) -> String {
        let needed = match self.column {
            Some(_) => self.bytes,
            None => self.bytes / 2,
        };
        let mebibytes = needed.div_ceil(1 << 20);
        let otherwise = match self.lsn {
            Some(_) => "",
            None => ", or make the value smaller at the source",
        };
        format!(
            "Set [limits] max_value = \"{mebibytes}MiB\" or more and start the agent again (it needs so much memory beside limits.memory){otherwise}."
        )
    }
}
