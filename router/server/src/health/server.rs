//! One server as it was last seen, and which run of it that was.

use super::choose::Load;
use super::{Clock, EndpointId};
use shardgate_plan::snapshot::Host;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What tells one run of a server from another. Where the role may not see it, two connections are two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Incarnation {
    /// The number of the connection that it was asked over.
    pub connection: u64,
    /// Of the cluster that initdb made; None if the role may not see it.
    pub system: Option<String>,
    /// The start of the postmaster and of its checkpointer: the latter starts anew after a crash of one process, which
    /// throws all connections out and may take a standby back to an earlier position.
    pub started: Option<(String, String)>,
}

/// One answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Primary {
        timeline: u32,
        inserted: u64,
    },
    Standby {
        streaming: bool,
        timeline: Option<u32>,
        replayed: u64,
    },
}

/// One server.
pub(super) struct Server {
    pub host: Host,
    /// It was asked at least once, with or without an answer.
    pub asked: bool,
    pub error: Option<String>,
    pub up: Option<Up>,
    /// What it was before it was lost.
    before: Option<(Incarnation, Identity)>,
    pub load: Arc<Load>,
}

/// What an endpoint id stands for, beside the incarnation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub id: EndpointId,
    pub standby: bool,
    /// 0: a standby that has not streamed yet.
    pub timeline: u32,
}

/// A server that answers.
pub(super) struct Up {
    pub incarnation: Incarnation,
    pub identity: Identity,
    /// Insert position of a primary, replay position of a standby.
    pub lsn: u64,
    pub streaming: bool,
    pub seen: Instant,
    pub latency: Duration,
    /// The highest tick of a sample that it has replayed.
    pub covered: u64,
}

impl Server {
    pub fn new(host: &Host) -> Self {
        Server {
            host: host.clone(),
            asked: false,
            error: None,
            up: None,
            before: None,
            load: Arc::default(),
        }
    }

    /// What it is, or was before it was lost.
    pub fn identity(&self) -> Option<Identity> {
        let up = self.up.as_ref().map(|up| up.identity);
        up.or(self.before.as_ref().map(|(_, identity)| *identity))
    }

    /// It has answered. An answer from another run, role or timeline makes another endpoint of it.
    pub fn observe(
        &mut self,
        incarnation: &Incarnation,
        answer: &Answer,
        latency: Duration,
        now: Instant,
        clock: &Clock,
    ) {
        self.asked = true;
        self.error = None;
        let (standby, timeline, lsn, streaming) = match *answer {
            Answer::Primary { timeline, inserted } => (false, timeline, inserted, false),
            Answer::Standby {
                streaming,
                timeline,
                replayed,
            } => (true, timeline.unwrap_or(0), replayed, streaming),
        };
        let last = self.up.take();
        let latency = last
            .as_ref()
            .map_or(latency, |up| (up.latency * 7 + latency) / 8);
        let covered = last.as_ref().map(|up| (up.identity, up.covered));
        let known = last.map(|up| (up.incarnation, up.identity));
        let known = known.or_else(|| self.before.take());
        let same = known.filter(|(before, identity)| {
            same_run(before, incarnation, *identity, standby, timeline)
        });
        let identity = match same {
            Some((_, identity)) if timeline == 0 => identity,
            Some((_, identity)) => Identity {
                timeline,
                ..identity
            },
            None => {
                self.load = Arc::default();
                let id = clock.next_endpoint();
                Identity {
                    id,
                    standby,
                    timeline,
                }
            }
        };
        let covered = covered.filter(|(before, _)| *before == identity);
        self.up = Some(Up {
            incarnation: incarnation.clone(),
            identity,
            lsn,
            streaming,
            seen: now,
            latency,
            covered: covered.map_or(0, |(_, tick)| tick),
        });
    }

    /// It did not answer, or its connection has ended.
    pub fn lost(&mut self, error: String) {
        self.asked = true;
        self.error = Some(error);
        if let Some(up) = self.up.take() {
            self.before = Some((up.incarnation, up.identity));
        }
    }
}

/// Whether an answer comes from the run of a server that `identity` was given to. A timeline that a standby learns for
/// the first time is no switch.
fn same_run(
    before: &Incarnation,
    now: &Incarnation,
    identity: Identity,
    standby: bool,
    timeline: u32,
) -> bool {
    let known = before.started.is_some() && before.started == now.started;
    let same_process = before.connection == now.connection || known && before.system == now.system;
    let same_timeline = timeline == 0 || identity.timeline == 0 || identity.timeline == timeline;
    same_process && identity.standby == standby && same_timeline
}
