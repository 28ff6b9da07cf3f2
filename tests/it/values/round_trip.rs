//! Random values of random types, with the servers as the oracle: what arrives, by copy and by tail, is
//! what the source's server shows. `SYNC_AGENT_SEED` brings the same values again.

use std::fmt::Write as _;

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

/// Reproducible noise (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Any code point that text may hold; those that mean something to COPY and SQL more often.
    fn text(&mut self) -> String {
        const SPECIAL: &[char] =
            &['\\', 'N', '.', '\t', '\n', '\r', '"', '\'', '{', '}', ',', '(', ')', ' ', '\0'];
        let mut literal = "E'".to_owned();
        for _ in 0..self.below(12) {
            let special = SPECIAL[self.below(SPECIAL.len() as u64) as usize] as u32;
            let limit = [0x80, 0x800, 0x1_0000, 0x11_0000][self.below(4) as usize];
            let any = self.below(limit) as u32;
            let code = if self.one_in(3) { special } else { any };
            let code = char::from_u32(code).map_or('x' as u32, |found| found as u32);
            write!(literal, "\\U{:08X}", code.max(1)).expect("a String takes text");
        }
        literal + "'"
    }

    fn bytes(&mut self) -> String {
        let count = self.below(10);
        (0..count).map(|_| format!("{:02x}", self.below(256))).collect()
    }

    fn digits(&mut self, most: u64) -> String {
        let count = 1 + self.below(most);
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }

    fn numeric(&mut self) -> String {
        match self.below(12) {
            0 => "'NaN'".to_owned(),
            1 => "'-Infinity'".to_owned(),
            _ => {
                let sign = if self.one_in(2) { "-" } else { "" };
                format!(
                    "'{sign}{}.{}e{}'",
                    self.digits(40),
                    self.digits(40),
                    self.below(80) as i64 - 40
                )
            }
        }
    }

    /// By its bits; every float has a shortest text that gives the same bits again.
    fn float(&mut self) -> String {
        let float = f64::from_bits(self.next());
        if float.is_finite() { format!("'{float:e}'") } else { "'-Infinity'".to_owned() }
    }

    fn real(&mut self) -> String {
        let float = f32::from_bits(self.next() as u32);
        if float.is_finite() { format!("'{float:e}'") } else { "'NaN'".to_owned() }
    }

    /// Microseconds around 2000, within what every time type holds.
    fn time(&mut self) -> String {
        let span = [1_000_000, 1 << 40, 1 << 57][self.below(3) as usize];
        let micros = self.below(span) as i64 - (span / 2) as i64;
        format!("(timestamp '2000-01-01' + make_interval(secs => {micros} / 1e6::numeric))")
    }

    fn interval(&mut self) -> String {
        let part = |noise: &mut Self| noise.below(1 << 31) as i64 - (1 << 30);
        let (months, days, micros) = (part(self), part(self), self.next() as i64 / 4);
        format!(
            "(interval '{months} mons {days} days' + interval '1 microsecond' * {micros}::float8)"
        )
    }

    fn address(&mut self) -> String {
        let byte = |noise: &mut Self| noise.below(256);
        let (a, b, c, d) = (byte(self), byte(self), byte(self), byte(self));
        match self.one_in(2) {
            true => format!("'{a}.{b}.{c}.{d}/{}'", self.below(33)),
            false => format!("'{a:x}{b:02x}:{c:x}::{d:x}/{}'", self.below(129)),
        }
    }

    /// An expression of the type.
    fn value(&mut self, type_name: &str) -> String {
        if self.one_in(8) {
            return "NULL".to_owned();
        }
        if let Some(element) = type_name.strip_suffix("[]") {
            let count = self.below(5);
            let elements: Vec<String> = (0..count).map(|_| self.typed(element)).collect();
            return format!("ARRAY[{}]", elements.join(", "));
        }
        match type_name {
            "int" => (self.next() as i32).to_string(),
            "bigint" => format!("'{}'", self.next() as i64),
            "numeric" => self.numeric(),
            "float8" => self.float(),
            "real" => self.real(),
            "bytea" => format!(r"'\x{}'", self.bytes()),
            "uuid" => format!("md5('{}')::uuid", self.next()),
            "varbit" => format!("'{:b}'", self.below(1 << 20)),
            "timestamp" => self.time(),
            "timestamptz" => format!("({} AT TIME ZONE 'UTC')", self.time()),
            "date" => format!("{}::date", self.time()),
            "time" => format!("{}::time", self.time()),
            "interval" => self.interval(),
            "inet" => self.address(),
            "json" => {
                format!(
                    "'  {{\"a\" :' || to_json({}::text)::text || ', \"a\": [1.10 ]}} '",
                    self.text()
                )
            }
            "jsonb" => {
                format!("jsonb_build_object({}::text, {}::numeric)", self.text(), self.digits(30))
            }
            "point" => format!("point({}::float8, {}::float8)", self.float(), self.float()),
            "tsrange" => {
                let (a, b) = (self.time(), self.time());
                let bounds = ["[]", "()", "[)", "(]"][self.below(4) as usize];
                format!("tsrange(least({a}, {b}), greatest({a}, {b}), '{bounds}')")
            }
            "int8range" => {
                let (a, b) = (self.next() as i64 / 2, self.next() as i64 / 2);
                format!("int8range({}, {})", a.min(b), a.max(b))
            }
            "mood" => ["'a'", "'it''s, \"b\"'", "'ü\\'"][self.below(3) as usize].to_owned(),
            "made" => {
                let (n, t, f) = (self.typed("numeric"), self.typed("text"), self.typed("float8[]"));
                format!("ROW({n}, {t}, {f}, {})", self.typed("mood"))
            }
            _ => self.text(),
        }
    }

    fn typed(&mut self, type_name: &str) -> String {
        format!("({})::{type_name}", self.value(type_name))
    }
}

