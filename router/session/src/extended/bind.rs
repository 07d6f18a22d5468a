//! Bind: the statement's values are known, so its backend is.

use crate::api::{Output, Slot};
use crate::client::Flow;
use crate::commands::Doer;
use crate::extended::held::Held;
use crate::owed::{Entry, Kind};
use crate::planner::Planned;
use crate::provoke::{self, Fault, no_statement};
use crate::route::{Aim, Aimed, Reach};
use crate::session::Session;
use crate::simple::utf8;
use crate::statements::Portal;
use shardgate_plan::{Decision, Param, Route};
use shardgate_wire::PgError;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::{Bind, BindHead, put};
use std::sync::Arc;

impl Session {
    /// `rest`: what the client has sent behind it.
    pub(crate) fn bind(
        &mut self,
        body: &[u8],
        frame: &[u8],
        rest: &[u8],
        out: &mut Output,
    ) -> Flow {
        if self.aimed.as_ref().is_some_and(|aimed| aimed.planned.quiet)
            && let Some(aimed) = self.take_aimed()
            && let Ok(bind) = Bind::parse(body)
        {
            // It was looked at before it had to wait, and nothing that it said can be another now.
            let sent = self.send_bind(&bind, aimed, out);
            return sent.unwrap_or_else(|error| self.bind_fails(&error, out));
        }
        let Ok(head) = BindHead::parse(body) else {
            return self.provoke_by(frame, out);
        };
        let ours = |held: &Held| held.statement().as_ref() == head.statement;
        if !self.batch.held.iter().all(ours) && !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        let bound = match self.check_bind(body, &head) {
            Ok(bind) => self.try_bind(&bind, body, rest, out),
            Err(fault) => Err(fault),
        };
        match bound {
            Ok(flow) => flow,
            Err(Fault::NoStatement | Fault::Text) => {
                self.provoke_unknown(head.statement, frame, out)
            }
            Err(Fault::SecondPortal { ours }) => self.provoke_second(head.portal, ours, out),
            Err(Fault::AsSent) => self.provoke_by(frame, out),
            Err(Fault::OfStatement(statement)) => self.provoke_with(&statement, frame, out),
            Err(Fault::Malformed(error)) => self.bind_fails(&error.to_error(), out),
            Err(Fault::Ours(error) | Fault::Unread(error)) => self.bind_fails(&error, out),
        }
    }

    /// The replies to what was held come before the error.
    fn bind_fails(&mut self, error: &PgError, out: &mut Output) -> Flow {
        if !self.batch.held.is_empty() && !self.send_held(out) {
            self.checkout_error = None;
            return Flow::Later;
        }
        if !self.batch.skipping {
            self.fail(error, out);
        }
        Flow::Consumed
    }

    /// What Postgres checks before it looks at any value: the statement, and the number of parameters, of which it
    /// complains with the statement's name.
    fn check_bind<'a>(&self, body: &'a [u8], head: &BindHead<'_>) -> Result<Bind<'a>, Fault> {
        let Some(statement) = self.statements.get(head.statement) else {
            return Err(Fault::NoStatement);
        };
        let bind = Bind::parse(body);
        let wanted = statement
            .types
            .len()
            .max(usize::from(statement.planned.facts.params));
        let right = match &bind {
            Ok(bind) => usize::from(bind.count()) == wanted || self.block_is_lost(),
            Err(_) => false,
        };
        match bind {
            Ok(bind) if right => Ok(bind),
            Ok(_) | Err(_) if self.may_send(head.statement) => {
                Err(Fault::OfStatement(provoke::Statement {
                    name: statement.name.clone(),
                    text: statement.text.clone(),
                    types: statement.types.clone(),
                }))
            }
            Ok(bind) => {
                let name = String::from_utf8_lossy(head.statement);
                let message = format!(
                    "bind message supplies {} parameters, but prepared statement \"{name}\" requires {wanted}",
                    bind.count()
                );
                Err(Fault::Ours(PgError::error("08P01", message)))
            }
            Err(error) => Err(Fault::Malformed(error)),
        }
    }

