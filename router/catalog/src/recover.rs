//! Ending transactions over several shards that their maker left half-way.
//!
//! The decision row says how: 'commit' is written by the transaction itself. Where there is none, 'aborted' is written
//! first, so that a late commit fails, and only then is anything rolled back. Nothing is presumed from time alone; time
//! only says when a maker that lives is left in peace.
//!
//! Two kinds are told apart by their gid. Changes made by this crate hold the change lock until they have decided, so
//! under that lock theirs is final at once. Those that a router makes for its clients are waited for, as long as that
//! router lives: its gid names it, and its run. A router that has started again knows that its earlier runs are over.

use crate::connect::Backend;
use crate::epoch;
use crate::error::CatalogError;
use crate::quote::ident;
use crate::shard::{self, ShardRow};
use crate::two_phase::{PREFIX, end_prepared};

/// The transaction of a router that lives is left alone for so long.
const YOUNG_S: f64 = 60.0;

/// What recovery did with one prepared transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub shard: String,
    pub gid: String,
    /// It was committed; else it was rolled back.
    pub committed: bool,
}

/// A transaction that is prepared on a shard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InDoubt {
    pub gid: String,
    pub owner: String,
    pub age_s: f64,
}

impl InDoubt {
    /// The key of its decision row.
    fn decision(&self) -> &str {
        // The last part is the shard's.
        self.gid
            .rsplit_once(':')
            .map_or(self.gid.as_str(), |(decision, _)| decision)
    }

    /// A router's, and not older than routers take.
    pub(crate) fn is_recent(&self) -> bool {
        !self.gid.starts_with(PREFIX) && self.age_s < YOUNG_S
    }

    /// Its maker may still be about to decide.
    fn is_young(&self, makers: &Makers) -> bool {
        self.is_recent() && makers.may_live(&self.gid)
    }
}

/// Which routers may still be at work.
#[derive(Debug, Default)]
struct Makers {
    /// Ids of those with a fresh heartbeat.
    live: Vec<String>,
    /// What the gids of the asking router's present run begin with.
    own_run: Option<String>,
}

impl Makers {
    async fn ask(home: &Backend, own_run: Option<&str>) -> Result<Makers, CatalogError> {
        let rows = home
            .query(
                "SELECT id FROM shardgate.router WHERE heartbeat > now() - make_interval(secs => $1)",
                &[&epoch::LIVE_S],
            )
            .await
            .map_err(|error| home.err(&error))?;
        Ok(Makers {
            live: rows.iter().map(|row| row.get(0)).collect(),
            own_run: own_run.map(str::to_owned),
        })
    }

    /// `shardgate:CLUSTER:ROUTER:RUN:..` names its maker.
    fn may_live(&self, gid: &str) -> bool {
        let router = gid.split(':').nth(2).unwrap_or_default();
        match &self.own_run {
            Some(run) if run.split(':').nth(2) == Some(router) => gid.starts_with(run.as_str()),
            Some(_) | None => self.live.iter().any(|id| id == router),
        }
    }
}

/// Ends every prepared transaction of ours that its maker left behind, on every shard.
///
/// # Errors
/// 55P03 while a change is being made; 08006 if a shard cannot be reached (the others are done nevertheless).
pub async fn recover(home: &mut Backend) -> Result<Vec<Recovered>, CatalogError> {
    recover_as(home, None).await
}

/// As `recover`, for a router: what the gids of its present run begin with (`shardgate:CLUSTER:ROUTER:RUN:`) tells it
/// what earlier runs of its own have left.
///
/// # Errors
/// As `recover`.
pub async fn recover_as(
    home: &mut Backend,
    own_run: Option<&str>,
) -> Result<Vec<Recovered>, CatalogError> {
    let whom = home.whom().to_owned();
    let base = home.config().clone();
    crate::schema::require(&**home, &whom).await?;
    let shards = shard::all(&**home, &base, &whom).await?;
    let makers = Makers::ask(home, own_run).await?;
    let mut done = Vec::new();
    let mut failed = None;
    for shard in &shards {
        if let Err(error) = recover_shard(home, shard, &makers, &mut done).await {
            failed = Some(error);
        }
    }
    match failed {
        None => Ok(done),
        Some(error) => Err(error),
    }
}

/// Ends one transaction of a router, which asks for it itself: on every shard, as its decision row says. True if that is
/// commit. Nothing of it is prepared anywhere afterwards.
///
/// # Errors
/// 55P03 while a change is being made; 08006 if a shard cannot be reached.
pub async fn resolve(home: &mut Backend, decision: &str) -> Result<bool, CatalogError> {
    let whom = home.whom().to_owned();
    let base = home.config().clone();
    let committed = outcome(home, decision).await?;
    for shard in &shard::all(&**home, &base, &whom).await? {
        let backend = shard.connect().await?;
        for found in &in_doubt(&backend).await? {
            if found.decision() == decision {
                end(&backend, found, committed).await?;
            }
        }
    }
    Ok(committed)
}

