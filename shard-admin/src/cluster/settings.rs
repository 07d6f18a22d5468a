//! What a throw-away server is told: how clients authenticate, and the lines of its configuration.

use crate::cluster::address::Login;
use crate::cluster::files::socket_dir;
use std::fmt::Write;
use std::path::Path;

/// The file in the data directory that holds our settings; `postgresql.conf` includes it last, so it wins.
pub(crate) const FILE: &str = "shardgate.conf";

/// How the servers authenticate their clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody on this machine may be any role, the superuser too: for throw-away data alone.
    Trust,
    /// SCRAM-SHA-256; the text is the password of the superuser `postgres`.
    Scram(String),
}

impl Auth {
    /// The name of the method in `pg_hba.conf`, in initdb's `--auth` and in the router's configuration.
    pub fn method(&self) -> &'static str {
        match self {
            Auth::Trust => "trust",
            Auth::Scram(_) => "scram-sha-256",
        }
    }

    /// The superuser as one must log in.
    pub fn superuser(&self) -> Login {
        match self {
            Auth::Trust => Login::superuser(None),
            Auth::Scram(password) => Login::superuser(Some(password)),
        }
    }
}

/// The settings that all servers of a cluster share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// False: an operating system crash may lose or break the data; kill -9 of the server may not.
    pub fsync: bool,
    pub max_connections: u32,
    /// Further settings, which win over ours.
    pub extra: Vec<(String, String)>,
}

impl Settings {
    /// The text of the settings file of the server whose data directory is `data`.
    pub(crate) fn render(&self, data: &Path, port: u16) -> String {
        let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
        let socket = socket_dir(data, port)
            .map(|dir| dir.display().to_string())
            .unwrap_or_default();
        let own = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("unix_socket_directories", socket),
            ("max_connections", self.max_connections.to_string()),
            ("fsync", switch(self.fsync)),
            ("shared_buffers", "32MB".to_owned()),
            // Logical, because moving data between shards is logical replication.
            ("wal_level", "logical".to_owned()),
            // Transactions over several shards commit in two phases.
            ("max_prepared_transactions", "200".to_owned()),
            ("max_wal_senders", "20".to_owned()),
            ("max_replication_slots", "20".to_owned()),
            ("hot_standby", "on".to_owned()),
            ("max_wal_size", "256MB".to_owned()),
            // A replica that never comes back must not fill the disk.
            ("max_slot_wal_keep_size", "1GB".to_owned()),
            // A replica finds its restarted primary within half a second, not five.
            ("wal_retrieve_retry_interval", "500ms".to_owned()),
            ("wal_receiver_status_interval", "1s".to_owned()),
            ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
            ("lc_messages", "C".to_owned()),
        ];
        let extra = self
            .extra
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        let mut text = String::from("# Written anew at each start of the server.\n");
        for (name, value) in own.into_iter().chain(extra) {
            let _infallible = writeln!(
                text,
                "{name} = '{}'",
                value.replace('\\', "\\\\").replace('\'', "''")
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_extras_come_last() {
        let extra = vec![
            ("search_path".to_owned(), "a, 'b'".to_owned()),
            ("fsync".to_owned(), "on".to_owned()),
        ];
        let text = Settings {
            fsync: false,
            max_connections: 7,
            extra,
        }
        .render(Path::new("/d"), 5);
        assert!(text.contains("search_path = 'a, ''b'''\n"), "{text}");
        assert!(text.contains("unix_socket_directories = '/d'\n"), "{text}");
        assert!(
            text.find("fsync = 'off'") < text.find("fsync = 'on'"),
            "{text}"
        );
    }
}
