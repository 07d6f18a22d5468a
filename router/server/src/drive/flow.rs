//! Bytes between the sockets and the buffers: who is read from, who is written to, and when not.

use super::Drive;
use super::slots::Place;
use bytes::{Buf, BytesMut};
use shardgate_session::{Event, Slot};
use shardgate_wire::frame;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Messages of the client that are read while others wait before them; also what it takes to notice that it is gone.
const READ_AHEAD_BYTES: usize = 64 * 1024;
/// So much of an answer is read to its end although nobody wants it.
const DROPPED_BYTES_MAX: usize = 64 * 1024;

impl Drive {
    /// Not read from: a client whose messages wait, and one whose messages a backend does not take.
    fn wants_client(&self) -> bool {
        if self.state.input_ended || self.state.closing || !self.session.wants_client_bytes() {
            return false;
        }
        if self.inbox.buffer.len() >= READ_AHEAD_BYTES && !self.needs_more() {
            return false;
        }
        let high_water = self.shared.config.limits.server_buffer_bytes;
        self.out
            .backends
            .iter()
            .all(|buffer| buffer.len() < high_water)
    }

    /// The first message in the buffer is not complete. Whether it may be that long, the session decides.
    fn needs_more(&self) -> bool {
        match frame::peek(&self.inbox.buffer, &self.shared.sessions.client_limits) {
            Ok(Some(frame)) => frame.len > self.inbox.buffer.len(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// True if anything came.
    pub(super) fn read_client(&mut self, context: &mut Context<'_>) -> bool {
        if !self.wants_client() {
            return false;
        }
        let Some(stream) = self.stream.as_mut() else {
            return false;
        };
        match self.inbox.poll_read(stream, context) {
            Poll::Pending => false,
            Poll::Ready(Ok(0)) => {
                self.input_ended();
                true
            }
            Poll::Ready(Ok(count)) => {
                self.shared.metrics.client_bytes_received.add(count as u64);
                self.clock.heard = Instant::now();
                self.clock.heard_at = SystemTime::now();
                self.look_for_snapshot();
                self.feed_client();
                self.carry_out();
                true
            }
            Poll::Ready(Err(_)) => {
                self.state.output_broken = true;
                self.input_ended();
                true
            }
        }
    }

    /// Another router's client may have been told that its DDL is done because this router has said that it knows: what
    /// comes from our client now may already count on it, and the signal may still be on its way.
    pub(super) fn look_for_snapshot(&mut self) {
        let published = self.shared.follower.published();
        if std::mem::replace(&mut self.state.published, published) != published {
            let newest = Event::Snapshot(self.shared.follower.snapshot());
            self.session.on_event(newest, &mut self.out);
        }
    }

    /// The client will send no more. It may still read: what it had sent is carried out to the end.
    pub(super) fn input_ended(&mut self) {
        if std::mem::replace(&mut self.state.input_ended, true) {
            return;
        }
        self.clock.gone = Some(Instant::now());
        self.feed_client();
        self.carry_out();
        self.tell(Event::ClientGone);
    }

    /// Backends are read from while the client takes what they send.
    pub(super) fn read_backends(&mut self, context: &mut Context<'_>) -> bool {
        let mut busy = false;
        for index in 0..self.places.len() {
            if self.out.client.len() >= self.shared.config.limits.client_buffer_bytes {
                break;
            }
            busy |= self.read_backend(index, context);
        }
        busy
    }

    fn read_backend(&mut self, index: usize, context: &mut Context<'_>) -> bool {
        let Ok(number) = u8::try_from(index) else {
            return false;
        };
        let slot = Slot(number);
        let Some(Place::Attached(attached)) = self.places.get_mut(index) else {
            return false;
        };
        if !attached.told || attached.lost {
            return false;
        }
        let mut read = 0;
        match attached.inbox.poll_read(&mut attached.link.stream, context) {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) if count > 0 => {
                read = count;
                attached.heard = true;
                self.session
                    .on_backend(slot, &mut attached.inbox.buffer, &mut self.out);
            }
            Poll::Ready(Ok(_)) | Poll::Ready(Err(_)) => {
                attached.lost = true;
                self.session
                    .on_event(Event::BackendLost { slot }, &mut self.out);
            }
        }
        self.feed_client();
        self.carry_out();
        if self.state.output_broken {
            self.count_dropped(read);
        }
        true
    }

    pub(super) fn write_backends(&mut self, context: &mut Context<'_>) -> bool {
        let mut busy = false;
        for (buffer, place) in self.out.backends.iter_mut().zip(&mut self.places) {
            let Place::Attached(attached) = place else {
                continue;
            };
            if buffer.is_empty() || !attached.told {
                continue;
            }
            if attached.write_broken {
                buffer.clear();
                continue;
            }
            match write(&mut attached.link.stream, buffer, context) {
                Written::Some => busy = true,
                Written::Nothing => {}
                Written::Broken => {
                    // What the server said last is still to be read; then its end of file says the rest.
                    attached.write_broken = true;
                    buffer.clear();
                }
            }
        }
        busy
    }

    pub(super) fn write_client(&mut self, context: &mut Context<'_>) -> bool {
        if self.out.client.is_empty() {
            return false;
        }
        if self.state.output_broken {
            self.out.client.clear();
            return true;
        }
        let before = self.out.client.len();
        let Some(stream) = self.stream.as_mut() else {
            return false;
        };
        match write(stream, &mut self.out.client, context) {
            Written::Some => {
                self.shared
                    .metrics
                    .client_bytes_sent
                    .add((before - self.out.client.len()) as u64);
                self.clock.stalled = if self.out.client.is_empty() {
                    None
                } else {
                    Some(Instant::now())
                };
                true
            }
            Written::Nothing => {
                self.clock.stalled.get_or_insert_with(Instant::now);
                false
            }
            Written::Broken => {
                self.state.output_broken = true;
                self.out.client.clear();
                self.clock.stalled = None;
                self.input_ended();
                true
            }
        }
    }

    /// Nobody reads what comes, so it is read and dropped until the statement is done. One that goes on to answer is
    /// cancelled, as a server does that cannot write to its client any more.
    fn count_dropped(&mut self, count: usize) {
        self.clock.dropped_bytes = self.clock.dropped_bytes.saturating_add(count);
        if self.clock.dropped_bytes > DROPPED_BYTES_MAX
            && !std::mem::replace(&mut self.clock.gone_cancelled, true)
        {
            self.tell(Event::CancelRequested);
        }
    }
}

enum Written {
    Some,
    Nothing,
    Broken,
}

/// Writes as much as the socket takes.
fn write(stream: &mut TcpStream, buffer: &mut BytesMut, context: &mut Context<'_>) -> Written {
    let mut written = Written::Nothing;
    while !buffer.is_empty() {
        match Pin::new(&mut *stream).poll_write(context, buffer) {
            Poll::Ready(Ok(count)) if count > 0 => {
                buffer.advance(count);
                written = Written::Some;
            }
            Poll::Ready(_) => return Written::Broken,
            Poll::Pending => return written,
        }
    }
    buffer.clear();
    written
}
