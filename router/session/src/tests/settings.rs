//! Settings: they follow the session, go back with RESET, and what planning depends on is known.

use super::*;

#[test]
fn settings_follow_the_session_to_another_backend() {
    let mut script = Script::begin(&[]);
    script.query("set work_mem = '5MB'");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.done(slot, "SET", TxStatus::Idle);
    assert_eq!(
        script.client(),
        "C",
        "ready only after the value was read back"
    );
    script.server(slot, |b| {
        reply::data_row(b, &[Some(b"s"), Some(b"work_mem"), Some(b"5MB")]);
        reply::command_complete(b, "SELECT 1");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "ZI");
    let backend = script.expect_release(slot, true).unwrap();
    assert_eq!(script.sent(slot), "QQ");
    assert_eq!(
        backend
            .applied
            .settings()
            .get("work_mem")
            .map(String::as_str),
        Some("5MB")
    );
    script.query("update users set name = 'a' where id = 150");
    let slot = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(slot);
    let queries = script.sent_queries(slot);
    assert_eq!(
        queries[0],
        "SELECT pg_catalog.set_config('work_mem', '5MB', false)"
    );
    assert_eq!(queries.len(), 2);
    script.done(slot, "SELECT 1", TxStatus::Idle);
    assert_eq!(
        script.client(),
        "",
        "answers to the router's own queries are swallowed"
    );
    script.done(slot, "UPDATE 1", TxStatus::Idle);
    assert_eq!(script.client(), "CZI");
}

#[test]
fn reset_all_in_a_block_is_the_servers_in_the_routers_words() {
    let mut script = Script::begin(&[("work_mem", "5MB")]);
    script.query("begin");
    script.query("select id from notes");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.server(slot, |b| {
        for _ in 0..2 {
            reply::command_complete(b, "SELECT 1");
            reply::ready(b, TxStatus::InTransaction);
        }
        reply::command_complete(b, "SELECT 0");
        reply::ready(b, TxStatus::InTransaction);
    });
    script.sent(slot);
    script.client();
    script.query("reset all");
    assert_eq!(script.sent(slot), "PBECCPBECCS");
    script.server(slot, |b| {
        for _ in 0..2 {
            reply::parse_complete(b);
            reply::bind_complete(b);
            reply::command_complete(b, "RESET");
            reply::close_complete(b);
            reply::close_complete(b);
        }
        reply::ready(b, TxStatus::InTransaction);
    });
    // The values are read back before the client hears of it.
    let asked = script.sent_queries(slot);
    assert_eq!(asked, ["SHOW \"work_mem\""]);
    script.done(slot, "SHOW", TxStatus::InTransaction);
    assert_eq!(script.client(), "CZT");
}

#[test]
fn reset_of_a_startup_setting_goes_back_to_what_the_client_sent() {
    let mut script = Script::begin(&[("work_mem", "5MB")]);
    script.query("reset work_mem");
    assert_eq!(script.client(), "CZI");
    script.query("set work_mem to default");
    assert_eq!(script.client(), "CZI");
    script.expect_no_steps();
    script.query("insert into notes values (1)");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.sent(slot);
    script.attach(slot);
    assert_eq!(
        script.sent_queries(slot)[0],
        "SELECT pg_catalog.set_config('work_mem', '5MB', false)"
    );
}

#[test]
fn discarded_temporary_objects_are_asked_for_again() {
    let mut script = Script::begin(&[]);
    script.query("discard temp");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.done(slot, "DISCARD TEMP", TxStatus::Idle);
    assert!(script.sent_queries(slot)[1].contains("pg_my_temp_schema"));
}

#[test]
fn an_encoding_that_was_set_behind_the_back_ends_the_session() {
    let mut script = Script::begin(&[]);
    script.query("discard temp");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.done(slot, "DISCARD TEMP", TxStatus::Idle);
    script.server(slot, |b| {
        reply::data_row(b, &[Some(b"s"), Some(b"client_encoding"), Some(b"LATIN1")]);
        reply::command_complete(b, "SELECT 1");
        reply::ready(b, TxStatus::Idle);
    });
    assert!(script.client().ends_with("E(0A000)"));
}

#[test]
fn a_serializable_default_keeps_reads_on_the_primary() {
    let mut script = Script::begin(&[("default_transaction_isolation", "serializable")]);
    script.query("select id from notes");
    script.expect_checkout(HOME, Wanted::Primary);
}
