//! The rows of each view, in the order of its columns.

use super::Context;
use super::command::View;
use super::text::{self, plain_text};
use shardgate_catalog::moves::{MoveStatus, Step};
use shardgate_plan::snapshot::{Placement, RelationKind, Snapshot};
use shardgate_shard_map::{Method, ShardId};
use std::net::SocketAddr;
use std::time::Duration;

/// One value. Numbers are int8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Text(String),
    Int(i64),
    Bool(bool),
}

pub(super) type Row = Vec<Cell>;

/// The rows as of now.
pub(super) fn rows(view: View, context: &Context) -> Vec<Row> {
    match view {
        View::Help => help(),
        View::Clients => clients(context),
        View::Config => config(context),
        View::Databases => databases(context),
        View::Distributions => distributions(&context.source.snapshot()),
        View::Epoch => epoch(context),
        View::Map => map(&context.source.snapshot()),
        View::Moves => moves(context),
        View::Pools => pools(context),
        View::Routers => routers(context),
        View::Servers => servers(context),
        View::Shards => shards(context),
        View::Stats => stats(context),
        View::Tables => tables(&context.source.snapshot()),
        View::Version => vec![vec![string(version())]],
    }
}

fn version() -> String {
    format!("Shardgate {}", env!("CARGO_PKG_VERSION"))
}

fn string(text: impl AsRef<str>) -> Cell {
    Cell::Text(plain_text(text.as_ref()))
}

fn optional(text: Option<impl AsRef<str>>) -> Cell {
    text.map_or(Cell::Null, string)
}

fn int(number: impl TryInto<i64>) -> Cell {
    Cell::Int(number.try_into().unwrap_or(i64::MAX))
}

fn optional_int(number: Option<impl TryInto<i64>>) -> Cell {
    number.map_or(Cell::Null, int)
}

fn ip(address: Option<SocketAddr>) -> Cell {
    match address {
        Some(address) => string(address.ip().to_canonical().to_string()),
        None => string("unix"),
    }
}

fn port(address: Option<SocketAddr>) -> Cell {
    int(address.map_or(0, |a| a.port()))
}

/// Whole seconds, and the microseconds beside them.
fn wait(time: Duration) -> [Cell; 2] {
    [int(time.as_secs()), int(time.subsec_micros())]
}

fn help() -> Vec<Row> {
    let views = View::ALL
        .iter()
        .map(|(_, name, what)| (format!("SHOW {name}"), *what));
    let others = [
        ("RELOAD".to_owned(), "read the configuration file again"),
        ("KILL pid".to_owned(), "end the connection of a client"),
    ];
    let all = views.chain(others);
    all.map(|(command, what)| vec![string(command), string(what)])
        .collect()
}

fn clients(context: &Context) -> Vec<Row> {
    let mut clients = context.source.clients();
    clients.sort_by_key(|c| c.pid);
    let row = |c: super::ClientView| {
        let [seconds, micros] = wait(c.wait);
        vec![
            string("C"),
            string(c.user),
            string(c.database),
            string(c.state),
            ip(c.addr),
            port(c.addr),
            ip(c.local_addr),
            port(c.local_addr),
            string(text::time(c.connect_time)),
            string(text::time(c.request_time)),
            seconds,
            micros,
            string(c.application_name),
            int(c.pid),
            string(c.shards.join(",")),
            optional(c.pinned),
        ]
    };
    clients.into_iter().map(row).collect()
}

fn config(context: &Context) -> Vec<Row> {
    let row = |s: &crate::config::Setting| {
        vec![
            string(&s.name),
            string(&s.value),
            string(&s.default),
            string("no"),
            string(s.origin.to_string()),
        ]
    };
    context.config.settings.iter().map(row).collect()
}

fn databases(context: &Context) -> Vec<Row> {
    let config = &context.config;
    let snapshot = context.source.snapshot();
    let pools = context.source.pools();
    let used: usize = pools.iter().map(|p| p.sv_active + p.sv_idle).sum();
    let primary = context.health.primary(snapshot.home);
    let served = vec![
        string(&config.database.name),
        optional(primary.as_ref().map(|p| &*p.host)),
        optional_int(primary.as_ref().map(|p| p.port)),
        string(&snapshot.database),
        Cell::Null,
        int(config.pool.size),
        string("transaction"),
        int(config.listen.max_client_conn),
        int(used),
        int(0),
        int(0),
    ];
    let console = vec![
        string(super::DATABASE),
        Cell::Null,
        int(config.listen.port),
        string(super::DATABASE),
        string(super::DATABASE),
        int(0),
        string("statement"),
        int(0),
        int(0),
        int(0),
        int(0),
    ];
    vec![served, console]
}

