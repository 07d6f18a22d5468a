//! The catalog as it was read, before anything was concluded: what is kept on disk.
//!
//! Plain serialisable data. `load` fills it with one transaction, `build` turns it into a `Snapshot` without I/O.

use serde::{Deserialize, Serialize};

/// Rows of the catalog and of the schema, of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RawSnapshot {
    /// uuid text
    pub cluster: String,
    /// Hex. Keys the salts that unknown users are shown.
    pub mock_auth_secret: String,
    pub epoch: RawEpoch,
    /// See `fingerprint`.
    pub fingerprint: String,
    pub database: String,
    pub home: u16,
    pub shards: Vec<RawShard>,
    pub distributions: Vec<RawDistribution>,
    pub tables: Vec<RawTable>,
    pub moves: Vec<RawMove>,
    pub relations: Vec<RawRelation>,
    pub foreign_keys: Vec<RawForeignKey>,
    /// Children (partitions too) and their parents.
    pub inherits: Vec<(u32, u32)>,
    pub functions: Vec<RawFunction>,
    /// Functions of pg_catalog that expressions of this schema call.
    pub system_functions: Vec<RawSystemFunction>,
    pub operators: Vec<RawOperator>,
    pub types: Vec<RawType>,
    /// Casts that the user made.
    pub casts: Vec<RawCast>,
    /// Those that are enabled.
    pub event_triggers: Vec<RawEventTrigger>,
    pub schemas: Vec<String>,
    pub path_settings: Vec<RawPathSetting>,
    /// All settings of roles and databases that a login here may apply: whose they are, and their values.
    #[serde(default)]
    pub login_settings: Vec<String>,
    /// Roles, and whether they may log in.
    pub logins: Vec<(String, bool)>,
    /// See `Snapshot::serializable`.
    pub serializable: Vec<Option<String>>,
    /// search_path as the server gives it to a role and database without a setting of their own.
    pub server_path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RawEpoch {
    pub number: u64,
    /// uuid text
    pub id: String,
    /// uuid text
    pub parent: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawShard {
    pub id: u16,
    pub name: String,
    pub weight: u32,
    /// None: as on the home shard.
    pub dbname: Option<String>,
    pub hosts: Vec<(String, u16)>,
    /// Timeline and LSN of `Snapshot::floors`.
    pub floor: Option<(u32, u64)>,
}

/// A move under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawMove {
    pub id: i64,
    pub distribution: u32,
    pub source: u16,
    pub target: u16,
    /// They go back to the source, or are to.
    pub backwards: bool,
    pub holding: bool,
    pub since: u64,
    pub parts: RawParts,
}

/// Parts of a move. Keys are in hex as in `RawDistribution`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RawParts {
    /// First and last bucket of each run.
    pub buckets: Vec<(u32, u32)>,
    /// Lower and upper bound; None: there is none.
    pub ranges: Vec<(Option<String>, Option<String>)>,
    pub values: Vec<String>,
    pub default: bool,
    pub pins: Vec<String>,
}

