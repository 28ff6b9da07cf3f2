\set order random(1, 60000)
BEGIN;
DELETE FROM orders WHERE id = :order AND status <> 'shipped';
INSERT INTO audit_log (what, order_id) VALUES ('order deleted', :order);
COMMIT;
