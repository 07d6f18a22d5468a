//! Messages that come together, and the same ones alone: what is sent, and what is noted, is the same.

use super::*;
use crate::session::Wait;

/// Sends the messages in pieces of so many, attaching a backend when one is asked for, and gives what the server got.
fn sent(messages: &[BytesMut], together: usize) -> (Vec<(u8, Vec<u8>)>, Counts) {
    let mut script = Script::begin(&[]);
    script.session.take_counts();
    let mut bytes = BytesMut::new();
    for piece in messages.chunks(together) {
        script.say(|b| {
            piece
                .iter()
                .for_each(|message| b.extend_from_slice(message))
        });
        while let Some(at) = script
            .steps
            .iter()
            .position(|step| matches!(step, Step::Checkout { .. }))
        {
            let Step::Checkout { slot, .. } = script.steps.remove(at) else {
                panic!("it was found to be one");
            };
            script.attach(slot);
        }
        for buffer in &mut script.out.backends {
            bytes.extend_from_slice(&buffer.split());
        }
    }
    assert_eq!(script.session.wait, Wait::Reply(Slot(0)));
    (frames(&bytes), script.session.take_counts())
}

fn message(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    write(&mut bytes);
    bytes
}

#[test]
fn messages_that_come_together_are_sent_as_if_they_came_alone() {
    let check = |sql: &str, behind_bind: Vec<BytesMut>| {
        let mut messages = vec![
            message(|b| put::parse(b, b"", sql.as_bytes(), &[])),
            message(|b| put::bind_text(b, b"", b"", &[Some(b"5")])),
        ];
        messages.extend(behind_bind);
        let whole = sent(&messages, messages.len());
        assert_eq!(whole.0.len(), messages.len(), "{sql}");
        for together in 1..messages.len() {
            assert_eq!(sent(&messages, together), whole, "{sql}, {together}");
        }
    };
    let describe = || message(|b| put::describe(b, b'P', b""));
    let execute = |rows| message(move |b| put::execute(b, b"", rows));
    let sync = || message(put::sync);
    for sql in [
        "select name from users where id = $1",
        "select name from notes where id = $1",
        "update notes set name = 'x' where id = $1",
        "select f(id) from notes where id = $1",
    ] {
        check(sql, vec![describe(), execute(0), sync()]);
        check(sql, vec![execute(0), sync()]);
        check(sql, vec![execute(1), sync()]);
        check(sql, vec![execute(0), execute(0), sync()]);
        check(sql, vec![execute(0), describe(), sync()]);
        check(sql, vec![describe(), sync()]);
    }
}

#[test]
fn the_unnamed_statement_is_another_one_each_time_it_is_parsed() {
    let check = |second: &str, types: &[u32]| {
        let mut script = Script::begin(&[]);
        let first = "select name from notes where id = $1";
        let mut backend = Backend::new(BTreeMap::new(), false);
        for (sql, types) in [(first, &[][..]), (second, types)] {
            script.say(|b| {
                put::parse(b, b"", sql.as_bytes(), types);
                put::describe(b, b'S', b"");
                put::bind_text(b, b"", b"", &[Some(b"5")]);
                put::execute(b, b"", 0);
                put::sync(b);
            });
            let slot = script.expect_checkout(HOME, Wanted::Replica);
            script.attach_backend(slot, backend);
            let bytes = script.out.backends[0].split();
            let sent = frames(&bytes);
            let tags: String = sent.iter().map(|(tag, _)| char::from(*tag)).collect();
            assert_eq!(tags, "PDBES", "{second}");
            let mut expect = BytesMut::new();
            put::parse(&mut expect, b"", sql.as_bytes(), types);
            assert!(bytes.starts_with(&expect), "{second}");
            script.server(slot, |b| {
                reply::parse_complete(b);
                reply::parameter_description(b, &[20]);
                reply::row_description(b, &[]);
                reply::bind_complete(b);
                reply::command_complete(b, "SELECT 0");
                reply::ready(b, TxStatus::Idle);
            });
            assert_eq!(script.client(), "1tT2CZI");
            backend = script.expect_release(slot, true).unwrap();
        }
    };
    check("select name from notes where id = $1", &[]);
    check("select name from notes where id = $1", &[20]);
    check("select name from notes where id = $1 ", &[]);
    check("select id from notes where id = $1", &[]);
}
