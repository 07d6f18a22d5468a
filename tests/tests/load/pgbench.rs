//! pgbench through the router: no error, the sums are right, nothing is left on the servers.

use anyhow::{Context, Result, ensure};
use shardgate_tests::{Finished, Running, pgbench, run};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);
/// The role of the load: its backends are the pool's, and no others.
const USER: &str = "app";
const POOL_SIZE: i64 = 20;
const SECONDS: &str = "4";

pub async fn prepare(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    router.simple_query("CREATE ROLE app LOGIN").await?;
    let url = running.shard_url(0);
    tokio::task::block_in_place(|| {
        pgbench(&url, &["-i", "-q", "-s", "10", "--no-vacuum"], DEADLINE)
    })?
    .success()?;
    let home = running.connect_shard(0).await?;
    home.batch_execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO app; ANALYZE")
        .await?;
    router
        .simple_query("CREATE TABLE kv (k bigint PRIMARY KEY, v bigint NOT NULL)")
        .await?;
    router
        .simple_query("SELECT create_distributed_table('kv', 'k')")
        .await?;
    router.simple_query("GRANT ALL ON kv TO app").await?;
    let insert = router.prepare("INSERT INTO kv VALUES ($1, 0)").await?;
    for k in 1..=500i64 {
        router.execute(&insert, &[&k]).await?;
    }
    Ok(())
}

/// What the load went through is only worth something if it was in the way.
pub fn clients_have_moved(running: &Running) -> Result<()> {
    let (_, page) = running.router.http_get("/metrics")?;
    let moved = page
        .lines()
        .find_map(|line| line.strip_prefix("shardgate_clients_moved_total "))
        .context("no count of moved clients")?;
    println!("{moved} clients went on on another thread");
    ensure!(
        moved.trim().parse::<u64>()? >= 10,
        "only {moved} have moved"
    );
    Ok(())
}

/// Transactions that pgbench reports, after it has reported no failure.
fn bench(running: &Running, arguments: &[&str]) -> Result<i64> {
    let url = running.url_as(USER);
    let all: Vec<&str> = ["-n", "-T", SECONDS, "-j", "2"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let finished = pgbench(&url, &all, DEADLINE)?;
    let Finished {
        status,
        stdout,
        stderr,
    } = &finished;
    let noise = |line: &&str| !line.starts_with("pgbench (") && !line.trim().is_empty();
    let complaints: Vec<&str> = stderr.lines().filter(noise).collect();
    ensure!(
        status.success() && complaints.is_empty(),
        "pgbench {arguments:?}: {status}\n{stderr}\n{stdout}"
    );
    ensure!(
        stdout.contains("number of failed transactions: 0 "),
        "{stdout}"
    );
    let count = stdout
        .lines()
        .find_map(|line| line.strip_prefix("number of transactions actually processed: "))
        .and_then(|text| text.split('/').next())
        .context("no count")?;
    let count: i64 = count.trim().parse()?;
    ensure!(
        count > 50,
        "only {count} transactions: pgbench {arguments:?}"
    );
    println!("pgbench {}: {count} transactions", arguments.join(" "));
    Ok(count)
}

pub async fn home_tables(running: &Running) -> Result<()> {
    let home = running.connect_shard(0).await?;
    let mut written = 0;
    for mode in ["simple", "extended", "prepared"] {
        tokio::task::block_in_place(|| bench(running, &["-S", "-c", "100", "-M", mode]))?;
        written += tokio::task::block_in_place(|| bench(running, &["-c", "50", "-M", mode]))?;
        nothing_is_left(running).await?;
    }
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), \
        (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history)::bigint, \
        (SELECT count(*) FROM pgbench_history)";
    let row = home.query_one(sums, &[]).await?;
    let sums: Vec<Option<i64>> = (0..4).map(|column| row.get(column)).collect();
    ensure!(
        sums.windows(2).all(|pair| pair[0] == pair[1]),
        "the sums differ: {sums:?}"
    );
    let history: i64 = row.get(4);
    ensure!(
        history == written,
        "{history} transactions are stored, {written} were acknowledged"
    );
    Ok(())
}

/// Reads and writes by key, over both shards.
pub async fn distributed_table(running: &Running) -> Result<()> {
    let mut script = tempfile::NamedTempFile::new()?;
    script.write_all(
        b"\\set k random(1, 500)\nSELECT v FROM kv WHERE k = :k;\nBEGIN;\nUPDATE kv SET v = v + 1 WHERE k = :k;\n\
          SELECT v FROM kv WHERE k = :k;\nCOMMIT;\n",
    )?;
    let path = script.path().to_string_lossy().into_owned();
    let mut written = 0;
    for mode in ["simple", "extended", "prepared"] {
        written +=
            tokio::task::block_in_place(|| bench(running, &["-f", &path, "-c", "60", "-M", mode]))?;
        nothing_is_left(running).await?;
    }
    let mut stored = 0;
    for shard in 0..2 {
        let session = running.connect_shard(shard).await?;
        let sum: i64 = session
            .query_one("SELECT sum(v)::bigint FROM kv", &[])
            .await?
            .get(0);
        ensure!(sum > 0, "shard {shard} took no write");
        stored += sum;
    }
    ensure!(
        stored == written,
        "{stored} updates are stored, {written} were acknowledged"
    );
    Ok(())
}

/// A connection for each transaction.
pub async fn reconnecting(running: &Running) -> Result<()> {
    tokio::task::block_in_place(|| bench(running, &["-S", "-C", "-c", "10"]))?;
    nothing_is_left(running).await?;
    // 200 clients that come at once.
    let url = running.url_as(USER);
    let finished = tokio::task::block_in_place(|| {
        run(
            Command::new("pgbench").args(["-n", "-S", "-c", "200", "-j", "2", "-t", "5", &url]),
            "",
            DEADLINE,
        )
    })?;
    let output = finished.success()?;
    ensure!(output.contains("1000/1000"), "{output}");
    nothing_is_left(running).await
}

/// No backend is in a transaction or busy, and there are no more than the pool may have.
async fn nothing_is_left(running: &Running) -> Result<()> {
    let sql = "SELECT count(*) FILTER (WHERE state <> 'idle'), count(*) FROM pg_stat_activity WHERE usename = $1";
    for shard in 0..running.cluster.shards.len() {
        let session = running.connect_shard(shard).await?;
        let start = Instant::now();
        loop {
            let row = session.query_one(sql, &[&USER]).await?;
            let (busy, all): (i64, i64) = (row.get(0), row.get(1));
            ensure!(
                all <= POOL_SIZE,
                "{all} backends on shard {shard}, the pool may have {POOL_SIZE}"
            );
            if busy == 0 {
                break;
            }
            // Clients that ended within a transaction: its backend is rolled back or closed.
            ensure!(
                start.elapsed() < Duration::from_secs(5),
                "{busy} backends of shard {shard} are not idle"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}
