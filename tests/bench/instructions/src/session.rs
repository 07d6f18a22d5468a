//! The session in script form: a client's messages in, a server's answers in, everything that comes out carried out.
//!
//! It does what the router's I/O does, without sockets: connections lie in one place for each shard, and the server
//! answers at once. So a count holds all of the session's work for a statement, and a little for the script.

use crate::server::Server;
use crate::statements::{ALL, Statement};
use crate::{Case, catalog};
use bytes::BytesMut;
use shardgate_session::{
    Backend, Common, Event, GatherBudget, GatherLimits, Options, Output, Planner, Role, Session,
    Slot, Step,
};
use shardgate_shard_map::ShardId;
use shardgate_wire::frontend::put;
use shardgate_wire::{Limits, TxStatus, frame};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Small, so that the texts with new literals soon push each other out, as they do in a router that has run for a while.
const CACHE_BYTES: u64 = 1 << 20;
const WARM_UP_TEXTS: u32 = 200;
/// Where the same texts come again.
const WARM_UP: u32 = 20;
const ROWS: u32 = 1000;
const PIPELINE: u32 = 100;

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = ALL.iter().map(simple).collect();
    let often = ["point_select", "home_select", "update", "insert"];
    for statement in ALL
        .iter()
        .filter(|statement| often.contains(&statement.name))
    {
        cases.push(extended(statement));
        cases.push(prepared(statement));
    }
    cases.push(transaction());
    cases.push(pipeline());
    cases.push(thousand_rows());
    cases
}

/// The same statement with a new literal each time.
fn simple(statement: &'static Statement) -> Case {
    let mut case = case(
        "simple",
        statement,
        one_row(statement),
        BytesMut::new(),
        queries(statement),
    );
    case.warm_up = WARM_UP_TEXTS;
    case
}

/// What libpq sends for PQexecParams.
fn extended(statement: &'static Statement) -> Case {
    let messages = each(|number, b| {
        put::parse(b, b"", statement.parameter.as_bytes(), &[]);
        execute(b, b"", number);
        put::sync(b);
    });
    case(
        "extended",
        statement,
        one_row(statement),
        BytesMut::new(),
        messages,
    )
}

/// What libpq sends for PQexecPrepared.
fn prepared(statement: &'static Statement) -> Case {
    let messages = each(|number, b| {
        execute(b, b"s1", number);
        put::sync(b);
    });
    let first = parse_first(statement);
    case("prepared", statement, one_row(statement), first, messages)
}

/// BEGIN, UPDATE, COMMIT by simple queries, each answered before the next.
fn transaction() -> Case {
    let statement = named("update");
    let update = queries(statement);
    let (mut begin, mut commit) = (BytesMut::new(), BytesMut::new());
    put::query(&mut begin, b"BEGIN");
    put::query(&mut commit, b"COMMIT");
    let mut script = Script::new(one_row(statement));
    Case {
        name: "session/transaction/simple".to_owned(),
        work: Box::new(move |number| {
            script.say(&begin);
            script.say(of(&update, number));
            script.say(&commit);
            script.expect_idle(number);
        }),
        warm_up: WARM_UP_TEXTS,
    }
}

/// A hundred executions and one Sync.
fn pipeline() -> Case {
    let statement = named("point_select");
    let messages = each(|number, b| {
        for _ in 0..PIPELINE {
            execute(b, b"s1", number);
        }
        put::sync(b);
    });
    let first = parse_first(statement);
    case(
        "pipeline_of_100",
        statement,
        one_row(statement),
        first,
        messages,
    )
}

/// An answer of many rows to a text that is known.
fn thousand_rows() -> Case {
    let statement = named("home_select");
    let messages = each(|_, b| put::query(b, statement.text(4711).as_bytes()));
    let server = Server::new("SELECT 1000", Some(ROWS));
    case("1000_rows", statement, server, BytesMut::new(), messages)
}

fn queries(statement: &Statement) -> Vec<BytesMut> {
    each(|number, b| put::query(b, statement.text(number).as_bytes()))
}

fn parse_first(statement: &Statement) -> BytesMut {
    let mut first = BytesMut::new();
    put::parse(&mut first, b"s1", statement.parameter.as_bytes(), &[]);
    put::sync(&mut first);
    first
}

fn execute(b: &mut BytesMut, statement: &[u8], number: u32) {
    put::bind_text(b, b"", statement, &[Some(number.to_string().as_bytes())]);
    put::describe(b, b'P', b"");
    put::execute(b, b"", 0);
}

fn named(name: &str) -> &'static Statement {
    const STATEMENTS: &[Statement] = &ALL;
    STATEMENTS
        .iter()
        .find(|statement| statement.name == name)
        .expect("a known name")
}

fn one_row(statement: &Statement) -> Server {
    Server::new(statement.tag, statement.rows.then_some(1))
}

fn case(
    way: &str,
    statement: &Statement,
    server: Server,
    first: BytesMut,
    messages: Vec<BytesMut>,
) -> Case {
    let mut script = Script::new(server);
    script.say(&first);
    Case {
        name: format!("session/{}/{way}", statement.name),
        work: Box::new(move |number| {
            script.say(of(&messages, number));
            script.expect_idle(number);
        }),
        warm_up: WARM_UP,
    }
}

