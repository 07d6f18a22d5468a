//! Moves of data: users 100..200 go from the second shard to home, and back.

use super::*;
use shardgate_plan::snapshot::Move;
use shardgate_shard_map::{Parts, Unpinned};

/// Where a move stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Copied,
    Holding,
    /// The map has changed; still holding.
    Moved,
    Switched,
    Gone,
}

const MOVED_IN: u64 = 4;

/// The snapshot of that epoch.
fn at(number: u64, step: Stage) -> Arc<Snapshot> {
    let mut snapshot = (*snapshot()).clone();
    let id = [u8::try_from(number).unwrap(); 16];
    snapshot.epoch = Epoch {
        number,
        id,
        parent: [0; 16],
    };
    let hundred = ShardKey::Int(100);
    let two_hundred = ShardKey::Int(200);
    let map_changed = matches!(step, Stage::Moved | Stage::Switched | Stage::Gone);
    let middle = if map_changed { HOME } else { SECOND };
    let distribution = DistributionId(1);
    snapshot
        .distributions
        .get_mut(&distribution)
        .unwrap()
        .map
        .method = Method::Range {
        bounds: vec![hundred.clone(), two_hundred.clone()],
        owners: vec![HOME, middle, SECOND],
    };
    if step != Stage::Gone {
        snapshot.moves.push(Move {
            id: 7,
            distribution,
            parts: Parts {
                unpinned: Unpinned::Ranges(vec![(Some(hundred), Some(two_hundred))]),
                pins: Default::default(),
            },
            shards: [SECOND, HOME],
            losing: SECOND,
            holding: matches!(step, Stage::Holding | Stage::Moved),
            since: if map_changed { MOVED_IN } else { 0 },
        });
    }
    Arc::new(snapshot)
}

const MOVING: &str = "update users set name = 'a' where id = 150";
const STAYING: &str = "update users set name = 'a' where id = 250";
const HOMELY: &str = "update users set name = 'a' where id = 5";

impl Script {
    fn at(number: u64, step: Stage) -> Script {
        let mut script = Script::begin(&[]);
        script.epoch(number, step);
        script
    }

    fn epoch(&mut self, number: u64, step: Stage) {
        self.event(Event::Snapshot(at(number, step)));
    }

    /// A Query that goes to this shard at once.
    fn runs_on(&mut self, sql: &str, shard: ShardId) -> Slot {
        self.query(sql);
        assert!(!self.session.is_held(), "{sql}");
        let slot = self.expect_checkout(shard, Wanted::Primary);
        self.attach(slot);
        assert!(self.sent(slot).ends_with('Q'), "{sql}");
        slot
    }

    /// A Query that waits for the move, and has taken no connection.
    fn is_held(&mut self, sql: &str) {
        self.query(sql);
        assert!(self.session.is_held(), "{sql}");
        self.expect_no_steps();
        assert_eq!(self.client(), "");
    }

    /// BEGIN and a statement on that shard.
    fn block_on(&mut self, begin: &str, sql: &str, shard: ShardId) -> Slot {
        self.query(begin);
        let slot = self.runs_on(sql, shard);
        self.server(slot, |b| {
            reply::command_complete(b, "BEGIN");
            reply::ready(b, TxStatus::InTransaction);
        });
        self.done(slot, "UPDATE 1", TxStatus::InTransaction);
        assert_eq!(self.client(), "CZTCZT");
        slot
    }

    fn commit(&mut self, slot: Slot) {
        self.query("commit");
        assert_eq!(self.sent(slot), "Q");
        self.done(slot, "COMMIT", TxStatus::Idle);
        assert_eq!(self.client(), "CZI");
        self.expect_release(slot, true);
    }

    fn ends(&mut self, slot: Slot) {
        self.done(slot, "UPDATE 1", TxStatus::Idle);
        assert_eq!(self.client(), "CZI");
        self.expect_release(slot, true);
    }

    fn drained(&self) -> u64 {
        self.session.drained_epoch()
    }
}

