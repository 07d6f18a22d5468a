//! The session's beginning: the start-up settings are tried on home, and the client is told who it talks to.

use crate::api::{Output, Slot, Wanted};
use crate::owed::Purpose;
use crate::planner::{Login, Welcome};
use crate::session::{Phase, Session, Wait};
use crate::settings::canonical_name;
use shardgate_wire::PgError;
use shardgate_wire::backend::{TxStatus, data_row, put};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Session {
    /// Begins: tries the start-up settings on the home shard. ReadyForQuery follows by itself.
    pub fn start(&mut self, out: &mut Output) {
        if let Err(error) = self.take_startup_settings() {
            self.fatal(&error, out);
            return;
        }
        // A client whose like was served before needs no connection until it says something.
        if let Some(welcome) = self.planner.welcome(&self.login()) {
            self.greet(welcome, out);
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
        let all: Vec<(String, String)> =
            self.settings.startup.as_ref().clone().into_iter().collect();
        for (name, value) in all {
            if let Some(own) = name.strip_prefix("shardgate.") {
                Arc::make_mut(&mut self.settings.startup).remove(&name);
                self.settings.wanted_mut().remove(&name);
                self.settings.custom.remove(&name);
                self.set_own(own, Some(&value))?;
            } else {
                crate::commands::check_setting(&name, std::slice::from_ref(&value))?;
            }
        }
        self.settings.changed();
        Ok(())
    }

    /// What a block's isolation is if nothing says it: a server reports no change of it, and roles and databases can have
    /// it set.
    pub(super) fn ask_isolation(&mut self, slot: Slot, out: &mut Output) {
        if let Some((place, buffer)) = self.reach(slot, out) {
            place.query(
                "SHOW default_transaction_isolation",
                Purpose::ReadBack,
                buffer,
            );
        }
    }

    /// The answer.
    pub(crate) fn take_isolation(&mut self, body: &[u8]) {
        let field = data_row(body).ok().and_then(|mut row| row.next().flatten());
        let level = field.and_then(|bytes| std::str::from_utf8(bytes).ok());
        self.isolation = level.map(str::to_string);
    }

    /// Tells the client who it talks to. The start-up settings are in force on the slot's backend.
    pub(crate) fn finish_start(&mut self, slot: Slot, out: &mut Output) {
        let backend = self.place(slot).and_then(|place| place.backend.as_ref());
        let told = Arc::new(backend.map_or_else(BTreeMap::new, |backend| backend.params.clone()));
        let welcome = Welcome {
            told,
            isolation: self.isolation.take(),
        };
        self.planner.note_welcome(self.login(), welcome.clone());
        self.greet(welcome, out);
        self.release(slot, out);
        self.end_if_gone(out);
    }

    fn login(&self) -> Login {
        Login {
            user: self.options.user.clone(),
            database: self.options.database.clone(),
            startup: self.settings.startup.as_ref().clone(),
            epoch: self.snapshot.epoch.id,
        }
    }

    /// Where the default is not Postgres's own, it is as if the client had asked for it at its start: what the session does
    /// depends on it, and the session keeps it, as with Postgres, when the role's is changed.
    fn keep_isolation(&mut self, level: Option<String>) {
        const NAME: &str = "default_transaction_isolation";
        let Some(level) = level else { return };
        if level == "read committed" && !self.settings.startup.contains_key(NAME) {
            return;
        }
        Arc::make_mut(&mut self.settings.startup).insert(NAME.to_string(), level.clone());
        self.settings.wanted_mut().insert(NAME.to_string(), level);
    }

    /// ParameterStatus, BackendKeyData and the first ReadyForQuery.
    fn greet(&mut self, welcome: Welcome, out: &mut Output) {
        let Welcome { told, isolation } = welcome;
        self.keep_isolation(isolation);
        // What RESET goes back to is what became of the start-up values: `ISO` alone would keep another day order.
        for (name, value) in told.as_ref() {
            let name = canonical_name(name);
            if self
                .settings
                .startup
                .get(&name)
                .is_some_and(|own| own != value)
            {
                Arc::make_mut(&mut self.settings.startup).insert(name.clone(), value.clone());
                self.settings.wanted_mut().insert(name, value.clone());
            }
        }
        self.settings.changed();
        let shared = self.planner.shared_settings(&self.settings.startup);
        self.settings.share(&shared);
        let mut all: Vec<(&String, &String)> = told.iter().collect();
        all.sort_by_cached_key(|(name, _)| canonical_name(name));
        for (name, value) in all {
            put::parameter_status(&mut out.client, name, value);
        }
        put::backend_key(&mut out.client, self.options.pid, &self.options.secret);
        put::ready(&mut out.client, TxStatus::Idle);
        self.told = told.clone();
        self.greeted = told;
        self.phase = Phase::Ready;
        self.wait = Wait::Nothing;
    }
}
