//! Writers go on while keys go there and back: every acknowledged write is there once.

use crate::fixture::Moving;
use crate::support::text;
use shardgate_catalog::Backend;
use shardgate_catalog::moves::{PartsSpec, Step, status};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const WRITERS: i32 = 4;
/// Each writes at most that often: about 500 times a second all together.
const EVERY: Duration = Duration::from_millis(8);

/// What one writer has done: additions by key, keys that it has made, and the longest time without an answer.
#[derive(Default)]
struct Ledger {
    added: BTreeMap<i32, i32>,
    made: Vec<i32>,
    longest: Duration,
    count: u64,
}

/// Runs a statement on the shard that takes it. A shard that does not have the row, or is not to write it, says so.
async fn somewhere(shards: &[Backend], first: usize, sql: &str) {
    for shard in std::iter::repeat([first, 1 - first]).flatten() {
        match shards[shard].execute(sql, &[]).await {
            Ok(0) => {}
            Ok(_) => return,
            Err(error) => {
                let code = error.code().map(|code| code.code().to_owned());
                let code = code.unwrap_or_else(|| panic!("{error}"));
                assert!(code == "55006" || code == "23514", "{sql}: {error:?}");
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn write(shards: [Backend; 2], number: i32, stop: Arc<AtomicBool>) -> Ledger {
    let mut ledger = Ledger::default();
    let mut seed = u32::try_from(number).unwrap().wrapping_mul(2_654_435_761) | 1;
    let mut fresh = 100_000 * (number + 1);
    let mut pace = tokio::time::interval(EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        // xorshift: each writer has its own sequence, which is the same in every run.
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        let first = usize::try_from(seed % 2).unwrap();
        let begun = Instant::now();
        if seed % 5 == 0 {
            fresh += 1;
            let sql = format!("INSERT INTO public.a (k, big) VALUES ({fresh}, repeat('x', 5120))");
            somewhere(&shards, first, &sql).await;
            ledger.made.push(fresh);
        } else {
            let key = i32::try_from(seed % 400).unwrap() + 1;
            let sql = format!("UPDATE public.a SET n = n + 1 WHERE k = {key}");
            somewhere(&shards, first, &sql).await;
            *ledger.added.entry(key).or_default() += 1;
        }
        ledger.longest = ledger.longest.max(begun.elapsed());
        ledger.count += 1;
    }
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_or_doubled() {
    let mut moving = Moving::filled().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let shards = [
            moving.cluster.servers[0].connect().await,
            moving.cluster.servers[1].connect().await,
        ];
        writers.push(tokio::spawn(write(shards, number, Arc::clone(&stop))));
    }
    let mut pauses = Vec::new();
    let mut to = 2;
    for way in [
        &[Step::Completed][..],
        &[Step::CatchUp, Step::Cancelled],
        &[
            Step::Switched,
            Step::Reversed,
            Step::Switched,
            Step::Completed,
        ],
        &[
            Step::Verified,
            Step::Switched,
            Step::Reversed,
            Step::Cancelled,
        ],
        &[Step::Completed],
    ] {
        let from = moving.buckets_of(3 - to).await;
        let parts = PartsSpec::Buckets(from);
        let id = moving.begin(parts, &format!("s{to}")).await.unwrap();
        for until in way {
            moving
                .advance(id, *until)
                .await
                .unwrap_or_else(|error| panic!("{:?}", error.pg()));
            if matches!(until, Step::Switched | Step::Reversed) {
                pauses.push(status(moving.home(), id).await.unwrap().pause_ms.unwrap());
            }
        }
        if moving.buckets_of(3 - to).await.is_empty() {
            to = 3 - to;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut added: BTreeMap<i32, i32> = (1..=400).map(|key| (key, key)).collect();
    let (mut made, mut longest, mut count) = (0, Duration::ZERO, 0);
    for writer in writers {
        let ledger = writer.await.unwrap();
        for (key, more) in ledger.added {
            *added.get_mut(&key).unwrap() += more;
        }
        for key in ledger.made {
            added.insert(key, 0);
            made += 1;
        }
        longest = longest.max(ledger.longest);
        count += ledger.count;
    }
    println!(
        "{count} writes, {made} of them new rows; pauses {pauses:?} ms; longest answer {longest:?}"
    );
    let mut found = BTreeMap::new();
    for shard in &moving.shards {
        for row in shard.query("SELECT k, n FROM public.a", &[]).await.unwrap() {
            let earlier = found.insert(row.get::<_, i32>(0), row.get::<_, i32>(1));
            assert_eq!(
                earlier,
                None,
                "key {} is on both shards",
                row.get::<_, i32>(0)
            );
        }
        let short = "SELECT count(*)::text FROM public.a WHERE length(big) <> 5120";
        assert_eq!(text(shard, short).await, "0");
    }
    assert!(found == added, "rows differ from the ledger");
    moving.nothing_left().await;
}
