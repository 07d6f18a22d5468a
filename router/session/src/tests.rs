//! Scripts of messages in memory: what the client says, what the servers answer, and what comes out.

mod ends;
mod errors;
mod gather;
mod moves;
mod pipelines;
mod sequences;
mod settings;
mod several;
mod spread;
mod whole;

use crate::*;
use bytes::BytesMut;
use shardgate_plan::snapshot::{
    Column, ColumnDefault, Distribution, DistributionId, Epoch, Host, Placement, Relation,
    RelationKind, Shard, Snapshot,
};
use shardgate_shard_map::{Key as ShardKey, KeyType, Method, ShardId, ShardMap};
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::put;
use shardgate_wire::{Limits, PgError, TxStatus};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

const HOME: ShardId = ShardId(1);
const SECOND: ShardId = ShardId(2);

fn column(name: &str, ty: u32) -> Column {
    Column {
        name: name.to_string(),
        ty,
        modifier: -1,
        not_null: name == "id",
        default: ColumnDefault::None,
        deterministic: true,
    }
}

/// `users (id int8, name text)`: ids below 100 on home, all others on the second shard. `notes (id int8)` on home.
fn snapshot() -> Arc<Snapshot> {
    let relation = |name: &str, placement: Placement| {
        Arc::new(Relation {
            oid: 1000,
            schema: "public".into(),
            name: name.into(),
            kind: RelationKind::Table,
            columns: vec![column("id", 20), column("name", 25)],
            placement,
            runs_code: None,
            code_read: None,
            inherits: false,
            view: None,
            row_security: false,
            blind_code: None,
            blind_read: None,
            unlogged: false,
            everywhere: false,
        })
    };
    let distribution = DistributionId(1);
    let map = ShardMap {
        key_type: KeyType::Int8,
        method: Method::Range {
            bounds: vec![ShardKey::Int(100)],
            owners: vec![HOME, SECOND],
        },
        pins: HashMap::new(),
    };
    let shard = |id: ShardId, name: &str| Shard {
        id,
        name: name.into(),
        weight: 100,
        hosts: vec![Host {
            host: "127.0.0.1".into(),
            port: 1,
        }],
    };
    let tables = HashMap::from([
        (
            "users".to_string(),
            relation(
                "users",
                Placement::Distributed {
                    distribution,
                    key: 0,
                },
            ),
        ),
        ("notes".to_string(), relation("notes", Placement::Home)),
    ]);
    Arc::new(Snapshot {
        epoch: Epoch {
            number: 1,
            id: [1; 16],
            parent: [0; 16],
        },
        database: "app".into(),
        home: HOME,
        shards: vec![shard(HOME, "s1"), shard(SECOND, "s2")],
        distributions: HashMap::from([(
            distribution,
            Distribution {
                id: distribution,
                name: "d".into(),
                map,
            },
        )]),
        relations: HashMap::from([("public".to_string(), tables)]),
        functions: HashMap::new(),
        operators: Vec::new(),
        types: HashSet::new(),
        search_paths: HashMap::from([(None, vec!["$user".to_string(), "public".to_string()])]),
        schemas: HashSet::from(["public".to_string()]),
        blind_functions: Default::default(),
        blind_of_row: Default::default(),
        blind_operators: Default::default(),
        blind_cast: None,
        blind_event: None,
        catalog_functions: Default::default(),
        opaque_operators: Default::default(),
        serializable: Default::default(),
        logins: Default::default(),
        casts: Default::default(),
        cast_code: None,
        event_code: None,
        moves: Vec::new(),
        floors: HashMap::new(),
    })
}

