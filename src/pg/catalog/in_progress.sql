-- $1: transactions' ids, as text. Each holds its own id's lock until others see what it did: the
-- stream may bring a commit before that.
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l
                WHERE l.locktype = 'transactionid' AND l.granted
                  AND l.transactionid::pg_catalog.text = ANY ($1))
