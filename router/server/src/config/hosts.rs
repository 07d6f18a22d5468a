//! Lists of servers: how they are written in the file and in an environment variable.

use super::HostPort;
use super::kinds::{HostName, Integer, Kind, Wrong, wrong_type};
use std::ops::RangeInclusive;
use toml::de::DeValue;

/// The servers of a shard: `[{ host = "..", port = 5432 }, ..]`; in a variable `host:port,host:port`.
pub(super) struct Hosts;

const PORT_DEFAULT: u16 = 5432;
const PORTS: RangeInclusive<u64> = 1..=65535;

impl Kind for Hosts {
    type Value = Vec<HostPort>;

    fn toml(&self, value: &DeValue<'_>) -> Result<Vec<HostPort>, Vec<Wrong>> {
        let items = value
            .as_array()
            .ok_or_else(|| wrong_type("an array of { host, port }", value))?;
        let mut hosts: Vec<HostPort> = Vec::new();
        let mut wrong = Vec::new();
        for item in items.iter() {
            match host_from_table(item.get_ref()) {
                Ok(host) if hosts.contains(&host) => wrong.extend(Wrong::at(
                    item.span(),
                    Wrong::new(format!("duplicate server {}:{}", host.host, host.port)),
                )),
                Ok(host) => hosts.push(host),
                Err(list) => wrong.extend(Wrong::at(item.span(), list)),
            }
        }
        if items.is_empty() {
            return Err(Wrong::new("at least one server must be named"));
        }
        if wrong.is_empty() {
            Ok(hosts)
        } else {
            Err(wrong)
        }
    }

    fn variable(&self, text: &str) -> Result<Vec<HostPort>, Vec<Wrong>> {
        let mut hosts: Vec<HostPort> = Vec::new();
        for item in text.split(',') {
            let host = host_from_text(item.trim())?;
            if hosts.contains(&host) {
                let (host, port) = (host.host, host.port);
                return Err(Wrong::new(format!("duplicate server {host}:{port}")));
            }
            hosts.push(host);
        }
        Ok(hosts)
    }

    fn show(&self, value: &Vec<HostPort>) -> String {
        let show = |h: &HostPort| match h.host.contains(':') {
            true => format!("[{}]:{}", h.host, h.port),
            false => format!("{}:{}", h.host, h.port),
        };
        value.iter().map(show).collect::<Vec<_>>().join(",")
    }
}

fn host_from_table(value: &DeValue<'_>) -> Result<HostPort, Vec<Wrong>> {
    let table = value
        .as_table()
        .ok_or_else(|| wrong_type("a table { host, port }", value))?;
    let mut host = None;
    let mut port = PORT_DEFAULT;
    let mut wrong = Vec::new();
    for (key, value) in table.iter() {
        match key.get_ref().as_ref() {
            "host" => match (HostName { any: false }).toml(value.get_ref()) {
                Ok(text) => host = Some(text),
                Err(list) => wrong.extend(Wrong::at(value.span(), list)),
            },
            "port" => match Integer(PORTS).toml(value.get_ref()) {
                Ok(number) => port = u16::try_from(number).unwrap_or(PORT_DEFAULT),
                Err(list) => wrong.extend(Wrong::at(value.span(), list)),
            },
            unknown => wrong.extend(Wrong::at(
                key.span(),
                Wrong::helped(
                    format!("unknown key `{}`", unknown.escape_debug()),
                    "the keys here are host, port",
                ),
            )),
        }
    }
    match host {
        Some(host) if wrong.is_empty() => Ok(HostPort { host, port }),
        None if wrong.is_empty() => Err(Wrong::new("the key `host` is missing")),
        Some(_) | None => Err(wrong),
    }
}

fn host_from_text(text: &str) -> Result<HostPort, Vec<Wrong>> {
    let bare = HostName { any: false };
    let (host, port) = match (text.strip_prefix('['), text.rsplit_once(':')) {
        (Some(rest), _) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':').or(Some(""))),
            None => return Err(Wrong::new("`]` is missing after the address")),
        },
        (None, Some((host, port))) if !host.contains(':') => (host, Some(port)),
        (None, _) => (text, None),
    };
    let host = bare.variable(host)?;
    let port = match port {
        Some(port) => Integer(PORTS).variable(port)?,
        None => PORT_DEFAULT.into(),
    };
    let port = u16::try_from(port).unwrap_or(PORT_DEFAULT);
    Ok(HostPort { host, port })
}
