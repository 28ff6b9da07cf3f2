-- :rows rows as applications log them.
CREATE TABLE events (
    id      bigint PRIMARY KEY,
    ts      timestamptz NOT NULL,
    user_id int NOT NULL,
    kind    text NOT NULL,
    amount  numeric(12, 2),
    payload jsonb,
    note    text
);
INSERT INTO events
SELECT g,
       timestamptz '2026-01-01 00:00:00+00' + g * interval '1 second',
       (g % 100000 * 7919 % 100000)::int,
       (ARRAY['view', 'click', 'order', 'refund', 'login'])[(1 + g % 5)::int],
       (g % 1000000) / 100.0,
       jsonb_build_object('session', md5(g::text), 'items', g % 17, 'mobile', g % 3 = 0),
       CASE WHEN g % 4 = 0 THEN repeat('note ', 1 + (g % 12)::int) END
  FROM generate_series(1::bigint, :rows) g;
