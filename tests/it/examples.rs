//! The files in `config/examples/`, each run as it is: on the tables that its own comments describe, by copy and by
//! tail. What should arrive is said in SQL over the source.
//!
//! What a reader replaces is replaced by the variables that every setting has, and by `--set`: two URLs, two
//! passwords, a secret, a folder and a port.

use std::path::{Path, PathBuf};

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};

/// The secret of the files that have one.
const PII_KEY: &str = "a long random text";

/// What stands before the tables in the comments of each file, and how far in they stand.
const TABLES: &str = "# Tables at the source:";
const INDENT: &str = "#     ";

struct Example {
    source: Cluster,
    destination: Cluster,
    agent: Agent,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples")
}

/// The statements that a file's comments show.
fn tables_of(text: &str) -> String {
    let after = text.lines().skip_while(|line| *line != TABLES).skip(2);
    let lines: Vec<&str> = after.map_while(|line| line.strip_prefix(INDENT)).collect();
    assert!(!lines.is_empty(), "no tables below {TABLES:?}");
    lines.join("\n")
}

impl Example {
    /// The file's tables with `rows` in them, and a destination in which nothing is.
    async fn prepare(name: &str, rows: &str) -> Example {
        let text = std::fs::read_to_string(folder().join(name)).expect("the example is there");
        let (source, destination) = pair().await;
        source.exec(&tables_of(&text)).await;
        source.exec(rows).await;
        let mut agent = Agent::between(&source, &destination)
            .configured_by(&text)
            .variable("SYNC_AGENT_SOURCE", &source.url())
            .variable("SYNC_AGENT_DESTINATION", &destination.url())
            .variable("SOURCE_PASSWORD", "unused")
            .variable("DESTINATION_PASSWORD", "unused")
            .variable("PII_KEY", PII_KEY);
        let state = agent.state_dir().display().to_string();
        agent = agent.variable("STATE_DIRECTORY", &state);
        let file: toml::Value = toml::from_str(&text).expect("TOML");
        file["pipeline"].as_str().expect("a name").clone_into(&mut agent.pipeline);
        Example { source, destination, agent }
    }

    /// The same, found to be in order, copied and followed.
    async fn run(name: &str, rows: &str) -> Example {
        let mut example = Example::prepare(name, rows).await;
        let checked = example.agent.verb(&["check"]).await;
        assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
        example.start();
        example.agent.wait_for_state("streaming").await;
        example
    }

    fn start(&mut self) {
        let listen = format!("http.listen=\"127.0.0.1:{}\"", self.agent.http_port);
        self.agent.start_with(&["--set", &listen]);
    }

    /// Changes at the source, all of them arrived.
    async fn follow(&mut self, changes: &str) {
        self.source.exec(changes).await;
        self.agent.caught_up().await;
    }

    /// That `there` holds what `here` gives at the source, column by column.
    async fn assert_arrived(&self, here: (&str, &str), there: (&str, &str)) {
        let pair = Pair::renamed(here.0, there.0).columns(here.1, there.1);
        assert_pair(&self.source, &self.destination, pair).await;
    }

    async fn columns(&self, table: &str) -> String {
        let sql = format!(
            "SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute \
             WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        );
        self.destination.scalar(&sql).await
    }

    async fn end(mut self) {
        let (_, metrics) = self.agent.get("/metrics").await;
        let conflicts: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("sync_agent_conflicts_total{") && !line.ends_with(" 0"))
            .collect();
        assert!(conflicts.is_empty(), "{conflicts:?}");
        assert_eq!(self.agent.terminate().await, Some(0));
    }
}

#[test]
fn every_example_is_run_here_and_named_in_the_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("text");
    let (readme, tests) = (read("README.md"), read("tests/it/examples.rs"));
    let files = std::fs::read_dir(folder()).expect("the folder").map(|file| {
        let name = file.expect("an entry").file_name();
        name.into_string().expect("UTF-8")
    });
    let files: Vec<String> = files.collect();
    assert!(files.len() >= 8, "{files:?}");
    for name in files {
        assert!(tests.contains(&format!("(\"{name}\", ")), "{name} is not run");
        assert!(
            readme.contains(&format!("(config/examples/{name})")),
            "{name} is not in README.md"
        );
    }
}

