//! Errors that a server says, and what a client that leaves is told.

use super::*;

#[test]
fn in_a_block_that_the_router_failed_a_server_says_so_of_the_next_statement() {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.query("select * from users");
    assert_eq!(script.client(), "CZTE(0A000)ZE");
    script.query("select 1");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(
        script.sent_queries(slot),
        ["begin\n;ROLLBACK TO SAVEPOINT shardgate_fails", "select 1"]
    );
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::error(b, &PgError::error("3B001", "no such savepoint"));
        reply::ready(b, TxStatus::Failed);
        reply::error(b, &PgError::error("25P02", "aborted"));
        reply::ready(b, TxStatus::Failed);
    });
    assert_eq!(script.client(), "E(25P02)ZE");
    script.query("commit");
    script.done(slot, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "CZI");
    script.expect_release(slot, true);
}

#[test]
fn a_block_that_was_to_fail_and_did_not_is_doubt() {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.query("select * from users");
    script.query("select 1");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.done(slot, "BEGIN", TxStatus::InTransaction);
    assert!(script.client().ends_with("E(08P01)"));
    script.expect_release(slot, false);
}

#[test]
fn a_server_says_what_it_can_say_itself() {
    let check = |write: fn(&mut BytesMut), sent: &str| {
        let mut script = Script::begin(&[]);
        script.say(|b| {
            write(b);
            put::query(b, b"select 'is skipped'");
            put::sync(b);
        });
        let slot = script.expect_checkout(HOME, Wanted::Primary);
        script.attach(slot);
        assert_eq!(script.sent(slot), sent);
        script.server(slot, |b| {
            if sent.starts_with("CB") {
                reply::close_complete(b);
            }
            reply::error(b, &PgError::error("XX001", "the server's own"));
            reply::ready(b, TxStatus::Idle);
        });
        assert_eq!(script.client(), "E(XX001)ZI");
        script.expect_release(slot, true);
    };
    check(|b| put::bind_text(b, b"", b"nope", &[]), "BS");
    // A statement without a name may be left there by another client.
    check(|b| put::bind_text(b, b"", b"", &[]), "CBS");
    check(|b| put::describe(b, b'S', b"nope"), "DS");
    check(|b| put::describe(b, b'P', b"nope"), "DS");
    check(|b| put::execute(b, b"nope", 0), "ES");
    check(|b| put::parse(b, b"s", b"select 1; select 2", &[]), "PS");
    check(|b| put::parse(b, b"s", b"select 'open", &[]), "PS");
    check(|b| b.extend_from_slice(b"H\0\0\0\x05x"), "HS");
}

#[test]
fn what_can_only_fail_and_does_not_is_doubt() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::bind_text(b, b"", b"nope", &[]);
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.server(slot, reply::bind_complete);
    assert_eq!(script.client(), "E(08P01)");
    script.expect_release(slot, false);
}

#[test]
fn names_of_the_routers_own_are_never_told_to_a_server_by_a_client() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::bind_text(b, b"", b"sg_1", &[]);
        put::sync(b);
        put::describe(b, b'S', b"sg_settings");
        put::sync(b);
    });
    script.expect_no_steps();
    assert_eq!(script.client(), "E(26000)ZIE(26000)ZI");
}

#[test]
fn a_name_that_was_lent_to_a_server_is_closed_before_the_client_goes_on() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"s", b"select $1::int4", &[]);
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::ready(b, TxStatus::Idle);
    });
    let backend = script.expect_release(slot, true).expect("given back");
    script.client();
    script.sent(slot);
    script.say(|b| {
        put::bind_text(b, b"", b"s", &[]);
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach_backend(slot, backend);
    assert_eq!(script.sent(slot), "PBS");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::error(b, &PgError::error("08P01", "one parameter is missing"));
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.sent(slot), "CS");
    assert_eq!(
        script.client(),
        "E(08P01)",
        "ReadyForQuery waits for the Close"
    );
    script.expect_no_steps();
    script.server(slot, |b| {
        reply::close_complete(b);
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "ZI");
    script.expect_release(slot, true);
}

#[test]
fn a_server_is_asked_about_a_text_that_the_router_cannot_read() {
    let ask = |answer: fn(&mut BytesMut), told: &str| {
        let mut script = Script::begin(&[]);
        script.query("selec from users");
        script.query("begin");
        let slot = script.expect_checkout(HOME, Wanted::Primary);
        script.attach(slot);
        assert_eq!(script.sent(slot), "PH");
        script.server(slot, answer);
        let sent = script.sent(slot);
        script.server(slot, |b| {
            if sent == "BS" {
                reply::error(b, &PgError::error("26000", "no such statement"));
            }
            reply::ready(b, TxStatus::Idle);
        });
        assert_eq!(script.client(), told);
        script.expect_release(slot, true);
    };
    ask(
        |b| reply::error(b, &PgError::error("42601", "syntax error")),
        "E(42601)ZICZT",
    );
    ask(reply::parse_complete, "E(0A000)ZICZT");
}

#[test]
fn a_reply_to_an_earlier_statement_of_a_name_says_nothing_of_the_later_one() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"", b"select 1", &[]);
        put::describe(b, b'S', b"");
        put::parse(b, b"", b"selec", &[]);
        put::flush(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PDPH");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::parameter_description(b, &[]);
        reply::no_data(b);
        reply::error(b, &PgError::error("42601", "syntax error"));
    });
    assert_eq!(script.client(), "1tnE(42601)");
    script.say(put::sync);
    assert_eq!(script.sent(slot), "S");
    script.server(slot, |b| reply::ready(b, TxStatus::Idle));
    script.expect_release(slot, true);
    // Nobody believes now that a server knows the text.
    script.say(|b| {
        put::parse(b, b"", b"selec", &[]);
        put::sync(b);
    });
    script.expect_checkout(HOME, Wanted::Primary);
}

#[test]
fn a_client_that_leaves_is_told_the_errors_of_what_it_had_sent() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"s", b"select 1", &[]);
        put::parse(b, b"t", b"selec", &[]);
        put::terminate(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(
        script.sent(slot),
        "PPS",
        "the Sync lets the backend be clean"
    );
    script.server(slot, reply::parse_complete);
    assert_eq!(script.client(), "", "nobody has asked for it yet");
    script.server(slot, |b| {
        reply::error(b, &PgError::error("42601", "syntax error"));
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "1E(42601)");
    script.expect_release(slot, true);
    assert!(matches!(script.step(), Step::Close));
}

#[test]
fn a_client_that_leaves_without_a_sync_has_nothing_committed() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"", b"delete from notes", &[]);
        put::bind_text(b, b"", b"", &[]);
        put::execute(b, b"", 0);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.event(Event::ClientGone);
    assert_eq!(script.sent(slot), "PBEH", "no Sync, which would commit");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::command_complete(b, "DELETE 1");
    });
    assert_eq!(script.client(), "");
    script.expect_release(slot, false);
    assert!(matches!(script.step(), Step::Close));
}
