//! A configuration as a tree in which every key and value knows where it was written.
//!
//! In: TOML text, and values from flags and variables. Out: a [`Document`] that can be asked for
//! the place of a key path. serde's own errors stop at the first problem and lose the place
//! inside nested types, so the tree, not serde, is what problems are reported against.
//!
//! **Invariant:** strings may be secrets; nothing here implements `Debug` or prints a value.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes of the file.
    Span(Range<usize>),
    /// A flag or a variable: `--source`, `SYNC_AGENT_SOURCE`, `--set source.slot`.
    Outside(String),
}

/// A value, its place and its key's place.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) key_place: Place,
    pub(crate) place: Place,
    pub(crate) value: NodeValue,
}

#[derive(Clone)]
pub(crate) enum NodeValue {
    /// Text as written, and with `${…}` expanded (the same until then).
    String {
        raw: String,
        text: String,
    },
    Integer(i64),
    /// An integer beyond 64 bits.
    HugeInteger,
    Float(f64),
    Boolean(bool),
    Datetime,
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl NodeValue {
    pub(crate) fn string(text: impl Into<String>) -> NodeValue {
        let raw = text.into();
        NodeValue::String { text: raw.clone(), raw }
    }

    /// The kind of value, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            NodeValue::String { .. } => "a string",
            NodeValue::Integer(_) | NodeValue::HugeInteger => "an integer",
            NodeValue::Float(_) => "a number",
            NodeValue::Boolean(_) => "true or false",
            NodeValue::Datetime => "a date or time",
            NodeValue::List(_) => "a list",
            NodeValue::Table(_) => "a table",
        }
    }
}

/// The file, if there is one.
pub(crate) struct Source {
    /// As given on the command line.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The merged configuration.
pub(crate) struct Document {
    pub(crate) source: Option<Source>,
    pub(crate) root: Node,
}

impl Document {
    pub(crate) fn empty() -> Document {
        let place = Place::Outside("the command line".to_owned());
        let value = NodeValue::Table(BTreeMap::new());
        Document { source: None, root: Node { key_place: place.clone(), place, value } }
    }

    pub(crate) fn node(&self, path: &Path) -> Option<&Node> {
        let (node, rest) = self.nearest(path);
        rest.is_empty().then_some(node)
    }

    /// The deepest node on the way to `path`, and what is left of the way.
    pub(crate) fn nearest<'p>(&self, path: &'p Path) -> (&Node, &'p [Segment]) {
        let mut node = &self.root;
        for (depth, segment) in path.0.iter().enumerate() {
            let next = match (&node.value, segment) {
                (NodeValue::Table(table), Segment::Key(key)) => table.get(key),
                (NodeValue::List(list), Segment::Index(index)) => list.get(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return (node, &path.0[depth..]),
            }
        }
        (node, &[])
    }
}

/// The tree of a parsed TOML table. `at` maps a byte range of the text to a place.
pub(crate) fn tree(table: &DeTable<'_>, place: Place, at: &dyn Fn(Range<usize>) -> Place) -> Node {
    let entries = table.iter().map(|(key, value)| {
        let node = node(value.get_ref(), at(key.span()), at(value.span()), at);
        (key.get_ref().to_string(), node)
    });
    let value = NodeValue::Table(entries.collect());
    Node { key_place: place.clone(), place, value }
}

fn node(
    value: &DeValue<'_>,
    key_place: Place,
    place: Place,
    at: &dyn Fn(Range<usize>) -> Place,
) -> Node {
    let value = match value {
        DeValue::String(text) => NodeValue::string(text.as_ref()),
        DeValue::Integer(digits) => integer(digits.as_str(), digits.radix()),
        DeValue::Float(digits) => {
            let digits = digits.as_str().replace('_', "");
            NodeValue::Float(digits.parse().unwrap_or(f64::NAN))
        }
        DeValue::Boolean(value) => NodeValue::Boolean(*value),
        DeValue::Datetime(_) => NodeValue::Datetime,
        DeValue::Array(list) => NodeValue::List(
            list.iter()
                .map(|item| {
                    let place = at(item.span());
                    node(item.get_ref(), place.clone(), place, at)
                })
                .collect(),
        ),
        DeValue::Table(table) => tree(table, place.clone(), at).value,
    };
    Node { key_place, place, value }
}

fn integer(digits: &str, radix: u32) -> NodeValue {
    let digits = digits.replace('_', "");
    match i64::from_str_radix(&digits, radix) {
        Ok(value) => NodeValue::Integer(value),
        Err(_) => NodeValue::HugeInteger,
    }
}

// === impl Path ===

/// A key path: `source.slot`, `table[0].columns.ssn`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

impl Path {
    pub(crate) fn of(keys: &[&str]) -> Path {
        Path(keys.iter().map(|key| Segment::Key((*key).to_owned())).collect())
    }

    pub(crate) fn key(&self, key: &str) -> Path {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(crate) fn index(&self, index: usize) -> Path {
        self.with(Segment::Index(index))
    }

    pub(crate) fn starts_with(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }

    fn with(&self, segment: Segment) -> Path {
        let mut path = self.clone();
        path.0.push(segment);
        path
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if depth > 0 {
                        f.write_str(".")?;
                    }
                    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if !key.is_empty() && key.chars().all(bare) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_it_would_be_written() {
        let path = Path::of(&["table"]).index(1).key("columns").key("odd name");
        assert_eq!(path.to_string(), "table[1].columns.\"odd name\"");
    }

    #[test]
    fn every_value_knows_its_bytes() {
        let text = "[source]\nslot = \"a\"\nlanes = 0x1F\n";
        let table = DeTable::parse(text).expect("toml");
        let root = tree(table.get_ref(), Place::Span(0..0), &Place::Span);
        let document = Document { source: None, root };
        let slot = document.node(&Path::of(&["source", "slot"])).expect("slot");
        assert_eq!((&slot.key_place, &slot.place), (&Place::Span(9..13), &Place::Span(16..19)));
        let lanes = document.node(&Path::of(&["source", "lanes"])).expect("lanes");
        assert!(matches!(lanes.value, NodeValue::Integer(31)));
        let missing = Path::of(&["source", "url"]);
        let (nearest, rest) = document.nearest(&missing);
        assert_eq!((&nearest.place, rest.len()), (&Place::Span(0..8), 1));
    }
}