const PEOPLE: &str = "INSERT INTO customers SELECT g, 'Person ' || g, 'person' || g || '@shop.test', '+4930' || 1000000 + g,
        '078-05-' || 1000 + g, 'DE' || 10 ^ 17::numeric + g, jsonb_build_object('address', jsonb_build_object('street',
        'Secret Street ' || g, 'city', 'Ulm'), 'children', jsonb_build_array(jsonb_build_object('name', 'Kim', 'age', g))),
        'secret note', timestamptz '2024-01-01 00:00+00' + g * interval '1 h' FROM generate_series(1, 50) g;
    INSERT INTO orders SELECT g, 1 + g % 50, 'person' || 1 + g % 50 || '@shop.test', '4111 1111 1111 ' || 1000 + g, g * 1.25,
        'secret remark' FROM generate_series(1, 200) g;
    INSERT INTO sessions VALUES ('secret', 1); CREATE EXTENSION pgcrypto";

/// Made-up values are held to their form here; `transforms::steps` has what each is in SQL.
async fn assert_anonymised(example: &Example) {
    let hidden = format!(
        "id, repeat('*', char_length(phone) - 2) || right(phone, 2), encode(hmac(ssn, '{PII_KEY}', 'sha256'), 'hex'), \
         left(iban, 2) || repeat('x', char_length(iban) - 6) || right(iban, 4), \
         profile #- '{{address,street}}' #- '{{children,0,name}}', NULL::text, created_at"
    );
    let there = "id, phone, ssn, iban, profile, notes, created_at";
    example.assert_arrived(("customers", &hidden), ("customers", there)).await;
    let orders = "id, customer_id, total, regexp_replace(card, '[0-9]', '0', 'g')";
    example.assert_arrived(("orders", orders), ("orders", "id, customer_id, total, card")).await;
    // Who ordered under which address is as it was, without the address.
    let joins = "(SELECT o.id, c.id AS customer FROM orders o JOIN customers c ON c.email = o.contact) AS j";
    example.assert_arrived((joins, "id, customer"), (joins, "id, customer")).await;
    let made_up = "SELECT bool_and(email ~ '^[a-z]+[.][a-z]+[.][0-9a-f]{20}@example[.](com|net|org)$' \
         AND name ~ '^[A-Z][a-z]+ [A-Z][A-Za-z]+$') FROM customers";
    assert_eq!(example.destination.scalar(made_up).await, "t");
}

#[tokio::test]
async fn the_staging_copy_has_nobody_in_it() {
    let mut example = Example::run("anonymised-staging.toml", PEOPLE).await;
    assert_anonymised(&example).await;
    example
        .follow(
            "UPDATE customers SET email = 'moved' || id || '@shop.test', phone = '030 1' WHERE id % 5 = 0;
             UPDATE orders SET contact = (SELECT email FROM customers WHERE id = customer_id), card = '1' || id;
             INSERT INTO customers VALUES (1000, 'Another Person', 'a@shop.test', NULL, NULL, NULL, NULL, NULL, 'epoch');
             INSERT INTO orders VALUES (1000, 1000, 'a@shop.test', NULL, 1, 'secret remark');
             DELETE FROM orders WHERE customer_id = 7; DELETE FROM customers WHERE id = 7;
             UPDATE customers SET profile = '{\"address\": {\"street\": \"Secret Street\"}}' WHERE id = 8",
        )
        .await;
    assert_anonymised(&example).await;
    assert_eq!(example.columns("orders").await, "card contact customer_id id total");
    assert_eq!(example.destination.scalar("SELECT to_regclass('sessions') IS NULL").await, "t");
    // A column more: of orders it stays out, of customers it holds.
    example.follow("ALTER TABLE orders ADD phone text; UPDATE orders SET phone = 'secret'").await;
    assert_eq!(example.columns("orders").await, "card contact customer_id id total");
    let change =
        "ALTER TABLE customers ADD passport text; UPDATE customers SET passport = 'secret'";
    example.source.exec(change).await;
    example.agent.wait_for_state("degraded").await;
    assert!(example.agent.log().contains("passport"), "{}", example.agent.log());
    assert!(!example.columns("customers").await.contains("passport"));
    example.end().await;
}