fn options(startup: &[(&str, &str)]) -> Options {
    Options {
        user: "app".into(),
        database: "app".into(),
        startup: startup
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        pid: 77,
        secret: vec![1, 2, 3, 4],
        common: Arc::new(Common {
            client_limits: Limits::frontend(1 << 20),
            backend_limits: Limits::backend(),
            prepared_max: 10,
            backend_prepared_max: 10,
            default_role: Role::Auto,
            gid_prefix: "shardgate:t:".into(),
            gather: GatherLimits {
                rows: 1000,
                bytes: 1 << 20,
                budget: Arc::new(GatherBudget::new(1 << 21)),
            },
        }),
    }
}

struct Script {
    session: Session,
    out: Output,
    input: BytesMut,
    /// Steps that were not looked at yet.
    steps: Vec<Step>,
}

impl Script {
    /// Logged in, with the first ReadyForQuery said.
    fn begin(startup: &[(&str, &str)]) -> Script {
        let mut script = Script::unstarted(startup);
        let slot = script.expect_checkout(HOME, Wanted::Primary);
        script.attach(slot);
        if !startup.is_empty() {
            script.done(slot, "SELECT 1", TxStatus::Idle);
        }
        let asked = if startup.is_empty() { "Q" } else { "QQ" };
        assert_eq!(script.sent(slot), asked);
        let level = startup
            .iter()
            .find(|(name, _)| *name == "default_transaction_isolation")
            .map_or("read committed", |(_, level)| level);
        script.answer_isolation(slot, level);
        assert!(script.client().ends_with("KZI"), "ready at last");
        script.expect_release(slot, true);
        script
    }

    fn answer_isolation(&mut self, slot: Slot, level: &str) {
        self.server(slot, |b| {
            reply::data_row(b, &[Some(level.as_bytes())]);
            reply::command_complete(b, "SHOW");
            reply::ready(b, TxStatus::Idle);
        });
    }

    fn unstarted(startup: &[(&str, &str)]) -> Script {
        let session = Session::new(
            options(startup),
            snapshot(),
            Arc::new(Planner::new(1 << 20)),
        );
        let mut script = Script {
            session,
            out: Output::default(),
            input: BytesMut::new(),
            steps: Vec::new(),
        };
        script.session.start(&mut script.out);
        script
    }

