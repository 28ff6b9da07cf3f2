//! What stands between the source and replication, each with the statement that mends it.
//!
//! In: the source's facts, the selected tables, what the destination remembers. Out: findings, all
//! of them at once. Reads only. Whether patterns match anything is the settings' business, and
//! whether a replication connection is let in (`pg_hba.conf`) only an attempt can tell.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{
    self, RelationKind, RelationSummary, ServerFacts, SlotInfo, TableInfo, TablePrivileges,
};
use crate::pg::ident::{QualifiedName, identifier, identifiers, literal};
use crate::pg::oid::Oid;
use crate::source::publication::{self, PublicationError, PublicationPlan, PublicationRequest};
use crate::source::slot::judge_kind;

/// Versions that are tested; older ones are refused, newer ones are a warning.
const VERSIONS: std::ops::RangeInclusive<i32> = 14..=18;

/// The first version whose standbys decode.
const STANDBY_DECODES_SINCE: i32 = 16;

/// The first version that raises `wal_level` by itself when a logical slot is made.
const WAL_LEVEL_RISES_SINCE: i32 = 19;

/// The first version whose slots standbys keep a copy of.
const FAILOVER_SLOTS_SINCE: i32 = 17;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct SourceRequest<'a> {
    pub facts: &'a ServerFacts,
    pub slot: &'a str,
    /// The destination's row names this slot.
    pub slot_is_ours: bool,
    /// The settings want a failover slot, whatever the server is.
    pub needs_failover: bool,
    pub publication: PublicationRequest<'a>,
    /// Every relation, to say why a named one cannot be replicated.
    pub relations: &'a [RelationSummary],
    /// Relations that the settings name without a wildcard.
    pub named: &'a [QualifiedName],
}

/// Everything that is wrong or worth knowing, and what `run` would create.
pub async fn findings(
    client: &Client,
    request: SourceRequest<'_>,
) -> Result<Vec<Finding>, PublicationError> {
    let mut findings = server_findings(request.facts);
    let slot = catalog::slot(client, request.slot).await?;
    findings.extend(slot_findings(request, slot.as_ref()));
    findings.extend(relation_findings(request.relations, request.named));
    let tables = request.publication.tables;
    findings.extend(tables.iter().flat_map(|table| table_findings(request.facts, table)));
    // A table that is copied is read through the stream alone: SELECT is for the others.
    let is_to_copy = |table: &&TableInfo| !request.publication.established.contains(&table.name);
    let to_copy: Vec<&TableInfo> = tables.iter().filter(is_to_copy).collect();
    let mut oids: Vec<Oid> = to_copy.iter().map(|table| table.oid).collect();
    let is_root = |table: &&&TableInfo| table.kind == RelationKind::Partitioned;
    let roots: Vec<Oid> = to_copy.iter().filter(is_root).map(|table| table.oid).collect();
    let leaves = catalog::partition_leaves(client, &roots).await?;
    oids.extend(leaves.iter().map(|leaf| leaf.oid));
    let mut privileges = catalog::privileges(client, &oids).await?;
    for privileges in &mut privileges {
        let root = leaves.iter().find(|leaf| leaf.oid == privileges.oid).map(|leaf| leaf.root);
        let of = root.unwrap_or(privileges.oid);
        if let Some(table) = to_copy.iter().find(|table| table.oid == of) {
            privileges.no_select.retain(|column| is_read(table, column));
        }
    }
    findings.extend(privilege_findings(&request.facts.role, &privileges));
    let plan = publication::plan(client, request.publication).await?;
    findings.extend(publication_findings(request.facts, tables, plan));
    Ok(findings)
}

/// Whether the copy reads the column: it is published, or a row filter may name it.
fn is_read(table: &TableInfo, column: &str) -> bool {
    table.column(column).is_some()
        || table.row_filters.values().any(|filter| filter.contains(column))
}

