//! A light look at the source: which tables the settings mean, and what is published of them. Taken
//! at every connect and every ten seconds; a few questions, however many tables there are.
//!
//! Which tables are *new*? Those without a record while the pipeline has records: what is there when
//! a pipeline begins is simply selected. A table that `include` names without a wildcard was asked
//! for, and is never new.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::checkpoint::tables::TableRecord;
use crate::config::settings::{NewTables, Partitions, Settings};
use crate::model::finding::Side;
use crate::pg::catalog::{self, RelationKind, RelationSummary, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid::Oid;
use crate::pipeline::error::PipelineError;
use crate::source::publication::{Mark, Sent, View, candidates, insert_only_name, narrow};

/// What the pipeline has so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Present<'a> {
    pub records: &'a [TableRecord],
    /// Publications that are ours.
    pub owned: &'a [String],
    /// Preflight was passed before: from then on a table that cannot be published is left aside,
    /// visibly, and the others go on.
    pub is_running: bool,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub relations: Vec<RelationSummary>,
    pub view: View,
    /// The publications that may count.
    pub publications: Vec<String>,
    /// Partitions of a selected table left out.
    pub selected: Vec<(QualifiedName, Oid)>,
    /// New tables that hold the pipeline (`new_tables = "halt"`).
    pub halted: Vec<QualifiedName>,
    pub aside: Vec<Aside>,
    /// Tables that the settings select, and whose changes are not in the stream.
    pub unlogged: Vec<QualifiedName>,
    /// Tables, and partitions of tables, whose updates and deletes cannot be published.
    without_identity: BTreeSet<Oid>,
}

/// A table that the settings select, and that is not replicated for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    pub table: QualifiedName,
    oid: Oid,
    pub reason: AsideReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsideReason {
    /// `new_tables = "ignore"`.
    Ignored,
    /// It was a partition of a replicated table: its rows are part of that one's.
    Detached,
    /// No publication sends it, and we may not change that; the statement for who may.
    Unpublished { remedy: String },
}

impl Choice {
    /// For a copy that no stream follows: nothing is published.
    pub async fn of_relations(client: &Client) -> Result<Choice, PipelineError> {
        let asking = || PipelineError::catalog(Side::Source);
        let relations = catalog::relations(client).await.map_err(asking())?;
        let view = View::read(client, &[], &relations).await.map_err(asking())?;
        Ok(Choice { relations, view, ..Choice::default() })
    }

    /// Whether the settings mean the relation as a table.
    pub fn is_meant(&self, settings: &Settings, relation: &RelationSummary) -> bool {
        match settings.source.partitions {
            Partitions::Root => settings.selects(&relation.name),
            Partitions::Leaf => {
                let above = self.view.ancestors(relation.oid);
                let above = above.iter().filter_map(|oid| self.view.name(*oid));
                relation.kind != RelationKind::Partitioned
                    && settings.selects_below(&relation.name, above)
            }
        }
    }

    /// Takes away from the tables what the publications do not send of them.
    pub fn narrow(&self, tables: &mut [TableInfo]) {
        for table in tables {
            if let Sent::Table(sent) = self.view.sent(table.oid, &self.publications) {
                narrow(table, &sent);
            }
        }
    }

    pub async fn take(
        client: &Client,
        settings: &Settings,
        present: Present<'_>,
    ) -> Result<Choice, PipelineError> {
        let asking = || PipelineError::catalog(Side::Source);
        let relations = catalog::relations(client).await.map_err(asking())?;
        let publications = candidates(&settings.source.publications);
        let view = View::read(client, &publications, &relations).await.map_err(asking())?;
        let mut choice = Choice { relations, view, publications, ..Choice::default() };
        choice.choose(settings, present);
        let selected = choice.selected.iter().map(|(_, oid)| *oid);
        let mut tables: Vec<Oid> = selected.chain(choice.aside.iter().map(|a| a.oid)).collect();
        let heaps: Vec<Oid> = tables.iter().flat_map(|oid| choice.view.heaps(*oid)).collect();
        tables.extend(heaps);
        let without = catalog::without_identity(client, &tables).await.map_err(asking())?;
        choice.without_identity = without.into_iter().collect();
        choice.name_remedies(settings);
        Ok(choice)
    }

