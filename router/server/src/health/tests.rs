//! The board and the choice as tables: observations in, the primary and the eligible replicas out.

use super::board::Board;
use super::choose::{Random, View, choose, eligible, reaches};
use super::history::Sample;
use super::server::{Answer, Incarnation};
use super::*;
use shardgate_plan::snapshot::{Floor, Host};
use std::collections::HashMap;

const SHARD: ShardId = ShardId(1);
const MS: Duration = Duration::from_millis(1);

fn host(name: &str) -> Host {
    Host {
        host: name.to_owned(),
        port: 5432,
    }
}

/// A board with a clock that is moved by hand.
struct World {
    board: Board,
    clock: Clock,
    now: Instant,
    options: Options,
}

fn options() -> Options {
    Options {
        user: String::new(),
        password: None,
        application_name: String::new(),
        connect_timeout: MS,
        probe_interval: MS,
        idle_interval: MS,
        probe_timeout: MS,
        sample_interval: MS,
        lag_bytes_max: Some(1000),
        lag_max: Some(Duration::from_secs(10)),
    }
}

/// The run of a server as its connection number, its cluster and its start tell it.
fn run(connection: u64, system: &str, started: &str) -> Incarnation {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Incarnation {
        connection,
        system: known(system),
        started: known(started).map(|s| (s.clone(), s)),
    }
}

fn primary(timeline: u32, inserted: u64) -> Answer {
    Answer::Primary { timeline, inserted }
}

fn replica(timeline: u32, replayed: u64) -> Answer {
    Answer::Standby {
        streaming: true,
        timeline: Some(timeline),
        replayed,
    }
}

/// A standby without a stream.
fn orphan(timeline: Option<u32>, replayed: u64) -> Answer {
    Answer::Standby {
        streaming: false,
        timeline,
        replayed,
    }
}

impl World {
    fn new(hosts: &[&str]) -> Self {
        let hosts: Vec<Host> = hosts.iter().map(|name| host(name)).collect();
        World {
            board: Board::new(SHARD, &hosts),
            clock: Clock::new(),
            now: Instant::now(),
            options: options(),
        }
    }

    /// The server of that name answers; its run is named after it.
    fn sees(&mut self, name: &str, answer: Answer) -> &mut Self {
        let incarnation = run(u64::from(name.as_bytes()[0]), "cluster", name);
        self.sees_run(name, &incarnation, answer)
    }

    fn sees_run(&mut self, name: &str, incarnation: &Incarnation, answer: Answer) -> &mut Self {
        let (board, now) = (&mut self.board, self.now);
        board.observe(&host(name), incarnation, &answer, MS, now, &self.clock);
        self
    }

    fn loses(&mut self, name: &str) -> &mut Self {
        self.board.lost(&host(name), "gone".to_owned(), self.now);
        self
    }

    fn sample(&mut self, tick: u64, timeline: u32, lsn: u64) -> &mut Self {
        self.board.sample(Sample {
            tick,
            timeline,
            lsn,
        });
        self
    }

    fn view(&self) -> View {
        self.board.view(&self.options, self.now)
    }

    fn primary(&self) -> Option<String> {
        self.view().primary.map(|p| p.host.to_string())
    }

    fn id(&self, name: &str) -> Option<EndpointId> {
        let servers = self.board.servers(&self.options, self.now);
        servers.iter().find(|s| s.host == name).and_then(|s| s.id)
    }

    /// `name:role` of all, with a `+` behind usable replicas.
    fn roles(&self) -> String {
        let servers = self.board.servers(&self.options, self.now);
        let show = |s: &ServerHealth| {
            let usable = if s.usable { "+" } else { "" };
            format!("{}:{}{usable}", s.host, s.role.as_str())
        };
        servers.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn covered(&self, name: &str) -> u64 {
        let view = self.view();
        let found = view.replicas.iter().find(|r| *r.endpoint.host == *name);
        found.map_or(0, |r| r.covered)
    }
}

#[test]
fn the_first_decision_waits_for_all() {
    let mut w = World::new(&["a", "b", "c"]);
    w.sees("a", primary(1, 10));
    assert_eq!(
        (w.primary(), w.roles().as_str()),
        (None, "a:conflict b:unknown c:unknown")
    );
    w.loses("c");
    assert_eq!(w.primary(), None);
    w.sees("b", primary(2, 20));
    assert_eq!(w.primary().as_deref(), Some("b"));
    assert_eq!(w.roles(), "a:fenced b:primary c:down");
}

#[test]
fn an_older_timeline_is_never_used_again() {
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(1, 10)).sees("b", replica(1, 10));
    assert_eq!(w.roles(), "a:primary b:replica+");
    w.sees("b", primary(2, 11));
    assert_eq!(w.roles(), "a:fenced b:primary");
    w.loses("b");
    assert_eq!(w.primary(), None);
    assert!(
        w.view().reason.contains("a:5432: fenced; b:5432: gone"),
        "{}",
        w.view().reason
    );
    w.loses("a").sees("a", primary(1, 12));
    assert_eq!(w.primary(), None);
    w.sees("a", primary(3, 13));
    assert_eq!(w.primary().as_deref(), Some("a"));
}

