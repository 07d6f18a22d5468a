//! One server of a shard: a connection that is kept, and the questions that are asked over it again and again.

use super::server::{Answer, Incarnation};
use super::shard::Shard;
use super::{Clock, Options};
use shardgate_plan::snapshot::Host;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, NoTls, Row, Statement};

/// Which run of which cluster it is. The checkpointer's start is null for a role without `pg_read_all_stats`.
const IDENTIFY: &str = "\
SELECT pg_catalog.pg_postmaster_start_time()::pg_catalog.text,
       (SELECT backend_start::pg_catalog.text FROM pg_catalog.pg_stat_activity
        WHERE backend_type OPERATOR(pg_catalog.=) 'checkpointer' LIMIT 1)";

const SYSTEM: &str =
    "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()";

/// The role, and the position. The positions are read before the receiver's timeline: a replica that switches its
/// timeline in between is then taken for further behind than it is, never for further ahead.
const PROBE: &str = "\
SELECT p.inserted, pg_catalog.substr(pg_catalog.pg_walfile_name(p.inserted), 1, 8), p.replayed,
       w.status, w.received_tli
FROM (SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery()
                  THEN pg_catalog.pg_current_wal_insert_lsn() END AS inserted,
             pg_catalog.pg_last_wal_replay_lsn() AS replayed OFFSET 0) p
LEFT JOIN pg_catalog.pg_stat_wal_receiver w ON true";

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The longest pause while the shard has no primary.
const BACKOFF_URGENT: Duration = Duration::from_millis(200);
/// Two questions are at least so far apart, however often somebody hurries.
const SPACING: Duration = Duration::from_millis(5);

/// A task that ends with its handle.
pub(super) struct Task(pub JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a server is not up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("the connection was closed")]
    Closed,
    #[error("an answer could not be read: {0}")]
    Odd(&'static str),
}

/// The server's own words if it has said any.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

/// Watches one server until the task is aborted.
pub(super) async fn run(shard: Arc<Shard>, host: Host, database: String, clock: &Clock) {
    let mut hurries = shard.hurries();
    let mut backoff = BACKOFF_MIN;
    loop {
        let began = Instant::now();
        let lost = watch_once(&shard, &host, &database, clock, &mut hurries).await;
        tracing::debug!(shard = shard.id().0, host = %host.host, port = host.port, %lost, "server lost");
        shard.lost(&host, lost.to_string());
        if began.elapsed() > BACKOFF_MAX {
            backoff = BACKOFF_MIN;
        }
        let urgent = shard.view().primary.is_none();
        let pause = if urgent {
            backoff.min(BACKOFF_URGENT)
        } else {
            backoff
        };
        tokio::time::sleep(pause).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// One connection, from its beginning to its end.
async fn watch_once(
    shard: &Shard,
    host: &Host,
    database: &str,
    clock: &Clock,
    hurries: &mut watch::Receiver<u64>,
) -> Lost {
    match connect(shard.options(), host, database).await {
        Err(lost) => lost,
        Ok((client, mut driver)) => {
            let asked = ask(shard, host, client, clock, hurries);
            tokio::select! {
                // The end of the connection is known at once, and not with the next question.
                _ = &mut driver.0 => Lost::Closed,
                lost = asked => lost,
            }
        }
    }
}

/// Connects to the shard's database, or to `postgres` where it has another name: what is asked is the same everywhere.
async fn connect(
    options: &Options,
    host: &Host,
    database: &str,
) -> Result<(Arc<Client>, Task), Lost> {
    match connect_to(options, host, database).await {
        Err(Lost::Postgres(error)) if error.code() == Some(&SqlState::UNDEFINED_DATABASE) => {
            connect_to(options, host, "postgres").await
        }
        connected => connected,
    }
}

async fn connect_to(
    options: &Options,
    host: &Host,
    database: &str,
) -> Result<(Arc<Client>, Task), Lost> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&host.host)
        .port(host.port)
        .dbname(database)
        .user(&options.user)
        .application_name(&options.application_name)
        .connect_timeout(options.connect_timeout)
        .options("-c statement_timeout=10s -c search_path=pg_catalog");
    if let Some(password) = &options.password {
        config.password(password.expose());
    }
    let connecting = tokio::time::timeout(options.connect_timeout, config.connect(NoTls));
    let (client, connection) = connecting
        .await
        .map_err(|_| Lost::Silent(options.connect_timeout))??;
    let driver = tokio::spawn(async move {
        // The error comes to those who wait for an answer as well.
        let _ = connection.await;
    });
    Ok((Arc::new(client), Task(driver)))
}

