//! Every step of the agent against the SQL that defines it, over random values: the same rows by copy, as
//! inserts, as updates and after a resync. `SYNC_AGENT_SEED` brings the same values again.

use std::fmt::Write as _;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};
use crate::support::random::Random;

const KEY: &str = "pepper";
const ROWS: u64 = 250;

/// What each column becomes, beside the SQL that says it.
const STEPS: &[(&str, &str, &str, &str)] = &[
    ("m_full", "text", r#"{ mask = "full" }"#, "repeat('*', char_length(m_full))"),
    ("m_mail", "varchar(60)", r#"{ mask = "email" }"#, "mask_email(m_mail)"),
    (
        "m_parts",
        "char(20)",
        r#"{ mask = { keep_first = 2, keep_last = 3, with = "█" } }"#,
        "mask_parts(m_parts::text, 2, 3, '█')::char(20)",
    ),
    (
        "m_name",
        "name",
        r#"{ mask = { keep_last = 4, with = "x" } }"#,
        "mask_parts(m_name::text, 0, 4, 'x')",
    ),
    ("lows", "varchar(60)", "{ lower = true }", r#"lower(lows COLLATE "C.utf8")"#),
    ("trims", "text", "{ trim = true }", r"btrim(trims, E' \t\n\x0B\f\r')"),
    (
        "swaps",
        "text",
        r#"{ replace = { pattern = "([0-9a-f])-([^a]?)|[@*]+", with = "<$2$1$$>" } }"#,
        r"regexp_replace(swaps, '([0-9a-f])-([^a]?)|[@*]+', '<\2\1$>', 'g')",
    ),
    (
        "chains",
        "text",
        r#"[{ trim = true }, { lower = true }, { replace = { pattern = "[0-9]", with = "0" } }, { mask = "email" }]"#,
        r#"mask_email(regexp_replace(lower(btrim(chains, E' \t\n\x0B\f\r') COLLATE "C.utf8"), '[0-9]', '0', 'g'))"#,
    ),
    (
        "hashes",
        "varchar(60)",
        r#"[{ trim = true }, { hash = "hmac-sha256", key = "pepper" }, { mask = { keep_first = 60 } }]"#,
        r"mask_parts(encode(hmac(btrim(hashes, E' \t\n\x0B\f\r'), 'pepper', 'sha256'), 'hex'), 60, 0, '*')",
    ),
    (
        "jb",
        "jsonb",
        r#"{ json_drop = ["address.street", "tags.0", "tags.-1", "orders.*.card", '"a.b"'] }"#,
        "json_dropped(jb)",
    ),
    (
        "js",
        "json",
        r#"{ json_drop = ["address.street", "tags.0", "tags.-1", "orders.*.card", '"a.b"'] }"#,
        "json_dropped(js::jsonb)",
    ),
    (
        "js_hash",
        "jsonb",
        r#"[{ json_drop = ["tags"] }, { hash = "sha256" }]"#,
        "encode(sha256(convert_to(without(js_hash, 'tags')::text, 'UTF8')), 'hex')",
    ),
    ("f_uuid", "uuid", r#"{ fake = "uuid", key = "pepper" }"#, "fake_uuid(f_uuid::text)"),
    (
        "f_uuid_text",
        "text",
        r#"[{ trim = true }, { fake = "uuid", key = "pepper" }]"#,
        r"fake_uuid(btrim(f_uuid_text, E' \t\n\x0B\f\r'))::text",
    ),
    ("f_phone", "varchar(12)", r#"{ fake = "phone", key = "pepper" }"#, "fake_phone(f_phone)"),
    ("same", "json", r#"{ json_drop = ["nowhere", "a.b.c"] }"#, "same::text"),
    (
        "still",
        "bpchar",
        r#"[{ trim = true }, { replace = { pattern = "no such text", with = "" } }]"#,
        "still",
    ),
    ("plain", "jsonb", r#"{ rename = "renamed" }"#, "plain"),
];

/// Types whose values do not travel in binary, or that are known by name only.
const TEXT_STEPS: &[(&str, &str, &str, &str)] = &[
    ("f_date", "date", r#"{ fake = "phone", key = "pepper" }"#, "fake_phone(f_date::text)"),
    ("c_low", "citext", r#"{ lower = true }"#, r#"lower(c_low::text COLLATE "C.utf8")"#),
    ("d_mail", "mail", r#"{ mask = "email" }"#, "mask_email(d_mail::text)"),
    ("d_c", "cmail", r#"{ mask = "full" }"#, "repeat('*', char_length(d_c::text))"),
    (
        "n_hash",
        "numeric",
        r#"{ hash = "hmac-sha256", key = "pepper" }"#,
        "encode(hmac(n_hash::text, 'pepper', 'sha256'), 'hex')",
    ),
    (
        "d_json",
        "doc",
        r#"{ json_drop = ["address.street", "tags.0", "tags.-1", "orders.*.card", '"a.b"'] }"#,
        "json_dropped(d_json::jsonb)",
    ),
    ("e_hash", "mood", r#"{ fake = "uuid", key = "pepper" }"#, "fake_uuid(e_hash::text)::text"),
];

/// The defining expressions that are too long to stand in a table.
const FUNCTIONS: &str = r#"
CREATE EXTENSION pgcrypto; CREATE EXTENSION citext;
CREATE DOMAIN mail AS varchar(60) CHECK (char_length(VALUE) < 50 AND VALUE !~ '^\*');
CREATE DOMAIN cmail AS citext; CREATE DOMAIN doc AS jsonb; CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE FUNCTION mask_parts(v text, a int, b int, c text) RETURNS text LANGUAGE sql AS $$
  SELECT CASE WHEN char_length(v) <= a + b THEN repeat(c, char_length(v))
         ELSE left(v, a) || repeat(c, char_length(v) - a - b) || right(v, b) END $$;
CREATE FUNCTION mask_email(v text) RETURNS text LANGUAGE sql AS $$
  SELECT CASE WHEN n < 1 OR v !~ '@' THEN repeat('*', char_length(v)) WHEN n = 1 THEN '*' || right(v, -1)
         ELSE left(v, 1) || repeat('*', n - 1) || right(v, -n) END
    FROM (SELECT char_length(regexp_replace(v, '@[^@]*$', '')) AS n) AS x $$;
CREATE FUNCTION without(v jsonb, VARIADIC path text[]) RETURNS jsonb LANGUAGE plpgsql AS $$
  BEGIN RETURN v #- path; EXCEPTION WHEN OTHERS THEN RETURN v; END $$;
CREATE FUNCTION json_dropped(v jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
  DECLARE k text; many boolean := jsonb_typeof(v->'tags') = 'array' AND jsonb_array_length(v->'tags') > 1;
  BEGIN
    v := without(without(v, 'address', 'street'), 'a.b');
    v := without(v, 'tags', '0');
    -- Both speak of the value as it was, whose last may have been its first.
    IF many OR jsonb_typeof(v->'tags') = 'object' THEN v := without(v, 'tags', '-1'); END IF;
    IF jsonb_typeof(v->'orders') = 'array' THEN
      FOR i IN 0..jsonb_array_length(v->'orders') - 1 LOOP v := without(v, 'orders', i::text, 'card'); END LOOP;
    ELSIF jsonb_typeof(v->'orders') = 'object' THEN
      FOR k IN SELECT jsonb_object_keys(v->'orders') LOOP v := without(v, 'orders', k, 'card'); END LOOP;
    END IF;
    RETURN v;
  END $$;
CREATE FUNCTION fake_uuid(v text) RETURNS uuid LANGUAGE sql AS $$
  SELECT encode(set_byte(set_byte(d, 6, get_byte(d, 6) & 15 | 64), 8, get_byte(d, 8) & 63 | 128), 'hex')::uuid
    FROM (SELECT substr(hmac(v, 'pepper', 'sha256'), 1, 16) AS d) AS x $$;
CREATE FUNCTION fake_phone(v text) RETURNS text LANGUAGE sql AS $$
  SELECT '+1' || 2 + get_byte(d, 3) % 8 || lpad((get_byte(d, 4) % 90)::text, 2, '0') || '55501'
         || lpad((get_byte(d, 5) % 100)::text, 2, '0')
    FROM (SELECT hmac(v, 'pepper', 'sha256') AS d) AS x $$;
"#;

/// Draws values of every kind as SQL.
struct Values(Random);

impl Values {
    fn text(&mut self, longest: u64) -> String {
        const SPECIAL: &str = " \t\n\r\u{b}\u{c}@@@**--$\\'\"{}09azAZäÄßẞİıΣσ€😀#.\u{a0}";
        let special: Vec<char> = SPECIAL.chars().collect();
        let mut literal = "E'".to_owned();
        for _ in 0..self.0.between(0, longest) {
            // Letters that came to Unicode lately have a lower case on one side only.
            let limit = self.0.of(&[0x80, 0x800, 0x1c00]);
            let any = u32::try_from(self.0.between(1, limit)).ok().and_then(char::from_u32);
            let code = if self.0.one_in(4) { any.unwrap_or('x') } else { self.0.of(&special) };
            write!(literal, "\\U{:08X}", u32::from(code)).expect("a String takes text");
        }
        literal + "'"
    }

    fn white_space(&mut self) -> &'static str {
        self.0.of(&["", "", " ", "\n", "\t "])
    }

    fn json(&mut self, depth: u64) -> String {
        const SCALARS: [&str; 12] = [
            "null",
            "true",
            "1.50",
            "-0",
            "1e400",
            "12345678901234567890.10",
            "\"\"",
            r#""tags""#,
            r#""é\u00e9\"\\/{[""#,
            r#""😀,]}""#,
            "0.0e-3",
            "false",
        ];
        const KEYS: [&str; 8] =
            ["address", "street", "tags", "orders", "card", "a.b", r#"c\"d"#, r"\u0061ddress"];
        let (open, close, keyed) = match self.0.between(0, if depth == 0 { 0 } else { 3 }) {
            0 => return self.0.of(&SCALARS).to_owned(),
            1 => ('[', ']', false),
            _ => ('{', '}', true),
        };
        let mut keys: Vec<&str> = KEYS.to_vec();
        // No key twice: of those the json of the expectation would keep the last one.
        keys.remove(if self.0.one_in(2) { 0 } else { 7 });
        let members: Vec<String> = (0..self.0.between(0, 3))
            .map(|_| {
                let key = keys.remove(usize::try_from(self.0.next()).unwrap_or(0) % keys.len());
                let (a, b, c) = (self.white_space(), self.white_space(), self.white_space());
                let value = self.json(depth - 1);
                if keyed {
                    format!("{a}\"{key}\"{b}:{c}{value}{a}")
                } else {
                    format!("{a}{value}{b}")
                }
            })
            .collect();
        let inside = self.white_space();
        let joined = if members.is_empty() { inside.to_owned() } else { members.join(",") };
        format!("{open}{joined}{close}")
    }

    /// One value of a column's type.
    fn of(&mut self, type_name: &str) -> String {
        if self.0.one_in(12) {
            return "NULL".to_owned();
        }
        match type_name {
            "jsonb" | "json" | "doc" => format!("$json${}$json$", self.json(4)),
            "uuid" => format!("md5({}::text)::uuid", self.0.between(0, 40)),
            "date" => format!("'2000-01-01'::date + {}", self.0.between(0, 9_000)),
            "numeric" => format!("{}.{}0", self.0.between(0, 99), self.0.between(0, 9)),
            "mood" => self.0.of(&["'sad'", "'ok'"]).to_owned(),
            "char(20)" => format!("rtrim({}, ' ')", self.text(16)),
            "name" => self.text(8),
            "varchar(12)" | "mail" => format!("{}::text", self.text(11).replacen("E'", "E'x", 1)),
            "bpchar" => format!("btrim({}, E' \\t\\n\\x0B\\f\\r')", self.text(9)),
            _ => self.text(20),
        }
    }
}

fn table_sql(name: &str, columns: &[(&str, &str, &str, &str)]) -> String {
    let columns: Vec<String> =
        columns.iter().map(|(name, type_name, ..)| format!("{name} {type_name}")).collect();
    format!("CREATE TABLE {name} (id int PRIMARY KEY, untouched text, {});", columns.join(", "))
}

fn section(name: &str, columns: &[(&str, &str, &str, &str)]) -> String {
    let steps: Vec<String> =
        columns.iter().map(|(name, _, step, _)| format!("{name} = {step}\n")).collect();
    format!("[[table]]\nname = \"public.{name}\"\n[table.columns]\n{}", steps.concat())
}

fn insert_sql(name: &str, columns: &[(&str, &str, &str, &str)], values: &mut Values) -> String {
    let row = |id: u64, values: &mut Values| {
        let drawn: Vec<String> = columns.iter().map(|(_, name, ..)| values.of(name)).collect();
        format!("({id}, 'u{id}', {})", drawn.join(", "))
    };
    let rows: Vec<String> = (1..=ROWS).map(|id| row(id, values)).collect();
    format!("INSERT INTO {name} VALUES {};", rows.join(",\n"))
}

async fn assert_defined(
    source: &Cluster,
    destination: &Cluster,
    name: &str,
    columns: &[(&str, &str, &str, &str)],
) {
    let expected: Vec<&str> = columns.iter().map(|(.., expression)| *expression).collect();
    // White space of json is told apart by "same"; a parsed one shows what is left.
    let arrived = |(name, ..): &(&str, &str, &str, &str)| match *name {
        "js" => "js::jsonb".to_owned(),
        "same" => "same::text".to_owned(),
        "plain" => "renamed".to_owned(),
        name => name.to_owned(),
    };
    let arrived: Vec<String> = columns.iter().map(arrived).collect();
    let pair = Pair::table(name).columns(
        &format!("id, untouched, {}", expected.join(", ")),
        &format!("id, untouched, {}", arrived.join(", ")),
    );
    assert_pair(source, destination, pair).await;
}

/// The same table three times: filled before the copy, by inserts, by updates.
async fn by_every_way(
    source: &Cluster,
    destination: &Cluster,
    columns: &[(&str, &str, &str, &str)],
    values: &mut Values,
) {
    const TABLES: [&str; 3] = ["copied", "inserted", "updated"];
    for name in TABLES {
        source.exec(&table_sql(name, columns)).await;
    }
    source.exec(&insert_sql("copied", columns, values)).await;
    source.exec(&format!("INSERT INTO updated (id) SELECT generate_series(1, {ROWS})")).await;
    let is_binary = columns.len() == STEPS.len();
    let mut agent = Agent::between(source, destination);
    for name in TABLES {
        agent = agent.section(&section(name, columns));
    }
    agent.start_and_stream().await;
    assert!(agent.log().contains(&format!("\"binary\":{is_binary}")), "{}", agent.log());
    source.exec("INSERT INTO inserted SELECT * FROM copied").await;
    let names: Vec<&str> = columns.iter().map(|(name, ..)| *name).collect();
    let sets: Vec<String> = names.iter().map(|name| format!("{name} = copied.{name}")).collect();
    let set = sets.join(", ");
    source
        .exec(&format!("UPDATE updated SET {set} FROM copied WHERE copied.id = updated.id"))
        .await;
    source.exec("UPDATE updated SET untouched = 'u' || id").await;
    agent.caught_up().await;
    for name in TABLES {
        assert_defined(source, destination, name, columns).await;
    }
    let output = agent.verb(&["resync", "--table", "public.inserted", "--yes"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let waited = agent.verb(&["wait", "--for", "streaming", "--timeout", "60s"]).await;
    assert_eq!(waited.code, 0, "{waited:?}");
    source.exec("DELETE FROM inserted WHERE id = 1; INSERT INTO inserted SELECT * FROM copied WHERE id = 1").await;
    agent.caught_up().await;
    assert_defined(source, destination, "inserted", columns).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn each_step_gives_what_its_sql_gives_by_every_way() {
    let (source, destination) = pair().await;
    source.exec(FUNCTIONS).await;
    let mut values = Values(Random::seeded("steps"));
    by_every_way(&source, &destination, STEPS, &mut values).await;
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) \
         FROM pg_attribute WHERE attrelid = 'copied'::regclass AND attnum > 2";
    let expected = "text, character varying(60), character(20), text, character varying(60), text, text, \
         text, text, jsonb, json, text, uuid, text, character varying(12), json, bpchar, jsonb";
    assert_eq!(destination.scalar(types).await, expected);
}

#[tokio::test]
async fn each_step_gives_the_same_where_values_travel_as_text() {
    let (source, destination) = pair().await;
    source.exec(FUNCTIONS).await;
    destination.exec("CREATE EXTENSION citext").await;
    let mut values = Values(Random::seeded("steps as text"));
    let columns: Vec<_> = STEPS.iter().chain(TEXT_STEPS).copied().collect();
    by_every_way(&source, &destination, &columns, &mut values).await;
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) \
         FROM pg_attribute WHERE attrelid = 'copied'::regclass AND attnum > 20";
    let expected = "text, citext, character varying(60), text, text, jsonb, text";
    assert_eq!(destination.scalar(types).await, expected);
}

/// Keys of every form that a step may have, and a large value that the stream does not send again.
#[tokio::test]
async fn keys_that_are_made_follow_and_unsent_values_stay() {
    let (source, destination) = pair().await;
    source.exec(FUNCTIONS).await;
    source
        .exec(
            "CREATE TABLE devices (id uuid PRIMARY KEY, n int, big text); ALTER TABLE devices ALTER big SET STORAGE EXTERNAL;
             CREATE TABLE parts (d uuid, no int, big jsonb, PRIMARY KEY (d, no));
             CREATE TABLE whole (name text, n int); ALTER TABLE whole REPLICA IDENTITY FULL;
             INSERT INTO devices SELECT md5(g::text)::uuid, g, repeat('Ab@c', 3000) FROM generate_series(1, 40) g;
             INSERT INTO parts SELECT md5(g::text)::uuid, n, jsonb_build_object('secret', g, 'kept', \
               (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i)) \
               FROM generate_series(1, 20) g, generate_series(1, 3) n;
             INSERT INTO whole SELECT 'name ' || g % 5, g % 3 FROM generate_series(1, 30) g",
        )
        .await;
    let steps = r#"
[[table]]
name = "public.devices"
[table.columns]
id = { fake = "uuid", key = "pepper" }
big = [{ lower = true }, { mask = { keep_first = 3, keep_last = 3 } }]
[[table]]
name = "public.parts"
[table.columns]
d = { fake = "uuid", key = "pepper" }
no = { hash = "hmac-sha256", key = "pepper" }
big = { json_drop = ["secret"] }
[[table]]
name = "public.whole"
[table.columns]
name = { mask = { keep_last = 1 } }
"#;
    let mut agent = Agent::between(&source, &destination).section(steps);
    agent.start_and_stream().await;
    source
        .exec(
            "UPDATE devices SET n = -n WHERE n < 10; UPDATE devices SET id = md5('x' || n)::uuid WHERE n BETWEEN 5 AND 15;
             DELETE FROM devices WHERE n > 35; UPDATE devices SET big = 'short' WHERE n = 20;
             BEGIN; UPDATE devices SET n = 100 WHERE n = 21; UPDATE devices SET id = md5('y')::uuid WHERE n = 100;
             UPDATE devices SET n = 101 WHERE n = 100; COMMIT;
             UPDATE parts SET no = no + 10 WHERE no = 2; DELETE FROM parts WHERE no = 3;
             UPDATE parts SET big = big || '{\"secret\": [1]}' WHERE no = 1;
             UPDATE whole SET n = 7 WHERE name = 'name 1'; DELETE FROM whole WHERE name = 'name 2' AND n = 1",
        )
        .await;
    agent.caught_up().await;
    for (table, expected, arrived) in [
        ("devices", "fake_uuid(id::text), n, mask_parts(lower(big), 3, 3, '*')", "id, n, big"),
        (
            "parts",
            "fake_uuid(d::text), encode(hmac(no::text, 'pepper', 'sha256'), 'hex'), big - 'secret'",
            "d, no, big",
        ),
        ("whole", "mask_parts(name, 0, 1, '*'), n", "name, n"),
    ] {
        assert_pair(&source, &destination, Pair::table(table).columns(expected, arrived)).await;
    }
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn made_up_values_are_the_same_everywhere_and_apart_where_they_must_be() {
    let (source, destination) = pair().await;
    source.exec("CREATE EXTENSION pgcrypto").await;
    source
        .exec(
            "CREATE TABLE people (mail text PRIMARY KEY, who uuid UNIQUE, full_name text, first text, last text, \
               tag text UNIQUE, digest text);
             CREATE TABLE orders (id int PRIMARY KEY, mail text, full_name text, tag text);
             INSERT INTO people SELECT 'u' || g, md5(g::text)::uuid, 'u' || g, 'u' || g, 'u' || g, 'u' || g, \
               'u' || g FROM generate_series(1, 3000) g;
             INSERT INTO orders SELECT g, 'u' || g, 'u' || g, 'u' || g FROM generate_series(1, 20) g",
        )
        .await;
    let fake = |kind: &str| format!("{{ fake = \"{kind}\", key = \"{KEY}\" }}");
    let steps = format!(
        "[[table]]\nname = \"public.people\"\n[table.columns]\nmail = {}\nwho = {}\nfull_name = {}\n\
         first = {}\nlast = {}\ntag = {}\ndigest = {{ hash = \"hmac-sha256\", key = \"{KEY}\" }}\n\
         [[table]]\nname = \"public.orders\"\n[table.columns]\nmail = {}\nfull_name = {}\ntag = {}",
        fake("email"),
        fake("uuid"),
        fake("name"),
        fake("first_name"),
        fake("last_name"),
        fake("phone"),
        fake("email"),
        fake("name"),
        fake("phone"),
    );
    let mut agent = Agent::between(&source, &destination).section(&steps);
    agent.start_and_stream().await;
    source
        .exec(
            "INSERT INTO people SELECT 'u' || g, md5(g::text)::uuid, 'u' || g, 'u' || g, 'u' || g, 'u' || g, \
               'u' || g FROM generate_series(3001, 4000) g;
             INSERT INTO orders SELECT g, 'u' || g, 'u' || g, 'u' || g FROM generate_series(3001, 3020) g;
             UPDATE people SET mail = 'moved', digest = 'moved', full_name = 'moved', first = 'moved', last = 'moved', \
               tag = 'moved' WHERE mail = 'u1';
             UPDATE people SET full_name = 'other' WHERE mail = 'u2';
             DELETE FROM people WHERE mail = 'u3'",
        )
        .await;
    agent.caught_up().await;
    let destination_says = async |sql: &str| destination.scalar(sql).await;
    assert_eq!(destination.count("people").await, 3_999);
    let apart = "SELECT count(DISTINCT mail) || ' ' || count(DISTINCT who) || ' ' || count(DISTINCT tag) FROM people";
    assert_eq!(destination_says(apart).await, "3999 3999 3999");
    // Of the digest: which name it is, and what keeps the others apart.
    let made = "SELECT count(*) FROM people WHERE mail <> format('%s.%s.%s@example.%s', lower(first), lower(last), \
         substr(digest, 13, 20), (ARRAY['com', 'org', 'net'])[1 + ('x' || substr(digest, 5, 2))::bit(8)::int % 3])";
    assert_eq!(destination_says(made).await, "0");
    let chosen = "SELECT count(DISTINCT (left(digest, 2), first)) || ' ' || count(DISTINCT (substr(digest, 3, 2), last)) \
         || ' ' || count(DISTINCT first) || ' ' || count(DISTINCT last) FROM people";
    assert_eq!(destination_says(chosen).await, "256 256 256 256");
    let joined = "SELECT count(*) FROM orders JOIN people USING (mail)";
    assert_eq!(destination_says(joined).await, "38");
    let tags = "SELECT count(*) FROM orders JOIN people USING (mail) WHERE people.tag LIKE orders.tag || 'x%' \
         AND orders.full_name = people.full_name";
    assert_eq!(destination_says(tags).await, "37", "u2 has another name");
}