    fn try_bind(
        &mut self,
        bind: &Bind<'_>,
        body: &[u8],
        rest: &[u8],
        out: &mut Output,
    ) -> Result<Flow, Fault> {
        let planned = self
            .current_plan(bind.statement)
            .ok_or_else(|| no_statement(bind.statement))?;
        let doer = self.doer_in_pipeline(&planned)?;
        if self.batch.path_changed && doer == Doer::Planned && self.snapshot.shards.len() > 1 {
            let error = PgError::error(
                "0A000",
                "search_path or role was changed in the same pipeline",
            );
            return Err(Fault::Ours(error.hint("Send Sync behind the SET.")));
        }
        if matches!(doer, Doer::Router | Doer::Reset) {
            // What it was parsed as, before its name stood for something, may still be held.
            if !self.send_held(out) {
                return Ok(Flow::Later);
            }
            let params = match planned.facts.params {
                0 => Vec::new(),
                1.. => texts_of(bind)?,
            };
            self.refuse_second(bind.portal, true)?;
            let text = self.statement_text(bind.statement);
            let portal = Portal::Local {
                text,
                planned,
                params,
                done: false,
            };
            self.portals.insert(bind.portal, portal);
            self.made(reply::bind_complete, out);
            return Ok(Flow::Consumed);
        }
        if self.batch.schema_changed && doer == Doer::Planned && self.mentions_spread(&planned) {
            return Err(Fault::Ours(crate::simple::schema_in_doubt()));
        }
        self.refuse_second(bind.portal, false)?;
        self.check_own(&planned, false)?;
        let aim = match self.take_aimed() {
            Some(aimed) => aimed.aim,
            None => {
                let decision = match &planned.compiled.route {
                    Route::Keyed(_) | Route::Spread(..) => {
                        let params = params_of(bind);
                        planned.compiled.decide(&params, &self.snapshot)
                    }
                    // Nothing else looks at the values.
                    Route::Home
                    | Route::Any
                    | Route::One(_)
                    | Route::AllShards
                    | Route::Gather(..)
                    | Route::Call(_)
                    | Route::Refused(_) => planned.compiled.decide(&[], &self.snapshot),
                };
                if let Some(spread) = self.as_spread(&planned, doer, &decision) {
                    return Ok(self.bind_spread(bind, body, &planned, spread, out)?);
                }
                if let Decision::Gather(gather, _) = &decision
                    && self.may_gather(&planned, doer)
                {
                    return Ok(self.bind_gathered(bind, &planned, gather, out)?);
                }
                self.aim_bind(&planned, doer, decision, bind, rest)?
            }
        };
        if matches!(doer, Doer::Prelude | Doer::Look) {
            let slot = match self.find(aim, out) {
                Reach::Ready(slot) => slot,
                Reach::Later => {
                    self.aimed = Some(Aimed { planned, aim });
                    return Ok(Flow::Later);
                }
                Reach::Failed(error) => return Err(Fault::Ours(error)),
            };
            let text = self.statement_text(bind.statement);
            self.keep_prelude(&text, &planned, doer)?;
            return Ok(self.send_bind_to(slot, bind, planned, out)?);
        }
        Ok(self.send_bind(bind, Aimed { planned, aim }, out)?)
    }

    fn send_bind(
        &mut self,
        bind: &Bind<'_>,
        aimed: Aimed,
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        match self.find(aimed.aim, out) {
            Reach::Ready(slot) => self.send_bind_to(slot, bind, aimed.planned, out),
            Reach::Later => {
                self.aimed = Some(aimed);
                Ok(Flow::Later)
            }
            Reach::Failed(error) => Err(error),
        }
    }

    fn send_bind_to(
        &mut self,
        slot: Slot,
        bind: &Bind<'_>,
        planned: Arc<Planned>,
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        self.open(slot, out);
        self.use_slot(slot);
        if !self.send_held_to(slot, out) || !self.confirm(slot, bind.statement, out)? {
            return Ok(Flow::Later);
        }
        self.put_bind(slot, bind, out);
        self.portals.insert(
            bind.portal,
            Portal::Remote {
                planned,
                ran: false,
            },
        );
        Ok(Flow::Consumed)
    }

    fn aim_bind(
        &self,
        planned: &Planned,
        doer: Doer,
        decision: Decision,
        bind: &Bind<'_>,
        rest: &[u8],
    ) -> Result<Aim, PgError> {
        let mut aim = self.aim_as(
            planned,
            doer,
            || decision,
            || planned.compiled.moving(&params_of(bind), &self.snapshot),
        )?;
        if self.transaction.is_none() && !executes_and_syncs(rest) {
            // More may follow in the same implicit transaction, so the server must be one that can do anything.
            aim.replica_safe = false;
        }
        Ok(aim)
    }

    /// A server knows of its own portals only. `locally`: it will be told of none.
    fn refuse_second(&self, portal: &[u8], locally: bool) -> Result<(), Fault> {
        match self.portals.get(portal).filter(|_| !portal.is_empty()) {
            Some(Portal::Local { .. }) => Err(Fault::SecondPortal { ours: true }),
            Some(Portal::Remote { .. } | Portal::Spread(_)) if locally => {
                Err(Fault::SecondPortal { ours: false })
            }
            Some(Portal::Remote { .. } | Portal::Spread(_)) | None => Ok(()),
        }
    }

    pub(crate) fn put_bind(&mut self, slot: Slot, bind: &Bind<'_>, out: &mut Output) {
        let name = self.backend_name(slot, bind.statement, out);
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::bind_with(buffer, bind.portal, name.as_bytes(), bind.rest);
            place.push(Entry::client(Kind::Bind));
            place.unsynced = true;
        }
    }
}

/// The values for a function of the router's.
fn texts_of(bind: &Bind<'_>) -> Result<Vec<Option<String>>, PgError> {
    bind.params()
        .map(|param| {
            param
                .value
                .map(|value| utf8(value).map(str::to_string))
                .transpose()
        })
        .collect()
}

fn params_of<'a>(bind: &Bind<'a>) -> Vec<Param<'a>> {
    bind.params()
        .map(|param| Param {
            binary: param.binary,
            value: param.value,
        })
        .collect()
}

/// Whether the messages behind a Bind are [Describe] Execute Sync: the statement is alone in its implicit transaction.
fn executes_and_syncs(rest: &[u8]) -> bool {
    let mut executed = false;
    let mut rest = rest;
    loop {
        let (Some(tag), Some(length)) = (rest.first(), rest.get(1..5)) else {
            return false;
        };
        let Ok(length) = <[u8; 4]>::try_from(length) else {
            return false;
        };
        let Ok(length) = usize::try_from(u32::from_be_bytes(length)) else {
            return false;
        };
        match tag {
            b'D' if !executed => {}
            b'E' if !executed => executed = true,
            b'C' if executed => {}
            b'S' => return executed,
            _ => return false,
        }
        match rest.get(length.saturating_add(1)..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
}
