//! A cluster with a router in front of it, for tests that look at both: what the application sees through the router,
//! and what the shards hold.
//!
//! It decides nothing but how they are started; everything ends when the value is dropped, the router first.

use crate::deployment::Session;
use crate::drivers;
use anyhow::{Context, Result, anyhow};
use shard_admin::cluster::{
    Auth, Cluster, ClusterError, Login, RouterConfig, RouterProcess, Rows, connection_url, query,
    router_binary,
};
use std::path::PathBuf;

/// The database on every shard, and the one that clients name.
const DATABASE: &str = "app";

/// What may differ from test to test; the value before the change is the default.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Backends for each server and role; 20.
    pub pool_size: u32,
    /// Of the router and of the servers; trust.
    pub auth: Auth,
    /// Lines of every server's configuration.
    pub server_settings: Vec<(String, String)>,
    router_env: Vec<(String, String)>,
}

impl Setup {
    /// A setting of the router by its name in the configuration file, for example `limits.message_bytes`.
    pub fn set(&mut self, name: &str, value: &str) {
        let variable = format!("SHARDGATE__{}", name.to_uppercase().replace('.', "__"));
        self.router_env.push((variable, value.to_owned()));
    }
}

/// Shards, their replicas, the catalog and one router. Fields are dropped in order: the router ends first.
#[derive(Debug)]
pub struct Running {
    pub router: RouterProcess,
    /// To start the router again, or a second one after ports and directory were changed.
    pub config: RouterConfig,
    /// The shard `s1` is `shards[0]`; it is home.
    pub cluster: Cluster,
    binary: PathBuf,
    auth: Auth,
}

impl Running {
    /// Starts `shards` shards with `replicas` replicas each; blocking, also from async code.
    ///
    /// # Panics
    /// If something does not start, with its log: a test cannot go on without it.
    pub fn start(shards: u16, replicas: u16) -> Running {
        Running::start_with(shards, replicas, |_| {})
    }

    /// As [`Running::start`], after `change` has changed the setup.
    pub fn start_with(shards: u16, replicas: u16, change: impl FnOnce(&mut Setup)) -> Running {
        let mut setup = Setup {
            pool_size: 20,
            auth: Auth::Trust,
            server_settings: Vec::new(),
            router_env: Vec::new(),
        };
        change(&mut setup);
        // A thread of its own, because the catalog's code waits for a runtime that it starts itself.
        let started = std::thread::scope(|scope| {
            scope
                .spawn(|| started(shards, replicas, setup))
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        match started {
            Ok(running) => running,
            Err(error) => panic!("the cluster does not start: {error:?}"),
        }
    }

    /// The name of the database, through the router and on the shards.
    pub fn database(&self) -> &str {
        DATABASE
    }

    /// The router, as the superuser.
    pub fn url(&self) -> String {
        self.url_of(&self.auth.superuser())
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
        connection_url(
            &self.auth.superuser(),
            "127.0.0.1",
            self.router.port,
            "shardgate",
        )
    }

    /// The primary of `shards[index]`, past the router.
    pub fn shard_url(&self, index: usize) -> String {
        self.cluster.shards[index].primary.url(DATABASE, "postgres")
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

    /// The rows of SQL on `shards[index]`, past the router, as text; blocking.
    pub fn on_shard(&self, index: usize, sql: &str) -> Result<Rows> {
        self.cluster.shards[index]
            .primary
            .query(DATABASE, sql)
            .map_err(full)
            .with_context(|| format!("on {}: {sql}", self.cluster.shards[index].name))
    }

    /// The rows of SQL on the router's console, as text; blocking.
    pub fn console(&self, sql: &str) -> Result<Rows> {
        query(&self.console_url(), sql).map_err(full)
    }

    /// A session through the router.
    pub async fn connect(&self) -> Result<Session> {
        Session::open(&self.url()).await
    }

    /// A session with the primary of `shards[index]`, past the router.
    pub async fn connect_shard(&self, index: usize) -> Result<Session> {
        Session::open(&self.shard_url(index)).await
    }

    /// Starts the router again, on the same ports, after it was stopped or killed; blocking.
    pub fn restart_router(&mut self) -> Result<()> {
        self.router.stop();
        self.router = RouterProcess::start(&self.binary, &self.config).map_err(full)?;
        Ok(())
    }
}

fn started(shards: u16, replicas: u16, setup: Setup) -> Result<Running> {
    let binary = router_binary().map_err(full)?;
    let mut builder = Cluster::builder()
        .shards(shards)
        .replicas(replicas)
        .database(DATABASE)
        .auth(setup.auth.clone());
    for (name, value) in &setup.server_settings {
        builder = builder.setting(name, value);
    }
    let cluster = builder.start().map_err(full)?;
    shard_admin::demo::catalog::create(&cluster, DATABASE)?;
    let home = cluster.shards.first().context("there is no shard")?;
    let hosts = home.nodes().map(|node| (node.host.clone(), node.port));
    let mut config = RouterConfig::new(cluster.dir.join("router"), hosts.collect()).map_err(full)?;
    config.auth = setup.auth.clone();
    config.pool_size = setup.pool_size;
    config.env = setup.router_env;
    let router = RouterProcess::start(&binary, &config).map_err(full)?;
    Ok(Running {
        router,
        config,
        cluster,
        binary,
        auth: setup.auth,
    })
}

fn full(error: ClusterError) -> anyhow::Error {
    anyhow!(error.full_text())
}
