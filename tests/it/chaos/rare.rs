//! What happens now and then: large transactions, TRUNCATE, new columns, new tables.

use crate::support::random::Random;

/// New columns and new tables a run may have; each new table is a copy of its own.
const GROWTH_MAX: u64 = 6;

/// Remembers which names are taken.
#[derive(Debug, Default)]
pub(super) struct Rare {
    columns: u64,
    tables: u64,
    rows: u64,
}

impl Rare {
    pub(super) fn transaction(&mut self, random: &mut Random) -> String {
        let body = match random.between(0, 9) {
            0..3 => large(random),
            3..5 => self.truncate(random),
            5..7 => self.grow(random),
            7 if self.columns < GROWTH_MAX => self.add_column(),
            8 if self.tables < GROWTH_MAX => self.create_table(),
            _ => self.grow(random),
        };
        format!("BEGIN; {body}; COMMIT")
    }

    fn truncate(&mut self, random: &mut Random) -> String {
        let v = random.between(0, 999);
        format!(
            "INSERT INTO scratch SELECT g, 'before {v}' FROM generate_series(1001, 1100) g \
             ON CONFLICT DO NOTHING; TRUNCATE scratch; \
             INSERT INTO scratch SELECT g, 'after {v}' FROM generate_series(1, {}) g",
            random.between(1, 200)
        )
    }

    /// Rows of the tables whose structure changes.
    fn grow(&mut self, random: &mut Random) -> String {
        self.rows += 1;
        let (n, v) = (self.rows, random.between(0, 999));
        let mut sql = format!(
            "INSERT INTO grown (id, v) VALUES ({n}, '{v}') ON CONFLICT DO NOTHING; \
             UPDATE grown SET v = v || '.' WHERE id % 5 = {}",
            v % 5
        );
        for table in 1..=self.tables {
            // Created, perhaps: its transaction may have failed.
            sql.push_str(&format!(
                "; DO $$ BEGIN IF to_regclass('extra_{table}') IS NOT NULL THEN \
                 INSERT INTO extra_{table} VALUES ({n}, '{v}') ON CONFLICT DO NOTHING; \
                 UPDATE extra_{table} SET v = v || ',' WHERE id % 7 = {}; END IF; END $$",
                v % 7
            ));
        }
        sql
    }

    fn add_column(&mut self) -> String {
        self.columns += 1;
        let n = self.columns;
        format!(
            "ALTER TABLE grown ADD COLUMN IF NOT EXISTS c{n} int NOT NULL DEFAULT {n}; \
             UPDATE grown SET c{n} = c{n} + id WHERE id % 2 = 0"
        )
    }

    fn create_table(&mut self) -> String {
        self.tables += 1;
        let n = self.tables;
        format!(
            "CREATE TABLE IF NOT EXISTS extra_{n} (id int PRIMARY KEY, v text); \
             INSERT INTO extra_{n} SELECT g, 'first' FROM generate_series(10001, 10500) g \
             ON CONFLICT DO NOTHING"
        )
    }
}

fn large(random: &mut Random) -> String {
    match random.between(0, 2) {
        0 => format!(
            "INSERT INTO bulk SELECT m + g, md5(g::text) FROM (SELECT max(id) AS m FROM bulk) AS last, \
             generate_series(1, {}) AS g",
            random.between(10_000, 50_000)
        ),
        1 => format!("UPDATE bulk SET v = md5(v) WHERE id % 11 = {}", random.between(0, 10)),
        _ => "DELETE FROM bulk WHERE id < (SELECT min(id) + 20000 FROM bulk) \
              AND (SELECT max(id) - min(id) > 100000 FROM bulk)"
            .to_owned(),
    }
}