#[test]
fn statements_wait_while_their_keys_change_hands_and_others_go_on() {
    let mut script = Script::at(2, Stage::Copied);
    let slot = script.runs_on(MOVING, SECOND);
    script.ends(slot);
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 3);
    let slot = script.runs_on(STAYING, SECOND);
    script.ends(slot);
    let slot = script.runs_on(HOMELY, HOME);
    script.ends(slot);
    script.is_held(MOVING);
    assert_eq!(script.session.describe().state, "held");
    assert!(!script.session.is_idle());
    script.epoch(MOVED_IN, Stage::Moved);
    assert!(script.session.is_held());
    script.expect_no_steps();
    assert_eq!(script.drained(), MOVED_IN);
    script.epoch(5, Stage::Switched);
    assert!(!script.session.is_held());
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.ends(slot);
    script.epoch(6, Stage::Gone);
    let slot = script.runs_on(MOVING, HOME);
    script.ends(slot);
}

#[test]
fn a_switch_that_is_undone_lets_statements_go_on_where_they_were() {
    let mut script = Script::at(3, Stage::Holding);
    script.is_held(MOVING);
    script.epoch(4, Stage::Copied);
    let slot = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.drained(), 4);
    script.ends(slot);
}

#[test]
fn whatever_may_use_the_keys_waits() {
    for sql in [
        "select name from users where id = 150",
        "select name from users where id in (150, 250)",
        "select name from users where id between 190 and 300",
        "select count(*) from users",
        "delete from users where id = 150",
        "insert into users values (100, 'x')",
        "select 1; update users set name = 'a' where id = 199",
        "copy (select name from users where id = 150) to stdout",
        "declare c cursor for select name from users where id = 150",
        "explain select name from users where id = 150",
        "/* shardgate: shard=s2 */ select count(*) from users",
        "/* shardgate: shard=s2 */ copy users from stdin",
    ] {
        let mut script = Script::at(3, Stage::Holding);
        script.is_held(sql);
    }
    for sql in [
        "select name from users where id = 99",
        "select name from users where id between 200 and 300",
        "insert into users values (200, 'x')",
        "select * from notes",
        "/* shardgate: shard=s2 */ select name from users where id = 99",
        "select 1",
    ] {
        let mut script = Script::at(3, Stage::Holding);
        script.query(sql);
        assert!(!script.session.is_held(), "{sql}");
        assert!(matches!(script.step(), Step::Checkout { .. }), "{sql}");
    }
}

#[test]
fn a_statement_under_way_is_waited_for() {
    let mut script = Script::at(2, Stage::Copied);
    let slot = script.runs_on(MOVING, SECOND);
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 2);
    script.ends(slot);
    assert_eq!(script.drained(), 3);
    // One that does not concern the move is not, however long it takes.
    let slot = script.runs_on(STAYING, SECOND);
    script.epoch(4, Stage::Copied);
    script.epoch(5, Stage::Holding);
    assert_eq!(script.drained(), 5);
    script.ends(slot);
}

#[test]
fn a_statement_that_waits_for_a_connection_is_planned_anew() {
    let mut script = Script::at(2, Stage::Copied);
    script.query(MOVING);
    let slot = script.expect_checkout(SECOND, Wanted::Primary);
    script.epoch(3, Stage::Holding);
    // Nothing was sent, and nothing will be by the older plan.
    assert_eq!(script.drained(), 3);
    script.attach(slot);
    assert_eq!(script.sent(slot), "");
    assert!(script.session.is_held());
    script.expect_release(slot, true);
    script.epoch(MOVED_IN, Stage::Moved);
    script.epoch(5, Stage::Switched);
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.ends(slot);
}

#[test]
fn a_connection_that_comes_for_an_older_plan_goes_back() {
    let mut script = Script::at(2, Stage::Copied);
    script.query(MOVING);
    let slot = script.expect_checkout(SECOND, Wanted::Primary);
    script.epoch(5, Stage::Switched);
    script.attach(slot);
    assert_eq!(script.sent(slot), "");
    script.expect_release(slot, true);
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "Q");
}

#[test]
fn a_transaction_that_has_used_the_keys_goes_on_to_their_old_owner() {
    let mut script = Script::at(2, Stage::Copied);
    let slot = script.block_on("begin", MOVING, SECOND);
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 2);
    // It is never told to wait: those who wait for it would wait for ever.
    script.event(Event::SealClaims);
    script.query(MOVING);
    assert_eq!(script.sent(slot), "Q");
    script.done(slot, "UPDATE 1", TxStatus::InTransaction);
    assert_eq!(script.client(), "CZT");
    assert_eq!(script.drained(), 2);
    script.commit(slot);
    assert_eq!(script.drained(), 3);
    script.is_held(MOVING);
}

