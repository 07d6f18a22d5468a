//! The `shardgate` schema on the home shard: create it, load a snapshot from it, change it, follow it.
//!
//! It must not know clients or their sessions. Nothing in the path of a query reads the catalog: routers hold an
//! immutable snapshot and swap it whole.

mod blind;
mod build;
mod build_map;
mod build_moves;
mod call;
mod check;
mod check_moves;
mod check_tables;
mod choose;
mod connect;
mod dependent_views;
mod disk;
mod distribute;
mod distribution;
mod epoch;
mod error;
mod expression;
mod fingerprint;
mod follow;
mod follow_home;
mod follow_task;
mod function_body;
mod function_class;
mod function_reach;
mod guard;
mod identity;
mod key_text;
mod load;
mod load_catalog;
mod load_code;
mod load_moves;
mod load_relations;
pub mod moves;
mod quote;
mod raw;
mod recover;
mod resolve;
mod schema;
mod search_path;
mod shard;
mod shard_change;
mod shard_fill;
mod shard_objects;
mod suspect;
mod table;
mod table_checks;
mod table_ddl;
mod table_foreign_keys;
mod temporary_code;
mod two_phase;
mod undistribute;
mod view;
mod view_copies;
mod work;

pub use call::{call, call_in};
pub use check::{CheckOptions, Finding, Severity, check, check_with};
pub use connect::{Backend, config_for, hosts_of};
pub use disk::{read as read_state_file, save as write_state_file};
pub use distribute::{Caller, DistributeRequest, distribute_table, reference_table};
pub use distribution::{BUCKETS, NewDistribution, NewMethod, create_distribution};
pub use epoch::CHANNEL;
pub use error::{CatalogError, PgError};
pub use follow::{Follower, FollowerOptions, FollowerState, Refresher};
pub use guard::GUARD;
pub use load::{Held, load};
pub use raw::{
    RawBody, RawCode, RawColumn, RawDistribution, RawEpoch, RawExpression, RawForeignKey,
    RawFunction, RawMove, RawOperator, RawParts, RawPathSetting, RawReach, RawRelation, RawShard,
    RawSnapshot, RawSystemFunction, RawTable, RawType,
};
pub use recover::{Recovered, recover, recover_as, resolve};
pub use schema::{InitOptions, Initialised, VERSION, init};
pub use shard::{NewShard, ShardAdded, add_shard, set_hosts};
pub use shard_change::{remove_shard, set_weight};
pub use two_phase::{EDGES, Watch};
pub use undistribute::undistribute_table;
