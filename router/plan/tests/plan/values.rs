//! Parameters: declared and inferred types, text and binary, NULL, and values that Postgres refuses.

use crate::fixture::*;
use shardgate_plan::Decision;

fn declared(oid: u32) -> Fixture {
    Fixture::with(|f| f.declared = vec![oid])
}

#[test]
fn declared_types() {
    let by_id = "SELECT * FROM users WHERE id = $1";
    for oid in [0, 705, INT2, INT4, INT8] {
        declared(oid).check(by_id, &[Some("{a}")], "a");
    }
    for oid in [NUMERIC, FLOAT8, TEXT, VARCHAR, 26, 2205, UUID, INT8_ARRAY] {
        declared(oid).check(by_id, &[Some("{a}")], "refused");
    }
    // A declared type is not changed by other uses.
    declared(INT8).check(
        "SELECT $1 + age FROM users WHERE id = $1",
        &[Some("{a}")],
        "a",
    );
    let by_tag = "SELECT * FROM tags WHERE tag = $1";
    let x = format!("s{}", text_shard("x").0);
    for oid in [0, TEXT, VARCHAR] {
        declared(oid).check(by_tag, &[Some("x")], &x);
    }
    for oid in [BPCHAR, 19, INT4, BYTEA] {
        declared(oid).check(by_tag, &[Some("x")], "refused");
    }
    declared(TIMESTAMP).check(
        "SELECT * FROM stamps WHERE at = $1",
        &[Some("2026-01-01 00:00:00")],
        "refused",
    );
    declared(DATE).check(
        "SELECT * FROM events WHERE day = $1",
        &[Some("2025-03-01")],
        "s2",
    );
    declared(TIMESTAMPTZ).check(
        "SELECT * FROM events WHERE day = $1",
        &[Some("2025-03-01 00:00:00Z")],
        "refused",
    );
    declared(INT8_ARRAY).check(
        "SELECT * FROM users WHERE id = ANY ($1)",
        &[Some("{{a}}")],
        "a",
    );
    declared(INT8).check(
        "SELECT * FROM users WHERE id = ANY ($1)",
        &[Some("{{a}}")],
        "refused",
    );
    declared(NUMERIC).check(
        "INSERT INTO users (id) VALUES ($1)",
        &[Some("{a}")],
        "refused",
    );
    declared(TEXT).check(
        "SELECT * FROM users WHERE id = $1::int8",
        &[Some("{a}")],
        "refused",
    );
}

#[test]
fn binary() {
    let a = key("a");
    let fixture = Fixture::new();
    let shard = |decision: Decision| matches!(decision, Decision::Shard(shard) if shard.0 == 2);
    let sql = "SELECT * FROM users WHERE id = $1";
    assert!(shard(fixture.binary(sql, &[&a.to_be_bytes()])));
    assert!(shard(fixture.binary(
        sql,
        &[&i32::try_from(a).expect("small").to_be_bytes()]
    )));
    assert!(shard(fixture.binary(
        sql,
        &[&i16::try_from(a).expect("small").to_be_bytes()]
    )));
    assert!(shard(fixture.binary(
        "INSERT INTO users (id) VALUES ($1)",
        &[&a.to_be_bytes()]
    )));
    let mut array = Vec::new();
    for word in [1_i32, 0, 20, 1, 1, 8] {
        array.extend(word.to_be_bytes());
    }
    array.extend(a.to_be_bytes());
    assert!(shard(
        fixture.binary("SELECT * FROM users WHERE id = ANY ($1)", &[&array])
    ));
    array.pop();
    assert!(matches!(
        fixture.binary("SELECT * FROM users WHERE id = ANY ($1)", &[&array]),
        Decision::Refused(_)
    ));
}

/// What Postgres certainly refuses goes to some shard, so that Postgres gives the error.
#[test]
fn malformed() {
    let fixture = Fixture::new();
    for value in ["abc", "", "1.5", "99999999999999999999"] {
        fixture.check("SELECT * FROM users WHERE id = $1", &[Some(value)], "home");
    }
    fixture.check("SELECT * FROM users WHERE id = 'abc'", &[], "home");
    fixture.check(
        "SELECT * FROM users WHERE id = $1",
        &[Some("1_000")],
        "refused",
    );
    fixture.check(
        "SELECT * FROM docs WHERE id = $1",
        &[Some("nonsense")],
        "home",
    );
    fixture.check(
        "SELECT * FROM stamps WHERE at = $1",
        &[Some("yesterday")],
        "refused",
    );
    fixture.check("SELECT * FROM users WHERE id = $1", &[None], "home");
    fixture.check("SELECT * FROM users WHERE id = $1", &[], "home");
    assert!(matches!(
        fixture.binary("SELECT * FROM users WHERE id = $1", &[&[1, 2, 3]]),
        Decision::Shard(_)
    ));
}

/// All forms of one value go to one shard.
#[test]
fn forms_of_one_value() {
    let fixture = Fixture::new();
    let same = |sqls: &[&str]| {
        let first = fixture.decide(sqls[0], &[]);
        assert!(
            matches!(first, Decision::Shard(_)),
            "{}: {first:?}",
            sqls[0]
        );
        for sql in sqls {
            assert_eq!(fixture.decide(sql, &[]), first, "{sql}");
        }
    };
    same(&[
        "SELECT * FROM docs WHERE id = '550e8400-e29b-41d4-a716-446655440000'",
        "SELECT * FROM docs WHERE id = '{550E8400-e29b-41d4-a716-446655440000}'",
        "SELECT * FROM docs WHERE id = '550e8400e29b41d4a716446655440000'::uuid",
        "INSERT INTO docs VALUES (uuid '550e8400-e29b-41d4-a716-446655440000', 'x')",
    ]);
    same(&[
        "SELECT * FROM stamps WHERE at = '2026-01-01 02:00:00+02'",
        "SELECT * FROM stamps WHERE at = '2026-01-01T00:00:00Z'",
        "SELECT * FROM stamps WHERE at = timestamptz '2025-12-31 18:30:00-05:30'",
    ]);
    same(&[
        "SELECT * FROM blobs WHERE h = '\\x6162'",
        "SELECT * FROM blobs WHERE h = 'ab'",
        "SELECT * FROM blobs WHERE h = '\\141b'::bytea",
        "INSERT INTO blobs (h) VALUES ('\\x61 62')",
    ]);
}

/// Only the blanks that Postgres skips stand for nothing in an array.
#[test]
fn blanks_in_arrays() {
    let spaced = "\u{a0}abc";
    let shard = format!("s{}", text_shard(spaced).0);
    let sql = "SELECT * FROM tags WHERE tag = ANY ($1)";
    let fixture = Fixture::new();
    fixture.check(sql, &[Some("{\u{a0}abc}")], &shard);
    fixture.check(sql, &[Some("{ \u{b}\u{a0}abc\t}")], &shard);
    fixture.check(
        "SELECT * FROM tags WHERE tag = ANY ('{\u{a0}abc}')",
        &[],
        &shard,
    );
    fixture.check(sql, &[Some("\u{3000}{abc}")], "refused");
}

/// A text in another encoding than the router reads is not known.
#[test]
fn bytes_that_are_not_utf8() {
    let fixture = Fixture::new();
    let compiled = fixture.compile("SELECT * FROM tags WHERE tag = $1");
    for binary in [false, true] {
        let param = shardgate_plan::Param {
            binary,
            value: Some(b"caf\xe9"),
        };
        let decision = by_one_shard(compiled.decide(&[param], &fixture.snapshot));
        assert!(matches!(decision, Decision::Refused(_)), "{decision:?}");
    }
}
