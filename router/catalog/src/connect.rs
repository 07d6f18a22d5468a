//! Connections for control work: finding the primary among several hosts, and one well-known session state.
//!
//! Roles are found by asking the servers. When several say that they are primaries (a failover was not clean), the one
//! on the newest timeline is taken. It must not know what the connection is used for.

use crate::error::CatalogError;
use crate::two_phase::Watch;
use futures_util::stream::{FuturesUnordered, StreamExt};
use shardgate_plan::snapshot::Host;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::config::Host as ConfigHost;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

/// How long one host may take to answer, unless the url says `connect_timeout`.
const CONNECT_MS: u64 = 5_000;
/// How long the other hosts are waited for once one has said that it is a primary.
const OTHER_PRIMARY_MS: u64 = 500;

/// What every session of this crate begins with, so that no setting of a role or database changes what our statements
/// mean. Locks are never waited for without a bound.
const SESSION: &str = "SET search_path = pg_catalog, pg_temp; SET standard_conforming_strings = on; \
    SET client_min_messages = warning; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; \
    SET bytea_output = hex; SET extra_float_digits = 1; SET default_transaction_isolation = 'read committed'; \
    SET default_transaction_read_only = off; SET default_transaction_deferrable = off; SET statement_timeout = 0; \
    SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '120s'; SET row_security = off; \
    SET quote_all_identifiers = off; SET check_function_bodies = off; SET client_encoding = 'UTF8'";

/// One connection of ours to the primary of a shard.
pub struct Backend {
    client: Client,
    config: Config,
    host: String,
    whom: String,
    notified: Arc<Notify>,
    driver: JoinHandle<()>,
    watch: Option<Watch>,
}

impl Backend {
    /// Connects to the primary among the hosts of `config`. `whom` names the server in errors: "the home shard".
    pub async fn primary(config: &Config, whom: &str) -> Result<Backend, CatalogError> {
        let candidates = single_hosts(config);
        if candidates.is_empty() {
            return Err(CatalogError::Unreachable {
                whom: whom.to_owned(),
                why: "no host is given".to_owned(),
            });
        }
        let mut open: FuturesUnordered<_> = candidates.iter().map(|one| ask(one, whom)).collect();
        let mut best: Option<(u32, Backend)> = None;
        let mut failures: Vec<CatalogError> = Vec::new();
        loop {
            let answer = match &best {
                None => open.next().await,
                Some(_) => {
                    tokio::time::timeout(Duration::from_millis(OTHER_PRIMARY_MS), open.next())
                        .await
                        .unwrap_or(None)
                }
            };
            match answer {
                None => break,
                Some(Ok((Some(timeline), backend))) => {
                    if best.as_ref().is_none_or(|(known, _)| *known < timeline) {
                        best = Some((timeline, backend));
                    }
                }
                Some(Ok((None, backend))) => failures.push(CatalogError::Unreachable {
                    whom: backend.host.clone(),
                    why: "it is a standby".to_owned(),
                }),
                Some(Err(error)) => failures.push(error),
            }
        }
        drop(open);
        match (best, failures.len()) {
            (Some((_, mut backend)), _) => {
                backend.config = config.clone();
                Ok(backend)
            }
            // One host: its own error, with the server's SQLSTATE, says it best.
            (None, 1) => Err(failures.swap_remove(0)),
            (None, _) => {
                let why = failures
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; ");
                Err(CatalogError::Unreachable {
                    whom: whom.to_owned(),
                    why: format!("no host is a primary: {why}"),
                })
            }
        }
    }

    /// Connections to the standbys among the hosts of `config` that answer within `wait`.
    pub(crate) async fn standbys(config: &Config, whom: &str, wait: Duration) -> Vec<Backend> {
        let candidates = single_hosts(config);
        let asked = candidates
            .iter()
            .map(|one| tokio::time::timeout(wait, ask(one, whom)));
        let answers = futures_util::future::join_all(asked).await;
        let standby = |answer| match answer {
            Ok(Ok((None, backend))) => Some(backend),
            Ok(Ok((Some(_), _)) | Err(_)) | Err(_) => None,
        };
        answers.into_iter().filter_map(standby).collect()
    }

    /// Changes that are begun on this connection tell their edges.
    pub fn watched(mut self, watch: Option<Watch>) -> Backend {
        self.watch = watch;
        self
    }

    pub(crate) fn watch(&self) -> Option<Watch> {
        self.watch.clone()
    }

    /// The settings that it was made from, with all hosts.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `host:port` of the server in use.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name in errors.
    pub fn whom(&self) -> &str {
        &self.whom
    }

    /// Signalled for every notification and once when the connection ends.
    pub(crate) fn notified(&self) -> Arc<Notify> {
        Arc::clone(&self.notified)
    }

    /// An error of this connection.
    pub(crate) fn err(&self, error: &tokio_postgres::Error) -> CatalogError {
        CatalogError::of(&self.whom, error)
    }

    /// Runs statements without parameters.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), CatalogError> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|error| self.err(&error))
    }
}

