//! Carrying out what the session wants.

use super::Drive;
use super::slots::{Attached, Cancelling, Place};
use crate::backend::Link;
use crate::cancel;
use crate::health::Health;
use crate::holds::{Held, too_many};
use crate::mailbox::Letter;
use crate::marks::{Deed, Marks};
use crate::recovery;
use bytes::BytesMut;
use shardgate_session::{Backend, Counts, Event, Slot, Step, Wanted};
use shardgate_shard_map::ShardId;
use shardgate_wire::frontend::put;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// How long the last bytes to a backend may take that is given back.
const FLUSH_MS_MAX: u64 = 5000;

impl Drive {
    /// Carries out all steps, tells the session what came of them, and again, until it wants nothing more.
    pub(super) fn carry_out(&mut self) {
        loop {
            self.take_steps();
            if self.session.is_held() == self.clock.held.is_some() {
                return;
            }
            self.hold();
        }
    }

    /// The client's statement has begun to wait for keys that change hands, or has ended to.
    fn hold(&mut self) {
        self.clock.held = None;
        if !self.session.is_held() {
            return;
        }
        let clients_max = self.shared.config.limits.held_clients;
        self.clock.held = Held::begin(&self.shared.metrics, clients_max).map(Box::new);
        if self.clock.held.is_none() {
            self.events
                .push_back(Event::HoldEnded(too_many(clients_max)));
            self.announce();
        }
    }

    fn take_steps(&mut self) {
        self.count();
        while !self.out.steps.is_empty() {
            let mut steps = std::mem::take(&mut self.out.steps);
            if let Some(stops) = &self.shared.stops {
                stops.look(&steps, &mut self.out.backends, &self.places);
            }
            for step in steps.drain(..) {
                self.step(step);
            }
            if self.out.steps.is_empty() {
                // The allocation is kept.
                self.out.steps = steps;
            }
            self.announce();
        }
    }

    /// What the session has counted since the last look.
    fn count(&mut self) {
        let counts = self.session.take_counts();
        if counts == Counts::default() {
            return;
        }
        let metrics = &self.shared.metrics;
        metrics.queries.add(counts.statements);
        metrics.errors_relayed.add(counts.errors_relayed);
        metrics.errors_own.add(counts.errors_own);
        metrics.refused.add(counts.refused);
        metrics.gathered.add(counts.gathered);
        metrics.gathered_rows.add(counts.gathered_rows);
        metrics.gathered_bytes.add(counts.gathered_bytes);
        metrics.gather_limited.add(counts.gather_limited);
    }

    /// Tells the session what happened outside of a step.
    pub(super) fn deliver(&mut self) {
        self.announce();
        self.carry_out();
    }

    /// Events are told when a batch of steps is done, so that a step behind can still call a check-out off.
    fn announce(&mut self) {
        let mut told = false;
        for index in 0..self.places.len() {
            let Ok(number) = u8::try_from(index) else {
                continue;
            };
            let Some(Place::Attached(attached)) = self.places.get_mut(index) else {
                continue;
            };
            if !attached.told
                && let Some(backend) = attached.link.state.take()
            {
                attached.told = true;
                told = true;
                // A connection may have been opened by a newer epoch than the session plans by: see `fence.rs`.
                self.look_for_snapshot();
                self.session.on_event(
                    Event::Attached {
                        slot: Slot(number),
                        backend,
                    },
                    &mut self.out,
                );
            }
        }
        while let Some(event) = self.events.pop_front() {
            told = true;
            self.session.on_event(event, &mut self.out);
        }
        if told {
            let waits = |place: &Place| matches!(place, Place::Queued { .. } | Place::Finding(..));
            if !self.places.iter().any(waits) {
                self.clock.waiting = None;
            }
            self.feed_client();
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Checkout {
                slot,
                shard,
                wanted,
            } => self.checkout(slot, shard, wanted),
            Step::AbandonCheckout { slot } => self.abandon(slot),
            Step::Release { slot, backend } => self.release(slot, backend),
            Step::Settled { slot, wrote } => self.settled(slot, wrote),
            Step::Cancel { slot } => self.cancel(slot),
            Step::Call {
                call,
                role,
                search_path,
            } => {
                let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
                tokio::spawn(async move {
                    let result = shared.call(role, search_path, call).await;
                    let _ = client.mailbox.send(Letter::Call(result));
                });
            }
            Step::Refresh => {
                let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
                tokio::spawn(async move {
                    let result = shared.refresh().await;
                    let _ = client.mailbox.send(Letter::Refreshed(result));
                });
            }
            Step::Resolve { gid } => {
                let (shared, client) = (Arc::clone(&self.shared), Arc::clone(&self.client));
                tokio::spawn(async move {
                    recovery::resolve(&shared, &gid, |result| {
                        let _ = client.mailbox.send(Letter::Resolved(result));
                    })
                    .await;
                });
            }
            // Where a router that is to stop at an edge has stopped already.
            Step::Edge { .. } => {}
            Step::Close => self.state.closing = true,
        }
    }

    fn settled(&mut self, slot: Slot, wrote: bool) {
        self.shared.metrics.transactions.increment();
        if let Some(Place::Attached(attached)) = self.places.get_mut(usize::from(slot.0)) {
            mark(&mut self.marks, attached, wrote, &self.shared.health);
        }
    }

