//! What is known of one shard's servers, and what follows from it: the primary, and how far each replica is.
//!
//! Pure: observations and times come in as values. Its invariant: `primary` is never a server on an older timeline than
//! one that was ever seen in this shard, nor one of two that claim the same timeline, nor one of another cluster.

use super::choose::{Load, Replica, View};
use super::{Clock, Endpoint, EndpointId, Options, ServerHealth};
use shardgate_plan::snapshot::Host;
use shardgate_shard_map::ShardId;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Samples that are kept; beyond that they are thinned out. A mark whose sample is gone uses the next one, which is only
/// stricter.
const SAMPLES_MAX: usize = 256;
/// Positions that are kept to tell the lag in time; beyond that they are thinned out.
const POSITIONS_MAX: usize = 256;

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

/// The primary's position as of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub tick: u64,
    pub timeline: u32,
    pub lsn: u64,
}

/// One server.
struct Server {
    host: Host,
    /// It was asked at least once, with or without an answer.
    asked: bool,
    error: Option<String>,
    up: Option<Up>,
    /// What it was before it was lost.
    before: Option<(Incarnation, Identity)>,
    load: Arc<Load>,
}

impl Server {
    fn new(host: &Host) -> Self {
        Server {
            host: host.clone(),
            asked: false,
            error: None,
            up: None,
            before: None,
            load: Arc::default(),
        }
    }
}

/// What an endpoint id stands for beside the incarnation.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    id: EndpointId,
    standby: bool,
    /// 0: a standby that has not streamed yet.
    timeline: u32,
}

struct Up {
    incarnation: Incarnation,
    identity: Identity,
    lsn: u64,
    streaming: bool,
    seen: Instant,
    latency: Duration,
    covered: u64,
}

pub(super) struct Board {
    shard: ShardId,
    servers: Vec<Server>,
    /// The cluster that this shard is, once a primary was chosen.
    system: Option<String>,
    /// The newest timeline seen. Primaries of older ones are fenced.
    newest: u32,
    primary: Option<usize>,
    reason: String,
    samples: VecDeque<Sample>,
    /// When the primary was first seen at a position, ascending.
    positions: VecDeque<(Instant, u64)>,
    positions_timeline: u32,
}

impl Board {
    pub fn new(shard: ShardId, hosts: &[Host]) -> Self {
        Board {
            shard,
            servers: hosts.iter().map(Server::new).collect(),
            system: None,
            newest: 0,
            primary: None,
            reason: "its servers were not asked yet".to_owned(),
            samples: VecDeque::new(),
            positions: VecDeque::new(),
            positions_timeline: 0,
        }
    }

    /// The catalog names other hosts. What is known of those that stay is kept.
    pub fn set_hosts(&mut self, hosts: &[Host], now: Instant) {
        let primary = self
            .primary
            .and_then(|at| self.servers.get(at))
            .map(|s| s.host.clone());
        let mut old: Vec<Server> = std::mem::take(&mut self.servers);
        for host in hosts {
            let at = old.iter().position(|s| s.host == *host);
            let server = at.map_or_else(|| Server::new(host), |at| old.swap_remove(at));
            self.servers.push(server);
        }
        self.primary = primary.and_then(|host| self.find(&host));
        if !old.is_empty() {
            // What a server that is gone had claimed binds nobody any more.
            let known = |s: &Server| {
                let up = s.up.as_ref().map(|up| up.identity.timeline);
                up.or(s.before.as_ref().map(|(_, identity)| identity.timeline))
            };
            self.newest = self.servers.iter().filter_map(known).max().unwrap_or(0);
        }
        self.decide(now);
    }

    fn find(&self, host: &Host) -> Option<usize> {
        self.servers.iter().position(|s| s.host == *host)
    }

    /// A server has answered over a connection of the given incarnation.
    pub fn observe(
        &mut self,
        host: &Host,
        incarnation: &Incarnation,
        answer: &Answer,
        latency: Duration,
        now: Instant,
        clock: &Clock,
    ) {
        let Some(at) = self.find(host) else {
            return;
        };
        let server = &mut self.servers[at];
        server.asked = true;
        server.error = None;
        let (standby, timeline, lsn, streaming) = match *answer {
            Answer::Primary { timeline, inserted } => (false, timeline, inserted, false),
            Answer::Standby {
                streaming,
                timeline,
                replayed,
            } => (true, timeline.unwrap_or(0), replayed, streaming),
        };
        let up = server.up.as_ref();
        let known = up
            .map(|up| (up.incarnation.clone(), up.identity))
            .or_else(|| server.before.take());
        let identity = match known {
            Some((before, identity))
                if same_run(&before, incarnation, identity, standby, timeline) =>
            {
                let timeline = if timeline == 0 {
                    identity.timeline
                } else {
                    timeline
                };
                Identity {
                    timeline,
                    ..identity
                }
            }
            Some(_) | None => {
                server.load = Arc::default();
                Identity {
                    id: clock.next_endpoint(),
                    standby,
                    timeline,
                }
            }
        };
        let smooth = |up: &Up| (up.latency * 7 + latency) / 8;
        let covered = up
            .filter(|up| up.identity == identity)
            .map_or(0, |up| up.covered);
        server.up = Some(Up {
            incarnation: incarnation.clone(),
            identity,
            lsn,
            streaming,
            seen: now,
            latency: up.map_or(latency, smooth),
            covered,
        });
        self.cover(at);
        self.decide(now);
    }

