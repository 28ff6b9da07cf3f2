//! The configuration that `init` prints. Pure.
//!
//! **Invariants:** every line that is no comment is valid for the loader; no name, however odd,
//! leaves the line or the string it is in; no password is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::name::{Name, default_object, pipeline};
use super::toml::{key, schema_pattern, string, table_name};
use crate::config::settings::Settings;
use crate::model::finding::{Severity, Side};
use crate::pg::catalog::ServerFacts;
use crate::pg::conninfo::ConnInfo;
use crate::pg::dial::PasswordSource;
use crate::pipeline::status::printable;
use crate::pipeline::survey::{Survey, SurveyedTable};

/// Tables named in one note before "and n more": a hint is no inventory.
const NAMED_MAX: usize = 20;

/// The loader's default for `include`.
const DEFAULT_INCLUDE: &str = "public.*";

/// The text of the file.
pub(super) fn render(settings: &Settings, survey: &Survey, has_patterns: bool) -> String {
    let page = Page::new(settings, survey, has_patterns);
    let mut text = String::new();
    page.write(&mut text).expect("writing to a string does not fail");
    text
}

struct Page<'a> {
    settings: &'a Settings,
    survey: &'a Survey,
    pipeline: Name,
    /// Patterns that were given are kept as they are.
    keeps_patterns: bool,
    /// Those that the file will select.
    tables: Vec<&'a SurveyedTable>,
}

