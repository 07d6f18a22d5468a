//! A backend, a replica, a client are killed while others work.

use anyhow::{Context, Result, ensure};
use shard_admin::cluster::{ProcessId, Signal};
use shardgate_tests::{Running, Session};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 10;
const KEYS: i64 = 40;

/// A key on each shard.
struct Keys {
    first: i64,
    second: i64,
}

pub async fn prepare(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    router
        .simple_query("CREATE TABLE kv (k bigint PRIMARY KEY, v bigint NOT NULL)")
        .await?;
    router
        .simple_query("SELECT create_distributed_table('kv', 'k')")
        .await?;
    for k in 1..=KEYS {
        router
            .simple_query(&format!("INSERT INTO kv VALUES ({k}, 0)"))
            .await?;
    }
    Ok(())
}

async fn keys(running: &Running) -> Result<Keys> {
    let of = async |shard: usize| -> Result<i64> {
        let session = running.connect_shard(shard).await?;
        Ok(session
            .query_one("SELECT min(k) FROM kv", &[])
            .await?
            .get(0))
    };
    Ok(Keys {
        first: of(0).await?,
        second: of(1).await?,
    })
}

/// Clients that repeat one statement until they are told to stop; their errors are counted.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    errors: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
}

impl Load {
    fn start(running: &Running, sql: &str) -> Load {
        let (stop, done, errors) = (Arc::default(), Arc::default(), Arc::default());
        let tasks = (0..CLIENTS)
            .map(|_| {
                let (url, sql) = (running.url(), sql.to_owned());
                let (stop, done, errors) =
                    (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&errors));
                tokio::spawn(repeat(url, sql, stop, done, errors))
            })
            .collect();
        Load {
            stop,
            done,
            errors,
            tasks,
        }
    }

    /// Waits until that many more statements were answered.
    async fn progress(&self, count: u64) -> Result<()> {
        let goal = self.done.load(Ordering::Relaxed) + count;
        let start = Instant::now();
        while self.done.load(Ordering::Relaxed) < goal {
            ensure!(
                start.elapsed() < Duration::from_secs(30),
                "the clients are stuck: {} errors",
                self.errors.load(Ordering::Relaxed)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The number of errors.
    async fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(20), task)
                .await
                .context("a client is stuck")???;
        }
        Ok(self.errors.load(Ordering::Relaxed))
    }
}

async fn repeat(
    url: String,
    sql: String,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    errors: Arc<AtomicU64>,
) -> Result<()> {
    let mut session = Session::open(&url).await?;
    while !stop.load(Ordering::Relaxed) {
        match session.simple_query(&sql).await {
            Ok(_) => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                errors.fetch_add(1, Ordering::Relaxed);
                println!("a client of {sql:?} sees: {error:?}");
                // A FATAL error ends the connection, which the client may not have seen yet.
                let fatal = error
                    .as_db_error()
                    .is_some_and(|db| db.severity() == "FATAL");
                if fatal || session.is_closed() {
                    session = Session::open(&url).await?;
                }
            }
        }
    }
    Ok(())
}

fn by_key(k: i64) -> String {
    format!("UPDATE kv SET v = v + 1 WHERE k = {k}")
}

fn read_key(k: i64) -> String {
    format!("SELECT v FROM kv WHERE k = {k}")
}

/// The backend of one statement is ended by the administrator: that client alone has an error.
pub async fn a_terminated_backend(running: &Running) -> Result<()> {
    let keys = keys(running).await?;
    let others = Load::start(running, &read_key(keys.second));
    let victim = running.connect().await?;
    let sleeping =
        victim.simple_query("/* shardgate: shard=s2 role=primary */ SELECT pg_sleep(30)");
    let shard = running.connect_shard(1).await?;
    let terminate = async {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND state = 'active' AND pid <> pg_backend_pid()";
        while shard.query(sql, &[]).await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        others.progress(200).await
    };
    let (slept, terminated) = tokio::join!(
        async {
            tokio::time::timeout(Duration::from_secs(15), sleeping)
                .await
                .context("the victim is stuck")
        },
        async {
            tokio::time::timeout(Duration::from_secs(15), terminate)
                .await
                .context("nothing to terminate")?
        }
    );
    terminated?;
    let error = slept?
        .err()
        .context("the terminated statement was answered")?;
    println!("the client of the terminated backend sees: {error}");
    let errors = others.end().await?;
    ensure!(
        errors == 0,
        "{errors} errors of clients that were not concerned"
    );
    running
        .connect()
        .await?
        .simple_query(&read_key(keys.second))
        .await?;
    Ok(())
}

