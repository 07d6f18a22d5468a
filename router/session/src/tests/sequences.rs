//! What other clients drew from sequences on a connection is not shown.

use super::*;

#[test]
fn what_others_drew_from_sequences_is_discarded_before_a_block_draws() {
    let check = |drawn: bool, expect: &[&str]| {
        let mut script = Script::begin(&[]);
        script.query("begin");
        script.query("select nextval('s')");
        let slot = script.expect_checkout(HOME, Wanted::Primary);
        let mut backend = Backend::new(BTreeMap::new(), false);
        backend.drawn = drawn;
        script.attach_backend(slot, backend);
        assert_eq!(script.sent_queries(slot), expect);
    };
    check(true, &["begin", "DISCARD SEQUENCES", "select nextval('s')"]);
    check(false, &["begin", "select nextval('s')"]);
}

#[test]
fn a_discard_of_sequences_that_was_skipped_is_not_believed() {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.query("savepoint s");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    let mut backend = Backend::new(BTreeMap::new(), false);
    backend.drawn = true;
    script.attach_backend(slot, backend);
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::ready(b, TxStatus::InTransaction);
        reply::command_complete(b, "SAVEPOINT");
        reply::ready(b, TxStatus::InTransaction);
    });
    script.done(slot, "ROLLBACK", TxStatus::Idle);
    let mut backend = script.expect_release(slot, true).expect("given back");
    backend.drawn = true;
    script.say(|b| {
        put::parse(b, b"", b"select nextval('s')", &[]);
        put::bind_text(b, b"", b"", &[]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach_backend(slot, backend);
    script.sent(slot);
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::command_complete(b, "SAVEPOINT");
        reply::ready(b, TxStatus::InTransaction);
        reply::error(b, &PgError::error("42P01", "no such sequence"));
        reply::ready(b, TxStatus::Failed);
    });
    script.query("rollback to s");
    script.done(slot, "ROLLBACK", TxStatus::InTransaction);
    script.client();
    script.sent(slot);
    script.query("select currval('s')");
    assert_eq!(script.client(), "E(55000)", "what another client drew");
}