    fn name_remedies(&mut self, settings: &Settings) {
        let Some(first) = settings.source.publications.first() else { return };
        let via_root = settings.source.partitions == Partitions::Root;
        let second = insert_only_name(first);
        let mut aside = std::mem::take(&mut self.aside);
        for aside in &mut aside {
            let lacks_identity = self.lacks_identity(aside.oid);
            if let AsideReason::Unpublished { remedy } = &mut aside.reason {
                let of = identifier(if lacks_identity { &second } else { first });
                let name = aside.table.sql();
                *remedy = match lacks_identity && self.view.publication(&second).is_none() {
                    true => format!(
                        "CREATE PUBLICATION {of} FOR TABLE {name} WITH (publish = 'insert, \
                         truncate', publish_via_partition_root = {via_root})"
                    ),
                    false => format!("ALTER PUBLICATION {of} ADD TABLE {name}"),
                };
            }
        }
        self.aside = aside;
    }

    fn choose(&mut self, settings: &Settings, present: Present<'_>) {
        let is_chosen = |relation: &&RelationSummary| {
            relation.is_replicable() && self.is_meant(settings, relation)
        };
        let chosen: HashMap<Oid, &RelationSummary> = self
            .relations
            .iter()
            .filter(is_chosen)
            .map(|relation| (relation.oid, relation))
            .collect();
        let is_unlogged = |relation: &&RelationSummary| {
            is_copyable(relation) && !relation.is_permanent && self.is_meant(settings, relation)
        };
        self.unlogged = self.relations.iter().filter(is_unlogged).map(|r| r.name.clone()).collect();
        let known = present.records.iter().map(|record| &record.source).collect();
        let former = present.records.iter().filter_map(|record| record.partitions.as_ref());
        let former = former.flatten().copied().collect();
        let view = &self.view;
        let judge =
            Judge { settings, present, known, former, view, publications: &self.publications };
        for relation in self.relations.iter().filter(|r| chosen.contains_key(&r.oid)) {
            let ancestors = self.view.ancestors(relation.oid);
            if ancestors.iter().any(|above| chosen.contains_key(above)) {
                continue;
            }
            let name = relation.name.clone();
            match judge.judge(relation) {
                Fate::Selected => self.selected.push((name, relation.oid)),
                Fate::Halted => self.halted.push(name),
                Fate::Aside(reason) => {
                    self.aside.push(Aside { table: name, oid: relation.oid, reason })
                }
            }
        }
    }

    /// Whether a table that is not among the selected ones will come back as itself: its publication
    /// or its persistence keeps it out for now.
    pub fn keeps_record(&self, name: &QualifiedName) -> bool {
        let is_aside = self.aside.iter().any(|aside| aside.table == *name);
        is_aside || self.unlogged.contains(name)
    }

    /// Whether updates and deletes of `table` cannot be published.
    pub fn lacks_identity(&self, table: Oid) -> bool {
        self.without_identity.contains(&table)
            || self.view.heaps(table).iter().any(|heap| self.without_identity.contains(heap))
    }

    /// Everything that an attempt stands on, by object: two choices that agree in it call for the
    /// same work.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        for (name, oid) in &self.selected {
            let mark = self.view.mark(*oid, &self.publications);
            let mark = mark.map_or_else(String::new, |mark| mark.text());
            let fact = format!("{oid} {} {mark}", self.lacks_identity(*oid));
            facts.insert(format!("table {}", name.sql()), fact);
        }
        for name in &self.halted {
            facts.insert(format!("table {}", name.sql()), "halted".to_owned());
        }
        for aside in &self.aside {
            facts.insert(format!("table {}", aside.table.sql()), format!("{:?}", aside.reason));
        }
        for publication in &self.view.publications {
            let object = format!("publication {}", identifier(&publication.name));
            facts.insert(object, format!("{} {}", publication.oid, publication.version));
        }
        facts
    }

    /// The objects about which `self` and `other` differ.
    pub fn differences(&self, other: &Choice) -> Vec<String> {
        let (before, now) = (self.facts(), other.facts());
        let objects: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let differs = |object: &&&String| before.get(**object) != now.get(**object);
        objects.iter().filter(differs).map(|object| (*object).clone()).collect()
    }
}

