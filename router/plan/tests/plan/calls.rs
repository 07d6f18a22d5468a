//! The router's own functions.

use crate::fixture::*;
use shardgate_plan::{Argument, Call, CallName, Decision, Route};

fn call(sql: &str) -> Call {
    match Fixture::new().compile(sql).route {
        Route::Call(call) => call,
        other => panic!("{sql}: {other:?}"),
    }
}

fn text(value: &str) -> Argument {
    Argument::Text(Some(value.to_owned()))
}

#[test]
fn calls() {
    let one = call("SELECT create_distributed_table('t', 'id')");
    assert_eq!(one.function, CallName::CreateDistributedTable);
    assert_eq!(one.column, "create_distributed_table");
    assert_eq!(one.args, vec![(None, text("t")), (None, text("id"))]);
    let all = call(
        "select shardgate.create_distributed_table('public.t'::regclass, $1, 'range', colocate_with => 'x', buckets => 64, bounds => ARRAY['a', 'b']) AS x",
    );
    assert_eq!(all.column, "x");
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        all.args,
        vec![
            (None, text("public.t")),
            (None, Argument::Param(1)),
            (None, text("range")),
            (named("colocate_with"), text("x")),
            (named("buckets"), text("64")),
            (
                named("bounds"),
                Argument::List(vec!["a".into(), "b".into()])
            ),
        ]
    );
    let list = call(
        "SELECT create_distributed_table('t', 'id', 'range', bounds => '{2026-01-01,2026-07-01}'::text[])",
    );
    assert_eq!(
        list.args[3].1,
        Argument::List(vec!["2026-01-01".into(), "2026-07-01".into()])
    );
    assert_eq!(
        call("SELECT create_reference_table('t')").function,
        CallName::CreateReferenceTable
    );
    assert_eq!(
        call("SELECT undistribute_table('users')").function,
        CallName::UndistributeTable
    );
    assert_eq!(
        call("SELECT pg_backend_pid()").function,
        CallName::BackendPid
    );
    assert_eq!(
        call("SELECT pg_catalog.pg_backend_pid() AS pid").column,
        "pid"
    );
    assert_eq!(
        call("SELECT undistribute_table(NULL)").args,
        vec![(None, Argument::Text(None))]
    );
}

#[test]
fn misplaced_calls() {
    refused(
        "
        SELECT create_distributed_table('t', 'id') FROM notes
        SELECT create_distributed_table('t', 'id'), 1
        SELECT * FROM create_reference_table('t')
        SELECT create_reference_table('t') WHERE false
        SELECT undistribute_table(relname::text) FROM pg_class
        SELECT undistribute_table('a' || 'b')
        SELECT (SELECT create_reference_table('t'))
        INSERT INTO notes (id) SELECT create_reference_table('t')
        SELECT create_reference_table('t') LIMIT 1
        ",
    );
    let elsewhere = Fixture::new().decide("SELECT other.create_reference_table('t')", &[]);
    assert!(matches!(elsewhere, Decision::Shard(_)));
    let pid = Fixture::new().decide(
        "SELECT * FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        &[],
    );
    assert!(matches!(pid, Decision::Shard(_)));
}
