//! The algebra of `coalesce.rs`, cell by cell.

use std::sync::Arc;

use crate::batch::coalesce::Fold;
use crate::batch::contents::{NetEffects, Step};
use crate::batch::steps::{FoldPolicy, Steps};
use crate::batch::tests::{row, table, words};
use crate::model::change::{Change, OldRow, RowChange, Truncate};
use crate::model::row::Row;
use crate::model::table::{ReplicaIdentity, Table};

fn keyed() -> Arc<Table> {
    table(1, ReplicaIdentity::Default, &["k", "a", "b"], &[0])
}

/// `+ row` inserts, `~ row` updates, `- row` deletes, `! row` marks, `old > row` changes the key.
fn change(text: &str) -> RowChange {
    let (first, rest) = text.split_at(1);
    match first {
        "+" => RowChange::Insert { new: row(rest) },
        "~" => RowChange::Update { old: None, new: row(rest) },
        "-" => RowChange::Delete { old: OldRow::Identity(row(rest)) },
        "!" => RowChange::Mark { row: row(rest) },
        _ => {
            let (old, new) = text.split_once('>').unwrap();
            RowChange::Update { old: Some(OldRow::Identity(row(old))), new: row(new) }
        }
    }
}

/// Folds `changes` (separated by `;`); the index of the first that does not fold is the error.
fn fold(table: &Arc<Table>, changes: &str) -> Result<NetEffects, usize> {
    let mut fold = Fold::new(Arc::clone(table));
    for (index, text) in changes.split(';').map(str::trim).enumerate() {
        fold.push(change(text)).map_err(|_| index)?;
    }
    Ok(fold.finish())
}

fn shown(net: &NetEffects) -> String {
    let list = |name: &str, rows: &[Row]| {
        rows.iter().map(|row| format!("{name} {}", words(row))).collect::<Vec<_>>()
    };
    let mut all = list("removal", &net.removals);
    all.extend(list("delete", &net.deletes));
    all.extend(list("mark", &net.marks));
    all.extend(list("update", &net.updates));
    all.extend(list("insert", &net.inserts));
    all.join("; ")
}

#[test]
fn every_cell_of_the_algebra() {
    let cases = [
        ("nothing, insert", "+1 a b", "insert 1 a b"),
        ("nothing, update", "~1 a ?", "update 1 a ?"),
        ("nothing, delete", "-1 _ _", "delete 1 _ _"),
        ("insert, insert", "+1 a b; +1 c d", "insert 1 c d"),
        ("insert, update", "+1 a b; ~1 c ?", "insert 1 c b"),
        ("insert, delete", "+1 a b; -1 _ _", "removal 1 _ _"),
        ("update, insert", "~1 a ?; +1 c d", "insert 1 c d"),
        ("update, update", "~1 a ?; ~1 ? d", "update 1 a d"),
        ("update, update to NULL", "~1 a b; ~1 ? _", "update 1 a _"),
        ("update, delete", "~1 a ?; -1 _ _", "delete 1 _ _"),
        ("delete, insert", "-1 _ _; +1 a b", "delete 1 a b; insert 1 a b"),
        ("delete, delete", "-1 _ _; -1 _ _", "delete 1 _ _"),
        ("replace, insert", "-1 _ _; +1 a b; +1 c d", "delete 1 c d; insert 1 c d"),
        ("replace, update", "-1 _ _; +1 a b; ~1 ? d", "delete 1 a d; insert 1 a d"),
        ("replace, delete", "-1 _ _; +1 a b; -1 _ _", "delete 1 _ _"),
        ("removal, insert", "+1 a b; -1 _ _; +1 c d", "insert 1 c d"),
        ("removal, delete", "+1 a b; -1 _ _; -1 _ _", "removal 1 _ _"),
        ("nothing, mark", "!1 ? m", "mark 1 ? m"),
        ("mark, mark", "!1 ? m; !1 ? n", "mark 1 ? m"),
        ("mark, insert", "!1 ? m; +1 a b", "insert 1 a b"),
        ("mark, delete", "!1 ? m; -1 _ _", "delete 1 _ _"),
        ("insert, mark", "+1 a b; !1 ? m", "insert 1 a m"),
        ("insert, mark, insert", "+1 a b; !1 ? m; +1 c d", "insert 1 c d"),
        ("update, mark", "~1 a ?; !1 ? m", "update 1 a m"),
        ("replace, mark", "-1 _ _; +1 a b; !1 ? m", "delete 1 a m; insert 1 a m"),
        ("another key", "+1 a b; +2 a b; ~1 c ?", "insert 1 c b; insert 2 a b"),
    ];
    for (cell, changes, expected) in cases {
        let net = fold(&keyed(), changes).unwrap_or_else(|index| panic!("{cell}: {index}"));
        assert_eq!(shown(&net), expected, "{cell}");
    }
}

