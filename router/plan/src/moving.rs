//! Which moves of data a statement concerns: those whose keys it may read or write.
//!
//! A statement concerns a move unless all its keys are surely not among the move's. So a statement that names a table of a
//! distribution, and of whose keys nothing is known, concerns the move of that distribution. What is done then is the
//! session's business.

use crate::decision::Param;
use crate::keyed::Keyed;
use crate::keyset::{Part, within};
use crate::reach;
use crate::snapshot::{DistributionId, Move, Placement, Relation, Snapshot};
use shardgate_shard_map::{Key, Parts, Unpinned};
use shardgate_sql::facts::Facts;

/// Moves of one snapshot, by their place in `Snapshot::moves`. The last bit stands for all from its place on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moving(u32);

const LAST: u32 = u32::BITS - 1;

impl Moving {
    pub const NONE: Moving = Moving(0);

    /// None is concerned.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn or(self, other: Moving) -> Moving {
        Moving(self.0 | other.0)
    }

    fn at(index: usize) -> Moving {
        Moving(1 << u32::try_from(index).unwrap_or(LAST).min(LAST))
    }

    /// The moves. `snapshot` is the one that the statement was planned against.
    pub fn of(self, snapshot: &Snapshot) -> impl Iterator<Item = &Move> {
        let moves = snapshot.moves.iter().enumerate();
        moves
            .filter_map(move |(index, one)| (!Moving::at(index).and(self).is_none()).then_some(one))
    }

    fn and(self, other: Moving) -> Moving {
        Moving(self.0 & other.0)
    }

    fn all(snapshot: &Snapshot) -> Moving {
        let each = (0..snapshot.moves.len()).map(Moving::at);
        each.fold(Moving::NONE, Moving::or)
    }

    fn where_(snapshot: &Snapshot, concerned: impl Fn(&Move) -> bool) -> Moving {
        let moves = snapshot.moves.iter().enumerate();
        moves
            .filter(|(_, one)| concerned(one))
            .fold(Moving::NONE, |all, (index, _)| all.or(Moving::at(index)))
    }

    /// The move of a distribution, if there is one.
    pub(crate) fn of_distribution(snapshot: &Snapshot, id: DistributionId) -> Moving {
        Moving::where_(snapshot, |one| one.distribution == id)
    }
}

/// Moves of tables whose name stands in the statement, in any schema; all of them for a view over such a table.
pub(crate) fn named(facts: &Facts, snapshot: &Snapshot) -> Moving {
    let mut moving = Moving::NONE;
    if snapshot.moves.is_empty() {
        return moving;
    }
    let relations = || snapshot.relations.values();
    for word in &facts.identifiers {
        for relation in relations().filter_map(|schema| schema.get(word.as_str())) {
            moving = moving.or(of_relation(relation, snapshot));
        }
    }
    moving
}

fn of_relation(relation: &Relation, snapshot: &Snapshot) -> Moving {
    match relation.placement {
        Placement::Distributed { distribution, .. } => {
            Moving::of_distribution(snapshot, distribution)
        }
        Placement::Home | Placement::Reference
            if reach::of_relation(relation, snapshot).distributed =>
        {
            Moving::all(snapshot)
        }
        Placement::Home | Placement::Reference => Moving::NONE,
    }
}

impl Keyed {
    /// The moves whose keys this execution may use.
    pub(crate) fn moving(&self, params: &[Param<'_>], snapshot: &Snapshot) -> Moving {
        let mut moving = Moving::NONE;
        for bound in &self.bound {
            let concerned = Moving::of_distribution(snapshot, bound.distribution);
            if concerned.is_none() || concerned.and(moving) == concerned {
                continue;
            }
            let Some(distribution) = snapshot.distributions.get(&bound.distribution) else {
                continue;
            };
            let parts = match bound.set.evaluate(params) {
                Ok(Some(parts)) => parts,
                Ok(None) => {
                    moving = moving.or(concerned);
                    continue;
                }
                // It fails wherever it goes.
                Err(_) => continue,
            };
            moving = moving.or(Moving::where_(snapshot, |one| {
                let moves = |part: &Part| match part {
                    Part::Point(key) => one.parts.contains(key, &distribution.map),
                    Part::Between(low, high) => meets(&one.parts, low.as_ref(), high.as_ref()),
                };
                one.distribution == bound.distribution && parts.iter().any(moves)
            }));
        }
        moving
    }
}

/// Whether some key between the two ends may be one of the parts. Each end is told with whether it belongs to the interval.
fn meets(parts: &Parts, low: Option<&(Key, bool)>, high: Option<&(Key, bool)>) -> bool {
    if parts.pins.iter().any(|pin| within(pin, low, high)) {
        return true;
    }
    match &parts.unpinned {
        Unpinned::None => false,
        Unpinned::Ranges(ranges) => ranges.iter().any(|(from, to)| {
            // A range is `from <= key < to`.
            let ends_before = to.as_ref().zip(low).is_some_and(|(to, (low, _))| to <= low);
            let begins_behind = from
                .as_ref()
                .zip(high)
                .is_some_and(|(from, (high, belongs))| from > high || (from == high && !belongs));
            !ends_before && !begins_behind
        }),
        // They do not keep neighbours together.
        Unpinned::Buckets(_) | Unpinned::Values { .. } => true,
    }
}
