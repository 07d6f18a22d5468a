//! One client's session: its state, and what holds between the parts that work on it.
//!
//! `client.rs` takes the client's messages, `route.rs` finds the backend for a statement, `replies.rs` takes the
//! servers' messages, `settle.rs` does what is due before ReadyForQuery, `local.rs` answers what the router answers itself,
//! `several.rs` runs DDL on all shards.
//!
//! Invariants: bytes of a backend reach the client only as replies to entries of the client in that backend's queue;
//! a frame of the client stays in its buffer until it can be carried out, so that nothing is half done while the session
//! waits; a backend leaves the session for the pool only when `Place::is_clean` holds.

use crate::api::{Event, Options, Output, SLOTS_MAX, Slot, Step, Wanted};
use crate::backend::Backend;
use crate::local::Waiting;
use crate::owed::Purpose;
use crate::place::Place;
use crate::planner::{Login, Planned, Planner, Texts, fresh};
use crate::settings::{Settings, canonical_name};
use crate::settle::Settling;
use crate::several::Several;
use crate::statements::{Portal, Shape, Statements};
use crate::transaction::{Deeds, Transaction};
use bytes::{Bytes, BytesMut};
use shardgate_plan::Context;
use shardgate_plan::snapshot::Snapshot;
use shardgate_shard_map::ShardId;
use shardgate_wire::backend::{TxStatus, put};
use shardgate_wire::{Limits, PgError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// Names of settings that planning depends on were changed in it.
    pub path_changed: bool,
    /// The schema was changed in it, or code ran that may have.
    pub schema_changed: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Held {
    Parse { statement: Bytes },
    Describe { statement: Bytes },
}

impl Held {
    pub fn statement(&self) -> &Bytes {
        match self {
            Held::Parse { statement } | Held::Describe { statement } => statement,
        }
    }
}

/// One client's session. See `api` for how it is driven.
#[derive(Debug)]
pub struct Session {
    pub(crate) options: Options,
    pub(crate) limits: Limits,
    pub(crate) backend_limits: Limits,
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
    pub(crate) portals: HashMap<Bytes, Portal>,
    pub(crate) batch: Batch,
    pub(crate) wait: Wait,
    pub(crate) settling: Option<Settling>,
    pub(crate) working: Option<Waiting>,
    pub(crate) several: Option<Several>,
    /// Shape of a statement that was parsed again, to be compared with what the client was told.
    pub(crate) verified: Option<Shape>,
    /// ParameterStatus values that the client knows.
    pub(crate) told: BTreeMap<String, String>,
    /// All values are to be compared at the next ReadyForQuery.
    pub(crate) compare_params: bool,
    pub(crate) checkout_error: Option<PgError>,
    pub(crate) client_gone: bool,
    /// A complete message of the client was left in the buffer when `on_client` returned.
    pub(crate) input_left: bool,
    pub(crate) serial: u64,
    pub(crate) counts: Counts,
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
    pub fn new(options: Options, snapshot: Arc<Snapshot>, planner: Arc<Planner>) -> Session {
        let startup: BTreeMap<String, String> = options
            .startup
            .iter()
            .map(|(name, value)| (canonical_name(name), value.clone()))
            .collect();
        let mut settings = Settings::new(startup, options.default_role);
        let custom: Vec<String> = settings
            .wanted
            .keys()
            .filter(|name| name.contains('.'))
            .cloned()
            .collect();
        settings.custom.extend(custom);
        Session {
            limits: Limits::frontend(options.message_bytes_max),
            backend_limits: Limits::backend(),
            planner,
            newest: snapshot.clone(),
            snapshot,
            phase: Phase::Starting,
            places: Vec::new(),
            transaction: Transaction::None,
            deeds: Deeds::default(),
            settings,
            statements: Statements::default(),
            portals: HashMap::new(),
            batch: Batch::default(),
            wait: Wait::Nothing,
            settling: None,
            working: None,
            several: None,
            verified: None,
            told: BTreeMap::new(),
            compare_params: false,
            checkout_error: None,
            client_gone: false,
            input_left: false,
            serial: 0,
            counts: Counts::default(),
            options,
        }
    }

    /// Begins: tries the start-up settings on the home shard. ReadyForQuery follows by itself.
    pub fn start(&mut self, out: &mut Output) {
        if let Err(error) = self.take_startup_settings() {
            self.fatal(&error, out);
            return;
        }
        // A client whose like was served before needs no connection until it says something.
        if let Some(told) = self.planner.welcome(&self.login()) {
            self.told = told.as_ref().clone();
            self.greet(out);
            return;
        }
        let slot = self.new_place(self.snapshot.home, Wanted::Primary, out);
        match slot {
            Ok(slot) => self.wait = Wait::Checkout(slot),
            Err(error) => self.fatal(&error, out),
        }
    }

    /// The router's own settings leave the start-up list; those that cannot work behind a router are refused.
    fn take_startup_settings(&mut self) -> Result<(), PgError> {
        let all: Vec<(String, String)> = self.settings.startup.clone().into_iter().collect();
        for (name, value) in all {
            if let Some(own) = name.strip_prefix("shardgate.") {
                self.settings.startup.remove(&name);
                self.settings.wanted.remove(&name);
                self.settings.custom.remove(&name);
                self.set_own(own, Some(&value))?;
            } else {
                crate::commands::check_setting(&name, std::slice::from_ref(&value))?;
            }
        }
        self.settings.changed();
        Ok(())
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

    /// Custom settings that this client has ever set.
    pub fn custom_names(&self) -> &BTreeSet<String> {
        &self.settings.custom
    }

    pub fn settings_hash(&self) -> u64 {
        self.settings.hash()
    }

    /// To be asked right before a CancelRequest is written: whether the backend still runs what was to be cancelled.
    pub fn cancel_is_wanted(&self, slot: Slot) -> bool {
        self.place(slot).is_some_and(|place| {
            place.cancel_pending
                && place
                    .backend
                    .as_ref()
                    .is_some_and(|backend| backend.owed.owes_client())
        })
    }

    pub fn describe(&self) -> SessionView {
        let state = match (self.phase, self.wait, &self.transaction) {
            (Phase::Starting, _, _) => "login",
            (Phase::Over, _, _) => "closing",
            (Phase::Ready, Wait::Checkout(_), _) => "waiting",
            (Phase::Ready, Wait::Nothing, Transaction::None) if self.batch.slot.is_none() => "idle",
            (Phase::Ready, Wait::Nothing, Transaction::None) => "active",
            (Phase::Ready, Wait::Nothing, _) => "idle in transaction",
            (Phase::Ready, Wait::Reply(_) | Wait::Drain(_) | Wait::Settle | Wait::Work, _) => {
                "active"
            }
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
            Event::Resolved(result) => self.several_resolved(result, out),
            Event::Snapshot(snapshot) => {
                self.newest = snapshot;
                self.take_snapshot();
            }
            Event::ClientGone => {
                self.client_gone = true;
                self.end_if_gone(out);
            }
            Event::Terminate(error) => self.fatal(&error, out),
        }
    }

    /// After the end only backends that still arrive matter: they go back unused.
    fn drop_late(&mut self, event: Event, out: &mut Output) {
        if let Event::Attached { slot, backend } = event {
            out.steps.push(Step::Release {
                slot,
                backend: Some(backend),
            });
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
        let null_equals = self
            .settings
            .value("transform_null_equals")
            .is_some_and(|value| value == "on");
        Context {
            user: self.current_role(),
            search_path: self.settings.search_path(),
            declared: types,
            temporary: &self.settings.temporary,
            transform_null_equals: null_equals,
        }
    }

    /// The statements of a text.
    pub(crate) fn texts(&self, text: &str, types: &[u32]) -> Result<Texts, PgError> {
        self.planner
            .texts(text, &self.context(types), &self.snapshot)
            .map_err(|error| PgError::error(error.sqlstate, error.to_string()))
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
        match self.settings.value("role") {
            None | Some("none" | "") => &self.options.user,
            Some(role) => role,
        }
    }

    pub(crate) fn place(&self, slot: Slot) -> Option<&Place> {
        self.places.get(usize::from(slot.0))?.as_ref()
    }

    pub(crate) fn place_mut(&mut self, slot: Slot) -> Option<&mut Place> {
        self.places.get_mut(usize::from(slot.0))?.as_mut()
    }

    /// The place and the buffer to its backend.
    pub(crate) fn reach<'a>(
        &'a mut self,
        slot: Slot,
        out: &'a mut Output,
    ) -> Option<(&'a mut Place, &'a mut BytesMut)> {
        let index = usize::from(slot.0);
        let place = self.places.get_mut(index)?.as_mut()?;
        if out.backends.len() <= index {
            out.backends.resize_with(index + 1, BytesMut::new);
        }
        Some((place, out.backends.get_mut(index)?))
    }

    /// Asks for a backend in a free slot.
    pub(crate) fn new_place(
        &mut self,
        shard: ShardId,
        wanted: Wanted,
        out: &mut Output,
    ) -> Result<Slot, PgError> {
        let index = match self.places.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.places.push(None);
                self.places.len() - 1
            }
        };
        let slot = match u8::try_from(index) {
            Ok(number) if index < SLOTS_MAX => Slot(number),
            Ok(_) | Err(_) => {
                return Err(
                    PgError::error("54000", "too many shards in one session").detail(format!(
                        "A session can hold backends of {SLOTS_MAX} shards at once."
                    )),
                );
            }
        };
        if let Some(entry) = self.places.get_mut(index) {
            *entry = Some(Place::new(shard));
        }
        out.steps.push(Step::Checkout {
            slot,
            shard,
            wanted,
        });
        Ok(slot)
    }

    fn attached(&mut self, slot: Slot, backend: Box<Backend>, out: &mut Output) {
        let Some(place) = self.place_mut(slot) else {
            out.steps.push(Step::Release {
                slot,
                backend: Some(backend),
            });
            return;
        };
        place.backend = Some(backend);
        if self.wait == Wait::Checkout(slot) {
            self.wait = Wait::Nothing;
        }
        if self.phase == Phase::Starting {
            self.prepare_place(slot, out);
            if self.place(slot).is_some_and(Place::owed_is_empty) {
                self.finish_start(slot, out);
            } else {
                self.wait = Wait::Drain(slot);
            }
        } else if self.several.is_some() {
            self.several_attached(slot, out);
        }
    }

    /// Tells the client who it talks to. The start-up settings are in force on the slot's backend.
    pub(crate) fn finish_start(&mut self, slot: Slot, out: &mut Output) {
        if let Some(backend) = self.place(slot).and_then(|place| place.backend.as_ref()) {
            self.told = backend.params.clone();
        }
        self.planner.note_welcome(self.login(), self.told.clone());
        self.greet(out);
        self.release(slot, out);
        self.end_if_gone(out);
    }

    fn login(&self) -> Login {
        Login {
            user: self.options.user.clone(),
            database: self.options.database.clone(),
            startup: self.settings.startup.clone(),
            epoch: self.snapshot.epoch.id,
        }
    }

    /// ParameterStatus, BackendKeyData and the first ReadyForQuery.
    fn greet(&mut self, out: &mut Output) {
        for (name, value) in &self.told {
            put::parameter_status(&mut out.client, name, value);
        }
        put::backend_key(&mut out.client, self.options.pid, &self.options.secret);
        put::ready(&mut out.client, TxStatus::Idle);
        self.phase = Phase::Ready;
        self.wait = Wait::Nothing;
    }

    /// Sends what the backend needs before the client's statement: the settings that differ.
    pub(crate) fn prepare_place(&mut self, slot: Slot, out: &mut Output) {
        let index = usize::from(slot.0);
        let Some(place) = self.places.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if place.prepared {
            return;
        }
        place.prepared = true;
        let Some(backend) = place.backend.as_mut() else {
            return;
        };
        if let Some(sql) = self.settings.prepare_backend(backend)
            && let Some((place, buffer)) = self.reach(slot, out)
        {
            place.query(&sql, Purpose::Prelude, buffer);
        }
    }

    fn checkout_failed(&mut self, slot: Slot, error: PgError, out: &mut Output) {
        self.vacate(slot);
        if self.phase == Phase::Starting {
            self.fatal(&error, out);
            return;
        }
        if self.several.is_some() {
            self.several_failed(error, out);
            return;
        }
        if self.wait == Wait::Checkout(slot) {
            self.wait = Wait::Nothing;
            self.checkout_error = Some(error);
        }
    }

    pub(crate) fn vacate(&mut self, slot: Slot) -> Option<Place> {
        self.places.get_mut(usize::from(slot.0))?.take()
    }

    /// Gives the backend back if it is clean and nothing pins it.
    pub(crate) fn release(&mut self, slot: Slot, out: &mut Output) {
        let clean = match self.place_mut(slot) {
            Some(place) => {
                place.prepared = false;
                place.is_clean()
            }
            None => false,
        };
        if clean && let Some(place) = self.vacate(slot) {
            out.steps.push(Step::Release {
                slot,
                backend: place.backend,
            });
        }
    }

    /// Gives back what was attached and then not needed.
    pub(crate) fn release_spares(&mut self, out: &mut Output) {
        let joined = self.joined_slot();
        for index in 0..self.places.len() {
            let Ok(number) = u8::try_from(index) else {
                continue;
            };
            let slot = Slot(number);
            if joined != Some(slot) && self.place(slot).is_some_and(Place::is_clean) {
                self.release(slot, out);
            }
        }
    }

    /// Closes the backend's connection.
    pub(crate) fn close_place(&mut self, slot: Slot, out: &mut Output) {
        if let Some(place) = self.vacate(slot) {
            if place.backend.is_some() {
                out.steps.push(Step::Release {
                    slot,
                    backend: None,
                });
            } else {
                out.steps.push(Step::AbandonCheckout { slot });
            }
        }
    }

    fn backend_lost(&mut self, slot: Slot, out: &mut Output) {
        let Some(place) = self.place(slot) else {
            return;
        };
        let half_frame = place.passing > 0;
        let told_fatal = place.fatal;
        let needed = !place.owed_is_empty()
            || place.pinned.is_some()
            || place.unsynced
            || place.status != TxStatus::Idle;
        if self.several_lost(slot, LOST, out) {
            return;
        }
        self.close_place(slot, out);
        if !needed && !told_fatal {
            return;
        }
        if half_frame || told_fatal {
            self.end(out);
        } else {
            self.fatal(&PgError::error("08006", LOST).fatal(), out);
        }
    }

    fn cancel_requested(&mut self, out: &mut Output) {
        match self.wait {
            Wait::Checkout(slot) if self.phase == Phase::Ready && self.several.is_none() => {
                self.close_place(slot, out);
                self.wait = Wait::Nothing;
                self.checkout_error = Some(cancelled());
            }
            Wait::Reply(slot) | Wait::Drain(slot) => self.cancel_place(slot, out),
            Wait::Nothing => {
                if let Some(slot) = self.batch.slot {
                    self.cancel_place(slot, out);
                }
            }
            // From the first PREPARE on no signal is sent, and the work before ReadyForQuery is short.
            Wait::Checkout(_) | Wait::Settle | Wait::Work => {}
        }
    }

    fn cancel_place(&mut self, slot: Slot, out: &mut Output) {
        if let Some(place) = self.place_mut(slot)
            && !place.cancel_pending
            && place
                .backend
                .as_ref()
                .is_some_and(|backend| backend.owed.owes_client())
        {
            place.cancel_pending = true;
            out.steps.push(Step::Cancel { slot });
        }
    }

    fn cancel_done(&mut self, slot: Slot, out: &mut Output) {
        if let Some(place) = self.place_mut(slot) {
            place.cancel_pending = false;
        }
        let used = matches!(self.wait, Wait::Reply(s) | Wait::Drain(s) if s == slot)
            || self.wait == Wait::Settle
            || self.batch.slot == Some(slot);
        if self.settling.is_some() {
            self.settle_on(out);
        } else if !used && self.transaction.is_none() {
            self.release(slot, out);
        }
        self.end_if_gone(out);
    }

    /// Sends a made reply of the router at its place in the order of replies.
    pub(crate) fn reply(&mut self, bytes: Bytes, out: &mut Output) {
        self.reply_parsed(bytes, None, out);
    }

    /// As `reply`, of a Parse of the named statement: if an error before it makes the client's messages be skipped, the
    /// statement does not exist.
    pub(crate) fn reply_parsed(&mut self, bytes: Bytes, parsed: Option<Bytes>, out: &mut Output) {
        let rest = match self.batch.slot.and_then(|slot| self.place_mut(slot)) {
            Some(place) => place.made(bytes, parsed),
            None => Some(bytes),
        };
        if let Some(bytes) = rest {
            out.client.extend_from_slice(&bytes);
        }
    }

    /// Messages that are dropped up to the Sync: what was held of them never happened.
    pub(crate) fn skip_to_sync(&mut self) {
        for held in std::mem::take(&mut self.batch.held) {
            if let Held::Parse { statement } = held {
                self.statements.remove(&statement);
            }
        }
        self.batch.skipping = true;
    }

    /// A fatal error: it is sent, where a frame border allows it, and the session ends.
    pub(crate) fn fatal(&mut self, error: &PgError, out: &mut Output) {
        if self.places.iter().flatten().all(|place| place.passing == 0) {
            put::error(&mut out.client, &error.clone().fatal());
        }
        self.end(out);
    }

    /// Ends the session: clean backends go back to the pool, all others are closed.
    pub(crate) fn end(&mut self, out: &mut Output) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        self.several_abandon(out);
        for index in 0..self.places.len() {
            let Ok(number) = u8::try_from(index) else {
                continue;
            };
            let slot = Slot(number);
            if self.place(slot).is_some_and(Place::is_clean) {
                self.release(slot, out);
            } else {
                self.close_place(slot, out);
            }
        }
        out.steps.push(Step::Close);
    }

    /// A client that is gone is served to the end of what it had sent, and no further.
    pub(crate) fn end_if_gone(&mut self, out: &mut Output) {
        if self.client_gone
            && !self.input_left
            && self.wait == Wait::Nothing
            && self.phase == Phase::Ready
        {
            self.end(out);
        }
    }
}

const LOST: &str = "the server closed the connection unexpectedly";

pub(crate) fn cancelled() -> PgError {
    PgError::error("57014", "canceling statement due to user request")
}

pub(crate) fn block_failed() -> PgError {
    PgError::error(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}
