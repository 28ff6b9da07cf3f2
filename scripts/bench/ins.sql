INSERT INTO ins (ts, user_id, kind, amount, payload)
SELECT now(), g * 31, 'order', g * 1.25, jsonb_build_object('items', g, 'session', md5(g::text), 'mobile', g % 3 = 0)
  FROM generate_series(1, 100) g;
