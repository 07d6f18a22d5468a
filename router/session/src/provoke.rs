//! Errors that Postgres itself says.
//!
//! Where a client's message can only fail, and the router knows it before a server does, the message (or one that fails
//! for the same reason) goes to a server all the same: its error has every field that a client may look at, in the words
//! of that server's version. What is sent must not be able to succeed: a success is doubt, and closes the backend. Where
//! nothing can be sent that fails so for certain, the router says the error itself, without file, line and routine.

use crate::api::Output;
use crate::client::Flow;
use crate::owed::{Entry, Kind, Purpose};
use crate::place::Place;
use crate::route::{Aim, Reach};
use crate::session::{Session, Wait};
use crate::simple::utf8;
use bytes::{Bytes, BytesMut};
use shardgate_wire::frontend::put;
use shardgate_wire::{DecodeError, PgError};

/// Why a message of the client fails.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The router says it.
    Ours(PgError),
    /// The message is malformed in this way.
    Malformed(DecodeError),
    /// The text: a server that parses it says so.
    Text,
    /// The router refuses a text that it cannot read; if a server cannot either, it says why.
    Unread(PgError),
    /// The message as it is: no server can take it.
    AsSent,
    /// The message names a statement that does not exist.
    NoStatement,
    /// A Bind of a portal that exists already, which no server may know of if it is `ours`.
    SecondPortal { ours: bool },
    /// The message would be right but for the name, or the number, of what it refers to: it fails where a statement with
    /// the client's own name stands.
    OfStatement(Statement),
}

/// What a statement must look like on a server for the client's message to fail there.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub name: Bytes,
    pub text: std::sync::Arc<str>,
    pub types: std::sync::Arc<[u32]>,
}

impl From<PgError> for Fault {
    fn from(error: PgError) -> Fault {
        Fault::Ours(error)
    }
}

impl Session {
    /// Sends frames that fail at a server; the client's messages are skipped up to its Sync. `write` sends them all, with
    /// the entries of all but the last.
    pub(crate) fn provoke(
        &mut self,
        write: impl FnOnce(&mut Place, &mut BytesMut),
        out: &mut Output,
    ) -> Flow {
        if !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        match self.any_server(out) {
            Reach::Later => return Flow::Later,
            Reach::Failed(error) => self.fail(&error, out),
            Reach::Ready(slot) => {
                if let Some((place, buffer)) = self.reach(slot, out) {
                    write(place, buffer);
                    place.push(Entry::client(Kind::Provoked));
                    place.unsynced = true;
                }
                self.skip_to_sync();
            }
        }
        Flow::Consumed
    }

    /// The frame as the client sent it.
    pub(crate) fn provoke_by(&mut self, frame: &[u8], out: &mut Output) -> Flow {
        self.provoke(|_, buffer| buffer.extend_from_slice(frame), out)
    }

    /// What a server says of a malformed Query, without sending it one. In the same words it complains of other messages.
    pub(crate) fn provoke_malformed(&mut self, error: &DecodeError, out: &mut Output) -> Flow {
        match error {
            DecodeError::Residue => self.provoke_by(b"H\0\0\0\x05x", out),
            DecodeError::UnterminatedString => self.provoke_by(b"C\0\0\0\x06Sx", out),
            DecodeError::Insufficient
            | DecodeError::NoData
            | DecodeError::NotUtf8
            | DecodeError::Invalid(_)
            | DecodeError::FormatCode(_) => {
                self.fail(&error.to_error(), out);
                Flow::Consumed
            }
        }
    }

