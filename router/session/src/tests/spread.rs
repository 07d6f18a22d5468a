//! Writes over several shards: what each is sent in which order, and how they end.

use super::*;

const INSERT: &str =
    "insert into users (id, name) values (1, 'a'), (101, 'b'), (2, 'c') returning id";

fn columns(bytes: &mut BytesMut) {
    let column = reply::ColumnDesc {
        name: "id",
        type_oid: 20,
        size: 8,
    };
    reply::row_description(bytes, &[column]);
}

/// Home's answers to BEGIN, to the statement that is parsed, bound and described, and to the question behind it.
fn checked(script: &mut Script, home: Slot, isolation: &str) {
    assert_eq!(script.sent(home), "QPBDSQ");
    script.done(home, "BEGIN", TxStatus::InTransaction);
    script.server(home, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        columns(b);
        reply::ready(b, TxStatus::InTransaction);
    });
    script.server(home, |b| {
        reply::data_row(
            b,
            &[Some(isolation.as_bytes()), Some(b"2024-01-01 00:00:00+00")],
        );
    });
    script.done(home, "SELECT 1", TxStatus::InTransaction);
}

/// The answers to a part, and to the question behind it.
fn ran(script: &mut Script, slot: Slot, ids: &[&[u8]], wrote: bool) {
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        for id in ids {
            reply::data_row(b, &[Some(id)]);
        }
        reply::command_complete(b, &format!("INSERT 0 {}", ids.len()));
        reply::ready(b, TxStatus::InTransaction);
    });
    let wrote: &[u8] = if wrote { b"t" } else { b"f" };
    script.server(slot, |b| reply::data_row(b, &[Some(wrote), Some(b"t")]));
    script.done(slot, "SELECT 1", TxStatus::InTransaction);
}

fn failed(script: &mut Script, slot: Slot, state: &str) {
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::error(b, &PgError::error(state, "no"));
        reply::ready(b, TxStatus::Failed);
        reply::error(b, &PgError::error("25P02", "the transaction has failed"));
        reply::ready(b, TxStatus::Failed);
    });
}

/// An INSERT, as far as both shards are attached and home has looked at it.
fn begun(script: &mut Script) -> (Slot, Slot) {
    script.query(INSERT);
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.expect_no_steps();
    script.attach(home);
    // One connection is asked for behind the other.
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    assert_eq!(script.sent(home), "");
    script.attach(second);
    checked(script, home, "read committed");
    assert_eq!(script.sent(second), "");
    (home, second)
}

/// As far as the second shard has prepared.
fn prepared(script: &mut Script) -> (Slot, Slot) {
    let (home, second) = begun(script);
    assert_eq!(script.sent(home), "PBESQ");
    ran(script, home, &[b"1", b"2"], true);
    assert_eq!(script.sent(second), "QPBESQ");
    script.done(second, "BEGIN", TxStatus::InTransaction);
    ran(script, second, &[b"101"], true);
    assert!(script.sent_queries(second)[0].starts_with("PREPARE TRANSACTION"));
    assert_eq!(script.sent(home), "");
    script.done(second, "PREPARE TRANSACTION", TxStatus::Idle);
    assert_eq!(script.sent(home), "QQQ");
    (home, second)
}

fn decided(script: &mut Script, home: Slot) {
    script.done(home, "SELECT 1", TxStatus::InTransaction);
    script.done(home, "SELECT 1", TxStatus::InTransaction);
    script.done(home, "COMMIT", TxStatus::Idle);
}

#[test]
fn two_writers_are_prepared_decided_and_committed() {
    let mut script = Script::begin(&[]);
    let (home, second) = prepared(&mut script);
    decided(&mut script, home);
    assert_eq!(script.client(), "");
    assert!(script.sent_queries(second)[0].starts_with("COMMIT PREPARED"));
    script.done(second, "COMMIT PREPARED", TxStatus::Idle);
    let told = script.out.client.split();
    assert_eq!(types(&told), "TDDDCZI");
    // In the order of VALUES, whichever shard has them.
    let ids: Vec<u8> = frames(&told)
        .iter()
        .filter(|(tag, _)| *tag == b'D')
        .filter_map(|(_, body)| body.last().copied())
        .collect();
    assert_eq!(ids, b"112");
    script.expect_release(home, true);
    script.expect_release(second, true);
}