fn shard_name(snapshot: &Snapshot, id: ShardId) -> Cell {
    match snapshot.shard(id) {
        Some(shard) => string(&shard.name),
        None => string(id.0.to_string()),
    }
}

/// Of all routers, but for the number of clients that wait here.
fn moves(context: &Context) -> Vec<Row> {
    let held = context.metrics.held_clients.value();
    let row = |one: &MoveStatus| {
        let holds = one.step == Step::Hold || one.step == Step::Moved;
        vec![
            int(one.id),
            string(&one.distribution),
            string(&one.parts),
            string(&one.source),
            string(&one.target),
            string(one.step.name()),
            Cell::Bool(one.reversing),
            Cell::Bool(one.paused),
            Cell::Bool(one.driven),
            int(if holds { held } else { 0 }),
            int(one.rows_total),
            int(one.rows_copied),
            int(one.bytes_total),
            int(one.bytes_copied),
            optional_int(one.seconds_left().map(whole)),
            int(one.lag_bytes),
            int(one.wal_bytes),
            optional_int(one.pause_ms),
            int(whole(one.age_s)),
            int(whole(one.step_s)),
            optional(one.error.as_deref()),
        ]
    };
    context.moves.iter().map(row).collect()
}

/// Seconds without their fraction.
fn whole(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_secs())
}

fn sorted(snapshot: &Snapshot) -> Vec<&shardgate_plan::snapshot::Distribution> {
    let mut all: Vec<_> = snapshot.distributions.values().collect();
    all.sort_by_key(|d| d.id);
    all
}

fn method_name(method: &Method) -> &'static str {
    match method {
        Method::Hash { .. } => "hash",
        Method::Range { .. } => "range",
        Method::List { .. } => "list",
    }
}

fn owners(method: &Method) -> Vec<ShardId> {
    match method {
        Method::Hash { owners } | Method::Range { owners, .. } => owners.clone(),
        Method::List { values, default } => values.values().chain(default).copied().collect(),
    }
}

fn distributions(snapshot: &Snapshot) -> Vec<Row> {
    let placements: Vec<_> = snapshot
        .relations
        .values()
        .flat_map(|s| s.values())
        .filter(|r| r.kind != RelationKind::Index)
        .map(|r| r.placement.clone())
        .collect();
    let row = |d: &shardgate_plan::snapshot::Distribution| {
        let here = |p: &&Placement| matches!(p, Placement::Distributed { distribution, .. } if *distribution == d.id);
        let mut shards = owners(&d.map.method);
        let pieces = shards.len();
        shards.extend(d.map.pins.values());
        shards.sort_unstable();
        shards.dedup();
        vec![
            int(d.id.0),
            string(&d.name),
            string(method_name(&d.map.method)),
            string(d.map.key_type.name()),
            int(pieces),
            int(d.map.pins.len()),
            int(shards.len()),
            int(placements.iter().filter(here).count()),
        ]
    };
    sorted(snapshot).into_iter().map(row).collect()
}

fn epoch(context: &Context) -> Vec<Row> {
    let snapshot = context.source.snapshot();
    let catalog = context.source.catalog();
    vec![vec![
        int(snapshot.epoch.number),
        string(text::uuid(&snapshot.epoch.id)),
        string(text::uuid(&snapshot.epoch.parent)),
        string(&snapshot.database),
        Cell::Bool(catalog.connected),
        optional(catalog.host),
        Cell::Bool(catalog.from_disk),
        optional(catalog.refused),
        optional(catalog.last_error),
    ]]
}

/// One row for each run of buckets of one shard, each range, each value of a list, and each pin.
fn map(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows = Vec::new();
    for d in sorted(snapshot) {
        let mut add = |kind: &str, low: Cell, high: Cell, shard: ShardId| {
            rows.push(vec![
                string(&d.name),
                string(method_name(&d.map.method)),
                string(kind),
                low,
                high,
                shard_name(snapshot, shard),
            ]);
        };
        match &d.map.method {
            Method::Hash { owners } => {
                let mut first = 0;
                for run in owners.chunk_by(|a, b| a == b) {
                    let last = first + run.len() - 1;
                    if let Some(shard) = run.first() {
                        add(
                            "buckets",
                            string(first.to_string()),
                            string(last.to_string()),
                            *shard,
                        );
                    }
                    first = last + 1;
                }
            }
            Method::Range { bounds, owners } => {
                for (at, shard) in owners.iter().enumerate() {
                    let low = at.checked_sub(1).and_then(|i| bounds.get(i));
                    let bound = |key| optional(Option::map(key, ToString::to_string));
                    add("range", bound(low), bound(bounds.get(at)), *shard);
                }
            }
            Method::List { values, default } => {
                let mut values: Vec<_> = values.iter().collect();
                values.sort();
                for (key, shard) in values {
                    add("value", string(key.to_string()), Cell::Null, *shard);
                }
                if let Some(shard) = default {
                    add("default", Cell::Null, Cell::Null, *shard);
                }
            }
        }
        let mut pins: Vec<_> = d.map.pins.iter().collect();
        pins.sort();
        for (key, shard) in pins {
            add("pin", string(key.to_string()), Cell::Null, *shard);
        }
    }
    rows
}

