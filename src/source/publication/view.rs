//! What a set of publications sends of a table: the walsender's rules, on what the catalog says.
//!
//! pgoutput decides for each table that holds rows under whose name they go, and with them which
//! publications count (`get_rel_sync_entry` in `pgoutput.c`):
//!
//! ```text
//!   leaf ─► nearest partitioned table ─► … ─► topmost
//!    └── the highest one that a publication with publish_via_partition_root has; publications that
//!        know the rows under a lower name do not count any more
//! ```
//!
//! Among the publications that count, row filters are alternatives, and one without a filter sends
//! every row; column lists must be the same.
//!
//! **Invariant:** a row that [`View::sent`] lets through is one that the stream would have sent when
//! it was inserted, and the other way round.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::Client;

use super::mark::{Mark, Through};
use crate::pg::catalog::{
    self, CatalogError, PartitionLink, PublicationInfo, PublicationMember, RelationKind,
    RelationSummary,
};
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;

/// Levels of partitioning that are followed: bounds a walk through a catalog that changes meanwhile.
const LEVELS_MAX: usize = 64;

/// Publications and partitions at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub publications: Vec<PublicationInfo>,
    relations: HashMap<Oid, (QualifiedName, RelationKind)>,
    links: HashMap<Oid, PartitionLink>,
    partitions: HashMap<Oid, Vec<Oid>>,
    /// Of a publication and a relation that it names: which of its members. Thousands of tables are
    /// asked about, and each of them often.
    members: HashMap<(Oid, Oid), usize>,
}

/// What is sent of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No publication has it.
    Nothing,
    /// Its rows go under the names of its partitions, some at least.
    AsPartitions,
    /// Its rows go under the name of a partitioned table above it.
    AsAncestor(QualifiedName),
    /// Two publications list different columns: the server refuses to send any row.
    Conflict(String, String),
    Table(SentTable),
}

/// What is sent of a table under its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentTable {
    /// The publications that count.
    pub publications: Vec<String>,
    /// SQL over a row, by the table that holds it; absent where every row is sent.
    pub filters: BTreeMap<Oid, String>,
    /// The columns that are sent; `None` is all but generated ones.
    pub columns: Option<Vec<String>>,
    /// Stored generated columns are sent as if they were plain ones.
    pub generated: bool,
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
    pub truncate: bool,
}

/// Under whose name a table's rows go, and by which publications.
struct As<'a> {
    relation: Oid,
    publications: Vec<&'a PublicationInfo>,
}

impl View {
    pub async fn read(
        client: &Client,
        names: &[String],
        relations: &[RelationSummary],
    ) -> Result<View, CatalogError> {
        let publications = catalog::publications(client, names).await?;
        let links = catalog::partition_links(client).await?;
        Ok(View::new(publications, relations, links))
    }

    pub fn new(
        publications: Vec<PublicationInfo>,
        relations: &[RelationSummary],
        links: Vec<PartitionLink>,
    ) -> View {
        let mut partitions: HashMap<Oid, Vec<Oid>> = HashMap::new();
        for link in &links {
            partitions.entry(link.parent).or_default().push(link.partition);
        }
        let described =
            |relation: &RelationSummary| (relation.oid, (relation.name.clone(), relation.kind));
        let members = publications
            .iter()
            .flat_map(|publication| {
                let members = publication.members.iter().enumerate();
                members.map(|(index, member)| ((publication.oid, member.relation), index))
            })
            .collect();
        View {
            members,
            publications,
            relations: relations.iter().map(described).collect(),
            links: links.into_iter().map(|link| (link.partition, link)).collect(),
            partitions,
        }
    }

    pub fn publication(&self, name: &str) -> Option<&PublicationInfo> {
        self.publications.iter().find(|publication| publication.name == name)
    }

    pub fn name(&self, relation: Oid) -> Option<&QualifiedName> {
        self.relations.get(&relation).map(|(name, _)| name)
    }

    /// The partitioned tables above, nearest first.
    pub fn ancestors(&self, relation: Oid) -> Vec<Oid> {
        let mut ancestors = Vec::new();
        let mut child = relation;
        while let Some(link) = self.links.get(&child) {
            if ancestors.len() == LEVELS_MAX {
                break;
            }
            ancestors.push(link.parent);
            child = link.parent;
        }
        ancestors
    }

    /// The tables that hold the rows of `table`, in the order of their OIDs: itself, or the leaves
    /// of a partitioned one (foreign tables left out).
    pub fn heaps(&self, table: Oid) -> Vec<Oid> {
        let kind = |oid: Oid| self.relations.get(&oid).map(|(_, kind)| *kind);
        if kind(table) != Some(RelationKind::Partitioned) {
            return vec![table];
        }
        let mut heaps = Vec::new();
        let mut level = vec![table];
        for _ in 0..LEVELS_MAX {
            let below = level.iter().filter_map(|oid| self.partitions.get(oid)).flatten().copied();
            let below: Vec<Oid> = below.collect();
            if below.is_empty() {
                break;
            }
            heaps.extend(below.iter().filter(|oid| kind(**oid) == Some(RelationKind::Table)));
            level = below;
        }
        heaps.sort_unstable();
        heaps
    }