/// The client's messages for each time.
fn each(write: impl Fn(u32, &mut BytesMut)) -> Vec<BytesMut> {
    (0..WARM_UP_TEXTS + crate::REPEATS)
        .map(|number| {
            let mut bytes = BytesMut::new();
            // Numbers of one length, so that all texts are equally long.
            write(10_000 + number, &mut bytes);
            bytes
        })
        .collect()
}

fn of(messages: &[BytesMut], number: u32) -> &BytesMut {
    let number = usize::try_from(number).expect("a small number");
    messages.get(number).expect("messages for each time")
}

struct Script {
    session: Session,
    server: Server,
    out: Output,
    input: BytesMut,
    answers: BytesMut,
    /// Idle connections.
    pool: HashMap<ShardId, Box<Backend>>,
    /// The shard of each slot in use.
    shards: HashMap<Slot, ShardId>,
    status: TxStatus,
    limits: Limits,
}

impl Script {
    /// A session that has logged in.
    fn new(server: Server) -> Script {
        let planner = Arc::new(Planner::new(CACHE_BYTES));
        let params = BTreeMap::from([("DateStyle".to_owned(), "ISO, MDY".to_owned())]);
        let connection = || Box::new(Backend::new(params.clone(), false));
        let mut script = Script {
            session: Session::new(options(), catalog::snapshot(), planner),
            server,
            out: Output::default(),
            input: BytesMut::new(),
            answers: BytesMut::new(),
            pool: HashMap::from([(ShardId(1), connection()), (ShardId(2), connection())]),
            shards: HashMap::new(),
            status: TxStatus::Idle,
            limits: Limits::backend(),
        };
        script.session.start(&mut script.out);
        script.go_on();
        script.expect_idle(0);
        script
    }

    /// The client's messages, and all that follows from them.
    fn say(&mut self, messages: &[u8]) {
        self.out.client.clear();
        self.input.extend_from_slice(messages);
        self.session.on_client(&mut self.input, &mut self.out);
        self.go_on();
    }

    fn go_on(&mut self) {
        loop {
            let steps = std::mem::take(&mut self.out.steps);
            let carried_out = !steps.is_empty();
            for step in steps {
                self.carry_out(step);
            }
            if !self.serve() && !carried_out {
                return;
            }
            self.session.on_client(&mut self.input, &mut self.out);
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Checkout { slot, shard, .. } => {
                let backend = self.pool.remove(&shard).expect("an idle connection");
                self.shards.insert(slot, shard);
                let event = Event::Attached { slot, backend };
                self.session.on_event(event, &mut self.out);
            }
            Step::Release {
                slot,
                backend: Some(backend),
            } => {
                let shard = self.shards.remove(&slot).expect("a slot in use");
                self.pool.insert(shard, backend);
            }
            Step::Settled { .. } => {}
            other => panic!("the script cannot do {other:?}"),
        }
    }

    /// True if a server had something to answer.
    fn serve(&mut self) -> bool {
        let mut served = false;
        for number in 0..self.out.backends.len() {
            let Some(sent) = self.out.backends.get_mut(number) else {
                break;
            };
            if sent.is_empty() {
                continue;
            }
            self.server
                .answer(sent, &mut self.status, &mut self.answers);
            let slot = Slot(u8::try_from(number).expect("a slot"));
            self.session
                .on_backend(slot, &mut self.answers, &mut self.out);
            assert!(self.answers.is_empty(), "whole messages are taken whole");
            served = true;
        }
        served
    }

    /// # Panics
    /// If the client was not told that all is done, or was told of an error. Looked at only while warming up.
    fn expect_idle(&self, number: u32) {
        if number >= WARM_UP {
            return;
        }
        let (mut rest, mut last): (&[u8], u8) = (&self.out.client, 0);
        while let Some(frame) = frame::peek(rest, &self.limits).expect("messages") {
            assert_ne!(frame.tag, b'E', "an error: {:?}", self.out.client);
            last = frame.tag;
            rest = rest.get(frame.len..).expect("whole messages");
        }
        assert_eq!(last, b'Z', "the client waits: {:?}", self.out.client);
        assert!(self.shards.is_empty(), "connections went back");
    }
}

fn options() -> Options {
    Options {
        user: "app".to_owned(),
        database: "app".to_owned(),
        startup: Vec::new(),
        pid: 77,
        secret: vec![1, 2, 3, 4],
        common: Arc::new(Common {
            client_limits: Limits::frontend(1 << 26),
            backend_limits: Limits::backend(),
            prepared_max: 1000,
            backend_prepared_max: 500,
            default_role: Role::Auto,
            gid_prefix: "shardgate:t:".to_owned(),
            gather: GatherLimits {
                rows: 1000,
                bytes: 1 << 20,
                budget: Arc::new(GatherBudget::new(1 << 21)),
            },
        }),
    }
}
