//! The same rows by copy, by insert, by update and after a resync: one checksum, computed by the servers.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair};

/// Rows of every table; the values are those of `ROWS`.
const TABLES: &[&str] = &["copied", "inserted", "updated"];

const COLUMNS: &str = "(code text PRIMARY KEY, email text, name varchar(60), doc jsonb, phone text, \
     price numeric, kind int, body text, notes text)";

/// 2,000 rows; `$` stands for what makes their values others.
const ROWS: &str = "SELECT 'c' || g, 'User' || g || '@Example.org', '  Name ' || g || ' ', \
         jsonb_build_object('card', g, 'keep', jsonb_build_array(g, NULL, 1.50)), \
         '+49 30 ' || lpad(g::text, 6, '0'), g * 1.25 $, g % 7, repeat(md5(g::text), g % 120), \
         'note ' || g FROM generate_series(1, 2000) g";

/// Every kind of step, a filter, expressions over masked, dropped and large columns, a key that is hashed.
const SETTINGS: &str = r#"
where = "kind <> 3"
[table.columns]
code   = { hash = "hmac-sha256", key = "k" }
email  = [{ lower = true }, { mask = "email" }]
name   = { trim = true, rename = "full_name" }
doc    = { json_drop = ["card"] }
phone  = { mask = { keep_first = 3, keep_last = 2 } }
price  = { sql = "round(price * 1.10, 2)" }
domain = { sql = "split_part(email, '@', 2)" }
size   = { sql = "length(body) + kind" }
body   = { drop = true }
notes  = { replace = { pattern = "note ([0-9]+)", with = "n$1" } }
"#;

const EXPECTED: &str = "encode(hmac(code, 'k', 'sha256'), 'hex'), \
     left(lower(email), 1) || repeat('*', position('@' in email) - 2) \
         || substr(lower(email), position('@' in email)), \
     btrim(name), doc - 'card', \
     left(phone, 3) || repeat('*', length(phone) - 5) || right(phone, 2), \
     round(price * 1.10, 2), kind, 'example.org'::text, length(body) + kind, \
     regexp_replace(notes, 'note ([0-9]+)', 'n\\1')";

const ARRIVED: &str = "code, email, full_name, doc, phone, price, kind, domain, size, notes";

fn expected(table: &str) -> Pair {
    let rows = format!("(SELECT * FROM {table} WHERE kind <> 3) AS {table}");
    Pair::renamed(&rows, table).columns(EXPECTED, ARRIVED)
}

#[tokio::test]
async fn copy_insert_update_and_resync_give_one_checksum() {
    let (source, destination) = pair().await;
    source.exec("CREATE EXTENSION pgcrypto").await;
    for table in TABLES {
        source.exec(&format!("CREATE TABLE {table} {COLUMNS}")).await;
    }
    source.exec(&format!("INSERT INTO copied {}", ROWS.replace('$', ""))).await;
    // Rows that will all be others, some of them out of the filter until then.
    source.exec(&format!("INSERT INTO updated {}", ROWS.replace('$', "+ 7"))).await;
    source.exec("UPDATE updated SET email = 'x', notes = 'y', kind = 3 - kind").await;
    let sections: Vec<String> = TABLES
        .iter()
        .map(|table| format!("[[table]]\nname = \"public.{table}\"\n{SETTINGS}"))
        .collect();
    let mut agent = Agent::between(&source, &destination).section(&sections.join("\n"));
    agent.start_and_stream().await;
    source.exec(&format!("INSERT INTO inserted {}", ROWS.replace('$', ""))).await;
    source
        .exec(
            "UPDATE updated u SET email = c.email, notes = c.notes, kind = c.kind, price = c.price \
             FROM copied c WHERE c.code = u.code",
        )
        .await;
    agent.caught_up().await;
    for table in TABLES {
        assert_pair(&source, &destination, expected(table)).await;
    }
    let sum = |table: &str| {
        format!("SELECT sum(hashtextextended(row({ARRIVED})::text, 0)::numeric) FROM {table}")
    };
    let first = destination.scalar(&sum("copied")).await;
    for table in TABLES {
        assert_eq!(destination.scalar(&sum(table)).await, first, "{table}");
    }
    let output = agent.verb(&["resync", "--table", "public.updated", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    source.exec("UPDATE inserted SET notes = notes WHERE kind = 1").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    for table in TABLES {
        assert_eq!(destination.scalar(&sum(table)).await, first, "{table} after the resync");
    }
}
