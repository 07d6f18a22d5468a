//! Moves: parts of a distribution go from one shard to another while applications work with them.
//!
//! A move is a row of the catalog, and its column `step` says how far it is. Every step can be carried out again from its
//! beginning, so whoever holds the lease of the move goes on where another one stopped. Rows are copied and followed by
//! Postgres's own logical replication; who may write them is decided by gates in the shards' databases, and who owns
//! them by the map, which changes in one transaction on the home shard.
//!
//! It must not know clients, nor how progress is shown.

mod advance;
mod balance;
mod checks;
mod copy;
mod drive;
mod edges;
mod ending;
mod gates;
mod lease;
mod map;
mod measure;
mod plan;
mod ranges;
mod reverify;
mod routers;
mod spec;
mod start_point;
mod status;
mod step;
mod steps;
mod streams;
mod switch;
mod table;
mod throttle;
mod trim;
pub mod verify;

pub use advance::{advance, pause, recover, unpause};
pub use edges::EDGES;
pub use measure::Load;
pub use plan::{Measure, Plan, PlanRequest, PlannedMove, Share, plan, text};
pub use ranges::{merge_ranges, split_range};
pub use reverify::verify_again;
pub use spec::{MoveOptions, MoveSpec, PartsSpec, Preview, preview, start};
pub use status::{MoveStatus, list, status};
pub use step::Step;
pub use table::{MoveColumn, MoveTable};