impl<'a> Page<'a> {
    fn new(settings: &'a Settings, survey: &'a Survey, has_patterns: bool) -> Page<'a> {
        let is_default =
            settings.include.iter().map(ToString::to_string).eq([DEFAULT_INCLUDE.to_owned()]);
        let keeps_patterns = has_patterns || !is_default;
        let is_selected = |table: &&SurveyedTable| match keeps_patterns {
            true => settings.selects(&table.name),
            false => !settings.exclude.iter().any(|pattern| pattern.matches(&table.name)),
        };
        let tables = survey.tables.iter().filter(is_selected).collect();
        Page { settings, survey, pipeline: pipeline(settings, survey), keeps_patterns, tables }
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        self.head(text)?;
        self.selection(text)?;
        self.notes(text)?;
        self.source(text)?;
        self.destination(text)?;
        self.rest(text)
    }

    // === the parts, in the file's order ===

    fn head(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "# Made by `sync-agent init` from a look at both servers; yours to change."
        )?;
        let survey = self.survey;
        for (label, facts) in
            [("source:     ", &survey.source), ("destination:", &survey.destination)]
        {
            writeln!(text, "# {label} {}", describe(facts))?;
        }
        writeln!(text, "#")?;
        let variables = self.variables();
        if !variables.is_empty() {
            writeln!(text, "# Set {} in the agent's environment.", variables.join(" and "))?;
        }
        writeln!(
            text,
            "# `sync-agent --config FILE check` says what is missing, with the statement that"
        )?;
        writeln!(text, "# mends it; `sync-agent --config FILE run` copies and follows.")?;
        writeln!(
            text,
            "# Every key with its default: config/sync-agent.example.toml; `sync-agent config-schema`."
        )?;
        if !self.settings.tables.is_empty() || !self.settings.queries.is_empty() {
            writeln!(
                text,
                "# The [[table]] and [[query]] sections of the file that was read are not repeated here."
            )?;
        }
        self.findings(text)?;
        writeln!(text)
    }

    /// What the servers as a whole lack.
    fn findings(&self, text: &mut String) -> std::fmt::Result {
        if self.survey.findings.is_empty() {
            return Ok(());
        }
        writeln!(text, "#\n# Seen on the way (`check` tells more):")?;
        for finding in &self.survey.findings {
            let severity = if finding.severity == Severity::Error { "must" } else { "may" };
            let (side, object) = (finding.side.label(), printable(&finding.object));
            writeln!(
                text,
                "#   {severity} be mended: {side} {object}: {}",
                printable(&finding.message)
            )?;
            if let Some(remedy) = &finding.remedy {
                writeln!(text, "#       {}", printable(remedy))?;
            }
        }
        Ok(())
    }

    fn selection(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "# Names the slot, the publication and the checkpoint row.")?;
        if let Some(note) = &self.pipeline.note {
            writeln!(text, "# {note}")?;
        }
        writeln!(text, "pipeline = {}\n", string(&self.pipeline.text))?;
        writeln!(
            text,
            "# Which tables, as schema.table; * stands for anything within its part. Found: {}.",
            sum(&self.tables)
        )?;
        writeln!(text, "include = [")?;
        if self.keeps_patterns {
            for pattern in &self.settings.include {
                writeln!(text, "    {},", string(&pattern.to_string()))?;
            }
        } else if self.tables.is_empty() {
            writeln!(
                text,
                "    {}, # no table was found: create some, or name other schemas",
                string(DEFAULT_INCLUDE)
            )?;
        } else {
            for (schema, tables) in self.by_schema() {
                writeln!(text, "    {}, # {}", string(&schema_pattern(schema)), sum(&tables))?;
            }
        }
        writeln!(text, "]")?;
        if self.settings.exclude.is_empty() {
            return writeln!(text, "# exclude = [\"public.audit_*\"] # leaves tables out");
        }
        writeln!(text, "exclude = [")?;
        for pattern in &self.settings.exclude {
            writeln!(text, "    {},", string(&pattern.to_string()))?;
        }
        writeln!(text, "]")
    }

    fn by_schema(&self) -> BTreeMap<&str, Vec<&'a SurveyedTable>> {
        let mut schemas: BTreeMap<&str, Vec<&SurveyedTable>> = BTreeMap::new();
        for table in &self.tables {
            schemas.entry(&table.name.schema).or_default().push(table);
        }
        schemas
    }

    /// What is special about some of the tables.
    fn notes(&self, text: &mut String) -> std::fmt::Result {
        let without_identity = self.tables.iter().filter(|table| !table.has_usable_identity);
        note(
            text,
            "No primary key or other replica identity: only their inserts are replicated, until you run",
            without_identity
                .map(|table| format!("ALTER TABLE {} REPLICA IDENTITY FULL;", table.name.sql())),
        )?;
        let partitioned =
            self.tables.iter().filter_map(|table| Some((table, table.partition_count?)));
        note(
            text,
            "Partitioned: replicated as one table, under its own name",
            partitioned.map(|(table, count)| {
                format!("{} ({} partitions)", table_name(&table.name), count)
            }),
        )?;
        let chunk = self.settings.snapshot.chunk_bytes;
        let mut large: Vec<_> =
            self.tables.iter().filter(|table| table.heap_bytes > chunk).collect();
        large.sort_by_key(|table| std::cmp::Reverse(table.heap_bytes));
        note(
            text,
            "Large: copied in chunks by several workers ([snapshot] workers, chunk)",
            large
                .iter()
                .map(|table| format!("{} ({})", table_name(&table.name), bytes(table.heap_bytes))),
        )?;
        let others = self
            .survey
            .others
            .iter()
            .filter(|relation| !self.keeps_patterns || self.settings.selects(&relation.name));
        note(
            text,
            "Not replicated: unlogged tables are not in the WAL (`sync-agent snapshot` copies them once), views and foreign tables hold no rows",
            others.map(|relation| {
                let unlogged = if relation.is_permanent { "" } else { "unlogged " };
                format!("{} ({unlogged}{})", table_name(&relation.name), relation.kind_label)
            }),
        )
    }

    fn source(&self, text: &mut String) -> std::fmt::Result {
        let source = &self.settings.source;
        writeln!(
            text,
            "\n# The PostgreSQL that is read: a role with REPLICATION and SELECT.\n[source]"
        )?;
        address(text, Side::Source, &source.conninfo, &source.password)?;
        let of_default = default_object(&self.settings.pipeline);
        if source.slot != of_default {
            writeln!(text, "slot = {}", string(&source.slot))?;
        }
        if source.publications_named {
            let names: Vec<String> = source.publications.iter().map(|name| string(name)).collect();
            writeln!(text, "publication = [{}]", names.join(", "))?;
        }
        writeln!(
            text,
            "# max_retained_wal = \"20GiB\" # warns when the slot holds back more than this"
        )
    }

    fn destination(&self, text: &mut String) -> std::fmt::Result {
        let destination = &self.settings.destination;
        writeln!(text, "\n# The PostgreSQL that is written.\n[destination]")?;
        address(text, Side::Destination, &destination.conninfo, &destination.password)?;
        if destination.schemas.is_empty() {
            writeln!(
                text,
                "# schemas = {{ public = \"shop\" }} # source schema = destination schema; default: the same"
            )?;
        } else {
            let pairs: Vec<String> = destination
                .schemas
                .iter()
                .map(|(source, schema)| format!("{} = {}", key(source), string(schema)))
                .collect();
            writeln!(
                text,
                "schemas = {{ {} }} # source schema = destination schema",
                pairs.join(", ")
            )?;
        }
        if destination.state_schema != "sync_agent" {
            writeln!(
                text,
                "state_schema = {} # the agent's own tables",
                string(&destination.state_schema)
            )?;
        }
        let occupied: Vec<String> = self
            .tables
            .iter()
            .filter(|table| table.is_occupied)
            .map(|table| table_name(&self.settings.destination_name(&table.name)))
            .collect();
        if occupied.is_empty() {
            return writeln!(
                text,
                "# on_existing = \"refuse\" # tables that hold rows already: refuse, truncate (empties them first) or merge (upserts by key)"
            );
        }
        note(
            text,
            "These hold rows already. \"refuse\", the default, does not start then; \"truncate\" empties them first, \"merge\" upserts by the key (also per table, in [[table]])",
            occupied.into_iter(),
        )?;
        writeln!(text, "# on_existing = \"truncate\"")
    }

    fn rest(&self, text: &mut String) -> std::fmt::Result {
        let settings = self.settings;
        // The settings' directory ends in the pipeline's name.
        let dir = settings.state.dir.parent().unwrap_or(&settings.state.dir);
        writeln!(
            text,
            "\n# A local mirror of the position; safe to lose. /{} is appended.",
            printable(&self.pipeline.text)
        )?;
        writeln!(text, "[state]\ndir = {}", string(&dir.display().to_string()))?;
        let listen =
            settings.http.listen.map_or_else(|| "off".to_owned(), |listen| listen.to_string());
        writeln!(
            text,
            "\n# /metrics, /status, health endpoints and a page at /; \"off\" for none."
        )?;
        writeln!(text, "[http]\nlisten = {}", string(&listen))?;
        let Some(table) = self.tables.first() else { return Ok(()) };
        writeln!(text, "\n# Columns can change on the way, table by table:")?;
        writeln!(text, "# [[table]]\n# name = {}", string(&table_name(&table.name)))?;
        writeln!(
            text,
            "# [table.columns]\n# email = {{ hash = \"sha256\" }}\n# notes = {{ drop = true }}"
        )
    }

    /// The variables that the file refers to.
    fn variables(&self) -> Vec<&'static str> {
        let (source, destination) = (&self.settings.source, &self.settings.destination);
        let sides = [
            (Side::Source, &source.conninfo, &source.password),
            (Side::Destination, &destination.conninfo, &destination.password),
        ];
        let has_password =
            sides.into_iter().filter(|(_, conninfo, password)| is_given(conninfo, password));
        has_password.map(|(side, ..)| variable(side)).collect()
    }
}