#[test]
fn a_transaction_on_the_losing_shard_may_use_the_keys_until_it_is_sealed() {
    let mut script = Script::at(2, Stage::Copied);
    let slot = script.block_on("begin", STAYING, SECOND);
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 2);
    script.query(MOVING);
    assert_eq!(script.sent(slot), "Q");
    script.done(slot, "UPDATE 1", TxStatus::InTransaction);
    script.client();
    script.event(Event::SealClaims);
    assert_eq!(script.drained(), 2);
    script.commit(slot);
    assert_eq!(script.drained(), 3);

    let mut script = Script::at(2, Stage::Copied);
    let slot = script.block_on("begin", STAYING, SECOND);
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 2);
    script.event(Event::SealClaims);
    assert_eq!(script.drained(), 3);
    script.is_held(MOVING);
    script.epoch(MOVED_IN, Stage::Moved);
    assert_eq!(script.drained(), MOVED_IN);
    script.epoch(5, Stage::Switched);
    assert_eq!(script.client(), "E(40001)");
    assert_eq!(
        script.sent(slot),
        "BS",
        "the block fails on its shard as well"
    );
}

#[test]
fn a_transaction_that_cannot_use_the_keys_delays_nothing() {
    let mut script = Script::at(2, Stage::Copied);
    script.block_on("begin", HOMELY, HOME);
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 3);
    let mut script = Script::at(2, Stage::Copied);
    script.query("begin");
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 3);
    script.client();
    script.is_held(MOVING);
    script.epoch(5, Stage::Switched);
    script.expect_checkout(HOME, Wanted::Primary);
}

#[test]
fn what_was_done_before_the_move_was_known_counts() {
    let mut script = Script::begin(&[]);
    let slot = script.block_on("begin", MOVING, SECOND);
    script.epoch(2, Stage::Copied);
    assert_eq!(script.drained(), 2);
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 1);
    script.event(Event::SealClaims);
    assert_eq!(script.drained(), 1);
    script.query(MOVING);
    assert_eq!(script.sent(slot), "Q");
    script.done(slot, "UPDATE 1", TxStatus::InTransaction);
    script.client();
    script.commit(slot);
    assert_eq!(script.drained(), 3);
}

#[test]
fn an_old_snapshot_does_not_see_what_has_come() {
    // The second shard's rows come home while transactions are open there.
    for (begin, expect) in [
        ("begin", "E(40001)ZE"),
        ("begin isolation level repeatable read", "E(40001)ZE"),
        ("begin isolation level read committed", ""),
    ] {
        let mut script = Script::at(2, Stage::Copied);
        let slot = script.block_on(begin, HOMELY, HOME);
        script.epoch(5, Stage::Switched);
        script.query(MOVING);
        if expect.is_empty() {
            assert_eq!(script.sent(slot), "Q", "{begin}");
            continue;
        }
        script.server(slot, |b| {
            reply::error(b, &PgError::error("26000", "none"));
            reply::ready(b, TxStatus::Failed);
        });
        assert_eq!(script.client(), expect, "{begin}");
    }
    // Keys that did not move are not concerned.
    let mut script = Script::at(2, Stage::Copied);
    let slot = script.block_on("begin isolation level repeatable read", HOMELY, HOME);
    script.epoch(5, Stage::Switched);
    script.query(HOMELY);
    assert_eq!(script.sent(slot), "Q");
}

#[test]
fn a_transaction_that_outlives_a_move_fails_and_does_not_guess() {
    let mut script = Script::at(2, Stage::Copied);
    let slot = script.block_on("begin isolation level repeatable read", HOMELY, HOME);
    script.epoch(5, Stage::Switched);
    script.epoch(6, Stage::Gone);
    script.query("select * from notes");
    assert_eq!(script.sent(slot), "Q");
    script.done(slot, "SELECT 0", TxStatus::InTransaction);
    script.client();
    script.query(HOMELY);
    assert_eq!(script.client(), "E(40001)");
    // One that has begun behind the switch has seen all.
    let mut script = Script::at(5, Stage::Switched);
    let slot = script.block_on("begin isolation level repeatable read", HOMELY, HOME);
    script.epoch(6, Stage::Gone);
    script.query(MOVING);
    assert_eq!(script.sent(slot), "Q");
}

