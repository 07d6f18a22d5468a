//! What planning answers: where a statement goes, or why it is refused.

use crate::gather::Gather;
use crate::moving::Moving;
use crate::snapshot::Snapshot;
use shardgate_shard_map::ShardId;
use std::collections::HashSet;
use std::sync::Arc;

/// What the session knows and planning needs, besides facts and snapshot.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The role whose name `$user` stands for.
    pub user: &'a str,
    /// The session's search_path, if it has set one; else the snapshot's default for the user is taken.
    pub search_path: Option<&'a [String]>,
    /// Types that the client declared for `$1`, `$2`, ..; 0 or absent: undeclared.
    pub declared: &'a [u32],
    /// Names in the session's pg_temp. They hide relations of the same name and live on home.
    pub temporary: &'a HashSet<String>,
    /// DateStyle begins with ISO, so an ISO date literal means what it says whatever the field order.
    /// (ISO input is read alike under every DateStyle; the flag is for output-dependent rules and stays here for them.)
    pub transform_null_equals: bool,
}

/// A statement as it was compiled against one snapshot; it is executed many times with different parameters.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub route: Route,
    pub traits: Traits,
    /// One line for each fact that the route rests on: for EXPLAIN (ROUTE).
    pub because: Vec<String>,
    /// Moves whose keys an execution may use, whatever its parameters.
    pub concerns: Moving,
}

/// What the statement does to its surroundings, whatever the route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Proven: it writes nothing, locks nothing, and a standby answers as the primary does.
    pub replica_safe: bool,
    /// Proven: it writes nothing (a transaction with nothing else needs no mark for read-your-writes).
    pub read_only: bool,
    /// It may leave state on the connection: the session is pinned to it. The text is the reason.
    pub taints: Option<String>,
    /// It reads what an earlier statement of the session left on its connection (`currval`, `lastval`): on a connection
    /// to which the session is not pinned, it would see another client's. The text is the reason.
    pub needs_pin: Option<String>,
    /// It may draw from a sequence: what `currval` and `lastval` answer afterwards is its own.
    pub draws: bool,
    /// It looks at the prepared statements of its connection, which are not those of the session. The text is the reason.
    pub shows_statements: Option<String>,
    /// Settings that calls of `set_config` in the select list change; such calls are no taint.
    pub sets: Vec<SetConfig>,
    /// It names temporary objects or creates them.
    pub temporary: bool,
    /// It changes the schema: the snapshot must be loaded anew once it is committed.
    pub ddl: bool,
    /// It refuses to run in a transaction block.
    pub no_transaction: bool,
}

/// `set_config(name, value, is_local)` as an item of the select list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetConfig {
    /// In lower case.
    pub name: String,
    /// None: no literal.
    pub value: Option<String>,
    /// True only if it is certainly local to the transaction.
    pub local: bool,
}

#[derive(Clone, Debug)]
pub enum Route {
    /// The home shard, untouched.
    Home,
    /// Any shard gives the same answer.
    Any,
    /// Depends on parameters: ask `decide`.
    Keyed(crate::keyed::Keyed),
    /// One fixed shard.
    One(ShardId),
    /// DDL: the same text on every shard, as one atomic step where Postgres allows it.
    AllShards,
    /// The distributed tables are not bound to one shard: their rows are gathered from all of them. The refusal says why
    /// no shard can answer alone; it holds where nothing can be gathered, as within a transaction.
    Gather(Arc<Gather>, Refusal),
    /// A call of one of the router's own functions.
    Call(Call),
    Refused(Refusal),
}

/// `create_distributed_table(..)` and its kin. Arguments are literals or parameters, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub function: CallName,
    /// The heading of the result column.
    pub column: String,
    /// Positional arguments first, then named ones; the name is None for a positional one.
    pub args: Vec<(Option<String>, Argument)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallName {
    CreateDistributedTable,
    CreateReferenceTable,
    UndistributeTable,
    /// `pg_backend_pid()` as the whole statement: the number that the client was given.
    BackendPid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// NULL is None. Arrays (`ARRAY['a','b']`, `'{a,b}'::text[]`) are lists.
    Text(Option<String>),
    List(Vec<String>),
    Param(u16),
}

/// Where one execution goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Shard(ShardId),
    Any,
    AllShards,
    /// As in `Route`.
    Gather(Arc<Gather>, Refusal),
    Call(Call),
    Refused(Refusal),
}

/// A parameter of Bind.
#[derive(Clone, Copy, Debug)]
pub struct Param<'a> {
    pub binary: bool,
    /// None: NULL.
    pub value: Option<&'a [u8]>,
}

/// A precise refusal, in Postgres's manner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Compiled {
    /// Whether some execution may be answered by gathering: `decide` says which.
    pub fn may_gather(&self) -> bool {
        match &self.route {
            Route::Gather(..) => true,
            Route::Keyed(keyed) => keyed.gather.is_some(),
            Route::Home
            | Route::Any
            | Route::One(_)
            | Route::AllShards
            | Route::Call(_)
            | Route::Refused(_) => false,
        }
    }

    /// The moves whose keys this execution may use, if its route is one to a single shard.
    pub fn moving(&self, params: &[Param<'_>], snapshot: &Snapshot) -> Moving {
        match &self.route {
            Route::Keyed(keyed) if !self.concerns.is_none() => keyed.moving(params, snapshot),
            Route::Keyed(_)
            | Route::Home
            | Route::Any
            | Route::One(_)
            | Route::AllShards
            | Route::Gather(..)
            | Route::Call(_)
            | Route::Refused(_) => self.concerns,
        }
    }

    /// Where this execution goes.
    pub fn decide(&self, params: &[Param<'_>], snapshot: &Snapshot) -> Decision {
        match &self.route {
            Route::Home => Decision::Shard(snapshot.home),
            Route::Any => Decision::Any,
            Route::Keyed(keyed) => keyed.decide(params, snapshot),
            Route::One(shard) => Decision::Shard(*shard),
            Route::AllShards => Decision::AllShards,
            Route::Gather(gather, refusal) => Decision::Gather(gather.clone(), refusal.clone()),
            Route::Call(call) => Decision::Call(call.clone()),
            Route::Refused(refusal) => Decision::Refused(refusal.clone()),
        }
    }
}

impl Refusal {
    /// 0A000: a shape that is not answered.
    pub fn unsupported(
        message: impl Into<String>,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Refusal {
            sqlstate: "0A000",
            message: message.into(),
            detail: Some(detail.into()),
            hint: Some(hint.into()),
        }
    }
}