/// Version, settings and the role's attribute.
pub fn server_findings(facts: &ServerFacts) -> Vec<Finding> {
    let error = |object: &str, message: String| Finding::error(Side::Source, object, message);
    let mut findings = Vec::new();
    let major = facts.major_version();
    if major < *VERSIONS.start() {
        let message = format!("it is PostgreSQL {}; version 14 is the oldest", facts.version);
        findings.push(error("server", message));
    } else if major > *VERSIONS.end() {
        let message = format!("it is PostgreSQL {}, newer than what was tested", facts.version);
        findings.push(Finding::warning(Side::Source, "server", message));
    }
    if facts.in_recovery && major < STANDBY_DECODES_SINCE {
        let message = "it is a standby; before version 16 only a primary can be the source";
        findings.push(error("server", message.to_owned()));
    }
    let level_rises = major >= WAL_LEVEL_RISES_SINCE && facts.wal_level == "replica";
    if facts.wal_level != "logical" && !level_rises {
        let message = format!("it is {}, and must be logical", facts.wal_level);
        findings.push(
            error("setting wal_level", message)
                .remedy("ALTER SYSTEM SET wal_level = 'logical'; -- then restart"),
        );
    }
    if !facts.has_replication {
        let role = identifier(&facts.role);
        let message = "it may not replicate".to_owned();
        findings.push(
            error(&format!("role {role}"), message)
                .remedy(format!("ALTER ROLE {role} REPLICATION")),
        );
    }
    if facts.has_large_objects {
        let message = "large objects are not part of the change stream and are not copied";
        findings.push(Finding::warning(Side::Source, "large objects", message));
    }
    findings
}

fn slot_findings(request: SourceRequest<'_>, slot: Option<&SlotInfo>) -> Vec<Finding> {
    let facts = request.facts;
    let object = format!("replication slot \"{}\"", request.slot);
    let error = |message: String| Finding::error(Side::Source, object.clone(), message);
    let drop = format!("SELECT pg_drop_replication_slot({})", literal(request.slot));
    let mut findings = Vec::new();
    match slot {
        Some(slot) => {
            if let Err(unsuitable) = judge_kind(slot, &facts.database) {
                findings.push(error(unsuitable.to_string()).remedy(drop));
            } else if !request.slot_is_ours {
                let message = "it exists, but no checkpoint at the destination belongs to it";
                findings.push(error(message.to_owned()).remedy(drop));
            }
        }
        None => findings.push(Finding::info(Side::Source, object.clone(), "run creates it")),
    }
    if request.needs_failover && !has_failover_slots(facts) {
        let why = match facts.in_recovery {
            true => "a standby cannot make one".to_owned(),
            false => format!("PostgreSQL {} has none", facts.version),
        };
        let message = format!("source.failover is \"on\": it must be a failover slot, and {why}");
        findings.push(error(message));
    }
    let slots = Capacity {
        setting: "max_replication_slots",
        limit: facts.max_replication_slots,
        free: facts.free_replication_slots(),
    };
    findings.extend(slots.lacks(if slot.is_none() { 1 } else { 0 }));
    let senders = Capacity {
        setting: "max_wal_senders",
        limit: facts.max_wal_senders,
        free: facts.free_wal_senders(),
    };
    let needed = match slot {
        // The one that makes the slot keeps its snapshot; the stream has another.
        None => 2,
        Some(slot) => i32::from(!slot.active),
    };
    findings.extend(senders.lacks(needed));
    findings
}

/// Whether a slot that is made here can be one that standbys keep a copy of.
pub fn has_failover_slots(facts: &ServerFacts) -> bool {
    facts.major_version() >= FAILOVER_SLOTS_SINCE && !facts.in_recovery
}

/// Something that the server has a limited number of.
struct Capacity {
    setting: &'static str,
    limit: i32,
    free: i32,
}

impl Capacity {
    fn lacks(&self, needed: i32) -> Option<Finding> {
        /// What makes room: our own, and one more while a table is copied beside it.
        const MORE: i32 = 2;
        let Capacity { setting, limit, free } = self;
        if *free >= needed {
            return None;
        }
        let message = if *free < 1 {
            format!("all {limit} are in use")
        } else {
            format!("{free} of {limit} is free, and {needed} are needed")
        };
        let finding = Finding::error(Side::Source, format!("setting {setting}"), message);
        Some(
            finding
                .remedy(format!("ALTER SYSTEM SET {setting} = {}; -- then restart", limit + MORE)),
        )
    }
}

/// Named relations that cannot be replicated, and unlogged tables that patterns pass over.
pub fn relation_findings(relations: &[RelationSummary], named: &[QualifiedName]) -> Vec<Finding> {
    let named: BTreeSet<&QualifiedName> = named.iter().collect();
    let mut findings = Vec::new();
    for relation in relations.iter().filter(|relation| named.contains(&relation.name)) {
        let object = format!("{} {}", relation.kind_label, relation.name.sql());
        if relation.kind == RelationKind::Other {
            let message = format!("a {} cannot be replicated; name tables", relation.kind_label);
            findings.push(Finding::error(Side::Source, object, message));
        } else if !relation.is_permanent {
            let message = "it is unlogged: its changes are not in the write-ahead log";
            findings.push(
                Finding::error(Side::Source, object, message)
                    .remedy(format!("ALTER TABLE {} SET LOGGED", relation.name.sql())),
            );
        }
    }
    findings
}

