//! The catalog as one immutable value: everything that planning needs to know of shards and schema.
//!
//! A statement sees one snapshot; a transaction keeps its own. It is built by `catalog` and swapped whole.

use shardgate_shard_map::{Parts, ShardId, ShardMap};
use shardgate_sql::facts::Query;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The version of the catalog: a number for people, and ids that tell two histories with equal numbers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    pub number: u64,
    pub id: [u8; 16],
    pub parent: [u8; 16],
}

/// A Postgres object id.
pub type Oid = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DistributionId(pub u32);

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub epoch: Epoch,
    pub database: String,
    pub home: ShardId,
    /// All shards, home included, ascending by id.
    pub shards: Vec<Shard>,
    pub distributions: HashMap<DistributionId, Distribution>,
    /// Every relation outside of pg_catalog, information_schema and pg_toast, by schema and then by name.
    pub relations: HashMap<String, HashMap<String, Arc<Relation>>>,
    /// Functions outside of pg_catalog, by bare name: the worst class of all that share the name.
    pub functions: HashMap<String, FunctionClass>,
    /// Operators outside of pg_catalog.
    pub operators: Vec<UserOperator>,
    /// Names of types (domains, enums, composites, base types of extensions) outside of pg_catalog.
    pub types: HashSet<String>,
    /// The default of search_path for each role as a login would have it: role in database, role, database, server.
    /// The key `None` is for every other role. Items are unquoted; `$user` is kept as it is.
    pub search_paths: HashMap<Option<String>, Vec<String>>,
    /// Roles in whose sessions transactions may be serializable without being asked, by a setting of the role, or of one
    /// that may take its place with SET ROLE. None: all, by a setting of the database or the server.
    pub serializable: HashSet<Option<String>>,
    /// All roles, and whether they may log in.
    pub logins: HashMap<String, bool>,
    /// Schemas that exist: `$user` counts only if there is one.
    pub schemas: HashSet<String>,
    /// Functions outside of pg_catalog, by bare name, that may read or write a relation that is not a home relation, and
    /// why: on the home shard they would see only a part of the rows. Types whose checks or casts
    /// call such a function are among them. Empty if there are only home relations.
    pub blind_functions: HashMap<String, String>,
    /// Those of them that may be called as `row.function`.
    pub blind_of_row: HashSet<String>,
    /// Operators outside of pg_catalog whose function is one of them, and why.
    pub blind_operators: HashMap<String, String>,
    /// Set if a user's cast between two types of pg_catalog runs such code: any expression may run it. Why.
    pub blind_cast: Option<String>,
    /// Set if an event trigger runs such code: any change of the schema may run it. Why.
    pub blind_event: Option<String>,
    /// Names of functions that a user made in pg_catalog.
    pub catalog_functions: HashSet<String>,
    /// Names of operators outside of pg_catalog whose function may leave something behind in the session.
    pub opaque_operators: HashSet<String>,
    /// Casts that users made: from, to.
    pub casts: HashSet<(Oid, Oid)>,
    /// Set if one of those between two types of pg_catalog may leave something behind in the session. Which.
    pub cast_code: Option<String>,
    /// Set if an event trigger may leave something behind in the session. Which.
    pub event_code: Option<String>,
    /// Moves under way, from their first preparation until nothing of them is left: at most one for each distribution.
    pub moves: Vec<Move>,
    /// What a replica of a shard must have replayed before it may answer reads of distributed tables. None for a shard:
    /// anything.
    pub floors: HashMap<ShardId, Floor>,
}

/// Parts of a distribution on their way from one shard to another, or back.
///
/// The distribution's map says who owns them. Their rows may lie on both shards, so whoever reads more than one shard
/// asks each for what it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub id: i64,
    pub distribution: DistributionId,
    pub parts: Parts,
    /// Where they were at first, and where they are to be.
    pub shards: [ShardId; 2],
    /// The shard that owns them before the switch under way, or the next one: the first, or the second while they go back.
    pub losing: ShardId,
    /// They change hands at this moment: statements for them wait.
    pub holding: bool,
    /// The number of the epoch in which this move has last changed the map; 0: it has not yet.
    pub since: u64,
}

