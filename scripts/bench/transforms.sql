-- What a staging copy is made of; :rows is the measure.
CREATE TABLE people (
    id bigint PRIMARY KEY,
    created timestamptz NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    phone text,
    ssn text,
    city text,
    balance numeric(12, 2),
    visits int,
    note text
);
INSERT INTO people
SELECT g, timestamptz '2026-01-01' + g * interval '1 s',
       'Person ' || md5(g::text),
       'person.' || g || '@mail' || g % 50 || '.example.org',
       '+1 212 555 ' || lpad((g % 10000)::text, 4, '0'),
       lpad((g * 7919 % 1000000000)::text, 9, '0'),
       'City ' || g % 300, g % 100000 / 100.0, g % 1000,
       repeat(md5((g % 1000)::text), 2)
  FROM generate_series(1, 20 * :rows::bigint) g;
