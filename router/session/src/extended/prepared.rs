//! A client's prepared statement on a backend: parsed there when it is first needed, under the settings of the client's
//! own Parse, and compared with what the client was told when the schema may have changed since.

use crate::api::{Output, Slot};
use crate::extended::held::Held;
use crate::extended::{BackendName, router_name};
use crate::owed::{Entry, Kind, Purpose};
use crate::session::places::reach_among;
use crate::session::{Session, Wait};
use crate::statements::{Shape, Statement};
use bytes::BytesMut;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::put;
use shardgate_wire::{PgError, TxStatus};

/// How a statement is to be parsed.
struct WantedParse {
    /// SQL that puts the settings of the client's own Parse in force, and SQL that takes them back.
    settings: Option<(String, String)>,
    /// The server is asked although it has the statement.
    must_send: bool,
}

impl Session {
    /// The name under which the statement stands on the slot's backend, with a Parse sent first if it does not yet.
    pub(super) fn backend_name(
        &mut self,
        slot: Slot,
        name: &[u8],
        out: &mut Output,
    ) -> BackendName {
        self.ensure_parsed(slot, name, None, out)
            .unwrap_or_default()
    }

    /// Sends a Parse if the backend does not have the statement. `held`: the reply is the client's.
    /// None: there is no such statement.
    pub(super) fn ensure_parsed(
        &mut self,
        slot: Slot,
        name: &[u8],
        held: Option<&Held>,
        out: &mut Output,
    ) -> Option<BackendName> {
        let wanted = self.wanted_parse(slot, name, held)?;
        let statement = self.statements.get(name)?;
        let (place, buffer) = reach_among(&mut self.places, slot, out)?;
        let entry = match held {
            Some(held) => Entry::client(Kind::Parse).changing(held.change()),
            None => Entry::router(Kind::Parse, Purpose::Parse),
        };
        let entry = entry.named(statement.name.clone()).of(statement.id);
        if statement.name.is_empty() {
            if held.is_none() && place.unnamed == Some(statement.id) {
                return Some(BackendName::default());
            }
            if let Some((there, back)) = &wanted.settings {
                place.execute(there, &Purpose::Prelude, buffer);
                put::parse(buffer, b"", statement.text.as_bytes(), &statement.types);
                place.push(entry);
                // The settings go back through a named statement, so that the unnamed one stays.
                place.execute_named(back, &Purpose::Prelude, buffer);
            } else {
                put::parse(buffer, b"", statement.text.as_bytes(), &statement.types);
                place.push(entry);
            }
            place.unsynced = true;
            place.unnamed = Some(statement.id);
            return Some(BackendName::default());
        }
        let key = statement.key(self.snapshot.epoch.id);
        let backend = place.backend.as_mut()?;
        if !wanted.must_send
            && let Some(number) = backend.prepared.get(&key).copied()
        {
            if let Some(held) = held {
                // The server has the very same statement: it would say the same again.
                let mut bytes = BytesMut::new();
                reply::parse_complete(&mut bytes);
                let made = backend.owed.push_made(bytes.freeze(), held.change());
                if let Some(bytes) = made {
                    self.say_made(&bytes, out);
                }
            }
            return Some(router_name(number));
        }
        let max = self.options.common.backend_prepared_max;
        let number = backend.remember(key, max, buffer);
        let router_name = router_name(number);
        if let Some((there, _)) = &wanted.settings {
            place.execute(there, &Purpose::Prelude, buffer);
        }
        put::parse(
            buffer,
            router_name.as_bytes(),
            statement.text.as_bytes(),
            &statement.types,
        );
        place.push(entry.number(number));
        if let Some((_, back)) = &wanted.settings {
            place.execute(back, &Purpose::Prelude, buffer);
        }
        place.unsynced = true;
        Some(router_name)
    }

