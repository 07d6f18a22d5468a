select 1
select * from users where id = 5
select u.*, o.id as oid from public.users u join orders o on o.user_id = u.id where u.id = $1 and (o.x = 2 and o.y = 'a''b') order by 1 desc limit 10 offset $2
select id from only users u where id=-1 and x>=-5 and y<>-1
select id from only (public.users) u
update only users set a = 1 where id = 3
delete from only users where id = 3
select * from a join only b on true
select * from a, only b
with x as (select 1) insert into t (a,b) values (1, default), ($1, now()) on conflict (a) do update set b = excluded.b where t.c = 1 returning *
with recursive x(n) as (select 1 union all select n+1 from x where n < 5) select * from x
insert into t default values
insert into t select * from u where id = 1
insert into t (values (1,2))
insert into t values (1,2) returning id, (select count(*) from x)
insert into t(a) overriding system value values (1)
insert into t values (1) on conflict (lower(x)) where y do nothing
insert into t as z values (1) on conflict on constraint foo do nothing
update users u set a = u.a + 1, (b, c) = (1, 2) from orders o where o.user_id = u.id and u.id = 5 returning u.id
update t set a[1] = 2 where id = 1
delete from users using orders o where users.id = o.user_id and users.id in (1,2,3)
table t
table only t
select 1 union table t
(select 1 limit 3) union all (select 2) order by 1
(select a from t order by a limit 3)
select * from t for no key update
select * from t for update of t, u nowait
select * from t where id = 1 for key share skip locked limit 3
select * from t limit 3 for share of t
select pg_lsn '0/1', mytype 'x', date '2020-01-01', timestamp '2020-01-01 00:00', timestamp with time zone '2020-01-01', interval '1 day', interval '1' year, interval(0) '1 sec', numeric(5,2) '1.5', double precision '1.5', pg_catalog.date '2020-01-01', hstore 'a' ? 'b'
select 'a' 'b'
select 'a'
select a isnull, b notnull from t
select x::int, x::int8[], x::varchar(3), x::char(9), x::char, x::timestamptz, x::timestamp(3) with time zone, x::numeric(10,2), x::double precision, x::"Foo".bar, x::bit(3), x::bit varying(3), x::character varying, cast(a as text), x::interval, x::integer[][], x::time, x::float(3), x::decimal
select array[1,2], array[[1],[2]], array(select 1), row(1,2), (1,2), '{1,2}'::int[]
select count(*), count(distinct a), sum(a) filter (where b), array_agg(a order by b), percentile_cont(0.5) within group (order by x), row_number() over (partition by a order by b rows between 1 preceding and current row), rank() over w, sum(x) over () from t window w as (partition by z)
select coalesce(a,1), nullif(a,b), greatest(1,2), extract(year from ts), substring(a from 1 for 2), substring(a, 1), position('a' in b), trim(both 'x' from y), trim(a), trim(both from x), overlay(a placing b from 1), a at time zone 'UTC', current_timestamp, current_timestamp(3), current_user, session_user, user, current_date, localtime, current_schema, current_schema()
select a like 'x%', a not like 'x' escape '!', a ilike 'b', a similar to 'c', a ~ 'x', a !~* 'x', a like any (array['a','b']), a || b || c
select a between 1 and 2, a not between symmetric 1 and 2
select a between asymmetric 1 and 2 and b
select a is distinct from b, a is not distinct from 5, a is true, a is not unknown, not a = b, not exists (select 1 from t)
select id = any($1), id = any(array[1,2]), id = any(select x from y), id <> all (select 1), id = some('{1}'::int[]), id in (select 1), id in ((select 1)), id not in (1,2)
select (t.a).b, a[1], t.a[1:2], (f(x)).*, (f(x)).y, (t).*, a.b.c.d
select f(variadic array[1]), f(a => 1, b := 2), s.f(1), f(t.*), f(*)
select * from f(1) with ordinality as x(a,b), lateral (select 1) y, lateral g(2) z, unnest(array[1,2]) u(v)
select * from f() as (a int, b text)
select * from f() as x(a int, b text)
select * from rows from (f(1), g(2))
select * from t tablesample system (10) repeatable (3)
select * from t tablesample bernoulli (f(3))
select * from (a join b using (id)) as j join c on j.id = c.id
select * from a natural left join b cross join c full join d using (x, y)
select * from a join b join c on b.x = c.x on a.x = b.x
select a op from t format, u final, v settings, w asof
select x from t qualify where y = 1
select distinct on (a) a, b from t
select a from t group by rollup(a, b), grouping sets ((a), ())
select a, count(*) from t group by a having count(*) > 1
select * into temp foo from t
select * into s.foo from t
select case when a then b else c end, case x when 1 then 2 end
select a operator(pg_catalog.=) 5, a operator(=) 'x', a @> b, a -> 'b' ->> 'c', a #>> '{x}', a <-> b, a && b, a ?| b, -a ^ 2, -a, - 1, +1, @ a, ~ b, |/ 4, !! 5, a % 5, -1::int
select 0x10
select 1_000
select U&"\0061bc", U&'\0061', U&'!0061' uescape '!', "A", "a""b" from "Foo"."Bar" where "ID" = 1
select e'a\nb\'c', $$x$$, $t$y$$z$t$, b'01', x'1F', n'abc'
select 'a'
select a from t fetch first 3 rows only
select a from t fetch first row with ties
select a from t order by a offset 5 rows fetch next 1 row only
select a from t offset (1) rows
select a from t limit all
select xmlelement(name foo)
select a from t where current of c
select a.b.c from x as select
select * from users where id = 1; select 2
select time, date, first, range, values from t
select t.only, t.order, t.table from t
select collation for ('x')
select id from users where (id, x) = (1, 2) or (id, x) in ((1,2),(3,4))
merge into t using s on t.id = s.id when matched then update set a = f(s.a) when not matched then insert values (s.id)
with q as (select 1) merge into t using (select * from s where x in (select 1 from y)) z on true when matched then delete
select
select from t
select a from t where id = 'x'::uuid and ts > '2020-01-01'::timestamptz and k = b'1'
select grouping(a), json_object('a': 1) from t
select * from t where a = 1 -- comment
/* shardgate: shard=s2 role=primary */ select 1
select a as "x y", b as order, c user, d from t as "T"
select * from t1 left join t2 on t1.id = t2.id and t2.k = 5 right join t3 on true
select id from t where id = -5 and x = - -5 and y = +3
select * from generate_series(1, 10) g
select sum(x) over (order by y range between '1 day'::interval preceding and unbounded following exclude ties) from t
values (1, 'a'), (2, 'b') order by 1
select exists(select 1), interval from t
select * from t where a in (1,2,3) and not (b = 1 or c = 2)
