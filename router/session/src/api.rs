//! The border between the session and the I/O that carries out its steps.
//!
//! The session is a state machine: bytes and events go in, bytes and steps come out. It never waits, has no socket and
//! no clock. One task of the server owns one session, the client's socket and the sockets of the backends that are
//! attached to it, and does, after whatever happened:
//!
//! 1. `on_client(&mut client_input, &mut output)`, if there is client input (also input that was left over before);
//! 2. carry out and clear `output.steps`; write `output.client` and the buffers of `output.backends`;
//! 3. wait for: bytes from the client (only while `wants_client_bytes()` and the input is below its limit), bytes from an
//!    attached backend (only while `output.client` is below its high water mark), room in a socket for what is still to be
//!    written, an answer to a step, a cancel request, a new snapshot.
//!
//! The order of bytes in a buffer is the order of writing. Bytes for a slot are written only while a backend is attached.

use crate::backend::Backend;
use crate::gather::budget::GatherLimits;
use bytes::BytesMut;
use shardgate_plan::Call;
use shardgate_plan::snapshot::Snapshot;
use shardgate_shard_map::ShardId;
use shardgate_wire::{Limits, PgError};
use std::sync::Arc;

/// One of the session's places for a backend: an index into `Output::backends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u8);

/// Slots that one session can have at once: it bounds the fan-out of a statement.
pub const SLOTS_MAX: usize = 64;

/// What the session has for the outside. The buffers are drained, and the steps taken, by the server.
#[derive(Debug, Default)]
pub struct Output {
    pub client: BytesMut,
    /// Indexed by slot; grows as slots come into use.
    pub backends: Vec<BytesMut>,
    pub steps: Vec<Step>,
}

/// Which server of a shard is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Primary,
    /// A replica that has replayed all that this session has seen of the shard; the primary when there is none.
    Replica,
    /// `SET shardgate.role = replica`: any replica within the lag limit, whatever the session has seen; an error when
    /// there is none.
    ReplicaOnly,
}

/// Something that the server has to do.
#[derive(Debug)]
pub enum Step {
    /// Get a backend and answer with `Event::Attached` or `Event::CheckoutFailed`. The server has looked at its socket
    /// before the hand-over: it had neither an error nor an end of file to read.
    /// Only a backend for which `Backend::fits(session.custom_names())` holds may be given; one whose `settings_hash()`
    /// equals `session.settings_hash()` is the cheapest.
    Checkout {
        slot: Slot,
        shard: ShardId,
        wanted: Wanted,
    },
    /// Give up a checkout that was not answered. No event follows.
    AbandonCheckout { slot: Slot },
    /// Take the backend back. `Some`: its state for the pool, all its replies are in and the output buffer of the slot is
    /// to be written out before (it is empty or ends with whole frames). `None`: close the connection (after a
    /// best-effort write of a Terminate message).
    Release {
        slot: Slot,
        backend: Option<Box<Backend>>,
    },
    /// A transaction (or statement outside of one) on the slot's backend has ended well. It was not proven to be
    /// read-only if `wrote`. Always said before the slot's `Release`, and before the client is told.
    Settled { slot: Slot, wrote: bool },
    /// Open a connection to the address of the slot's backend, ask `cancel_is_wanted(slot)`, send the CancelRequest and
    /// answer with `Event::CancelDone` when the server has closed that connection (or, if not sent, at once).
    Cancel { slot: Slot },
    /// Run one of the router's functions under the privileges of the role, with names looked up in the search_path
    /// (None: the role's default); answer with `Event::CallDone`.
    Call {
        call: Call,
        role: String,
        search_path: Option<Vec<String>>,
    },
    /// The schema was changed through this session: load a new snapshot and answer with `Event::Refreshed`.
    Refresh,
    /// A shard was lost while it held, or may have held, a part of this transaction prepared: end it on every shard as the
    /// decision row says, and write 'aborted' if there is none. Answer with `Event::Resolved`.
    Resolve { gid: String },
    /// A statement on several shards has come to this edge. Nothing is to be done: it is where developers make a router
    /// stop or die. Before an edge that sends something, the slot's buffer already holds it, unwritten.
    Edge { edge: Edge, slot: Slot },
    /// Write out `output.client`, then close the client's connection. The session is over.
    Close,
}

