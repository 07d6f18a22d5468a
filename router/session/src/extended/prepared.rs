//! A client's prepared statement on a backend: parsed there when it is first needed, under the settings of the client's
//! own Parse, and compared with what the client was told when the schema may have changed since.

use crate::api::{Output, Slot};
use crate::extended::held::Held;
use crate::extended::router_name;
use crate::owed::{Entry, Kind, Purpose};
use crate::session::{Session, Wait};
use crate::statements::Shape;
use bytes::BytesMut;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::put;
use shardgate_wire::{PgError, TxStatus};
use std::sync::Arc;

impl Session {
    /// The name under which the statement stands on the slot's backend, with a Parse sent first if it does not yet.
    pub(super) fn backend_name(&mut self, slot: Slot, name: &[u8], out: &mut Output) -> String {
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
    ) -> Option<String> {
        let statement = self.statements.get(name)?.clone();
        let epoch = self.snapshot.epoch.id;
        let origin = |kind: Kind| match held {
            Some(_) => Entry::client(kind)
                .named(statement.name.clone())
                .of(statement.id),
            None => Entry::router(kind, Purpose::Parse)
                .named(statement.name.clone())
                .of(statement.id),
        };
        let max = self.options.common.backend_prepared_max;
        // A failed block refuses the settings too, which would be no error of the client's; it refuses the statement anyway.
        let differs = !statement.planned.facts.literal_free
            && statement.settings != self.settings.parse_hash()
            && !self.block_is_lost();
        let in_force = if differs {
            self.settings.in_force()
        } else {
            Arc::default()
        };
        // A failed block refuses the Parse, and a block with a snapshot of its own takes it there: no made reply then.
        let must_send = held.is_some()
            && (self.has_old_snapshot()
                || self
                    .place(slot)
                    .is_some_and(|place| place.status == TxStatus::Failed));
        let (place, buffer) = self.reach(slot, out)?;
        if statement.name.is_empty() {
            if held.is_none() && place.unnamed == Some(statement.id) {
                return Some(String::new());
            }
            if differs {
                place.execute(
                    &crate::settings::set_all(&in_force, &statement.set),
                    &Purpose::Prelude,
                    buffer,
                );
            }
            put::parse(buffer, b"", statement.text.as_bytes(), &statement.types);
            place.push(origin(Kind::Parse));
            place.unsynced = true;
            if differs {
                // The settings go back through a named statement, so that the unnamed one stays.
                place.execute_named(
                    &crate::settings::set_all(&statement.set, &in_force),
                    &Purpose::Prelude,
                    buffer,
                );
            }
            place.unnamed = Some(statement.id);
            return Some(String::new());
        }
        let key = statement.key(epoch);
        let backend = place.backend.as_mut()?;
        if let Some(number) = backend.prepared.get(&key).copied().filter(|_| !must_send) {
            if held.is_some() {
                // The server has the very same statement: it would say the same again.
                let mut bytes = BytesMut::new();
                reply::parse_complete(&mut bytes);
                if let Some(bytes) = backend
                    .owed
                    .push_made(bytes.freeze(), Some(statement.name.clone()))
                {
                    self.say_made(&bytes, out);
                }
            }
            return Some(router_name(number));
        }
        let number = backend.remember(key, max, buffer);
        if differs {
            place.execute(
                &crate::settings::set_all(&in_force, &statement.set),
                &Purpose::Prelude,
                buffer,
            );
        }
        put::parse(
            buffer,
            router_name(number).as_bytes(),
            statement.text.as_bytes(),
            &statement.types,
        );
        place.push(origin(Kind::Parse).number(number));
        if differs {
            place.execute(
                &crate::settings::set_all(&statement.set, &in_force),
                &Purpose::Prelude,
                buffer,
            );
        }
        place.unsynced = true;
        Some(router_name(number))
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
        let Some(backend_name) = self.ensure_parsed(slot, name, None, out) else {
            return Ok(true);
        };
        self.verified = Some(Shape::default());
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::describe(buffer, b'S', backend_name.as_bytes());
            put::flush(buffer);
            place.push(Entry::router(Kind::DescribeStatement, Purpose::Verify));
            place.unsynced = true;
        }
        self.wait = Wait::Drain(slot);
        Ok(false)
    }
}
