-- What the .hex files beside this one were captured from: one pgoutput message a line, in order.
--
-- Run in an empty database of a server with wal_level = logical and
-- logical_decoding_work_mem = 64kB, then for each file
--
--   SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL,
--     'proto_version', '1', 'publication_names', 'p,pn', 'messages', 'true',
--     'binary', 'false', 'streaming', 'off')
--
-- with 'binary', 'true' for *-binary and with 'proto_version', '2', 'streaming', 'on' for
-- *-streamed. Of more than two inserts in a row only the first two are kept.

create type mood as enum ('sad','ok');
create domain pos as int check (value > 0);
create table d(id int primary key, body text, m mood, p pos, n numeric(12,2), ts timestamptz);
create table f(a int, b text);
create table i(a int not null, b text not null, c text);
create table n(x int);
create table root(id int, r int, body text, primary key (id, r)) partition by list (r);
create table leaf partition of root for values in (1);
alter table d alter body set storage external;
alter table f alter b set storage external;
alter table leaf alter body set storage external;
alter table f replica identity full;
create unique index iu on i(b);
alter table i replica identity using index iu;
alter table n replica identity nothing;
alter table root replica identity full;
create publication p for table d, f, i, root with (publish_via_partition_root);
create publication pn for table n with (publish = 'insert, truncate');
select from pg_create_logical_replication_slot('s', 'pgoutput');
insert into d values (1, repeat('x', 2100), 'ok', 5, 1.50, '2024-01-01 00:00:00+00'), (2, null, null, null, 'NaN', null);
update d set n = 2 where id = 1;
update d set id = 3 where id = 1;
delete from d where id = 2;
insert into f values (1, repeat('y', 2100));
update f set a = 2;
delete from f;
insert into i values (1, 'k', 'v');
update i set b = 'k2';
delete from i;
insert into n values (7);
insert into root values (1, 1, repeat('z', 2100));
update root set id = 2;
delete from root;
select from pg_logical_emit_message(true, 'prefix', 'content');
select from pg_logical_emit_message(false, 'prefix', '\x00ff'::bytea);
truncate d, f restart identity cascade;
begin; insert into d select g, 'big' from generate_series(100, 1100) g; savepoint a; insert into d select g, 'sub' from generate_series(2000, 3100) g; rollback to a; update d set body = 'c' where id = 100; commit;
begin; insert into d select g, 'big' from generate_series(5000, 6100) g; rollback;
