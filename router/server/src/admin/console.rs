//! The console's connection: simple queries, and the extended protocol without parameters.
//!
//! One task, one socket, one reply at a time; there is no backend behind it.

use super::Context;
use super::command::{Command, View, parse};
use super::statement::{Answer, describe, row, run, width};
use bytes::{Buf, BytesMut};
use shardgate_wire::backend::put;
use shardgate_wire::frame::{HEADER_BYTES, Limits, peek};
use shardgate_wire::frontend::{Bind, Close, Describe, Execute, Parse, Query};
use shardgate_wire::{PgError, TxStatus};
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest message that the console reads.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Prepared statements and portals of one connection, of each kind.
const NAMED_MAX: usize = 64;
/// Input after which an answer is written out, so that a pipeline does not gather answers without end.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Settings that drivers look at when they connect.
const PARAMETERS: [(&str, &str); 7] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("integer_datetimes", "on"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0 (Shardgate)"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
];

/// What stands in a text that asks for moves.
const MOVES: &[u8] = b"moves";

/// One connection to the console, after AuthenticationOk was sent.
pub struct Console {
    context: Context,
    limits: Limits,
    statements: HashMap<Vec<u8>, Option<Command>>,
    portals: HashMap<Vec<u8>, Portal>,
    /// An error was sent; everything up to Sync is skipped.
    skipping: bool,
    write_timeout: Duration,
    /// The client has asked for moves, which are not known without the home shard: why they cannot be told, if so.
    moves: Option<Result<(), PgError>>,
}

struct Portal {
    command: Option<Command>,
    /// One for all columns, one for each, or none (text).
    formats: Vec<bool>,
    /// None until it was executed first.
    answer: Option<Answer>,
    /// Rows that were sent.
    sent: usize,
}

/// Whether the connection goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    End,
}

impl Console {
    pub fn new(context: Context) -> Self {
        let write_timeout = context.config.limits.client_write_timeout;
        Console {
            context,
            limits: Limits::frontend(MESSAGE_BYTES_MAX),
            statements: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
            write_timeout,
            moves: None,
        }
    }

