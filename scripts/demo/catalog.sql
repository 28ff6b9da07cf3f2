\set number random(1, 500)
\set cents random(100, 9999)
\set customer random(1, 20000)
\set version random(1, 1000000)
UPDATE products SET price = :cents / 100.0, stock = 1000 - :cents / 100 WHERE sku = 'SKU-' || :number;
UPDATE customers SET email = 'customer' || :customer || '.' || :version || '@example.com' WHERE id = :customer;
