//! Moves: which statements concern one, what is refused meanwhile, and what is asked of each shard.

use crate::fixture::*;
use shardgate_plan::snapshot::{DistributionId, Move, Placement};
use shardgate_plan::{Decision, Param};
use shardgate_shard_map::{Bucket, Key, Method, Parts, ShardId, Unpinned, bucket};

fn distribution(fixture: &Fixture, table: &str) -> DistributionId {
    let relation = fixture.snapshot.relation("public", table);
    let relation = relation.expect("a table of the fixture");
    match relation.placement {
        Placement::Distributed { distribution, .. } => distribution,
        Placement::Home | Placement::Reference => panic!("{table} is not distributed"),
    }
}

fn moving(fixture: &mut Fixture, id: i64, table: &str, parts: Parts, shards: [ShardId; 2]) {
    let distribution = distribution(fixture, table);
    fixture.snapshot.moves.push(Move {
        id,
        distribution,
        parts,
        shards,
        losing: shards[0],
        holding: false,
        since: 0,
    });
}

/// Move 7: the bucket of the key `{a}` of `users` and its kin. Move 8: the second range of `events`, which is 2025.
fn fixture() -> Fixture {
    Fixture::with(|fixture| {
        let Bucket(number) = bucket(&Key::Int(key("a")), 1024);
        let shards = [ShardId(2), ShardId(3)];
        moving(fixture, 7, "users", Parts::of_buckets([number]), shards);
        let events = distribution(fixture, "events");
        let Method::Range { bounds, .. } = &fixture.snapshot.distributions[&events].map.method
        else {
            panic!("events is spread by range");
        };
        let parts = Parts {
            unpinned: Unpinned::Ranges(vec![(bounds.first().cloned(), bounds.get(1).cloned())]),
            pins: Default::default(),
        };
        moving(fixture, 8, "events", parts, shards);
    })
}

/// The ids of the moves that the statement concerns.
fn check(sql: &str, params: &[Option<&str>], expect: &[i64]) {
    let fixture = fixture();
    let sql = fill(sql);
    if params.is_empty() {
        // With its constants lifted out it must concern the same.
        fixture.decide(&sql, &[]);
    }
    let compiled = fixture.compile(&sql);
    let params: Vec<Param<'_>> = params
        .iter()
        .map(|value| Param {
            binary: false,
            value: value.map(str::as_bytes),
        })
        .collect();
    let moving = compiled.moving(&params, &fixture.snapshot);
    let found: Vec<i64> = moving.of(&fixture.snapshot).map(|one| one.id).collect();
    assert_eq!(found, expect, "{sql} {params:?}");
}

#[test]
fn keys_decide_which_moves_are_concerned() {
    check("SELECT * FROM users WHERE id = {a}", &[], &[7]);
    check("SELECT * FROM users WHERE id = {b}", &[], &[]);
    check("SELECT * FROM users WHERE id IN ({b}, {a})", &[], &[7]);
    check("UPDATE users SET age = 1 WHERE id = {a}", &[], &[7]);
    check("DELETE FROM users WHERE id = {c}", &[], &[]);
    check("INSERT INTO users (id) VALUES ({a})", &[], &[7]);
    check("INSERT INTO users (id) VALUES ({b})", &[], &[]);
    check("INSERT INTO users (id) VALUES ({b}), ({a})", &[], &[7]);
    // Tables that are spread alike move together.
    check("SELECT * FROM orders WHERE user_id = {a}", &[], &[7]);
    check(
        "SELECT * FROM users u JOIN orders o ON u.id = o.user_id WHERE u.id = {b}",
        &[],
        &[],
    );
    check(
        "SELECT * FROM users u JOIN orders o ON u.id = o.user_id WHERE o.user_id = {a}",
        &[],
        &[7],
    );
    check("SELECT * FROM names WHERE code = 'x'", &[], &[]);
    check("SELECT * FROM notes", &[], &[]);
    check("SELECT * FROM countries", &[], &[]);
    check("SELECT 1", &[], &[]);
    // Nothing that can be said of a key.
    check("SELECT * FROM users WHERE id = NULL", &[], &[]);
    check("EXPLAIN SELECT * FROM users WHERE id = {a}", &[], &[7]);
    check("EXPLAIN SELECT * FROM users WHERE id = {b}", &[], &[]);
    check(
        "DECLARE c CURSOR FOR SELECT * FROM users WHERE id = {a}",
        &[],
        &[7],
    );
    check(
        "COPY (SELECT * FROM users WHERE id = {b}) TO STDOUT",
        &[],
        &[],
    );
    check(
        "COPY (SELECT * FROM users WHERE id = {a}) TO STDOUT",
        &[],
        &[7],
    );
}

