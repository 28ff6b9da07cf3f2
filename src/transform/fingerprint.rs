//! A table's settings as one short text, to notice at a start that they have changed.
//!
//! In goes what shapes the rows, in a form that does not depend on how it was written: columns by
//! name, no-ops left out, defaults filled in. Settings under which the same source row gives the
//! same destination row have the same fingerprint. What only decides when to halt (`unlisted`
//! "pass", "fail" or none) is left out: writing it down must not call for a resync.
//!
//! **Invariant:** no secret is in it in clear: a hash key goes in as an HMAC made with it.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::hash::keyed_digits;
use super::text_form::hex;
use crate::config::settings::{ColumnSettings, Hash, QuerySettings, Step, TableSettings, Unlisted};
use crate::config::steps::{JsonPath, Mask};
use crate::pg::ident::QualifiedName;

/// Changes only when the same settings shape rows in another way.
const FORM: &str = "sync-agent transform 1";
const QUERY_FORM: &str = "sync-agent query 1";
/// What a hash key signs, to be told from another key.
const KEY_MARK: &[u8] = b"sync-agent transform fingerprint";

/// Hexadecimal digits of a key's own digest: enough to tell two values apart, no more.
const KEY_DIGITS: usize = 16;

/// A query's settings as one short text: with another one its result is copied again.
pub fn query_fingerprint(query: &QuerySettings) -> String {
    let mut whole = Canonical::new();
    whole.part(QUERY_FORM);
    whole.part(&query.sql);
    whole.part(&query.destination.schema);
    whole.part(&query.destination.name);
    query.key.iter().for_each(|name| whole.part(name));
    whole.digits()
}

/// One line with the SHA-256 of everything, then a line `<digest> <key>` for each of the settings'
/// keys that are in it. The first line alone decides; the others name what differs.
pub fn fingerprint(settings: Option<&TableSettings>, destination: &QualifiedName) -> String {
    let mut whole = Canonical::new();
    let mut keys = Vec::new();
    whole.part(FORM);
    let mut key = |whole: &mut Canonical, name: String, parts: &dyn Fn(&mut Canonical)| {
        parts(whole);
        let mut own = Canonical::new();
        parts(&mut own);
        keys.push(format!("{} {name}", &own.digits()[..KEY_DIGITS]));
    };
    key(&mut whole, "destination".to_owned(), &|canonical| {
        canonical.part(&destination.schema);
        canonical.part(&destination.name);
    });
    let drops_unlisted = settings.is_some_and(|table| table.unlisted == Some(Unlisted::Drop));
    key(&mut whole, "unlisted".to_owned(), &|canonical| {
        canonical.part(if drops_unlisted { "drop unlisted" } else { "keep unlisted" });
    });
    if let Some(names) = settings.and_then(|table| table.key.as_ref()) {
        let names: BTreeSet<&String> = names.iter().collect();
        key(&mut whole, "key".to_owned(), &|canonical| {
            canonical.part("key");
            names.iter().for_each(|name| canonical.part(name));
        });
    }
    if let Some(filter) = settings.and_then(|table| table.filter.as_ref()) {
        key(&mut whole, "where".to_owned(), &|canonical| {
            canonical.part("where");
            canonical.part(filter);
        });
    }
    if let Some(table) = settings {
        let mut columns: Vec<&ColumnSettings> = table.columns.iter().collect();
        columns.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // To name a column without any step matters only where unnamed ones are dropped.
        columns.retain(|column| drops_unlisted || has_effect(column));
        for column in columns {
            let name = format!("columns.{:?}", column.name);
            key(&mut whole, name, &|canonical| canonical.column(column));
        }
    }
    std::iter::once(whole.digits()).chain(keys).collect::<Vec<_>>().join("\n")
}

/// The settings' keys that differ between a stored fingerprint and the present one; `None` where
/// nothing does. Empty for a fingerprint of the first form, which named no keys.
pub fn changed_keys(stored: &str, present: &str) -> Option<Vec<String>> {
    let (stored_whole, stored_keys) = split(stored);
    let (present_whole, present_keys) = split(present);
    if stored_whole == present_whole {
        return None;
    }
    if stored_keys.is_empty() {
        return Some(Vec::new());
    }
    let names: BTreeSet<&str> = stored_keys.keys().chain(present_keys.keys()).copied().collect();
    let differs = |name: &&str| stored_keys.get(name) != present_keys.get(name);
    Some(names.into_iter().filter(differs).map(str::to_owned).collect())
}

fn split(fingerprint: &str) -> (&str, BTreeMap<&str, &str>) {
    let mut lines = fingerprint.lines();
    let whole = lines.next().unwrap_or_default();
    let key = |line| str::split_once(line, ' ').map(|(digest, name)| (name, digest));
    (whole, lines.filter_map(key).collect())
}

fn has_effect(column: &ColumnSettings) -> bool {
    !column.steps.is_empty() || renamed(column).is_some()
}

fn renamed(column: &ColumnSettings) -> Option<&str> {
    column.rename.as_deref().filter(|rename| *rename != column.name)
}

struct Canonical(Sha256);

impl Canonical {
    fn new() -> Canonical {
        Canonical(Sha256::new())
    }

