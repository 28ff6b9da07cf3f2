//! Columns whose values must stay apart: a step that can make two values the same is refused there.
//!
//! A key counts if the destination has it, or will have it; the key by which rows are found always does.
//! It is in no danger where some of its columns are unique by themselves at the source and stay so:
//! then the others may become what they like.

use super::error::Refusal;
use super::plan::{Action, Output};
use crate::config::settings::Step;

/// Columns that are unique together, by the source's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueKey {
    pub columns: Vec<String>,
    /// NULLS NOT DISTINCT.
    pub nulls_are_equal: bool,
    /// The destination's table has it, or will have it: a collision is an error there.
    pub is_kept: bool,
    /// The source sees to it for all rows, so that it tells them apart.
    pub is_sure: bool,
}

/// One column of a key, as it leaves the source and as it arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) source_name: &'a str,
    pub(super) output: &'a Output,
}

/// Columns of `keys` whose steps may make two values the same; each once.
pub(super) fn collisions(
    keys: &[UniqueKey],
    arrivals: &[Arrival<'_>],
    step_of: impl Fn(&str) -> &'static str,
) -> Vec<(String, Refusal)> {
    let find = |name: &String| arrivals.iter().find(|arrival| arrival.source_name == name);
    let stays_apart =
        |name: &String| find(name).is_some_and(|arrival| arrival.output.keeps_apart());
    let mut found: Vec<(String, Refusal)> = Vec::new();
    for key in keys.iter().filter(|key| key.is_kept) {
        // A key with a column that does not arrive, or that is the destination's own, is another key.
        if !key.columns.iter().all(|name| find(name).is_some()) {
            continue;
        }
        let tells_apart = |sure: &&UniqueKey| {
            sure.is_sure
                && (sure.nulls_are_equal || !key.nulls_are_equal)
                && sure.columns.iter().all(|name| key.columns.contains(name) && stays_apart(name))
        };
        if keys.iter().any(|sure| tells_apart(&sure)) {
            continue;
        }
        for name in &key.columns {
            let collides =
                find(name).is_some_and(|arrival| arrival.output.collides(key.nulls_are_equal));
            if collides && !found.iter().any(|(known, _)| known == name) {
                let refusal =
                    Refusal::Collides { step: step_of(name), key: key.columns.join(", ") };
                found.push((name.clone(), refusal));
            }
        }
    }
    found
}

/// The first step that does not keep values apart.
pub(super) fn colliding_step(steps: &[Step]) -> &'static str {
    let name = |step: &Step| match step {
        Step::Null => Some("null"),
        Step::Value(_) => Some("value"),
        Step::Mask(_) => Some("mask"),
        Step::Replace(_) => Some("replace"),
        Step::Lower => Some("lower"),
        Step::Trim => Some("trim"),
        Step::JsonDrop(_) => Some("json_drop"),
        Step::Sql(_) => Some("sql"),
        Step::Hash(_) | Step::Fake(_) | Step::Drop => None,
    };
    steps.iter().find_map(name).unwrap_or("fake")
}

impl Output {
    /// Whether two values differ where those that they are made from do.
    pub(super) fn keeps_apart(&self) -> bool {
        match &self.action {
            _ if self.computed.is_some() => false,
            Action::Pass => true,
            Action::Constant(_) | Action::Mark(_) => false,
            Action::Steps(_, steps, _) => {
                steps.iter().all(super::value_step::ValueStep::keeps_apart)
            }
        }
    }