#[test]
fn parameters_decide_as_constants_do() {
    let (a, b) = (key("a").to_string(), key("b").to_string());
    let sql = "SELECT * FROM users WHERE id = $1";
    check(sql, &[Some(a.as_str())], &[7]);
    check(sql, &[Some(b.as_str())], &[]);
    check(sql, &[None], &[]);
    check(sql, &[Some("no number")], &[]);
    let sql = "UPDATE users SET age = $2 WHERE id = $1";
    check(sql, &[Some(a.as_str()), Some("1")], &[7]);
    check(sql, &[Some(b.as_str()), Some("1")], &[]);
}

#[test]
fn intervals_concern_the_ranges_that_they_meet() {
    check("SELECT * FROM events WHERE day = '2024-12-31'", &[], &[]);
    check("SELECT * FROM events WHERE day = '2025-01-01'", &[], &[8]);
    check("SELECT * FROM events WHERE day = '2026-01-01'", &[], &[]);
    let between = |low: &str, high: &str, expect: &[i64]| {
        let sql = format!("SELECT * FROM events WHERE day BETWEEN '{low}' AND '{high}'");
        check(&sql, &[], expect);
    };
    between("2024-01-01", "2024-12-31", &[]);
    between("2024-01-01", "2025-01-01", &[8]);
    between("2025-12-31", "2027-01-01", &[8]);
    between("2026-01-01", "2027-01-01", &[]);
    check(
        "SELECT * FROM events WHERE day >= '2024-06-01' AND day < '2025-01-01'",
        &[],
        &[],
    );
}

#[test]
fn what_is_not_bound_concerns_the_moves_of_its_tables() {
    check("SELECT count(*) FROM users", &[], &[7]);
    check("SELECT * FROM users WHERE id > {b}", &[], &[7]);
    check("UPDATE users SET age = 1", &[], &[7]);
    check("SELECT * FROM users WHERE id IN ({b}, {c})", &[], &[7]);
    // Both on one shard, by keys of which one moves.
    check(
        "SELECT * FROM users u, events e WHERE u.id = {b} AND e.day = '2025-02-01'",
        &[],
        &[8],
    );
    check(
        "SELECT * FROM users u, events e WHERE u.id = {b}",
        &[],
        &[7, 8],
    );
    check("COPY users FROM STDIN", &[], &[7]);
    check("LOCK TABLE users", &[], &[7]);
    check("SELECT count(*) FROM names", &[], &[]);
}

#[test]
fn the_schema_of_tables_that_move_stays_and_none_is_emptied() {
    let fixture = fixture();
    let check = |sql: &str, expect: &str| {
        let decision = fixture.compile(sql).decide(&[], &fixture.snapshot);
        let found = match &decision {
            Decision::Refused(refusal) => refusal.sqlstate,
            Decision::AllShards => "all",
            Decision::Shard(_) => "home",
            Decision::Any | Decision::Gather(..) | Decision::Spread(_) | Decision::Call(_) => {
                "other"
            }
        };
        assert_eq!(found, expect, "{sql}: {decision:?}");
    };
    for table in ["users", "orders", "events"] {
        check(&format!("TRUNCATE {table}"), "55006");
        check(&format!("TRUNCATE names, {table}"), "55006");
        check(&format!("ALTER TABLE {table} ADD COLUMN x int"), "55006");
        check(&format!("DROP TABLE {table}"), "55006");
        check(&format!("CREATE INDEX ON {table} (x)"), "55006");
        check(&format!("VACUUM {table}"), "all");
        check(&format!("ANALYZE {table}"), "all");
    }
    check("TRUNCATE names", "all");
    check("ALTER TABLE names ADD COLUMN x int", "all");
    check("DROP TABLE notes", "home");
    check("CREATE TABLE fresh (x int)", "home");
}

#[test]
fn each_shard_is_asked_for_the_rows_that_it_owns() {
    let gathered = |fixture: &Fixture| match fixture
        .compile("SELECT count(*) FROM users")
        .decide(&[], &fixture.snapshot)
    {
        Decision::Gather(gather, _) => gather,
        other => panic!("{other:?}"),
    };
    let without = gathered(&Fixture::new());
    let plain = r#"SELECT shardgate_row FROM "public"."users" AS shardgate_row"#;
    let table = &without.tables[0];
    for shard in &table.shards {
        assert_eq!(table.select_on(*shard), plain);
    }
    let fixture = fixture();
    let gather = gathered(&fixture);
    let table = &gather.tables[0];
    let map = &fixture.snapshot.distributions[&distribution(&fixture, "users")].map;
    for shard in &table.shards {
        let owned = map.ownership_sql(r#"shardgate_row."id""#, *shard);
        assert_eq!(
            table.select_on(*shard),
            format!("{plain} WHERE ({owned}) IS TRUE")
        );
    }
    // A shard that owns nothing has nothing to say, whatever was copied there.
    assert_eq!(
        table.select_on(ShardId(99)),
        format!("{plain} WHERE (false) IS TRUE")
    );
}