    fn say(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.input);
        self.go_on();
    }

    fn go_on(&mut self) {
        self.session.on_client(&mut self.input, &mut self.out);
        self.take_steps();
    }

    /// Edges ask for nothing, and are left out.
    fn take_steps(&mut self) {
        let steps = self.out.steps.drain(..);
        self.steps
            .extend(steps.filter(|step| !matches!(step, Step::Edge { .. })));
    }

    fn query(&mut self, sql: &str) {
        self.say(|b| put::query(b, sql.as_bytes()));
    }

    fn event(&mut self, event: Event) {
        self.session.on_event(event, &mut self.out);
        self.go_on();
    }

    fn attach(&mut self, slot: Slot) {
        let params = BTreeMap::from([("DateStyle".to_string(), "ISO, MDY".to_string())]);
        self.attach_backend(slot, Backend::new(params, false));
    }

    fn attach_backend(&mut self, slot: Slot, backend: Backend) {
        self.event(Event::Attached {
            slot,
            backend: Box::new(backend),
        });
    }

    fn server(&mut self, slot: Slot, write: impl FnOnce(&mut BytesMut)) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.session.on_backend(slot, &mut bytes, &mut self.out);
        assert!(bytes.is_empty(), "whole messages are taken whole");
        self.go_on();
    }

    /// The server ends a simple query well.
    fn done(&mut self, slot: Slot, tag: &str, status: TxStatus) {
        self.server(slot, |b| {
            reply::command_complete(b, tag);
            reply::ready(b, status);
        });
    }

    /// Types of the messages that went to the slot's server since the last look.
    fn sent(&mut self, slot: Slot) -> String {
        let index = usize::from(slot.0);
        let bytes = self
            .out
            .backends
            .get_mut(index)
            .map(BytesMut::split)
            .unwrap_or_default();
        frames(&bytes)
            .iter()
            .map(|(tag, _)| char::from(*tag))
            .collect()
    }

    /// Texts of the simple queries that went to the slot's server.
    fn sent_queries(&mut self, slot: Slot) -> Vec<String> {
        let bytes = self.out.backends[usize::from(slot.0)].split();
        frames(&bytes)
            .into_iter()
            .filter(|(tag, _)| *tag == b'Q')
            .map(|(_, body)| text(&body))
            .collect()
    }

    /// Types of the messages to the client; ReadyForQuery with its status, an error with its code.
    fn client(&mut self) -> String {
        types(&self.out.client.split())
    }

    fn step(&mut self) -> Step {
        assert!(
            !self.steps.is_empty(),
            "a step was expected; the client was told {:?}",
            self.out.client
        );
        self.steps.remove(0)
    }

    fn expect_checkout(&mut self, shard: ShardId, wanted: Wanted) -> Slot {
        self.take_steps();
        match self.step() {
            Step::Checkout {
                slot,
                shard: s,
                wanted: w,
            } => {
                assert_eq!((s, w), (shard, wanted));
                slot
            }
            other => panic!("a checkout was expected, not {other:?}"),
        }
    }

    fn expect_release(&mut self, slot: Slot, whole: bool) -> Option<Backend> {
        loop {
            match self.step() {
                Step::Release { slot: s, backend } => {
                    assert_eq!((s, backend.is_some()), (slot, whole));
                    return backend.map(|backend| *backend);
                }
                Step::Settled { .. } => {}
                other => panic!("a release was expected, not {other:?}"),
            }
        }
    }

    fn expect_no_steps(&mut self) {
        assert!(
            self.steps.is_empty(),
            "no step was expected, not {:?}",
            self.steps
        );
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while bytes.len() >= 5 {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        frames.push((bytes[0], bytes[5..=length].to_vec()));
        bytes = &bytes[length + 1..];
    }
    assert!(bytes.is_empty(), "only whole frames");
    frames
}

fn types(bytes: &[u8]) -> String {
    let mut types = String::new();
    for (tag, body) in frames(bytes) {
        types.push(char::from(tag));
        match tag {
            b'Z' => types.push(char::from(body[0])),
            b'E' => {
                let fields = shardgate_wire::backend::ErrorFields::parse(&body).unwrap();
                types.push_str(&format!("({})", fields.sqlstate().unwrap_or("none")));
            }
            _ => {}
        }
    }
    types
}

#[test]
fn login_tells_parameters_key_and_ready() {
    let mut script = Script::unstarted(&[]);
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.client(), "");
    script.answer_isolation(slot, "read committed");
    assert_eq!(script.client(), "SKZI");
}

#[test]
fn login_with_a_bad_setting_is_refused() {
    let mut script = Script::unstarted(&[("nonsense", "1")]);
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.server(slot, |b| {
        reply::error(
            b,
            &PgError::error("42704", "unrecognized configuration parameter"),
        );
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "E(42704)");
    script.expect_release(slot, false);
    assert!(matches!(script.step(), Step::Close));
}

#[test]
fn a_keyed_statement_goes_to_its_shard_and_the_backend_comes_back() {
    let mut script = Script::begin(&[]);
    script.query("update users set name = 'a' where id = 150");
    let slot = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "Q");
    script.done(slot, "UPDATE 1", TxStatus::Idle);
    assert_eq!(script.client(), "CZI");
    assert!(matches!(script.step(), Step::Settled { wrote: true, .. }));
    script.expect_release(slot, true);
}

#[test]
fn a_proven_read_may_use_a_replica_outside_of_transactions_only() {
    let mut script = Script::begin(&[]);
    script.query("select name from users where id = 150");
    let slot = script.expect_checkout(SECOND, Wanted::Replica);
    script.attach(slot);
    script.done(slot, "SELECT 0", TxStatus::Idle);
    script.expect_release(slot, true);
    script.client();
    script.query("begin");
    assert_eq!(script.client(), "CZT");
    script.expect_no_steps();
    script.query("select name from users where id = 150");
    script.expect_checkout(SECOND, Wanted::Primary);
}

