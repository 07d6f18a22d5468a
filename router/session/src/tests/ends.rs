//! What ends at a bad moment: a client behind its SET, a server while a cancel request is under way, a pin before its
//! reason has begun.

use super::*;

#[test]
fn what_a_client_has_set_that_is_gone_is_read_back_all_the_same() {
    for gone in [true, false] {
        let mut script = Script::begin(&[]);
        script.query("set work_mem = '9MB'");
        let slot = script.expect_checkout(HOME, Wanted::Primary);
        script.attach(slot);
        assert_eq!(script.sent(slot), "Q");
        if gone {
            script.event(Event::ClientGone);
        } else {
            script.say(put::terminate);
        }
        script.done(slot, "SET", TxStatus::Idle);
        assert_eq!(script.sent(slot), "Q", "the question for the value");
        script.server(slot, |b| {
            let row = [Some(&b"s"[..]), Some(b"work_mem"), Some(b"9MB")];
            reply::data_row(b, &row);
            reply::command_complete(b, "SELECT 1");
            reply::ready(b, TxStatus::Idle);
        });
        let backend = script.expect_release(slot, true).unwrap();
        let applied = backend.applied.settings();
        assert_eq!(applied.get("work_mem").map(String::as_str), Some("9MB"));
    }
}

/// A SET is done, and its value is not asked for yet because a cancel request is on its way.
fn set_with_a_cancel_on_its_way() -> (Script, Slot) {
    let mut script = Script::begin(&[]);
    script.query("set work_mem = '9MB'");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.sent(slot);
    script.event(Event::CancelRequested);
    assert!(matches!(script.step(), Step::Cancel { .. }));
    script.done(slot, "SET", TxStatus::Idle);
    assert_eq!(
        (script.client().as_str(), script.sent(slot)),
        ("C", String::new())
    );
    (script, slot)
}

#[test]
fn a_server_lost_while_a_cancel_is_awaited_ends_the_session() {
    let (mut script, slot) = set_with_a_cancel_on_its_way();
    script.event(Event::BackendLost { slot });
    assert_eq!(script.client(), "E(08006)");
    script.expect_release(slot, false);
    assert!(matches!(script.step(), Step::Close));

    let (mut script, slot) = set_with_a_cancel_on_its_way();
    script.server(slot, |b| {
        reply::error(b, &PgError::error("57P01", "terminated").fatal());
    });
    assert_eq!(script.client(), "E(57P01)");
    script.expect_release(slot, false);
    assert!(matches!(script.step(), Step::Close));
}

#[test]
fn no_cancel_is_sent_to_what_the_router_runs_before_a_statement() {
    let mut script = Script::begin(&[("work_mem", "9MB")]);
    script.query("select id from notes");
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    assert_eq!(script.sent(slot), "QQ", "the setting and the statement");
    script.event(Event::CancelRequested);
    assert!(matches!(script.step(), Step::Cancel { .. }));
    assert!(!script.session.cancel_is_wanted(slot));
    script.done(slot, "SELECT 1", TxStatus::Idle);
    assert!(script.session.cancel_is_wanted(slot));
}

#[test]
fn a_copy_whose_end_will_never_come_is_given_up() {
    let copy = |script: &mut Script| {
        script.query("copy notes from stdin");
        let slot = script.expect_checkout(HOME, Wanted::Primary);
        script.attach(slot);
        slot
    };
    let ready_for_data = |script: &mut Script, slot| {
        script.server(slot, |b| {
            b.extend_from_slice(&[b'G', 0, 0, 0, 9, 0, 0, 1, 0, 0]);
        });
    };
    // Gone before the server is ready for data, behind some data, and behind half a message.
    for data in [&b""[..], b"d\0\0\0\x061\n", b"d\0\0\0\x061"] {
        for early in [true, false] {
            let mut script = Script::begin(&[]);
            let slot = copy(&mut script);
            if !early {
                ready_for_data(&mut script, slot);
            }
            script.say(|b| b.extend_from_slice(data));
            script.event(Event::ClientGone);
            if early {
                script.expect_no_steps();
                ready_for_data(&mut script, slot);
            }
            script.expect_release(slot, false);
            assert!(matches!(script.step(), Step::Close));
        }
    }
    // One that was ended is carried out.
    let mut script = Script::begin(&[]);
    let slot = copy(&mut script);
    script.say(|b| b.extend_from_slice(b"d\0\0\0\x061\nc\0\0\0\x04"));
    script.event(Event::ClientGone);
    ready_for_data(&mut script, slot);
    assert_eq!(script.sent(slot), "Qdc");
    script.done(slot, "COPY 1", TxStatus::Idle);
    script.expect_release(slot, true);
    assert!(matches!(script.step(), Step::Close));
}

/// A session whose every statement pins, and which is told nothing more.
fn pinning(startup: &[(&str, &str)]) -> Script {
    let mut script = Script::begin(startup);
    script.query("set shardgate.pin = on");
    script.client();
    script
}

#[test]
fn a_pin_outlasts_what_the_router_runs_before_the_statement() {
    let mut script = pinning(&[("work_mem", "9MB")]);
    script.say(|b| {
        put::parse(b, b"", b"select id from notes", &[]);
        put::bind_text(b, b"", b"", &[]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    assert!(
        script.sent(slot).starts_with("QP"),
        "the setting comes first"
    );
    script.done(slot, "SELECT 1", TxStatus::Idle);
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::command_complete(b, "SELECT 0");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "12CZI");
    assert!(matches!(script.step(), Step::Settled { .. }));
    script.expect_no_steps();
}

#[test]
fn a_query_that_the_server_cannot_read_leaves_no_pin() {
    let check = |error: &[u8], begun: bool, stays: bool| {
        let mut script = pinning(&[("work_mem", "9MB")]);
        script.query("select id from notes");
        let slot = script.expect_checkout(HOME, Wanted::Replica);
        script.attach(slot);
        script.done(slot, "SELECT 1", TxStatus::Idle);
        script.server(slot, |b| {
            if begun {
                reply::command_complete(b, "SELECT 0");
            }
            let length = u32::try_from(error.len() + 4).unwrap();
            b.extend_from_slice(b"E");
            b.extend_from_slice(&length.to_be_bytes());
            b.extend_from_slice(error);
            reply::ready(b, TxStatus::Idle);
        });
        while matches!(script.steps.first(), Some(Step::Settled { .. })) {
            script.step();
        }
        let error = error.escape_ascii();
        assert_eq!(script.steps.is_empty(), stays, "{error}, begun: {begun}");
    };
    let syntax = b"SERROR\0VERROR\0C42601\0Msyntax\0P1\0\0";
    check(syntax, false, false);
    check(syntax, true, true);
    check(b"SERROR\0VERROR\0C22012\0Mdivision\0\0", false, true);
    // The text of a function.
    check(
        b"SERROR\0VERROR\0C42601\0Msyntax\0p1\0qselec\0WPL/pgSQL\0\0",
        false,
        true,
    );
    check(
        b"SERROR\0VERROR\0C42601\0Msyntax\0P1\0WPL/pgSQL\0\0",
        false,
        true,
    );
}