// === pieces ===

fn describe(facts: &ServerFacts) -> String {
    printable(&format!(
        "PostgreSQL {}, database \"{}\", role \"{}\"",
        facts.version, facts.database, facts.role
    ))
}

fn address(
    text: &mut String,
    side: Side,
    conninfo: &ConnInfo,
    password: &PasswordSource,
) -> std::fmt::Result {
    writeln!(text, "url = {}", string(&conninfo.url()))?;
    if !conninfo.given.iter().any(|(key, _)| key == "sslmode" || key == "sslrootcert") {
        writeln!(
            text,
            "# Over a network, make sure who answers: add ?sslmode=verify-full&sslrootcert=system (or a file)."
        )?;
    }
    let line = format!("password = \"${{{}}}\"", variable(side));
    match password {
        _ if !is_given(conninfo, password) => {
            writeln!(text, "# {line} # none was needed, or a passfile has it")
        }
        PasswordSource::Command(_) => {
            writeln!(
                text,
                "# Instead: password_command = [\"program\", \"argument\"], as before; it may hold secrets."
            )?;
            writeln!(text, "{line}")
        }
        _ => writeln!(
            text,
            "{line} # never written in clear; ${{file:/path}} reads a file at each connect"
        ),
    }
}

fn is_given(conninfo: &ConnInfo, password: &PasswordSource) -> bool {
    match password {
        PasswordSource::ConnInfo => conninfo.password.is_some(),
        PasswordSource::Inline(_) | PasswordSource::Read(_) | PasswordSource::Command(_) => true,
    }
}

fn variable(side: Side) -> &'static str {
    match side {
        Side::Source => "SOURCE_PASSWORD",
        Side::Destination => "DESTINATION_PASSWORD",
    }
}

/// A title and what it is about, as comments. Nothing where it is about nothing.
fn note(text: &mut String, title: &str, items: impl Iterator<Item = String>) -> std::fmt::Result {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        return Ok(());
    }
    writeln!(text, "# {title}:")?;
    for item in items.iter().take(NAMED_MAX) {
        writeln!(text, "#   {}", printable(item))?;
    }
    if let Some(more) = items.len().checked_sub(NAMED_MAX).filter(|&more| more > 0) {
        writeln!(text, "#   and {more} more")?;
    }
    Ok(())
}

fn sum(tables: &[&SurveyedTable]) -> String {
    let plural = if tables.len() == 1 { "" } else { "s" };
    let size: u64 = tables.iter().map(|table| table.heap_bytes).sum();
    format!("{} table{plural}, {}", tables.len(), bytes(size))
}

fn bytes(count: u64) -> String {
    bytesize::ByteSize::b(count).display().iec().to_string()
}
