//! The `shardgate` schema on the home shard: create it, load a snapshot from it, change it, follow it.
//!
//! It must not know clients or their sessions. Nothing in the path of a query reads the catalog: routers hold an
//! immutable snapshot and swap it whole.

mod build;
mod connect;
mod disk;
mod epoch;
mod error;
mod expression;
mod fingerprint;
mod follow;
mod follow_task;
mod function_body;
mod function_class;
mod key_text;
mod load;
mod load_catalog;
mod load_code;
mod load_relations;
mod quote;
mod raw;
mod schema;
mod search_path;
mod shard;
mod view;

pub use connect::{Backend, config_for, hosts_of};
pub use disk::{read as read_state_file, save as write_state_file};
pub use epoch::CHANNEL;
pub use error::{CatalogError, PgError};
pub use follow::{Follower, FollowerOptions, FollowerState};
pub use load::{Held, load};
pub use raw::RawSnapshot;
pub use schema::{InitOptions, Initialised, VERSION, init};
pub use shard::{NewShard, ShardAdded, add_shard, set_hosts};
