//! The session's backends: asking for them, preparing them, giving them back, losing them.

use crate::api::{Output, SLOTS_MAX, Slot, Step, Wanted};
use crate::backend::Backend;
use crate::owed::Purpose;
use crate::place::Place;
use crate::session::{Phase, Session, Wait};
use crate::transaction::Transaction;
use bytes::BytesMut;
use shardgate_shard_map::ShardId;
use shardgate_wire::PgError;
use shardgate_wire::backend::TxStatus;

const LOST: &str = "the server closed the connection unexpectedly";

/// As `Session::reach`, for who needs other parts of the session beside it.
pub(crate) fn reach_among<'a>(
    places: &'a mut [Option<Place>],
    slot: Slot,
    out: &'a mut Output,
) -> Option<(&'a mut Place, &'a mut BytesMut)> {
    let index = usize::from(slot.0);
    let place = places.get_mut(index)?.as_mut()?;
    if out.backends.len() <= index {
        out.backends.resize_with(index + 1, BytesMut::new);
    }
    Some((place, out.backends.get_mut(index)?))
}

impl Session {
    pub(crate) fn place(&self, slot: Slot) -> Option<&Place> {
        self.places.get(usize::from(slot.0))?.as_ref()
    }

    pub(crate) fn place_mut(&mut self, slot: Slot) -> Option<&mut Place> {
        self.places.get_mut(usize::from(slot.0))?.as_mut()
    }

    pub(crate) fn joined_slot(&self) -> Option<Slot> {
        match self.transaction {
            Transaction::Joined { slot, .. } => Some(slot),
            Transaction::None | Transaction::Virtual(_) => None,
        }
    }

    /// The place and the buffer to its backend.
    pub(crate) fn reach<'a>(
        &'a mut self,
        slot: Slot,
        out: &'a mut Output,
    ) -> Option<(&'a mut Place, &'a mut BytesMut)> {
        reach_among(&mut self.places, slot, out)
    }

    /// A place on the shard's primary for work outside of a transaction: the session's own connection, where it is pinned
    /// to one, since a pool that is small may have no other. The flag: it is attached already, else it is to be asked for.
    ///
    /// # Errors
    /// Too many places, or its own connection cannot be used yet.
    pub(crate) fn work_place(&mut self, shard: ShardId) -> Result<(Slot, bool), PgError> {
        let own = |place: &Place| {
            place.shard == shard && place.pinned.is_some() && !place.is_standby() && !place.fatal
        };
        let found = self
            .places
            .iter()
            .position(|place| place.as_ref().is_some_and(own));
        let Some(slot) = found.and_then(|index| u8::try_from(index).ok()).map(Slot) else {
            return Ok((self.free_place(shard)?, false));
        };
        if self.place(slot).is_some_and(Place::is_quiet) {
            return Ok((slot, true));
        }
        Err(
            PgError::error("55006", "the session's own connection is still in use")
                .detail("The session is pinned to it, and a cancel request is on its way there.")
                .hint("Try again."),
        )
    }

    /// Nothing of such work is left in the place.
    pub(crate) fn is_given_back(&self, slot: Slot) -> bool {
        self.place(slot)
            .is_none_or(|place| place.pinned.is_some() && place.is_quiet())
    }

    /// Ends work in a place: it goes back to the pool, stays if it is pinned, and is closed if it is in doubt.
    pub(crate) fn leave_place(&mut self, slot: Slot, out: &mut Output) {
        match self.place_mut(slot) {
            Some(place) if place.is_quiet() && place.pinned.is_some() => place.prepared = false,
            Some(place) if place.is_quiet() => self.release(slot, out),
            Some(_) => self.close_place(slot, out),
            None => {}
        }
    }

    /// Asks for a backend in a free slot.
    pub(crate) fn new_place(
        &mut self,
        shard: ShardId,
        wanted: Wanted,
        out: &mut Output,
    ) -> Result<Slot, PgError> {
        let slot = self.free_place(shard)?;
        out.steps.push(Step::Checkout {
            slot,
            shard,
            wanted,
        });
        Ok(slot)
    }

    /// A slot for a backend of the shard, which is to be asked for.
    fn free_place(&mut self, shard: ShardId) -> Result<Slot, PgError> {
        let index = match self.places.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                // Most sessions never have more than one or two.
                self.places.reserve_exact(1);
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
        Ok(slot)
    }

    pub(super) fn attached(&mut self, slot: Slot, backend: Box<Backend>, out: &mut Output) {
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
            self.ask_isolation(slot, out);
            self.wait = Wait::Drain(slot);
        } else if self.several.is_some() {
            self.several_attached(slot, out);
        } else if self.spreading.is_some() {
            self.spread_attached(slot, out);
        } else if self.gathering.is_some() {
            self.gather_attached(slot, out);
        }
        self.end_if_gone(out);
    }

    pub(super) fn checkout_failed(&mut self, slot: Slot, error: PgError, out: &mut Output) {
        self.vacate(slot);
        if self.phase == Phase::Starting {
            self.fatal(&error, out);
            return;
        }
        if self.several.is_some() {
            self.several_failed(error, out);
            return;
        }
        if self.spreading.is_some() {
            self.spread_unattached(slot, error, out);
            return;
        }
        if self.gathering.is_some() {
            self.gather_unattached(slot, error, out);
            return;
        }
        if self.wait == Wait::Checkout(slot) {
            self.wait = Wait::Nothing;
            self.checkout_error = Some(error);
        }
        self.end_if_gone(out);
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

    pub(super) fn backend_lost(&mut self, slot: Slot, out: &mut Output) {
        let Some(place) = self.place(slot) else {
            return;
        };
        let half_frame = place.passing > 0;
        let told_fatal = place.fatal;
        let needed = !place.owed_is_empty()
            || place.pinned.is_some()
            || place.unsynced
            || place.status != TxStatus::Idle
            || self.settles_on(slot);
        if self.several_lost(slot, LOST, out)
            || self.spread_lost(slot, LOST, out)
            || self.gather_lost(slot, LOST, out)
        {
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
}