    /// Serves the client until it leaves. `input` holds what was read after the login's last message; `pid` and
    /// `secret` go into BackendKeyData. Dropping the future closes the connection.
    ///
    /// # Errors
    /// The connection failed, or the client did not read for too long. What the client did wrong it was told.
    pub async fn serve<S>(
        mut self,
        mut stream: S,
        mut input: BytesMut,
        pid: u32,
        secret: &[u8],
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut out = BytesMut::new();
        for (name, value) in PARAMETERS {
            put::parameter_status(&mut out, name, value);
        }
        put::backend_key(&mut out, pid, secret);
        put::ready(&mut out, TxStatus::Idle);
        loop {
            self.ask_for_moves(&input).await;
            let next = self.consume(&mut input, &mut out);
            if !out.is_empty() {
                let writing = stream.write_all_buf(&mut out);
                tokio::time::timeout(self.write_timeout, writing).await??;
                if matches!(next, Next::Go) {
                    stream.flush().await?;
                }
            }
            match next {
                Next::End => return stream.shutdown().await,
                Next::Go if self.has_whole_message(&input) => {}
                Next::Go => {
                    if stream.read_buf(&mut input).await? == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Asks for them before a message is looked at, if the client has ever shown that it wants them.
    async fn ask_for_moves(&mut self, input: &[u8]) {
        let wanted = input
            .windows(MOVES.len())
            .any(|word| word.eq_ignore_ascii_case(MOVES));
        if input.is_empty() || !(wanted || self.moves.is_some()) {
            return;
        }
        self.moves = Some(self.context.source.moves().await.map(|moves| {
            self.context.moves = moves;
        }));
    }

    fn run(&self, command: &Command) -> Result<Answer, PgError> {
        if let (Command::Show(View::Moves), Some(Err(error))) = (command, &self.moves) {
            return Err(error.clone());
        }
        run(command, &self.context)
    }

    fn has_whole_message(&self, input: &BytesMut) -> bool {
        match peek(input, &self.limits) {
            Ok(frame) => frame.is_some_and(|f| f.len <= input.len()),
            // The error is for `consume` to report.
            Err(_) => true,
        }
    }

    /// Answers the whole messages in `input` until the output is long.
    pub(super) fn consume(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Next {
        while out.len() < OUTPUT_BYTES_MAX {
            let frame = match peek(input, &self.limits) {
                Ok(Some(frame)) if frame.len <= input.len() => frame,
                Ok(_) => return Next::Go,
                Err(error) => {
                    put::error(out, &error.to_error());
                    return Next::End;
                }
            };
            let mut message = input.split_to(frame.len);
            message.advance(HEADER_BYTES);
            match self.message(frame.tag, &message, out) {
                Ok(next @ Next::End) => return next,
                Ok(Next::Go) => {}
                Err(error) => {
                    put::error(out, &error);
                    if error.ends_session() {
                        return Next::End;
                    }
                    self.skipping = true;
                }
            }
        }
        Next::Go
    }

    fn message(&mut self, tag: u8, body: &[u8], out: &mut BytesMut) -> Result<Next, PgError> {
        match tag {
            b'X' => return Ok(Next::End),
            b'S' => {
                self.skipping = false;
                self.portals.clear();
                put::ready(out, TxStatus::Idle);
            }
            // As in Postgres, a simple query does not end the skipping.
            _skipped if self.skipping => {}
            b'Q' => {
                self.portals.clear();
                if let Err(error) = self.simple(body, out) {
                    put::error(out, &error);
                }
                put::ready(out, TxStatus::Idle);
            }
            b'P' => self.prepare(&Parse::parse(body)?, out)?,
            b'B' => self.bind(&Bind::parse(body)?, out)?,
            b'D' => self.describe(&Describe::parse(body)?, out)?,
            b'E' => self.execute(&Execute::parse(body)?, out)?,
            b'C' => {
                let close = Close::parse(body)?;
                match close.kind {
                    b'S' => drop(self.statements.remove(close.name)),
                    _portal => drop(self.portals.remove(close.name)),
                }
                put::close_complete(out);
            }
            b'H' => {}
            // COPY messages outside of a COPY are ignored, as in Postgres.
            b'd' | b'c' | b'f' => {}
            other => {
                let message = format!("message type {other} is not supported by the admin console");
                return Err(PgError::error("08P01", message).fatal());
            }
        }
        Ok(Next::Go)
    }

    fn simple(&self, body: &[u8], out: &mut BytesMut) -> Result<(), PgError> {
        let commands = parse(utf8(Query::parse(body)?.sql)?)?;
        if commands.is_empty() {
            put::empty_query(out);
        }
        for command in &commands {
            let answer = self.run(command)?;
            describe(out, Some(command), false);
            for values in &answer.rows {
                row(out, values, |_| false);
            }
            put::command_complete(out, answer.tag);
        }
        Ok(())
    }

    fn prepare(&mut self, message: &Parse<'_>, out: &mut BytesMut) -> Result<(), PgError> {
        if !message.types.is_empty() {
            return Err(PgError::error(
                "0A000",
                "the admin console takes no parameters",
            ));
        }
        let mut commands = parse(utf8(message.sql)?)?;
        if commands.len() > 1 {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(PgError::error("42601", text));
        }
        if !message.name.is_empty() && self.statements.contains_key(message.name) {
            let name = String::from_utf8_lossy(message.name);
            let text = format!("prepared statement \"{name}\" already exists");
            return Err(PgError::error("42P05", text));
        }
        if self.statements.len() >= NAMED_MAX && !self.statements.contains_key(message.name) {
            let text = format!("the admin console keeps at most {NAMED_MAX} prepared statements");
            return Err(PgError::error("54000", text));
        }
        let name = message.name.to_vec();
        self.statements.insert(name, commands.pop());
        put::parse_complete(out);
        Ok(())
    }

    fn bind(&mut self, message: &Bind<'_>, out: &mut BytesMut) -> Result<(), PgError> {
        let command = self.statement(message.statement)?.clone();
        if message.count() > 0 {
            let text = format!(
                "bind message supplies {} parameters, but the statement requires 0",
                message.count()
            );
            return Err(PgError::error("08P01", text));
        }
        let formats = message.result_formats();
        let wanted = command.as_ref().map_or(0, width);
        if formats.len() > 1 && formats.len() != wanted {
            let text = format!(
                "bind message has {} result formats but query has {wanted} columns",
                formats.len()
            );
            return Err(PgError::error("08P01", text));
        }
        let formats = (0..formats.len()).map(|at| formats.is_binary(at)).collect();
        if !message.portal.is_empty() && self.portals.contains_key(message.portal) {
            let name = String::from_utf8_lossy(message.portal);
            let text = format!("cursor \"{name}\" already exists");
            return Err(PgError::error("42P03", text));
        }
        if self.portals.len() >= NAMED_MAX && !self.portals.contains_key(message.portal) {
            let text = format!("the admin console keeps at most {NAMED_MAX} portals");
            return Err(PgError::error("54000", text));
        }
        let portal = Portal {
            command,
            formats,
            answer: None,
            sent: 0,
        };
        self.portals.insert(message.portal.to_vec(), portal);
        put::bind_complete(out);
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<&Option<Command>, PgError> {
        self.statements.get(name).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            let text = format!("prepared statement \"{name}\" does not exist");
            PgError::error("26000", text)
        })
    }

    fn describe(&mut self, message: &Describe<'_>, out: &mut BytesMut) -> Result<(), PgError> {
        if message.kind == b'S' {
            let command = self.statement(message.name)?;
            put::parameter_description(out, &[]);
            describe(out, command.as_ref(), true);
            return Ok(());
        }
        let portal = self.portals.get(message.name);
        let portal = portal.ok_or_else(|| no_portal(message.name))?;
        describe(out, portal.command.as_ref(), true);
        Ok(())
    }

    fn execute(&mut self, message: &Execute<'_>, out: &mut BytesMut) -> Result<(), PgError> {
        let portal = self.portals.get(message.portal);
        let portal = portal.ok_or_else(|| no_portal(message.portal))?;
        let fresh = match &portal.command {
            None => {
                put::empty_query(out);
                return Ok(());
            }
            Some(command) if portal.answer.is_none() => Some(self.run(command)?),
            Some(_) => None,
        };
        let portal = self.portals.get_mut(message.portal);
        let portal = portal.ok_or_else(|| no_portal(message.portal))?;
        let Some(answer) = fresh.or_else(|| portal.answer.take()) else {
            return Err(no_portal(message.portal));
        };
        let rest = answer.rows.len().saturating_sub(portal.sent);
        let now = match usize::try_from(message.max_rows) {
            Ok(max) if max > 0 && max < rest => max,
            Ok(_) | Err(_) => rest,
        };
        let formats = &portal.formats;
        let binary = |at: usize| match formats.as_slice() {
            [] => false,
            [all] => *all,
            each => each.get(at).copied().unwrap_or(false),
        };
        for values in answer.rows.iter().skip(portal.sent).take(now) {
            row(out, values, binary);
        }
        portal.sent += now;
        match now < rest {
            true => put::portal_suspended(out),
            false => put::command_complete(out, answer.tag),
        }
        portal.answer = Some(answer);
        Ok(())
    }
}

fn no_portal(name: &[u8]) -> PgError {
    let name = String::from_utf8_lossy(name);
    PgError::error("34000", format!("portal \"{name}\" does not exist"))
}

fn utf8(sql: &[u8]) -> Result<&str, PgError> {
    let text = "invalid byte sequence for encoding \"UTF8\"";
    std::str::from_utf8(sql).map_err(|_| PgError::error("22021", text))
}
