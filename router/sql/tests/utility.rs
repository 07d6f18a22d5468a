//! Where DDL and maintenance belong, in table form.

mod show;
use show::check;

#[test]
fn utilities() {
    check(&[
        (
            "create table t (id int primary key, u int references s.users (id), like x including all) inherits (p, q)",
            "CREATE TABLE Targets [t] others[s.users,x,p,q]",
        ),
        (
            "create temp table t (a int)",
            "CREATE TABLE Targets [t] temp",
        ),
        (
            "create unlogged table if not exists t (a int)",
            "CREATE TABLE Targets [t]",
        ),
        (
            "create table t as select * from a join b using (x) with no data",
            "CREATE TABLE AS Targets [t] others[a,b] as select[*] from[<a inner b using(x)>]",
        ),
        (
            "create table t (a, b) as (select 1, 2)",
            "CREATE TABLE AS Targets [t] as select[1, 2]",
        ),
        ("create table t as execute p", "unparsed CREATE TABLE T"),
        (
            "create table p1 partition of p for values from (1) to (2)",
            "CREATE TABLE Targets [p1] others[p]",
        ),
        (
            "create table pg_temp.x (a int)",
            "CREATE TABLE Targets [pg_temp.x] temp",
        ),
        (
            "create or replace view v (a) with (security_barrier) as select * from t where id in (select 1 from u) with check option",
            "CREATE VIEW Targets [v] others[t,u] as select[*] from[t] where (in id {select[1] from[u]})",
        ),
        (
            "create materialized view if not exists v as select 1 with no data",
            "CREATE MATERIALIZED VIEW Targets [v] as select[1]",
        ),
        (
            "create unique index concurrently if not exists i on only s.t using btree (lower(a)) where b",
            "CREATE INDEX Targets [s.t] alone",
        ),
        ("create index on t (a)", "CREATE INDEX Targets [t]"),
        (
            "create sequence s owned by t.id",
            "CREATE SEQUENCE Targets [s] others[t]",
        ),
        (
            "create sequence s owned by none",
            "CREATE SEQUENCE Targets [s]",
        ),
        ("create temp sequence s", "CREATE SEQUENCE Targets [s] temp"),
        (
            "create trigger x after insert or update of a, b on s.t for each row execute function f()",
            "CREATE TRIGGER Targets [s.t]",
        ),
        (
            "create constraint trigger x after insert on t from u deferrable for each row execute procedure f()",
            "CREATE TRIGGER Targets [t] others[u]",
        ),
        (
            "create policy p on t using (id in (select x from z))",
            "CREATE POLICY Targets [t] others[id,x,z]",
        ),
        (
            "create rule r as on insert to t do instead insert into u values (new.a)",
            "CREATE RULE Targets [t] others[instead,insert,u,new,new.a]",
        ),
        ("create schema s", "CREATE SCHEMA AllShards"),
        (
            "create schema s create table t (a int)",
            "CREATE SCHEMA Refuse",
        ),
        ("create type x as enum ('a')", "CREATE TYPE AllShards"),
        (
            "create domain d as text check (value <> 'a')",
            "CREATE DOMAIN AllShards",
        ),
        (
            "create extension if not exists hstore",
            "CREATE EXTENSION AllShards",
        ),
        (
            "create or replace function f(a int) returns int language sql as $$ select 1 $$",
            "CREATE FUNCTION AllShards",
        ),
        (
            "create function f() returns int begin atomic select 1; select 2; end",
            "CREATE FUNCTION AllShards",
        ),
        (
            "create procedure p() as $$ $$ language plpgsql",
            "CREATE PROCEDURE AllShards",
        ),
        ("create role x login", "CREATE ROLE AllShards"),
        ("create user x", "CREATE ROLE AllShards"),
        ("create database d", "CREATE DATABASE Home alone"),
        (
            "create tablespace x location '/x'",
            "CREATE TABLESPACE Home alone",
        ),
        (
            "create publication p for table a, b",
            "CREATE PUBLICATION Home others[p,a,b]",
        ),
        (
            "create subscription s connection 'x' publication y",
            "CREATE SUBSCRIPTION Home alone",
        ),
        (
            "create foreign table ft (a int) server s",
            "CREATE FOREIGN TABLE Targets [ft]",
        ),
        (
            "create server s foreign data wrapper w",
            "CREATE SERVER Home",
        ),
        (
            "create statistics st on a, b from t",
            "CREATE STATISTICS Targets [t]",
        ),
        (
            "create aggregate a (int) (sfunc = x)",
            "CREATE AGGREGATE AllShards",
        ),
        (
            "create operator === (leftarg = int)",
            "CREATE OPERATOR AllShards",
        ),
        (
            "create cast (a as b) without function",
            "CREATE CAST AllShards",
        ),
        (
            "create event trigger e on ddl_command_start execute function f()",
            "CREATE EVENT TRIGGER AllShards",
        ),
        ("create foo", "unparsed CREATE FOO"),
        ("drop table a, s.b cascade", "DROP TABLE Targets [a,s.b]"),
        ("drop table if exists a", "DROP TABLE Targets [a]"),
        ("drop index concurrently i", "DROP INDEX Targets [i] alone"),
        ("drop view v", "DROP VIEW Targets [v]"),
        (
            "drop materialized view v",
            "DROP MATERIALIZED VIEW Targets [v]",
        ),
        ("drop sequence s", "DROP SEQUENCE Targets [s]"),
        ("drop function f(int)", "DROP FUNCTION AllShards"),
        ("drop trigger t on s.x", "DROP TRIGGER Targets [s.x]"),
        ("drop policy if exists p on t", "DROP POLICY Targets [t]"),
        ("drop schema s cascade", "DROP SCHEMA AllShards"),
        ("drop owned by x", "DROP OWNED AllShards"),
        ("drop database d", "DROP DATABASE Home alone"),
        ("drop type x", "DROP TYPE AllShards"),
        ("drop role a, b", "DROP ROLE AllShards"),
        (
            "alter table t add column a int references u(id), drop column if exists b, alter c type text, rename column d to e",
            "ALTER TABLE Targets [t] others[u] columns[b,c,d] stored[c text: retyped]",
        ),
        (
            "alter table only s.t rename a to b",
            "ALTER TABLE Targets [s.t] columns[a]",
        ),
        ("alter table t rename to u", "ALTER TABLE Targets [t]"),
        (
            "alter table t drop constraint x, alter column z set default 1, drop y",
            "ALTER TABLE Targets [t] columns[y] stored[z: default 1]",
        ),
        (
            "alter table p attach partition c for values in (1)",
            "ALTER TABLE Targets [p] others[c]",
        ),
        (
            "alter table p detach partition c concurrently",
            "ALTER TABLE Targets [p] others[c] alone",
        ),
        (
            "alter table if exists t enable row level security",
            "ALTER TABLE Targets [t]",
        ),
        (
            "alter table all in tablespace x set tablespace y",
            "ALTER TABLE AllShards",
        ),
        ("alter index i rename to j", "ALTER INDEX Targets [i]"),
        ("alter view v set schema x", "ALTER VIEW Targets [v]"),
        (
            "alter sequence s restart with 5 owned by t.a",
            "ALTER SEQUENCE Targets [s] others[t]",
        ),
        ("alter type x add value 'b'", "ALTER TYPE AllShards"),
        ("alter role x set search_path = a", "ALTER ROLE AllShards"),
        (
            "alter database d set timezone = 'UTC'",
            "ALTER DATABASE AllShards",
        ),
        ("alter database d rename to e", "ALTER DATABASE Home"),
        ("alter system set a = 1", "ALTER SYSTEM Home alone"),
        (
            "alter default privileges in schema s grant select on tables to x",
            "ALTER DEFAULT PRIVILEGES AllShards",
        ),
        (
            "alter function f(int) owner to x",
            "ALTER FUNCTION AllShards",
        ),
        (
            "alter trigger a on t rename to b",
            "ALTER TRIGGER Targets [t]",
        ),
        (
            "alter policy p on t using (true)",
            "ALTER POLICY Targets [t]",
        ),
        ("grant select on t, s.u to x", "GRANT Targets [t,s.u]"),
        (
            "grant all on all tables in schema s to x",
            "GRANT AllShards",
        ),
        ("grant usage on schema s to x", "GRANT AllShards"),
        ("grant usage on sequence s to x", "GRANT Targets [s]"),
        ("grant execute on function f(int) to x", "GRANT AllShards"),
        ("grant a to b", "GRANT AllShards"),
        (
            "revoke grant option for select (a) on table t from x",
            "REVOKE Targets [t]",
        ),
        ("revoke all on schema from x", "REVOKE Targets [schema]"),
        ("grant select on type to x", "GRANT Targets [type]"),
        ("grant all on large object 5 to x", "GRANT Home"),
        ("comment on table t is 'x'", "COMMENT Targets [t]"),
        ("comment on column s.t.c is null", "COMMENT Targets [s.t]"),
        ("comment on constraint a on t is 'x'", "COMMENT Targets [t]"),
        ("comment on function f(int) is 'x'", "COMMENT AllShards"),
        ("comment on trigger a on t is 'x'", "COMMENT Targets [t]"),
        ("comment on database d is 'x'", "COMMENT Home"),
        (
            "security label for x on table t is 'y'",
            "SECURITY LABEL Targets [t]",
        ),
        (
            "truncate t, only u restart identity cascade",
            "TRUNCATE TABLE Targets [t,u]",
        ),
        ("truncate table t", "TRUNCATE TABLE Targets [t]"),
        ("vacuum", "VACUUM AllShards alone"),
        ("vacuum full verbose t", "VACUUM Targets [t] alone"),
        (
            "vacuum (analyze, verbose) t (a, b), u",
            "VACUUM Targets [t,u] alone",
        ),
        ("vacuum analyze t", "VACUUM Targets [t] alone"),
        ("analyze", "ANALYZE AllShards"),
        ("analyze verbose t (a)", "ANALYZE Targets [t]"),
        ("reindex table concurrently t", "REINDEX Targets [t] alone"),
        ("reindex (verbose) index i", "REINDEX Targets [i]"),
        ("reindex database d", "REINDEX AllShards alone"),
        ("cluster", "CLUSTER AllShards alone"),
        ("cluster t using i", "CLUSTER Targets [t]"),
        ("cluster i on t", "CLUSTER Targets [t]"),
        (
            "refresh materialized view concurrently v with no data",
            "REFRESH MATERIALIZED VIEW Targets [v]",
        ),
        ("checkpoint", "CHECKPOINT AllShards"),
        ("reassign owned by a to b", "REASSIGN OWNED AllShards"),
        (
            "import foreign schema a from server b into c",
            "IMPORT FOREIGN SCHEMA Home",
        ),
        ("do $$ begin end $$", "DO Opaque"),
        ("do language plpgsql 'x'", "DO Opaque"),
        ("call f(1)", "CALL Opaque"),
        ("load 'x'", "LOAD Opaque"),
        ("foo bar", "unparsed FOO BAR"),
    ]);
}