/// Ends what an earlier change left behind before a new one begins, as far as shards can be reached.
pub(crate) async fn recover_before(home: &mut Backend) -> Result<(), CatalogError> {
    match recover(home).await {
        Ok(_) => Ok(()),
        // The change itself will say so if it needs the shard.
        Err(error) if error.is_unreachable() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Ends what an earlier change left on a server that is about to be a shard.
pub(crate) async fn recover_newcomer(
    home: &mut Backend,
    shard: &ShardRow,
) -> Result<(), CatalogError> {
    let makers = Makers::ask(home, None).await?;
    recover_shard(home, shard, &makers, &mut Vec::new()).await
}

async fn recover_shard(
    home: &mut Backend,
    shard: &ShardRow,
    makers: &Makers,
    done: &mut Vec<Recovered>,
) -> Result<(), CatalogError> {
    let backend = shard.connect().await?;
    for found in in_doubt(&backend)
        .await?
        .iter()
        .filter(|found| !found.is_young(makers))
    {
        let committed = outcome(home, found.decision()).await?;
        end(&backend, found, committed).await?;
        tracing::info!(
            gid = found.gid,
            committed,
            shard = shard.name,
            "ended a prepared transaction that was left behind"
        );
        done.push(Recovered {
            shard: shard.name.clone(),
            gid: found.gid.clone(),
            committed,
        });
    }
    Ok(())
}

async fn end(backend: &Backend, found: &InDoubt, committed: bool) -> Result<(), CatalogError> {
    // Only its owner or a superuser may end a prepared transaction.
    backend
        .run(&format!("SET ROLE {}", ident(&found.owner)))
        .await?;
    let how = if committed { "COMMIT" } else { "ROLLBACK" };
    let ended = end_prepared(backend, &found.gid, how).await;
    backend.run("RESET ROLE").await?;
    ended
}

/// Prepared transactions of ours in the database of a shard.
pub(crate) async fn in_doubt(backend: &Backend) -> Result<Vec<InDoubt>, CatalogError> {
    let rows = backend
        .query(
            "SELECT gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8 FROM pg_prepared_xacts \
             WHERE database = current_database() AND starts_with(gid, 'shardgate:') ORDER BY prepared",
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    Ok(rows
        .iter()
        .map(|row| InDoubt {
            gid: row.get(0),
            owner: row.get(1),
            age_s: row.get(2),
        })
        .collect())
}

/// Reads the decision under the change lock; writes 'aborted' if there is none. A decision that is being written at
/// this moment is waited for.
async fn outcome(home: &mut Backend, decision: &str) -> Result<bool, CatalogError> {
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let (tx, _) = epoch::begin_change(home).await?;
    tx.execute(
        "INSERT INTO shardgate.decision (gid, outcome) VALUES ($1, 'aborted') ON CONFLICT DO NOTHING",
        &[&decision],
    )
    .await
    .map_err(err)?;
    // A statement of its own: it must see a row that the insertion ran into.
    let row = tx
        .query_one(
            "SELECT outcome = 'commit' FROM shardgate.decision WHERE gid = $1",
            &[&decision],
        )
        .await
        .map_err(err)?;
    // The commit makes the decision, read or written, durable before anything rests on it.
    tx.commit().await.map_err(err)?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_and_age_by_kind() {
        let found = |gid: &str, age_s| InDoubt {
            gid: gid.to_owned(),
            owner: String::new(),
            age_s,
        };
        let makers = Makers {
            live: vec!["1".to_owned(), "2".to_owned()],
            own_run: Some("shardgate:c:1:new:".to_owned()),
        };
        for (gid, age_s, decision, young) in [
            ("shardgate:ddl:c:1:2", 0.0, "shardgate:ddl:c:1", false),
            ("shardgate:c:2:r:7_1:2", 59.0, "shardgate:c:2:r:7_1", true),
            ("shardgate:c:2:r:7_1:2", 61.0, "shardgate:c:2:r:7_1", false),
            // A router without a heartbeat; our own present and earlier runs.
            ("shardgate:c:3:r:7_1:2", 0.0, "shardgate:c:3:r:7_1", false),
            (
                "shardgate:c:1:new:7_1:2",
                0.0,
                "shardgate:c:1:new:7_1",
                true,
            ),
            (
                "shardgate:c:1:old:7_1:2",
                0.0,
                "shardgate:c:1:old:7_1",
                false,
            ),
        ] {
            let found = found(gid, age_s);
            assert_eq!(
                (found.decision(), found.is_young(&makers)),
                (decision, young),
                "{gid}"
            );
        }
    }
}
