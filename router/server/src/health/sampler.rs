//! Asks a shard's primary for its position, only while somebody wants to know.

use super::Clock;
use super::history::Sample;
use super::probe::timeline_from_name;
use super::shard::Shard;
use std::time::Duration;
use tokio_postgres::types::PgLsn;

/// One position, taken in one step, and the timeline that it is on. Both are null on a standby.
const SAMPLE: &str = "\
SELECT pg_catalog.substr(pg_catalog.pg_walfile_name(p.lsn), 1, 8), p.lsn
FROM (SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery()
                  THEN pg_catalog.pg_current_wal_insert_lsn() END AS lsn OFFSET 0) p";

/// How long to wait for a primary before the next attempt.
const NO_PRIMARY: Duration = Duration::from_millis(100);

/// Runs for as long as the shard is in the catalog.
pub(super) async fn run(shard: &Shard, clock: &Clock) {
    loop {
        shard.sample_wanted().await;
        match sample(clock, || take(shard)).await {
            Some(sample) => shard.add_sample(sample),
            None => {
                let mut changes = shard.subscribe();
                // Either is a reason to try again.
                let _ = tokio::time::timeout(NO_PRIMARY, changes.changed()).await;
            }
        }
        tokio::time::sleep(shard.options().sample_interval).await;
    }
}

/// The order is what the rule rests on: first the tick, then which server is the primary, then the statement. A write
/// whose tick is not above the sample's was acknowledged before the statement began, by this primary or by one before it.
async fn sample<T>(clock: &Clock, take: impl FnOnce() -> T) -> Option<Sample>
where
    T: Future<Output = Option<(u32, u64)>>,
{
    let tick = clock.now();
    let (timeline, lsn) = take().await?;
    Some(Sample {
        tick,
        timeline,
        lsn,
    })
}

/// The primary's timeline and insert position. None: there is no primary, it did not answer, or it is a standby now.
async fn take(shard: &Shard) -> Option<(u32, u64)> {
    let client = shard.primary_client()?;
    let asked = client.query_typed(SAMPLE, &[]);
    let rows = tokio::time::timeout(shard.options().probe_timeout, asked).await;
    let row = rows.ok()?.ok()?.into_iter().next()?;
    let name: Option<String> = row.try_get(0).ok()?;
    let lsn: Option<PgLsn> = row.try_get(1).ok()?;
    Some((timeline_from_name(&name?)?, lsn?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn a_mark_that_is_set_meanwhile_is_not_covered() {
        let clock = Clock::new();
        clock.tick.store(7, Ordering::SeqCst);
        let take = || {
            clock.tick.store(8, Ordering::SeqCst);
            std::future::ready(Some((1, 100)))
        };
        let taken = sample(&clock, take).await;
        let expect = Sample {
            tick: 7,
            timeline: 1,
            lsn: 100,
        };
        assert_eq!(taken, Some(expect));
    }
}
