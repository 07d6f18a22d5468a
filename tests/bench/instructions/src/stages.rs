//! The stages one by one: framing and message views, the analysis of a text, its compilation.

use crate::statements::{ALL, Statement};
use crate::{Case, catalog};
use bytes::BytesMut;
use shardgate_plan::{Context, compile_text};
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::{Bind, Parse, put};
use shardgate_wire::{Limits, frame};
use std::collections::HashSet;
use std::hint::black_box;

/// Stages keep nothing from one time to the next but the allocator's pages.
const WARM_UP: u32 = 5;
const ROWS: u32 = 100;

pub fn wire() -> Vec<Case> {
    let mut rows = BytesMut::new();
    for number in 0..ROWS {
        let value = number.to_string();
        reply::data_row(
            &mut rows,
            &[Some(value.as_bytes()), Some(b"some text"), None],
        );
    }
    let mut batch = BytesMut::new();
    let text = b"SELECT abalance FROM accounts WHERE aid = $1";
    put::parse(&mut batch, b"", text, &[]);
    put::bind_text(&mut batch, b"", b"", &[Some(b"4711")]);
    put::describe(&mut batch, b'P', b"");
    put::execute(&mut batch, b"", 0);
    put::sync(&mut batch);
    let bind = body(&batch, b'B');
    let parse = body(&batch, b'P');
    let (servers, clients) = (Limits::backend(), Limits::frontend(1 << 20));
    vec![
        case("wire/frames_of_100_rows", move |_| frames(&rows, &servers)),
        case("wire/frames_of_extended", move |_| frames(&batch, &clients)),
        case("wire/parse_view", move |_| {
            let _seen = black_box(Parse::parse(black_box(&parse)));
        }),
        case("wire/bind_view", move |_| {
            let view = Bind::parse(black_box(&bind)).expect("a Bind");
            let _seen = black_box(view.param(0));
        }),
    ]
}

fn frames(mut bytes: &[u8], limits: &Limits) {
    while let Some(frame) = frame::peek(bytes, limits).expect("whole frames") {
        black_box(frame.tag);
        bytes = bytes.get(frame.len..).expect("whole frames");
    }
}

/// The body of the first message of this type.
fn body(mut bytes: &[u8], tag: u8) -> Vec<u8> {
    let limits = Limits::frontend(1 << 20);
    loop {
        let frame = frame::peek(bytes, &limits)
            .expect("whole frames")
            .expect("a message of the type");
        let (message, rest) = bytes.split_at(frame.len);
        if frame.tag == tag {
            return message.get(5..).expect("a header").to_vec();
        }
        bytes = rest;
    }
}

pub fn sql() -> Vec<Case> {
    let analysis = |statement: &Statement| {
        let texts = texts(statement);
        case(&format!("sql/{}", statement.name), move |number| {
            black_box(shardgate_sql::analyze(text(&texts, number)));
        })
    };
    ALL.iter().map(analysis).collect()
}

pub fn plan() -> Vec<Case> {
    let snapshot = catalog::snapshot();
    let compilation = |statement: &Statement| {
        let snapshot = snapshot.clone();
        let text = statement.text(4711);
        let facts = shardgate_sql::analyze(&text);
        let temporary = HashSet::new();
        case(&format!("plan/{}", statement.name), move |_| {
            let context = Context {
                user: "app",
                search_path: None,
                declared: &[],
                temporary: &temporary,
                transform_null_equals: false,
            };
            black_box(compile_text(black_box(&facts), &text, &snapshot, &context));
        })
    };
    ALL.iter().map(compilation).collect()
}

fn case(name: &str, work: impl FnMut(u32) + 'static) -> Case {
    Case {
        name: name.to_owned(),
        work: Box::new(work),
        warm_up: WARM_UP,
    }
}

/// A text for each time.
fn texts(statement: &Statement) -> Vec<String> {
    (0..WARM_UP + crate::REPEATS)
        .map(|number| statement.text(number))
        .collect()
}

fn text(texts: &[String], number: u32) -> &str {
    let number = usize::try_from(number).expect("a small number");
    texts.get(number).expect("a text for each time")
}
