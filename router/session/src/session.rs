//! One client's session: its state, and what holds between the parts that work on it.
//!
//! The files below this one begin and end the session, attach and release its backends, and cancel. `client.rs` takes the
//! client's messages, those of the extended protocol with `extended.rs`; `route.rs` finds the backend for a statement,
//! `replies.rs` takes the servers' messages, `settle.rs` does what is due before ReadyForQuery, `local.rs` answers what
//! the router answers itself, `several.rs` runs DDL on all shards,
//! `gather.rs` reads the rows of all shards for a statement on home, `spread.rs` writes several shards.
//!
//! Invariants: bytes of a backend reach the client only as replies to entries of the client in that backend's queue;
//! a frame of the client stays in its buffer until it can be carried out, so that nothing is half done while the session
//! waits; a backend leaves the session for the pool only when `Place::is_clean` holds.

mod cancel;
mod ending;
pub(crate) mod places;
mod saying;
mod start;

pub(crate) use cancel::cancelled;

use crate::api::{Event, Options, Output, Slot, Step};
use crate::extended::held::Held;
use crate::gather::budget::Share;
use crate::gather::{GatheredRows, Gathering, Positions};
use crate::local::Waiting;
use crate::moves::Moves;
use crate::place::Place;
use crate::planner::{Planned, Planner, Texts, fresh};
use crate::provoke::Fault;
use crate::route::Aimed;
use crate::settings::{Settings, canonical_name};
use crate::settle::Settling;
use crate::several::Several;
use crate::spread::Spreading;
use crate::statements::{Named, Portal, Shape, Statements};
use crate::transaction::{Deeds, Transaction};
use bytes::BytesMut;
use shardgate_plan::Context;
use shardgate_plan::snapshot::Snapshot;
use shardgate_shard_map::ShardId;
use shardgate_sql::lift::TextShape;
use shardgate_wire::PgError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Logged in; the start-up settings are being tried on home.
    Starting,
    Ready,
    /// `Step::Close` was said.
    Over,
}

/// What the client's next message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Nothing,
    Checkout(Slot),
    /// ReadyForQuery of a Query or a Sync of the client.
    Reply(Slot),
    /// All replies that the slot's backend owes.
    Drain(Slot),
    /// The work before ReadyForQuery.
    Settle,
    /// A function of the router, or a statement on several shards.
    Work,
    /// Rows of all shards.
    Gather,
    /// Keys change hands between two shards: see `moves.rs`.
    Held,
    /// A write over several shards.
    Spread,
}

/// The extended-protocol messages since the last Sync.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Where its messages went.
    pub slot: Option<Slot>,
    /// A statement was executed there: the implicit transaction is on that shard.
    pub executed: bool,
    /// An error was said; messages are dropped up to the Sync.
    pub skipping: bool,
    /// The Sync was sent.
    pub synced: bool,
    /// Parse and Describe messages whose backend is not known before the Bind behind them.
    pub held: Vec<Held>,
    /// The client has asked with a Flush for replies of which some are still to come.
    pub flush_due: bool,
    /// What ends or revives a failed block was sent in it: what comes behind it runs, although no ReadyForQuery said so yet.
    pub revived: bool,
    /// Names of settings that planning depends on were changed in it.
    pub path_changed: bool,
    /// The schema was changed in it, or code ran that may have.
    pub schema_changed: bool,
    /// It ends with COMMIT AND CHAIN.
    pub chained: bool,
}

impl Batch {
    /// A new one begins. The list's memory is kept, for the next one has as many.
    pub fn begin_anew(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.clear();
        *self = Batch {
            held,
            ..Batch::default()
        };
    }
}