    /// Whether every link between `leaf` and `table` is as old as the partition below it.
    pub fn is_born_in(&self, leaf: Oid, table: Oid) -> bool {
        self.chain(leaf, table).iter().all(|link| link.is_born)
    }

    fn chain(&self, leaf: Oid, table: Oid) -> Vec<&PartitionLink> {
        let mut chain = Vec::new();
        let mut child = leaf;
        while child != table && chain.len() < LEVELS_MAX {
            let Some(link) = self.links.get(&child) else { break };
            chain.push(link);
            child = link.parent;
        }
        chain
    }

    /// What those of `names` send of `table`.
    pub fn sent(&self, table: Oid, names: &[String]) -> Sent {
        let mut heaps = self.heaps(table);
        if heaps.is_empty() {
            heaps.push(table);
        }
        let mut sent: Option<SentTable> = None;
        let mut is_missing = false;
        for heap in heaps {
            let Some(published) = self.published_as(heap, names) else {
                is_missing = true;
                continue;
            };
            if published.relation != table {
                return match self.ancestors(table).contains(&published.relation) {
                    true => match self.name(published.relation) {
                        Some(name) => Sent::AsAncestor(name.clone()),
                        None => Sent::Nothing,
                    },
                    false => Sent::AsPartitions,
                };
            }
            if let Some((first, other)) = self.conflict(&published) {
                return Sent::Conflict(first, other);
            }
            let sent = sent.get_or_insert_with(|| self.describe(&published));
            if let Some(filter) = self.filter(&published) {
                sent.filters.insert(heap, filter);
            }
        }
        match sent {
            Some(_) if is_missing => Sent::AsPartitions,
            Some(sent) => Sent::Table(sent),
            None => Sent::Nothing,
        }
    }

    /// What is remembered of a table that is sent under its own name.
    pub fn mark(&self, table: Oid, names: &[String]) -> Option<Mark> {
        let leaves = self.heaps(table);
        let heap = leaves.first().copied().unwrap_or(table);
        let published = self.published_as(heap, names).filter(|p| p.relation == table)?;
        let through = |publication: &&PublicationInfo| {
            let mut members: Vec<String> = Vec::new();
            members.extend(publication.all_tables.then(|| "all".to_owned()));
            members.extend(self.memberships(publication, table));
            if !publication.via_root {
                members.extend(self.memberships_above(publication, table));
            }
            let narrowing = self.narrowing(publication, table);
            Through {
                publication: publication.oid,
                name: publication.name.clone(),
                version: publication.version.clone(),
                owner: publication.owner.clone(),
                operations: operations(publication),
                via_root: publication.via_root,
                generated: publication.generated,
                members,
                columns: narrowing.and_then(|member| member.columns.clone()),
                filter: narrowing.and_then(|member| member.filter.clone()),
            }
        };
        let versions = |leaf: Oid| {
            let chain: Vec<&str> =
                self.chain(leaf, table).iter().map(|link| link.version.as_str()).collect();
            (leaf, chain.join(" "))
        };
        let is_partitioned = leaves != [table];
        Some(Mark {
            through: published.publications.iter().map(through).collect(),
            leaves: is_partitioned.then(|| leaves.into_iter().map(versions).collect()),
            writes: None,
        })
    }

    /// As what `publication` has a relation.
    fn memberships(&self, publication: &PublicationInfo, relation: Oid) -> Vec<String> {
        let member = self.member(publication, relation);
        let schema = self.schema(publication, relation).map(|oid| format!("schema {oid}"));
        schema.into_iter().chain(member.map(|member| format!("table {}", member.oid))).collect()
    }

    /// Without `publish_via_partition_root` a partition is published as itself for what it is a
    /// partition of, and as long as it is one.
    fn memberships_above(&self, publication: &PublicationInfo, table: Oid) -> Vec<String> {
        let mut members = Vec::new();
        for above in self.ancestors(table) {
            let chain = self.chain(table, above);
            let versions: Vec<&str> = chain.iter().map(|link| link.version.as_str()).collect();
            let by = |member: String| format!("{member} by {}", versions.join(" "));
            members.extend(self.memberships(publication, above).into_iter().map(by));
        }
        members
    }