/// Identity and row security.
pub fn table_findings(facts: &ServerFacts, table: &TableInfo) -> Vec<Finding> {
    let name = table.name.sql();
    let object = format!("table {name}");
    let mut findings = Vec::new();
    if !table.has_usable_identity() {
        let (message, identity) = if table.has_unpublished_identity() {
            let message = "its replica identity FULL has generated columns, and this server would refuse the application's updates and deletes: only inserts are replicated";
            (message, "DEFAULT; -- with a primary key")
        } else if table.has_leaf_without_identity {
            let message =
                "one of its partitions has no usable replica identity: only inserts are replicated";
            (message, "FULL")
        } else {
            ("it has no usable replica identity: only inserts are replicated", "FULL")
        };
        findings.push(
            Finding::warning(Side::Source, object.clone(), message)
                .remedy(format!("ALTER TABLE {name} REPLICA IDENTITY {identity}")),
        );
    }
    if table.row_security_active {
        let message = "row-level security hides rows of it from our role";
        findings.push(
            Finding::error(Side::Source, object, message)
                .remedy(format!("ALTER ROLE {} BYPASSRLS", identifier(&facts.role))),
        );
    }
    findings
}

/// USAGE on schemas, SELECT on tables or their columns.
pub fn privilege_findings(role: &str, privileges: &[TablePrivileges]) -> Vec<Finding> {
    let role = identifier(role);
    let mut schemas = BTreeSet::new();
    let mut findings = Vec::new();
    for table in privileges {
        if !table.schema_usage && schemas.insert(&table.name.schema) {
            let schema = identifier(&table.name.schema);
            findings.push(
                Finding::error(Side::Source, format!("schema {schema}"), "no USAGE privilege")
                    .remedy(format!("GRANT USAGE ON SCHEMA {schema} TO {role}")),
            );
        }
        if table.select || table.no_select.is_empty() {
            continue;
        }
        let name = table.name.sql();
        let columns = identifiers(table.no_select.iter().map(String::as_str));
        let message = format!("no SELECT privilege on columns {columns}");
        findings.push(
            Finding::error(Side::Source, format!("table {name}"), message)
                .remedy(format!("GRANT SELECT ON {name} TO {role}")),
        );
    }
    findings
}

/// The publications' own findings, what would be created, and whether our role may.
fn publication_findings(
    facts: &ServerFacts,
    tables: &[TableInfo],
    plan: PublicationPlan,
) -> Vec<Finding> {
    let mut findings = plan.findings;
    if plan.statements.is_empty() {
        return findings;
    }
    let role = identifier(&facts.role);
    let object = format!("publication {}", identifiers(plan.owned.iter().map(String::as_str)));
    let script = plan.statements.join("; ");
    let error = |message: String| Finding::error(Side::Source, object.clone(), message);
    let added: BTreeSet<&QualifiedName> = plan.added.iter().collect();
    let not_owned: Vec<String> = tables
        .iter()
        .filter(|table| !table.is_owner && added.contains(&table.name))
        .map(|table| format!("{} (owner {})", table.name.sql(), identifier(&table.owner)))
        .collect();
    if facts.in_recovery {
        let message = "a standby cannot create or alter it; run this on its primary";
        findings.push(error(message.to_owned()).remedy(script));
    } else if !not_owned.is_empty() {
        let message = format!(
            "role {role} may not publish tables it does not own: {}; let an owner of all of them \
             run this",
            not_owned.join(", ")
        );
        findings.push(error(message).remedy(script));
    } else if !plan.not_ours.is_empty() {
        let statements: Vec<String> = plan
            .not_ours
            .iter()
            .map(|name| format!("ALTER PUBLICATION {} OWNER TO {role}", identifier(name)))
            .collect();
        let message = format!("role {role} may not alter what it once made: it has another owner");
        findings.push(error(message).remedy(statements.join("; ")));
    } else if !plan.created.is_empty() && !facts.can_create_in_database {
        let database = identifier(&facts.database);
        let message = format!("role {role} may not create it in database {database}");
        findings
            .push(error(message).remedy(format!("GRANT CREATE ON DATABASE {database} TO {role}")));
    } else {
        let message = "run creates or alters it";
        findings.push(Finding::info(Side::Source, object, message).remedy(script));
    }
    findings
}