#[test]
fn a_standby_that_follows_a_newer_timeline_fences_too() {
    let mut w = World::new(&["a", "b", "c"]);
    w.sees("a", primary(1, 10))
        .sees("b", replica(1, 10))
        .loses("c");
    w.sees("b", replica(2, 12));
    assert_eq!(w.roles(), "a:fenced b:replica c:down");
    w.sees("c", primary(2, 13));
    assert_eq!(w.roles(), "a:fenced b:replica+ c:primary");
}

#[test]
fn two_primaries_of_one_timeline() {
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(1, 10)).sees("b", primary(1, 10));
    assert_eq!(w.primary(), None);
    assert!(
        w.view().reason.contains("more than one"),
        "{}",
        w.view().reason
    );
    // The one that was it before stays it: a standby was started without its signal file.
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(1, 10))
        .sees("b", replica(1, 10))
        .sees("b", primary(1, 10));
    assert_eq!(w.roles(), "a:primary b:conflict");
}

#[test]
fn servers_of_another_cluster() {
    let mut w = World::new(&["a", "b"]);
    w.sees_run("a", &run(1, "x", "a"), primary(1, 10));
    w.sees_run("b", &run(2, "y", "b"), replica(1, 10));
    assert_eq!(w.primary(), None);
    assert!(
        w.view().reason.contains("different clusters"),
        "{}",
        w.view().reason
    );
    let mut w = World::new(&["a", "b"]);
    w.sees_run("a", &run(1, "x", "a"), primary(1, 10))
        .loses("b");
    w.sees_run("b", &run(2, "y", "b"), primary(9, 10));
    assert_eq!(w.roles(), "a:primary b:foreign");
    w.loses("a");
    assert_eq!(w.primary(), None);
    // A role that may not see the cluster's number serves all the same.
    let mut w = World::new(&["a", "b"]);
    w.sees_run("a", &run(1, "", ""), primary(1, 10));
    w.sees_run("b", &run(2, "", ""), replica(1, 10));
    assert_eq!(w.roles(), "a:primary b:replica+");
}

#[test]
fn an_endpoint_is_one_run_in_one_role_on_one_timeline() {
    let mut w = World::new(&["a"]);
    let mut check = |incarnation: Incarnation, answer: Answer, same: bool| {
        let before = w.id("a");
        w.sees_run("a", &incarnation, answer.clone());
        assert_eq!(w.id("a") == before, same, "{incarnation:?} {answer:?}");
    };
    check(run(1, "x", "s"), orphan(None, 5), false);
    check(run(1, "x", "s"), replica(1, 5), true);
    check(run(1, "x", "s"), orphan(None, 6), true);
    check(run(2, "x", "s"), replica(1, 7), true);
    check(run(3, "x", "t"), replica(1, 7), false);
    check(run(3, "x", "t"), replica(2, 7), false);
    check(run(3, "x", "t"), primary(3, 8), false);
    check(run(3, "x", "t"), primary(3, 9), true);
    check(run(4, "y", "t"), primary(3, 9), false);
    check(run(5, "y", ""), primary(3, 9), false);
    check(run(5, "y", ""), primary(3, 9), true);
    check(run(6, "y", ""), primary(3, 9), false);
    // The loss of the connection alone is no new run, if the server says that it is the same.
    let mut w = World::new(&["a"]);
    w.sees("a", replica(1, 5));
    let id = w.id("a");
    w.loses("a");
    assert_eq!(w.id("a"), None);
    w.sees_run("a", &run(99, "cluster", "a"), replica(1, 5));
    assert_eq!(w.id("a"), id);
}

