//! Where the parts of a configuration were written, for what only the databases can find wrong.
//!
//! The loader's own problems are placed while the document is at hand. A pattern that matches
//! nothing, a column that is not there, one database on both sides are found later, from the
//! settings alone: these places go with them. **Invariant:** places and keys only, no value.

use std::collections::BTreeMap;

use crate::config::diagnostics::ErrorPlace;
use crate::config::document::{Document, Node, NodeValue, Path, Place};

/// Key paths with their places. Empty for settings that come from no document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, ErrorPlace>);

impl Places {
    pub(crate) fn of(document: &Document) -> Places {
        let mut places = Places::default();
        places.collect(document, &document.root, &Path::default());
        places
    }

    fn collect(&mut self, document: &Document, node: &Node, path: &Path) {
        let place = match (&node.place, &document.source) {
            (Place::Span(span), Some(source)) => ErrorPlace::in_file(source, span.start),
            (Place::Outside(name), _) => ErrorPlace::Outside(name.clone()),
            (Place::Span(_), None) => ErrorPlace::Outside("the command line".to_owned()),
        };
        self.0.insert(path.to_string(), place);
        match &node.value {
            NodeValue::List(list) => {
                for (index, child) in list.iter().enumerate() {
                    self.collect(document, child, &path.index(index));
                }
            }
            NodeValue::Table(table) => {
                for (key, child) in table {
                    self.collect(document, child, &path.key(key));
                }
            }
            _ => {}
        }
    }

    /// `<file>:<line>:<column>: <key>`, as in all errors of a configuration; the key alone where it
    /// was not written.
    pub fn key(&self, keys: &[&str]) -> String {
        self.at(&Path::of(keys))
    }

    /// The place of `include[index]`.
    pub fn include(&self, index: usize) -> String {
        self.at(&Path::of(&["include"]).index(index))
    }

    /// The place of a `[[table]]`'s name.
    pub fn table(&self, index: usize) -> String {
        self.at(&Path::of(&["table"]).index(index).key("name"))
    }

    /// The place of a column of a `[[table]]`; its table's where the column is not named.
    pub fn column(&self, index: usize, column: &str) -> String {
        let table = Path::of(&["table"]).index(index);
        let path = table.key("columns").key(column);
        if self.0.contains_key(&path.to_string()) { self.at(&path) } else { self.table(index) }
    }

    /// The place of a `[[table]]`'s key.
    pub fn table_key(&self, index: usize) -> String {
        self.at(&Path::of(&["table"]).index(index).key("key"))
    }

    /// The place of a `[[table]]`'s filter.
    pub fn table_filter(&self, index: usize) -> String {
        self.at(&Path::of(&["table"]).index(index).key("where"))
    }

    /// The place of a `[[table]]`'s `on_delete`.
    pub fn table_on_delete(&self, index: usize) -> String {
        self.at(&Path::of(&["table"]).index(index).key("on_delete"))
    }

    /// The place of a key of a `[[query]]`; the query's where it is not written.
    pub fn query(&self, index: usize, key: &str) -> String {
        let query = Path::of(&["query"]).index(index);
        let path = query.key(key);
        self.at(if self.0.contains_key(&path.to_string()) { &path } else { &query })
    }

    fn at(&self, path: &Path) -> String {
        let key = path.to_string();
        match self.0.get(&key) {
            Some(place) => format!("{place}: {key}"),
            None => key,
        }
    }
}
