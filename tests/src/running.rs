//! A whole deployment on this machine: shards with replicas, the catalog, one router in front of them.
//!
//! For tests that look at both sides: what the application sees through the router, and what the shards hold. It
//! decides nothing but how things are started; everything ends when the value is dropped, the router first.

use crate::drivers;
use anyhow::{Context, Result, anyhow, ensure};
use shard_admin::cluster::{
    Auth, Cluster, ClusterBuilder, ClusterError, Login, Ports, RouterConfig, RouterProcess, Rows,
    connection_url, query, router_binary,
};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

/// The database on every shard, and the one that clients name.
const DATABASE: &str = "app";

/// How long a session may take to begin.
const CONNECT_DEADLINE: Duration = Duration::from_secs(20);

/// What a deployment is to be like.
#[derive(Debug)]
pub struct RunningBuilder {
    cluster: ClusterBuilder,
    auth: Auth,
    env: Vec<(String, String)>,
    pool_size: u32,
}

impl RunningBuilder {
    /// Default 2.
    pub fn shards(mut self, count: u16) -> Self {
        self.cluster = self.cluster.shards(count);
        self
    }

    /// Of each shard; default 1.
    pub fn replicas(mut self, count: u16) -> Self {
        self.cluster = self.cluster.replicas(count);
        self
    }

    /// One line of every server's configuration.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.cluster = self.cluster.setting(name, value);
        self
    }

    /// How clients prove who they are, to the router and to the servers; default trust.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.cluster = self.cluster.auth(auth.clone());
        self.auth = auth;
        self
    }

    /// The router's backends for each server and role; default 20.
    pub fn pool_size(mut self, count: u32) -> Self {
        self.pool_size = count;
        self
    }

    /// A setting of the router by environment variable, for example `SHARDGATE__LIMITS__DRAIN_TIMEOUT`.
    pub fn router_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A setting of the router by its name in the configuration file, for example `limits.drain_timeout`.
    pub fn router_setting(self, name: &str, value: &str) -> Self {
        let variable = format!("SHARDGATE__{}", name.to_uppercase().replace('.', "__"));
        self.router_env(&variable, value)
    }

    /// Starts everything; blocking. On a worker of an async runtime use [`RunningBuilder::start_async`].
    pub fn start(self) -> Result<Running> {
        let binary = router_binary().map_err(full)?;
        let cluster = self.cluster.start().map_err(full)?;
        if self.auth != Auth::Trust {
            share_verifier(&cluster)?;
        }
        shard_admin::demo::catalog::create(&cluster, DATABASE)?;
        let home = cluster
            .shards
            .first()
            .context("a deployment needs a shard")?;
        let hosts = home.nodes().map(|node| (node.host.clone(), node.port));
        let mut config =
            RouterConfig::new(cluster.dir.join("router"), hosts.collect()).map_err(full)?;
        config.auth = self.auth;
        config.env = self.env;
        config.pool_size = self.pool_size;
        let router = RouterProcess::start(&binary, &config).map_err(full)?;
        Ok(Running {
            router,
            config,
            binary,
            cluster,
        })
    }

    /// As [`RunningBuilder::start`], from async code.
    pub async fn start_async(self) -> Result<Running> {
        tokio::task::spawn_blocking(|| self.start())
            .await
            .context("starting a deployment panicked")?
    }
}

/// A running deployment. Fields are dropped in order: the router ends before its servers.
#[derive(Debug)]
pub struct Running {
    pub router: RouterProcess,
    /// To start the router again after it was killed, or a second one after changing ports and directory.
    pub config: RouterConfig,
    binary: PathBuf,
    /// `shards[0]` is home.
    pub cluster: Cluster,
}

impl Running {
    pub fn builder() -> RunningBuilder {
        RunningBuilder {
            cluster: Cluster::builder().database(DATABASE),
            auth: Auth::Trust,
            env: Vec::new(),
            pool_size: 20,
        }
    }

    /// Starts `shards` shards with `replicas` replicas each; blocking, also from async code.
    ///
    /// # Panics
    /// If something does not start, with its log: a test cannot go on without it.
    pub fn start(shards: u16, replicas: u16) -> Running {
        Running::start_with(shards, replicas, |builder| builder)
    }