/// One client's session. See `api` for how it is driven.
#[derive(Debug)]
pub struct Session {
    pub(crate) options: Options,
    pub(crate) planner: Arc<Planner>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// The newest snapshot; taken over between statements, since Postgres too looks names up anew for each.
    pub(crate) newest: Arc<Snapshot>,
    pub(crate) phase: Phase,
    pub(crate) places: Vec<Option<Place>>,
    pub(crate) transaction: Transaction,
    pub(crate) deeds: Deeds,
    pub(crate) settings: Settings,
    pub(crate) statements: Statements,
    pub(crate) portals: Named<Portal>,
    pub(crate) batch: Batch,
    pub(crate) wait: Wait,
    pub(crate) settling: Option<Settling>,
    pub(crate) working: Option<Box<Waiting>>,
    pub(crate) several: Option<Box<Several>>,
    pub(crate) spreading: Option<Box<Spreading>>,
    pub(crate) gathering: Option<Box<Gathering>>,
    /// The rows for the client's first message, or why there are none.
    pub(crate) gathered: Option<Box<Result<GatheredRows, PgError>>>,
    /// The epoch of what is gathered, until home has taken the rows.
    pub(crate) gather_epoch: Option<u64>,
    /// How often the rows for the client's first message were of no use.
    pub(crate) gather_tries: u8,
    /// What home has been sent of gathered rows in this batch.
    pub(crate) gather_share: Option<Share>,
    /// The last statement over gathered rows.
    pub(crate) positions: Option<Box<Positions>>,
    /// Shape of a statement that was parsed again, to be compared with what the client was told.
    pub(crate) verified: Option<Shape>,
    /// ParameterStatus values that the client knows.
    pub(crate) told: Arc<BTreeMap<String, String>>,
    /// Those of its login, before it changed any.
    pub(crate) greeted: Arc<BTreeMap<String, String>>,
    /// The default isolation that home has said at the login, until the client is greeted.
    pub(crate) isolation: Option<String>,
    /// All values are to be compared at the next ReadyForQuery.
    pub(crate) compare_params: bool,
    pub(crate) checkout_error: Option<PgError>,
    /// The client's first message, as it was planned before it had to wait for a backend.
    pub(crate) aimed: Option<Aimed>,
    /// A server was asked about the text of the client's next message.
    pub(crate) asked: bool,
    pub(crate) client_gone: bool,
    /// The client has said goodbye; what it had sent before is still carried out.
    pub(crate) leaving: bool,
    /// Replies that nothing has asked to be sent yet.
    pub(crate) unflushed: BytesMut,
    /// A complete message of the client was left in the buffer when `on_client` returned.
    pub(crate) input_left: bool,
    pub(crate) serial: u64,
    pub(crate) counts: Counts,
    pub(crate) moves: Moves,
}

/// What a session has done since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Statements sent to a server or carried out by the router.
    pub statements: u64,
    /// Errors of servers that the client was told.
    pub errors_relayed: u64,
    /// Errors of the router's own, refusals included.
    pub errors_own: u64,
    /// Statements refused with 0A000.
    pub refused: u64,
    /// Statements for which rows of all shards were gathered, those rows, and their bytes.
    pub gathered: u64,
    pub gathered_rows: u64,
    pub gathered_bytes: u64,
    /// Statements that a limit of gathering has stopped.
    pub gather_limited: u64,
}

/// What SHOW CLIENTS says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    pub state: &'static str,
    pub application_name: String,
    /// Shards with an attached backend, and why it is pinned.
    pub slots: Vec<(ShardId, Option<String>)>,
}

impl Session {
    pub fn new(mut options: Options, snapshot: Arc<Snapshot>, planner: Arc<Planner>) -> Session {
        let startup: BTreeMap<String, String> = std::mem::take(&mut options.startup)
            .into_iter()
            .map(|(name, value)| (canonical_name(&name), value))
            .collect();
        let mut settings = Settings::new(startup, options.common.default_role);
        let custom: Vec<String> = settings
            .wanted()
            .keys()
            .filter(|name| name.contains('.'))
            .cloned()
            .collect();
        settings.custom.extend(custom);
        Session {
            planner,
            newest: snapshot.clone(),
            snapshot,
            phase: Phase::Starting,
            places: Vec::new(),
            transaction: Transaction::None,
            deeds: Deeds::default(),
            settings,
            statements: Statements::default(),
            portals: Named::default(),
            batch: Batch::default(),
            wait: Wait::Nothing,
            settling: None,
            working: None,
            several: None,
            spreading: None,
            gathering: None,
            gathered: None,
            gather_epoch: None,
            gather_tries: 0,
            gather_share: None,
            positions: None,
            verified: None,
            told: Arc::default(),
            greeted: Arc::default(),
            isolation: None,
            compare_params: false,
            checkout_error: None,
            aimed: None,
            asked: false,
            client_gone: false,
            leaving: false,
            unflushed: BytesMut::new(),
            input_left: false,
            serial: 0,
            counts: Counts::default(),
            moves: Moves::default(),
            options,
        }
    }

    /// The counts since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Whether the server should read from the client's socket.
    pub fn wants_client_bytes(&self) -> bool {
        self.phase != Phase::Over && !self.client_gone
    }

