-- Run by psql: five steps a second, until stopped.
CALL shop_step() \watch 0.2
