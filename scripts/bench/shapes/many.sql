-- Two thousand small ones.
SELECT format('CREATE TABLE t%s (id int PRIMARY KEY, at timestamptz NOT NULL, v text)', n)
  FROM generate_series(1, 2000) n \gexec
SELECT format('INSERT INTO t%s SELECT g, now(), md5(g::text) FROM generate_series(1, 20 + %s %% 100) g', n, n)
  FROM generate_series(1, 2000) n \gexec
