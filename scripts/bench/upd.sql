\set id random(1, :rows)
UPDATE upd SET n = n + 1, state = 'seen', changed_at = clock_timestamp() WHERE id = :id;
