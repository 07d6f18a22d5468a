//! The one loop that carries out a session's steps: one task drives a client's socket and all backends that its session
//! has, by readiness, so that no side is ever waited for while another has something to say.
//!
//! It does not know what the messages mean. Its invariants: whatever is written to one side is bounded by what is read
//! from the other (64 KiB to the client, 256 KiB to a backend, unless configured); a connection that the session has not
//! handed back as clean is closed; and when the loop ends, nothing of the client is left anywhere.

mod edges;
mod flow;
mod inbox;
mod slots;
mod steps;
mod time;

use crate::client::Arrival;
use crate::holds::Held;
use crate::lanes::{Lane, move_here};
use crate::mailbox::{Letter, Signals};
use crate::marks::Marks;
use crate::pool::{Pool, RolePools};
use crate::registry::Client;
use crate::shared::Shared;
use bytes::BytesMut;
use inbox::Inbox;
use shardgate_session::{Event, Output, Session};
use shardgate_wire::PgError;
use slots::{Cancelling, Place};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::net::TcpStream;

/// Rounds of one wake-up before other tasks get their turn.
const ROUNDS_MAX: usize = 32;

/// One client with its session, and everything that the session has attached.
pub struct Drive {
    shared: Arc<Shared>,
    client: Arc<Client>,
    lane: Lane,
    role: Arc<RolePools>,
    /// Pools that this session has used.
    pools: Vec<Arc<Pool>>,
    session: Session,
    /// None only while the client moves to another lane, and if that has failed.
    stream: Option<TcpStream>,
    inbox: Inbox,
    /// The client's socket has nothing to read in this turn, and its readiness wakes the task.
    quiet: bool,
    /// Whom the mailbox wakes.
    waker: Option<Waker>,
    out: Output,
    places: Vec<Place>,
    /// Events that carrying out steps has produced, to be told when the batch of steps is done.
    events: VecDeque<Event>,
    cancels: Vec<Cancelling>,
    marks: Marks,
    /// A buffer that the last backend has left behind.
    spare: BytesMut,
    clock: Clock,
    state: State,
}

/// What can only become true.
#[derive(Default)]
struct State {
    /// The client's input has ended.
    input_ended: bool,
    /// Nothing can be written to the client any more; what is meant for it is dropped.
    output_broken: bool,
    /// The session has said Close.
    closing: bool,
    /// Close without writing anything more.
    abandoned: bool,
    /// The session has been ready for a statement once.
    started: bool,
    /// The router is shutting down.
    draining: bool,
    /// The client moves to this lane.
    moving: Option<Lane>,
    /// A connection was attached of which the session was not told yet.
    attached: bool,
    /// How many snapshots there had been when bytes last came from the client.
    published: u64,
}

/// Since when things are as they are, for what is due by time.
struct Clock {
    accepted: Instant,
    /// When this turn began, if it was asked for.
    turn: Option<Instant>,
    /// When bytes last came from the client.
    heard: Instant,
    /// When bytes could last be written to the client; None: nothing is to be written.
    stalled: Option<Instant>,
    gone: Option<Instant>,
    /// The statement of a client that is gone was cancelled.
    gone_cancelled: bool,
    /// What was meant for a client that cannot be written to any more.
    dropped_bytes: usize,
    waiting: Option<Instant>,
    /// The client's next statement waits for keys that change hands.
    held: Option<Box<Held>>,
    ticking: bool,
}

impl Drive {
    /// `input` is what the client has sent behind its login, `output` what is still to be sent to it.
    pub fn new(
        shared: Arc<Shared>,
        client: Arc<Client>,
        role: Arc<RolePools>,
        session: Session,
        arrival: Arrival,
        buffers: (BytesMut, BytesMut),
    ) -> Box<Self> {
        let (input, output) = buffers;
        Box::new(Drive {
            shared,
            client,
            lane: arrival.lane,
            role,
            pools: Vec::new(),
            session,
            stream: Some(arrival.stream),
            inbox: Inbox::new(input),
            quiet: false,
            waker: None,
            out: Output {
                client: output,
                ..Output::default()
            },
            places: Vec::new(),
            events: VecDeque::new(),
            cancels: Vec::new(),
            marks: Marks::default(),
            spare: BytesMut::new(),
            clock: Clock {
                accepted: arrival.accepted,
                turn: None,
                heard: Instant::now(),
                stalled: None,
                gone: None,
                gone_cancelled: false,
                dropped_bytes: 0,
                waiting: None,
                held: None,
                ticking: false,
            },
            state: State::default(),
        })
    }

    /// Serves the client until its session is over, or until it is to move: then this is to be run again, on that lane.
    /// Dropping the future closes everything.
    ///
    /// It takes a box because a future holds what is moved into it several times over.
    pub async fn run(mut self: Box<Self>) -> Option<(Box<Self>, Lane)> {
        if let Some(lane) = self.state.moving.take() {
            match self.stream.take().map(move_here)? {
                Ok(stream) => {
                    self.stream = Some(stream);
                    self.lane = lane;
                    self.shared.metrics.clients_moved.increment();
                }
                Err(error) => {
                    tracing::warn!(
                        "a client's socket could not be moved to another thread: {error}"
                    );
                    return None;
                }
            }
        } else {
            self.session.start(&mut self.out);
            self.carry_out();
        }
        std::future::poll_fn(|context| self.turn(context)).await;
        let lane = self.state.moving?;
        Some((self, lane))
    }

