//! A row lives on exactly the shard that its key says, whatever driver, form and format the key came in.
//!
//! Postgres is the oracle: `satisfies_hash_partition` names the bucket of a stored row, the catalog's map its shard.

mod guard;
mod keys;
mod maps;
mod oracle;
mod refusals;
mod spellings;
mod writers;

use anyhow::{Context, Result, ensure};
use keys::Row;
use shardgate_tests::Running;
use std::collections::BTreeSet;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(240);
/// So many rows of each driver in each table are written and read in that time; more have more time in proportion.
const USUAL_ROWS: i32 = 1000;

/// Every row that the four drivers wrote is where Postgres says, and is found by its key exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_lie_where_postgres_says() -> Result<()> {
    let times = u32::try_from(keys::each()? / USUAL_ROWS)? + 1;
    tokio::time::timeout(DEADLINE * times, placement())
        .await
        .context("in time")?
}

async fn placement() -> Result<()> {
    let running = Running::start(3, 0);
    let rows = keys::all(&running).await?;
    keys::create_tables(&running).await?;
    writers::write_all(&running, &rows).await?;
    let mut shards_used = BTreeSet::new();
    for table in keys::TABLES {
        let stored =
            oracle::check_hash(&running, table.name, table.key_type, table.buckets).await?;
        let expected: BTreeSet<(String, i32)> = rows
            .iter()
            .filter(|row| row.table == table.name)
            .map(|row| (row.source.to_owned(), row.number))
            .collect();
        let found: BTreeSet<(String, i32)> = stored.iter().map(|(_, row)| row.clone()).collect();
        ensure!(
            found.len() == stored.len(),
            "{}: a row lies on two shards",
            table.name
        );
        ensure!(
            found == expected,
            "{}: {} rows of {}",
            table.name,
            found.len(),
            expected.len()
        );
        shards_used.extend(stored.iter().map(|(shard, _)| *shard));
        println!(
            "{}: {} rows, all where Postgres says",
            table.name,
            stored.len()
        );
    }
    ensure!(
        shards_used.len() == 3,
        "the keys do not reach all shards: {shards_used:?}"
    );
    read_back(&running, &rows).await?;
    guard::hash_tables_refuse_strangers(&running).await
}

/// Each key gives its one row through the router, with the parameter in both formats and as a literal.
async fn read_back(running: &Running, rows: &[Row]) -> Result<()> {
    let chunks = rows.chunks(rows.len().div_ceil(4));
    let readers = chunks.map(|chunk| async move {
        let session = running.connect().await?;
        for row in chunk {
            let found = writers::read_by_key(&session, row).await?;
            let expected = vec![(row.source.to_owned(), row.number)];
            ensure!(found == expected, "{row:?} gave {found:?}");
        }
        Ok(())
    });
    futures_util::future::try_join_all(readers).await?;
    println!("{} keys read back, each exactly once", rows.len());
    Ok(())
}

/// Keys around every bound of range maps, and of list maps those with and without a shard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_and_lists_hold_what_their_maps_say() -> Result<()> {
    let work = async {
        let running = Running::start(3, 0);
        maps::ranges(&running).await?;
        maps::lists(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

/// Unusual spellings of keys: either the shard that Postgres names, or a refusal; never another shard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_spellings_are_right_or_refused() -> Result<()> {
    let work = async {
        let running = Running::start(2, 0);
        spellings::odd_spellings(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}

/// Statements whose key is unknown are refused with a reason, in both protocols, and the session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_keys_are_refused() -> Result<()> {
    let work = async {
        let running = Running::start(2, 0);
        refusals::check_all(&running).await
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .context("in time")?
}
