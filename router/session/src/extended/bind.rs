//! Bind: the statement's values are known, so its backend is.

use crate::api::{Output, Slot};
use crate::client::Flow;
use crate::commands::Doer;
use crate::extended::held::Held;
use crate::extended::no_statement;
use crate::owed::{Entry, Kind};
use crate::planner::Planned;
use crate::route::{Aim, Aimed, Reach};
use crate::session::Session;
use crate::simple::utf8;
use crate::statements::Portal;
use bytes::Bytes;
use shardgate_plan::Param;
use shardgate_wire::PgError;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::{Bind, put};

impl Session {
    pub(crate) fn bind(&mut self, body: &[u8], rest: &[u8], out: &mut Output) -> Flow {
        let bind = match Bind::parse(body) {
            Ok(bind) => bind,
            Err(error) => return self.malformed(&error, out),
        };
        let ours = |held: &Held| held.statement().as_ref() == bind.statement;
        if !self.batch.held.iter().all(ours) && !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        match self.try_bind(&bind, rest, out) {
            Ok(flow) => flow,
            Err(error) => {
                // The replies to what was held come before the error.
                if !self.batch.held.is_empty() && !self.send_held(out) {
                    self.checkout_error = None;
                    return Flow::Later;
                }
                if !self.batch.skipping {
                    self.fail(&error, out);
                }
                Flow::Consumed
            }
        }
    }

    fn try_bind(
        &mut self,
        bind: &Bind<'_>,
        rest: &[u8],
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        let Some(planned) = self.current_plan(bind.statement) else {
            return Err(no_statement(bind.statement));
        };
        self.refuse_if_failed(&planned)?;
        let in_pipeline = self.batch.slot.is_some() && self.batch.executed;
        let doer = self.doer(&planned, in_pipeline)?;
        if self.batch.path_changed && doer == Doer::Planned && self.snapshot.shards.len() > 1 {
            return Err(PgError::error(
                "0A000",
                "search_path or role was changed in the same pipeline",
            )
            .hint("Send Sync behind the SET."));
        }
        if doer == Doer::Router {
            let params = bind
                .params()
                .map(|param| {
                    param
                        .value
                        .map(|value| utf8(value).map(str::to_string))
                        .transpose()
                })
                .collect::<Result<Vec<_>, _>>()?;
            let text = self.statement_text(bind.statement);
            let portal = Portal::Local {
                text,
                planned,
                params,
                done: false,
            };
            self.portals
                .insert(Bytes::copy_from_slice(bind.portal), portal);
            self.made(reply::bind_complete, out);
            return Ok(Flow::Consumed);
        }
        if self.batch.schema_changed && doer == Doer::Planned && self.mentions_spread(&planned) {
            return Err(crate::simple::schema_in_doubt());
        }
        let aim = match self.take_aimed() {
            Some(aimed) => aimed.aim,
            None => self.aim_bind(&planned, doer, bind, rest)?,
        };
        let slot = match self.find(aim, out) {
            Reach::Ready(slot) => slot,
            Reach::Later => {
                self.aimed = Some(Aimed { planned, aim });
                return Ok(Flow::Later);
            }
            Reach::Failed(error) => return Err(error),
        };
        if matches!(doer, Doer::Prelude | Doer::Look) {
            let text = self.statement_text(bind.statement);
            self.keep_prelude(&text, &planned, doer)?;
        }
        self.open(slot, out);
        self.use_slot(slot);
        if !self.send_held_to(slot, out) || !self.confirm(slot, bind.statement, out)? {
            return Ok(Flow::Later);
        }
        self.put_bind(slot, bind, out);
        self.portals.insert(
            Bytes::copy_from_slice(bind.portal),
            Portal::Remote { planned },
        );
        Ok(Flow::Consumed)
    }

    fn aim_bind(
        &self,
        planned: &Planned,
        doer: Doer,
        bind: &Bind<'_>,
        rest: &[u8],
    ) -> Result<Aim, PgError> {
        let params: Vec<Param<'_>> = bind
            .params()
            .map(|param| Param {
                binary: param.binary,
                value: param.value,
            })
            .collect();
        let mut aim = self.aim(planned, doer, &params)?;
        if self.transaction.is_none() && !executes_and_syncs(rest) {
            // More may follow in the same implicit transaction, so the server must be one that can do anything.
            aim.replica_safe = false;
        }
        Ok(aim)
    }

    fn put_bind(&mut self, slot: Slot, bind: &Bind<'_>, out: &mut Output) {
        let name = self.backend_name(slot, bind.statement, out);
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::bind_with(buffer, bind.portal, name.as_bytes(), bind.rest);
            place.push(Entry::client(Kind::Bind));
            place.unsynced = true;
        }
    }
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