/// A position in the write-ahead log of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// A replica on a newer timeline has passed the position as well, as far as that was not lost.
    pub timeline: u32,
    pub lsn: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: ShardId,
    pub name: String,
    pub weight: u32,
    /// Candidates for primary and replicas; which is which is asked of the servers.
    pub hosts: Vec<Host>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug)]
pub struct Distribution {
    pub id: DistributionId,
    pub name: String,
    pub map: ShardMap,
}

#[derive(Clone, Debug)]
pub struct Relation {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    /// In order of attnum, dropped ones left out.
    pub columns: Vec<Column>,
    pub placement: Placement,
    /// Set if a statement on the relation may run code that planning does not see: triggers, rules, policies, defaults
    /// or checks that call user functions. The text says which.
    pub runs_code: Option<String>,
    /// Set if reading the relation may run such code: functions of its columns' types, or of its indexes' operator
    /// classes.
    pub code_read: Option<String>,
    /// It has inheritance children or parents, or partitions.
    pub inherits: bool,
    /// The analysed body of a view; None if it is no view or its body could not be analysed.
    pub view: Option<Arc<Query>>,
    /// Row level security is enabled.
    pub row_security: bool,
    /// Set if changing the relation may run code (a trigger, rule, policy, default, check, or an action of a foreign
    /// key) that reads or writes a relation that is not a home relation. The text says which. For a materialized view:
    /// its query may, and REFRESH runs it.
    pub blind_code: Option<String>,
    /// The same for reading the relation: its policies.
    pub blind_read: Option<String>,
    /// It, or one of its partitions or children, is unlogged: a standby has none of its rows.
    pub unlogged: bool,
    /// A view that every shard has as the home shard has it. Any other one may be named on the home shard alone.
    pub everywhere: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
    Sequence,
    Index,
    Composite,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the home shard alone. (An index is where its table is.)
    Home,
    /// A full copy on every shard.
    Reference,
    /// Spread by the column `columns[key]`; of an index: by its table's.
    Distributed {
        distribution: DistributionId,
        key: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub ty: Oid,
    /// Type modifier as in pg_attribute, -1 if none: varchar(n), timestamp(p).
    pub modifier: i32,
    pub not_null: bool,
    pub default: ColumnDefault,
    /// The column's collation is deterministic (or it has none).
    pub deterministic: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnDefault {
    None,
    /// An expression of constants and functions on the allow-list, or a generated column.
    Plain,
    /// The same, and it is computed from the time of the transaction: its text, with names as pg_catalog alone is searched.
    Clock(Arc<str>),
    /// The same, and each call may answer otherwise: `gen_random_uuid()`.
    Anew,
    /// nextval(..) or an identity column.
    Sequence,
    /// Anything else.
    Other,
}

/// What a function outside of pg_catalog may do to the session that calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionClass {
    /// Declared to compute from its arguments alone.
    Pure,
    /// Its body was read and has nothing that outlives the transaction on the connection.
    Clean,
    /// It may leave settings, temporary objects, locks or anything else behind.
    Opaque,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserOperator {
    pub name: String,
    pub left: Oid,
    pub right: Oid,
}

impl Snapshot {
    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.iter().find(|s| s.id == id)
    }

    pub fn shard_named(&self, name: &str) -> Option<&Shard> {
        self.shards.iter().find(|s| s.name == name)
    }

    /// The move under way in a distribution.
    pub fn move_of(&self, distribution: DistributionId) -> Option<&Move> {
        self.moves
            .iter()
            .find(|one| one.distribution == distribution)
    }

    pub fn relation(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        self.relations.get(schema)?.get(name)
    }
}