/// The values that are stored, by what stands there.
#[test]
fn stored_values() {
    let table = |action: &str, stored: &str| {
        (
            format!("alter table t {action}"),
            format!("ALTER TABLE Targets [t]{stored}"),
        )
    };
    let cases = [
        table("add column a int", ""),
        table("add a int default 7", " stored[a int4: added 7]"),
        table(
            "add if not exists a int default null not null",
            " stored[a int4: added null]",
        ),
        table(
            "add \"A\" timestamp(3) with time zone not null default now() unique",
            " stored[A timestamptz(3): added now()]",
        ),
        table(
            "add column a int[] default array[1, 2], add b int default 3",
            " stored[a int4[]: added array[1 2]] stored[b int4: added 3]",
        ),
        table(
            "add a int check (a > 0) default (1 + 2)",
            " stored[a int4: added (+ 1 2)]",
        ),
        table(
            "add a int references u (id) on delete set default on update cascade",
            " others[u]",
        ),
        table("add a serial", " stored[a serial: drawn]"),
        table(
            "add a \"bigserial\" primary key",
            " stored[a bigserial: drawn]",
        ),
        table(
            "add a int generated always as identity (start 5)",
            " stored[a int4: drawn]",
        ),
        table(
            "add a int generated by default as identity",
            " stored[a int4: drawn]",
        ),
        table("add a int generated always as (b + 1) stored", ""),
        table(
            "alter a add generated by default as identity",
            " stored[a: drawn]",
        ),
        table(
            "alter column a set default random(), alter b drop default",
            " stored[a: default random()]",
        ),
        table(
            "alter a type int using b::int, add constraint c check (a in (1, 2))",
            " columns[a] stored[a int4: retyped b::int4]",
        ),
        table(
            "alter a set data type text collate \"C\"",
            " columns[a] stored[a text: retyped]",
        ),
        table("add constraint a unique (b)", ""),
        table(
            "add a int default (select 1 from)",
            " stored[a int4: unread]",
        ),
        (
            "create domain d as int default 7 check (value > 0)".to_owned(),
            "CREATE DOMAIN AllShards stored[: default 7]".to_owned(),
        ),
        (
            "alter domain d drop default".to_owned(),
            "ALTER DOMAIN AllShards".to_owned(),
        ),
        (
            "alter domain d set default now()".to_owned(),
            "ALTER DOMAIN AllShards stored[: default now()]".to_owned(),
        ),
    ];
    let cases: Vec<(&str, &str)> = cases
        .iter()
        .map(|(sql, expected)| (sql.as_str(), expected.as_str()))
        .collect();
    check(&cases);
}
