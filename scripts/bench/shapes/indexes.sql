-- Five secondary indexes; :rows is their measure.
SELECT format('CREATE TABLE t%s (id bigint PRIMARY KEY, at timestamptz, a int, b text, c numeric, d uuid)', n)
  FROM generate_series(1, 2) n \gexec
SELECT format('INSERT INTO t%s SELECT g, timestamptz ''2026-01-01'' + g %% 100000 * interval ''1 s'', (g * 7919::bigint %% 1000003)::int, md5(g::text), g %% 5000 / 7.0, md5((-g)::text)::uuid FROM generate_series(1, %s) g', n, 10 * :rows)
  FROM generate_series(1, 2) n \gexec
SELECT format('CREATE INDEX ON t%s (%s)', n, c)
  FROM generate_series(1, 2) n, unnest(ARRAY['at', 'a', 'b', 'c']) c \gexec
SELECT format('CREATE UNIQUE INDEX ON t%s (d)', n) FROM generate_series(1, 2) n \gexec