async fn ask(
    shard: &Shard,
    host: &Host,
    client: Arc<Client>,
    clock: &Clock,
    hurries: &mut watch::Receiver<u64>,
) -> Lost {
    let lost = async {
        let patience = shard.options().probe_timeout;
        let incarnation = in_time(patience, identify(&client, clock)).await?;
        let statement = in_time(patience, async { Ok(client.prepare(PROBE).await?) }).await?;
        shard.connected(host, client.clone());
        loop {
            hurries.borrow_and_update();
            let began = Instant::now();
            let answer = in_time(patience, probe(&client, &statement)).await?;
            shard.observe(host, &incarnation, &answer, began.elapsed(), clock);
            tokio::time::sleep(SPACING).await;
            let rest = shard.interval().saturating_sub(SPACING);
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                changed = hurries.changed() => changed.map_err(|_| Lost::Closed)?,
            }
        }
    };
    let ended: Result<std::convert::Infallible, Lost> = lost.await;
    match ended {
        Ok(never) => match never {},
        Err(lost) => lost,
    }
}

async fn in_time<T>(
    patience: Duration,
    question: impl Future<Output = Result<T, Lost>>,
) -> Result<T, Lost> {
    let answer = tokio::time::timeout(patience, question).await;
    answer.map_err(|_| Lost::Silent(patience))?
}

async fn identify(client: &Client, clock: &Clock) -> Result<Incarnation, Lost> {
    let row = client.query_one(IDENTIFY, &[]).await?;
    let postmaster: Option<String> = row.try_get(0)?;
    let checkpointer: Option<String> = row.try_get(1)?;
    // A role that may not call it still serves: clusters are then not told apart.
    let system = match client.query_one(SYSTEM, &[]).await {
        Ok(row) => row.try_get(0)?,
        Err(error) if error.as_db_error().is_some() => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Incarnation {
        connection: clock.next_endpoint().0,
        system,
        started: postmaster.zip(checkpointer),
    })
}

async fn probe(client: &Client, statement: &Statement) -> Result<Answer, Lost> {
    answer(&client.query_one(statement, &[]).await?)
}

fn answer(row: &Row) -> Result<Answer, Lost> {
    let inserted: Option<PgLsn> = row.try_get(0)?;
    let name: Option<String> = row.try_get(1)?;
    let replayed: Option<PgLsn> = row.try_get(2)?;
    let status: Option<String> = row.try_get(3)?;
    let received: Option<i32> = row.try_get(4)?;
    if let Some(inserted) = inserted {
        let name = name.ok_or(Lost::Odd("a primary without a WAL file"))?;
        let timeline = timeline_from_name(&name).ok_or(Lost::Odd("the name of a WAL file"))?;
        return Ok(Answer::Primary {
            timeline,
            inserted: inserted.into(),
        });
    }
    let timeline = received.and_then(|t| u32::try_from(t).ok());
    Ok(Answer::Standby {
        streaming: status.as_deref() == Some("streaming") && timeline.is_some(),
        timeline: timeline.filter(|t| *t != 0),
        replayed: replayed.map_or(0, u64::from),
    })
}

/// The first eight digits of a WAL file's name are its timeline.
pub(super) fn timeline_from_name(name: &str) -> Option<u32> {
    u32::from_str_radix(name.get(..8)?, 16).ok()
}