    /// No transaction, nothing owed, nothing attached but pinned backends: the session can be ended without loss.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Ready
            && self.wait == Wait::Nothing
            && self.transaction.is_none()
            && self.batch.slot.is_none()
            && self.batch.held.is_empty()
    }

    /// The client is idle for a while: lists that are empty give their memory back.
    pub fn let_memory_go(&mut self) {
        if self.batch.held.is_empty() {
            self.batch.held = Vec::new();
        }
        if self.unflushed.is_empty() {
            self.unflushed = BytesMut::new();
        }
        if self.places.iter().all(Option::is_none) {
            self.places = Vec::new();
        }
    }

    /// Custom settings that this client has ever set.
    pub fn custom_names(&self) -> &BTreeSet<String> {
        &self.settings.custom
    }

    pub fn settings_hash(&self) -> u64 {
        self.settings.hash()
    }

    pub fn describe(&self) -> SessionView {
        let state = match (self.phase, self.wait, &self.transaction) {
            (Phase::Starting, _, _) => "login",
            (Phase::Over, _, _) => "closing",
            (Phase::Ready, Wait::Checkout(_), _) => "waiting",
            (Phase::Ready, Wait::Held, _) => "held",
            (Phase::Ready, Wait::Nothing, Transaction::None) if self.batch.slot.is_none() => "idle",
            (Phase::Ready, Wait::Nothing, Transaction::None) => "active",
            (Phase::Ready, Wait::Nothing, _) => "idle in transaction",
            (
                Phase::Ready,
                Wait::Reply(_)
                | Wait::Drain(_)
                | Wait::Settle
                | Wait::Work
                | Wait::Gather
                | Wait::Spread,
                _,
            ) => "active",
        };
        SessionView {
            state,
            application_name: self
                .settings
                .value("application_name")
                .unwrap_or_default()
                .to_string(),
            slots: self
                .places
                .iter()
                .flatten()
                .map(|place| (place.shard, place.pinned.clone()))
                .collect(),
        }
    }

    /// Takes one event.
    pub fn on_event(&mut self, event: Event, out: &mut Output) {
        if self.phase == Phase::Over {
            self.drop_late(event, out);
            return;
        }
        match event {
            Event::Attached { slot, backend } => self.attached(slot, backend, out),
            Event::CheckoutFailed { slot, error } => self.checkout_failed(slot, error, out),
            Event::BackendLost { slot } => self.backend_lost(slot, out),
            Event::CancelRequested => self.cancel_requested(out),
            Event::CancelDone { slot, sent: _ } => self.cancel_done(slot, out),
            Event::CallDone(result) => self.call_done(result, out),
            Event::Refreshed(result) => self.refreshed(result, out),
            Event::Resolved(result) if self.spreading.is_some() => {
                self.spread_resolved(result, out);
            }
            Event::Resolved(result) => self.several_resolved(result, out),
            Event::Snapshot(snapshot) => {
                self.set_newest(snapshot);
                self.take_snapshot();
            }
            Event::SealClaims => self.seal_claims(),
            Event::HoldEnded(error) => self.hold_ended(error, out),
            Event::ClientGone => {
                self.client_gone = true;
                self.end_if_gone(out);
            }
            Event::Terminate(error) => self.fatal(&error, out),
        }
    }

    /// After the end backends that still arrive go back unused, and what the session says of epochs goes on.
    fn drop_late(&mut self, event: Event, out: &mut Output) {
        if let Event::Attached { slot, backend } = event {
            out.steps.push(Step::Release {
                slot,
                backend: Some(backend),
            });
        } else if let Event::Snapshot(snapshot) = event {
            // Whoever moves data does not wait for a client that is slow to read its last message.
            self.newest = snapshot;
        }
    }

    /// A newer snapshot is taken over where no statement is under way.
    pub(crate) fn take_snapshot(&mut self) {
        let quiet = self.batch.slot.is_none()
            && matches!(self.wait, Wait::Nothing | Wait::Settle | Wait::Work);
        if quiet && !Arc::ptr_eq(&self.snapshot, &self.newest) {
            self.snapshot = self.newest.clone();
        }
    }

    fn context<'a>(&'a self, types: &'a [u32]) -> Context<'a> {
        Context {
            user: self.current_role(),
            search_path: self.settings.search_path(),
            declared: types,
            temporary: self.settings.temporary(),
            transform_null_equals: self.settings.transform_null_equals(),
        }
    }

    /// The plan that the text shares with others of its shape.
    pub(crate) fn lifted(&self, text: &str) -> Option<(Arc<Planned>, TextShape)> {
        self.planner
            .lifted(text, &self.context(&[]), &self.snapshot)
    }

    /// The statements of a text.
    ///
    /// # Errors
    /// A text that Postgres's scanner refuses.
    pub(crate) fn texts(&self, text: &str, types: &[u32]) -> Result<Texts, Fault> {
        self.planner
            .texts(text, &self.context(types), &self.snapshot)
            .map_err(|_| Fault::Text)
    }

    /// The plan of a text that is known to hold at most one statement.
    pub(crate) fn plan(&self, text: &str, types: &[u32]) -> Arc<Planned> {
        match self.texts(text, types) {
            Ok(Texts::One(planned)) => planned,
            Ok(Texts::Pieces(_)) | Err(_) => Arc::new(fresh(
                text,
                0..text.len(),
                &self.context(types),
                &self.snapshot,
            )),
        }
    }

    /// The role of SET ROLE, or the login role.
    pub(crate) fn current_role(&self) -> &str {
        self.settings.current_role().unwrap_or(&self.options.user)
    }
}

pub(crate) fn block_failed() -> PgError {
    PgError::error(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}
