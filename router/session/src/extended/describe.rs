//! Describe, of a statement and of a portal.

use crate::api::Output;
use crate::client::Flow;
use crate::commands::Doer;
use crate::extended::held::Held;
use crate::owed::Kind;
use crate::session::Session;
use crate::statements::Portal;
use bytes::Bytes;
use shardgate_wire::backend::put as reply;
use shardgate_wire::frontend::Describe;

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
        match self.doer_in_pipeline(&planned) {
            Ok(Doer::Router | Doer::Reset) => {
                let count = planned.facts.params;
                self.made(
                    |bytes| reply::parameter_description(bytes, &vec![25; usize::from(count)]),
                    out,
                );
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
                self.forward_portal(frame, Kind::DescribePortal, out)
            }
            None => self.unknown_portal(name, frame, Kind::DescribePortal, out),
        }
    }
}
