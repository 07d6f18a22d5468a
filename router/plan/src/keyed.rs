//! Routes that depend on key values: the sets of keys to which relations are bound, evaluated for each execution.

use crate::decision::{Decision, Param};
use crate::snapshot::Snapshot;

/// A routing program; see `decide`.
#[derive(Clone, Debug)]
pub struct Keyed {}

impl Keyed {
    pub fn decide(&self, _params: &[Param<'_>], snapshot: &Snapshot) -> Decision {
        Decision::Shard(snapshot.home)
    }
}
