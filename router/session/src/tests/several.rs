//! DDL on all shards: prepared, decided and committed, or taken back, whatever is lost on the way.

use super::*;

#[test]
fn ddl_on_all_shards_is_prepared_decided_and_committed() {
    let mut script = Script::begin(&[]);
    script.query("create index on users (name)");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    assert_eq!(script.sent(home), "QQ");
    assert_eq!(script.sent(second), "");
    script.done(home, "BEGIN", TxStatus::InTransaction);
    script.done(home, "CREATE INDEX", TxStatus::InTransaction);
    assert_eq!(script.sent(second), "QQ");
    script.done(second, "BEGIN", TxStatus::InTransaction);
    script.done(second, "CREATE INDEX", TxStatus::InTransaction);
    assert_eq!(script.sent(second), "Q");
    script.done(second, "PREPARE TRANSACTION", TxStatus::Idle);
    assert_eq!(script.sent(home), "QQQ");
    script.done(home, "SET", TxStatus::InTransaction);
    script.done(home, "SELECT 1", TxStatus::InTransaction);
    script.done(home, "COMMIT", TxStatus::Idle);
    assert!(script.sent_queries(second)[0].starts_with("COMMIT PREPARED"));
    script.done(second, "COMMIT PREPARED", TxStatus::Idle);
    assert!(matches!(script.step(), Step::Refresh));
    assert_eq!(script.client(), "");
    script.event(Event::Refreshed(Ok(snapshot())));
    assert_eq!(script.client(), "CZI");
}

#[test]
fn ddl_that_fails_on_one_shard_is_rolled_back_on_the_other() {
    let mut script = Script::begin(&[]);
    script.query("create index on users (name)");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    script.done(home, "BEGIN", TxStatus::InTransaction);
    script.done(home, "CREATE INDEX", TxStatus::InTransaction);
    script.done(second, "BEGIN", TxStatus::InTransaction);
    script.sent(home);
    script.sent(second);
    script.server(second, |b| {
        reply::error(b, &PgError::error("42P07", "relation already exists"));
        reply::ready(b, TxStatus::Failed);
    });
    assert_eq!(script.sent_queries(home), ["ROLLBACK"]);
    assert_eq!(script.sent_queries(second), ["ROLLBACK"]);
    script.done(home, "ROLLBACK", TxStatus::Idle);
    script.done(second, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "NE(42P07)ZI");
}

/// DDL up to the answer of PREPARE TRANSACTION. The slots of home and of the second shard.
fn prepared_ddl(script: &mut Script) -> (Slot, Slot) {
    script.query("create index on users (name)");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    for slot in [home, second] {
        script.done(slot, "BEGIN", TxStatus::InTransaction);
        script.done(slot, "CREATE INDEX", TxStatus::InTransaction);
    }
    script.sent(home);
    script.sent(second);
    (home, second)
}

#[test]
fn a_shard_that_is_lost_after_the_decision_is_resolved_before_the_client_is_told() {
    for (outcome, told) in [
        (Ok(true), "CZI"),
        (Ok(false), "E(40000)ZI"),
        (Err(PgError::error("08006", "no answer")), "E(08007)ZI"),
    ] {
        let mut script = Script::begin(&[]);
        let (home, second) = prepared_ddl(&mut script);
        script.done(second, "PREPARE TRANSACTION", TxStatus::Idle);
        script.done(home, "SET", TxStatus::InTransaction);
        script.done(home, "SELECT 1", TxStatus::InTransaction);
        script.done(home, "COMMIT", TxStatus::Idle);
        script.event(Event::BackendLost { slot: second });
        script.expect_release(second, false);
        assert!(matches!(script.step(), Step::Resolve { gid } if gid.starts_with("shardgate:t:")));
        assert_eq!(script.client(), "");
        let committed = matches!(outcome, Ok(true));
        script.event(Event::Resolved(outcome));
        if committed {
            assert!(matches!(script.step(), Step::Refresh));
            script.event(Event::Refreshed(Ok(snapshot())));
        }
        assert_eq!(script.client(), told);
        script.expect_release(home, true);
    }
}