#[test]
fn a_sample_counts_only_once_it_is_replayed_on_its_timeline() {
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(1, 100)).sees("b", replica(1, 90));
    w.sample(5, 1, 95);
    assert_eq!(w.covered("b"), 0);
    w.sees("b", replica(1, 94));
    assert_eq!(w.covered("b"), 0);
    w.sees("b", replica(1, 95));
    assert_eq!(w.covered("b"), 5);
    w.sample(8, 1, 95);
    assert_eq!(w.covered("b"), 8);
    // The same tick later in the log says nothing new, and less.
    w.sample(9, 1, 96)
        .sample(9, 1, 200)
        .sees("b", replica(1, 150));
    assert_eq!(w.covered("b"), 9);
    // A sample of a new timeline is not covered by a position on the old one, however far it is.
    w.sample(12, 2, 120);
    assert_eq!(w.covered("b"), 9);
    // And what was covered on the old one is not covered on the new one.
    w.sees("b", replica(2, 110));
    assert_eq!(w.covered("b"), 0);
    w.sees("b", replica(2, 120));
    assert_eq!(w.covered("b"), 12);
    // A standby that does not stream may be on any branch.
    w.sample(15, 2, 121).sees("b", orphan(Some(2), 130));
    assert_eq!(w.covered("b"), 12);
    // A restart may take a standby back.
    w.loses("b")
        .sees_run("b", &run(7, "cluster", "again"), replica(2, 119));
    assert_eq!(w.covered("b"), 0);
}

#[test]
fn old_samples_are_thinned_out_and_stay_safe() {
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(1, 1)).sees("b", replica(1, 0));
    for n in 1..=5000_u64 {
        w.sample(n, 1, n * 10);
        if n % 50 == 0 {
            let behind = n * 10 - 400;
            w.sees("b", replica(1, behind));
            let covered = w.covered("b");
            assert!(covered * 10 <= behind, "{covered} at {n}");
            assert!(n < 1000 || covered > 0);
        }
    }
    assert!(w.board.history() <= 256, "{}", w.board.history());
    // A replica that lags by most of the history finds a sample too.
    w.sees("b", replica(1, 50_000));
    assert_eq!(w.covered("b"), 5000);
    w.loses("b")
        .sees_run("b", &run(7, "cluster", "again"), replica(1, 10_000));
    let covered = w.covered("b");
    assert!((500..=1000).contains(&covered), "{covered}");
}

#[test]
fn a_replica_that_lags_or_does_not_stream_is_left_out() {
    let check = |answer: Answer, expect: &str| {
        let mut w = World::new(&["a", "b"]);
        w.sees("a", primary(2, 5000)).sees("b", answer.clone());
        assert_eq!(w.roles(), format!("a:primary b:{expect}"), "{answer:?}");
    };
    check(replica(2, 5000), "replica+");
    check(replica(2, 4000), "replica+");
    check(replica(2, 3999), "replica");
    check(replica(2, 9000), "replica+");
    check(replica(1, 5000), "replica");
    check(orphan(Some(2), 5000), "replica");
    check(orphan(None, 5000), "replica");
    // In time: the age of the first position that it has not reached.
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(1, 100)).sees("b", replica(1, 100));
    w.now += Duration::from_secs(60);
    w.sees("a", primary(1, 100));
    assert_eq!(w.roles(), "a:primary b:replica+");
    w.sees("a", primary(1, 110));
    w.now += Duration::from_secs(10);
    w.sees("a", primary(1, 120));
    assert_eq!(w.roles(), "a:primary b:replica+");
    w.now += MS;
    assert_eq!(w.roles(), "a:primary b:replica");
    w.sees("b", replica(1, 110));
    assert_eq!(w.roles(), "a:primary b:replica+");
    // Without a primary nobody knows how far behind a replica is.
    w.loses("a");
    assert_eq!(w.roles(), "a:down b:replica");
}

#[test]
fn hosts_come_and_go() {
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(1, 10))
        .sees("b", replica(1, 10))
        .sample(3, 1, 10);
    let id = w.id("b");
    w.board.set_hosts(&[host("c"), host("b"), host("a")], w.now);
    assert_eq!(w.roles(), "c:unknown b:replica+ a:primary");
    assert_eq!((w.id("b"), w.covered("b")), (id, 3));
    w.sees("b", primary(2, 11));
    assert_eq!(w.roles(), "c:unknown b:primary a:fenced");
    // Its claim goes with it.
    w.board.set_hosts(&[host("a")], w.now);
    assert_eq!(w.roles(), "a:primary");
}

/// Replicas as `covered` ticks; ids are 100, 101, ..
fn replicas(w: &World, covered: &[u64]) -> View {
    let mut view = w.view();
    let first = view.replicas.pop().unwrap();
    for (n, covered) in covered.iter().enumerate() {
        let mut replica = first.clone();
        replica.endpoint.id = EndpointId(100 + u64::try_from(n).unwrap());
        replica.covered = *covered;
        replica.load = Arc::default();
        view.replicas.push(replica);
    }
    view
}

