//! The client's messages.

use crate::api::{Output, Slot};
use crate::owed::{Entry, Kind, Purpose};
use crate::route::Reach;
use crate::session::{Phase, Session, Wait};
use crate::transaction::Transaction;
use bytes::{Buf, Bytes, BytesMut};
use shardgate_wire::PgError;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frame::{Frame, peek};
use shardgate_wire::frontend::put;
use std::sync::Arc;

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Carried out, answered or dropped: its bytes are done with.
    Consumed,
    /// It must wait; its bytes stay.
    Later,
}

impl Session {
    /// Takes the client's messages as far as they can be carried out now; the rest stays in `input`.
    pub fn on_client(&mut self, input: &mut BytesMut, out: &mut Output) {
        self.input_left = false;
        while self.phase == Phase::Ready && !input.is_empty() {
            if !self.takes_messages() {
                self.input_left = matches!(peek(input, &self.options.common.client_limits), Ok(Some(frame)) if input.len() >= frame.len);
                return;
            }
            let frame = match peek(input, &self.options.common.client_limits) {
                Ok(Some(frame)) if input.len() >= frame.len => frame,
                Ok(_) => break,
                Err(error) => {
                    self.fatal(&error.to_error(), out);
                    return;
                }
            };
            let (bytes, rest) = input.split_at(frame.len);
            match self.message(frame, bytes, rest, out) {
                Flow::Consumed => {
                    self.aimed = None;
                    self.asked = false;
                    self.gathered = None;
                    self.gather_tries = 0;
                    let mut done = frame.len;
                    if frame.tag == b'B' {
                        done += self.run_bound(input.get(done..).unwrap_or_default(), out);
                    }
                    input.advance(done);
                }
                Flow::Later => {
                    self.input_left = self.phase == Phase::Ready;
                    return;
                }
            }
        }
        if self.phase == Phase::Over {
            input.clear();
        }
        self.end_if_gone(out);
    }

    /// While a COPY FROM STDIN runs the client's data is taken although a reply is waited for.
    fn takes_messages(&self) -> bool {
        match self.wait {
            Wait::Nothing => true,
            Wait::Reply(slot) => self.copies_in(slot),
            Wait::Checkout(_)
            | Wait::Drain(_)
            | Wait::Settle
            | Wait::Work
            | Wait::Gather
            | Wait::Held
            | Wait::Spread => false,
        }
    }

    pub(crate) fn copies_in(&self, slot: Slot) -> bool {
        self.place(slot)
            .and_then(|place| place.backend.as_ref())
            .is_some_and(|backend| backend.owed.copy_in)
    }

    fn message(&mut self, frame: Frame, bytes: &[u8], rest: &[u8], out: &mut Output) -> Flow {
        if let Wait::Reply(slot) = self.wait {
            return self.copy_message(frame.tag, bytes, slot, out);
        }
        if let Some(error) = self.moves.take_end() {
            // What was held of a Parse is dropped with it: the client was not told of it.
            self.fail(&error, out);
            return match frame.tag {
                b'Q' => self.sync_now(out),
                _ => Flow::Consumed,
            };
        }
        let body = bytes.get(5..).unwrap_or_default();
        if self.batch.skipping && !matches!(frame.tag, b'S' | b'X') {
            // Its own error, and not one before it, was said.
            if std::mem::take(&mut self.asked) && frame.tag == b'Q' {
                return self.sync_now(out);
            }
            return Flow::Consumed;
        }
        if matches!(frame.tag, b'Q' | b'P' | b'B') && !self.catch_up(out) {
            return Flow::Later;
        }
        match frame.tag {
            b'Q' => self.query(body, bytes, out),
            b'P' => self.parse(body, bytes, out),
            b'B' => self.bind(body, bytes, rest, out),
            b'D' => self.describe_message(body, bytes, out),
            b'E' => self.execute(body, bytes, rest, out),
            b'C' => self.close(body, bytes, out),
            b'H' => self.flush(body, bytes, out),
            b'S' => self.sync(body, bytes, out),
            b'X' => self.leave(out),
            // Data of a COPY that has failed or ended: a server ignores it too.
            b'd' | b'c' | b'f' => Flow::Consumed,
            b'F' => {
                let error = PgError::error(
                    "0A000",
                    "function calls by protocol message are not supported",
                )
                .hint("Call the function in a SELECT.");
                self.fail(&error, out);
                self.sync_now(out)
            }
            other => {
                let error =
                    PgError::error("08P01", format!("invalid frontend message type {other}"))
                        .fatal();
                self.fatal(&error, out);
                Flow::Consumed
            }
        }
    }

    /// Before a message is planned, in a pipeline or after a wait for a connection too: by the newest snapshot, for the
    /// client may know that a change of the schema is done, and rows may be elsewhere by now. False: what was sent before
    /// has to be answered first, since that is noted as of the snapshot that it was sent under.
    fn catch_up(&mut self, out: &mut Output) -> bool {
        if Arc::ptr_eq(&self.snapshot, &self.newest) {
            return true;
        }
        if let Some(slot) = self.batch.slot
            && self.place(slot).is_some_and(|place| !place.owed_is_empty())
        {
            if let Some((_, buffer)) = self.reach(slot, out) {
                put::flush(buffer);
            }
            self.wait = Wait::Drain(slot);
            return false;
        }
        self.verified = None;
        self.snapshot = self.newest.clone();
        true
    }