fn pools(context: &Context) -> Vec<Row> {
    let row = |p: super::PoolView| {
        let [seconds, micros] = wait(p.maxwait);
        vec![
            string(p.database),
            string(p.user),
            int(p.cl_active),
            int(p.cl_waiting),
            int(p.sv_active),
            int(p.sv_idle),
            int(p.sv_login),
            seconds,
            micros,
            string("transaction"),
            int(p.pool_size),
            string(p.shard),
            string(p.host),
            int(p.port),
            string(p.role),
        ]
    };
    let mut pools = context.source.pools();
    pools.sort_by(|a, b| {
        (&a.shard, &a.host, a.port, &a.user).cmp(&(&b.shard, &b.host, b.port, &b.user))
    });
    pools.into_iter().map(row).collect()
}

fn routers(context: &Context) -> Vec<Row> {
    vec![vec![
        int(context.config.router.id),
        string(&context.config.router.name),
        string(version()),
        string(text::time(context.started)),
        int(context.source.snapshot().epoch.number),
        int(context.source.clients().len()),
    ]]
}

fn servers(context: &Context) -> Vec<Row> {
    let row = |s: super::ServerView| {
        vec![
            string("S"),
            string(s.user),
            string(s.database),
            string(s.state),
            string(s.host),
            int(s.port),
            ip(s.local_addr),
            port(s.local_addr),
            string(text::time(s.connect_time)),
            string(text::time(s.request_time)),
            optional_int(s.client_pid),
            int(s.remote_pid),
            string(s.shard),
            string(s.role),
        ]
    };
    context.source.servers().into_iter().map(row).collect()
}

fn shards(context: &Context) -> Vec<Row> {
    let snapshot = context.source.snapshot();
    let row = |s: crate::health::ServerHealth| {
        let known = s.id.is_some();
        let weight = snapshot.shard(s.shard).map(|shard| shard.weight);
        vec![
            shard_name(&snapshot, s.shard),
            Cell::Bool(s.shard == snapshot.home),
            optional_int(weight),
            string(s.host),
            int(s.port),
            string(s.role.as_str()),
            Cell::Bool(s.usable || s.role == crate::health::ServerRole::Primary),
            optional_int(known.then_some(s.timeline)),
            optional(known.then(|| text::lsn(s.lsn))),
            optional_int(s.lag_bytes),
            optional_int(s.lag.map(|l| l.as_millis())),
            optional_int(s.latency.map(|l| l.as_micros())),
            int(s.busy),
            optional(s.error),
        ]
    };
    context.health.servers().into_iter().map(row).collect()
}

fn stats(context: &Context) -> Vec<Row> {
    let m = &context.metrics;
    vec![vec![
        string(&context.config.database.name),
        int(m.transactions.value()),
        int(m.queries.value()),
        int(m.client_bytes_received.value()),
        int(m.client_bytes_sent.value()),
        int(m.wait_time.sum_us()),
        int(m.errors_relayed.value() + m.errors_own.value()),
        int(m.refused.value()),
        int(m.reads_on_replica.value()),
        int(m.reads_on_primary_instead.value()),
    ]]
}

fn tables(snapshot: &Snapshot) -> Vec<Row> {
    let relations = snapshot.relations.values().flat_map(|s| s.values());
    let is_table = |r: &&std::sync::Arc<shardgate_plan::snapshot::Relation>| {
        matches!(r.kind, RelationKind::Table | RelationKind::PartitionedTable)
    };
    let mut tables: Vec<_> = relations.filter(is_table).collect();
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    let row = |r: &std::sync::Arc<shardgate_plan::snapshot::Relation>| {
        let (placement, distribution, key) = match &r.placement {
            Placement::Home => ("home", Cell::Null, Cell::Null),
            Placement::Reference => ("reference", Cell::Null, Cell::Null),
            Placement::Distributed { distribution, key } => (
                "distributed",
                optional(snapshot.distributions.get(distribution).map(|d| &d.name)),
                optional(r.columns.get(*key).map(|c| &c.name)),
            ),
        };
        vec![
            string(&r.schema),
            string(&r.name),
            string(placement),
            distribution,
            key,
        ]
    };
    tables.into_iter().map(row).collect()
}
