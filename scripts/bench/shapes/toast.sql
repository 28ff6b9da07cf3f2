-- Values that live in TOAST, half of them compressible; :rows is their measure.
SELECT format('CREATE TABLE t%s (id int PRIMARY KEY, body text, plain bytea)', n)
  FROM generate_series(1, 2) n \gexec
SELECT format('INSERT INTO t%s SELECT g, repeat(md5(g::text), 500), (SELECT string_agg(sha512((g * 1000 + i)::text::bytea), NULL) FROM generate_series(1, 250) i) FROM generate_series(1, %s) g', n, :rows / 10)
  FROM generate_series(1, 2) n \gexec
