-- A schema with every kind of object that belongs to a table; runs from version 14 on.
CREATE SCHEMA shop;
CREATE SCHEMA kit;
CREATE COLLATION kit.plain (provider = libc, locale = 'C');
CREATE TYPE shop.mood AS ENUM ('sad', 'it''s ok', 'happy');
CREATE DOMAIN kit.positive AS integer CONSTRAINT above_zero CHECK (VALUE > 0);
CREATE DOMAIN kit.code AS text COLLATE kit.plain DEFAULT 'none' NOT NULL
    CONSTRAINT code_length CHECK (length(VALUE) < 20) CONSTRAINT code_upper CHECK (VALUE <> 'BAD');
CREATE TYPE kit.size AS (width kit.positive, label text COLLATE kit.plain, mood shop.mood);
CREATE TYPE kit.sizes AS (sizes kit.size[], note text);
CREATE TYPE kit.textrange AS RANGE (SUBTYPE = text, COLLATION = "C", MULTIRANGE_TYPE_NAME = kit.manytexts);
CREATE TYPE kit.positives AS RANGE (SUBTYPE = integer, SUBTYPE_DIFF = int4range_subdiff);
CREATE DOMAIN kit.moods AS shop.mood[] CHECK (cardinality(VALUE) < 5);
COMMENT ON TYPE shop.mood IS 'how it goes';
COMMENT ON DOMAIN kit.code IS 'a code''s text';
COMMENT ON CONSTRAINT code_length ON DOMAIN kit.code IS 'not too long';
COMMENT ON TYPE kit.size IS 'sizes';
COMMENT ON COLUMN kit.size.label IS 'a label';
COMMENT ON COLLATION kit.plain IS 'bytes';
COMMENT ON SCHEMA kit IS 'the kit';

CREATE SEQUENCE shop.free_numbers AS smallint INCREMENT BY 3 MINVALUE 2 MAXVALUE 2000 START WITH 5 CACHE 4 CYCLE;
COMMENT ON SEQUENCE shop.free_numbers IS 'numbers for free';

