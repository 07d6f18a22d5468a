//! What is known of one shard's servers, and what follows from it: the primary, and how far each replica is.
//!
//! Pure: observations and times come in as values. Its invariant: `primary` is never a server on an older timeline than
//! one that was ever seen in this shard, nor one of two that claim the same timeline, nor one of another cluster.

use super::choose::{Replica, View};
use super::history::{Positions, Sample, Samples};
use super::server::{Answer, Incarnation, Server, Up};
use super::{Clock, Endpoint, Options, ServerHealth, ServerRole};
use shardgate_plan::snapshot::Host;
use shardgate_shard_map::ShardId;
use std::collections::HashSet;
use std::time::{Duration, Instant};

pub(super) struct Board {
    shard: ShardId,
    servers: Vec<Server>,
    /// The cluster that this shard is, once a primary was chosen.
    system: Option<String>,
    /// The newest timeline seen. Primaries of older ones are fenced.
    newest: u32,
    primary: Option<usize>,
    reason: String,
    samples: Samples,
    positions: Positions,
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
            samples: Samples::default(),
            positions: Positions::default(),
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
            let known = |s: &Server| s.identity().map(|identity| identity.timeline);
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
        if let Some(server) = self.servers.get_mut(at) {
            server.observe(incarnation, answer, latency, now, clock);
        }
        self.cover(at);
        self.decide(now);
    }

    /// A server did not answer, or its connection has ended.
    pub fn lost(&mut self, host: &Host, error: String, now: Instant) {
        if let Some(server) = self.servers.iter_mut().find(|s| s.host == *host) {
            server.lost(error);
        }
        self.decide(now);
    }

    /// A new sample, taken on the endpoint that was the primary after the tick was read.
    pub fn sample(&mut self, sample: Sample) {
        self.samples.push(sample);
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
        let covered = self.samples.covered(up.identity.timeline, up.lsn);
        up.covered = up.covered.max(covered);
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
            self.positions.push(timeline, lsn, now);
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
                (Some(up), _) => self.role_of(s, up).as_str().to_owned(),
                (None, Some(error)) => error.clone(),
                (None, None) => "not asked yet".to_owned(),
            };
            format!("{}:{}: {state}", s.host.host, s.host.port)
        };
        let all: Vec<_> = self.servers.iter().map(say).collect();
        all.join("; ")
    }

    fn role_of(&self, server: &Server, up: &Up) -> ServerRole {
        let primary = self.primary.and_then(|at| self.servers.get(at));
        let is_primary = primary.is_some_and(|p| std::ptr::eq(p, server));
        let foreign =
            matches!((&self.system, &up.incarnation.system), (Some(a), Some(b)) if a != b);
        let outdated = up.identity.timeline < self.newest;
        match (foreign, up.identity.standby) {
            (true, _) => ServerRole::Foreign,
            (false, true) => ServerRole::Replica,
            (false, false) if is_primary => ServerRole::Primary,
            (false, false) if outdated => ServerRole::Fenced,
            (false, false) => ServerRole::Conflict,
        }
    }

    fn usable(&self, server: &Server, up: &Up, options: &Options, now: Instant) -> bool {
        let timeline = self.primary_up().map(|p| p.identity.timeline);
        if self.role_of(server, up) != ServerRole::Replica
            || !up.streaming
            || timeline != Some(up.identity.timeline)
        {
            return false;
        }
        self.positions.lag(up.lsn, now).is_some_and(|(bytes, age)| {
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
            (self.role_of(s, up) == ServerRole::Replica).then(|| Replica {
                endpoint: self.endpoint(s, up),
                usable: self.usable(s, up, options, now),
                covered: up.covered,
                timeline: up.identity.timeline,
                lsn: up.lsn,
                seen: up.seen,
                latency: up.latency,
                load: s.load.clone(),
            })
        };
        let load = |s: &Server| {
            let id = s.identity()?.id;
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
            None if s.asked => ServerRole::Down,
            None => ServerRole::Unknown,
        };
        let lag = up
            .filter(|_| role == ServerRole::Replica)
            .and_then(|up| self.positions.lag(up.lsn, now));
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
