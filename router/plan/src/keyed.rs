//! Routes that depend on key values: the sets of keys to which relations are bound, evaluated for each execution.

use crate::decision::{Decision, Param, Refusal};
use crate::gather::Gather;
use crate::keyset::{KeySet, Part, Trouble, within};
use crate::snapshot::{DistributionId, Snapshot};
use crate::spread::Source;
use shardgate_shard_map::{Key, Method, RouteError, ShardId, ShardMap};
use std::sync::Arc;

/// The proof of a statement: every occurrence of a distributed relation with the keys that can matter to it.
///
/// The statement runs on one shard if the union over all occurrences lies on one.
#[derive(Clone, Debug)]
pub struct Keyed {
    pub(crate) bound: Vec<Bound>,
    /// A relation of the statement that lives on home alone: the one shard must be home.
    pub(crate) home_relation: Option<String>,
    /// What is done where the keys of an execution do not lie on one shard.
    pub(crate) gather: Option<Arc<Gather>>,
    /// The same for a write.
    pub(crate) spread: Option<Arc<Source>>,
}

/// One occurrence.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// As messages name it: `"orders" (alias "o")`.
    pub(crate) label: String,
    pub(crate) relation: String,
    pub(crate) key: String,
    pub(crate) distribution: DistributionId,
    pub(crate) set: Arc<KeySet>,
    pub(crate) role: Role,
}

/// What the keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Of rows that are read, changed or deleted: a key that no shard owns has no rows.
    Existing,
    /// Of rows that are inserted.
    New,
    /// That UPDATE gives to existing rows.
    Assigned,
}

const HINT_ONE_SHARD: &str = "Bind every distributed table of the statement to keys of one shard, or run one statement for each shard.";