#[test]
fn one_writer_commits_without_being_prepared() {
    let mut script = Script::begin(&[]);
    script.query("update users set name = 'x'");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    checked(&mut script, home, "read committed");
    let part = |script: &mut Script, slot, tag: &str, wrote: &[u8]| {
        script.server(slot, |b| {
            reply::parse_complete(b);
            reply::bind_complete(b);
            reply::command_complete(b, tag);
            reply::ready(b, TxStatus::InTransaction);
        });
        script.server(slot, |b| reply::data_row(b, &[Some(wrote), Some(b"t")]));
        script.done(slot, "SELECT 1", TxStatus::InTransaction);
    };
    part(&mut script, home, "UPDATE 0", b"f");
    script.done(second, "BEGIN", TxStatus::InTransaction);
    script.sent(home);
    script.sent(second);
    part(&mut script, second, "UPDATE 3", b"t");
    assert_eq!(script.sent_queries(home), ["COMMIT"]);
    assert_eq!(script.sent_queries(second), ["COMMIT"]);
    script.done(home, "COMMIT", TxStatus::Idle);
    script.done(second, "COMMIT", TxStatus::Idle);
    assert_eq!(script.client(), "TCZI");
}

#[test]
fn an_error_of_one_shard_undoes_the_other() {
    let mut script = Script::begin(&[]);
    let (home, second) = begun(&mut script);
    script.sent(home);
    ran(&mut script, home, &[b"1", b"2"], true);
    script.sent(second);
    script.done(second, "BEGIN", TxStatus::InTransaction);
    failed(&mut script, second, "23505");
    assert_eq!(script.sent_queries(home), ["ROLLBACK"]);
    assert_eq!(script.sent_queries(second), ["ROLLBACK"]);
    script.done(home, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "");
    script.done(second, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "E(23505)ZI");
    script.expect_release(home, true);
    script.expect_release(second, true);
}

#[test]
fn of_two_errors_the_one_of_the_first_row_is_searched() {
    let mut script = Script::begin(&[]);
    let (home, second) = begun(&mut script);
    failed(&mut script, home, "23514");
    script.done(second, "BEGIN", TxStatus::InTransaction);
    script.sent(home);
    script.sent(second);
    failed(&mut script, second, "23505");
    // The first of three rows is home's: it is tried alone.
    assert_eq!(script.sent(home), "QQPBES");
    assert_eq!(script.sent(second), "");
    script.done(home, "ROLLBACK", TxStatus::Idle);
    script.done(home, "BEGIN", TxStatus::InTransaction);
    script.server(home, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::command_complete(b, "INSERT 0 1");
        reply::ready(b, TxStatus::InTransaction);
    });
    // It is right; with the second one, which is the other shard's, something fails.
    script.sent(home);
    script.done(home, "ROLLBACK", TxStatus::Idle);
    script.done(home, "BEGIN", TxStatus::InTransaction);
    script.server(home, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::command_complete(b, "INSERT 0 1");
        reply::ready(b, TxStatus::InTransaction);
    });
    assert_eq!(script.sent(second), "QQPBES");
    script.done(second, "ROLLBACK", TxStatus::Idle);
    script.done(second, "BEGIN", TxStatus::InTransaction);
    script.server(second, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::error(b, &PgError::error("23505", "no"));
        reply::ready(b, TxStatus::Failed);
    });
    script.done(home, "ROLLBACK", TxStatus::Idle);
    script.done(second, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "E(23505)ZI");
}

#[test]
fn an_error_of_the_text_is_homes() {
    let mut script = Script::begin(&[]);
    script.query(INSERT);
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    script.done(home, "BEGIN", TxStatus::InTransaction);
    script.server(home, |b| {
        reply::error(b, &PgError::error("42703", "no such column"));
        reply::ready(b, TxStatus::Failed);
        reply::error(b, &PgError::error("25P02", "the transaction has failed"));
        reply::ready(b, TxStatus::Failed);
    });
    script.done(home, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "E(42703)ZI");
    assert_eq!(script.sent(second), "");
    script.expect_release(home, true);
    script.expect_release(second, true);
}

#[test]
fn a_shard_that_is_lost_after_the_decision_is_resolved_before_the_client_is_told() {
    for (outcome, told) in [
        (Ok(true), "TDDDCZI"),
        (Ok(false), "E(40000)ZI"),
        (Err(PgError::error("08006", "no answer")), "E(08007)ZI"),
    ] {
        let mut script = Script::begin(&[]);
        let (home, second) = prepared(&mut script);
        decided(&mut script, home);
        script.event(Event::BackendLost { slot: second });
        script.expect_release(second, false);
        assert!(matches!(script.step(), Step::Resolve { .. }));
        assert_eq!(script.client(), "");
        script.event(Event::Resolved(outcome));
        assert_eq!(script.client(), told);
    }
}