    /// A server did not answer, or its connection has ended.
    pub fn lost(&mut self, host: &Host, error: String, now: Instant) {
        let Some(at) = self.find(host) else {
            return;
        };
        let server = &mut self.servers[at];
        server.asked = true;
        server.error = Some(error);
        if let Some(up) = server.up.take() {
            server.before = Some((up.incarnation, up.identity));
        }
        self.decide(now);
    }

    /// A new sample, taken on the endpoint that was the primary after the tick was read.
    pub fn sample(&mut self, sample: Sample) {
        if self
            .samples
            .back()
            .is_some_and(|last| last.tick > sample.tick)
        {
            return;
        }
        if self
            .samples
            .back()
            .is_some_and(|l| l.tick == sample.tick && l.timeline == sample.timeline)
        {
            // The same ticks are covered by the older, lower position.
            return;
        }
        if self.samples.len() >= SAMPLES_MAX {
            let newest = sample.tick;
            thin_out(&mut self.samples, |s| {
                u128::from(newest.saturating_sub(s.tick))
            });
        }
        self.samples.push_back(sample);
        for at in 0..self.servers.len() {
            self.cover(at);
        }
    }

    /// Brings the covered tick of one standby up to date.
    fn cover(&mut self, at: usize) {
        let Some(up) = self.servers.get_mut(at).and_then(|s| s.up.as_mut()) else {
            return;
        };
        if !up.identity.standby || !up.streaming {
            return;
        }
        let replayed = |s: &&Sample| s.timeline == up.identity.timeline && s.lsn <= up.lsn;
        let newest = self.samples.iter().rev().find(replayed);
        up.covered = up.covered.max(newest.map_or(0, |s| s.tick));
    }

    fn decide(&mut self, now: Instant) {
        let before = self.primary;
        self.primary = None;
        if self.system.is_none() && self.servers.iter().any(|s| !s.asked) {
            // The first decision needs all of them: the first to answer may be an old primary.
            self.reason = "not all of its servers were asked yet".to_owned();
            return;
        }
        if self.system.is_none() && self.clusters() > 1 {
            self.reason = format!("its servers are of different clusters; {}", self.why_none());
            return;
        }
        let system = self.system.clone();
        let ours = |up: &Up| match (&system, &up.incarnation.system) {
            (Some(ours), Some(its)) => ours == its,
            (None, _) | (_, None) => true,
        };
        for up in self.servers.iter().filter_map(|s| s.up.as_ref()) {
            if ours(up) {
                self.newest = self.newest.max(up.identity.timeline);
            }
        }
        let newest = self.newest;
        let claims = |(at, s): (usize, &Server)| {
            let up = s.up.as_ref()?;
            let fits = !up.identity.standby && ours(up) && up.identity.timeline == newest;
            fits.then_some(at)
        };
        let claimants: Vec<usize> = self.servers.iter().enumerate().filter_map(claims).collect();
        match claimants.as_slice() {
            [] => self.reason = self.why_none(),
            [one] => self.primary = Some(*one),
            [..] if before.is_some_and(|b| claimants.contains(&b)) => self.primary = before,
            [..] => {
                self.reason =
                    format!("more than one server claims to be the primary of timeline {newest}")
            }
        }
        if let Some(up) = self.primary_up() {
            let (system, timeline, lsn) =
                (up.incarnation.system.clone(), up.identity.timeline, up.lsn);
            self.reason.clear();
            self.system = self.system.take().or(system);
            self.position(timeline, lsn, now);
        }
    }

    fn primary_up(&self) -> Option<&Up> {
        self.servers.get(self.primary?)?.up.as_ref()
    }

    /// How many clusters the servers that are up belong to.
    fn clusters(&self) -> usize {
        let up = self.servers.iter().filter_map(|s| s.up.as_ref());
        let known: HashSet<&String> = up.filter_map(|up| up.incarnation.system.as_ref()).collect();
        known.len()
    }

    fn why_none(&self) -> String {
        let say = |s: &Server| {
            let state = match (&s.up, &s.error) {
                (Some(up), _) => self.role_of(s, up).to_owned(),
                (None, Some(error)) => error.clone(),
                (None, None) => "not asked yet".to_owned(),
            };
            format!("{}:{}: {state}", s.host.host, s.host.port)
        };
        let all: Vec<_> = self.servers.iter().map(say).collect();
        all.join("; ")
    }

    fn position(&mut self, timeline: u32, lsn: u64, now: Instant) {
        if self.positions_timeline != timeline {
            self.positions_timeline = timeline;
            self.positions.clear();
        }
        if self.positions.back().is_some_and(|(_, last)| *last >= lsn) {
            return;
        }
        if self.positions.len() >= POSITIONS_MAX {
            thin_out(&mut self.positions, |(seen, _)| {
                now.saturating_duration_since(*seen).as_micros()
            });
        }
        self.positions.push_back((now, lsn));
    }

