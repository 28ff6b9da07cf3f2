//! `[[query]]`: names, destinations and keys. Whether the server takes the SQL is not known here.

use crate::config::document::Path;
use crate::config::file::{ConfigFile, QueryFile};
use crate::config::load::Purpose;
use crate::config::settings::{DestinationSettings, OnExisting, QuerySettings, TableSettings};
use crate::config::validate::Check;
use crate::pg::ident::QualifiedName;

impl Check<'_> {
    /// Whether a configuration without tables still has something to do.
    pub(super) fn may_select_nothing(&self) -> bool {
        self.purpose != Purpose::Run && self.document.node(&Path::of(&["query"])).is_some()
    }

    pub(super) fn queries(
        &mut self,
        file: &ConfigFile,
        destination: Option<&DestinationSettings>,
        tables: &[TableSettings],
    ) -> Vec<QuerySettings> {
        let mut queries: Vec<QuerySettings> = Vec::new();
        for (index, entry) in file.query.iter().flatten().enumerate() {
            let path = Path::of(&["query"]).index(index);
            let Some(query) = self.query(entry, &path) else { continue };
            self.query_alone(&query, &queries, &path);
            self.query_place(&query.destination, destination, tables, &path.key("destination"));
            if query.key.is_empty()
                && destination.is_some_and(|all| all.on_existing == OnExisting::Merge)
            {
                let message =
                    "needs a key: destination.on_existing is \"merge\", which finds rows by it";
                self.problems
                    .value(&path, message)
                    .hint("Add key = [\"…\"] with columns of its result that identify a row.");
            }
            queries.push(query);
        }
        queries
    }

    fn query(&mut self, entry: &QueryFile, path: &Path) -> Option<QuerySettings> {
        let name = entry.name.clone();
        if let Some(name) = &name
            && (name.trim().is_empty() || name.chars().any(char::is_control))
        {
            let message = "a query's name is a text without control characters, and not empty";
            self.problems.value(&path.key("name"), message);
        }
        let sql = entry.sql.as_deref().map(|sql| sql.trim_end_matches(is_end).to_owned());
        if sql.as_ref().is_some_and(|sql| sql.trim().is_empty()) {
            self.problems.value(&path.key("sql"), "holds no query");
        }
        let destination = entry
            .destination
            .as_deref()
            .and_then(|text| self.table_name(&path.key("destination"), text));
        let key = self.key(entry.key.as_deref(), &path.key("key")).unwrap_or_default();
        Some(QuerySettings { name: name?, sql: sql?, destination: destination?, key })
    }

    fn query_alone(&mut self, query: &QuerySettings, before: &[QuerySettings], path: &Path) {
        if before.iter().any(|other| other.name == query.name) {
            let message = format!("query \"{}\" has an entry already", query.name);
            self.problems.value(&path.key("name"), message);
        }
        if let Some(other) = before.iter().find(|other| other.destination == query.destination) {
            let message = format!(
                "query \"{}\" has the destination {} already",
                other.name, query.destination
            );
            self.problems.value(&path.key("destination"), message);
        }
    }

    /// Tables that only the source knows are judged once it is asked.
    fn query_place(
        &mut self,
        name: &QualifiedName,
        destination: Option<&DestinationSettings>,
        tables: &[TableSettings],
        path: &Path,
    ) {
        let is_table = |table: &&TableSettings| table.destination.as_ref() == Some(name);
        if let Some(table) = tables.iter().find(is_table) {
            let message = format!("table \"{}\" has the destination {name} already", table.name);
            self.problems.value(path, message);
        }
        if destination.is_some_and(|all| all.state_schema == name.schema) {
            let message = format!("schema \"{}\" is the agent's own (state_schema)", name.schema);
            self.problems.value(path, message);
        }
        if name.schema.starts_with("pg_") || name.schema == "information_schema" {
            let message = format!("schema \"{}\" is the server's own", name.schema);
            self.problems.value(path, message);
        }
    }
}

/// What may stand behind a query in a file and not inside of COPY.
fn is_end(c: char) -> bool {
    c == ';' || c.is_whitespace()
}