    /// A transaction that has failed, or is still open, was read from all the same: the client has seen its rows, and a
    /// replica must not show it an earlier state.
    pub(super) fn mark_what_was_seen(&mut self, shard: ShardId) {
        for place in &mut self.places {
            if let Place::Attached(attached) = place
                && attached.heard
                && attached.errand.shard == shard
            {
                mark(&mut self.marks, attached, false, &self.shared.health);
            }
        }
    }

    fn release(&mut self, slot: Slot, backend: Option<Box<Backend>>) {
        self.cancels.retain(|cancel| cancel.slot != slot);
        let pending = self
            .out
            .backends
            .get_mut(usize::from(slot.0))
            .map(|buffer| {
                if buffer.is_empty() {
                    BytesMut::new()
                } else {
                    buffer.split()
                }
            });
        let pending = pending.unwrap_or_default();
        let Place::Attached(mut attached) = self.take_place(slot) else {
            return;
        };
        // The first backend was asked for no more than whether the start-up settings are right.
        let started = std::mem::replace(&mut self.state.started, true);
        if started && attached.heard {
            // What was lost may have been committed.
            let wrote = backend.is_none();
            mark(&mut self.marks, &mut attached, wrote, &self.shared.health);
        }
        let Attached {
            link,
            inbox,
            lost,
            write_broken,
            ..
        } = *attached;
        let Some(state) = backend else {
            if pending.is_empty() && !lost && !write_broken {
                say_goodbye(&link.stream);
            }
            return;
        };
        // The session vouches for the protocol state; bytes that nobody has asked for are doubt all the same.
        if lost || write_broken || !inbox.is_empty() {
            return;
        }
        self.spare = inbox.buffer;
        let mut link = link;
        link.state = Some(state);
        if pending.is_empty() {
            give_back(link);
        } else {
            tokio::spawn(flush_and_give(link, pending));
        }
    }

    fn cancel(&mut self, slot: Slot) {
        let Some(Place::Attached(attached)) = self.places.get(usize::from(slot.0)) else {
            return;
        };
        let ticket = self.shared.pools.context().ticket();
        let info = Arc::clone(&attached.link.info);
        cancel::open(
            Arc::clone(&self.client),
            Arc::clone(&info),
            ticket,
            self.shared.config.limits.cancel_wait_timeout,
        );
        self.cancels.push(Cancelling { ticket, slot, info });
    }

    /// The connection for a cancel request stands: is the statement still running?
    pub(super) fn cancel_open(&mut self, ticket: u64, opened: std::io::Result<TcpStream>) {
        let Some(at) = self
            .cancels
            .iter()
            .position(|cancel| cancel.ticket == ticket)
        else {
            return;
        };
        let Some(Cancelling { slot, info, .. }) = self.cancels.get(at) else {
            return;
        };
        let slot = *slot;
        let sent = match opened {
            Ok(stream) if self.session.cancel_is_wanted(slot) => {
                cancel::write(&stream, info).then_some(stream)
            }
            Ok(_) | Err(_) => None,
        };
        match sent {
            Some(stream) => {
                cancel::wait(
                    Arc::clone(&self.client),
                    stream,
                    ticket,
                    self.shared.config.limits.cancel_wait_timeout,
                );
            }
            None => {
                self.cancels.swap_remove(at);
                self.events
                    .push_back(Event::CancelDone { slot, sent: false });
            }
        }
    }

    pub(super) fn cancel_done(&mut self, ticket: u64, closed: bool) {
        let Some(at) = self
            .cancels
            .iter()
            .position(|cancel| cancel.ticket == ticket)
        else {
            return;
        };
        let slot = self.cancels.swap_remove(at).slot;
        if !closed {
            // The signal may still be on its way, so nobody can have this connection.
            if let Some(Place::Attached(attached)) = self.place_mut(slot) {
                attached.lost = true;
            }
            self.events.push_back(Event::BackendLost { slot });
        }
        self.events
            .push_back(Event::CancelDone { slot, sent: true });
    }
}

/// Raises the session's marks for what was done on a backend so far.
fn mark(marks: &mut Marks, attached: &mut Attached, wrote: bool, health: &Health) {
    attached.heard = false;
    let errand = attached.errand;
    let deed = match (wrote, errand.wanted) {
        (true, _) => Deed::Wrote,
        (false, Wanted::Primary | Wanted::Replica) => Deed::Read,
        (false, Wanted::ReplicaOnly) => Deed::ReadAnyway,
    };
    let endpoint = attached.link.place.pool().endpoint.id;
    marks.settled(errand.shard, endpoint, deed, health);
}

fn give_back(link: Box<Link>) {
    let pool = Arc::clone(link.place.pool());
    pool.give(link);
}

/// A Terminate message, if the socket takes it. Closing does the same, only less politely.
fn say_goodbye(stream: &TcpStream) {
    let mut message = BytesMut::new();
    put::terminate(&mut message);
    let _ = stream.try_write(&message);
}

/// Writes the last bytes out; a connection that does not take them is closed.
async fn flush_and_give(mut link: Box<Link>, mut pending: BytesMut) {
    let limit = Duration::from_millis(FLUSH_MS_MAX);
    let flushed = tokio::time::timeout(limit, link.stream.write_all_buf(&mut pending)).await;
    if matches!(flushed, Ok(Ok(()))) {
        give_back(link);
    }
}
