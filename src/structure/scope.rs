//! What all parts of a plan look things up in: the source's rows by owner, what there will be at the
//! destination, and names that are taken.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::names::{Names, called_functions};
use super::present::Present;
use crate::pg::catalog::structure::{DependencyRow, StructureRows};
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::oid::Oid;

/// Longest name PostgreSQL keeps, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Something that our role cannot make and that a table cannot do without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// The object with its kind.
    pub object: String,
    pub message: String,
    /// The statement for the administrator, where there is one.
    pub remedy: Option<String>,
}

pub(super) struct Scope<'a> {
    pub(super) rows: &'a StructureRows,
    pub(super) present: &'a Present,
    pub(super) names: &'a Names,
    /// The source's own functions, to tell them from syntax; empty where versions are the same.
    source_functions: BTreeSet<&'a str>,
    dependencies: HashMap<Oid, Vec<&'a DependencyRow>>,
    /// Types that the destination will not have, with the reason.
    pub(super) missing_types: HashMap<Oid, String>,
    /// Collations by OID: the destination's name, or why it will not have one.
    pub(super) collations: HashMap<Oid, Result<QualifiedName, String>>,
    lacks: RefCell<BTreeSet<Lack>>,
    taken: RefCell<HashSet<QualifiedName>>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        rows: &'a StructureRows,
        present: &'a Present,
        names: &'a Names,
        source_functions: &'a [String],
    ) -> Scope<'a> {
        let mut dependencies: HashMap<Oid, Vec<&DependencyRow>> = HashMap::new();
        for row in &rows.dependencies {
            dependencies.entry(row.owner).or_default().push(row);
        }
        Scope {
            rows,
            present,
            names,
            source_functions: source_functions.iter().map(String::as_str).collect(),
            dependencies,
            missing_types: HashMap::new(),
            collations: HashMap::new(),
            lacks: RefCell::default(),
            taken: RefCell::default(),
        }
    }

    /// Whether the destination has, or will have, what `owner` uses and its `text` calls.
    pub(super) fn usable(&self, owner: Option<Oid>, text: &str) -> Result<(), String> {
        for used in owner.iter().flat_map(|oid| self.dependencies.get(oid)).flatten() {
            self.dependency(used)?;
        }
        let missing = called_functions(text).into_iter().find(|name| {
            self.source_functions.contains(name.as_str()) && !self.present.has_system_function(name)
        });
        let syntax = called_functions(text).into_iter().find(|name| self.is_newer_syntax(name));
        match missing.or(syntax) {
            Some(name) => Err(format!("the destination's version has no {name}()")),
            None => Ok(()),
        }
    }

    /// SQL/JSON functions are syntax: no catalog lists them.
    fn is_newer_syntax(&self, name: &str) -> bool {
        const SINCE: [(&str, i32); 8] = [
            ("JSON_OBJECT", 16),
            ("JSON_ARRAY", 16),
            ("JSON", 17),
            ("JSON_SCALAR", 17),
            ("JSON_SERIALIZE", 17),
            ("JSON_EXISTS", 17),
            ("JSON_QUERY", 17),
            ("JSON_VALUE", 17),
        ];
        SINCE.iter().any(|&(known, since)| name == known && self.present.version() < since)
    }

    fn dependency(&self, used: &DependencyRow) -> Result<(), String> {
        let name = QualifiedName::new(&used.schema, &used.name);
        match used.kind.as_str() {
            "type" => match self.missing_types.get(&used.oid) {
                Some(reason) => Err(reason.clone()),
                None => Ok(()),
            },
            "collation" => match self.collations.get(&used.oid) {
                Some(Err(reason)) => Err(reason.clone()),
                _ => Ok(()),
            },
            kind => {
                let identity = self.names.text(&used.identity);
                if used.schema == "pg_catalog" || self.present.has_object(kind, &identity) {
                    return Ok(());
                }
                if let Some(extension) = &used.extension {
                    self.lacks_extension(extension, &format!("{kind} {}", name.sql()));
                }
                Err(format!("the destination lacks {kind} {identity}"))
            }
        }
    }

    /// Functions of users among what `owner` uses: they may read other tables.
    pub(super) fn calls_users_functions(&self, owner: Oid) -> bool {
        let used = self.dependencies.get(&owner);
        used.into_iter().flatten().any(|used| used.kind == "function" && used.extension.is_none())
    }

    pub(super) fn lacks_extension(&self, extension: &str, object: &str) {
        let extension = identifier(extension);
        let already = |lack: &Lack| lack.object == format!("extension {extension}");
        if self.lacks.borrow().iter().any(already) {
            return;
        }
        self.lacks(Lack {
            object: format!("extension {extension}"),
            message: format!(
                "the destination does not have it; the source's tables use its {object}"
            ),
            remedy: Some(format!("CREATE EXTENSION {extension}")),
        });
    }

    pub(super) fn lacks(&self, lack: Lack) {
        self.lacks.borrow_mut().insert(lack);
    }

    pub(super) fn into_lacks(self) -> Vec<Lack> {
        self.lacks.into_inner().into_iter().collect()
    }

    pub(super) fn take(&self, name: QualifiedName) {
        self.taken.borrow_mut().insert(name);
    }

    /// The name for a new index (or its constraint) of `table`: the source's, unless something else
    /// has it, then with a number. The second value says that it is there already.
    pub(super) fn index_name(&self, table: &QualifiedName, wanted: &str) -> (String, bool) {
        let mut name = wanted.to_owned();
        for number in 1.. {
            let qualified = QualifiedName::new(&table.schema, &name);
            let is_ours = self.present.table_of_index(&qualified).as_ref() == Some(table);
            if is_ours && self.taken.borrow_mut().insert(qualified.clone()) {
                return (name, true);
            }
            let is_free = !self.present.has_relation(&qualified);
            if is_free && self.taken.borrow_mut().insert(qualified) {
                break;
            }
            name = numbered(wanted, number);
        }
        (name, false)
    }
}