    /// How far a position on the primary's timeline is behind, in bytes and in time.
    fn lag(&self, replayed: u64, now: Instant) -> Option<(u64, Duration)> {
        let (_, newest) = self.positions.back()?;
        let missing = self.positions.partition_point(|(_, lsn)| *lsn <= replayed);
        let since = self.positions.get(missing).map(|(seen, _)| *seen);
        let age = since.map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen));
        Some((newest.saturating_sub(replayed), age))
    }

    fn role_of(&self, server: &Server, up: &Up) -> &'static str {
        let is_primary = |at: usize| {
            self.servers
                .get(at)
                .is_some_and(|s| std::ptr::eq(s, server))
        };
        let foreign =
            matches!((&self.system, &up.incarnation.system), (Some(a), Some(b)) if a != b);
        match up.identity.standby {
            _ if foreign => "foreign",
            true => "replica",
            false if self.primary.is_some_and(is_primary) => "primary",
            false if up.identity.timeline < self.newest => "fenced",
            false => "conflict",
        }
    }

    fn usable(&self, server: &Server, up: &Up, options: &Options, now: Instant) -> bool {
        let timeline = self.primary_up().map(|p| p.identity.timeline);
        if self.role_of(server, up) != "replica"
            || !up.streaming
            || timeline != Some(up.identity.timeline)
        {
            return false;
        }
        self.lag(up.lsn, now).is_some_and(|(bytes, age)| {
            options.lag_bytes_max.is_none_or(|max| bytes <= max)
                && options.lag_max.is_none_or(|max| age <= max)
        })
    }

    fn endpoint(&self, server: &Server, up: &Up) -> Endpoint {
        Endpoint {
            id: up.identity.id,
            shard: self.shard,
            host: server.host.host.as_str().into(),
            port: server.host.port,
        }
    }

    /// How many samples are kept.
    #[cfg(test)]
    pub fn history(&self) -> usize {
        self.samples.len()
    }

    /// What the query path is to see from now on.
    pub fn view(&self, options: &Options, now: Instant) -> View {
        let primary = self.primary.and_then(|at| self.servers.get(at));
        let replica = |s: &Server| {
            let up = s.up.as_ref()?;
            (self.role_of(s, up) == "replica").then(|| Replica {
                endpoint: self.endpoint(s, up),
                usable: self.usable(s, up, options, now),
                covered: up.covered,
                seen: up.seen,
                latency: up.latency,
                load: s.load.clone(),
            })
        };
        let load = |s: &Server| {
            let up = s.up.as_ref().map(|up| up.identity.id);
            let id = up.or(s.before.as_ref().map(|(_, identity)| identity.id))?;
            Some((id, s.load.clone()))
        };
        View {
            primary: primary.and_then(|s| Some(self.endpoint(s, s.up.as_ref()?))),
            reason: self.reason.clone(),
            replicas: self.servers.iter().filter_map(replica).collect(),
            loads: self.servers.iter().filter_map(load).collect(),
        }
    }

    pub fn servers(&self, options: &Options, now: Instant) -> Vec<ServerHealth> {
        self.servers
            .iter()
            .map(|s| self.server_health(s, options, now))
            .collect()
    }

    fn server_health(&self, s: &Server, options: &Options, now: Instant) -> ServerHealth {
        let up = s.up.as_ref();
        let role = match up {
            Some(up) => self.role_of(s, up),
            None if s.asked => "down",
            None => "unknown",
        };
        let lag = up
            .filter(|_| role == "replica")
            .and_then(|up| self.lag(up.lsn, now));
        ServerHealth {
            shard: self.shard,
            host: s.host.host.clone(),
            port: s.host.port,
            id: up.map(|up| up.identity.id),
            role,
            usable: up.is_some_and(|up| self.usable(s, up, options, now)),
            timeline: up.map_or(0, |up| up.identity.timeline),
            lsn: up.map_or(0, |up| up.lsn),
            lag_bytes: lag.map(|(bytes, _)| bytes),
            lag: lag.map(|(_, age)| age),
            latency: up.map(|up| up.latency),
            busy: s.load.busy(),
            error: s.error.clone(),
        }
    }
}

/// Forgets entries so that the gaps between those that stay are at most an eighth of their age: a long history in few
/// entries, with the detail where it matters. `age` is counted from the newest.
fn thin_out<T>(list: &mut VecDeque<T>, age: impl Fn(&T) -> u128) {
    let old = std::mem::take(list);
    let ages: Vec<u128> = old.iter().map(age).collect();
    let mut kept_age = u128::MAX;
    for (at, entry) in old.into_iter().enumerate() {
        let here = ages.get(at).copied().unwrap_or(0);
        let next = ages.get(at + 1).copied();
        let gap = next.map_or(u128::MAX, |next| kept_age.saturating_sub(next));
        if gap > here / 8 {
            kept_age = here;
            list.push_back(entry);
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
