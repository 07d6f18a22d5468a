//! Free ports on the loopback address.
//!
//! Ports below the kernel's ephemeral range are taken: one from that range (which binding port 0 gives) may become the
//! local end of any outgoing connection while its server is being restarted.

use crate::cluster::error::ClusterError;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// The range that is searched, in ports: above the well-known servers, below every system's ephemeral range.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;
/// How many ports are tried before giving up.
const TRIES_MAX: u16 = 2_000;

/// True if nothing listens on the port of 127.0.0.1 and we may.
///
/// Another process may take it the next moment; who starts a server on it must be ready for that.
pub fn port_is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A port that was free a moment ago.
///
/// Two processes that ask at the same time begin at different places, so they seldom meet.
pub fn free_port() -> Result<u16, ClusterError> {
    PortSearch::seeded().next()
}

/// A walk over the range which never yields the same port twice.
#[derive(Debug)]
pub(crate) struct PortSearch {
    offset: Mutex<u16>,
}

impl PortSearch {
    pub(crate) fn seeded() -> PortSearch {
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.subsec_nanos());
        let mixed =
            (nanos ^ std::process::id().wrapping_mul(0x9E37_79B1)).wrapping_mul(0x85EB_CA6B) >> 8;
        let offset = u16::try_from(mixed % u32::from(COUNT)).unwrap_or(0);
        PortSearch {
            offset: Mutex::new(offset),
        }
    }

    pub(crate) fn next(&self) -> Result<u16, ClusterError> {
        for _ in 0..TRIES_MAX {
            let port = {
                let mut offset = self
                    .offset
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                *offset = (*offset + 1) % COUNT;
                FIRST + *offset
            };
            if port_is_free(port) {
                return Ok(port);
            }
        }
        Err(ClusterError::NoPort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_given() {
        // Somebody else may be quicker to take a port that was free.
        let taken = (0..20).find_map(|_| {
            let port = free_port().unwrap();
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .ok()
                .map(|listener| (port, listener))
        });
        let (port, _listener) = taken.unwrap();
        assert!(!port_is_free(port));
        let search = PortSearch {
            offset: Mutex::new((port - FIRST + COUNT - 1) % COUNT),
        };
        assert_ne!(search.next().unwrap(), port);
    }

    #[test]
    fn the_walk_wraps_at_the_end() {
        let search = PortSearch {
            offset: Mutex::new(COUNT - 1),
        };
        let port = search.next().unwrap();
        assert!((FIRST..FIRST + TRIES_MAX).contains(&port), "{port}");
    }
}
