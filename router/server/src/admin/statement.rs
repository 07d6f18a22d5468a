//! One answer as messages: in text for simple queries, in the formats asked for else.

use super::Context;
use super::columns::{Type, columns};
use super::command::Command;
use super::show::{Cell, Row, rows};
use bytes::BytesMut;
use shardgate_wire::PgError;
use shardgate_wire::backend::put::{self, ColumnDesc};

/// What running a command gave.
#[derive(Debug)]
pub(super) struct Answer {
    pub rows: Vec<Row>,
    pub tag: &'static str,
}

/// The type of a column, as pg_type has it.
fn desc(name: &'static str, ty: Type) -> ColumnDesc<'static> {
    let (type_oid, size) = match ty {
        Type::Text => (25, -1),
        Type::Int => (20, 8),
        Type::Bool => (16, 1),
    };
    ColumnDesc {
        name,
        type_oid,
        size,
    }
}

/// RowDescription; NoData for a command without rows if `extended`.
pub(super) fn describe(out: &mut BytesMut, command: Option<&Command>, extended: bool) {
    match command {
        Some(Command::Show(view)) => {
            let all: Vec<_> = columns(*view).iter().map(|(n, t)| desc(n, *t)).collect();
            put::row_description(out, &all);
        }
        Some(Command::Kill(_) | Command::Reload | Command::Set) | None => {
            if extended {
                put::no_data(out);
            }
        }
    }
}

/// The number of columns of the command's rows.
pub(super) fn width(command: &Command) -> usize {
    match command {
        Command::Show(view) => columns(*view).len(),
        Command::Kill(_) | Command::Reload | Command::Set => 0,
    }
}

/// Carries the command out.
pub(super) fn run(command: &Command, context: &Context) -> Result<Answer, PgError> {
    let mut answer = Answer {
        rows: Vec::new(),
        tag: command.tag(),
    };
    match command {
        Command::Show(view) => answer.rows = rows(*view, context),
        Command::Kill(pid) => {
            if !context.source.kill(*pid) {
                return Err(PgError::error("42704", format!("there is no client {pid}"))
                    .hint("The number is the column \"pid\" of SHOW CLIENTS."));
            }
        }
        Command::Reload => context.source.reload()?,
        Command::Set => {}
    }
    Ok(answer)
}

/// One DataRow. `binary` says it for each column by its index.
pub(super) fn row(out: &mut BytesMut, row: &Row, binary: impl Fn(usize) -> bool) {
    let value = |(at, cell): (usize, &Cell)| match cell {
        Cell::Null => None,
        Cell::Text(text) => Some(text.clone().into_bytes()),
        Cell::Int(number) if binary(at) => Some(number.to_be_bytes().to_vec()),
        Cell::Int(number) => Some(number.to_string().into_bytes()),
        Cell::Bool(value) if binary(at) => Some(vec![u8::from(*value)]),
        Cell::Bool(value) => Some(if *value { b"t".to_vec() } else { b"f".to_vec() }),
    };
    let values: Vec<Option<Vec<u8>>> = row.iter().enumerate().map(value).collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    put::data_row(out, &values);
}