/// The edges of a statement on several shards, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// A shard is about to be sent the statement.
    Run,
    Ran,
    /// A shard is about to be sent PREPARE TRANSACTION.
    Prepare,
    Prepared,
    /// Home is about to be sent the decision and COMMIT.
    Decide,
    Decided,
    /// A shard is about to be sent COMMIT PREPARED.
    Commit,
    Committed,
    /// A shard is about to be sent ROLLBACK or ROLLBACK PREPARED.
    RollBack,
    RolledBack,
    /// In force everywhere; the catalog is about to be told.
    Refresh,
    /// The client is about to be told that it is done.
    Answer,
}

impl Edge {
    pub const ALL: [Edge; 12] = [
        Edge::Run,
        Edge::Ran,
        Edge::Prepare,
        Edge::Prepared,
        Edge::Decide,
        Edge::Decided,
        Edge::Commit,
        Edge::Committed,
        Edge::RollBack,
        Edge::RolledBack,
        Edge::Refresh,
        Edge::Answer,
    ];

    /// For people who choose one.
    pub fn name(self) -> &'static str {
        match self {
            Edge::Run => "ddl-run",
            Edge::Ran => "ddl-ran",
            Edge::Prepare => "ddl-prepare",
            Edge::Prepared => "ddl-prepared",
            Edge::Decide => "ddl-decide",
            Edge::Decided => "ddl-decided",
            Edge::Commit => "ddl-commit",
            Edge::Committed => "ddl-committed",
            Edge::RollBack => "ddl-roll-back",
            Edge::RolledBack => "ddl-rolled-back",
            Edge::Refresh => "ddl-refresh",
            Edge::Answer => "ddl-answer",
        }
    }
}

/// Something that the server tells the session.
#[derive(Debug)]
pub enum Event {
    Attached {
        slot: Slot,
        backend: Box<Backend>,
    },
    CheckoutFailed {
        slot: Slot,
        error: PgError,
    },
    /// The backend's connection ended or failed; all bytes that came before were given to `on_backend`.
    /// Bytes of an incomplete frame may be left over. The session answers with `Step::Release` (None).
    BackendLost {
        slot: Slot,
    },
    /// A cancel request with this session's key has come.
    CancelRequested,
    CancelDone {
        slot: Slot,
        sent: bool,
    },
    CallDone(Result<Arc<Snapshot>, PgError>),
    Refreshed(Result<Arc<Snapshot>, PgError>),
    /// The transaction was ended everywhere: committed (true) or rolled back. An error if that could not be done in time.
    Resolved(Result<bool, PgError>),
    /// A newer snapshot. Open transactions keep the one that they have.
    Snapshot(Arc<Snapshot>),
    /// Transactions that might still have used keys which change hands have had time enough: see `Session::drained_epoch`.
    SealClaims,
    /// The statement that is held (`Session::is_held`) is not to wait any longer.
    HoldEnded(PgError),
    /// The client's input has ended (half close, close or reset). What lies in the input buffer was given to
    /// `on_client` before.
    ClientGone,
    /// The session must end: shutdown (57P01), a timeout. The error is sent to the client if frame borders allow it.
    Terminate(PgError),
}

/// What all sessions of a router have in common; one copy serves them all.
#[derive(Clone, Debug)]
pub struct Common {
    /// How long the messages of a client may be.
    pub client_limits: Limits,
    /// How long the messages of a server may be.
    pub backend_limits: Limits,
    /// Prepared statements that one client may hold.
    pub prepared_max: usize,
    /// Prepared statements that the router keeps on one backend.
    pub backend_prepared_max: usize,
    /// `auto` sends proven reads to replicas.
    pub default_role: crate::settings::Role,
    /// Prefix of global transaction ids, unique for cluster and router.
    pub gid_prefix: String,
    /// How many rows of other shards one statement may gather.
    pub gather: GatherLimits,
}

/// What the session must know of its client and of the router's settings.
#[derive(Clone, Debug)]
pub struct Options {
    pub user: String,
    pub database: String,
    /// Start-up settings in the order sent, `options` already taken apart: name, value.
    pub startup: Vec<(String, String)>,
    /// What the client is told in BackendKeyData.
    pub pid: u32,
    pub secret: Vec<u8>,
    pub common: Arc<Common>,
}