#[test]
fn a_chained_transaction_is_another_one() {
    let mut script = Script::at(2, Stage::Copied);
    let slot = script.block_on("begin", MOVING, SECOND);
    script.epoch(3, Stage::Holding);
    script.query("commit and chain");
    assert_eq!(script.sent(slot), "Q");
    assert_eq!(script.drained(), 2);
    script.done(slot, "COMMIT", TxStatus::InTransaction);
    assert_eq!(script.client(), "CZT");
    assert_eq!(script.drained(), 3);
    script.is_held(MOVING);
}

/// `Parse, Bind, Execute` of a moving key.
fn extended(b: &mut BytesMut, id: &str) {
    put::parse(b, b"", b"update users set name = 'a' where id = $1", &[20]);
    put::bind_text(b, b"", b"", &[Some(id.as_bytes())]);
    put::execute(b, b"", 0);
}

#[test]
fn a_pipeline_waits_at_its_bind_and_goes_to_the_new_owner() {
    let mut script = Script::at(3, Stage::Holding);
    script.say(|b| {
        extended(b, "150");
        put::sync(b);
    });
    assert!(script.session.is_held());
    script.expect_no_steps();
    script.epoch(MOVED_IN, Stage::Moved);
    script.epoch(5, Stage::Switched);
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PBES");
}

#[test]
fn the_rest_of_a_pipeline_is_planned_by_the_newest_snapshot() {
    // A pipeline without a Sync in which keys that stay were used.
    let mut script = Script::at(2, Stage::Copied);
    script.say(|b| {
        extended(b, "250");
        put::flush(b);
    });
    let slot = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PBEH");
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 2, "it may still use the keys");
    script.event(Event::SealClaims);
    assert_eq!(script.drained(), 3);
    script.say(|b| extended(b, "150"));
    // What was sent under the older snapshot is answered first.
    assert_eq!(script.sent(slot), "H");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::command_complete(b, "UPDATE 1");
    });
    assert_eq!(script.client(), "12C");
    assert!(script.session.is_held());
    // The Parse before was not sent either.
    assert_eq!(script.sent(slot), "");
    script.epoch(5, Stage::Switched);
    assert!(script.out.client.is_empty());
    assert_eq!(
        script.sent(slot),
        "PB",
        "a Bind that fails makes the pipeline fail"
    );
    script.server(slot, reply::parse_complete);
    assert_eq!(script.client(), "1E(40001)");
}

