//! What other tasks tell the task of one client: answers to its steps, and signals that need no queue.
//!
//! Signals are bits and are merged, so whoever sends many costs no memory. Letters come one for each thing that the client
//! has asked for, which bounds their number. Its invariant: a letter is either taken by the client's task or handed back to
//! who sent it, so a connection in a letter is never forgotten.

use crate::backend::Link;
use futures_util::task::AtomicWaker;
use shardgate_plan::snapshot::Snapshot;
use shardgate_wire::PgError;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::net::TcpStream;

/// Signals that were raised since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals(u32);

impl Signals {
    const LETTERS: Signals = Signals(1);
    /// A cancel request with the client's key has come.
    pub const CANCEL: Signals = Signals(1 << 1);
    /// There is a newer snapshot.
    pub const SNAPSHOT: Signals = Signals(1 << 2);
    /// The router is shutting down: end when idle.
    pub const DRAIN: Signals = Signals(1 << 3);
    /// Time has passed; only sent to those that have asked for it.
    pub const TICK: Signals = Signals(1 << 4);
    /// An administrator wants the client to end.
    pub const KILL: Signals = Signals(1 << 5);
    /// Transactions that might still use keys which change hands have had time enough.
    pub const SEAL: Signals = Signals(1 << 6);

    pub fn has(self, other: Signals) -> bool {
        self.0 & other.0 != 0
    }
}

/// One answer.
pub enum Letter {
    /// A connection for the check-out with this ticket.
    Link {
        ticket: u64,
        link: Box<Link>,
    },
    /// The check-out with this ticket has failed.
    Refused {
        ticket: u64,
        refusal: Refusal,
    },
    /// The connection for a cancel request stands, or could not be made.
    CancelOpen {
        ticket: u64,
        opened: std::io::Result<TcpStream>,
    },
    /// The server has closed the connection of the cancel request (true), or it did not in time.
    CancelDone {
        ticket: u64,
        closed: bool,
    },
    Call(Result<Arc<Snapshot>, PgError>),
    Refreshed(Result<Arc<Snapshot>, PgError>),
    Resolved(Result<bool, PgError>),
}

/// Why a pool has no connection to give.
#[derive(Debug)]
pub enum Refusal {
    /// The server is no longer in use in its role: look for another one.
    Moved,
    Failed(PgError),
}

#[derive(Default)]
struct Post {
    closed: bool,
    letters: VecDeque<Letter>,
}

/// The mailbox of one client.
#[derive(Default)]
pub struct Mailbox {
    signals: AtomicU32,
    wants_tick: AtomicBool,
    post: Mutex<Post>,
    waker: AtomicWaker,
}

impl Mailbox {
    fn post(&self) -> MutexGuard<'_, Post> {
        // A panic while it was held leaves a queue that is still one.
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises signals and wakes the client's task.
    pub fn signal(&self, signals: Signals) {
        self.signals.fetch_or(signals.0, Ordering::Release);
        self.waker.wake();
    }

    /// Puts a letter in; gives it back when the client's task has ended.
    pub fn send(&self, letter: Letter) -> Result<(), Letter> {
        {
            let mut post = self.post();
            if post.closed {
                return Err(letter);
            }
            post.letters.push_back(letter);
        }
        self.signal(Signals::LETTERS);
        Ok(())
    }

    /// For the client's task: who is to be woken. To be called before `take`.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes the signals that were raised.
    pub fn take(&self) -> Signals {
        // A plain look first: most wake-ups are for bytes in a socket.
        if self.signals.load(Ordering::Acquire) == 0 {
            return Signals::default();
        }
        Signals(self.signals.swap(0, Ordering::AcqRel))
    }

    /// The next letter, if `take` has said that there are some.
    pub fn letter(&self, signals: Signals) -> Option<Letter> {
        if !signals.has(Signals::LETTERS) {
            return None;
        }
        self.post().letters.pop_front()
    }

    /// No letters are taken any more; gives those that nobody has read.
    pub fn close(&self) -> VecDeque<Letter> {
        let mut post = self.post();
        post.closed = true;
        std::mem::take(&mut post.letters)
    }

    /// Whether the client's task is to be told of time that passes.
    pub fn want_tick(&self, wanted: bool) {
        self.wants_tick.store(wanted, Ordering::Relaxed);
    }

    /// Called by the ticker.
    pub fn tick(&self) {
        if self.wants_tick.load(Ordering::Relaxed) {
            self.signal(Signals::TICK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_merged_and_letters_are_not() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.take(), Signals::default());
        mailbox.signal(Signals::CANCEL);
        mailbox.signal(Signals::CANCEL);
        for ticket in 0..2 {
            assert!(
                mailbox
                    .send(Letter::CancelDone {
                        ticket,
                        closed: true
                    })
                    .is_ok()
            );
        }
        let signals = mailbox.take();
        assert!(signals.has(Signals::CANCEL) && !signals.has(Signals::DRAIN));
        let mut tickets = Vec::new();
        while let Some(Letter::CancelDone { ticket, .. }) = mailbox.letter(signals) {
            tickets.push(ticket);
        }
        assert_eq!(tickets, [0, 1]);
        assert_eq!(mailbox.take(), Signals::default());
    }

    #[test]
    fn a_closed_mailbox_gives_letters_back() {
        let mailbox = Mailbox::default();
        assert!(
            mailbox
                .send(Letter::CancelDone {
                    ticket: 1,
                    closed: true
                })
                .is_ok()
        );
        assert_eq!(mailbox.close().len(), 1);
        let back = mailbox.send(Letter::CancelDone {
            ticket: 2,
            closed: true,
        });
        assert!(matches!(back, Err(Letter::CancelDone { ticket: 2, .. })));
    }

    #[test]
    fn ticks_come_only_when_asked_for() {
        let mailbox = Mailbox::default();
        mailbox.tick();
        assert!(!mailbox.take().has(Signals::TICK));
        mailbox.want_tick(true);
        mailbox.tick();
        assert!(mailbox.take().has(Signals::TICK));
    }
}