#[tokio::test]
async fn the_reporting_schema_has_what_is_paid() {
    let rows = "INSERT INTO sales.customers SELECT g, 'c' || g, 'c' || g || '@Host' || g % 3 || '.test', 'de'
            FROM generate_series(1, 20) g;
        INSERT INTO sales.orders SELECT g, 1 + g % 20, CASE g % 3 WHEN 0 THEN 'open' ELSE 'paid' END, g * 1.5,
            timestamptz '2023-12-30 22:30+00' + g * interval '7 h', 'secret' FROM generate_series(1, 200) g";
    let mut example = Example::run("reporting-schema.toml", rows).await;
    let paid = "(SELECT * FROM sales.orders WHERE status = 'paid' \
         AND placed_at >= '2024-01-01 00:00+00') AS o";
    let month = "id, customer_id, status, total, placed_at, \
         date_trunc('month', placed_at AT TIME ZONE 'Europe/Berlin')::date";
    let there = "id, customer_id, status, amount, placed_at, month";
    let customers = "id, name, lower(split_part(email, '@', 2)), country";
    let assert_arrived = async |example: &Example| {
        example.assert_arrived((paid, month), ("reporting.paid_orders", there)).await;
        let there = ("reporting.customers", "id, name, mail_domain, country");
        example.assert_arrived(("sales.customers", customers), there).await;
    };
    assert_arrived(&example).await;
    example
        .follow(
            "UPDATE sales.orders SET status = 'paid' WHERE status = 'open' AND id % 2 = 0;
             UPDATE sales.orders SET status = 'refunded' WHERE id % 7 = 1;
             UPDATE sales.orders SET placed_at = '2023-06-01' WHERE id % 11 = 0;
             UPDATE sales.orders SET placed_at = '2024-02-29 23:30+00', total = 7 WHERE id % 13 = 0;
             INSERT INTO sales.orders VALUES (1000, 1, 'paid', 9.99, '2024-05-31 22:30+00', 'secret');
             INSERT INTO sales.orders VALUES (1001, 1, 'open', 9.99, '2024-05-31 22:30+00', 'secret');
             DELETE FROM sales.orders WHERE id % 17 = 0;
             UPDATE sales.customers SET email = 'x@Elsewhere.test' WHERE id = 3; INSERT INTO sales.carts VALUES (1)",
        )
        .await;
    assert_arrived(&example).await;
    let stored = example.columns("reporting.customers").await;
    assert_eq!(stored, "country id mail_domain name");
    let tables = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_stat_user_tables \
         WHERE schemaname IN ('public', 'sales', 'reporting')";
    assert_eq!(example.destination.scalar(tables).await, "customers paid_orders");
    example.end().await;
}

#[tokio::test]
async fn the_migration_arrives_under_its_new_names() {
    let rows = "INSERT INTO tbl_usr (usr_nm, crt_dt) SELECT 'u' || g, date '2020-02-28' + g FROM generate_series(1, 50) g;
        INSERT INTO tbl_ord (usr_id, amt) SELECT 1 + g % 50, g FROM generate_series(1, 200) g;
        INSERT INTO settings VALUES ('a', '{\"b\": 1.50}')";
    let mut example = Example::run("renamed-migration.toml", rows).await;
    let assert_arrived = async |example: &Example| {
        let there = ("app.users", "id, name, created_on");
        example.assert_arrived(("tbl_usr", "usr_id, usr_nm, crt_dt"), there).await;
        let there = ("app.orders", "id, user_id, amount");
        example.assert_arrived(("tbl_ord", "ord_id, usr_id, amt"), there).await;
        example.assert_arrived(("settings", "key, value"), ("app.settings", "key, value")).await;
    };
    assert_arrived(&example).await;
    example
        .follow(
            "UPDATE tbl_ord SET amt = amt + 1 WHERE ord_id % 3 = 0; INSERT INTO tbl_usr (usr_nm) VALUES ('new');
             UPDATE tbl_usr SET usr_nm = 'renamed', crt_dt = NULL WHERE usr_id = 4;
             DELETE FROM tbl_usr WHERE usr_id = 5; UPDATE settings SET key = 'b'",
        )
        .await;
    assert_arrived(&example).await;
    assert_eq!(example.agent.terminate().await, Some(0));
    // The move, as the file tells it.
    example.source.exec("INSERT INTO tbl_ord (usr_id, amt) VALUES (1, 1), (2, 2)").await;
    let listen = "http.listen=\"off\"";
    let output = example.agent.verb(&["run", "--until", "caught-up", "--set", listen]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_arrived(&example).await;
    let text = std::fs::read_to_string(folder().join("renamed-migration.toml")).expect("text");
    let sequences: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("#     SELECT ")).collect();
    assert_eq!(sequences.len(), 2);
    for statement in sequences {
        example.destination.exec(&format!("SELECT {statement}")).await;
    }
    // The application writes there now, and everything that guards its rows is there.
    example.destination.exec("INSERT INTO app.orders (user_id, amount) VALUES (1, 10)").await;
    for (refused, code) in [
        ("INSERT INTO app.orders (user_id, amount) VALUES (5, 10)", "23503"),
        ("INSERT INTO app.orders (user_id, amount) VALUES (1, -10)", "23514"),
        ("INSERT INTO app.users (name) VALUES ('renamed')", "23505"),
    ] {
        let error = example.destination.try_exec(refused).await.expect_err(refused);
        assert_eq!(error.code().map(|code| code.code()), Some(code), "{refused}");
    }
    let output = example.agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(example.source.count("pg_replication_slots").await, 0);
    assert_eq!(example.source.count("pg_publication").await, 0);
}

