//! What the parser is known to read wrongly or not at all: here it must be right, or not understood.

mod show;
use show::{check, show};

/// Read wrongly by the parser alone, and right here.
#[test]
fn mended() {
    check(&[
        ("select * from only t", "select[*] from[only t]"),
        (
            "select * from x join only s.t on true",
            "select[*] from[<x inner only s.t on true>]",
        ),
        ("update only t set a = 1", "update only t set[a=1]"),
        (
            "delete from only t where a = 1",
            "delete only t where (= a 1)",
        ),
        (
            "with x as (select 1) update t set a = 1",
            "with x={select[1]} update t set[a=1]",
        ),
        (
            "with x as (delete from t returning a) select * from x",
            "with x={delete t returning[a]} select[*] from[x]",
        ),
        (
            "select id<>-1, id>=-1, id>-1, id<>/**/1",
            "select[(<> id -1), (>= id -1), (> id -1), (<> id 1)]",
        ),
        ("select 'a'\n'b'", "select['ab']"),
        (
            "select pg_lsn '0/1', mytype 'x'",
            "select['0/1'::pg_lsn, 'x'::mytype]",
        ),
        (
            "select a isnull, b notnull",
            "select[(null a), (not-null b)]",
        ),
        (
            r#"select U&"\0078" from U&"!0074" uescape '!'"#,
            "select[x] from[t]",
        ),
        (
            "select interval(0) '1 s', interval '1' hour to second(2)",
            "select['1 s'::interval(0), '1'::interval]",
        ),
        (
            "select * from t union table u",
            "(union {select[*] from[t]} {select[*] from[u]})",
        ),
        ("select * into x from t", "select[*] into x from[t]"),
        ("show a.b", "Show(\"a.b\")"),
        (
            "select * from t format, u final, v asof, w settings",
            "select[*] from[t format, u final, v asof, w settings]",
        ),
        (
            "select a from t where b = 'x' escape",
            "unparsed SELECT A FROM",
        ),
        (
            "select x <| y, a ?~ b 'c'",
            "select[(<| x y), (?~ a 'c'::b)]",
        ),
        ("select a === b", "select[(=== a b)]"),
        (
            "select hstore 'a' ? 'b', hstore 'a' ?| c",
            "select[(? 'a'::hstore 'b'), (?| 'a'::hstore c)]",
        ),
        (
            "select a *= b, a *< b, a *<> b",
            "select[(*= a b), (*< a b), (*<> a b)]",
        ),
        ("select f(variadic array[1])", "select[f(array[1])]"),
        (
            "select * from t for update of a, b",
            "select[*] from[t] locking",
        ),
        (
            "insert into t(a) overriding user value select 1",
            "insert t(a) overriding {select[1]}",
        ),
        (
            "insert into t values (1) on conflict (lower(x)) do nothing",
            "insert t values (1) conflict(?) nothing",
        ),
        (
            "insert into t values (1) on conflict (k) where p do update set a = 1",
            "insert t values (1) conflict(?) set[a=1]",
        ),
        (
            "insert into t values (1) on conflict (k collate \"C\") do nothing",
            "insert t values (1) conflict(?) nothing",
        ),
        (
            "insert into t values (1) on conflict (a, b) do nothing",
            "insert t values (1) conflict(a b) nothing",
        ),
    ]);
}

/// A statement that the parser swallows behind COPY is one of its own.
#[test]
fn behind_copy() {
    assert_eq!(
        show("copy t from stdin; delete from t"),
        "unparsed COPY T FROM"
    );
    assert_eq!(
        shardgate_sql::split("copy t from stdin; delete from t")
            .expect("sound")
            .len(),
        2
    );
}

/// Right for Postgres, and not understood here. If one becomes understood, its meaning must be checked and moved above.
#[test]
fn refused() {
    let mut understood = Vec::new();
    for sql in [
        "update t set a[1] = 2",
        "insert into t(a[1]) values (1)",
        "select xmlelement(name foo)",
        "select xmlexists('a' passing b)",
        "select a is document",
        "select * from t*",
        "select * from rows from (f(1), g(2)) x",
        "with recursive x as (select 1) cycle b set c using p select * from x",
        "with recursive x as (select 1) search depth first by a set b select * from x",
        "select * from a join b using (i) as c",
        "select * from f() as (a int, b text)",
        "update t set a = 1 where current of c",
        "select a between symmetric 1 and 2",
        "select collation for (a)",
        "select substring(a similar b escape 'c')",
        "select 33 * any (b)",
        "select operator(pg_catalog.+) 1",
        "select - a ^ 2",
        "select @ a + b",
        "select @ case when a then b end + c",
        "select 0x10, 1_000",
        "select flag := a > b",
        "select 'a' 'b'",
        "select t.'a' from t",
        "select count(*) filter (where a) 'x'",
        "select a from t limit 1, 2",
        "select a operator(x.y.=) b",
        "with x as (select 1) select * from y; drop table t",
        "select 1 from t where a = 1 and",
        "select all 'x' 'y'",
        "insert t values (1)",
        "delete t",
        "update t set a = 1 limit 1",
        "delete from t order by a",
        "replace into t values (1)",
        "insert into t set a = 1",
        "insert into t values (1) on duplicate key update a = 1",
        "select * from t left semi join u on a = b",
        "select * from t cross apply f(a)",
        "select * from t pivot (sum(a) for b in (1))",
        "select * except (a) from t",
        "select * replace (1 as a) from t",
        "from t select a",
        "select a from t qualify row_number() over () = 1",
        "select top 5 a from t",
        "select a from t sort by a",
        "select a -> b -> c from t |> where x",
        "select `a` from t",
        "select a from @stage",
        "select $$a from t",
    ] {
        let got = show(sql);
        if !got.starts_with("unparsed") {
            understood.push(format!("{sql}: {got}"));
        }
    }
    assert!(understood.is_empty(), "{}", understood.join("\n"));
}
