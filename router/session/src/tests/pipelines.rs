//! What stands behind something in one pipeline, before the server has said what became of that.

use super::*;

/// A block on home in which `first` was executed by the extended protocol, and an UPDATE behind it.
fn prelude_and_update(first: &[u8], tag: &str) -> (Script, Slot) {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.client();
    script.say(|b| {
        for sql in [first, b"update users set name = 'x' where id = 5"] {
            put::parse(b, b"", sql, &[]);
            put::bind_text(b, b"", b"", &[]);
            put::execute(b, b"", 0);
        }
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.sent(slot);
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::ready(b, TxStatus::InTransaction);
        for tag in [tag, "UPDATE 1"] {
            reply::parse_complete(b);
            reply::bind_complete(b);
            reply::command_complete(b, tag);
        }
        reply::ready(b, TxStatus::InTransaction);
    });
    (script, slot)
}

#[test]
fn what_was_executed_behind_a_savepoint_or_show_is_not_taken_back_with_it() {
    let check = |first: &[u8], tag: &str| {
        let (mut script, slot) = prelude_and_update(first, tag);
        assert!(script.client().ends_with("ZT"));
        assert_eq!(script.sent(slot), "", "no ROLLBACK");
        script.query("commit");
        assert_eq!(script.sent_queries(slot), ["commit"]);
    };
    check(b"savepoint a", "SAVEPOINT");
    check(b"show work_mem", "SHOW");
}

#[test]
fn what_was_only_bound_stays_where_it_can_be_run() {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.say(|b| {
        put::parse(b, b"", b"savepoint a", &[]);
        put::bind_text(b, b"", b"", &[]);
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.sent(slot);
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::ready(b, TxStatus::InTransaction);
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::ready(b, TxStatus::InTransaction);
    });
    assert_eq!(script.sent(slot), "", "no ROLLBACK");
    script.say(|b| {
        put::execute(b, b"", 0);
        put::sync(b);
    });
    assert_eq!(script.sent(slot), "ES");
}

/// A block that has failed on home.
fn failed_block() -> (Script, Slot) {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.query("select 1 from users where id = 5");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.sent(slot);
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::ready(b, TxStatus::InTransaction);
        reply::error(b, &PgError::error("22012", "division by zero"));
        reply::ready(b, TxStatus::Failed);
    });
    script.client();
    (script, slot)
}

#[test]
fn behind_the_end_of_a_failed_block_statements_belong_to_their_shards_again() {
    let (mut script, slot) = failed_block();
    script.say(|b| {
        put::parse(b, b"", b"rollback", &[]);
        put::bind_text(b, b"", b"", &[]);
        put::execute(b, b"", 0);
        put::parse(b, b"", b"update users set name = 'x' where id = 500", &[]);
        put::bind_text(b, b"", b"", &[]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    let executed = script.sent(slot).matches('E').count();
    assert_eq!(executed, 1, "the UPDATE is not for home");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::command_complete(b, "ROLLBACK");
    });
    let told = script.client();
    assert!(told.ends_with("E(0A000)"), "{told}");
    let (mut script, slot) = failed_block();
    script.query("rollback; select name from users where id = 500");
    assert!(script.sent_queries(slot).is_empty(), "not for home");
    assert!(script.client().starts_with("E(0A000)"));
    let (mut script, slot) = failed_block();
    script.query("rollback; select name from users where id = 5");
    assert_eq!(
        script.sent_queries(slot),
        ["rollback; select name from users where id = 5"]
    );
}

#[test]
fn a_block_that_begins_behind_a_parse_stays_begun() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"p", b"select 1", &[]);
        put::describe(b, b'S', b"p");
        put::query(b, b"begin");
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.sent(slot);
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::parameter_description(b, &[]);
        reply::no_data(b);
    });
    script.server(slot, |b| reply::ready(b, TxStatus::Idle));
    let told = script.client();
    assert!(told.ends_with("CZT"), "{told}");
}

#[test]
fn reset_all_in_a_failed_block_resets_nothing() {
    let mut script = Script::begin(&[("work_mem", "64MB")]);
    script.query("begin");
    script.query("select 1 from users where id = 5");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    let mut backend = Backend::new(BTreeMap::new(), false);
    backend.applied.change(|settings| {
        settings.insert("work_mem".to_string(), "64MB".to_string());
    });
    script.attach_backend(slot, backend);
    script.sent(slot);
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::ready(b, TxStatus::InTransaction);
    });
    for code in ["22012", "25P02"] {
        if code == "25P02" {
            script.query("reset all");
        }
        script.server(slot, |b| {
            reply::error(b, &PgError::error(code, "it fails"));
            reply::ready(b, TxStatus::Failed);
        });
    }
    script.query("rollback");
    script.done(slot, "ROLLBACK", TxStatus::Idle);
    let backend = script.expect_release(slot, true).expect("given back");
    assert!(backend.applied.settings().contains_key("work_mem"));
}

#[test]
fn a_flush_sends_what_the_router_answers_behind_a_server() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"p", b"select 1", &[]);
        put::describe(b, b'S', b"p");
        put::close(b, b'S', b"q");
        put::flush(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.sent(slot);
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::parameter_description(b, &[]);
        reply::no_data(b);
    });
    assert_eq!(script.client(), "1tn3");
}

#[test]
fn a_failed_block_is_not_told_the_settings_of_an_old_parse() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"p", b"select 'x' from users where id = 5", &[]);
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::ready(b, TxStatus::Idle);
    });
    script.expect_release(slot, true);
    script.query("begin");
    script.query("select 1 from users where id = 5");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::ready(b, TxStatus::InTransaction);
    });
    script.done(slot, "SELECT 1", TxStatus::InTransaction);
    script.query("set local timezone = 'UTC'");
    script.done(slot, "SET", TxStatus::InTransaction);
    script.server(slot, |b| {
        reply::data_row(b, &[Some(b"s"), Some(b"timezone"), Some(b"UTC")]);
        reply::command_complete(b, "SELECT 1");
        reply::ready(b, TxStatus::InTransaction);
    });
    script.query("select 1 from users where id = 5");
    script.server(slot, |b| {
        reply::error(b, &PgError::error("22012", "division by zero"));
        reply::ready(b, TxStatus::Failed);
    });
    script.sent(slot);
    script.say(|b| {
        put::bind_text(b, b"", b"p", &[]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    assert_eq!(script.sent(slot), "PBES", "only what the client said");
}