#[tokio::test]
async fn the_tenants_are_in_one_table() {
    let rows = "INSERT INTO acme.orders SELECT g, 'code ' || g, g FROM generate_series(1, 100) g;
        INSERT INTO bolt.orders SELECT g, 'code ' || g, -g FROM generate_series(50, 150) g";
    let mut example = Example::run("multi-tenant-merge.toml", rows).await;
    let all = "(SELECT 'acme' AS tenant, * FROM acme.orders UNION ALL SELECT 'bolt', * FROM bolt.orders) AS o";
    let columns = "tenant, id, code, total";
    example.assert_arrived((all, columns), ("orders", columns)).await;
    example
        .follow(
            "UPDATE acme.orders SET total = 1, code = NULL WHERE id % 3 = 0; DELETE FROM bolt.orders WHERE id % 2 = 0;
             UPDATE bolt.orders SET id = 1000 WHERE id = 51; INSERT INTO acme.orders VALUES (1000, 'new', 2);
             DELETE FROM acme.orders WHERE id = 51",
        )
        .await;
    example.assert_arrived((all, columns), ("orders", columns)).await;
    example.follow("TRUNCATE acme.orders; INSERT INTO acme.orders VALUES (1, 'after', 3)").await;
    example.assert_arrived((all, columns), ("orders", columns)).await;
    let key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype = 'p'";
    assert_eq!(example.destination.scalar(key).await, "PRIMARY KEY (tenant, id)");
    example.end().await;
}

#[tokio::test]
async fn the_archive_marks_what_is_deleted() {
    let rows = "INSERT INTO orders SELECT g, 'c' || g, 'code ' || g FROM generate_series(1, 30) g;
        INSERT INTO events SELECT g, 'e' || g FROM generate_series(1, 30) g;
        CREATE TABLE gone_orders AS TABLE orders WITH NO DATA; CREATE TABLE gone_events AS TABLE events WITH NO DATA";
    let mut example = Example::run("soft-delete.toml", rows).await;
    let before = example.source.scalar("SELECT clock_timestamp()").await;
    example
        .follow(
            "WITH gone AS (DELETE FROM orders WHERE id % 3 = 0 RETURNING *) INSERT INTO gone_orders TABLE gone;
             WITH gone AS (DELETE FROM events WHERE id % 3 = 0 RETURNING *) INSERT INTO gone_events TABLE gone;
             UPDATE orders SET customer = 'another' WHERE id % 5 = 1; INSERT INTO events VALUES (100, 'new');
             INSERT INTO orders VALUES (100, 'the code is free again', 'code 3'), (6, 'back again', 'six');
             DELETE FROM gone_orders WHERE id = 6",
        )
        .await;
    let after = example.source.scalar("SELECT clock_timestamp()").await;
    let is_gone =
        "(SELECT *, false AS gone FROM orders UNION ALL SELECT *, true FROM gone_orders) AS o";
    let here = (is_gone, "id, customer, code, gone");
    example.assert_arrived(here, ("orders", "id, customer, code, deleted_at IS NOT NULL")).await;
    let all = "(TABLE events UNION ALL TABLE gone_events) AS e";
    example.assert_arrived((all, "id, what"), ("events", "id, what")).await;
    let times = format!(
        "SELECT bool_and(deleted_at BETWEEN '{before}' AND '{after}') FROM orders WHERE deleted_at IS NOT NULL"
    );
    assert_eq!(example.destination.scalar(&times).await, "t");
    example.end().await;
}

