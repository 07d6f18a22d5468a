//! One backend connection's protocol state: what the pool keeps beside the socket while nobody uses it.

use crate::owed::Owed;
use crate::owed::{Entry, Kind, Purpose};
use crate::statements::Key;
use bytes::BytesMut;
use foldhash::fast::RandomState;
use shardgate_wire::frontend::put;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// The state of one backend, handed to a session with the connection and given back with it.
#[derive(Debug, Default)]
pub struct Backend {
    /// Last ParameterStatus values that this backend reported.
    pub params: BTreeMap<String, String>,
    /// Settings that differ from what the connection had after login: name (lower case) and value for set_config.
    pub applied: Applied,
    /// Custom settings (`a.b`) that were ever set here: after a reset they are empty strings and not unset, so only a
    /// session that has set them itself may use the connection.
    pub custom_names: BTreeSet<String>,
    /// Prepared statements made by the router: key -> number in its name.
    pub prepared: HashMap<Key, u64, RandomState>,
    /// Numbers of `prepared`, the oldest first.
    pub prepared_order: VecDeque<(u64, Key)>,
    pub prepared_next: u64,
    /// Sequences may have been drawn from here, so `currval` and `lastval` may answer what another client drew.
    pub drawn: bool,
    /// Replies that the server still owes, in order.
    pub(crate) owed: Owed,
    /// The server is a standby (as it was when the connection was made).
    pub standby: bool,
}

/// Settings with their hash, which the pool compares at each check-out.
#[derive(Debug, Default)]
pub struct Applied {
    settings: Arc<BTreeMap<String, String>>,
    hash: u64,
}

impl Applied {
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Whether they are these; remembers the map, so that the next look at it is a glance.
    pub(crate) fn are(&mut self, wanted: &Arc<BTreeMap<String, String>>) -> bool {
        if Arc::ptr_eq(&self.settings, wanted) {
            return true;
        }
        let same = self.settings == *wanted;
        if same {
            self.settings = wanted.clone();
        }
        same
    }

    pub(crate) fn set(&mut self, settings: &Arc<BTreeMap<String, String>>, hash: u64) {
        self.settings = settings.clone();
        self.hash = hash;
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        change(Arc::make_mut(&mut self.settings));
        self.hash = crate::settings::hash(&self.settings);
    }
}

impl Backend {
    /// A connection that has just logged in and reported `params`.
    pub fn new(params: BTreeMap<String, String>, standby: bool) -> Self {
        Backend {
            params,
            standby,
            ..Backend::default()
        }
    }

    /// A hash of the settings in force: the pool prefers a backend whose hash is that of the client.
    pub fn settings_hash(&self) -> u64 {
        self.applied.hash
    }

    /// Whether a session that has ever set `own` custom settings can use this backend.
    pub fn fits(&self, own: &BTreeSet<String>) -> bool {
        self.custom_names.is_subset(own)
    }

    /// RESET ALL was run here: all but the role is as it was after login.
    pub(crate) fn was_reset(&mut self) {
        self.applied
            .change(|settings| settings.retain(|name, _| name == "role"));
    }

    /// Numbers a statement that is about to be parsed here; the oldest one makes room.
    pub(crate) fn remember(&mut self, key: Key, max: usize, out: &mut BytesMut) -> u64 {
        while self.prepared.len() >= max.max(1) {
            let Some((number, old)) = self.prepared_order.pop_front() else {
                break;
            };
            if self.prepared.get(&old) == Some(&number) {
                self.prepared.remove(&old);
                put::close(out, b'S', crate::extended::router_name(number).as_bytes());
                self.owed.push(Entry::router(Kind::Close, Purpose::Parse));
            }
        }
        self.prepared_next += 1;
        let number = self.prepared_next;
        self.prepared_order.push_back((number, key.clone()));
        self.prepared.insert(key, number);
        number
    }

    /// The server has not parsed the statement after all.
    pub(crate) fn forget(&mut self, number: u64) {
        if let Some(at) = self.prepared_order.iter().position(|(n, _)| *n == number)
            && let Some((_, key)) = self.prepared_order.remove(at)
            && self.prepared.get(&key) == Some(&number)
        {
            self.prepared.remove(&key);
        }
    }
}