    /// During COPY FROM STDIN.
    fn copy_message(&mut self, tag: u8, bytes: &[u8], slot: Slot, out: &mut Output) -> Flow {
        match tag {
            b'd' | b'c' | b'f' => {
                let ends = tag != b'd';
                if let Some((place, buffer)) = self.reach(slot, out) {
                    buffer.extend_from_slice(bytes);
                    if ends {
                        place.stop_copy();
                    }
                }
            }
            b'S' | b'H' => {}
            b'X' => {
                self.client_gone = true;
                self.end(out);
            }
            b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'F' => {
                self.ask_of_copy(tag, slot, out);
                return Flow::Later;
            }
            // A server ends the connection over it, whether the COPY still runs or not.
            _ => {
                if let Some((place, buffer)) = self.reach(slot, out) {
                    buffer.extend_from_slice(bytes);
                    place.stop_copy();
                    place.push(Entry::client(Kind::Provoked));
                }
            }
        }
        Flow::Consumed
    }

    /// The client goes on although it has not ended its data: it is wrong, or the server has found the data wrong and is
    /// not reading them any more. The server says which, asked by a message of the same type without a body: in a COPY it
    /// looks at the type alone, and ends the connection; else the message can only fail. The client's own message waits.
    fn ask_of_copy(&mut self, tag: u8, slot: Slot, out: &mut Output) {
        let Some((place, buffer)) = self.reach(slot, out) else {
            return;
        };
        put::empty(buffer, tag);
        place.stop_copy();
        match tag {
            // They end in ReadyForQuery without a Sync.
            b'Q' | b'F' => place.push(Entry::router(Kind::Query, Purpose::Parse)),
            _ => {
                place.push(Entry::router(Kind::Close, Purpose::Poison));
                put::sync(buffer);
                place.push(Entry::router(Kind::Sync, Purpose::Parse));
            }
        }
    }

    /// Says an error at its place in the order of replies. What a server has begun for the client fails there too.
    /// In the extended protocol the client's messages are dropped up to its Sync.
    pub(crate) fn fail(&mut self, error: &PgError, out: &mut Output) {
        self.counts.errors_own += 1;
        self.counts.refused += u64::from(error.sqlstate == "0A000");
        let mut bytes = BytesMut::new();
        reply::error(&mut bytes, error);
        self.fail_as(bytes.freeze(), out);
    }

    /// As `fail`, with the frame of the error.
    pub(crate) fn fail_as(&mut self, frame: Bytes, out: &mut Output) {
        if self.batch.slot.is_none()
            && let Transaction::Joined { slot, .. } = self.transaction
        {
            self.batch.slot = Some(slot);
        }
        if let Some(prelude) = self.deeds.prelude.as_mut() {
            prelude.followed = true;
        }
        self.reply(frame, out);
        self.skip_to_sync();
        self.gather_epoch = None;
        if let Transaction::Virtual(block) = &mut self.transaction {
            block.failed = true;
        }
        if let Some(slot) = self.batch.slot
            && let Some((place, buffer)) = self.reach(slot, out)
        {
            place.poison(buffer);
        }
    }

    fn flush(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        if !body.is_empty() {
            return self.provoke_by(frame, out);
        }
        if !self.send_held(out) {
            return Flow::Later;
        }
        self.speak(out);
        if let Some(slot) = self.batch.slot
            && let Some((place, buffer)) = self.reach(slot, out)
        {
            if place.unsynced {
                put::flush(buffer);
            }
            self.batch.flush_due = !place.owed_is_empty();
        }
        Flow::Consumed
    }

    fn sync(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        if !self.batch.skipping && !self.send_held(out) {
            return Flow::Later;
        }
        // Sending what was held may have failed; the client's Sync then ends the skipping.
        if body.is_empty() {
            self.sync_now(out)
        } else {
            self.malformed_sync(frame, out)
        }
    }

    /// A Sync with a body is an error, and a Sync all the same.
    fn malformed_sync(&mut self, frame: &[u8], out: &mut Output) -> Flow {
        match self.any_server(out) {
            Reach::Later => return Flow::Later,
            Reach::Failed(error) => {
                self.fail(&error, out);
                return self.sync_now(out);
            }
            Reach::Ready(slot) => {
                if let Some((_, buffer)) = self.reach(slot, out) {
                    buffer.extend_from_slice(frame);
                }
                self.await_sync(slot);
            }
        }
        Flow::Consumed
    }

    /// A Sync of the client's was sent.
    pub(crate) fn await_sync(&mut self, slot: Slot) {
        if let Some(place) = self.place_mut(slot) {
            place.unsynced = false;
            place.push(Entry::client(Kind::Sync));
        }
        self.batch.synced = true;
        self.wait = Wait::Reply(slot);
    }

    /// The client's Sync, or the end of a failed simple Query.
    pub(crate) fn sync_now(&mut self, out: &mut Output) -> Flow {
        if let Some(slot) = self.batch.slot
            && let Some((place, buffer)) = self.reach(slot, out)
            // What is owed (a BEGIN of the router's, say) comes before ReadyForQuery.
            && (place.unsynced || !place.owed_is_empty())
        {
            put::sync(buffer);
            self.await_sync(slot);
            return Flow::Consumed;
        }
        self.ready_locally(out);
        Flow::Consumed
    }

    /// ReadyForQuery without a server.
    pub(crate) fn ready_locally(&mut self, out: &mut Output) {
        let status = match &self.transaction {
            Transaction::Joined { slot, .. } => self
                .place(*slot)
                .map_or(shardgate_wire::TxStatus::Failed, |place| place.status),
            Transaction::None | Transaction::Virtual(_) => self.transaction.status(),
        };
        self.batch.begin_anew();
        self.statements.settle();
        self.wait = Wait::Nothing;
        self.gather_share = None;
        self.gather_epoch = None;
        self.tell_own_params(out);
        if self.transaction.is_none() {
            self.portals.clear();
            self.take_snapshot();
        }
        reply::ready(self.speak(out), status);
        self.release_spares(out);
    }
}