#[test]
fn a_pipeline_that_has_only_prepared_keeps_no_connection_while_it_waits() {
    let mut script = Script::at(2, Stage::Copied);
    script.say(|b| {
        put::parse(b, b"", b"update users set name = 'a' where id = $1", &[20]);
        put::describe(b, b'S', b"");
        put::flush(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PDH");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::parameter_description(b, &[20]);
        reply::no_data(b);
    });
    assert_eq!(script.client(), "1tn");
    script.epoch(3, Stage::Holding);
    assert_eq!(script.drained(), 3);
    script.say(|b| {
        put::bind_text(b, b"", b"", &[Some(b"150")]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    assert_eq!(script.sent(slot), "S");
    script.server(slot, |b| reply::ready(b, TxStatus::Idle));
    script.expect_release(slot, true);
    assert!(script.session.is_held());
    script.epoch(5, Stage::Switched);
    assert!(!script.session.is_held());
    script.expect_checkout(HOME, Wanted::Primary);
}

#[test]
fn a_cancel_request_a_timeout_and_the_end_reach_a_statement_that_waits() {
    let late = || PgError::error("55P03", "too late");
    // Simple.
    let mut script = Script::at(3, Stage::Holding);
    script.is_held(MOVING);
    script.event(Event::CancelRequested);
    assert_eq!(script.client(), "E(57014)ZI");
    script.is_held(MOVING);
    script.event(Event::HoldEnded(late()));
    assert_eq!(script.client(), "E(55P03)ZI");
    let slot = script.runs_on(STAYING, SECOND);
    script.ends(slot);
    // Extended: all up to the Sync is dropped.
    script.say(|b| {
        extended(b, "150");
        put::sync(b);
    });
    assert!(script.session.is_held());
    script.event(Event::CancelRequested);
    assert_eq!(script.client(), "E(57014)ZI");
    script.expect_no_steps();
    // Rows of all shards.
    script.is_held("select count(*) from users");
    script.event(Event::HoldEnded(late()));
    assert_eq!(script.client(), "E(55P03)ZI");
    // A message that does not wait is not ended.
    script.event(Event::HoldEnded(late()));
    assert_eq!(script.client(), "");
    let slot = script.runs_on(HOMELY, HOME);
    script.ends(slot);
    // In a block.
    script.query("begin");
    script.client();
    script.is_held(MOVING);
    script.event(Event::CancelRequested);
    assert_eq!(script.client(), "E(57014)ZE");
    script.query("rollback");
    assert_eq!(script.client(), "CZI");
    // The session's end.
    script.is_held(MOVING);
    script.event(Event::Terminate(PgError::error("57P01", "the end")));
    assert_eq!(script.client(), "E(57P01)");
    assert!(matches!(script.step(), Step::Close));
    script.epoch(4, Stage::Copied);
    assert_eq!(script.drained(), 4, "a session that is over delays nobody");
}

#[test]
fn a_client_that_is_gone_is_served_to_the_end_of_what_it_had_sent() {
    let mut script = Script::at(3, Stage::Holding);
    script.is_held(MOVING);
    script.event(Event::ClientGone);
    script.expect_no_steps();
    script.epoch(5, Stage::Switched);
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "Q");
    script.done(slot, "UPDATE 1", TxStatus::Idle);
    script.expect_release(slot, true);
    assert!(matches!(script.step(), Step::Close));
}

#[test]
fn rows_on_their_way_from_all_shards_are_waited_for() {
    let mut script = Script::begin(&[]);
    script.query("select count(*) from users");
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    // From the very first epoch of the move on: its copies must not be counted.
    script.epoch(2, Stage::Copied);
    assert_eq!(script.drained(), 1);
    script.attach(second);
    script.sent(second);
    script.server(second, |b| super::gather::shard_rows(b, &[b"row"]));
    script.expect_release(second, true);
    // They were read by another plan, so they are read again: of each shard what it owns.
    assert_eq!(script.drained(), 2);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    let parse = script.out.backends[usize::from(second.0)].split();
    let parse = String::from_utf8_lossy(&parse).into_owned();
    assert!(parse.contains("OPERATOR(pg_catalog.>=) '100'"), "{parse}");
    script.server(second, |b| super::gather::shard_rows(b, &[b"row"]));
    script.expect_release(second, true);
    let home = super::gather::home_describes(&mut script, &super::gather::columns(true));
    let parse = script.out.backends[usize::from(home.0)].split();
    let parse = String::from_utf8_lossy(&parse).into_owned();
    assert!(parse.contains("OPERATOR(pg_catalog.<) '100'"), "{parse}");
    // Home's own rows must stay until it has begun to read them.
    script.epoch(3, Stage::Copied);
    assert_eq!(script.drained(), 2);
    script.server(home, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
    });
    assert_eq!(script.drained(), 3);
}

#[test]
fn ddl_on_all_shards_is_waited_for() {
    let mut script = Script::begin(&[]);
    script.query("create index on users (name)");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.epoch(2, Stage::Copied);
    assert_eq!(script.drained(), 1);
    script.attach(home);
    let second = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(second);
    assert_eq!(script.drained(), 1);
    // And refused, once the move is known.
    for sql in [
        "create index on users (name)",
        "alter table users add column x int",
        "truncate users",
        "drop table users",
    ] {
        let mut script = Script::at(2, Stage::Copied);
        script.query(sql);
        assert_eq!(script.client(), "E(55006)ZI", "{sql}");
    }
    let mut script = Script::at(2, Stage::Copied);
    script.query("create table another (id int)");
    script.expect_checkout(HOME, Wanted::Primary);
}