    fn published_as(&self, heap: Oid, names: &[String]) -> Option<As<'_>> {
        let ancestors = self.ancestors(heap);
        let (mut level, mut relation, mut counting) = (0, heap, Vec::new());
        for publication in self.publications.iter().filter(|p| names.contains(&p.name)) {
            let Some((above, oid)) = self.published_by(publication, heap, &ancestors) else {
                continue;
            };
            if above > level {
                counting.clear();
                (level, relation) = (above, oid);
            }
            if above == level {
                counting.push(publication);
            }
        }
        (!counting.is_empty()).then_some(As { relation, publications: counting })
    }

    /// How many levels above `heap`, and under which name, `publication` sends its rows.
    fn published_by(
        &self,
        publication: &PublicationInfo,
        heap: Oid,
        ancestors: &[Oid],
    ) -> Option<(usize, Oid)> {
        let has = |oid: Oid| self.names(publication, oid);
        let above = if publication.all_tables {
            let top = ancestors.last().copied().unwrap_or(heap);
            let is_exception = |member: &PublicationMember| {
                member.is_exception && (member.relation == top || member.relation == heap)
            };
            if publication.members.iter().any(is_exception) {
                return None;
            }
            ancestors.len()
        } else {
            match ancestors.iter().rposition(|&ancestor| has(ancestor)) {
                Some(index) => index + 1,
                None if has(heap) => 0,
                None => return None,
            }
        };
        if publication.via_root && above > 0 {
            return Some((above, ancestors[above - 1]));
        }
        // A partitioned table holds no rows: without via_root nothing goes under its name.
        let kind = self.relations.get(&heap).map(|(_, kind)| *kind);
        (kind != Some(RelationKind::Partitioned) || publication.via_root).then_some((0, heap))
    }

    /// Whether `publication` lists the relation or its schema.
    pub(super) fn names(&self, publication: &PublicationInfo, relation: Oid) -> bool {
        self.member(publication, relation).is_some() || self.schema(publication, relation).is_some()
    }

    fn member<'a>(
        &self,
        publication: &'a PublicationInfo,
        relation: Oid,
    ) -> Option<&'a PublicationMember> {
        let index = *self.members.get(&(publication.oid, relation))?;
        publication.members.get(index).filter(|member| !member.is_exception)
    }

    fn schema(&self, publication: &PublicationInfo, relation: Oid) -> Option<Oid> {
        let (name, _) = self.relations.get(&relation)?;
        let found = publication.schemas.iter().find(|schema| schema.name == name.schema);
        found.map(|schema| schema.oid)
    }

    /// The membership whose column list and filter count: none where the table is published with
    /// all tables or its whole schema.
    fn narrowing<'a>(
        &self,
        publication: &'a PublicationInfo,
        relation: Oid,
    ) -> Option<&'a PublicationMember> {
        if publication.all_tables || self.schema(publication, relation).is_some() {
            return None;
        }
        self.member(publication, relation)
    }

    fn describe(&self, published: &As<'_>) -> SentTable {
        let publications = &published.publications;
        let columns = publications.first().and_then(|publication| {
            self.narrowing(publication, published.relation)?.columns.clone()
        });
        SentTable {
            publications: publications.iter().map(|p| p.name.clone()).collect(),
            filters: BTreeMap::new(),
            generated: columns.is_none() && publications.iter().any(|p| p.generated),
            columns,
            insert: publications.iter().any(|p| p.insert),
            update: publications.iter().any(|p| p.update),
            delete: publications.iter().any(|p| p.delete),
            truncate: publications.iter().any(|p| p.truncate),
        }
    }

    /// Two publications that do not agree on the columns.
    fn conflict(&self, published: &As<'_>) -> Option<(String, String)> {
        let columns = |publication: &PublicationInfo| {
            let list = self.narrowing(publication, published.relation);
            let list = list.and_then(|member| member.columns.clone());
            let is_generated = list.is_none() && publication.generated;
            (list, is_generated)
        };
        let (first, others) = published.publications.split_first()?;
        let other = others.iter().find(|other| columns(other) != columns(first))?;
        Some((first.name.clone(), other.name.clone()))
    }

    /// The rows that come as inserts. Filters of publications that send no inserts count only
    /// where none does.
    fn filter(&self, published: &As<'_>) -> Option<String> {
        let sends_inserts = published.publications.iter().any(|publication| publication.insert);
        let mut filters: Vec<&str> = Vec::new();
        for publication in &published.publications {
            if sends_inserts && !publication.insert {
                continue;
            }
            let filter = self.narrowing(publication, published.relation)?.filter.as_deref()?;
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }
        let alternatives: Vec<String> =
            filters.into_iter().map(|filter| format!("({filter})")).collect();
        (!alternatives.is_empty()).then(|| alternatives.join(" OR "))
    }
}

/// `publish` as one writes it.
pub(super) fn operations(publication: &PublicationInfo) -> String {
    let operations = [
        (publication.insert, "insert"),
        (publication.update, "update"),
        (publication.delete, "delete"),
        (publication.truncate, "truncate"),
    ];
    let named = operations.iter().filter(|(is_published, _)| *is_published);
    named.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}
