-- A very large one; :rows is their measure.
CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz, a int, b numeric(12, 2), v text);
INSERT INTO t
SELECT g, timestamptz '2026-01-01' + g * interval '1 s', g % 1000, g / 100.0, md5(g::text)
  FROM generate_series(1, 40 * :rows::bigint) g;