CREATE TABLE shop.customers (
    id bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME shop.customer_numbers START WITH 100 INCREMENT BY 10),
    code kit.code,
    email text COLLATE kit.plain NOT NULL,
    mood shop.mood DEFAULT 'happy',
    moods kit.moods,
    size kit.size,
    sizes kit.sizes,
    names kit.textrange,
    many kit.manytexts,
    ages kit.positives DEFAULT '[1,5)',
    born date,
    at timestamptz(3) DEFAULT now(),
    price numeric(10,2) DEFAULT 1.5 CONSTRAINT price_not_negative CHECK (price >= 0),
    free smallint DEFAULT nextval('shop.free_numbers'),
    ticket text DEFAULT ('T-' || nextval('shop.free_numbers')),
    lower_email text GENERATED ALWAYS AS (lower(email)) STORED,
    tags text[],
    doc jsonb,
    place point,
    busy tsrange,
    big text,
    CONSTRAINT customers_pkey PRIMARY KEY (id) WITH (fillfactor = 80),
    CONSTRAINT one_email UNIQUE (email) INCLUDE (price) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT not_busy EXCLUDE USING gist (place WITH ~=, busy WITH &&) WHERE (price > 0),
    CONSTRAINT born_before CHECK (born IS NULL OR born < '2100-01-01'::date) NO INHERIT
) WITH (fillfactor = 70, autovacuum_enabled = true, toast.autovacuum_enabled = true);
ALTER TABLE shop.customers ADD CONSTRAINT price_small CHECK (price < 1000) NOT VALID;
ALTER TABLE shop.customers ALTER COLUMN big SET STORAGE EXTERNAL;
ALTER TABLE shop.customers ALTER COLUMN doc SET STORAGE MAIN;
ALTER TABLE shop.customers ALTER COLUMN doc SET COMPRESSION pglz;
ALTER TABLE shop.customers ALTER COLUMN email SET STATISTICS 500;
ALTER TABLE shop.customers ALTER COLUMN email SET (n_distinct = -0.5);
CREATE INDEX customers_lower ON shop.customers (lower(email) text_pattern_ops DESC NULLS LAST, price) INCLUDE (born) WITH (fillfactor = 60);
CREATE INDEX customers_happy ON shop.customers (mood) WHERE mood = 'happy'::shop.mood;
CREATE UNIQUE INDEX customers_code ON shop.customers (code COLLATE "C", (born + 1)) WHERE price > 5;
CREATE INDEX customers_tags ON shop.customers USING gin (tags);
CREATE INDEX customers_doc ON shop.customers USING gin (doc jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX customers_at ON shop.customers USING brin (at) WITH (pages_per_range = 16);
CREATE INDEX customers_hash ON shop.customers USING hash (email);
CREATE INDEX customers_place ON shop.customers USING spgist (place);
CREATE INDEX customers_total ON shop.customers ((price * 2), (price + 1));
ALTER INDEX shop.customers_total ALTER COLUMN 2 SET STATISTICS 77;
ALTER TABLE shop.customers CLUSTER ON customers_lower;
CREATE STATISTICS shop.customers_stats (ndistinct, dependencies) ON mood, price FROM shop.customers;
COMMENT ON TABLE shop.customers IS 'who buys';
COMMENT ON COLUMN shop.customers.email IS 'where to write';
COMMENT ON CONSTRAINT customers_pkey ON shop.customers IS 'the key';
COMMENT ON CONSTRAINT price_not_negative ON shop.customers IS 'no gifts';
COMMENT ON INDEX shop.customers_lower IS 'finds emails';

CREATE TABLE shop.addresses (
    customer bigint,
    kind text,
    street text NOT NULL,
    extra integer,
    CONSTRAINT addresses_unique UNIQUE (customer, kind)
);
ALTER TABLE shop.addresses ALTER COLUMN customer SET NOT NULL, ALTER COLUMN kind SET NOT NULL;
CREATE UNIQUE INDEX addresses_identity ON shop.addresses (kind, customer);
ALTER TABLE shop.addresses REPLICA IDENTITY USING INDEX addresses_identity;

CREATE TABLE shop.events (
    id serial NOT NULL,
    day date NOT NULL,
    region text NOT NULL DEFAULT 'eu',
    customer bigint,
    amount integer DEFAULT 3,
    mood shop.mood,
    CONSTRAINT amount_small CHECK (amount < 100000),
    CONSTRAINT events_pkey PRIMARY KEY (id, day, region)
) PARTITION BY RANGE (day);
COMMENT ON TABLE shop.events IS 'what happened';
CREATE INDEX events_customer ON shop.events (customer);
CREATE INDEX events_mood ON shop.events (mood, lower(region));
CREATE TABLE shop.events_2023 PARTITION OF shop.events FOR VALUES FROM ('2023-01-01') TO ('2024-01-01') WITH (fillfactor = 75);
CREATE TABLE shop.events_2024 (
    mood shop.mood, amount integer DEFAULT 7, region text NOT NULL, gone integer,
    day date NOT NULL, id integer NOT NULL, customer bigint,
    CONSTRAINT amount_small CHECK (amount < 100000),
    CONSTRAINT only_here CHECK (amount > -5)
) PARTITION BY LIST (region);
ALTER TABLE shop.events_2024 DROP COLUMN gone;
ALTER TABLE shop.events ATTACH PARTITION shop.events_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE shop.events_2024_eu PARTITION OF shop.events_2024 FOR VALUES IN ('eu', 'uk');
CREATE TABLE shop.events_2024_other PARTITION OF shop.events_2024 DEFAULT PARTITION BY HASH (id);
CREATE TABLE shop.events_2024_other_0 PARTITION OF shop.events_2024_other FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.events_2024_other_1 PARTITION OF shop.events_2024_other FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE shop.events_rest PARTITION OF shop.events DEFAULT;
CREATE INDEX events_local ON shop.events_2024_eu (amount DESC);
COMMENT ON TABLE shop.events_2024_eu IS 'Europe in 2024';

CREATE TABLE shop.animals (
    id integer PRIMARY KEY,
    name text DEFAULT 'none',
    born integer NOT NULL,
    CONSTRAINT born_after CHECK (born > 1900)
);
CREATE TABLE shop.owned (owner text);
CREATE TABLE shop.dogs (
    id integer PRIMARY KEY,
    breed text,
    CONSTRAINT has_breed CHECK (breed <> '')
) INHERITS (shop.animals, shop.owned);
CREATE INDEX dogs_breed ON shop.dogs (breed);

CREATE TABLE shop.orders (
    id integer PRIMARY KEY,
    customer bigint NOT NULL CONSTRAINT of_customer REFERENCES shop.customers ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    parent integer REFERENCES shop.orders (id),
    event_id integer, event_day date, event_region text,
    outside integer,
    CONSTRAINT of_event FOREIGN KEY (event_id, event_day, event_region)
        REFERENCES shop.events (id, day, region) MATCH FULL ON UPDATE SET NULL
);
COMMENT ON CONSTRAINT of_customer ON shop.orders IS 'who ordered';
CREATE TABLE shop."Odd ""Names" ("a.b" integer, "select" text, "c'd" integer DEFAULT 4, PRIMARY KEY ("c'd", "a.b"));
CREATE INDEX "odd (index" ON shop."Odd ""Names" (("select" || 'x'), "a.b");
COMMENT ON COLUMN shop."Odd ""Names"."a.b" IS 'odd';
ALTER TABLE shop.events ADD CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES shop.customers (id);
CREATE TABLE shop.whole (id integer PRIMARY KEY, v text);
ALTER TABLE shop.whole REPLICA IDENTITY FULL;

INSERT INTO shop.customers (email, born, price, busy, place, moods, size, sizes, names, many, tags, doc, big)
SELECT 'a' || g || '@x', '2000-01-01'::date + g, g % 90 + 1,
       tsrange('2024-01-01'::timestamp + g * '1 day'::interval, '2024-01-02'::timestamp + g * '1 day'::interval), point(g, g),
       ARRAY['sad', 'happy']::shop.mood[], ROW(g, 'l', 'sad')::kit.size,
       ROW(ARRAY[ROW(1, 'x', 'happy')]::kit.size[], 'n')::kit.sizes, '[a,b)', '{[a,b), [c,d)}', '{a,b}', '{"a": 1}', repeat('x', 3000)
  FROM generate_series(1, 50) g;
INSERT INTO shop.addresses SELECT 100 + g * 10, 'home', 'street ' || g FROM generate_series(0, 40) g;
INSERT INTO shop.events (day, region, customer) SELECT '2023-06-01'::date + g * 20, (ARRAY['eu', 'uk', 'us', 'jp'])[g % 4 + 1], 100 FROM generate_series(0, 60) g;
INSERT INTO shop.animals VALUES (1, 'cat', 2000), (2, 'cow', 2001);
INSERT INTO shop.dogs VALUES (3, 'rex', 2003, 'me', 'poodle');
INSERT INTO shop.orders SELECT g, 100 + g * 10, nullif(g - 1, 0) FROM generate_series(1, 30) g;
UPDATE shop.orders SET event_id = e.id, event_day = e.day, event_region = e.region
  FROM shop.events e WHERE orders.id = e.id;
INSERT INTO shop."Odd ""Names" VALUES (1, 'a'), (2, NULL);
INSERT INTO shop.whole VALUES (1, 'a'), (2, 'b');