fn pair() -> World {
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(1, 10)).sees("b", replica(1, 10));
    w
}

#[test]
fn the_marks_decide() {
    let w = pair();
    let check = |write: u64, read: u64, read_on: Option<u64>, expect: bool| {
        let view = replicas(&w, &[50]);
        let marks = ShardMarks {
            write,
            read,
            read_on: read_on.map(EndpointId),
        };
        assert_eq!(eligible(&view.replicas[0], &marks), expect, "{marks:?}");
    };
    check(0, 0, None, true);
    check(50, 50, None, true);
    check(51, 0, None, false);
    check(51, 0, Some(100), false);
    check(0, 51, None, false);
    check(0, 51, Some(101), false);
    check(0, 51, Some(100), true);
    check(51, 51, Some(100), false);
    let mut view = replicas(&w, &[50]);
    view.replicas[0].usable = false;
    assert!(!eligible(&view.replicas[0], &ShardMarks::default()));
}

#[test]
fn a_replica_without_the_rows_that_have_come_is_left_out() {
    let mut w = World::new(&["a", "b"]);
    w.sees("a", primary(3, 500)).sees("b", replica(3, 400));
    let view = w.view();
    let check = |floor: Option<(u32, u64)>, expect: bool| {
        let floor = floor.map(|(timeline, lsn)| Floor { timeline, lsn });
        assert_eq!(reaches(&view.replicas[0], floor), expect, "{floor:?}");
        let random = Random::new(1);
        let chosen = choose(
            &view,
            &ShardMarks::default(),
            floor,
            w.now,
            MS * 100,
            &random,
        );
        assert_eq!(chosen.is_some(), expect, "{floor:?}");
    };
    check(None, true);
    check(Some((3, 400)), true);
    check(Some((3, 401)), false);
    check(Some((2, 900)), true);
    check(Some((4, 1)), false);
}

#[test]
fn the_choice_spreads_load_and_is_sticky() {
    let w = pair();
    let random = Random::new(7);
    let count = |view: &View, marks: &ShardMarks, now: Instant| {
        let mut seen: HashMap<u64, u32> = HashMap::new();
        for _ in 0..3000 {
            let chosen = choose(view, marks, None, now, MS * 100, &random);
            *seen.entry(chosen.map_or(0, |e| e.id.0)).or_default() += 1;
        }
        seen
    };
    let none = ShardMarks::default();
    let seen = count(&replicas(&w, &[0, 0, 0]), &none, w.now);
    assert!((100..103).all(|id| seen[&id] > 800), "{seen:?}");
    // A busy one is taken only when it meets itself, which it never does.
    let view = replicas(&w, &[0, 0, 0]);
    view.replicas[1].load.add(10);
    assert_eq!(count(&view, &none, w.now).get(&101), None);
    // The one that was read from last is taken, unless another one is much better.
    let sticky = ShardMarks {
        read_on: Some(EndpointId(102)),
        ..none
    };
    let view = replicas(&w, &[0, 0, 0]);
    assert_eq!(count(&view, &sticky, w.now)[&102], 3000);
    view.replicas[2].load.add(1);
    assert_eq!(count(&view, &sticky, w.now)[&102], 3000);
    view.replicas[2].load.add(1);
    assert_eq!(count(&view, &sticky, w.now).get(&102), None);
    // Only those that are eligible and were seen lately count.
    let write = ShardMarks { write: 5, ..none };
    assert_eq!(count(&replicas(&w, &[4, 5, 4]), &write, w.now)[&101], 3000);
    assert_eq!(count(&replicas(&w, &[4, 4, 4]), &write, w.now)[&0], 3000);
    assert_eq!(
        count(&replicas(&w, &[0]), &none, w.now + MS * 101)[&0],
        3000
    );
}

#[test]
fn what_is_given_back_while_a_server_is_down_is_counted() {
    let mut w = pair();
    let add = |w: &World, change: i64| w.view().load(w_id(w)).unwrap().add(change);
    fn w_id(w: &World) -> EndpointId {
        w.view().loads[1].0
    }
    add(&w, 3);
    w.loses("b");
    add(&w, -2);
    w.sees("b", replica(1, 10));
    assert_eq!(w.view().replicas[0].load.busy(), 1);
    // Another run begins with nothing.
    w.sees_run("b", &run(9, "cluster", "later"), replica(1, 10));
    assert_eq!(w.view().replicas[0].load.busy(), 0);
}
