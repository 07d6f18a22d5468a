//! Asks every server of every shard who it is and how it is set up. It judges nothing.

use crate::cli::host_text;
use crate::failure::Failure;
use shardgate_catalog::{RawSnapshot, config_for};
use shardgate_plan::snapshot::{Host, Shard, Snapshot};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::{Client, Config, NoTls};

/// How long one server may take for all answers.
const DEADLINE: Duration = Duration::from_secs(10);

/// The settings that are asked for.
const SETTINGS: [&str; 9] = [
    "server_version",
    "server_version_num",
    "server_encoding",
    "wal_level",
    "max_prepared_transactions",
    "max_wal_senders",
    "fsync",
    "full_page_writes",
    "synchronous_standby_names",
];

/// What all servers have said.
#[derive(Debug)]
pub struct Survey {
    /// Ascending by the shards' ids.
    pub shards: Vec<SurveyedShard>,
}

#[derive(Debug)]
pub struct SurveyedShard {
    pub name: String,
    pub id: u16,
    pub home: bool,
    /// In the catalog's order.
    pub servers: Vec<Server>,
}

#[derive(Debug)]
pub struct Server {
    pub host: Host,
    /// The error is for people.
    pub answer: Result<Answer, String>,
}

/// What one server says of itself.
#[derive(Debug)]
pub struct Answer {
    pub connection: Connection,
    pub standby: bool,
    /// The primary's insert position, or what the standby has replayed.
    pub lsn: u64,
    /// `shardgate.identity`: cluster id, shard id. None: it does not know that it is a shard.
    pub identity: Option<(String, i16)>,
    pub settings: BTreeMap<String, String>,
    /// Roles that may log in, with their password as the server keeps it. None: it has none, or we may not read it.
    pub roles: BTreeMap<String, Option<String>>,
    /// Prepared transactions of others than the router that are older than five minutes.
    pub old_prepared: i64,
}

/// A connection with the task that drives it.
#[derive(Debug)]
pub struct Connection {
    pub client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl SurveyedShard {
    /// The servers that call themselves primaries; one, if all is well.
    pub fn primaries(&self) -> impl Iterator<Item = (&Server, &Answer)> {
        self.answers().filter(|(_, answer)| !answer.standby)
    }

    pub fn answers(&self) -> impl Iterator<Item = (&Server, &Answer)> {
        self.servers
            .iter()
            .filter_map(|server| server.answer.as_ref().ok().map(|answer| (server, answer)))
    }

    /// `shard host:port`
    pub fn place(&self, server: &Server) -> String {
        format!("{} {}", self.name, host_text(&server.host))
    }

    /// How far a standby is behind the shard's primary, in bytes of WAL.
    pub fn lag_bytes(&self, answer: &Answer) -> Option<u64> {
        let (_, primary) = self.primaries().next()?;
        answer
            .standby
            .then(|| primary.lsn.saturating_sub(answer.lsn))
    }
}

impl Answer {
    pub fn setting(&self, name: &str) -> &str {
        self.settings
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.setting("server_version_num")
            .parse::<u32>()
            .unwrap_or(0)
            / 10_000
    }

    pub fn number(&self, name: &str) -> u32 {
        self.setting(name).parse().unwrap_or(0)
    }
}

/// Asks all servers at the same time. `base` has the credentials.
pub async fn survey(
    base: &Config,
    raw: &RawSnapshot,
    snapshot: &Snapshot,
) -> Result<Survey, Failure> {
    let mut asked = JoinSet::new();
    for (s, shard) in snapshot.shards.iter().enumerate() {
        for (h, host) in shard.hosts.iter().enumerate() {
            let dbname = dbname(raw, shard).unwrap_or(snapshot.database.clone());
            let config = config_for(base, std::slice::from_ref(host), Some(&dbname));
            asked.spawn(async move { (s, h, ask_in_time(&config).await) });
        }
    }
    let mut answers = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        let (s, h, answer) = answer
            .map_err(|panic| Failure::new("asking a server failed").detail(panic.to_string()))?;
        answers.insert((s, h), answer);
    }
    let shards = snapshot.shards.iter().enumerate().map(|(s, shard)| {
        let server = |(h, host): (usize, &Host)| Server {
            host: host.clone(),
            answer: answers
                .remove(&(s, h))
                .unwrap_or_else(|| Err("it was not asked".to_owned())),
        };
        SurveyedShard {
            name: shard.name.clone(),
            id: shard.id.0,
            home: shard.id == snapshot.home,
            servers: shard.hosts.iter().enumerate().map(server).collect(),
        }
    });
    Ok(Survey {
        shards: shards.collect(),
    })
}

fn dbname(raw: &RawSnapshot, shard: &Shard) -> Option<String> {
    raw.shards
        .iter()
        .find(|row| row.id == shard.id.0)?
        .dbname
        .clone()
}

async fn ask_in_time(config: &Config) -> Result<Answer, String> {
    let timed_out = |_| format!("no answer within {} s", DEADLINE.as_secs());
    let answer = tokio::time::timeout(DEADLINE, ask(config))
        .await
        .map_err(timed_out)?;
    answer.map_err(|error| {
        let failure = Failure::from(error);
        failure.detail.map_or(failure.message.clone(), |detail| {
            format!("{}: {detail}", failure.message)
        })
    })
}

async fn ask(config: &Config) -> Result<Answer, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let driver = tokio::spawn(async move {
        // The client's calls see the same error.
        let _end = connection.await;
    });
    let connection = Connection { client, driver };
    let client = &connection.client;
    client
        .batch_execute("SET search_path = pg_catalog; SET default_transaction_read_only = on")
        .await?;
    let row = client
        .query_one(
            "SELECT pg_is_in_recovery(), (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') \
             ELSE pg_current_wal_insert_lsn() END - '0/0')::bigint, to_regclass('shardgate.identity') IS NOT NULL, \
             (SELECT count(*) FROM pg_prepared_xacts WHERE prepared < now() - interval '5 minutes' \
                 AND gid NOT LIKE 'shardgate:%')",
            &[],
        )
        .await?;
    let lsn: i64 = row.get(1);
    let identity = match row.get::<_, bool>(2) {
        true => {
            client
                .query_opt(
                    "SELECT cluster_id::text, shard_id FROM shardgate.identity",
                    &[],
                )
                .await?
        }
        false => None,
    };
    let names: Vec<String> = SETTINGS.iter().map(|name| (*name).to_owned()).collect();
    let settings = client
        .query(
            "SELECT name, setting FROM pg_settings WHERE name = ANY ($1::text[])",
            &[&names],
        )
        .await?;
    // Only a superuser may read pg_authid.
    let with_passwords = "SELECT rolname::text, rolpassword FROM pg_authid WHERE rolcanlogin";
    let without = "SELECT rolname::text, NULL::text FROM pg_roles WHERE rolcanlogin";
    let may: bool = client
        .query_one("SELECT has_table_privilege('pg_authid', 'SELECT')", &[])
        .await?
        .get(0);
    let roles = client
        .query(if may { with_passwords } else { without }, &[])
        .await?;
    let (standby, old_prepared) = (row.get(0), row.get(3));
    Ok(Answer {
        connection,
        standby,
        lsn: u64::try_from(lsn).unwrap_or(0),
        identity: identity.map(|row| (row.get(0), row.get(1))),
        settings: settings
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect(),
        roles: roles.iter().map(|row| (row.get(0), row.get(1))).collect(),
        old_prepared,
    })
}