#[test]
fn begin_is_said_late_and_a_second_shard_fails_the_transaction_on_the_first() {
    let mut script = Script::begin(&[]);
    script.query("begin isolation level repeatable read");
    script.query("update users set name = 'a' where id = 5");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(
        script.sent_queries(slot),
        [
            "begin isolation level repeatable read",
            "update users set name = 'a' where id = 5"
        ]
    );
    script.done(slot, "BEGIN", TxStatus::InTransaction);
    script.done(slot, "UPDATE 1", TxStatus::InTransaction);
    assert_eq!(script.client(), "CZTCZT");
    script.query("update users set name = 'a' where id = 500");
    assert_eq!(script.sent(slot), "BS");
    script.server(slot, |b| {
        reply::error(b, &PgError::error("26000", "no such statement"));
        reply::ready(b, TxStatus::Failed);
    });
    assert_eq!(script.client(), "E(0A000)ZE");
    script.query("rollback");
    assert_eq!(script.sent(slot), "Q");
    script.done(slot, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "CZI");
    script.expect_release(slot, true);
}

#[test]
fn a_refused_statement_without_a_server_fails_the_virtual_block() {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.query("select * from users");
    script.query("commit");
    assert_eq!(script.client(), "CZTE(0A000)ZECZI");
    script.expect_no_steps();
}

#[test]
fn a_statement_prepared_in_a_block_does_not_tie_the_block_to_a_shard() {
    for ending in ["sync", "flush"] {
        let mut script = Script::begin(&[]);
        script.query("begin");
        assert_eq!(script.client(), "CZT");
        script.say(|b| {
            put::parse(b, b"s", b"update users set name = 'x' where id = $1", &[]);
            put::describe(b, b'S', b"s");
            match ending {
                "sync" => put::sync(b),
                _ => put::flush(b),
            }
        });
        let home = script.expect_checkout(HOME, Wanted::Primary);
        script.attach(home);
        let described = |b: &mut BytesMut| {
            reply::parse_complete(b);
            reply::parameter_description(b, &[20]);
            reply::no_data(b);
        };
        script.server(home, |b| reply::command_complete(b, "BEGIN"));
        script.server(home, |b| reply::ready(b, TxStatus::InTransaction));
        if ending == "sync" {
            assert_eq!(script.sent(home), "QPDS");
            script.server(home, |b| {
                described(b);
                reply::ready(b, TxStatus::InTransaction);
            });
            assert_eq!(script.sent_queries(home), ["ROLLBACK"]);
            script.done(home, "ROLLBACK", TxStatus::Idle);
            assert_eq!(script.client(), "1tnZT", "the block goes on");
            script.expect_release(home, true);
        } else {
            assert_eq!(script.sent(home), "QPDH");
            script.server(home, described);
            assert_eq!(script.client(), "1tn");
        }
        script.say(|b| {
            put::bind_text(b, b"", b"s", &[Some(b"150")]);
            put::execute(b, b"", 0);
            put::sync(b);
        });
        if ending == "flush" {
            assert_eq!(script.sent(home), "SQ", "the look is over");
            script.server(home, |b| {
                reply::ready(b, TxStatus::InTransaction);
                reply::command_complete(b, "ROLLBACK");
                reply::ready(b, TxStatus::Idle);
            });
            script.expect_release(home, true);
        }
        let second = script.expect_checkout(SECOND, Wanted::Primary);
        script.attach(second);
        assert_eq!(script.sent(second), "QPBES");
        script.done(second, "BEGIN", TxStatus::InTransaction);
        script.server(second, |b| {
            reply::parse_complete(b);
            reply::bind_complete(b);
            reply::command_complete(b, "UPDATE 1");
            reply::ready(b, TxStatus::InTransaction);
        });
        assert_eq!(script.client(), "2CZT", "{ending}");
    }
}

