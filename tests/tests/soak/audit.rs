//! Asks every shard, past the routers, for all rows that it has, and compares them with the ledgers and the map.

use crate::compare::{Fault, Found, Item, Kind, compare};
use crate::ledger::{Key, Ledger, Row};
use crate::map::Map;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long what is under way may go on after the clients have ended.
const QUIET: Duration = Duration::from_secs(60);

/// A move that is not over: keys of these buckets may have a copy on the other shard.
#[derive(Clone, Debug)]
pub struct Copies {
    pub distribution: i32,
    pub buckets: Vec<i32>,
    pub pins: Vec<String>,
    /// Source and target.
    pub shards: [usize; 2],
}

impl Copies {
    fn of(&self, owner: usize) -> Option<usize> {
        match self.shards {
            [one, other] if owner == one => Some(other),
            [one, other] if owner == other => Some(one),
            _ => None,
        }
    }
}

/// What is wrong, after all clients have stopped. It settles what the ledgers do not know.
pub async fn audit(
    world: &World,
    ledgers: &mut [&mut Ledger],
    copies: &[Copies],
) -> Result<Vec<Fault>> {
    quiet(world).await?;
    let map = Map::load(&world.running).await?;
    let mut found = Vec::new();
    let mut faults = Vec::new();
    let mut ballast: HashMap<i64, u32> = HashMap::new();
    for shard in 0..world.running.cluster.shards.len() {
        for table in ["parent", "child", "entry", "named"] {
            found.extend(rows(world, &map, copies, shard, table).await?);
        }
        let heavy = heavy(world, &map, copies, shard, &mut ballast).await?;
        faults.extend(heavy);
    }
    faults.extend(compare(ledgers, &found));
    for k in 1..=world.ballast {
        if !ballast.contains_key(&-k) {
            let text = format!("{} of ballast", -k);
            faults.push(Fault {
                kind: Kind::Lost,
                text,
            });
        }
    }
    Ok(faults)
}

/// Where one row may be.
fn places(
    map: &Map,
    copies: &[Copies],
    table: &str,
    (key, bucket): (&str, i32),
) -> Result<(usize, Option<usize>)> {
    let distribution = map.of(table)?;
    let owner = distribution.owner(key, bucket)?;
    let copy = copies
        .iter()
        .filter(|copies| copies.distribution == distribution.id)
        .filter(|copies| {
            let pinned = copies.pins.iter().any(|pin| pin == key);
            pinned || copies.buckets.contains(&bucket)
        })
        .find_map(|copies| copies.of(owner));
    Ok((owner, copy))
}

async fn rows(
    world: &World,
    map: &Map,
    copies: &[Copies],
    shard: usize,
    table: &str,
) -> Result<Vec<Found>> {
    let key = if table == "named" { "name" } else { "k" };
    let columns = match table {
        "child" => "id, NULL::int, n, true",
        "entry" => "0, NULL::int, n, true",
        _ => "0, b, n, big IS NOT DISTINCT FROM repeat(md5(b::text), 160)",
    };
    let bucket = map.bucket_sql(table, key)?;
    let sql = format!("SELECT {key}::text, {bucket}, {columns} FROM {table}");
    let session = world.running.connect_shard(shard).await?;
    let mut found = Vec::new();
    for row in session.query(&sql, &[]).await.context(sql.clone())? {
        let (key, bucket): (String, i32) = (row.get(0), row.get(1));
        let (owner, copy) = places(map, copies, table, (&key, bucket))?;
        let (id, b, n, intact) = (row.get(2), row.get(3), row.get(4), row.get(5));
        let item = match table {
            "child" => Item::Child { id, n },
            "entry" => Item::Entry { n },
            _ => {
                let row = Row { n, b };
                Item::Row { row, intact }
            }
        };
        let key = match table {
            "named" => Key::Name(key),
            _ => Key::Number(key.parse()?),
        };
        found.push(Found {
            shard,
            owner,
            copy,
            key,
            item,
        });
    }
    Ok(found)
}

/// The rows that nobody changes.
async fn heavy(
    world: &World,
    map: &Map,
    copies: &[Copies],
    shard: usize,
    seen: &mut HashMap<i64, u32>,
) -> Result<Vec<Fault>> {
    let bucket = map.bucket_sql("ballast", "k")?;
    let sql = format!("SELECT k, {bucket}, v = md5(k::text) FROM ballast");
    let session = world.running.connect_shard(shard).await?;
    let mut faults = Vec::new();
    for row in session.query(&sql, &[]).await.context(sql.clone())? {
        let (k, bucket, same): (i64, i32, bool) = (row.get(0), row.get(1), row.get(2));
        let (owner, copy) = places(map, copies, "ballast", (&k.to_string(), bucket))?;
        let mut fault = |kind| {
            let text = format!("{k} of ballast on shard {shard} of the list");
            faults.push(Fault { kind, text });
        };
        if owner == shard {
            let count = seen.entry(k).or_default();
            *count += 1;
            if *count > 1 {
                fault(Kind::Doubled);
            }
            if !same {
                fault(Kind::Corrupt);
            }
        } else if copy != Some(shard) {
            fault(Kind::Misplaced);
        }
    }
    Ok(faults)
}

/// Waits until the shards have nothing of the application under way: no transaction, none that is prepared.
pub async fn quiet(world: &World) -> Result<()> {
    let sql = "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
            AND datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL \
            AND query ~ '(parent|child|entry|named)' AND query !~ 'pg_stat|pg_replication|pg_subscription') \
        + (SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'shardgate:%')";
    let start = Instant::now();
    let mut calm = 0;
    while calm < 2 {
        let mut busy = 0;
        for shard in 0..world.running.cluster.shards.len() {
            let session = world.running.connect_shard(shard).await?;
            let count: i64 = session.query_one(sql, &[]).await?.get(0);
            busy += count;
        }
        calm = if busy == 0 { calm + 1 } else { 0 };
        ensure!(
            start.elapsed() < QUIET,
            "{busy} transactions are under way {QUIET:?} after the clients have ended"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