#[test]
fn a_key_change_is_a_delete_and_an_insert_once_all_values_are_known() {
    let cases = [
        ("known", "1 _ _ > 2 a b", "delete 1 _ _; insert 2 a b"),
        ("of an inserted row", "+1 a b; 1 _ _ > 2 ? ?", "removal 1 _ _; insert 2 a b"),
        ("of an updated row", "~1 a b; 1 _ _ > 2 ? ?", "delete 1 _ _; insert 2 a b"),
        (
            "a swap",
            "1 _ _ > 9 a b; 2 _ _ > 1 c d; 9 _ _ > 2 a b",
            "removal 9 _ _; delete 1 c d; delete 2 a b; insert 1 c d; insert 2 a b",
        ),
        (
            "there and back",
            "1 _ _ > 2 a b; 2 _ _ > 1 a b",
            "removal 2 _ _; delete 1 a b; insert 1 a b",
        ),
        ("not moved at all", "1 _ _ > 1 a ?", "update 1 a ?"),
        ("a key that was not sent again", "1 _ _ > ? a ?", "update 1 a ?"),
    ];
    for (case, changes, expected) in cases {
        let net = fold(&keyed(), changes).unwrap_or_else(|index| panic!("{case}: {index}"));
        assert_eq!(shown(&net), expected, "{case}");
    }
}

#[test]
fn what_has_no_answer_is_given_back() {
    let cases = [
        ("delete, update", "-1 _ _; ~1 a b", 1),
        ("removal, update", "+1 a b; -1 _ _; ~1 a b", 2),
        ("mark, update", "!1 ? m; ~1 a ?", 1),
        ("delete, mark", "-1 _ _; !1 ? m", 1),
        ("removal, mark", "+1 a b; -1 _ _; !1 ? m", 2),
        ("a key change without all values", "1 _ _ > 2 a ?", 0),
        ("an insert without all values", "+1 a ?", 0),
        ("an update without its key", "~? a b", 0),
    ];
    for (case, changes, index) in cases {
        assert_eq!(fold(&keyed(), changes).map(|net| shown(&net)), Err(index), "{case}");
    }
}

#[test]
fn without_a_key_only_whole_inserts_fold() {
    let keyless = table(1, ReplicaIdentity::Full, &["a", "b"], &[]);
    let net = fold(&keyless, "+1 a; +1 a; +1 _").expect("inserts fold");
    assert_eq!(shown(&net), "insert 1 a; insert 1 a; insert 1 _");
    for changes in ["-1 a", "1 a > 1 b", "+1 ?"] {
        assert_eq!(fold(&keyless, changes).map(|net| shown(&net)), Err(0), "{changes}");
    }
}

#[test]
fn the_columns_of_a_composite_key_do_not_run_together() {
    let composite = table(1, ReplicaIdentity::Default, &["k", "l", "a"], &[0, 1]);
    let net = fold(&composite, "+a bc 1; +ab c 2").expect("foldable");
    assert_eq!(net.inserts.len(), 2);
}