#[test]
fn a_failed_parse_fails_the_block_that_no_server_has() {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.say(|b| {
        put::parse(b, b"s", b"select nothing from users where id = $1", &[]);
        put::flush(b);
        put::bind_text(b, b"", b"s", &[Some(b"150")]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    assert_eq!(script.sent(home), "QPHSQ");
    script.done(home, "BEGIN", TxStatus::InTransaction);
    script.server(home, |b| {
        reply::error(b, &PgError::error("42703", "no such column"));
        reply::ready(b, TxStatus::Failed);
        reply::command_complete(b, "ROLLBACK");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "CZTE(42703)ZE");
    script.expect_release(home, true);
    script.query("select 1 from notes");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert!(
        script
            .sent_queries(slot)
            .first()
            .is_some_and(|sql| sql.to_lowercase().starts_with("begin")),
        "a server says that the block has failed"
    );
}

#[test]
fn parse_is_held_until_the_bind_shows_the_shard() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"s", b"select name from users where id = $1", &[]);
        put::describe(b, b'S', b"s");
    });
    script.expect_no_steps();
    script.say(|b| {
        put::bind_text(b, b"", b"s", &[Some(b"150")]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    let slot = script.expect_checkout(SECOND, Wanted::Replica);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PDBES");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::parameter_description(b, &[20]);
        reply::row_description(b, &[]);
        reply::bind_complete(b);
        reply::data_row(b, &[]);
        reply::command_complete(b, "SELECT 1");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "1tT2DCZI");
    let backend = script.expect_release(slot, true).unwrap();
    // Again on the same backend: it has the statement, so only Bind and Execute go there.
    script.say(|b| {
        put::bind_text(b, b"", b"s", &[Some(b"151")]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    let slot = script.expect_checkout(SECOND, Wanted::Replica);
    script.attach_backend(slot, backend);
    assert_eq!(script.sent(slot), "BES");
    script.server(slot, |b| {
        reply::bind_complete(b);
        reply::command_complete(b, "SELECT 0");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "2CZI");
    script.expect_release(slot, true);
    // On a backend that has not: a Parse goes first, and its answer is not the client's.
    script.say(|b| {
        put::bind_text(b, b"", b"s", &[Some(b"5")]);
        put::execute(b, b"", 0);
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PBES");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::bind_complete(b);
        reply::command_complete(b, "SELECT 0");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "2CZI");
}

#[test]
fn an_error_in_the_pipeline_skips_to_the_sync_and_nothing_leaks() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"", b"select id from notes where id = $1", &[]);
        put::bind_text(b, b"", b"", &[Some(b"x")]);
        put::execute(b, b"", 0);
        put::sync(b);
        put::query(b, b"select id from notes");
    });
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PBES");
    script.server(slot, |b| {
        reply::parse_complete(b);
        reply::error(b, &PgError::error("22P02", "invalid input syntax"));
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "1E(22P02)ZI");
    script.expect_release(slot, true);
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    script.done(slot, "SELECT 0", TxStatus::Idle);
    assert_eq!(script.client(), "CZI");
}

#[test]
fn what_no_entry_allows_closes_the_backend_and_the_client() {
    let mut script = Script::begin(&[]);
    script.query("select id from notes");
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    script.server(slot, reply::bind_complete);
    assert_eq!(script.client(), "E(08P01)");
    script.expect_release(slot, false);
    assert!(matches!(script.step(), Step::Close));
}

#[test]
fn a_cancelled_wait_for_the_pool_is_an_error_of_the_statement() {
    let mut script = Script::begin(&[]);
    script.query("select id from notes");
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.event(Event::CancelRequested);
    assert!(matches!(script.step(), Step::AbandonCheckout { slot: s } if s == slot));
    assert_eq!(script.client(), "E(57014)ZI");
}

#[test]
fn a_backend_with_a_cancel_on_its_way_is_held() {
    let mut script = Script::begin(&[]);
    script.query("select id from notes");
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    script.event(Event::CancelRequested);
    assert!(matches!(script.step(), Step::Cancel { .. }));
    assert!(script.session.cancel_is_wanted(slot));
    script.done(slot, "SELECT 0", TxStatus::Idle);
    assert_eq!(script.client(), "CZI");
    assert!(!script.session.cancel_is_wanted(slot));
    assert!(matches!(script.step(), Step::Settled { .. }));
    script.expect_no_steps();
    script.event(Event::CancelDone { slot, sent: true });
    script.expect_release(slot, true);
}

#[test]
fn a_lost_backend_is_fatal_to_its_client_alone() {
    let mut script = Script::begin(&[]);
    script.query("select id from notes");
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    script.event(Event::BackendLost { slot });
    assert_eq!(script.client(), "E(08006)");
    script.expect_release(slot, false);
    assert!(matches!(script.step(), Step::Close));
}

#[test]
fn fire_and_forget_runs_and_an_open_transaction_is_dropped() {
    let mut script = Script::begin(&[]);
    script.query("insert into notes values (1)");
    script.event(Event::ClientGone);
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "Q");
    script.done(slot, "INSERT 0 1", TxStatus::Idle);
    script.expect_release(slot, true);
    assert!(matches!(script.step(), Step::Close));

    let mut script = Script::begin(&[]);
    script.query("begin; insert into notes values (1)");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.server(slot, |b| {
        reply::command_complete(b, "BEGIN");
        reply::command_complete(b, "INSERT 0 1");
        reply::ready(b, TxStatus::InTransaction);
    });
    script.event(Event::ClientGone);
    script.expect_release(slot, false);
}

#[test]
fn a_long_row_is_passed_on_in_parts_and_its_loss_closes_without_a_word() {
    let mut script = Script::begin(&[]);
    script.query("select id from notes");
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    let mut row = BytesMut::new();
    reply::data_row(&mut row, &[Some(&vec![b'x'; 100_000])]);
    let mut first = row.split_to(40_000);
    script.session.on_backend(slot, &mut first, &mut script.out);
    assert_eq!(script.out.client.len(), 40_000);
    script.out.client.clear();
    script.event(Event::BackendLost { slot });
    assert!(
        script.out.client.is_empty(),
        "nothing may stand inside of a frame"
    );
    script.expect_release(slot, false);
    assert!(matches!(script.step(), Step::Close));
}

#[test]
fn a_savepoint_before_the_first_shard_goes_where_the_transaction_goes() {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.query("savepoint a");
    let home = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(home);
    assert_eq!(script.sent_queries(home), ["begin", "savepoint a"]);
    script.done(home, "BEGIN", TxStatus::InTransaction);
    script.done(home, "SAVEPOINT", TxStatus::InTransaction);
    assert_eq!(script.sent_queries(home), ["ROLLBACK"]);
    script.done(home, "ROLLBACK", TxStatus::Idle);
    assert_eq!(script.client(), "CZTCZT");
    script.expect_release(home, true);
    script.query("update users set name = 'a' where id = 150");
    let slot = script.expect_checkout(SECOND, Wanted::Primary);
    script.attach(slot);
    assert_eq!(
        script.sent_queries(slot),
        [
            "begin\n;savepoint a",
            "update users set name = 'a' where id = 150"
        ]
    );
}

#[test]
fn garbage_of_a_client_ends_the_session_with_an_error() {
    for bytes in [&b"!\0\0\0\x04"[..], b"Q\xff\xff\xff\xff", b"Q\0\0\0\x03"] {
        let mut script = Script::begin(&[]);
        script.say(|b| b.extend_from_slice(bytes));
        let said = script.client();
        assert!(said.starts_with("E(08P01)"), "{bytes:?}: {said}");
    }
}

#[test]
fn code_that_is_skipped_is_settled_all_the_same() {
    let mut script = Script::begin(&[]);
    script.say(|b| {
        put::parse(b, b"bad", b"selec", &[]);
        put::bind_text(b, b"", b"bad", &[]);
        put::describe(b, b'P', b"");
        put::execute(b, b"", 0);
        put::close(b, b'S', b"bad");
        put::sync(b);
    });
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    assert_eq!(script.sent(slot), "PBDES");
    script.server(slot, |b| {
        reply::error(b, &PgError::error("42601", "syntax error"));
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.sent(slot), "Q", "the values are read back");
    script.server(slot, |b| {
        reply::command_complete(b, "SELECT 0");
        reply::ready(b, TxStatus::Idle);
    });
    script.event(Event::Refreshed(Ok(snapshot())));
    assert_eq!(script.client(), "E(42601)ZI");
}

#[test]
fn a_second_login_of_the_same_kind_needs_no_server() {
    let planner = Arc::new(Planner::new(1 << 20));
    let start = |startup: &[(&str, &str)]| {
        let session = Session::new(options(startup), snapshot(), planner.clone());
        let mut script = Script {
            session,
            out: Output::default(),
            input: BytesMut::new(),
            steps: Vec::new(),
        };
        script.session.start(&mut script.out);
        script
    };
    let mut first = start(&[]);
    let slot = first.expect_checkout(HOME, Wanted::Primary);
    first.attach(slot);
    first.answer_isolation(slot, "repeatable read");
    assert_eq!(first.client(), "SKZI");
    let mut second = start(&[]);
    second.expect_no_steps();
    assert!(second.out.steps.is_empty());
    assert_eq!(second.client(), "SKZI");
    let isolation = |script: &Script| {
        let value = script
            .session
            .settings
            .value("default_transaction_isolation");
        value.map(str::to_string)
    };
    assert_eq!(isolation(&first).as_deref(), Some("repeatable read"));
    assert_eq!(isolation(&second), isolation(&first));
    // Other settings are tried before they are believed.
    let mut third = start(&[("work_mem", "5MB")]);
    third.expect_checkout(HOME, Wanted::Primary);
}

#[test]
fn after_a_change_of_the_schema_a_block_may_not_name_distributed_tables() {
    let mut script = Script::begin(&[]);
    script.query("begin");
    script.query("create table other (id int8)");
    let slot = script.expect_checkout(HOME, Wanted::Primary);
    script.attach(slot);
    script.done(slot, "BEGIN", TxStatus::InTransaction);
    script.done(slot, "CREATE TABLE", TxStatus::InTransaction);
    assert_eq!(script.client(), "CZTCZT");
    script.query("select name from users where id = 5");
    script.server(slot, |b| {
        reply::error(b, &PgError::error("26000", "no such statement"));
        reply::ready(b, TxStatus::Failed);
    });
    assert_eq!(script.client(), "E(0A000)ZE");
    // In the failed block the server says so itself, whatever the shard.
    script.query("select name from users where id = 500");
    assert!(script.sent(slot).ends_with('Q'));
}

#[test]
fn one_query_may_not_name_distributed_tables_behind_a_change_of_the_schema() {
    let mut script = Script::begin(&[]);
    script.query("drop table other; select count(*) from users where id = 5");
    assert_eq!(script.client(), "E(0A000)ZI");
    script.expect_no_steps();
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let mut script = Script::begin(&[]);
    script.query("select id from notes");
    script.event(Event::ClientGone);
    let slot = script.expect_checkout(HOME, Wanted::Replica);
    script.attach(slot);
    script.server(slot, |b| {
        reply::row_description(b, &[]);
        reply::data_row(b, &[]);
        reply::command_complete(b, "SELECT 1");
        reply::ready(b, TxStatus::Idle);
    });
    assert_eq!(script.client(), "TDCZI");
}
