-- A hundred columns; :rows is their measure.
SELECT format('CREATE TABLE t%s (id int PRIMARY KEY, %s)', n,
              (SELECT string_agg(format('c%s %s', c, (ARRAY['int', 'text', 'timestamp', 'float8', 'bool'])[1 + c % 5]), ', ')
                 FROM generate_series(1, 99) c))
  FROM generate_series(1, 2) n \gexec
SELECT format('INSERT INTO t%s SELECT g, %s FROM generate_series(1, %s) g', n,
              (SELECT string_agg((ARRAY['g * ' || c, '''text '' || g', 'timestamp ''2026-01-01'' + g * interval ''1 s''', 'g / 7.0', 'g % 2 = 0'])[1 + c % 5], ', ')
                 FROM generate_series(1, 99) c), :rows)
  FROM generate_series(1, 2) n \gexec
