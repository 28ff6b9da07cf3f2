//! A table's settings as one short text, to notice at a start that they have changed.
//!
//! In goes what shapes the rows, in a form that does not depend on how it was written: columns by
//! name, no-ops left out, defaults filled in. Settings under which the same source row gives the
//! same destination row have the same fingerprint. What only decides when to halt (`unlisted`
//! "pass", "fail" or none) is left out: writing it down must not call for a resync.
//!
//! **Invariant:** no secret is in it in clear: a hash key goes in as an HMAC made with it.

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::hash::keyed_digits;
use super::text_form::hex;
use crate::config::settings::{ColumnSettings, Hash, Step, TableSettings, Unlisted};
use crate::pg::ident::QualifiedName;

/// Changes only when the same settings shape rows in another way.
const FORM: &str = "sync-agent transform 1";
/// What a hash key signs, to be told from another key.
const KEY_MARK: &[u8] = b"sync-agent transform fingerprint";

/// SHA-256 in hexadecimal digits.
pub fn fingerprint(settings: Option<&TableSettings>, destination: &QualifiedName) -> String {
    let mut canonical = Canonical(Sha256::new());
    canonical.part(FORM);
    canonical.part(&destination.schema);
    canonical.part(&destination.name);
    if let Some(table) = settings {
        let drops_unlisted = table.unlisted == Some(Unlisted::Drop);
        canonical.part(if drops_unlisted { "drop unlisted" } else { "keep unlisted" });
        let mut columns: Vec<&ColumnSettings> = table.columns.iter().collect();
        columns.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // To name a column without any step matters only where unnamed ones are dropped.
        columns.retain(|column| drops_unlisted || has_effect(column));
        for column in columns {
            canonical.column(column);
        }
    } else {
        canonical.part("keep unlisted");
    }
    hex(&canonical.0.finalize())
}

fn has_effect(column: &ColumnSettings) -> bool {
    !column.steps.is_empty() || renamed(column).is_some()
}

fn renamed(column: &ColumnSettings) -> Option<&str> {
    column.rename.as_deref().filter(|rename| *rename != column.name)
}

struct Canonical(Sha256);

impl Canonical {
    /// Lengths keep parts apart, so that no two lists of parts look the same.
    fn part(&mut self, text: &str) {
        self.0.update(text.len().to_string());
        self.0.update(":");
        self.0.update(text);
    }

    fn column(&mut self, column: &ColumnSettings) {
        self.part("column");
        self.part(&column.name);
        if let Some(rename) = renamed(column) {
            self.part("rename");
            self.part(rename);
        }
        for step in &column.steps {
            match step {
                Step::Drop => self.part("drop"),
                Step::Null => self.part("null"),
                Step::Value(text) => {
                    self.part("value");
                    self.part(text);
                }
                Step::Hash(Hash::Sha256) => self.part("sha256"),
                Step::Hash(Hash::HmacSha256 { key }) => {
                    self.part("hmac-sha256");
                    self.part(&keyed_digits(key.expose_secret().as_bytes(), KEY_MARK));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::fixture::{hmac, named, renamed, sha256, table_settings, value};

    fn of(unlisted: Option<Unlisted>, columns: Vec<ColumnSettings>) -> String {
        let name = QualifiedName::new("public", "t");
        fingerprint(Some(&table_settings(&name, unlisted, columns)), &name)
    }

    /// Stored in destinations, so it must not change between releases.
    #[test]
    fn the_fingerprint_is_stable() {
        let columns = vec![renamed("a", "b", vec![hmac("k")]), named("c", vec![])];
        assert_eq!(
            of(None, columns),
            "62e1058c2c9449d5be008a26857489751946c16deffc181bf7907921532a2f04"
        );
    }

    #[test]
    fn what_shapes_no_row_changes_nothing() {
        let bare = fingerprint(None, &QualifiedName::new("public", "t"));
        assert_eq!(of(None, vec![]), bare);
        assert_eq!(of(Some(Unlisted::Pass), vec![renamed("a", "a", vec![])]), bare);
        assert_eq!(of(Some(Unlisted::Fail), vec![named("a", vec![])]), bare);
        let a = || named("a", vec![Step::Drop]);
        let b = || named("b", vec![Step::Null]);
        assert_eq!(of(None, vec![a(), b()]), of(None, vec![b(), a()]));
    }

    #[test]
    fn what_shapes_rows_changes_it() {
        let drop = Some(Unlisted::Drop);
        let all = [
            fingerprint(None, &QualifiedName::new("public", "t")),
            fingerprint(None, &QualifiedName::new("publi", "ct")),
            of(drop, vec![]),
            of(drop, vec![named("a", vec![])]),
            of(None, vec![named("a", vec![Step::Drop])]),
            of(None, vec![named("a", vec![Step::Null])]),
            of(None, vec![named("a", vec![sha256()])]),
            of(None, vec![named("a", vec![hmac("k")])]),
            of(None, vec![named("a", vec![hmac("l")])]),
            of(None, vec![named("a", vec![hmac("k"), hmac("k")])]),
            of(None, vec![named("a", vec![value("x")])]),
            of(None, vec![named("a", vec![value("y")])]),
            of(None, vec![renamed("a", "b", vec![])]),
            of(None, vec![named("b", vec![value("x")])]),
        ];
        let distinct: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
