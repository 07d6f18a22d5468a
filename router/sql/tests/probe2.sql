begin
begin work
begin transaction isolation level serializable, read only, not deferrable
start transaction read write
begin isolation level repeatable read read only deferrable
begin foo
commit
end
commit work and chain
commit and no chain
rollback
abort transaction
rollback to savepoint a
rollback to a
rollback work to b
savepoint a
release savepoint a
release a
release savepoint
set a = 1
set local a to 'x', b
set session a = on
set search_path = a, "B", 'c d'
set search_path to default
set time zone 'UTC'
set time zone -8
set time zone local
set names 'utf8'
set names
set role x
set role none
set role to x
set local role 'x'
set session authorization x
set session authorization default
set local session authorization x
set schema 'x'
set transaction isolation level serializable
set local transaction read only
set session characteristics as transaction read only
set transaction snapshot 'abc'
set xml option document
set shardgate.shard = 's2'
set a.b.c to -1.5
set constraints all deferred
set constraints a.b, c immediate
set a from current
set session = 1
reset all
reset a
reset time zone
reset session authorization
show all
show a.b
show time zone
show transaction isolation level
discard all
discard temp
prepare p as select $1
prepare p (int, text) as insert into t values ($1, $2)
prepare p as prepare q as select 1
prepare transaction 'x'
commit prepared 'x'
rollback prepared 'x'
execute p
execute p(1, 'a', $1, now())
execute p(1) foo
deallocate p
deallocate prepare p
deallocate all
deallocate prepare all
declare c cursor for select * from t
declare c binary insensitive no scroll cursor with hold for select 1
fetch c
fetch next c
fetch next from c
fetch absolute -1 from c
fetch 5 in c
fetch forward all from c
fetch forward c
fetch all c
fetch -1 c
move c
move backward 3 in c
fetch next
close c
close all
listen x
unlisten *
unlisten x
notify x
notify x, 'payload'
copy t from stdin
copy s.t (a, b) to stdout with (format csv)
copy (select * from t) to stdout
copy t from '/tmp/x'
copy t from program 'ls'
copy binary t from stdin
copy t from stdin where a = 1
copy t from stdin csv header
lock t
lock table a, only s.b in access exclusive mode nowait
explain select 1
explain analyze select 1
explain (analyze, buffers off) select 1
explain (analyze false, route) select * from t
explain (route) update t set a = 1
explain (select 1)
explain verbose select 1
explain explain select 1
explain (route) vacuum t
explain execute p
create table t (id int primary key, u int references s.users (id), like x including all) inherits (p, q)
create temp table t (a int)
create unlogged table if not exists t (a int)
create table t as select * from a join b using (x) with no data
create table t (a, b) as (select 1, 2)
create table t as execute p
create table p1 partition of p for values from (1) to (2)
create table pg_temp.x (a int)
create or replace view v (a) with (security_barrier) as select * from t where id in (select 1 from u) with check option
create materialized view if not exists v as select 1 with no data
create unique index concurrently if not exists i on only s.t using btree (lower(a)) where b
create index on t (a)
create sequence s owned by t.id
create sequence s owned by none
create temp sequence s
create trigger x after insert or update of a, b on s.t for each row execute function f()
create constraint trigger x after insert on t from u deferrable for each row execute procedure f()
create policy p on t using (id in (select x from z))
create rule r as on insert to t do instead insert into u values (new.a)
create schema s
create schema s create table t (a int)
create type x as enum ('a')
create domain d as text check (value <> 'a')
create extension if not exists hstore
create or replace function f(a int) returns int language sql as $$ select 1 $$
create function f() returns int begin atomic select 1; select 2; end
create procedure p() as $$ $$ language plpgsql
create role x login
create user x
create database d
create tablespace x location '/x'
create publication p for table a, b
create subscription s connection 'x' publication y
create foreign table ft (a int) server s
create server s foreign data wrapper w
create statistics st on a, b from t
create aggregate a (int) (sfunc = x)
create operator === (leftarg = int)
create cast (a as b) without function
create event trigger e on ddl_command_start execute function f()
create foo
drop table a, s.b cascade
drop table if exists a
drop index concurrently i
drop view v
drop materialized view v
drop sequence s
drop function f(int)
drop trigger t on s.x
drop policy if exists p on t
drop schema s cascade
drop owned by x
drop database d
drop type x
drop role a, b
alter table t add column a int references u(id), drop column if exists b, alter c type text, rename column d to e
alter table only s.t rename a to b
alter table t rename to u
alter table t drop constraint x, alter column z set default 1, drop y
alter table p attach partition c for values in (1)
alter table p detach partition c concurrently
alter table if exists t enable row level security
alter table all in tablespace x set tablespace y
alter index i rename to j
alter view v set schema x
alter sequence s restart with 5 owned by t.a
alter type x add value 'b'
alter role x set search_path = a
alter database d set timezone = 'UTC'
alter database d rename to e
alter system set a = 1
alter default privileges in schema s grant select on tables to x
alter function f(int) owner to x
alter trigger a on t rename to b
alter policy p on t using (true)
grant select on t, s.u to x
grant all on all tables in schema s to x
grant usage on schema s to x
grant usage on sequence s to x
grant execute on function f(int) to x
grant a to b
revoke grant option for select (a) on table t from x
revoke all on schema from x
grant select on type to x
grant all on large object 5 to x
comment on table t is 'x'
comment on column s.t.c is null
comment on constraint a on t is 'x'
comment on function f(int) is 'x'
comment on trigger a on t is 'x'
comment on database d is 'x'
security label for x on table t is 'y'
truncate t, only u restart identity cascade
truncate table t
vacuum
vacuum full verbose t
vacuum (analyze, verbose) t (a, b), u
vacuum analyze t
analyze
analyze verbose t (a)
reindex table concurrently t
reindex (verbose) index i
reindex database d
cluster
cluster t using i
cluster i on t
refresh materialized view concurrently v with no data
checkpoint
reassign owned by a to b
import foreign schema a from server b into c
do $$ begin end $$
do language plpgsql 'x'
call f(1)
load 'x'
foo bar
