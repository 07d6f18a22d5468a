//! From `--catalog` to a connection with the home shard's primary.

use crate::cli::Shared;
use crate::failure::Failure;
use shardgate_catalog::{Backend, RawSnapshot, load};
use shardgate_plan::snapshot::{Host, Snapshot};
use tokio_postgres::Config;

/// The port of a host that was given without one.
const DEFAULT_PORT: u16 = 5432;

impl Shared {
    /// What `--catalog` or `SHARDGATE_CATALOG` says. As with libpq, `PGPASSWORD` serves where no password is given.
    pub fn config(&self) -> Result<Config, Failure> {
        let Some(url) = &self.catalog else {
            return Err(Failure::usage("no catalog is given")
                .detail("The catalog lives in the home shard's database.")
                .hint("Use --catalog or SHARDGATE_CATALOG, for example postgresql://postgres@db1,db2/app."));
        };
        let parsed: Result<Config, tokio_postgres::Error> = url.parse();
        let mut config = parsed.map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            Failure::usage("the catalog's address cannot be read")
                .detail(cause)
                .hint("Write it as libpq does: postgresql://user@host1:5432,host2:5432/database")
        })?;
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("shard-admin");
        }
        Ok(config)
    }

    /// A connection to the primary among the given hosts.
    pub async fn home(&self) -> Result<Backend, Failure> {
        Ok(Backend::primary(&self.config()?, "the home shard").await?)
    }

    /// The connection, and the catalog as it is now: as it was read, and as planning sees it.
    pub async fn snapshot(&self) -> Result<(Backend, RawSnapshot, Snapshot), Failure> {
        let mut home = self.home().await?;
        let raw = load(&mut home, None).await?;
        let snapshot = raw.build()?;
        Ok((home, raw, snapshot))
    }
}

/// `host`, `host:port`, `[ipv6]:port` or the path of a socket's directory with `:port`; for clap.
pub fn parse_host(text: &str) -> Result<Host, String> {
    let number = |port: &str| {
        port.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or(format!("\"{port}\" is no port"))
    };
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, DEFAULT_PORT),
        Some((address, rest)) => {
            let port = rest
                .strip_prefix(':')
                .ok_or("after \"]\" only \":PORT\" may come".to_owned())?;
            (address, number(port)?)
        }
        // More than one colon without brackets is an IPv6 address.
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, number(port)?),
            Some(_) | None => (text, DEFAULT_PORT),
        },
    };
    match host {
        "" => Err("the host is missing".to_owned()),
        host => Ok(Host {
            host: host.to_owned(),
            port,
        }),
    }
}

/// The way back: `host:port`, with brackets around an IPv6 address.
pub fn host_text(host: &Host) -> String {
    match host.host.contains(':') {
        true => format!("[{}]:{}", host.host, host.port),
        false => format!("{}:{}", host.host, host.port),
    }
}

/// Several of them, for a cell of a table.
pub fn hosts_text(hosts: &[Host]) -> String {
    hosts.iter().map(host_text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_written() {
        let check = |text: &str, host: &str, port: u16, back: &str| {
            let parsed = parse_host(text).unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port), "{text}");
            assert_eq!(host_text(&parsed), back);
        };
        check("db1", "db1", 5432, "db1:5432");
        check("10.0.0.1:6000", "10.0.0.1", 6000, "10.0.0.1:6000");
        check("[::1]:6000", "::1", 6000, "[::1]:6000");
        check("[::1]", "::1", 5432, "[::1]:5432");
        check("fe80::1", "fe80::1", 5432, "[fe80::1]:5432");
        check(
            "/run/postgresql:5433",
            "/run/postgresql",
            5433,
            "/run/postgresql:5433",
        );
        for wrong in [
            "",
            ":5432",
            "db1:",
            "db1:0",
            "db1:70000",
            "db1:x",
            "[::1]5432",
        ] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_catalog_must_be_given_and_readable() {
        let with = |catalog: Option<&str>| {
            let catalog = catalog.map(str::to_owned);
            Shared {
                catalog,
                output: crate::output::Format::Table,
            }
            .config()
        };
        assert_eq!(with(None).unwrap_err().exit, crate::failure::Exit::Usage);
        assert_eq!(
            with(Some("postgresql://h:x/db")).unwrap_err().exit,
            crate::failure::Exit::Usage
        );
        let keywords = with(Some("host=a,b port=1,2 user=u dbname=d")).unwrap();
        assert_eq!(keywords.get_ports(), [1, 2]);
        assert_eq!(keywords.get_application_name(), Some("shard-admin"));
    }
}