    fn digits(self) -> String {
        hex(&self.0.finalize())
    }

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
                Step::Sql(sql) => {
                    self.part("sql");
                    self.part(sql);
                }
                Step::Value(text) => {
                    self.part("value");
                    self.part(text);
                }
                Step::Hash(Hash::Sha256) => self.part("sha256"),
                Step::Hash(Hash::HmacSha256 { key }) => {
                    self.part("hmac-sha256");
                    self.secret(key);
                }
                Step::Mask(Mask::Full) => self.part("mask full"),
                Step::Mask(Mask::Email) => self.part("mask email"),
                Step::Mask(Mask::Parts { keep_first, keep_last, with }) => {
                    self.part("mask");
                    self.part(&keep_first.to_string());
                    self.part(&keep_last.to_string());
                    self.part(with.encode_utf8(&mut [0; 4]));
                }
                Step::Replace(replacement) => {
                    self.part("replace");
                    self.part(replacement.pattern.as_str());
                    self.part(&replacement.with);
                }
                Step::Lower => self.part("lower"),
                Step::Trim => self.part("trim"),
                Step::JsonDrop(paths) => {
                    let paths: BTreeSet<String> = paths.iter().map(JsonPath::to_string).collect();
                    self.part("json_drop");
                    self.part(&paths.len().to_string());
                    paths.iter().for_each(|path| self.part(path));
                }
                Step::Fake(fake) => {
                    self.part("fake");
                    self.part(fake.kind.word());
                    self.secret(&fake.key);
                }
            }
        }
    }

    fn secret(&mut self, key: &SecretString) {
        self.part(&keyed_digits(key.expose_secret().as_bytes(), KEY_MARK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::steps::FakeKind;
    use crate::transform::fixture::{
        fake, hmac, json_drop, named, renamed, replace, sha256, table_settings, value,
    };

    fn of(unlisted: Option<Unlisted>, columns: Vec<ColumnSettings>) -> String {
        let name = QualifiedName::new("public", "t");
        fingerprint(Some(&table_settings(&name, unlisted, columns)), &name)
    }

    /// Stored in destinations, so it must not change between releases.
    #[test]
    fn the_fingerprint_is_stable() {
        let columns = vec![renamed("a", "b", vec![hmac("k")]), named("c", vec![])];
        let lines = of(None, columns);
        let first = lines.lines().next();
        let expected = "62e1058c2c9449d5be008a26857489751946c16deffc181bf7907921532a2f04";
        assert_eq!(first, Some(expected));
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
    fn what_differs_is_named_by_its_key() {
        let before = of(None, vec![named("a", vec![Step::Null]), named("b", vec![hmac("k")])]);
        let after = of(
            Some(Unlisted::Drop),
            vec![named("b", vec![hmac("l")]), named("c\n d", vec![Step::Null])],
        );
        assert_eq!(changed_keys(&before, &before), None);
        let keys = changed_keys(&before, &after).expect("they differ");
        assert_eq!(keys.len(), 4, "{keys:?}");
        assert_eq!(keys[0], "columns.\"a\"");
        let first_form = before.lines().next().expect("a line");
        assert_eq!(changed_keys(first_form, &before), None);
        assert_eq!(changed_keys(first_form, &after), Some(vec![]));
    }

    #[test]
    fn a_key_is_a_set_of_columns() {
        let name = QualifiedName::new("public", "t");
        let with = |key: Option<&[&str]>| {
            let key = key.map(|key| key.iter().map(|&column| column.to_owned()).collect());
            fingerprint(Some(&TableSettings { key, ..table_settings(&name, None, vec![]) }), &name)
        };
        let (none, one) = (with(None), with(Some(&["a", "b"])));
        assert_eq!(one, with(Some(&["b", "a"])));
        assert_eq!(changed_keys(&none, &one), Some(vec!["key".to_owned()]));
        assert_eq!(changed_keys(&one, &with(Some(&["a"]))), Some(vec!["key".to_owned()]));
    }

    #[test]
    fn what_shapes_rows_changes_it() {
        let drop = Some(Unlisted::Drop);
        let parts =
            |keep_first, keep_last, with| Step::Mask(Mask::Parts { keep_first, keep_last, with });
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
            of(None, vec![named("a", vec![Step::Lower])]),
            of(None, vec![named("a", vec![Step::Trim])]),
            of(None, vec![named("a", vec![Step::Mask(Mask::Full)])]),
            of(None, vec![named("a", vec![Step::Mask(Mask::Email)])]),
            of(None, vec![named("a", vec![parts(1, 0, '*')])]),
            of(None, vec![named("a", vec![parts(0, 1, '*')])]),
            of(None, vec![named("a", vec![parts(0, 1, 'x')])]),
            of(None, vec![named("a", vec![replace("x", "y")])]),
            of(None, vec![named("a", vec![replace("x", "z")])]),
            of(None, vec![named("a", vec![replace("y", "y")])]),
            of(None, vec![named("a", vec![json_drop(&["a"])])]),
            of(None, vec![named("a", vec![json_drop(&["a", "b"])])]),
            of(None, vec![named("a", vec![json_drop(&["a.b"])])]),
            of(None, vec![named("a", vec![json_drop(&[r#""a.b""#])])]),
            of(None, vec![named("a", vec![fake(FakeKind::Name)])]),
            of(None, vec![named("a", vec![fake(FakeKind::Email)])]),
        ];
        let distinct: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