    /// Whether a key can break on it. What only the destination has tells this table's rows from
    /// another's, and NULLs are apart unless the key says otherwise.
    fn collides(&self, nulls_are_equal: bool) -> bool {
        match &self.action {
            Action::Constant(super::constant::Constant::Null) => nulls_are_equal,
            Action::Constant(_) => self.source.is_some(),
            Action::Mark(_) => false,
            Action::Pass | Action::Steps(..) => !self.keeps_apart(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::settings::ColumnSettings;
    use crate::config::steps::{FakeKind, Mask};
    use crate::model::table::{Column, Table, TableId};
    use crate::pg::catalog::ReplicaIdentity;
    use crate::pg::ident::QualifiedName;
    use crate::pg::oid;
    use crate::transform::fixture::{
        fake, json_drop, named, renamed, replace, sha256, table_settings, value,
    };
    use crate::transform::{PlanInput, TransformPlan};

    /// `public.people(id text key, email text, tenant text, doc jsonb)`
    fn compile(
        columns: Vec<ColumnSettings>,
        keys: &[UniqueKey],
    ) -> Result<TransformPlan, Vec<String>> {
        let name = QualifiedName::new("public", "people");
        let column = |name: &str, type_oid| Column {
            name: name.to_owned(),
            type_oid,
            type_modifier: -1,
            is_identity: name == "id",
        };
        let table = Arc::new(Table {
            id: TableId(1),
            name: name.clone(),
            identity: ReplicaIdentity::Default,
            columns: vec![
                column("id", oid::TEXT),
                column("email", oid::TEXT),
                column("tenant", oid::TEXT),
                column("doc", oid::JSONB),
            ],
            key: vec![0],
        });
        let plan = TransformPlan::compile(PlanInput {
            settings: Some(&table_settings(&name, None, columns)),
            destination: &name,
            table: &table,
            type_info: &|_| None,
            collation: &|_| None,
            destination_type: &|_| None,
            known_columns: None,
            unique_keys: keys,
            answer: &|_| None,
            filters_copy_only: false,
            has_text_only: false,
        });
        plan.map_err(|errors| {
            let step = |refusal: Refusal| match refusal {
                Refusal::Collides { step, .. } => step,
                other => unreachable!("{other}"),
            };
            let shown = errors.into_iter().map(|e| format!("{}: {}", e.column, step(e.refusal)));
            shown.collect()
        })
    }

    fn key(columns: &[&str]) -> UniqueKey {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        UniqueKey { columns, nulls_are_equal: false, is_kept: true, is_sure: true }
    }

    fn mask() -> Step {
        Step::Mask(Mask::Full)
    }

    fn refused(columns: Vec<ColumnSettings>, keys: &[UniqueKey]) -> Vec<String> {
        compile(columns, keys).err().unwrap_or_default()
    }

    #[test]
    fn steps_that_may_make_two_values_the_same_are_refused_where_they_are_unique() {
        let on_email = [key(&["email"])];
        let of = |steps| refused(vec![named("email", steps)], &on_email);
        assert_eq!(of(vec![mask()]), ["email: mask"]);
        assert_eq!(of(vec![replace("a", "b")]), ["email: replace"]);
        assert_eq!(of(vec![Step::Lower]), ["email: lower"]);
        assert_eq!(of(vec![Step::Trim, sha256()]), ["email: trim"]);
        assert_eq!(of(vec![sha256(), mask()]), ["email: mask"]);
        assert_eq!(of(vec![value("x")]), ["email: value"]);
        assert_eq!(
            refused(vec![named("doc", vec![json_drop(&["a"])])], &[key(&["doc"])]),
            ["doc: json_drop"]
        );
        assert_eq!(refused(vec![named("id", vec![mask()])], &[]), ["id: mask"], "the table's key");
    }

    #[test]
    fn steps_that_keep_values_apart_may_be_there() {
        for kind in [FakeKind::Name, FakeKind::Phone, FakeKind::Email, FakeKind::Uuid] {
            let keys = [key(&["id"]), key(&["email"])];
            let columns =
                vec![named("id", vec![fake(kind)]), named("email", vec![fake(kind), sha256()])];
            let plan = compile(columns, &keys).expect("compiles");
            assert!(plan.keeps_apart(0) && plan.keeps_apart(1), "{kind:?}");
        }
        let open =
            compile(vec![named("email", vec![fake(FakeKind::Name)])], &[]).expect("compiles");
        assert!(!open.keeps_apart(1), "nothing there is unique");
        let renamed = vec![renamed("email", "mail", vec![sha256()])];
        assert_eq!(refused(renamed, &[key(&["email"])]), [""; 0]);
    }

    #[test]
    fn nulls_are_apart_unless_the_key_says_otherwise() {
        let nothing = || vec![named("email", vec![Step::Null])];
        assert_eq!(refused(nothing(), &[key(&["email"])]), [""; 0]);
        let strict = UniqueKey { nulls_are_equal: true, ..key(&["email"]) };
        assert_eq!(refused(nothing(), &[strict]), ["email: null"]);
    }

    #[test]
    fn columns_that_are_unique_by_themselves_free_the_others() {
        let masked = || vec![named("email", vec![mask()])];
        assert_eq!(refused(masked(), &[key(&["tenant", "email"])]), ["email: mask"]);
        assert_eq!(refused(masked(), &[key(&["tenant", "email"]), key(&["tenant"])]), [""; 0]);
        let unsure = UniqueKey { is_sure: false, ..key(&["tenant"]) };
        assert_eq!(refused(masked(), &[key(&["tenant", "email"]), unsure]), ["email: mask"]);
        let strict = UniqueKey { nulls_are_equal: true, ..key(&["tenant", "email"]) };
        assert_eq!(refused(masked(), &[strict, key(&["tenant"])]), ["email: mask"]);
    }

    #[test]
    fn keys_that_the_destination_does_not_have_do_not_matter() {
        let masked = || vec![named("email", vec![mask()])];
        let elsewhere = UniqueKey { is_kept: false, ..key(&["email"]) };
        assert_eq!(refused(masked(), &[elsewhere]), [""; 0]);
        assert_eq!(refused(masked(), &[key(&["email", "its_own"])]), [""; 0]);
        let dropped = vec![named("email", vec![mask()]), named("tenant", vec![Step::Drop])];
        assert_eq!(refused(dropped, &[key(&["tenant", "email"])]), [""; 0]);
        let constant = vec![named("region", vec![value("eu")])];
        assert_eq!(refused(constant, &[key(&["region", "id"])]), [""; 0], "it tells tables apart");
    }
}