/// A map. Keys are the hex of the type's binary form (`int8send`, `textsend`, ..), so Postgres alone reads their text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawDistribution {
    pub id: u32,
    pub name: String,
    pub method: String,
    pub key_type: String,
    pub buckets: Option<u32>,
    /// Shard of each bucket, ascending by bucket.
    pub owners: Vec<u16>,
    /// Lower bound (None: from the beginning) and shard, in order.
    pub ranges: Vec<(Option<String>, u16)>,
    pub values: Vec<(String, u16)>,
    pub default_shard: Option<u16>,
    pub pins: Vec<(String, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawTable {
    pub relation: u32,
    /// `distributed` or `reference`
    pub kind: String,
    pub distribution: Option<u32>,
    pub key_attnum: Option<i16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRelation {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// relkind
    pub kind: char,
    pub row_security: bool,
    pub inherits: bool,
    pub columns: Vec<RawColumn>,
    /// Names of enabled triggers of the user.
    pub triggers: Vec<String>,
    /// Names of rules, `_RETURN` left out.
    pub rules: Vec<String>,
    /// CHECK constraints, partition keys and indexes with their operator classes: what it is, and what it calls.
    pub expressions: Vec<(String, RawExpression)>,
    /// Text of a view, all names qualified.
    pub definition: Option<String>,
    /// The words of the query of a view or materialized view: see `function_reach`.
    pub words: Vec<String>,
    /// A view that every shard has as the home shard has it.
    pub everywhere: bool,
    /// relpersistence = 'u'
    pub unlogged: bool,
    /// The table of an index.
    pub table: Option<u32>,
    /// Triggers, rules, policies and operator classes, and what they may run.
    pub code: Vec<RawCode>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawColumn {
    pub name: String,
    pub attnum: i16,
    pub ty: u32,
    pub modifier: i32,
    pub not_null: bool,
    pub deterministic: bool,
    /// attidentity <> ''
    pub identity: bool,
    /// attgenerated <> ''
    pub generated: bool,
    pub default: Option<RawExpression>,
    /// The text of a default that reads the clock of the transaction.
    pub clock: Option<String>,
    /// The default calls a function that may answer otherwise each time.
    pub anew: bool,
}

/// What a stored expression calls.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RawExpression {
    /// Ids of functions, of operators' functions too.
    pub functions: Vec<u32>,
    /// Ids of types whose input, output or check functions may run.
    pub types: Vec<u32>,
    /// It has a node that was not understood.
    pub strange: bool,
}

/// A trigger, a rule, a policy, or the support functions of an index's operator class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawCode {
    /// As messages name it.
    pub what: String,
    /// Reading the relation runs it too.
    pub reads: bool,
    /// The function of a trigger or of an operator class; 0: none.
    pub function: u32,
    /// The words of its conditions and statements: see `function_reach`.
    pub words: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawForeignKey {
    pub name: String,
    pub child: u32,
    pub parent: u32,
    /// A change of the parent changes the child: CASCADE, SET NULL or SET DEFAULT.
    pub acts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawFunction {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// The class that its owner declared.
    pub declared: Option<String>,
    pub body: RawBody,
    pub reach: RawReach,
    /// It may be called as `row.function`: its only argument is a row, or may be one.
    pub of_row: bool,
    /// It came with an extension.
    pub extension: bool,
}

/// What a function may read or write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawReach {
    /// Anything; the text says why.
    Blind(String),
    /// What these words of its text name.
    Words(Vec<String>),
}

/// What was concluded from a function's text; the text itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawBody {
    /// It may do anything; the text says why.
    Opaque(String),
    /// It has nothing suspicious by itself and uses these names.
    Read {
        /// Names that are called, folded, without schemas.
        calls: Vec<String>,
        /// Every other identifier: relations may be among them.
        names: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawSystemFunction {
    pub oid: u32,
    pub name: String,
    /// provolatile
    pub volatility: char,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawOperator {
    pub name: String,
    pub left: u32,
    pub right: u32,
    pub function: u32,
    /// It came with an extension.
    pub extension: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawType {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// typtype
    pub kind: char,
    pub array: bool,
    /// Base type of a domain, element of an array; 0: none.
    pub base: u32,
    /// It came with an extension.
    pub extension: bool,
    /// The relation of a row type or composite type; 0: none.
    pub row_of: u32,
    /// Checks of a domain, and its default.
    pub checks: Vec<RawExpression>,
    /// Functions of casts from and to it.
    pub casts: Vec<u32>,
    /// Functions of its own that read, print, compare, sort or hash values: those of its input and output, of its
    /// default operator classes, of a range type.
    pub support: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawCast {
    pub source: u32,
    pub target: u32,
    /// As messages name it: `cast (integer AS text)`.
    pub what: String,
    /// 0: none, the value keeps its bytes or goes through its text.
    pub function: u32,
    /// Both types are of pg_catalog or temporary, so no type in `types` tells of it.
    pub unnamed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawEventTrigger {
    pub name: String,
    pub function: u32,
}

/// `ALTER ROLE .. SET search_path` and its kin; None stands for all roles, or all databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawPathSetting {
    pub role: Option<String>,
    pub in_database: bool,
    pub value: String,
}
