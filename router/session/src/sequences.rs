//! `currval` and `lastval`: their answers live on a connection, and the session's connections change.
//!
//! Inside of a transaction block, of one Query, and on a pinned connection the session's statements are on one backend.
//! There the functions answer as in Postgres, once whatever other clients have drawn was discarded; that is done before
//! the session's first statement there that may draw. Elsewhere the answer would be another client's, or none.

use crate::api::{Output, Slot};
use crate::planner::Planned;
use crate::session::Session;
use shardgate_sql::facts::{Command, Statement};
use shardgate_wire::PgError;

impl Session {
    /// Refuses what would show the things of other clients. `drawn`: an earlier statement of the same message may have
    /// drawn from a sequence.
    pub(crate) fn check_own(&self, planned: &Planned, drawn: bool) -> Result<(), PgError> {
        let traits = &planned.compiled.traits;
        if planned.quiet || self.block_is_lost() {
            return Ok(());
        }
        if let Some(view) = &traits.shows_statements {
            return Err(PgError::error("0A000", format!("{view} cannot be read through the router"))
                .detail("A connection holds the prepared statements of many clients, under names of the router's own.")
                .hint("Connect to the shard directly to see them."));
        }
        let Some(reason) = &traits.needs_pin else {
            return Ok(());
        };
        let in_block = self
            .joined_slot()
            .and_then(|slot| self.place(slot))
            .is_some_and(|place| place.own_sequences);
        // It is pinned, or will be when the statement is sent.
        let pinned = self.settings.pin
            || self
                .places
                .iter()
                .flatten()
                .any(|place| place.pinned.is_some());
        if drawn || in_block || pinned {
            return Ok(());
        }
        Err(PgError::error("55000", format!("{reason} needs a connection of the session's own"))
            .detail("Its answer lives on the connection, and the session's connections change.")
            .hint("Use RETURNING, or draw from the sequence in the same transaction block, or SET shardgate.pin = on before the statements that belong together."))
    }

    /// To be called before the statement is sent.
    pub(crate) fn note_sequences(&mut self, slot: Slot, planned: &Planned, out: &mut Output) {
        let traits = &planned.compiled.traits;
        let in_block = !self.transaction.is_none();
        let lost = self.block_is_lost();
        let by_wish = self.settings.pin;
        let Some((place, buffer)) = self.reach(slot, out) else {
            return;
        };
        let stays = in_block || by_wish || place.pinned.is_some();
        if !lost && (traits.needs_pin.is_some() || (traits.draws && stays)) {
            place.claim_sequences(buffer);
        }
        if let Some(backend) = place.backend.as_mut() {
            backend.drawn |= may_draw(planned);
        }
    }
}

/// Not proven not to draw, directly or by what it runs.
fn may_draw(planned: &Planned) -> bool {
    match &planned.facts.statement {
        Statement::Command(
            Command::Copy(_)
            | Command::Fetch { .. }
            | Command::Declare { .. }
            | Command::Execute { .. },
        ) => true,
        Statement::Command(_) | Statement::Empty => false,
        Statement::Query(_)
        | Statement::Explain { .. }
        | Statement::Utility(_)
        | Statement::Unparsed { .. } => !planned.compiled.traits.read_only,
    }
}
