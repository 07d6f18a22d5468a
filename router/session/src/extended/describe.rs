//! Describe, of a statement and of a portal.

use crate::api::Output;
use crate::client::Flow;
use crate::commands::Doer;
use crate::extended::held::Held;
use crate::owed::{Entry, Kind};
use crate::planner::Planned;
use crate::session::Session;
use crate::statements::Portal;
use bytes::Bytes;
use shardgate_sql::facts::{Command, Statement};
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::Describe;

/// A command whose result has no rows, whatever becomes of it.
fn gives_nothing(planned: &Planned) -> bool {
    matches!(
        planned.facts.statement,
        Statement::Command(
            Command::Begin(_)
                | Command::Commit { .. }
                | Command::Rollback { .. }
                | Command::Savepoint(_)
                | Command::ReleaseSavepoint(_)
                | Command::RollbackTo(_)
                | Command::SetTransaction { .. }
                | Command::Set { .. }
                | Command::Reset(_)
                | Command::ResetAll
                | Command::DiscardAll
                | Command::Deallocate(_)
                | Command::Unlisten(_)
        )
    )
}

impl Session {
    pub(crate) fn describe_message(&mut self, body: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        let Ok(describe) = Describe::parse(body) else {
            return self.provoke_by(frame, out);
        };
        if describe.kind == b'S' {
            self.describe_statement(describe.name, frame, out)
        } else {
            self.describe_portal(describe.name, frame, out)
        }
    }

    fn describe_statement(&mut self, name: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        let ours = |held: &Held| held.statement().as_ref() == name;
        if !self.batch.held.iter().all(ours) && !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        let Some(planned) = self.current_plan(name) else {
            return self.provoke_unknown(name, frame, out);
        };
        let doer = match self.doer_in_pipeline(&planned) {
            // A server that has the statement says as much, but it is not told of a statement in a block that has failed.
            Ok(_) if self.block_is_lost() && gives_nothing(&planned) => Ok(Doer::Router),
            doer => doer,
        };
        match doer {
            Ok(Doer::Router | Doer::Reset) => {
                if !self.send_held(out) {
                    return Flow::Later;
                }
                if self.batch.skipping {
                    return Flow::Consumed;
                }
                let types = self.local_types(name, planned.facts.params);
                self.made(|bytes| reply::parameter_description(bytes, &types), out);
                self.put_local_shape(&planned, out);
            }
            Ok(Doer::Planned | Doer::Follow | Doer::Prelude | Doer::Look) => {
                self.batch.held.push(Held::Describe {
                    statement: Bytes::copy_from_slice(name),
                });
            }
            Err(error) => self.fail(&error, out),
        }
        Flow::Consumed
    }

    /// The types of a local statement's parameters: as declared, else text.
    fn local_types(&self, name: &[u8], used: u16) -> Vec<u32> {
        const TEXT: u32 = 25;
        let declared = self.statements.get(name).map(|statement| &statement.types);
        let declared = declared.map_or(&[][..], |types| types);
        let count = declared.len().max(usize::from(used));
        let types = declared.iter().copied().chain(std::iter::repeat(0));
        types
            .take(count)
            .map(|oid| if oid == 0 { TEXT } else { oid })
            .collect()
    }

    fn describe_portal(&mut self, name: &[u8], frame: &[u8], out: &mut Output) -> Flow {
        if !self.send_held(out) {
            return Flow::Later;
        }
        if self.batch.skipping {
            return Flow::Consumed;
        }
        match self.portals.get(name).cloned() {
            Some(Portal::Local { planned, .. }) => {
                self.put_local_shape(&planned, out);
                Flow::Consumed
            }
            Some(Portal::Remote { .. } | Portal::Spread(_)) => {
                self.forward_portal(frame, Entry::client(Kind::DescribePortal), out)
            }
            None => self.unknown_portal(name, frame, Kind::DescribePortal, out),
        }
    }
}
