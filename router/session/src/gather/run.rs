//! The statement over gathered rows on home: from here on it is an ordinary statement there.

use super::{GatheredRows, Positions, Ready};
use crate::api::{Output, Slot};
use crate::client::Flow;
use crate::commands::Doer;
use crate::owed::{Entry, Kind, Purpose};
use crate::planner::Planned;
use crate::route::{Aim, Reach};
use crate::session::{Session, Wait};
use crate::statements::Portal;
use shardgate_merge::{Rows, array_bytes, put_array};
use shardgate_plan::{Decision, Gather, Moving, Param};
use shardgate_wire::PgError;
use shardgate_wire::frontend::{Appended, Bind, put};
use std::sync::Arc;

impl Session {
    /// What is to be gathered for the statement; None: it goes another way, or is refused as it would be without gathering.
    pub(crate) fn to_gather(
        &self,
        planned: &Planned,
        doer: Doer,
        params: &[Param<'_>],
    ) -> Option<Arc<Gather>> {
        if !self.may_gather(planned, doer) {
            return None;
        }
        match planned.compiled.decide(params, &self.snapshot) {
            Decision::Gather(gather, _) => Some(gather),
            Decision::Shard(_)
            | Decision::Any
            | Decision::AllShards
            | Decision::Call(_)
            | Decision::Refused(_) => None,
        }
    }

    /// Rows can be gathered for the statement here, if it is decided so.
    pub(crate) fn may_gather(&self, planned: &Planned, doer: Doer) -> bool {
        let by_hand = self.settings.shard.is_some()
            || planned
                .facts
                .hint
                .as_ref()
                .is_some_and(|hint| hint.shard.is_some());
        let alone = self.transaction.is_none() && !self.batch.executed;
        doer == Doer::Planned && !by_hand && alone
    }

    /// A simple Query of one statement.
    pub(crate) fn query_gathered(
        &mut self,
        planned: &Arc<Planned>,
        gather: &Arc<Gather>,
        frame: &[u8],
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        let whole = frame
            .get(5..)
            .and_then(|body| std::str::from_utf8(body.strip_suffix(&[0])?).ok())
            .unwrap_or_default();
        let Some((slot, rows)) = self.rows_at_home(gather, planned.compiled.concerns, out)? else {
            return Ok(Flow::Later);
        };
        self.open(slot, out);
        self.use_slot(slot);
        let Some(rows) = self.fitting(slot, rows, out)? else {
            return Ok(Flow::Later);
        };
        self.note(slot, planned, out);
        self.statements.remove(b"");
        self.put_gathered(slot, rows, (b"", None, &[]), out)?;
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::describe(buffer, b'P', b"");
            place.push(Entry::client(Kind::DescribePortal).gathered());
            put::execute(buffer, b"", 0);
            place.push(Entry::client(Kind::Execute { limited: false }));
            put::sync(buffer);
            place.push(Entry::client(Kind::Sync));
            place.pin_pending = false;
            place.unsynced = false;
        }
        self.positions = Some(Box::new(Positions {
            gather: gather.clone(),
            text: Arc::from(whole),
            piece: planned.piece.clone(),
        }));
        self.batch.slot = Some(slot);
        self.batch.synced = true;
        self.wait = Wait::Reply(slot);
        Ok(Flow::Consumed)
    }