const TYPES: &[&str] = &[
    "int",
    "bigint",
    "numeric",
    "float8",
    "real",
    "text",
    "bytea",
    "uuid",
    "varbit",
    "timestamp",
    "timestamptz",
    "date",
    "time",
    "interval",
    "inet",
    "json",
    "jsonb",
    "point",
    "tsrange",
    "int8range",
    "mood",
    "made",
];

const MADE: &str = "CREATE TYPE mood AS ENUM ('a', 'it''s, \"b\"', 'ü\\'); \
     CREATE TYPE made AS (n numeric, t text, f float8[], m mood);";

/// A table of columns of random types.
struct Table {
    name: String,
    types: Vec<String>,
}

impl Table {
    fn new(noise: &mut Noise, number: usize) -> Table {
        let column = |noise: &mut Noise| {
            let type_name = TYPES[noise.below(TYPES.len() as u64) as usize];
            format!("{type_name}{}", if noise.one_in(3) { "[]" } else { "" })
        };
        Table { name: format!("r{number}"), types: (0..6).map(|_| column(noise)).collect() }
    }

    fn create(&self) -> String {
        let columns = self.types.iter().enumerate().map(|(number, of)| format!(", c{number} {of}"));
        format!("CREATE TABLE {} (id int PRIMARY KEY{});", self.name, columns.collect::<String>())
    }

    fn insert(&self, noise: &mut Noise, ids: std::ops::Range<usize>) -> String {
        let mut row = |id: usize| {
            let values = self.types.iter().map(|of| format!(", {}", noise.typed(of)));
            format!("({id}{})", values.collect::<String>())
        };
        let rows: Vec<String> = ids.map(&mut row).collect();
        format!("INSERT INTO {} VALUES {};", self.name, rows.join(", "))
    }

    fn update(&self, noise: &mut Noise, id: usize) -> String {
        let number = noise.below(self.types.len() as u64) as usize;
        let value = noise.typed(&self.types[number]);
        format!("UPDATE {} SET c{number} = {value} WHERE id = {id};", self.name)
    }
}

#[allow(clippy::print_stderr, reason = "a failure shows the seed, which brings the same again")]
async fn random_values_arrive(tables: usize, rows: usize) {
    let given = std::env::var("SYNC_AGENT_SEED").ok();
    let seed = given.map_or_else(seed_of_now, |text| text.parse().expect("a number"));
    eprintln!("SYNC_AGENT_SEED={seed}");
    let mut noise = Noise(seed);
    let (source, destination) = pair().await;
    source.exec(MADE).await;
    let made: Vec<Table> = (0..tables).map(|number| Table::new(&mut noise, number)).collect();
    for table in &made {
        let rows = table.insert(&mut noise, 0..rows);
        source.exec(&format!("{} {rows}", table.create())).await;
    }
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    for table in &made {
        // So many at once that they are staged, and some one by one.
        source.exec(&table.insert(&mut noise, 1000..1040)).await;
        for id in 0..rows {
            source.exec(&table.update(&mut noise, id)).await;
        }
    }
    agent.caught_up().await;
    let names: Vec<&str> = made.iter().map(|table| table.name.as_str()).collect();
    assert_same(&source, &destination, &names).await;
    assert_eq!(agent.terminate().await, Some(0));
}

fn seed_of_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_nanos() as u64
}

#[tokio::test]
async fn random_values_of_random_types_arrive_as_they_were() {
    random_values_arrive(8, 6).await;
}

mod long {
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn many_random_values_of_random_types_arrive_as_they_were() {
        super::random_values_arrive(120, 60).await;
    }
}
