//! Transactions at random over a few tables.

use super::tables::{Kind, Table, float, json, large};
use crate::support::random::Random;

/// Keys of the rows that are changed one by one; few, so that they meet.
const KEYS: u64 = 6;

/// One transaction; a failure of it (two rows with one key) is none of the test's.
pub(super) fn transaction(random: &mut Random, tables: &[Table]) -> String {
    let mut sql = "BEGIN".to_owned();
    for _ in 0..random.between(1, 4) {
        let table =
            &tables[usize::try_from(random.between(0, tables.len() as u64 - 1)).expect("few")];
        let change = change(random, table);
        match random.one_in(10) {
            true => sql = format!("{sql}; SAVEPOINT s; {change}; ROLLBACK TO s"),
            false => sql = format!("{sql}; {change}"),
        }
    }
    format!("{sql}; COMMIT")
}

fn change(random: &mut Random, table: &Table) -> String {
    let name = &table.name;
    let k = random.between(1, KEYS).to_string();
    let found = one_row(table, &k);
    // In thousandths. What ends a fold (a key that moves without its large values, TRUNCATE) is rare
    // enough for others to fold.
    match random.between(0, 999) {
        0..200 => insert(random, table, &k),
        200..420 => format!("UPDATE {name} SET n = {} WHERE {found}", random.between(0, 999)),
        420..540 => update_wide(random, table, &k),
        540..580 => move_key(random, table, &k),
        580..600 => swap_keys(random, table, &k),
        600..670 => hand_over(random, table, &k),
        670..780 => format!("DELETE FROM {name} WHERE {found}"),
        780..910 => format!("DELETE FROM {name} WHERE k = {k}; {}", insert(random, table, &k)),
        910..945 => {
            let first = random.between(100, 140);
            let many = format!("generate_series({first}, {}) AS g", first + random.between(20, 60));
            format!("{} ON CONFLICT DO NOTHING", table.insert("g", &many, random))
        }
        945..970 => format!("UPDATE {name} SET n = n + 1 WHERE k > {}", random.between(0, 150)),
        970..997 => format!("DELETE FROM {name} WHERE k > {}", random.between(90, 180)),
        _ => format!("TRUNCATE {name}"),
    }
}

/// The condition that finds one row, where rows of one `k` may be several.
fn one_row(table: &Table, k: &str) -> String {
    match table.kind {
        Kind::Full | Kind::Composite => {
            format!("ctid = (SELECT ctid FROM {} WHERE k = {k} LIMIT 1)", table.name)
        }
        _ => format!("k = {k}"),
    }
}

fn insert(random: &mut Random, table: &Table, k: &str) -> String {
    format!("{} ON CONFLICT DO NOTHING", table.insert(k, "(SELECT 1) AS one", random))
}

fn update_wide(random: &mut Random, table: &Table, k: &str) -> String {
    let mut set = Vec::new();
    if table.has_large && !random.one_in(4) {
        set.push(format!("big = {}", large(random, k)));
    }
    if table.has_json && random.one_in(2) {
        set.push(format!("js = {}", json(random, k)));
    }
    if table.has_float && random.one_in(2) {
        set.push(format!("f = {}", float(random)));
    }
    if set.is_empty() {
        set.push("n = n".to_owned());
    }
    format!("UPDATE {} SET {} WHERE {}", table.name, set.join(", "), one_row(table, k))
}

/// `SET` of all that belongs to the key.
fn set_key(table: &Table, k: &str) -> String {
    match table.letters(k) {
        Some(l) => format!("k = {k}, l = {l}"),
        None => format!("k = {k}"),
    }
}

fn move_key(random: &mut Random, table: &Table, k: &str) -> String {
    let name = &table.name;
    let to = random.between(1, KEYS).to_string();
    let also = if random.one_in(2) { ", n = -1" } else { "" };
    format!(
        "UPDATE {name} SET {}{also} WHERE {} AND NOT EXISTS (SELECT FROM {name} WHERE k = {to})",
        set_key(table, &to),
        one_row(table, k)
    )
}

fn swap_keys(random: &mut Random, table: &Table, k: &str) -> String {
    let name = &table.name;
    let other = random.between(1, KEYS).to_string();
    if other == k || table.kind == Kind::Full {
        return update_wide(random, table, k);
    }
    [(k, "999"), (other.as_str(), k), ("999", other.as_str())]
        .map(|(from, to)| format!("UPDATE {name} SET {} WHERE k = {from}", set_key(table, to)))
        .join("; ")
}

/// A unique value goes from one row to another.
fn hand_over(random: &mut Random, table: &Table, k: &str) -> String {
    if !table.has_unique {
        return update_wide(random, table, k);
    }
    let name = &table.name;
    let value = 1000 + random.between(1, KEYS);
    format!(
        "UPDATE {name} SET u = NULL WHERE u = {value}; UPDATE {name} SET u = {value} WHERE {}",
        one_row(table, k)
    )
}