/// `wanted` with a number behind it, no longer than names are.
fn numbered(wanted: &str, number: u32) -> String {
    let suffix = format!("_{number}");
    let mut end = wanted.len().min(NAME_BYTES_MAX - suffix.len());
    while !wanted.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &wanted[..end])
}

/// `COMMENT ON …`.
pub(super) fn comment_sql(object: &str, comment: &str) -> String {
    format!("COMMENT ON {object} IS {}", literal(comment).trim_start())
}

/// `(a=1, b='x')` of `pg_class.reloptions`, as far as the version knows them.
pub(super) fn options_sql(options: &[(&str, &str)], version: i32) -> Option<String> {
    /// Storage parameters that older versions do not know.
    const SINCE: [(&str, i32); 2] =
        [("vacuum_max_eager_freeze_failure_rate", 18), ("autovacuum_vacuum_max_threshold", 18)];
    let is_known = |name: &str| {
        let bare = name.trim_start_matches("toast.");
        !SINCE.iter().any(|&(known, since)| bare == known && version < since)
    };
    let written: Vec<String> = options
        .iter()
        .filter(|(name, _)| is_known(name))
        .map(|(name, value)| format!("{name}={}", literal(value).trim_start()))
        .collect();
    (!written.is_empty()).then(|| format!("({})", written.join(", ")))
}

/// `pg_class.reloptions` taken apart.
pub(super) fn options<'a>(stored: Option<&'a Vec<String>>) -> Vec<(&'a str, &'a str)> {
    let split = |option: &'a String| option.split_once('=').unwrap_or((option, "true"));
    stored.into_iter().flatten().map(split).collect()
}

/// Rows by what they belong to.
pub(super) fn by<T>(rows: &[T], owner: impl Fn(&T) -> Oid) -> BTreeMap<Oid, Vec<&T>> {
    let mut map: BTreeMap<Oid, Vec<&T>> = BTreeMap::new();
    for row in rows {
        map.entry(owner(row)).or_default().push(row);
    }
    map
}