#[test]
fn a_shard_that_is_lost_while_it_prepares_is_resolved_after_home_has_rolled_back() {
    let mut script = Script::begin(&[]);
    let (home, second) = prepared_ddl(&mut script);
    script.server(second, |b| {
        let error = PgError::error(
            "57P01",
            "terminating connection due to administrator command",
        );
        reply::error(b, &error.fatal());
    });
    script.expect_release(second, false);
    assert_eq!(script.sent_queries(home), ["ROLLBACK"]);
    script.expect_no_steps();
    script.done(home, "ROLLBACK", TxStatus::Idle);
    assert!(matches!(script.step(), Step::Resolve { .. }));
    script.event(Event::Resolved(Ok(false)));
    assert_eq!(script.client(), "E(08006)ZI");
    script.expect_release(home, true);
}

#[test]
fn home_that_is_lost_while_it_decides_leaves_the_others_prepared() {
    let mut script = Script::begin(&[]);
    let (home, second) = prepared_ddl(&mut script);
    script.done(second, "PREPARE TRANSACTION", TxStatus::Idle);
    assert_eq!(script.sent(home), "QQQ");
    script.event(Event::BackendLost { slot: home });
    script.expect_release(home, false);
    assert_eq!(script.sent(second), "", "it may be decided");
    assert!(matches!(script.step(), Step::Resolve { .. }));
    script.event(Event::Resolved(Ok(true)));
    assert!(matches!(script.step(), Step::Refresh));
    script.event(Event::Refreshed(Ok(snapshot())));
    assert_eq!(script.client(), "CZI");
}

#[test]
fn a_session_that_ends_in_the_middle_of_ddl_has_it_resolved() {
    let mut script = Script::begin(&[]);
    let (home, second) = prepared_ddl(&mut script);
    script.event(Event::Terminate(PgError::error("57P01", "killed")));
    assert!(matches!(script.step(), Step::Resolve { .. }));
    script.expect_release(home, false);
    script.expect_release(second, false);
    assert!(matches!(script.step(), Step::Close));
}

/// A session that is pinned to home, with nothing under way.
fn pinned() -> (Script, Slot) {
    let mut script = Script::begin(&[]);
    script.query("set shardgate.pin = on");
    script.query("update notes set name = 'x'");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    script.done(home, "UPDATE 0", TxStatus::Idle);
    script.sent(home);
    assert!(script.client().ends_with("CZI"));
    while !script.steps.is_empty() {
        assert!(matches!(script.step(), Step::Settled { .. }));
    }
    (script, home)
}

#[test]
fn a_pinned_session_runs_ddl_on_its_own_connection() {
    let (mut script, home) = pinned();
    script.query("create index on users (name)");
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    assert_eq!(script.sent(home), "QQ");
    for slot in [home, second] {
        script.done(slot, "BEGIN", TxStatus::InTransaction);
        script.done(slot, "CREATE INDEX", TxStatus::InTransaction);
    }
    script.done(second, "PREPARE TRANSACTION", TxStatus::Idle);
    script.done(home, "SET", TxStatus::InTransaction);
    script.done(home, "SELECT 1", TxStatus::InTransaction);
    script.done(home, "COMMIT", TxStatus::Idle);
    script.done(second, "COMMIT PREPARED", TxStatus::Idle);
    assert!(matches!(script.step(), Step::Refresh));
    script.event(Event::Refreshed(Ok(snapshot())));
    assert_eq!(script.client(), "CZI");
    script.expect_release(second, true);
    script.expect_no_steps();
    script.query("select 1 from notes");
    assert_eq!(
        script.sent_queries(home).last().map(String::as_str),
        Some("select 1 from notes")
    );
}

#[test]
fn ddl_is_called_off_where_it_runs_and_not_where_it_begins() {
    let mut script = Script::begin(&[]);
    script.query("create index on users (name)");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    script.event(Event::CancelRequested);
    script.expect_no_steps();
    assert!(
        !script.session.cancel_is_wanted(home),
        "BEGIN is not answered"
    );
    script.done(home, "BEGIN", TxStatus::InTransaction);
    assert!(matches!(script.step(), Step::Cancel { slot } if slot == home));
    assert!(script.session.cancel_is_wanted(home));
    script.sent(home);
    script.server(home, |b| {
        reply::error(
            b,
            &PgError::error("57014", "canceling statement due to user request"),
        );
        reply::ready(b, TxStatus::Failed);
    });
    assert_eq!(
        script.sent(home),
        "",
        "the request may not have arrived yet"
    );
    script.event(Event::CancelDone {
        slot: home,
        sent: true,
    });
    assert_eq!(script.sent_queries(home), ["ROLLBACK"]);
    script.done(home, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "E(57014)ZI");
    assert_eq!(script.sent(second), "");
}