#[tokio::test]
async fn the_price_list_is_dearer_by_a_tenth() {
    let rows = "INSERT INTO products SELECT g, 'p' || g, g * 1.01 FROM generate_series(1, 100) g;
        INSERT INTO products VALUES (0, 'priceless', NULL)";
    let mut example = Example::run("price-list.toml", rows).await;
    let here = ("products", "id, name, price * 1.10");
    let there = ("products_transformed", "id, name, price");
    example.assert_arrived(here, there).await;
    example
        .follow(
            "UPDATE products SET price = price + 0.05 WHERE id % 2 = 0; UPDATE products SET name = 'renamed' WHERE id = 3;
             UPDATE products SET id = 1000 WHERE id = 4; DELETE FROM products WHERE id = 5;
             INSERT INTO products VALUES (101, 'new', 9.99); UPDATE products SET price = 1 WHERE price IS NULL",
        )
        .await;
    example.assert_arrived(here, there).await;
    let new = "SELECT price FROM products_transformed WHERE id = 101";
    assert_eq!(example.destination.scalar(new).await, "10.9890", "as the file says");
    example.end().await;
}

#[tokio::test]
async fn the_payroll_has_no_salary() {
    let rows = "INSERT INTO employees SELECT g, 'e' || g, 20 + g % 40, g * 1000.10 FROM generate_series(1, 100) g;
        INSERT INTO employees (id, name) VALUES (0, 'unpaid')";
    let mut example = Example::run("payroll.toml", rows).await;
    let here = ("employees", "id, name, age + 1, salary * 0.8");
    let there = ("employees", "id, name, age, salary_after_tax");
    example.assert_arrived(here, there).await;
    example
        .follow(
            "UPDATE employees SET salary = salary * 1.03 WHERE id % 2 = 0; UPDATE employees SET age = age + 1 WHERE id % 3 = 0;
             UPDATE employees SET name = 'renamed' WHERE id = 7; DELETE FROM employees WHERE id = 8;
             INSERT INTO employees VALUES (101, 'new', 64, 5000); ALTER TABLE employees ADD bonus numeric DEFAULT 100;
             UPDATE employees SET bonus = 1000 WHERE id = 9",
        )
        .await;
    example.assert_arrived(here, there).await;
    assert_eq!(example.columns("employees").await, "age id name salary_after_tax");
    example.end().await;
}

#[tokio::test]
async fn the_backfill_brings_aggregates() {
    let rows = "INSERT INTO users SELECT g, 'u' || g, CASE g % 3 WHEN 0 THEN 'de' ELSE 'fr' END FROM generate_series(1, 20) g;
        INSERT INTO orders SELECT g, 1 + g % 20, g * 1.25, timestamptz '2024-01-01 00:00+00' + g * interval '10 h'
            FROM generate_series(1, 300) g";
    let example = Example::prepare("aggregate-backfill.toml", rows).await;
    let totals =
        "(SELECT user_id, count(*) AS orders, sum(total) AS total FROM orders GROUP BY 1) AS t";
    let revenue = "(SELECT country, date_trunc('month', placed_at, 'UTC')::date AS month, sum(total) AS revenue \
         FROM orders JOIN users ON users.id = user_id GROUP BY 1, 2) AS r";
    let assert_arrived = async |example: &Example| {
        let columns = "user_id, orders, total";
        example.assert_arrived((totals, columns), ("reports.order_totals", columns)).await;
        let columns = "country, month, revenue";
        example.assert_arrived((revenue, columns), ("reports.monthly_revenue", columns)).await;
    };
    let checked = example.agent.verb(&["check"]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let output = example.agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_arrived(&example).await;
    example
        .source
        .exec("DELETE FROM orders WHERE user_id = 3; UPDATE orders SET total = total + 1")
        .await;
    let output = example.agent.verb(&["snapshot", "--restart", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_arrived(&example).await;
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND connamespace = 'reports'::regnamespace";
    assert_eq!(example.destination.scalar(keys).await, "2");
    assert_eq!(example.source.count("pg_replication_slots").await, 0);
}