/// What becomes of a table.
enum Fate {
    Selected,
    Halted,
    Aside(AsideReason),
}

struct Judge<'a> {
    settings: &'a Settings,
    present: Present<'a>,
    /// Tables with a record.
    known: HashSet<&'a QualifiedName>,
    /// Tables that are, or were, partitions of one.
    former: HashSet<Oid>,
    view: &'a View,
    publications: &'a [String],
}

impl Judge<'_> {
    fn judge(&self, relation: &RelationSummary) -> Fate {
        let is_begun = !self.known.is_empty();
        let by_leaf = self.settings.source.partitions == Partitions::Leaf;
        let is_known = self.known.contains(&relation.name) || self.is_known_otherwise(relation);
        if is_begun && !is_known && !self.is_named(relation) {
            if self.former.contains(&relation.oid) && !by_leaf {
                return Fate::Aside(AsideReason::Detached);
            }
            match self.settings.source.new_tables {
                NewTables::Add => {}
                NewTables::Ignore => return Fate::Aside(AsideReason::Ignored),
                NewTables::Halt => return Fate::Halted,
            }
        }
        if self.present.is_running && self.is_out_of_reach(relation) {
            // The statement is named once the table's identity is known.
            return Fate::Aside(AsideReason::Unpublished { remedy: String::new() });
        }
        Fate::Selected
    }

    /// Whether `include` names the table without a wildcard, or what it is a partition of.
    fn is_named(&self, relation: &RelationSummary) -> bool {
        let above = match self.settings.source.partitions {
            Partitions::Root => Vec::new(),
            Partitions::Leaf => self.view.ancestors(relation.oid),
        };
        let mut above = above.iter().filter_map(|oid| self.view.name(*oid));
        is_named(self.settings, &relation.name) || above.any(|name| is_named(self.settings, name))
    }

    /// Whether its rows are those of records that were made with the other setting of `partitions`.
    fn is_known_otherwise(&self, relation: &RelationSummary) -> bool {
        let is_known = |oid: &Oid| self.view.name(*oid).is_some_and(|n| self.known.contains(n));
        if self.settings.source.partitions == Partitions::Leaf {
            return self.view.ancestors(relation.oid).iter().any(is_known);
        }
        relation.kind == RelationKind::Partitioned
            && self
                .view
                .heaps(relation.oid)
                .iter()
                .filter_map(|oid| self.view.name(*oid))
                .any(|name| self.present.records.iter().any(|r| r.source == *name && is_by_leaf(r)))
    }

    /// Whether somebody else has to publish the table.
    fn is_out_of_reach(&self, relation: &RelationSummary) -> bool {
        let Some(first) = self.settings.source.publications.first() else { return false };
        let is_ours = self.present.owned.contains(first) || self.view.publication(first).is_none();
        let is_within_reach = is_ours && relation.is_owner;
        !is_within_reach && self.view.sent(relation.oid, self.publications) == Sent::Nothing
    }
}

/// Whether `include` names the table without a wildcard.
pub fn is_named(settings: &Settings, name: &QualifiedName) -> bool {
    settings.include.iter().any(|pattern| pattern.literal().as_ref() == Some(name))
}

/// Whether a table was followed under its own name though it may be a partition.
pub fn is_by_leaf(record: &TableRecord) -> bool {
    let mark = record.published.as_deref().and_then(Mark::parse);
    mark.is_some_and(|mark| mark.is_by_leaf())
}

/// Whether a relation holds rows of its own.
pub fn is_copyable(relation: &RelationSummary) -> bool {
    relation.kind != RelationKind::Other
}
