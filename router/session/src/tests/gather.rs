//! Reads that are gathered: rows of all shards, limits, errors, a session that ends meanwhile.

use super::*;

const THIRD: ShardId = ShardId(3);

/// What a gathering asks of one shard: it opens a transaction, describes the table, reads it, and ends.
pub(super) const ASKED: &str = "QPDPBESQ";

pub(super) fn columns(row: bool) -> Vec<reply::ColumnDesc<'static>> {
    let column = |name, type_oid, size| reply::ColumnDesc {
        name,
        type_oid,
        size,
    };
    let mut columns = vec![column("id", 20, 8), column("name", 25, -1)];
    if row {
        columns.insert(0, column("shardgate_row", 20_001, -1));
    }
    columns
}

fn described(bytes: &mut BytesMut, columns: &[reply::ColumnDesc<'_>]) {
    reply::parse_complete(bytes);
    reply::parameter_description(bytes, &[]);
    reply::row_description(bytes, columns);
}

/// The reply to that, up to its last row.
fn rows_begin(bytes: &mut BytesMut, rows: &[&[u8]]) {
    reply::command_complete(bytes, "BEGIN");
    reply::command_complete(bytes, "LOCK TABLE");
    reply::ready(bytes, TxStatus::InTransaction);
    described(bytes, &columns(false));
    reply::parse_complete(bytes);
    reply::bind_complete(bytes);
    for row in rows {
        reply::data_row(bytes, &[Some(row)]);
    }
}

fn rows_end(bytes: &mut BytesMut) {
    reply::command_complete(bytes, "SELECT 1");
    reply::ready(bytes, TxStatus::InTransaction);
    reply::command_complete(bytes, "COMMIT");
    reply::ready(bytes, TxStatus::Idle);
}

pub(super) fn shard_rows(bytes: &mut BytesMut, rows: &[&[u8]]) {
    rows_begin(bytes, rows);
    rows_end(bytes);
}

/// Two shards beside home, and a read over them under way: their slots.
fn three() -> (Script, [Slot; 2]) {
    let mut script = Script::begin(&[]);
    let mut snapshot = (*snapshot()).clone();
    snapshot.epoch.number = 2;
    snapshot.epoch.id = [2; 16];
    let third = Shard {
        id: THIRD,
        name: "s3".into(),
        ..snapshot.shards[1].clone()
    };
    snapshot.shards.push(third);
    let distribution = snapshot.distributions.values_mut().next().unwrap();
    distribution.map.method = Method::Range {
        bounds: vec![ShardKey::Int(100), ShardKey::Int(200)],
        owners: vec![HOME, SECOND, THIRD],
    };
    script.event(Event::Snapshot(Arc::new(snapshot)));
    script.query("SELECT count(*) FROM users");
    let slots = [SECOND, THIRD].map(|shard| script.expect_checkout(shard, Wanted::Primary));
    (script, slots)
}

/// Home is reached, and says what columns the table has.
pub(super) fn home_describes(script: &mut Script, columns: &[reply::ColumnDesc<'_>]) -> Slot {
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    assert_eq!(script.sent(home), "PDH");
    script.server(home, |b| described(b, columns));
    home
}

#[test]
fn rows_of_the_others_are_gathered_and_home_answers() {
    let (mut script, [second, third]) = three();
    script.attach(third);
    assert_eq!(script.sent(third), ASKED);
    script.server(third, |b| shard_rows(b, &[b"third"]));
    // It is given back before the other connection has come.
    script.expect_release(third, true);
    script.attach(second);
    let sent = script.sent_queries(second);
    assert_eq!(
        sent,
        [
            r#"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;LOCK TABLE "public"."users" IN ACCESS SHARE MODE"#,
            "COMMIT"
        ]
    );
    script.server(second, |b| shard_rows(b, &[b"first", b""]));
    script.expect_release(second, true);
    assert_eq!(script.client(), "");
    let home = home_describes(&mut script, &columns(true));
    let sent = script.out.backends[usize::from(home.0)].split();
    let sent = frames(&sent);
    let tags: String = sent.iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, "PBDES");
    let parse = String::from_utf8_lossy(&sent[0].1);
    let rows = r#"FROM pg_catalog.unnest(pg_catalog.array_cat(ARRAY(SELECT shardgate_row FROM "public"."users" AS shardgate_row), $1::"public"."users"[])) AS "users""#;
    assert!(parse.contains(rows), "{parse}");
    let array =
        b"\0\0\0\x01\0\0\0\0\0\0\x4e\x21\0\0\0\x03\0\0\0\x01\0\0\0\x05first\0\0\0\0\0\0\0\x05third";
    assert!(
        sent[1].1.windows(array.len()).any(|window| window == array),
        "{:?}",
        sent[1].1
    );
    script.server(home, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        let column = reply::ColumnDesc {
            name: "count",
            type_oid: 20,
            size: 8,
        };
        reply::row_description(b, &[column]);
        reply::data_row(b, &[Some(b"3")]);
        reply::command_complete(b, "SELECT 1");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "TDCZI");
    script.expect_release(home, true);
    assert_eq!(script.session.options.common.gather.budget.bytes_used(), 0);
    let counts = script.session.take_counts();
    assert_eq!((counts.gathered, counts.gathered_rows), (1, 3));
}

#[test]
fn rows_of_other_columns_than_homes_are_thrown_away() {
    let mut script = Script::begin(&[]);
    script.query("SELECT count(*) FROM users");
    let mut swapped = columns(true);
    swapped.swap(1, 2);
    let mut longer = columns(true);
    longer.push(reply::ColumnDesc {
        name: "more",
        type_oid: 25,
        size: -1,
    });
    let mut other_type = columns(true);
    other_type[2].type_oid = 1043;
    for odd in [swapped, longer, other_type] {
        let second = script.expect_checkout(SECOND, Wanted::Primary);
        script.attach(second);
        assert_eq!(script.sent(second), ASKED);
        script.server(second, |b| shard_rows(b, &[b"row"]));
        script.expect_release(second, true);
        let home = home_describes(&mut script, &odd);
        assert_eq!(script.sent(home), "S", "what is locked there is let go");
        script.server(home, |b| reply::ready(b, TxStatus::Idle));
        script.expect_release(home, true);
        assert_eq!(script.client(), "");
    }
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    script.sent(second);
    script.server(second, |b| shard_rows(b, &[b"row"]));
    let home = {
        script.expect_release(second, true);
        home_describes(&mut script, &columns(true))
    };
    assert_eq!(script.sent(home), "PBDES");
    assert_eq!(script.session.take_counts().gathered, 4);
}

#[test]
fn columns_that_never_fit_are_an_error() {
    let mut script = Script::begin(&[]);
    script.query("SELECT count(*) FROM users");
    for last in (0..20).map(|n| n == 19) {
        let second = script.expect_checkout(SECOND, Wanted::Primary);
        script.attach(second);
        script.sent(second);
        script.server(second, |b| shard_rows(b, &[b"row"]));
        script.expect_release(second, true);
        let home = home_describes(&mut script, &columns(true)[..2]);
        if last {
            assert_eq!(script.client(), "E(40001)");
            assert_eq!(script.sent(home), "BS");
        } else {
            assert_eq!(script.sent(home), "S");
            script.server(home, |b| reply::ready(b, TxStatus::Idle));
            script.expect_release(home, true);
        }
    }
    assert_eq!(script.session.options.common.gather.budget.bytes_used(), 0);
}

#[test]
fn home_that_cannot_describe_a_table_says_why() {
    let mut script = Script::begin(&[]);
    script.query("SELECT count(*) FROM users");
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    script.server(second, |b| shard_rows(b, &[b"row"]));
    script.expect_release(second, true);
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    script.event(Event::CancelRequested);
    assert!(matches!(script.step(), Step::Cancel { slot } if slot == home));
    assert!(script.session.cancel_is_wanted(home));
    script.event(Event::CancelDone {
        slot: home,
        sent: true,
    });
    script.sent(home);
    script.server(home, |b| {
        reply::error(b, &PgError::error("57014", "canceling statement"));
    });
    assert_eq!(script.sent(home), "S");
    script.server(home, |b| reply::ready(b, TxStatus::Idle));
    assert_eq!(script.client(), "E(57014)ZI");
    script.expect_release(home, true);
    assert_eq!(script.session.options.common.gather.budget.bytes_used(), 0);
}

#[test]
fn an_error_of_a_shard_calls_the_others_off_and_waits_for_them() {
    let (mut script, [second, third]) = three();
    script.attach(third);
    script.attach(second);
    script.server(second, |b| {
        reply::command_complete(b, "BEGIN");
        reply::error(b, &PgError::error("42501", "permission denied"));
        reply::ready(b, TxStatus::Failed);
        reply::error(b, &PgError::error("25P02", "aborted"));
        reply::ready(b, TxStatus::Failed);
        reply::command_complete(b, "ROLLBACK");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "", "the third has not answered yet");
    loop {
        match script.step() {
            Step::Cancel { slot } if slot == third => break,
            Step::Cancel { slot } => assert_eq!(slot, second),
            Step::Settled { .. } => {}
            other => panic!("a cancel request was expected, not {other:?}"),
        }
    }
    script.steps.clear();
    assert!(script.session.cancel_is_wanted(third));
    assert!(!script.session.cancel_is_wanted(second));
    script.event(Event::CancelDone {
        slot: second,
        sent: false,
    });
    script.expect_release(second, true);
    script.server(third, |b| {
        rows_begin(b, &[]);
        reply::error(b, &PgError::error("57014", "canceling statement"));
        reply::ready(b, TxStatus::Failed);
        reply::command_complete(b, "ROLLBACK");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "", "the cancel request is on its way");
    script.event(Event::CancelDone {
        slot: third,
        sent: true,
    });
    assert_eq!(script.client(), "E(42501)ZI");
    script.expect_release(third, true);
    assert_eq!(script.session.options.common.gather.budget.bytes_used(), 0);
}

#[test]
fn the_last_row_allowed_is_gathered_and_the_next_is_not() {
    for (rows, expect) in [(1000, ""), (1001, "E(54000)ZI")] {
        let (mut script, [second, third]) = three();
        for (slot, rows) in [(third, 500), (second, rows - 500)] {
            script.attach(slot);
            let list: Vec<&[u8]> = vec![b"row"; rows];
            script.server(slot, |b| shard_rows(b, &list));
        }
        for slot in [third, second] {
            script.event(Event::CancelDone { slot, sent: false });
        }
        assert_eq!(script.client(), expect, "{rows} rows");
        let limited = script.session.take_counts().gather_limited;
        assert_eq!(limited, u64::from(rows > 1000));
    }
}

#[test]
fn a_session_that_ends_in_the_middle_of_a_gathering_closes_what_is_not_clean() {
    let (mut script, [second, third]) = three();
    script.attach(third);
    script.server(third, |b| rows_begin(b, &[b"row"]));
    assert!(script.session.options.common.gather.budget.bytes_used() > 0);
    script.event(Event::Terminate(PgError::error("57P01", "goodbye").fatal()));
    assert_eq!(script.client(), "E(57P01)");
    assert!(matches!(script.step(), Step::AbandonCheckout { slot } if slot == second));
    script.expect_release(third, false);
    assert_eq!(script.session.options.common.gather.budget.bytes_used(), 0);
}