    /// How the statement would be parsed on the slot's backend. None: there is no such statement.
    fn wanted_parse(&self, slot: Slot, name: &[u8], held: Option<&Held>) -> Option<WantedParse> {
        let statement = self.statements.get(name)?;
        // A failed block refuses the settings too, which would be no error of the client's; it refuses the statement anyway.
        // A server that is to know which result the client was told has to look up the names as they were then.
        let differs = (self.reads_otherwise(statement) || self.names_otherwise(statement))
            && !self.block_is_lost();
        let settings = differs.then(|| {
            let in_force = self.settings.in_force();
            (
                crate::settings::set_all(&in_force, &statement.set),
                crate::settings::set_all(&statement.set, &in_force),
            )
        });
        // A failed block refuses the Parse, and a block with a snapshot of its own takes it there: no made reply then.
        let must_send = held.is_some()
            && (self.has_old_snapshot()
                || self
                    .place(slot)
                    .is_some_and(|place| place.status == TxStatus::Failed));
        Some(WantedParse {
            settings,
            must_send,
        })
    }

    /// The text may mean something else than when the client had it parsed: constants are read by the settings then in
    /// force, and where there are none `= NULL` still is.
    pub(crate) fn reads_otherwise(&self, statement: &Statement) -> bool {
        const NULLS: &str = "transform_null_equals";
        statement.settings != self.settings.parse_hash()
            && (!statement.planned.facts.literal_free
                || statement.set.get(NULLS).map(String::as_str) != self.settings.value(NULLS))
    }

    /// Names in the text may mean other things than when the client had it parsed.
    pub(crate) fn names_otherwise(&self, statement: &Statement) -> bool {
        let differs =
            |name: &&str| statement.set.get(*name).map(String::as_str) != self.settings.value(name);
        ["search_path", "role"].iter().any(differs)
    }

    /// As `confirm`, for a statement that is run by another text than its own: where its names may mean other things now,
    /// the server is asked, and says itself if the result is another one.
    pub(crate) fn confirm_names(
        &mut self,
        slot: Slot,
        name: &[u8],
        out: &mut Output,
    ) -> Result<bool, PgError> {
        if let Some(statement) = self.statements.get(name)
            && self.names_otherwise(statement)
        {
            if self.verified.take().is_some() {
                return Ok(true);
            }
            return Ok(self.ask_shape(slot, name, out));
        }
        Ok(true)
    }

    /// Sees that the statement's parameters and result still have the shape that the client was told, after the schema
    /// may have changed. Ok(false): an answer is awaited.
    pub(crate) fn confirm(
        &mut self,
        slot: Slot,
        name: &[u8],
        out: &mut Output,
    ) -> Result<bool, PgError> {
        let epoch = self.snapshot.epoch.id;
        let Some(statement) = self.statements.get(name) else {
            return Ok(true);
        };
        let Some(told) = statement.told.clone() else {
            return Ok(true);
        };
        if statement.confirmed == Some(epoch) {
            return Ok(true);
        }
        if let Some(shape) = self.verified.take() {
            if !shape.means(&told) {
                return Err(PgError::error("0A000", "cached plan must not change result type")
                    .hint("The schema was changed since the statement was prepared; prepare it again."));
            }
            if let Some(statement) = self.statements.get_mut(name) {
                statement.confirmed = Some(epoch);
            }
            return Ok(true);
        }
        Ok(self.ask_shape(slot, name, out))
    }

    /// Asks the server for the statement's shape. False: its answer is awaited.
    fn ask_shape(&mut self, slot: Slot, name: &[u8], out: &mut Output) -> bool {
        let Some(backend_name) = self.ensure_parsed(slot, name, None, out) else {
            return true;
        };
        self.verified = Some(Shape::default());
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::describe(buffer, b'S', backend_name.as_bytes());
            put::flush(buffer);
            place.push(Entry::router(Kind::DescribeStatement, Purpose::Verify));
            place.unsynced = true;
        }
        self.wait = Wait::Drain(slot);
        false
    }
}