    /// A Bind: the portal stands on home afterwards, as that of any other statement there.
    pub(crate) fn bind_gathered(
        &mut self,
        bind: &Bind<'_>,
        planned: &Arc<Planned>,
        gather: &Arc<Gather>,
        out: &mut Output,
    ) -> Result<Flow, PgError> {
        let Some(statement) = self.statements.get(bind.statement).cloned() else {
            return Err(crate::provoke::no_statement(bind.statement));
        };
        let differs =
            !planned.facts.literal_free && statement.settings != self.settings.parse_hash();
        if differs {
            return Err(PgError::error(
                "0A000",
                "settings were changed since the statement was prepared",
            )
            .detail("Its tables are not bound to one shard, and its text is read anew over their rows, under other settings than before.")
            .hint("Prepare the statement again."));
        }
        if let Some(Err(error)) = self.gathered.as_deref() {
            // A held Parse is dropped with it: home might have to wait for the very lock that was waited for in vain, and a
            // client that was not told of the statement knows of none.
            let error = error.clone();
            self.gathered = None;
            self.fail(&error, out);
            return Ok(Flow::Consumed);
        }
        let Some((slot, rows)) = self.rows_at_home(gather, planned.compiled.concerns, out)? else {
            return Ok(Flow::Later);
        };
        self.open(slot, out);
        self.use_slot(slot);
        if !self.send_held_to(slot, out) || !self.confirm(slot, bind.statement, out)? {
            self.gathered = Some(Box::new(Ok(rows)));
            return Ok(Flow::Later);
        }
        let Some(rows) = self.fitting(slot, rows, out)? else {
            return Ok(Flow::Later);
        };
        let types = statement.types.clone();
        self.put_gathered(slot, rows, (bind.portal, Some(bind), &types), out)?;
        self.positions = Some(Box::new(Positions {
            gather: gather.clone(),
            text: statement.text.clone(),
            piece: statement.planned.piece.clone(),
        }));
        let portal = Portal::Remote {
            planned: planned.clone(),
            ran: false,
        };
        self.portals.insert(bind.portal, portal);
        Ok(Flow::Consumed)
    }

    /// The rows, and home's connection. None: one of them is awaited.
    fn rows_at_home(
        &mut self,
        gather: &Arc<Gather>,
        moving: Moving,
        out: &mut Output,
    ) -> Result<Option<(Slot, GatheredRows)>, PgError> {
        let rows = match self.rows_of(gather, moving, out)? {
            Ready::Rows(rows) => rows,
            Ready::Later => return Ok(None),
        };
        let aim = Aim {
            shard: Some(self.snapshot.home),
            ..Aim::anywhere()
        };
        match self.find(aim, out) {
            Reach::Ready(slot) => Ok(Some((slot, rows))),
            Reach::Later => {
                self.gathered = Some(Box::new(Ok(rows)));
                Ok(None)
            }
            Reach::Failed(error) => Err(error),
        }
    }

    /// Sends Parse and Bind of the text over the rows. `client`: the portal's name, the client's own Bind, and the types
    /// that it has declared.
    fn put_gathered(
        &mut self,
        slot: Slot,
        rows: GatheredRows,
        client: (&[u8], Option<&Bind<'_>>, &[u32]),
        out: &mut Output,
    ) -> Result<(), PgError> {
        let (portal, bind, types) = client;
        let count = u16::try_from(rows.tables.len()).unwrap_or(u16::MAX);
        for table in &rows.tables {
            array_bytes(&table.rows.iter().collect::<Vec<_>>())
                .map_err(|error| PgError::error("54000", error.to_string()))?;
        }
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::parse(buffer, b"", rows.gather.text.as_bytes(), types);
            let appended = Appended {
                portal,
                statement: b"",
                bind,
                count,
            };
            appended.put(buffer, |buffer| {
                for (table, (ty, _)) in rows.tables.iter().zip(&rows.at_home) {
                    let parts: Vec<&Rows> = table.rows.iter().collect();
                    put_array(*ty, &parts, |bytes| buffer.extend_from_slice(bytes));
                }
            });
            for kind in [Kind::Parse, Kind::Bind] {
                let entry = match (kind, bind) {
                    (Kind::Bind, Some(_)) => Entry::client(kind),
                    _ => Entry::router(kind, Purpose::Parse),
                };
                place.push(entry.gathered());
            }
            place.unnamed = None;
            place.unsynced = true;
        }
        // The memory is home's input now; it is no one else's before home has taken it.
        self.gather_share = Some(rows.share);
        Ok(())
    }
}