impl Keyed {
    pub fn decide(&self, params: &[Param<'_>], snapshot: &Snapshot) -> Decision {
        match (self.one_shard(params, snapshot), &self.gather, &self.spread) {
            (Decision::Refused(refusal), Some(gather), _) if refusal.sqlstate == "0A000" => {
                Decision::Gather(gather.clone(), refusal)
            }
            // Of a NULL in the key, Postgres may have to say another row's error first.
            (Decision::Refused(refusal), None, Some(source))
                if ["0A000", "23502"].contains(&refusal.sqlstate) =>
            {
                source.decide(params, snapshot, refusal)
            }
            (decision, _, _) => decision,
        }
    }

    fn one_shard(&self, params: &[Param<'_>], snapshot: &Snapshot) -> Decision {
        let mut shards = Lowest::default();
        for bound in &self.bound {
            if let Some(key) = bound.set.one_key(params)
                && let Some(distribution) = snapshot.distributions.get(&bound.distribution)
            {
                if let Err(refusal) = bound.place_key(&key, &distribution.map, &mut shards) {
                    return Decision::Refused(refusal);
                }
                continue;
            }
            let parts = match bound.set.evaluate(params) {
                Ok(Some(parts)) => parts,
                Ok(None) => return Decision::Refused(bound.unplaceable()),
                // Postgres raises the error; any shard will do.
                Err(Trouble::Fails) => return Decision::Shard(snapshot.home),
                Err(Trouble::NullKey) => return Decision::Refused(bound.null_key()),
            };
            let Some(distribution) = snapshot.distributions.get(&bound.distribution) else {
                return Decision::Refused(bound.unknown_distribution());
            };
            for part in &parts {
                if let Err(refusal) = bound.place(part, &distribution.map, &mut shards) {
                    return Decision::Refused(refusal);
                }
            }
        }
        match (shards.first, shards.second) {
            (None, _) => Decision::Shard(snapshot.home),
            (Some((shard, _)), None) => self.with_home(shard, snapshot),
            (Some(one), Some(other)) => Decision::Refused(several(snapshot, one, other)),
        }
    }

    /// Every key is known without parameters.
    pub(crate) fn is_constant(&self) -> bool {
        self.bound.iter().all(|bound| !bound.set.has_params())
    }

    fn with_home(&self, shard: ShardId, snapshot: &Snapshot) -> Decision {
        match &self.home_relation {
            Some(relation) if shard != snapshot.home => Decision::Refused(Refusal::unsupported(
                "a distributed table cannot be joined with a table of the home shard here",
                format!(
                    "Relation {relation} lives on home shard \"{}\" alone, and the keys lie on shard \"{}\".",
                    shard_name(snapshot, snapshot.home),
                    shard_name(snapshot, shard)
                ),
                "Make a table a reference table with create_reference_table, create a view anew through the router, or query the two one after the other.",
            )),
            Some(_) | None => Decision::Shard(shard),
        }
    }
}

/// The two lowest of the shards that were added, each with the relation that has named it first.
#[derive(Default)]
struct Lowest<'a> {
    first: Option<(ShardId, &'a Bound)>,
    second: Option<(ShardId, &'a Bound)>,
}

impl<'a> Lowest<'a> {
    fn add(&mut self, shard: ShardId, bound: &'a Bound) {
        match self.first {
            None => self.first = Some((shard, bound)),
            Some((first, _)) if shard == first => {}
            Some((first, _)) if shard < first => {
                self.second = self.first.replace((shard, bound));
            }
            Some(_) => {
                if self.second.is_none_or(|(second, _)| shard < second) {
                    self.second = Some((shard, bound));
                }
            }
        }
    }
}

impl Bound {
    /// Adds the shard of one key.
    fn place_key<'a>(
        &'a self,
        key: &Key,
        map: &ShardMap,
        shards: &mut Lowest<'a>,
    ) -> Result<(), Refusal> {
        match map.route(key) {
            Ok(shard) => shards.add(shard, self),
            Err(RouteError::NoShard(_)) if self.role == Role::Existing => {}
            Err(RouteError::NoShard(_)) => return Err(self.unowned(key)),
            Err(RouteError::WrongType { .. } | RouteError::Incomplete) => {
                return Err(self.unplaceable());
            }
        }
        Ok(())
    }

    /// Adds the shards of one part of the set.
    fn place<'a>(
        &'a self,
        part: &Part,
        map: &ShardMap,
        shards: &mut Lowest<'a>,
    ) -> Result<(), Refusal> {
        match part {
            Part::Point(key) => self.place_key(key, map, shards)?,
            Part::Between(low, high) => {
                let Some(owners) = owners_between(map, low.as_ref(), high.as_ref()) else {
                    return Err(self.unplaceable());
                };
                for shard in owners {
                    shards.add(shard, self);
                }
            }
        }
        Ok(())
    }

    fn unplaceable(&self) -> Refusal {
        Refusal::unsupported(
            format!(
                "the keys of table \"{}\" cannot be placed on one shard",
                self.relation
            ),
            format!(
                "Relation {} is bound by a value of \"{}\" that may lie on several shards, or that only Postgres can read.",
                self.label, self.key
            ),
            "Give the key as one plain value of the column's type; dates and times in ISO form, with an offset for timestamptz.",
        )
    }

    fn null_key(&self) -> Refusal {
        null_key(&self.relation, &self.key)
    }

    pub(crate) fn unowned(&self, key: &Key) -> Refusal {
        Refusal {
            sqlstate: "23514",
            message: format!("no shard owns this key of table \"{}\"", self.relation),
            detail: Some(format!("The list has no shard for {key:?} and no default.")),
            hint: Some(
                "Add the value to the distribution, or give the distribution a default.".to_owned(),
            ),
        }
    }

    fn unknown_distribution(&self) -> Refusal {
        Refusal::unsupported(
            format!(
                "the distribution of table \"{}\" is not known",
                self.relation
            ),
            "The plan and the catalog snapshot do not fit together.",
            "Try again.",
        )
    }
}

pub(crate) fn stale_plan() -> Refusal {
    Refusal::unsupported(
        "the distribution of a table is not known",
        "The plan and the catalog snapshot do not fit together.",
        "Try again.",
    )
}

/// As Postgres says it of a NOT NULL column.
pub(crate) fn null_key(relation: &str, key: &str) -> Refusal {
    Refusal {
        sqlstate: "23502",
        message: format!(
            "null value in column \"{key}\" of relation \"{relation}\" violates not-null constraint"
        ),
        detail: Some("The column is the table's sharding key.".to_owned()),
        hint: None,
    }
}

/// The owners of all keys of an interval. None: the method does not keep neighbours together.
pub(crate) fn owners_between(
    map: &ShardMap,
    low: Option<&(Key, bool)>,
    high: Option<&(Key, bool)>,
) -> Option<Vec<ShardId>> {
    let Method::Range { bounds, owners } = &map.method else {
        return None;
    };
    let pinned = map
        .pins
        .iter()
        .filter(|(key, _)| within(key, low, high))
        .map(|(_, shard)| *shard);
    let ranged = owners.iter().enumerate().filter(|(i, _)| {
        // The range is `from <= key < to`; it is left out when it ends before the low end or begins behind the high one.
        let from = i.checked_sub(1).and_then(|before| bounds.get(before));
        let to = bounds.get(*i);
        let ends_before = to.zip(low).is_some_and(|(to, (low, _))| to <= low);
        let begins_behind = from
            .zip(high)
            .is_some_and(|(from, (high, inclusive))| from > high || (from == high && !inclusive));
        !ends_before && !begins_behind
    });
    Some(pinned.chain(ranged.map(|(_, shard)| *shard)).collect())
}

fn several(snapshot: &Snapshot, one: (ShardId, &Bound), other: (ShardId, &Bound)) -> Refusal {
    let (first, second) = (shard_name(snapshot, one.0), shard_name(snapshot, other.0));
    if one.1.role == Role::New && std::ptr::eq(one.1, other.1) {
        return Refusal::unsupported(
            "the rows of this INSERT belong to several shards",
            format!(
                "Table \"{}\" has rows for shard \"{first}\" and for shard \"{second}\".",
                one.1.relation
            ),
            "Insert the rows of each shard with a statement of their own.",
        );
    }
    if one.1.role == Role::Assigned || other.1.role == Role::Assigned {
        return Refusal::unsupported(
            "UPDATE would move a row to another shard",
            format!(
                "The statement touches keys on shard \"{first}\" ({}) and on shard \"{second}\" ({}).",
                one.1.label, other.1.label
            ),
            "Delete the row and insert it with its new key, in two statements.",
        );
    }
    Refusal::unsupported(
        "the statement touches more than one shard",
        format!(
            "Relation {} has keys on shard \"{first}\", relation {} on shard \"{second}\".",
            one.1.label, other.1.label
        ),
        HINT_ONE_SHARD,
    )
}

fn shard_name(snapshot: &Snapshot, id: ShardId) -> String {
    snapshot
        .shard(id)
        .map_or_else(|| format!("#{}", id.0), |shard| shard.name.clone())
}
