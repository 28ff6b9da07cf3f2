-- Tables of the shapes that copies stumble over; :rows is their measure.
SELECT format('CREATE SCHEMA %s', schema) FROM unnest(ARRAY['many', 'one', 'wide', 'toast', 'indexes']) schema \gexec

-- Two thousand small ones.
SELECT format('CREATE TABLE many.t%s (id int PRIMARY KEY, at timestamptz NOT NULL, v text)', n)
  FROM generate_series(1, 2000) n \gexec
SELECT format('INSERT INTO many.t%s SELECT g, now(), md5(g::text) FROM generate_series(1, 20 + %s %% 100) g', n, n)
  FROM generate_series(1, 2000) n \gexec

-- A very large one.
CREATE TABLE one.t (id bigint PRIMARY KEY, at timestamptz, a int, b numeric(12, 2), v text);
INSERT INTO one.t
SELECT g, timestamptz '2026-01-01' + g * interval '1 s', g % 1000, g / 100.0, md5(g::text)
  FROM generate_series(1, 40 * :rows::bigint) g;

-- A hundred columns.
SELECT format('CREATE TABLE wide.t%s (id int PRIMARY KEY, %s)', n,
              (SELECT string_agg(format('c%s %s', c, (ARRAY['int', 'text', 'timestamp', 'float8', 'bool'])[1 + c % 5]), ', ')
                 FROM generate_series(1, 99) c))
  FROM generate_series(1, 2) n \gexec
SELECT format('INSERT INTO wide.t%s SELECT g, %s FROM generate_series(1, %s) g', n,
              (SELECT string_agg((ARRAY['g * ' || c, '''text '' || g', 'timestamp ''2026-01-01'' + g * interval ''1 s''', 'g / 7.0', 'g % 2 = 0'])[1 + c % 5], ', ')
                 FROM generate_series(1, 99) c), :rows)
  FROM generate_series(1, 2) n \gexec

-- Values that live in TOAST, half of them compressible.
SELECT format('CREATE TABLE toast.t%s (id int PRIMARY KEY, body text, plain bytea)', n)
  FROM generate_series(1, 2) n \gexec
SELECT format('INSERT INTO toast.t%s SELECT g, repeat(md5(g::text), 500), (SELECT string_agg(sha512((g * 1000 + i)::text::bytea), NULL) FROM generate_series(1, 250) i) FROM generate_series(1, %s) g', n, :rows / 10)
  FROM generate_series(1, 2) n \gexec

-- Five secondary indexes.
SELECT format('CREATE TABLE indexes.t%s (id bigint PRIMARY KEY, at timestamptz, a int, b text, c numeric, d uuid)', n)
  FROM generate_series(1, 2) n \gexec
SELECT format('INSERT INTO indexes.t%s SELECT g, timestamptz ''2026-01-01'' + g %% 100000 * interval ''1 s'', (g * 7919::bigint %% 1000003)::int, md5(g::text), g %% 5000 / 7.0, md5((-g)::text)::uuid FROM generate_series(1, %s) g', n, 10 * :rows)
  FROM generate_series(1, 2) n \gexec
SELECT format('CREATE INDEX ON indexes.t%s (%s)', n, c)
  FROM generate_series(1, 2) n, unnest(ARRAY['at', 'a', 'b', 'c']) c \gexec
SELECT format('CREATE UNIQUE INDEX ON indexes.t%s (d)', n) FROM generate_series(1, 2) n \gexec
