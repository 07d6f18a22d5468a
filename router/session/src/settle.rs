//! What is due between a server's ReadyForQuery and the client's: settings are read back, a statement that only home was
//! asked about is undone, a changed schema is loaded, and the backend goes back to the pool.

use crate::api::{Output, Slot, Step};
use crate::commands::check_setting;
use crate::owed::Purpose;
use crate::session::{Phase, Session, Wait};
use crate::settings::{canonical_name, quote_literal, quote_name};
use crate::statements::Portal;
use crate::transaction::{Deeds, Prelude, Transaction};
use shardgate_plan::snapshot::Snapshot;
use shardgate_wire::PgError;
use shardgate_wire::backend::{TxStatus, data_row, put as reply};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct Settling {
    slot: Slot,
    status: TxStatus,
    stage: Stage,
    /// What each SHOW of the question answers next, if it was asked so.
    shown: VecDeque<Shown>,
    all_shown: bool,
    /// What was read back so far.
    values: BTreeMap<String, String>,
    temporary: HashSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Names,
    /// The end of `Names` is awaited.
    Closing,
    ReadBack,
    /// The answer to the question of `ReadBack` is awaited.
    Reading,
    Prelude,
    Undoing,
    Refresh,
    Refreshing,
    Finish,
}

/// An answer that has one of a setting's values, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    One(String),
    All,
}

/// Parameters that differ by server and are told to the client once, at login.
const BY_SERVER: [&str; 4] = [
    "in_hot_standby",
    "server_version",
    "is_superuser",
    "session_authorization",
];

impl Session {
    /// A server is ready after the client's Query or Sync.
    pub(crate) fn server_ready(&mut self, slot: Slot, status: TxStatus, out: &mut Output) {
        let modes = match &self.transaction {
            Transaction::Joined { modes, .. } => modes.clone(),
            Transaction::None | Transaction::Virtual(_) => {
                shardgate_sql::facts::TransactionModes::default()
            }
        };
        self.transaction = match status {
            // The router has begun a block behind what was sent, of which the server does not know yet.
            TxStatus::Idle if matches!(self.transaction, Transaction::Virtual(_)) => {
                std::mem::replace(&mut self.transaction, Transaction::None)
            }
            TxStatus::Idle => Transaction::None,
            TxStatus::InTransaction | TxStatus::Failed => Transaction::Joined { slot, modes },
        };
        if status == TxStatus::Idle {
            self.portals.clear();
        }
        if status == TxStatus::Failed {
            self.deeds.ever_failed = true;
            // What was sent behind the error was not run.
            self.deeds.queried = false;
        }
        self.wait = Wait::Settle;
        // Before anything of the router's own runs there: that may change values back.
        self.tell_params(slot, out);
        let names_lent = self
            .place(slot)
            .is_some_and(|place| place.borrowed.is_some());
        if self.deeds.leave_nothing()
            && !names_lent
            && (status != TxStatus::Idle || self.settings.overlay.is_empty())
        {
            self.finish_settling(slot, status, out);
            return;
        }
        self.settling = Some(Settling {
            slot,
            status,
            stage: Stage::Names,
            shown: VecDeque::new(),
            all_shown: false,
            values: BTreeMap::new(),
            temporary: HashSet::new(),
        });
        self.settle_on(out);
    }

    /// The settling has still something to say to the slot's backend, though nothing may be owed: it waits for a cancel
    /// request that is on its way there.
    pub(crate) fn settles_on(&self, slot: Slot) -> bool {
        self.settling.as_ref().is_some_and(|settling| {
            settling.slot == slot
                && match settling.stage {
                    Stage::Names
                    | Stage::Closing
                    | Stage::ReadBack
                    | Stage::Reading
                    | Stage::Prelude
                    | Stage::Undoing => true,
                    Stage::Refresh | Stage::Refreshing | Stage::Finish => false,
                }
        })
    }