    /// Does all that can be done now. Every source that may have something later has the task's waker when it returns
    /// Pending, because the last round has asked all of them and none had anything.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.begin_turn(context);
        for _ in 0..ROUNDS_MAX {
            let mut busy = self.read_mail();
            busy |= self.read_client(context);
            busy |= self.read_backends(context);
            busy |= self.poll_places(context);
            busy |= self.write_backends(context);
            busy |= self.write_client(context);
            if self.is_over() {
                return Poll::Ready(());
            }
            if !busy || self.is_settled() {
                self.rest();
                if self.state.moving.is_some() {
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
        }
        self.say_drained();
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn begin_turn(&mut self, context: &Context<'_>) {
        let waker = context.waker();
        if !self
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            self.client.mailbox.register(waker);
            self.waker = Some(waker.clone());
        }
        self.clock.turn = None;
        self.quiet = false;
        for place in &mut self.places {
            if let Place::Attached(attached) = place {
                attached.quiet = false;
            }
        }
    }

    /// When this turn began: near enough to now for all that is due by time.
    fn now(&mut self) -> Instant {
        *self.clock.turn.get_or_insert_with(Instant::now)
    }

    /// Another round would find nothing to do: every socket that is read from has been found empty in this turn, and all
    /// that was to be written is written.
    fn is_settled(&self) -> bool {
        let place_is = |(place, buffer): (&Place, &BytesMut)| match place {
            Place::Empty | Place::Queued { .. } => true,
            Place::Finding(..) => false,
            Place::Attached(attached) => attached.quiet && buffer.is_empty(),
        };
        self.out.client.is_empty()
            && self.events.is_empty()
            && self.places.len() <= self.out.backends.len()
            && self.places.iter().zip(&self.out.backends).all(place_is)
            && (self.quiet || !self.wants_client())
    }

    /// Says what older epochs nothing is under way of any more, if there is news.
    fn say_drained(&mut self) {
        let said = self.client.drained();
        if said >= self.session.newest_epoch() {
            return;
        }
        let drained = self.session.drained_epoch();
        if drained > said {
            self.shared.clients.set_drained(&self.client, drained);
        }
    }

    fn is_over(&self) -> bool {
        self.state.abandoned || (self.state.closing && self.out.client.is_empty())
    }

    /// Tells the session of an event and does what it wants then.
    fn tell(&mut self, event: Event) {
        self.session.on_event(event, &mut self.out);
        self.feed_client();
        self.carry_out();
    }

    /// Gives the session the client's bytes that it has not taken yet.
    fn feed_client(&mut self) {
        if !self.inbox.is_empty() && !self.state.closing {
            self.session
                .on_client(&mut self.inbox.buffer, &mut self.out);
        }
    }

    /// What was signalled and sent. True if there was anything.
    fn read_mail(&mut self) -> bool {
        let signals = self.client.mailbox.take();
        if signals == Signals::default() {
            return false;
        }
        while let Some(letter) = self.client.mailbox.letter(signals) {
            self.read_letter(letter);
        }
        if signals.has(Signals::SNAPSHOT) {
            self.tell(Event::Snapshot(self.shared.follower.snapshot()));
        }
        if signals.has(Signals::SEAL) {
            self.tell(Event::SealClaims);
        }
        if signals.has(Signals::CANCEL) {
            self.tell(Event::CancelRequested);
        }
        if signals.has(Signals::KILL) {
            self.tell(Event::Terminate(terminated()));
        }
        if signals.has(Signals::DRAIN) {
            self.state.draining = true;
        }
        if signals.has(Signals::TICK) {
            self.tick(Instant::now());
        }
        true
    }

    fn read_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Link { ticket, link } => self.link_came(ticket, link),
            Letter::Refused { ticket, refusal } => self.link_refused(ticket, refusal),
            Letter::CancelOpen { ticket, opened } => self.cancel_open(ticket, opened),
            Letter::CancelDone { ticket, closed } => self.cancel_done(ticket, closed),
            Letter::Call(result) => self.tell(Event::CallDone(result)),
            Letter::Refreshed(result) => self.tell(Event::Refreshed(result)),
            Letter::Resolved(result) => self.tell(Event::Resolved(result)),
        }
        self.deliver();
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // Connections in letters that nobody will read go back to where they came from.
        for letter in self.client.mailbox.close() {
            if let Letter::Link { link, .. } = letter {
                let pool = Arc::clone(link.place.pool());
                pool.give(link);
            }
        }
        self.abandon_waits();
    }
}

/// 57P01 in Postgres's words.
pub(crate) fn terminated() -> PgError {
    PgError::error(
        "57P01",
        "terminating connection due to administrator command",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_is_small() {
        let bytes = std::mem::size_of::<Drive>();
        assert!(bytes < 1920, "{bytes} bytes");
    }
}