/// psql is killed in a block, in a long statement, and while it reads a large result: nothing of it stays.
pub async fn a_killed_client(running: &Running) -> Result<()> {
    let keys = keys(running).await?;
    let home = running.connect_shard(0).await?;
    home.batch_execute("SET lock_timeout = '10s'").await?;
    let cases = [
        (format!("BEGIN; {}; SELECT 'marked';\n", by_key(keys.first)), "idle in transaction", "marked"),
        ("SET shardgate.role = 'primary'; SELECT pg_sleep(60), 'marked';\n".to_owned(), "active", "marked"),
        ("SET shardgate.role = 'primary'; SELECT repeat('marked', 1000) FROM generate_series(1, 100000000);\n".to_owned(), "active", "marked"),
    ];
    for (script, state, mark) in cases {
        let others = Load::start(running, &read_key(keys.first));
        let mut child = Command::new("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "-v",
                "FETCH_COUNT=0",
                &running.url(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        std::io::Write::write_all(&mut stdin, script.as_bytes())?;
        let count = "SELECT count(*) FROM pg_stat_activity WHERE state = $1 AND query LIKE '%' || $2 || '%' AND pid <> pg_backend_pid()";
        wait_for(&home, count, state, mark, 1)
            .await
            .with_context(|| script.clone())?;
        child.kill()?;
        child.wait()?;
        wait_for(&home, count, state, mark, 0)
            .await
            .with_context(|| format!("after the end of its client: {script}"))?;
        home.batch_execute(&by_key(keys.first))
            .await
            .context("the lock of a killed client")?;
        others.progress(100).await?;
        let errors = others.end().await?;
        ensure!(
            errors == 0,
            "{errors} errors of clients that were not concerned"
        );
    }
    Ok(())
}

async fn wait_for(
    session: &Session,
    sql: &str,
    state: &str,
    mark: &str,
    expected: i64,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let count: i64 = session.query_one(sql, &[&state, &mark]).await?.get(0);
        if count == expected {
            return Ok(());
        }
        ensure!(
            start.elapsed() < Duration::from_secs(15),
            "{count} backends, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The server under a replica dies: reads go on at the primary. One that was under way may fail, once.
pub async fn a_killed_replica(running: &Running) -> Result<()> {
    let keys = keys(running).await?;
    let replica = &running.cluster.shards[1].replicas[0];
    let (readers, writers, elsewhere) = (
        Load::start(running, &read_key(keys.second)),
        Load::start(running, &by_key(keys.second)),
        Load::start(running, &read_key(keys.first)),
    );
    readers.progress(300).await?;
    tokio::task::block_in_place(|| replica.kill9());
    for load in [&readers, &writers, &elsewhere] {
        load.progress(200).await?;
    }
    let (reading, writing, other) = (
        readers.end().await?,
        writers.end().await?,
        elsewhere.end().await?,
    );
    println!(
        "a replica killed: {reading} errors of {CLIENTS} readers, {writing} of writers, {other} elsewhere"
    );
    ensure!(
        reading <= CLIENTS as u64,
        "{reading} errors of {CLIENTS} readers"
    );
    ensure!(
        writing == 0 && other == 0,
        "{writing} and {other} errors of clients that were not concerned"
    );
    tokio::task::block_in_place(|| replica.start())
        .map_err(|error| anyhow::anyhow!(error.full_text()))
}

/// SIGKILL of one backend makes Postgres end all of that server's sessions. The other shard goes on undisturbed, and this
/// one is used again as soon as it has recovered.
pub async fn a_killed_backend(running: &Running) -> Result<()> {
    let keys = keys(running).await?;
    let writers = Load::start(running, &by_key(keys.second));
    let elsewhere = Load::start(running, &by_key(keys.first));
    writers.progress(300).await?;
    let shard = running.connect_shard(1).await?;
    let sql = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'UPDATE kv%' LIMIT 1";
    let pid: i32 = shard.query_one(sql, &[]).await?.get(0);
    ProcessId::of(u32::try_from(pid)?)
        .context("the backend has gone")?
        .signal(Signal::Kill);
    elsewhere.progress(300).await?;
    writers.progress(300).await.context("after the recovery")?;
    let (writing, other) = (writers.end().await?, elsewhere.end().await?);
    println!("a backend killed: {writing} errors of {CLIENTS} writers, {other} elsewhere");
    ensure!(other == 0, "{other} errors of clients of the other shard");
    Ok(())
}
