//! Reads that are gathered: rows of all shards, limits, errors, a session that ends meanwhile.

use super::*;

/// The reply to what is asked of a shard for one table: rows of one column; home describes it too.
pub(super) fn shard_rows(bytes: &mut BytesMut, home: bool, rows: &[&[u8]]) {
    reply::parse_complete(bytes);
    reply::bind_complete(bytes);
    if home {
        let column = reply::ColumnDesc {
            name: "shardgate_row",
            type_oid: 20_001,
            size: -1,
        };
        reply::row_description(bytes, &[column]);
    }
    for row in rows {
        reply::data_row(bytes, &[Some(row)]);
    }
    reply::command_complete(bytes, "SELECT 1");
}

#[test]
fn rows_of_all_shards_are_gathered_and_home_answers() {
    let mut script = Script::begin(&[]);
    script.query("SELECT count(*) FROM users");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    assert_eq!(script.sent(second), "PBES");
    script.server(second, |b| {
        shard_rows(b, false, &[b"second"]);
        reply::ready(b, TxStatus::Idle);
    });
    // It is given back before home's connection has come.
    script.expect_release(second, true);
    script.attach(home);
    assert_eq!(script.sent(home), "PBDES");
    script.server(home, |b| {
        shard_rows(b, true, &[b"first", b""]);
        reply::ready(b, TxStatus::Idle);
    });
    script.expect_release(home, true);
    assert_eq!(script.client(), "");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let sent = script.out.backends[usize::from(home.0)].split();
    let sent = frames(&sent);
    let tags: String = sent.iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, "PBDES");
    let parse = String::from_utf8_lossy(&sent[0].1);
    assert!(parse.contains(r#"FROM pg_catalog.unnest($1::"public"."users"[]) AS "users""#));
    let array = b"\0\0\0\x01\0\0\0\0\0\0\x4e\x21\0\0\0\x03\0\0\0\x01\0\0\0\x05first\0\0\0\0\0\0\0\x06second";
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
fn an_error_of_a_shard_calls_the_others_off_and_waits_for_them() {
    let mut script = Script::begin(&[]);
    script.query("SELECT count(*) FROM users");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(home);
    script.attach(second);
    script.server(second, |b| {
        reply::parse_complete(b);
        reply::error(b, &PgError::error("42501", "permission denied"));
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "", "home has not answered yet");
    loop {
        match script.step() {
            Step::Cancel { slot } if slot == home => break,
            Step::Cancel { slot } => assert_eq!(slot, second),
            Step::Settled { .. } => {}
            other => panic!("a cancel request was expected, not {other:?}"),
        }
    }
    script.steps.clear();
    assert!(script.session.cancel_is_wanted(home));
    assert!(!script.session.cancel_is_wanted(second));
    script.event(Event::CancelDone {
        slot: second,
        sent: false,
    });
    script.expect_release(second, true);
    script.server(home, |b| {
        reply::parse_complete(b);
        reply::error(b, &PgError::error("57014", "canceling statement"));
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "", "the cancel request is on its way");
    script.event(Event::CancelDone {
        slot: home,
        sent: true,
    });
    assert_eq!(script.client(), "E(42501)ZI");
    script.expect_release(home, true);
    assert_eq!(script.session.options.common.gather.budget.bytes_used(), 0);
}

#[test]
fn the_last_row_allowed_is_gathered_and_the_next_is_not() {
    for (rows, expect) in [(1000, ""), (1001, "E(54000)ZI")] {
        let mut script = Script::begin(&[]);
        script.query("SELECT count(*) FROM users");
        let home = script.expect_checkout(HOME, Wanted::Primary);
        let second = script.expect_checkout(SECOND, Wanted::Primary);
        for (slot, rows) in [(home, 500), (second, rows - 500)] {
            script.attach(slot);
            let list: Vec<&[u8]> = vec![b"row"; rows];
            script.server(slot, |b| {
                shard_rows(b, slot == home, &list);
                reply::ready(b, TxStatus::Idle);
            });
        }
        for slot in [home, second] {
            script.event(Event::CancelDone { slot, sent: false });
        }
        assert_eq!(script.client(), expect, "{rows} rows");
        let limited = script.session.take_counts().gather_limited;
        assert_eq!(limited, u64::from(rows > 1000));
    }
}

#[test]
fn a_session_that_ends_in_the_middle_of_a_gathering_closes_what_is_not_clean() {
    let mut script = Script::begin(&[]);
    script.query("SELECT count(*) FROM users");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(home);
    script.server(home, |b| shard_rows(b, true, &[b"row"]));
    assert!(script.session.options.common.gather.budget.bytes_used() > 0);
    script.event(Event::Terminate(PgError::error("57P01", "goodbye").fatal()));
    assert_eq!(script.client(), "E(57P01)");
    script.expect_release(home, false);
    assert!(matches!(script.step(), Step::AbandonCheckout { slot } if slot == second));
    assert_eq!(script.session.options.common.gather.budget.bytes_used(), 0);
}
