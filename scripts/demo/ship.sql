\set back random(1, 500)
BEGIN;
UPDATE orders SET status = CASE status WHEN 'placed' THEN 'shipped' ELSE 'delivered' END
  WHERE id = (SELECT last_value FROM orders_id_seq) - :back;
INSERT INTO audit_log (what) VALUES ('order moved on');
COMMIT;