#[test]
fn a_decision_without_an_answer_is_asked_for() {
    let mut script = Script::begin(&[]);
    let (home, second) = prepared(&mut script);
    script.event(Event::BackendLost { slot: home });
    script.expect_release(home, false);
    let Step::Resolve { gid } = script.step() else {
        panic!("nobody knows whether home has decided");
    };
    assert!(gid.starts_with("shardgate:"), "{gid}");
    script.event(Event::Resolved(Ok(true)));
    assert_eq!(script.client(), "TDDDCZI");
    script.expect_release(second, true);
}

#[test]
fn a_lost_commit_of_the_only_writer_is_not_said_to_be_done() {
    let mut script = Script::begin(&[]);
    let (home, second) = begun(&mut script);
    ran(&mut script, home, &[b"1", b"2"], true);
    script.done(second, "BEGIN", TxStatus::InTransaction);
    ran(&mut script, second, &[b"101"], false);
    script.event(Event::BackendLost { slot: home });
    script.done(second, "COMMIT", TxStatus::Idle);
    assert_eq!(script.client(), "E(08007)ZI");
}

#[test]
fn serializable_is_refused_before_anything_is_written() {
    let mut script = Script::begin(&[]);
    script.query(INSERT);
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    checked(&mut script, home, "serializable");
    assert_eq!(script.sent_queries(home), ["ROLLBACK"]);
    script.done(home, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "E(0A000)ZI");
    assert_eq!(script.sent(second), "");
}

#[test]
fn a_shard_that_cannot_be_had_gives_the_others_back() {
    let mut script = Script::begin(&[]);
    script.query(INSERT);
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.event(Event::CheckoutFailed {
        slot: second,
        error: PgError::error("08001", "no"),
    });
    assert_eq!(script.client(), "E(08001)ZI");
    script.expect_release(home, true);
    // A cancel request while one is awaited does the same.
    script.query(INSERT);
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.event(Event::CancelRequested);
    assert_eq!(script.client(), "E(57014)ZI");
    script.expect_release(home, true);
    assert!(matches!(script.step(), Step::AbandonCheckout { slot } if slot == second));
}

#[test]
fn a_session_that_ends_has_what_it_prepared_ended() {
    let mut script = Script::begin(&[]);
    let (home, _second) = prepared(&mut script);
    script.event(Event::Terminate(PgError::error("57P01", "the end").fatal()));
    assert!(matches!(script.step(), Step::Resolve { .. }));
    script.expect_release(home, false);
}

/// Tells the session of a newer epoch, and answers its number.
fn newer_epoch(script: &mut Script) -> u64 {
    let mut newer = (*snapshot()).clone();
    newer.epoch.number += 1;
    newer.epoch.id = [9; 16];
    let number = newer.epoch.number;
    script.event(Event::Snapshot(Arc::new(newer)));
    number
}

#[test]
fn a_move_that_begins_meanwhile_waits_for_all_shards() {
    let mut script = Script::begin(&[]);
    let (home, second) = prepared(&mut script);
    let number = newer_epoch(&mut script);
    assert_eq!(script.session.drained_epoch(), number - 1);
    decided(&mut script, home);
    assert_eq!(script.session.drained_epoch(), number - 1);
    script.done(second, "COMMIT PREPARED", TxStatus::Idle);
    assert_eq!(script.session.drained_epoch(), number);
}

#[test]
fn a_move_waits_for_what_is_only_bound() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"", INSERT.as_bytes(), &[]);
        put::bind_text(b, b"", b"", &[]);
        put::flush(b);
    });
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    assert_eq!(script.sent(home), "PBH");
    let number = newer_epoch(&mut script);
    assert_eq!(script.session.drained_epoch(), number - 1);
    script.server(home, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
    });
    assert_eq!(script.client(), "12");
    assert_eq!(script.session.drained_epoch(), number - 1);
    script.say(put::sync);
    script.server(home, |b| reply::ready(b, TxStatus::Idle));
    assert_eq!(script.client(), "ZI");
    assert_eq!(script.session.drained_epoch(), number);
}
