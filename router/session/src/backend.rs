//! One backend connection's protocol state: what the pool keeps beside the socket while nobody uses it.

use crate::owed::Owed;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// The state of one backend, handed to a session with the connection and given back with it.
#[derive(Debug, Default)]
pub struct Backend {
    /// Last ParameterStatus values that this backend reported.
    pub params: BTreeMap<String, String>,
    /// Settings that differ from what the connection had after login: name (lower case) and value for set_config.
    pub applied: BTreeMap<String, String>,
    /// Custom settings (`a.b`) that were ever set here: after a reset they are empty strings and not unset, so only a
    /// session that has set them itself may use the connection.
    pub custom_names: BTreeSet<String>,
    /// Prepared statements made by the router: key -> number in its name.
    pub prepared: HashMap<crate::statements::Key, u64>,
    /// Numbers of `prepared`, the longest unused first.
    pub prepared_order: VecDeque<(u64, crate::statements::Key)>,
    pub prepared_next: u64,
    /// Replies that the server still owes, in order.
    pub(crate) owed: Owed,
    /// The server is a standby (as it was when the connection was made).
    pub standby: bool,
}

impl Backend {
    /// A connection that has just logged in and reported `params`.
    pub fn new(params: BTreeMap<String, String>, standby: bool) -> Self {
        Backend { params, standby, ..Backend::default() }
    }

    /// A hash of the settings in force: the pool prefers a backend whose hash is that of the client.
    pub fn settings_hash(&self) -> u64 {
        crate::settings::hash(&self.applied)
    }

    /// Whether a session that has ever set `own` custom settings can use this backend.
    pub fn fits(&self, own: &BTreeSet<String>) -> bool {
        self.custom_names.is_subset(own)
    }
}