    /// The text of a Query or Parse.
    pub(crate) fn sql_text<'a>(&self, sql: &'a [u8]) -> Result<&'a str, Fault> {
        utf8(sql).map_err(|error| {
            let servers = self.told.get("server_encoding").map(String::as_str);
            match servers {
                // A server with the same encoding says the same of it.
                Some("UTF8") => Fault::Text,
                Some(_) | None => Fault::Ours(error),
            }
        })
    }

    /// A frame that names a statement which does not exist.
    pub(crate) fn provoke_unknown(&mut self, name: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        if !self.may_send(name) {
            self.fail(&no_statement(name), out);
            return Flow::Consumed;
        }
        let unnamed = name.is_empty();
        let write = |place: &mut Place, buffer: &mut BytesMut| {
            if unnamed {
                // There may be one of another client.
                put::close(buffer, b'S', b"");
                place.push(Entry::router(Kind::Close, Purpose::Parse));
                place.unnamed = None;
            }
            buffer.extend_from_slice(frame);
        };
        self.provoke(write, out)
    }

    /// A text that cannot be parsed, or holds several statements where one is due. It is only parsed, so that nothing of
    /// it runs if the server sees it otherwise.
    pub(crate) fn provoke_text(&mut self, sql: &[u8], out: &mut Output) -> Flow {
        let write = |place: &mut Place, buffer: &mut BytesMut| {
            put::parse(buffer, b"", sql, &[]);
            place.unnamed = None;
        };
        self.provoke(write, out)
    }

    /// Asks a server whether it can parse a text that the router cannot. Its error is the client's; else the message is
    /// looked at again, and refused.
    pub(crate) fn ask_of_text(&mut self, sql: &[u8], refusal: &PgError, out: &mut Output) -> Flow {
        if std::mem::take(&mut self.asked) {
            self.fail(refusal, out);
            return Flow::Consumed;
        }
        if !self.send_held(out) {
            return Flow::Later;
        }
        match self.any_server(out) {
            Reach::Later => Flow::Later,
            Reach::Failed(error) => {
                self.fail(&error, out);
                Flow::Consumed
            }
            Reach::Ready(slot) => {
                if let Some((place, buffer)) = self.reach(slot, out) {
                    put::parse(buffer, b"", sql, &[]);
                    put::flush(buffer);
                    place.push(Entry::router(Kind::Parse, Purpose::Parse));
                    place.unnamed = None;
                    place.unsynced = true;
                }
                self.asked = true;
                self.wait = Wait::Drain(slot);
                Flow::Later
            }
        }
    }

    /// A frame that fails if the statement stands under the client's own name; it is closed before the client's next
    /// message, see `Place::borrowed`.
    pub(crate) fn provoke_with(
        &mut self,
        statement: &Statement,
        frame: &[u8],
        out: &mut Output,
    ) -> Flow {
        let write = |place: &mut Place, buffer: &mut BytesMut| {
            let text = statement.text.as_bytes();
            put::parse(buffer, &statement.name, text, &statement.types);
            place.push(Entry::router(Kind::Parse, Purpose::Parse));
            if statement.name.is_empty() {
                place.unnamed = None;
            } else {
                place.borrowed = Some((b'S', statement.name.clone()));
            }
            buffer.extend_from_slice(frame);
        };
        self.provoke(write, out)
    }

    /// An Execute of a portal of the router's that was executed: it fails where a command with the same portal was.
    pub(crate) fn provoke_finished(
        &mut self,
        portal: &[u8],
        frame: &[u8],
        out: &mut Output,
    ) -> Flow {
        let write = |place: &mut Place, buffer: &mut BytesMut| {
            // No server listens for a client, so it has no effect.
            put_command(place, "UNLISTEN *", portal, buffer);
            put::execute(buffer, portal, 0);
            place.push(Entry::router(
                Kind::Execute { limited: false },
                Purpose::Parse,
            ));
            buffer.extend_from_slice(frame);
        };
        self.provoke(write, out)
    }

    /// A Bind of a portal that exists. If the server knows it too (not `ours`), the first of the two fails.
    pub(crate) fn provoke_second(&mut self, portal: &[u8], ours: bool, out: &mut Output) -> Flow {
        let write = |place: &mut Place, buffer: &mut BytesMut| {
            // A block that has failed takes it too.
            put_command(place, "ROLLBACK", portal, buffer);
            put::bind_text(buffer, portal, b"", &[]);
            if ours {
                place.borrowed = Some((b'P', Bytes::copy_from_slice(portal)));
            }
        };
        self.provoke(write, out)
    }

    /// Whether a server that is told the name can only know it from this session: it is none of the router's own, and no
    /// code has run on a connection of the session that could have prepared it there.
    pub(crate) fn may_send(&self, name: &[u8]) -> bool {
        let routers = name.starts_with(b"sg_") || name.starts_with(b"shardgate_");
        let pinned = self.places.iter().flatten().any(|p| p.pinned.is_some());
        !routers && !pinned
    }

    /// Where the client's messages go already, else home.
    pub(crate) fn any_server(&mut self, out: &mut Output) -> Reach {
        if let Some(prelude) = self.deeds.prelude.as_mut() {
            prelude.followed = true;
        }
        let present = self.joined_slot().or(self.batch.slot);
        let reach = match present.filter(|slot| self.place(*slot).is_some()) {
            Some(slot) => Reach::Ready(slot),
            None => self.find(Aim::anywhere(), out),
        };
        if let Reach::Ready(slot) = reach {
            self.open(slot, out);
            self.use_slot(slot);
        }
        reach
    }
}

/// Binds a command.
fn put_command(place: &mut Place, command: &str, portal: &[u8], buffer: &mut BytesMut) {
    put::parse(buffer, b"", command.as_bytes(), &[]);
    put::bind_text(buffer, portal, b"", &[]);
    place.push(Entry::router(Kind::Parse, Purpose::Parse));
    place.push(Entry::router(Kind::Bind, Purpose::Parse));
    place.unnamed = None;
}

pub(crate) fn no_statement(name: &[u8]) -> PgError {
    if name.is_empty() {
        return PgError::error("26000", "unnamed prepared statement does not exist");
    }
    PgError::error(
        "26000",
        format!(
            "prepared statement \"{}\" does not exist",
            String::from_utf8_lossy(name)
        ),
    )
}
