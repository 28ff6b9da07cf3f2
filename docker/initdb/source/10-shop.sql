-- A small shop: what the source of docker/compose.yaml starts with.

CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price > 0),
    attributes jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'paid', 'cancelled')),
    note text,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE order_lines (
    order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
    line smallint NOT NULL,
    product_id bigint NOT NULL REFERENCES products,
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, line)
);

INSERT INTO customers (name, email)
SELECT 'Customer ' || n, 'customer' || n || '@example.com'
FROM generate_series(1, 1000) AS n;

INSERT INTO products (name, price, attributes)
SELECT 'Product ' || n, 1 + n % 97, jsonb_build_object('color', (ARRAY['red', 'green', 'blue'])[1 + n % 3])
FROM generate_series(1, 200) AS n;

INSERT INTO orders (customer_id, status, created_at)
SELECT 1 + n % 1000, CASE WHEN n % 10 = 0 THEN 'cancelled' ELSE 'paid' END, now() - (n || ' seconds')::interval
FROM generate_series(1, 50000) AS n;

INSERT INTO order_lines (order_id, line, product_id, quantity)
SELECT o.id, l, 1 + (o.id * 7 + l) % 200, 1 + l
FROM orders AS o, generate_series(1, 3) AS l;

-- One step of the workload: orders come in, are paid or cancelled, and old ones go.
CREATE PROCEDURE shop_step() LANGUAGE plpgsql AS $$
DECLARE
    new_order bigint;
BEGIN
    INSERT INTO orders (customer_id, note)
    SELECT id, CASE WHEN random() < 0.1 THEN repeat('please ring twice. ', 200) END
    FROM customers ORDER BY random() LIMIT 1
    RETURNING id INTO new_order;

    INSERT INTO order_lines (order_id, line, product_id, quantity)
    SELECT new_order, row_number() OVER (), id, 1 + (random() * 4)::integer
    FROM (SELECT id FROM products ORDER BY random() LIMIT 3) AS chosen;

    UPDATE orders SET status = CASE WHEN random() < 0.9 THEN 'paid' ELSE 'cancelled' END
    WHERE status = 'open' AND id < new_order - 5;

    DELETE FROM orders WHERE id IN
        (SELECT id FROM orders WHERE status = 'cancelled' ORDER BY id LIMIT 1);
END
$$;
