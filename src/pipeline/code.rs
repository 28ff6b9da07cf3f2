//! Error codes: what an operator, a script and a metric label see.
//!
//! Names and exit codes are a contract; which error has which code is decided by the supervisor.

use std::fmt;

/// The class of a condition that halts, degrades or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(non_camel_case_types, reason = "the variants are spelled as operators read them")]
pub enum Code {
    /// The configuration, or what is not built yet.
    E_CONFIG,
    /// A server is not prepared: privileges, settings, objects.
    E_PREFLIGHT,
    /// A server cannot be reached.
    E_CONNECT,
    /// Local files or the local store.
    E_IO,
    /// The slot or the publication is lost, or not where we left it.
    E_SLOT,
    /// The history of source or destination is not the one we followed.
    E_LINEAGE,
    /// Another process took the pipeline over.
    E_FENCED,
    /// A table's structure does not fit.
    E_SCHEMA,
    /// Rows at the destination that we did not expect.
    E_CONFLICT,
    /// A row that the destination rejects.
    E_DATA,
    /// A privilege that was revoked while running.
    E_ACCESS,
}

impl Code {
    /// Every code, for metrics that exist from the start.
    pub const ALL: [Code; 11] = [
        Code::E_CONFIG,
        Code::E_PREFLIGHT,
        Code::E_CONNECT,
        Code::E_IO,
        Code::E_SLOT,
        Code::E_LINEAGE,
        Code::E_FENCED,
        Code::E_SCHEMA,
        Code::E_CONFLICT,
        Code::E_DATA,
        Code::E_ACCESS,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Code::E_CONFIG => "E_CONFIG",
            Code::E_PREFLIGHT => "E_PREFLIGHT",
            Code::E_CONNECT => "E_CONNECT",
            Code::E_IO => "E_IO",
            Code::E_SLOT => "E_SLOT",
            Code::E_LINEAGE => "E_LINEAGE",
            Code::E_FENCED => "E_FENCED",
            Code::E_SCHEMA => "E_SCHEMA",
            Code::E_CONFLICT => "E_CONFLICT",
            Code::E_DATA => "E_DATA",
            Code::E_ACCESS => "E_ACCESS",
        }
    }

    /// The process's exit code where a verb ends on this.
    pub const fn exit_code(self) -> u8 {
        match self {
            Code::E_CONNECT | Code::E_IO => 1,
            Code::E_CONFIG => 3,
            // A privilege is what preflight looks at; `run` itself stays alive on it.
            Code::E_PREFLIGHT | Code::E_ACCESS => 4,
            Code::E_SLOT | Code::E_LINEAGE | Code::E_FENCED => 5,
            Code::E_SCHEMA | Code::E_CONFLICT | Code::E_DATA => 6,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_contract() {
        let codes: Vec<(&str, u8)> =
            Code::ALL.iter().map(|code| (code.as_str(), code.exit_code())).collect();
        let expected = [
            ("E_CONFIG", 3),
            ("E_PREFLIGHT", 4),
            ("E_CONNECT", 1),
            ("E_IO", 1),
            ("E_SLOT", 5),
            ("E_LINEAGE", 5),
            ("E_FENCED", 5),
            ("E_SCHEMA", 6),
            ("E_CONFLICT", 6),
            ("E_DATA", 6),
            ("E_ACCESS", 4),
        ];
        assert_eq!(codes, expected);
    }
}