// === Steps ===

fn steps(policy: FoldPolicy, changes: &[(&Arc<Table>, &str)]) -> Vec<String> {
    let mut steps = Steps::default();
    for (table, text) in changes {
        let table = Arc::clone(table);
        steps.push(
            match *text {
                "truncate" => Change::Truncate(Truncate {
                    tables: vec![table],
                    cascade: false,
                    restart_identity: false,
                }),
                text => Change::Row { table, change: change(text) },
            },
            policy,
        );
    }
    let shown = |step: &Step| match step {
        Step::Net(net) => format!("{}: {}", net.table.name.name, shown(net)),
        Step::InOrder(ordered) => {
            format!("{}: {} in order", ordered.table.name.name, ordered.changes.len())
        }
        Step::Truncate(_) => "truncate".to_owned(),
    };
    steps.finish().iter().map(shown).collect()
}

#[test]
fn what_does_not_fold_stands_between_what_was_before_and_after() {
    let one = &keyed();
    let changes = [(one, "+1 a b"), (one, "7 _ _ > 8 a ?"), (one, "~1 c ?"), (one, "~1 ? d")];
    let expected = ["t1: insert 1 a b", "t1: 1 in order", "t1: update 1 c d"];
    assert_eq!(steps(FoldPolicy::Fold, &changes), expected);
}

#[test]
fn a_truncate_is_a_barrier_for_every_table() {
    let one = &keyed();
    let two = &table(2, ReplicaIdentity::Default, &["k", "a", "b"], &[0]);
    let changes = [(one, "+1 a b"), (two, "+1 a b"), (one, "truncate"), (two, "~1 c ?")];
    let expected = ["t1: insert 1 a b", "t2: insert 1 a b", "truncate", "t2: update 1 c ?"];
    assert_eq!(steps(FoldPolicy::Fold, &changes), expected);
}

#[test]
fn another_description_of_a_table_is_a_barrier() {
    let one = &keyed();
    let wider = &table(1, ReplicaIdentity::Default, &["k", "a", "b", "c"], &[0]);
    let same = &keyed();
    let changes = [(one, "+1 a b"), (same, "~1 c ?"), (wider, "~1 ? d e")];
    let expected = ["t1: insert 1 c b", "t1: update 1 ? d e"];
    assert_eq!(steps(FoldPolicy::Fold, &changes), expected);
}

#[test]
fn a_key_change_stays_an_update_where_the_destination_has_columns_of_its_own() {
    let one = &keyed();
    let changes = [(one, "~1 a b"), (one, "1 _ _ > 2 a b"), (one, "~2 c d")];
    let expected = ["t1: update 1 a b", "t1: 1 in order", "t1: update 2 c d"];
    assert_eq!(steps(FoldPolicy::FoldKeepRows, &changes), expected);
}

#[test]
fn table_order_folds_inserts_alone_and_lets_tables_pass_each_other() {
    let one = &keyed();
    let two = &table(2, ReplicaIdentity::Default, &["k", "a", "b"], &[0]);
    let changes =
        [(one, "+1 a b"), (two, "+1 a b"), (one, "+2 a b"), (one, "~2 c d"), (one, "-1 _ _")];
    let expected = ["t1: insert 1 a b; insert 2 a b", "t2: insert 1 a b", "t1: 2 in order"];
    assert_eq!(steps(FoldPolicy::TableOrder, &changes), expected);
}

#[test]
fn in_order_lets_no_table_pass_another() {
    let one = &keyed();
    let two = &table(2, ReplicaIdentity::Default, &["k", "a", "b"], &[0]);
    let changes = [(one, "+1 a b"), (two, "+1 a b"), (one, "+2 a b"), (one, "+3 a b")];
    let expected = ["t1: insert 1 a b", "t2: insert 1 a b", "t1: insert 2 a b; insert 3 a b"];
    assert_eq!(steps(FoldPolicy::InOrder, &changes), expected);
}