    /// Goes on as far as nothing is awaited.
    pub(crate) fn settle_on(&mut self, out: &mut Output) {
        while let Some(settling) = self.settling.clone() {
            let next = match settling.stage {
                Stage::Names => self.close_names(&settling, out),
                Stage::ReadBack => self.start_reading(&settling, out),
                Stage::Prelude => self.undo_prelude(&settling, out),
                Stage::Refresh => self.start_refresh(settling.status, out),
                Stage::Finish => {
                    self.settling = None;
                    self.finish_settling(settling.slot, settling.status, out);
                    return;
                }
                Stage::Closing | Stage::Reading | Stage::Undoing | Stage::Refreshing => return,
            };
            match (next, self.settling.as_mut()) {
                (Some(stage), Some(settling)) => settling.stage = stage,
                (None, _) | (_, None) => return,
            }
        }
    }

    /// The answer to a query of the settling has come whole.
    pub(crate) fn settle_answered(&mut self, out: &mut Output) {
        let Some(settling) = self.settling.as_mut() else {
            return;
        };
        match settling.stage {
            Stage::Closing => settling.stage = Stage::ReadBack,
            Stage::Reading => {
                settling.stage = Stage::Prelude;
                if let Err(error) = self.check_values() {
                    self.fatal(&error, out);
                    return;
                }
                self.take_values();
            }
            Stage::Undoing => settling.stage = Stage::Refresh,
            Stage::Names
            | Stage::ReadBack
            | Stage::Prelude
            | Stage::Refresh
            | Stage::Refreshing
            | Stage::Finish => return,
        }
        self.settle_on(out);
    }

    /// What stands under the client's own names on the server is closed.
    fn close_names(&mut self, settling: &Settling, out: &mut Output) -> Option<Stage> {
        let (place, buffer) = self.reach(settling.slot, out)?;
        if place.borrowed.is_some() && place.cancel_pending {
            return None;
        }
        if place.close_borrowed(buffer) {
            Some(Stage::Closing)
        } else {
            Some(Stage::ReadBack)
        }
    }

    fn start_reading(&mut self, settling: &Settling, out: &mut Output) -> Option<Stage> {
        let idle = settling.status == TxStatus::Idle;
        self.note_custom_names(settling.slot);
        if idle && !self.settings.overlay.is_empty() {
            self.settings.overlay.clear();
            self.settings.changed();
        }
        if self.deeds.reset_all && !self.deeds.failed && idle {
            self.settings.reset_all();
            self.compare_params = true;
            if let Some(backend) = self
                .place_mut(settling.slot)
                .and_then(|place| place.backend.as_mut())
            {
                backend.was_reset();
            }
        }
        let due =
            self.deeds.unread || (idle && (!self.deeds.touched.is_empty() || self.deeds.anything));
        // Also for a client that is gone: what it has set must be known before another one gets the connection.
        if settling.status == TxStatus::Failed || !due {
            return Some(Stage::Prelude);
        }
        if self
            .place(settling.slot)
            .is_some_and(|place| place.cancel_pending)
        {
            // A cancel request on its way could hit this query; it is sent when the request is done with.
            return None;
        }
        let sql = if self.may_query(idle) {
            self.reading_sql(idle)
        } else {
            self.showing_sql()
        };
        let (place, buffer) = self.reach(settling.slot, out)?;
        place.query(&sql, Purpose::ReadBack, buffer);
        self.deeds.unread = false;
        Some(Stage::Reading)
    }

    /// A query takes the snapshot of the client's block, if it goes on there: from then on its isolation is settled, and
    /// what others commit may not be seen.
    fn may_query(&self, idle: bool) -> bool {
        // A setting with a dot that was touched in vain does not exist, and SHOW of it would fail.
        let unsure =
            self.deeds.ever_failed && self.read_names(false).iter().any(|n| n.contains('.'));
        idle || unsure
            || self.deeds.queried
            || self.deeds.anything
            || (!self.portals_wait()
                && (self.deeds.prelude.is_some() || self.deeds.looked.is_some()))
    }

