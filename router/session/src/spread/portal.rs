//! A write over several shards by the extended protocol: it is bound on home, as any other statement there, so that its
//! parameters and its result are described and complained of by a server; Execute does not go there.

use super::Execution;
use crate::api::Output;
use crate::client::Flow;
use crate::planner::Planned;
use crate::route::{Aim, Reach};
use crate::session::{Session, Wait};
use crate::statements::Portal;
use bytes::Bytes;
use shardgate_plan::Spread;
use shardgate_wire::PgError;
use shardgate_wire::frontend::Bind;
use std::sync::Arc;

/// What Execute of such a portal needs.
#[derive(Clone, Debug)]
pub(crate) struct BoundSpread {
    pub spread: Arc<Spread>,
    /// The number of the epoch by which it was planned: it is under way from its Bind on, for rows must not change their
    /// shards before its Execute.
    pub epoch: u64,
    pub text: Arc<str>,
    pub types: Arc<[u32]>,
    pub bind: Bytes,
}

/// What the client has sent behind an Execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// The end of its implicit transaction.
    Sync,
    More,
    /// It has not come yet.
    Nothing,
}

impl Session {
    /// `body`: of the Bind.
    pub(crate) fn bind_spread(
        &mut self,
        bind: &Bind<'_>,
        body: &[u8],
        planned: &Planned,
        spread: Arc<Spread>,
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
            .detail("It writes several shards, and its text would be read there under other settings than before.")
            .hint("Prepare the statement again."));
        }
        let aim = Aim {
            shard: Some(self.snapshot.home),
            ..Aim::anywhere()
        };
        let slot = match self.find(aim, out) {
            Reach::Ready(slot) => slot,
            Reach::Later => return Ok(Flow::Later),
            Reach::Failed(error) => return Err(error),
        };
        self.open(slot, out);
        self.use_slot(slot);
        if !self.send_held_to(slot, out) || !self.confirm(slot, bind.statement, out)? {
            return Ok(Flow::Later);
        }
        self.put_bind(slot, bind, out);
        let bound = BoundSpread {
            spread,
            epoch: self.snapshot.epoch.number,
            text: statement.text.clone(),
            types: statement.types.clone(),
            bind: Bytes::copy_from_slice(body),
        };
        self.portals
            .insert(bind.portal, Portal::Spread(Arc::new(bound)));
        Ok(Flow::Consumed)
    }

    /// `rest`: what the client has sent behind it.
    pub(crate) fn execute_spread(
        &mut self,
        bound: &Arc<BoundSpread>,
        max_rows: i32,
        rest: &[u8],
        out: &mut Output,
    ) -> Flow {
        if !self.transaction.is_none() || self.batch.executed {
            self.fail(&not_alone(), out);
            return Flow::Consumed;
        }
        match behind(rest) {
            Behind::Sync => {}
            Behind::Nothing if !self.client_gone => return Flow::Later,
            // What is not ended by a Sync is rolled back, or goes on with other statements.
            Behind::More | Behind::Nothing => {
                self.fail(&not_alone(), out);
                return Flow::Consumed;
            }
        }
        if let Some(slot) = self.batch.slot
            && self.place(slot).is_some()
        {
            // Its answers come first, and its connection is not held while others are waited for.
            self.drain(slot, out);
            return Flow::Later;
        }
        let execution = Execution {
            text: bound.text.clone(),
            types: bound.types.clone(),
            bind: Some(bound.bind.clone()),
            max_rows,
        };
        if let Err(error) = self.start_spread(bound.spread.clone(), bound.epoch, execution, out) {
            self.wait = Wait::Nothing;
            self.fail(&error, out);
        }
        Flow::Consumed
    }
}

/// A write of several shards where its transaction does not end with it.
pub(crate) fn not_alone() -> PgError {
    PgError::error(
        "0A000",
        "a statement that writes several shards must be a transaction of its own",
    )
    .detail("A transaction block, or a pipeline of several statements, that writes several shards is not supported yet.")
    .hint("Run it outside of a transaction block, with a Sync behind it; or bind it to one shard by the sharding key.")
}

/// A write of several shards on a table of which rows are being moved.
pub(crate) fn in_a_move() -> PgError {
    PgError::error(
        "55006",
        "a statement that writes several shards cannot run while rows of its table are being moved",
    )
    .detail("Rows that are moved may be on two shards until the move is complete.")
    .hint("Repeat it when the move is completed or cancelled (SHOW MOVES), or bind it to one shard by the sharding key.")
}

fn behind(rest: &[u8]) -> Behind {
    let mut rest = rest;
    loop {
        let (Some(tag), Some(length)) = (rest.first(), rest.get(1..5)) else {
            return Behind::Nothing;
        };
        let length = <[u8; 4]>::try_from(length)
            .ok()
            .and_then(|bytes| usize::try_from(u32::from_be_bytes(bytes)).ok());
        match tag {
            b'S' => return Behind::Sync,
            b'C' => {}
            _another_message => return Behind::More,
        }
        match length.and_then(|length| rest.get(length.saturating_add(1)..)) {
            Some(next) => rest = next,
            None => return Behind::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Behind, behind};

    #[test]
    fn what_stands_behind() {
        let check = |bytes: &[u8], expect: Behind| assert_eq!(behind(bytes), expect, "{bytes:?}");
        check(b"", Behind::Nothing);
        check(b"S\0\0", Behind::Nothing);
        check(b"S\0\0\0\x04", Behind::Sync);
        check(b"C\0\0\0\x06P\0S\0\0\0\x04", Behind::Sync);
        check(b"C\0\0\0\x06P", Behind::Nothing);
        check(b"H\0\0\0\x04S\0\0\0\x04", Behind::More);
        check(b"B\0\0\0\x04", Behind::More);
    }
}
