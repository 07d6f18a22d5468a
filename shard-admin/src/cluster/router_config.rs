//! The router's configuration file, as far as a local cluster needs it. It starts nothing.

use crate::cluster::error::ClusterError;
use crate::cluster::port::PortSearch;
use crate::cluster::settings::Auth;
use std::fmt::Write;
use std::path::PathBuf;

/// The router's configuration, as far as a local cluster needs it.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    pub name: String,
    pub ports: Ports,
    /// For the configuration file, the state and the log; it is made where it is missing.
    pub dir: PathBuf,
    /// Towards clients. The password of [`Auth::Scram`] is also the one of the router's own role on the shards.
    pub auth: Auth,
    pub database: String,
    /// Host and port of the home shard's servers.
    pub home: Vec<(String, u16)>,
    /// Backends for each shard and role.
    pub pool_size: u32,
    /// How long clients may finish after SIGTERM, in seconds.
    pub drain_seconds: u32,
    /// Settings by environment variable, for example `SHARDGATE__POOL__SIZE`; they win over the file.
    pub env: Vec<(String, String)>,
    /// A process group of its own, so that Ctrl-C in a terminal does not reach it.
    pub own_group: bool,
}

/// The two ports on which a router listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub clients: u16,
    pub http: u16,
}

impl Ports {
    /// Two that are free now.
    pub fn free() -> Result<Ports, ClusterError> {
        let search = PortSearch::seeded();
        Ok(Ports {
            clients: search.next()?,
            http: search.next()?,
        })
    }
}

impl RouterConfig {
    /// For tests: free ports, trust, the database `app`.
    pub fn new(
        dir: impl Into<PathBuf>,
        home: Vec<(String, u16)>,
    ) -> Result<RouterConfig, ClusterError> {
        Ok(RouterConfig {
            name: "router1".to_owned(),
            ports: Ports::free()?,
            dir: dir.into(),
            auth: Auth::Trust,
            database: "app".to_owned(),
            home,
            pool_size: 20,
            drain_seconds: 2,
            env: Vec::new(),
            own_group: false,
        })
    }

    /// The text of the configuration file.
    pub fn to_toml(&self) -> String {
        let text = toml_string;
        let login = self.auth.superuser();
        let hosts: Vec<String> = self
            .home
            .iter()
            .map(|(host, port)| format!("{{ host = {}, port = {port} }}", text(host)))
            .collect();
        let mut out = String::new();
        let mut line = |line: String| {
            let _infallible = writeln!(out, "{line}");
        };
        line(format!(
            "[listen]\nhost = \"127.0.0.1\"\nport = {}\n",
            self.ports.clients
        ));
        line(format!(
            "[http]\nhost = \"127.0.0.1\"\nport = {}\n",
            self.ports.http
        ));
        let state = self.dir.join("state");
        line(format!(
            "[router]\nname = {}\nstate_dir = {}\n",
            text(&self.name),
            text(&state.display().to_string())
        ));
        line(format!("[auth]\nmethod = {}\n", text(self.auth.method())));
        line(format!(
            "[[database]]\nname = {}\nhome = [{}]",
            text(&self.database),
            hosts.join(", ")
        ));
        line(format!("admin_user = {}", text(&login.user)));
        if let Some(password) = &login.password {
            line(format!("admin_password = {}", text(password)));
        }
        line(format!("\n[pool]\nsize = {}", self.pool_size));
        line(format!(
            "\n[limits]\ndrain_timeout = {}",
            self.drain_seconds
        ));
        out
    }

    pub fn file(&self) -> PathBuf {
        self.dir.join("shardgate.toml")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("shardgate.log")
    }
}

/// A TOML basic string.
fn toml_string(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _infallible = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_strings_are_escaped() {
        let check = |value: &str, expect: &str| assert_eq!(toml_string(value), expect);
        check("plain", "\"plain\"");
        check("a\"b\\c", "\"a\\\"b\\\\c\"");
        check("a\nb", "\"a\\u000Ab\"");
    }

    #[test]
    fn the_configuration_has_what_was_asked() {
        let config = RouterConfig {
            name: "demo".to_owned(),
            ports: Ports {
                clients: 6432,
                http: 6480,
            },
            dir: PathBuf::from("/d"),
            auth: Auth::Scram("pw".to_owned()),
            database: "app".to_owned(),
            home: vec![
                ("127.0.0.1".to_owned(), 5433),
                ("127.0.0.1".to_owned(), 5434),
            ],
            pool_size: 7,
            drain_seconds: 3,
            env: Vec::new(),
            own_group: false,
        };
        let expect = "[listen]\nhost = \"127.0.0.1\"\nport = 6432\n\n[http]\nhost = \"127.0.0.1\"\nport = 6480\n\n\
            [router]\nname = \"demo\"\nstate_dir = \"/d/state\"\n\n[auth]\nmethod = \"scram-sha-256\"\n\n\
            [[database]]\nname = \"app\"\n\
            home = [{ host = \"127.0.0.1\", port = 5433 }, { host = \"127.0.0.1\", port = 5434 }]\n\
            admin_user = \"postgres\"\nadmin_password = \"pw\"\n\n[pool]\nsize = 7\n\n[limits]\ndrain_timeout = 3\n";
        assert_eq!(config.to_toml(), expect);
    }
}
