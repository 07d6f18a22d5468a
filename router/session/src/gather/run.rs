//! The statement over gathered rows on home: from here on it is an ordinary statement there.

use super::{GatheredRows, Positions, Ready};
use crate::api::{Output, Slot};
use crate::client::Flow;
use crate::commands::Doer;
use crate::owed::{Entry, Kind, Purpose};
use crate::planner::Planned;
use crate::route::{Aim, Reach};
use crate::session::{Session, Wait};
use crate::settings::set_all;
use crate::statements::Portal;
use shardgate_merge::{Rows, array_bytes, put_array};
use shardgate_plan::{Decision, Gather, Moving, Param};
use shardgate_wire::PgError;
use shardgate_wire::frontend::{Appended, Bind, put};
use std::sync::Arc;

/// SQL that puts the settings of the client's own Parse in force, and SQL that takes them back.
struct ParseSettings {
    there: String,
    back: String,
}

/// What the client has said of a statement that it binds itself.
#[derive(Default)]
struct ClientBind<'a> {
    portal: &'a [u8],
    bind: Option<&'a Bind<'a>>,
    /// The types of parameters that it has declared.
    types: &'a [u32],
    /// What is to be run between Parse and Bind.
    back: Option<&'a str>,
}

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
            | Decision::Spread(_)
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
        self.put_gathered(slot, rows, ClientBind::default(), out)?;
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
        let differs = self.reads_otherwise(&statement);
        if differs && self.names_otherwise(&statement) {
            return Err(PgError::error(
                "0A000",
                "settings were changed since the statement was prepared",
            )
            .detail("Its tables are not bound to one shard, and both names and constants in it may mean other things than before.")
            .hint("Prepare the statement again."));
        }
        let settings = differs.then(|| {
            let in_force = self.settings.in_force();
            ParseSettings {
                there: set_all(&in_force, &statement.set),
                back: set_all(&statement.set, &in_force),
            }
        });
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
        if rows.is_unseen() && !self.confirm_names(slot, bind.statement, out)? {
            self.gathered = Some(Box::new(Ok(rows)));
            return Ok(Flow::Later);
        }
        let Some(rows) = self.fitting(slot, rows, out)? else {
            return Ok(Flow::Later);
        };
        let types = statement.types.clone();
        if let (Some(settings), Some((place, buffer))) = (&settings, self.reach(slot, out)) {
            place.execute_named(&settings.there, &Purpose::Prelude, buffer);
        }
        let client = ClientBind {
            portal: bind.portal,
            bind: Some(bind),
            types: &types,
            back: settings.as_ref().map(|settings| settings.back.as_str()),
        };
        self.put_gathered(slot, rows, client, out)?;
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

    /// Sends Parse and Bind of the text over the rows.
    fn put_gathered(
        &mut self,
        slot: Slot,
        rows: GatheredRows,
        client: ClientBind<'_>,
        out: &mut Output,
    ) -> Result<(), PgError> {
        let ClientBind {
            portal,
            bind,
            types,
            back,
        } = client;
        let count = u16::try_from(rows.tables.len()).unwrap_or(u16::MAX);
        for table in &rows.tables {
            array_bytes(&table.rows.iter().collect::<Vec<_>>())
                .map_err(|error| PgError::error("54000", error.to_string()))?;
        }
        if let Some((place, buffer)) = self.reach(slot, out) {
            put::parse(buffer, b"", rows.gather.text.as_bytes(), types);
            place.push(Entry::router(Kind::Parse, Purpose::Parse).gathered());
            if let Some(back) = back {
                place.execute_named(back, &Purpose::Prelude, buffer);
            }
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
            let entry = match bind {
                Some(_) => Entry::client(Kind::Bind),
                None => Entry::router(Kind::Bind, Purpose::Parse),
            };
            place.push(entry.gathered());
            place.unnamed = None;
            place.unsynced = true;
        }
        // The memory is home's input now; it is no one else's before home has taken it.
        self.gather_share = Some(rows.share);
        Ok(())
    }
}
