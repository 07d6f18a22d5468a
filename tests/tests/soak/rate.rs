//! How fast a move copies, against a plain COPY of the same rows between the same two servers.

use crate::map::Map;
use crate::random;
use crate::verbs::{Verb, copied};
use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A row of about 150 bytes, and an index beside the primary key.
const TABLE: &[&str] = &[
    "CREATE TABLE wide (k bigint PRIMARY KEY, a int NOT NULL, at timestamptz NOT NULL, b text NOT NULL)",
    "SELECT create_distributed_table('wide', 'k')",
    "CREATE INDEX wide_a ON wide (a)",
];

/// Prints both rates, and says how the first one relates to the second one, in percent.
pub async fn compare() -> Result<u64> {
    let rows = random::number("ROWS", 400_000)?;
    let running = Running::start_with(2, 0, |builder| builder.setting("max_wal_size", "2GB"));
    let router = running.connect().await?;
    for sql in TABLE {
        router.simple_query(sql).await.context(*sql)?;
    }
    let map = Map::load(&running).await?;
    let buckets = map.buckets_of("wide", 0)?;
    let source = running.connect_shard(0).await?;
    let sql = format!(
        "INSERT INTO wide SELECT k, k % 1000, now(), repeat(md5(k::text), 3) FROM generate_series(1, {rows}) k \
         WHERE {} = ANY ($1)",
        map.bucket_sql("wide", "k")?
    );
    source.execute(&sql, &[&buckets]).await?;
    for sql in ["VACUUM ANALYZE wide", "CHECKPOINT"] {
        source.batch_execute(sql).await?;
    }
    let count: i64 = source
        .query_one("SELECT count(*) FROM wide", &[])
        .await?
        .get(0);
    let plain = plain(&running).await?;
    let start = Instant::now();
    let buckets: BTreeSet<u32> = buckets
        .into_iter()
        .map(u32::try_from)
        .collect::<Result<_, _>>()?;
    let name = running.cluster.shards[1].name.clone();
    let home = running.catalog_url();
    let arguments = [
        "start",
        "--of",
        "wide",
        "--buckets",
        &crate::episode::runs(&buckets),
        "--to",
        &name,
    ];
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let mut verb = Verb::start(&running.cluster.dir, &home, &arguments)?;
    let ended = loop {
        if let Some(ended) = verb.poll()? {
            break ended;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    ensure!(ended.status.success(), "{ended}");
    let all = start.elapsed();
    let (moved, took) = copied(&running).await?;
    ensure!(moved >= count, "{moved} of {count} rows were copied");
    let rate = |rows: i64, time: Duration| rows as f64 / time.as_secs_f64();
    let (ours, theirs) = (rate(moved, took), rate(count, plain));
    println!("COPY: {count} rows in {plain:?}, {theirs:.0} rows/s");
    println!(
        "move: {moved} rows in {took:?}, {ours:.0} rows/s; from the start to the end of the verification {all:?}"
    );
    Ok((100.0 * ours / theirs) as u64)
}

/// COPY TO into COPY FROM by a pipe between two psql, into an empty table with the same indexes.
async fn plain(running: &Running) -> Result<Duration> {
    let target = running.connect_shard(1).await?;
    target
        .batch_execute("CREATE TABLE plain (LIKE wide INCLUDING INDEXES)")
        .await?;
    let psql = |shard, sql| {
        let mut command = Command::new("psql");
        command.args([
            "--no-psqlrc",
            "--quiet",
            "-c",
            sql,
            &running.shard_url(shard),
        ]);
        command
    };
    let start = Instant::now();
    let mut from = psql(0, "COPY wide TO STDOUT")
        .stdout(Stdio::piped())
        .spawn()?;
    let pipe = from.stdout.take().context("no stdout")?;
    let mut to = psql(1, "COPY plain FROM STDIN").stdin(pipe).spawn()?;
    let ended = tokio::task::block_in_place(|| anyhow::Ok((from.wait()?, to.wait()?)))?;
    let took = start.elapsed();
    ensure!(ended.0.success() && ended.1.success(), "{ended:?}");
    for sql in ["DROP TABLE plain", "CHECKPOINT"] {
        target.batch_execute(sql).await?;
    }
    Ok(took)
}