    /// As [`Running::start`], as `change` changes it.
    pub fn start_with(
        shards: u16,
        replicas: u16,
        change: impl FnOnce(RunningBuilder) -> RunningBuilder,
    ) -> Running {
        let builder = change(Running::builder().shards(shards).replicas(replicas));
        // A thread of its own, because making the catalog waits for a runtime that it starts itself.
        let started = std::thread::scope(|scope| {
            let thread = scope.spawn(|| builder.start());
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        match started {
            Ok(running) => running,
            Err(error) => panic!("the deployment does not start: {error:?}"),
        }
    }

    /// The name of the database, through the router and on the shards.
    pub fn database(&self) -> &str {
        DATABASE
    }

    /// The router, as the superuser.
    pub fn url(&self) -> String {
        self.url_of(&self.config.auth.superuser())
    }

    /// The router, as another role that needs no password.
    pub fn url_as(&self, user: &str) -> String {
        self.url_of(&Login {
            user: user.to_owned(),
            password: None,
        })
    }

    /// The router, as this role.
    pub fn url_of(&self, login: &Login) -> String {
        connection_url(login, "127.0.0.1", self.router.port, DATABASE)
    }

    /// The router's own database, for SHOW.
    pub fn console_url(&self) -> String {
        let login = self.config.auth.superuser();
        connection_url(&login, "127.0.0.1", self.router.port, "shardgate")
    }

    /// For `SHARDGATE_CATALOG` and `--catalog`.
    pub fn catalog_url(&self) -> String {
        self.shard_url(0)
    }

    /// The primary of `shards[shard]`, past the router.
    pub fn shard_url(&self, shard: usize) -> String {
        self.cluster.shards[shard].primary.url(DATABASE, "postgres")
    }

    /// psql's output for a script through the router: unaligned rows, no headings, without the last line's end.
    ///
    /// # Panics
    /// If a statement fails.
    pub fn psql(&self, script: &str) -> String {
        let output = drivers::psql(&self.url(), script).and_then(drivers::Finished::success);
        match output {
            Ok(output) => output.trim_end_matches('\n').to_owned(),
            Err(error) => panic!("psql failed for {script}: {error}"),
        }
    }

    /// The rows of SQL on the primary of `shards[shard]`, past the router, as text; blocking.
    pub fn on_shard(&self, shard: usize, sql: &str) -> Result<Rows> {
        let shard = &self.cluster.shards[shard];
        shard
            .primary
            .query(DATABASE, sql)
            .map_err(full)
            .with_context(|| format!("on {}: {sql}", shard.name))
    }

    /// The rows of SQL on the router's console, as text; blocking.
    pub fn console(&self, sql: &str) -> Result<Rows> {
        query(&self.console_url(), sql)
            .map_err(full)
            .with_context(|| format!("on the console: {sql}"))
    }

    /// A session through the router.
    pub async fn connect(&self) -> Result<Session> {
        Session::open(&self.url()).await
    }

    /// A session with the primary of `shards[shard]`, past the router.
    pub async fn connect_shard(&self, shard: usize) -> Result<Session> {
        Session::open(&self.shard_url(shard)).await
    }

    /// Starts one more router on the same catalog, with ports and a folder of its own. `id` is not 1; a router that was
    /// killed starts again by the same number. `env` are variables of its environment. Blocking.
    pub fn another_router(&self, id: u16, env: &[(&str, &str)]) -> Result<RouterProcess> {
        let mut config = self.config.clone();
        config.name = format!("router{id}");
        config.ports = Ports::free().map_err(full)?;
        config.dir = self.cluster.dir.join(&config.name);
        let number = id.to_string();
        let own = [("SHARDGATE__ROUTER__ID", number.as_str())];
        for (name, value) in own.iter().chain(env) {
            config.env.push(((*name).to_owned(), (*value).to_owned()));
        }
        RouterProcess::start(&self.binary, &config).map_err(full)
    }

    /// A session through another router than the first.
    pub async fn connect_to(&self, router: &RouterProcess) -> Result<Session> {
        let login = self.config.auth.superuser();
        Session::open(&connection_url(&login, "127.0.0.1", router.port, DATABASE)).await
    }

    /// Starts the router again, on the same ports, after it was stopped or killed; blocking.
    pub fn restart_router(&mut self) -> Result<()> {
        self.router.stop();
        self.router = RouterProcess::start(&self.binary, &self.config).map_err(full)?;
        Ok(())
    }
}

/// Gives the superuser the home shard's password verifier on every shard: with a salt of its own on each, a client that
/// has proven its password once could not be logged in everywhere.
fn share_verifier(cluster: &Cluster) -> Result<()> {
    let mut verifier = None;
    for shard in &cluster.shards {
        match &verifier {
            None => {
                let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'";
                let rows = shard.primary.query("postgres", sql).map_err(full)?;
                verifier = rows.into_iter().flatten().flatten().next();
                ensure!(verifier.is_some(), "the superuser has no password");
            }
            Some(verifier) => {
                let sql = format!("ALTER ROLE postgres PASSWORD '{verifier}'");
                shard.primary.query("postgres", &sql).map_err(full)?;
            }
        }
    }
    Ok(())
}

fn full(error: ClusterError) -> anyhow::Error {
    anyhow!(error.full_text())
}

/// One connection with the task that drives it; closing is dropping.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

impl Session {
    pub async fn open(url: &str) -> Result<Session> {
        let connect = tokio_postgres::connect(url, NoTls);
        let (client, connection) = tokio::time::timeout(CONNECT_DEADLINE, connect)
            .await
            .with_context(|| {
                format!(
                    "no session within {} s at {url}",
                    CONNECT_DEADLINE.as_secs()
                )
            })?
            .with_context(|| format!("cannot connect to {url}"))?;
        let driver = tokio::spawn(async move {
            // The calls of the client see the same error.
            let _end = connection.await;
        });
        Ok(Session { client, driver })
    }
}

impl std::ops::Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