#[test]
fn ddl_that_is_called_off_while_it_prepares_is_not_signalled_and_not_decided() {
    let mut script = Script::begin(&[]);
    let (home, second) = prepared_ddl(&mut script);
    script.event(Event::CancelRequested);
    script.expect_no_steps();
    script.done(second, "PREPARE TRANSACTION", TxStatus::Idle);
    assert_eq!(script.sent_queries(home), ["ROLLBACK"]);
    assert!(script.sent_queries(second)[0].starts_with("ROLLBACK PREPARED"));
    script.done(home, "ROLLBACK", TxStatus::Idle);
    script.done(second, "ROLLBACK PREPARED", TxStatus::Idle);
    assert_eq!(script.client(), "E(57014)ZI");
}

#[test]
fn ddl_that_is_decided_is_not_called_off() {
    let mut script = Script::begin(&[]);
    let (home, second) = prepared_ddl(&mut script);
    script.done(second, "PREPARE TRANSACTION", TxStatus::Idle);
    script.event(Event::CancelRequested);
    script.done(home, "SET", TxStatus::InTransaction);
    script.done(home, "SELECT 1", TxStatus::InTransaction);
    script.done(home, "COMMIT", TxStatus::Idle);
    script.done(second, "COMMIT PREPARED", TxStatus::Idle);
    assert!(matches!(script.step(), Step::Refresh));
}

#[test]
fn ddl_that_waits_for_a_connection_is_called_off() {
    let mut script = Script::begin(&[]);
    script.query("create index on users (name)");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    script.expect_checkout(SECOND, Wanted::Primary);
    script.event(Event::CancelRequested);
    assert_eq!(script.client(), "E(57014)ZI");
    script.expect_release(home, true);
    assert!(matches!(script.step(), Step::AbandonCheckout { .. }));
}

/// As `snapshot`, by a later epoch in which `notes` is distributed as `users` is.
fn later_snapshot() -> Arc<Snapshot> {
    let mut later = snapshot().as_ref().clone();
    later.epoch.number = 2;
    later.epoch.id = [2; 16];
    let tables = later.relations.get_mut("public").expect("its schema");
    let users = tables["users"].placement.clone();
    let mut notes = tables["notes"].as_ref().clone();
    notes.placement = users;
    tables.insert("notes".to_string(), Arc::new(notes));
    Arc::new(later)
}

#[test]
fn a_change_of_the_schema_counts_in_the_middle_of_a_pipeline() {
    let mut script = Script::begin(&[]);
    let send = |script: &mut Script, sql: &[u8]| {
        script.say(|b| {
            put::parse(b, b"", sql, &[]);
            put::bind_text(b, b"", b"", &[]);
            put::execute(b, b"", 0);
            put::flush(b);
        });
    };
    send(&mut script, b"update users set name = 'x' where id = 5");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PBEH");
    script.event(Event::Snapshot(later_snapshot()));
    send(&mut script, b"update notes set name = 'x' where id = 500");
    assert_eq!(script.sent(slot), "H", "the answer is awaited");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::command_complete(b, "UPDATE 1");
    });
    assert_eq!(script.client(), "12CE(0A000)", "it is another shard's");
}

#[test]
fn a_change_of_the_schema_counts_after_a_wait_for_a_connection() {
    let mut script = Script::begin(&[]);
    script.query("update notes set name = 'x' where id = 500");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.event(Event::Snapshot(later_snapshot()));
    script.attach(home);
    // Nothing is held while another connection is waited for.
    script.expect_release(home, true);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    assert_eq!(script.sent(home), "");
    script.attach(second);
    assert_eq!(script.sent(second), "Q");
    script.done(second, "UPDATE 1", TxStatus::Idle);
    assert_eq!(script.client(), "CZI");
    script.expect_release(second, true);
}