impl Deref for Backend {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Backend {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Without this the task would live on while a statement is under way: its connection must end with us.
        self.driver.abort();
    }
}

/// Connects to one host and asks whether it is a primary, and on which timeline.
async fn ask(config: &Config, whom: &str) -> Result<(Option<u32>, Backend), CatalogError> {
    let host = describe(config);
    let wait = config
        .get_connect_timeout()
        .copied()
        .unwrap_or(Duration::from_millis(CONNECT_MS));
    let label = format!("{whom} ({host})");
    let timed_out = || CatalogError::Unreachable {
        whom: label.clone(),
        why: format!("no answer in {} ms", wait.as_millis()),
    };
    let connected = tokio::time::timeout(wait, config.connect(NoTls))
        .await
        .map_err(|_| timed_out())?;
    let (client, mut connection) = connected.map_err(|error| CatalogError::of(&label, &error))?;
    let notified = Arc::new(Notify::new());
    let wake = Arc::clone(&notified);
    let driver = tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => wake.notify_one(),
                // Notices are of no use to anybody here.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        wake.notify_one();
    });
    let backend = Backend {
        client,
        config: config.clone(),
        host,
        whom: whom.to_owned(),
        notified,
        driver,
        watch: None,
    };
    let asked = async {
        backend.run(SESSION).await?;
        let row = backend
            .query_one(
                "SELECT CASE WHEN pg_is_in_recovery() THEN NULL \
                 ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END",
                &[],
            )
            .await
            .map_err(|error| backend.err(&error))?;
        Ok::<Option<String>, CatalogError>(row.get(0))
    };
    let timeline = tokio::time::timeout(wait, asked)
        .await
        .map_err(|_| timed_out())??;
    let timeline = timeline.map(|hex| u32::from_str_radix(&hex, 16).unwrap_or(0));
    Ok((timeline, backend))
}

/// One configuration for each host of a configuration.
fn single_hosts(config: &Config) -> Vec<Config> {
    let hosts = config.get_hosts();
    let addresses = config.get_hostaddrs();
    let ports = config.get_ports();
    let count = hosts.len().max(addresses.len());
    (0..count)
        .map(|i| {
            let mut one = without_hosts(config);
            match hosts.get(i) {
                Some(ConfigHost::Tcp(name)) => {
                    one.host(name.as_str());
                }
                Some(ConfigHost::Unix(path)) => {
                    one.host_path(path);
                }
                None => {}
            }
            if let Some(address) = addresses.get(i) {
                one.hostaddr(*address);
            }
            one.port(ports.get(i).or(ports.first()).copied().unwrap_or(5432));
            one
        })
        .collect()
}

/// A copy of everything but hosts and ports: tokio-postgres can add hosts and cannot take them away.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(dbname) = config.get_dbname() {
        copy.dbname(dbname);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    if let Some(wait) = config.get_connect_timeout() {
        copy.connect_timeout(*wait);
    }
    if let Some(wait) = config.get_tcp_user_timeout() {
        copy.tcp_user_timeout(*wait);
    }
    copy.ssl_mode(config.get_ssl_mode());
    copy.channel_binding(config.get_channel_binding());
    copy.keepalives(config.get_keepalives());
    copy.keepalives_idle(config.get_keepalives_idle());
    copy
}

/// The credentials of `base` with other hosts, and another database if one is named.
pub fn config_for(base: &Config, hosts: &[Host], dbname: Option<&str>) -> Config {
    let mut config = without_hosts(base);
    for host in hosts {
        config.host(host.host.as_str());
        config.port(host.port);
    }
    if let Some(dbname) = dbname {
        config.dbname(dbname);
    }
    config
}

/// The hosts of a configuration, as they are stored in the catalog.
pub fn hosts_of(config: &Config) -> Vec<Host> {
    single_hosts(config)
        .iter()
        .map(|one| Host {
            host: host_name(one),
            port: one.get_ports().first().copied().unwrap_or(5432),
        })
        .collect()
}

fn host_name(config: &Config) -> String {
    match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(ConfigHost::Tcp(name)), _) => name.clone(),
        (Some(ConfigHost::Unix(path)), _) => PathBuf::from(path).display().to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => String::new(),
    }
}

fn describe(config: &Config) -> String {
    format!(
        "{}:{}",
        host_name(config),
        config.get_ports().first().copied().unwrap_or(5432)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_split_and_replaced() {
        let config: Config = "postgres://u:p@a:1,b:2/db".parse().unwrap();
        let host = |host: &str, port| Host {
            host: host.to_owned(),
            port,
        };
        assert_eq!(hosts_of(&config), [host("a", 1), host("b", 2)]);
        let other = config_for(&config, &[host("/tmp/x", 3), host("c", 4)], Some("other"));
        assert_eq!(hosts_of(&other), [host("/tmp/x", 3), host("c", 4)]);
        assert_eq!(
            (other.get_user(), other.get_dbname()),
            (Some("u"), Some("other"))
        );
        assert_eq!(other.get_password(), Some(&b"p"[..]));
    }
}