    /// The settings to be read.
    fn read_names(&self, idle: bool) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = self.deeds.touched.iter().map(String::as_str).collect();
        if !idle {
            names.extend(self.deeds.touched_locally.iter().map(String::as_str));
        }
        if self.deeds.rolled_back_to {
            names.extend(self.settings.overlay.keys().map(String::as_str));
        }
        if self.deeds.anything {
            names.extend(["role", "search_path"]);
        }
        names
    }

    /// As `reading_sql`, without a snapshot. SHOW of a name that does not exist would fail, so where that cannot be ruled
    /// out all are shown.
    fn showing_sql(&mut self) -> String {
        let mut names: Vec<String> = self
            .read_names(false)
            .into_iter()
            .map(str::to_string)
            .collect();
        if names.is_empty() {
            names.push("search_path".to_string());
        }
        let mut sql: Vec<String> = Vec::new();
        let mut shown = VecDeque::new();
        if self.deeds.ever_failed {
            sql.push("SHOW ALL".to_string());
            shown.push_back(Shown::All);
            // The one that is not among all.
            names.retain(|name| name == "role");
        }
        for name in names {
            sql.push(format!("SHOW {}", quote_name(&name)));
            shown.push_back(Shown::One(name));
        }
        if let Some(settling) = self.settling.as_mut() {
            settling.shown = shown;
        }
        sql.join(";")
    }

    /// Rows of (kind, name, value): settings (s) and temporary relations (t).
    fn reading_sql(&self, idle: bool) -> String {
        let names = self.read_names(idle);
        let mut parts: Vec<String> = names
            .iter()
            .map(|name| {
                format!(
                    "SELECT 's', {0}, pg_catalog.current_setting({0}, true)",
                    quote_literal(name)
                )
            })
            .collect();
        if self.deeds.anything {
            parts.push(
                "SELECT 's', name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings WHERE source = 'session'"
                    .to_string(),
            );
            parts.push(
                "SELECT 't', relname::pg_catalog.text, '' FROM pg_catalog.pg_class \
                 WHERE relnamespace = pg_catalog.pg_my_temp_schema()"
                    .to_string(),
            );
        }
        if parts.is_empty() {
            parts.push(
                "SELECT 's', 'search_path', pg_catalog.current_setting('search_path')".to_string(),
            );
        }
        parts.join(" UNION ALL ")
    }

    /// One row of the answer.
    pub(crate) fn read_row(&mut self, body: &[u8]) {
        if self.phase == Phase::Starting {
            self.take_isolation(body);
            return;
        }
        let Ok(row) = data_row(body) else { return };
        let mut fields = row.map(|field| {
            field
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .map(str::to_string)
        });
        let shown = self
            .settling
            .as_ref()
            .and_then(|s| s.shown.front().cloned());
        let (kind, name, value) = match shown {
            Some(Shown::One(name)) => {
                (Some(Some("s".to_string())), Some(Some(name)), fields.next())
            }
            Some(Shown::All) => (Some(Some("s".to_string())), fields.next(), fields.next()),
            None => (fields.next(), fields.next(), fields.next()),
        };
        let (Some(kind), Some(name), Some(value)) = (kind, name, value) else {
            return;
        };
        let (Some(kind), Some(name), Some(settling)) = (kind, name, self.settling.as_mut()) else {
            return;
        };
        if kind == "t" {
            settling.temporary.insert(name);
        } else if let Some(value) = value {
            settling.values.insert(name.to_ascii_lowercase(), value);
        }
    }

    /// One of the SHOWs is answered.
    pub(crate) fn read_tag(&mut self) {
        if let Some(settling) = self.settling.as_mut()
            && settling.shown.pop_front() == Some(Shown::All)
        {
            settling.all_shown = true;
        }
    }

    /// However it was brought about, a setting under which the router would read statements otherwise than the server does
    /// ends the session.
    fn check_values(&self) -> Result<(), PgError> {
        let Some(settling) = &self.settling else {
            return Ok(());
        };
        for name in ["client_encoding", "standard_conforming_strings"] {
            if let Some(value) = settling.values.get(name) {
                check_setting(name, std::slice::from_ref(value))?;
            }
        }
        Ok(())
    }

    fn take_values(&mut self) {
        let Some(settling) = self.settling.as_mut() else {
            return;
        };
        let mut values = std::mem::take(&mut settling.values);
        let temporary = std::mem::take(&mut settling.temporary);
        let (slot, idle) = (settling.slot, settling.status == TxStatus::Idle);
        let all = std::mem::take(&mut settling.all_shown);
        if all {
            let names: HashSet<String> = self
                .read_names(idle)
                .into_iter()
                .map(str::to_string)
                .collect();
            values.retain(|name, _| names.contains(name));
        }
        if self.deeds.anything {
            self.settings.set_temporary(temporary);
        }
        if !idle {
            self.settings.overlay.extend(values);
            self.settings.changed();
            return;
        }
        self.settings.wanted_mut().extend(values.clone());
        self.settings.changed();
        if let Some(backend) = self
            .place_mut(slot)
            .and_then(|place| place.backend.as_mut())
        {
            backend.applied.change(|settings| settings.extend(values));
        }
    }

    /// Custom settings leave a trace on the connection, however they were set.
    fn note_custom_names(&mut self, slot: Slot) {
        let names = self.deeds.touched.iter().chain(&self.deeds.touched_locally);
        let custom: Vec<String> = names.filter(|name| name.contains('.')).cloned().collect();
        if custom.is_empty() {
            return;
        }
        self.settings.custom.extend(custom.iter().cloned());
        if let Some(backend) = self
            .place_mut(slot)
            .and_then(|place| place.backend.as_mut())
        {
            backend.custom_names.extend(custom);
        }
    }

    /// Something is bound on a server that may be run yet, or whose name is taken there.
    fn portals_wait(&self) -> bool {
        self.portals.any(|name, portal| match portal {
            Portal::Remote { ran, .. } => !ran || !name.is_empty(),
            Portal::Spread(_) => true,
            Portal::Local { .. } => false,
        })
    }

    /// A statement of the prelude was tried on home: the transaction is taken back to where it had no shard.
    fn undo_prelude(&mut self, settling: &Settling, out: &mut Output) -> Option<Stage> {
        let looked = self.deeds.looked.take();
        let looked = looked.map(|block| Box::new(Prelude::none(*block)));
        let Some(prelude) = self.deeds.prelude.take().or(looked) else {
            return Some(Stage::Refresh);
        };
        if settling.status == TxStatus::Idle {
            return Some(Stage::Refresh);
        }
        if self
            .place(settling.slot)
            .is_some_and(|place| place.cancel_pending)
        {
            self.deeds.prelude = Some(prelude);
            return None;
        }
        if self.portals_wait() {
            // It stands there, and may be run yet.
            return Some(Stage::Refresh);
        }
        let lost = settling.status == TxStatus::Failed;
        if lost && (prelude.followed || !prelude.before.has_savepoints()) {
            // Nothing but its own savepoints can bring it back to life, so it stays where it failed: the server says so.
            return Some(Stage::Refresh);
        }
        let mut block = if prelude.ran && !lost && !self.deeds.failed {
            prelude.after
        } else {
            prelude.before
        };
        if lost || self.deeds.failed {
            block.failed = true;
        } else if prelude.ran {
            block.touched.append(&mut self.deeds.touched);
            block
                .touched_locally
                .append(&mut self.deeds.touched_locally);
        }
        self.transaction = Transaction::Virtual(block);
        let (place, buffer) = self.reach(settling.slot, out)?;
        place.query("ROLLBACK", Purpose::Finish, buffer);
        Some(Stage::Undoing)
    }

    fn start_refresh(&mut self, status: TxStatus, out: &mut Output) -> Option<Stage> {
        if !self.deeds.ddl || status != TxStatus::Idle || self.client_gone {
            return Some(Stage::Finish);
        }
        out.steps.push(Step::Refresh);
        Some(Stage::Refreshing)
    }

    pub(crate) fn refreshed(&mut self, result: Result<Arc<Snapshot>, PgError>, out: &mut Output) {
        if let Ok(snapshot) = result {
            self.set_newest(snapshot);
        }
        if self.several.is_some() {
            self.several_refreshed(out);
            return;
        }
        if let Some(settling) = self.settling.as_mut()
            && settling.stage == Stage::Refreshing
        {
            settling.stage = Stage::Finish;
            self.settle_on(out);
        }
    }

    fn finish_settling(&mut self, slot: Slot, server_status: TxStatus, out: &mut Output) {
        let status = match &self.transaction {
            Transaction::Joined { .. } => server_status,
            Transaction::None | Transaction::Virtual(_) => self.transaction.status(),
        };
        let server_idle = self
            .place(slot)
            .is_some_and(|place| place.status == TxStatus::Idle);
        if server_status == TxStatus::Idle {
            // What was only prepared has shown the client no row that a replica could lack.
            if self.deeds.ran {
                out.steps.push(Step::Settled {
                    slot,
                    wrote: self.deeds.wrote,
                });
            }
            self.deeds = Deeds::default();
        } else if matches!(self.transaction, Transaction::Virtual(_)) {
            self.deeds = Deeds::default();
        } else {
            self.deeds.failed = false;
            self.deeds.rolled_back_to = false;
        }
        reply::ready(self.speak(out), status);
        let chained = self.batch.chained;
        self.batch.begin_anew();
        self.statements.settle();
        if chained {
            self.chain_unit();
        }
        self.wait = Wait::Nothing;
        self.gather_share = None;
        self.gather_epoch = None;
        self.positions = None;
        self.verified = None;
        self.take_snapshot();
        if self.place(slot).is_some_and(|place| !place.owed_is_empty()) {
            // What was asked behind the client's data.
            self.wait = Wait::Drain(slot);
        } else if server_idle {
            self.release(slot, out);
        }
        if self.transaction.is_none() {
            self.release_spares(out);
        }
        self.end_if_gone(out);
    }

    /// As `tell_params`, without a server: what is in force now is what the client has set, else what it found at login.
    pub(crate) fn tell_own_params(&mut self, out: &mut Output) {
        if !std::mem::take(&mut self.compare_params) {
            return;
        }
        let in_force = |(name, told): (&String, &String)| {
            let set = self.settings.value(&canonical_name(name));
            let value = set.or_else(|| self.greeted.get(name).map(String::as_str))?;
            let differs = value != told && !BY_SERVER.contains(&name.as_str());
            differs.then(|| (name.clone(), value.to_string()))
        };
        let news: Vec<(String, String)> = self.told.iter().filter_map(in_force).collect();
        self.tell(news, out);
    }

    fn tell(&mut self, mut news: Vec<(String, String)>, out: &mut Output) {
        // Postgres 15 reports in the order of its list of settings, which is that of their names without case.
        news.sort_by_cached_key(|(name, _)| canonical_name(name));
        for (name, value) in news {
            reply::parameter_status(self.speak(out), &name, &value);
            Arc::make_mut(&mut self.told).insert(name, value);
        }
    }

    /// ParameterStatus for what differs from what the client knows.
    fn tell_params(&mut self, slot: Slot, out: &mut Output) {
        let changed = self
            .place_mut(slot)
            .is_some_and(|place| std::mem::take(&mut place.params_changed));
        if !changed && !self.compare_params {
            return;
        }
        self.compare_params = false;
        let Some(backend) = self.place(slot).and_then(|place| place.backend.as_ref()) else {
            return;
        };
        let news: Vec<(String, String)> = backend
            .params
            .iter()
            .filter(|(name, value)| {
                !BY_SERVER.contains(&name.as_str()) && self.told.get(*name) != Some(value)
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self.tell(news, out);
    }
}
