\set customer random(1, 20000)
\set first random(1, 499)
\set quantity random(1, 5)
BEGIN;
INSERT INTO orders (customer_id) VALUES (:customer) RETURNING id AS order_id \gset
INSERT INTO order_lines SELECT :order_id, row_number() OVER (), sku, :quantity, price
  FROM products WHERE sku IN ('SKU-' || :first, 'SKU-' || :first + 1);
UPDATE orders SET total = (SELECT sum(quantity * price) FROM order_lines WHERE order_id = :order_id)
  WHERE id = :order_id;
INSERT INTO audit_log (what, order_id) VALUES ('order placed', :order_id);
COMMIT;
