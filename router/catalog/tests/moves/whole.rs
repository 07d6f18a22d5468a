//! Whole moves.

use crate::fixture::{Moving, left_behind};
use crate::support::text;
use shardgate_catalog::check;
use shardgate_catalog::moves::{PartsSpec, Step, status};

async fn nothing_left(moving: &mut Moving) {
    for shard in &moving.shards {
        assert_eq!(left_behind(shard).await, "");
    }
    assert_eq!(check(moving.home()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_buckets_of_a_shard_go_to_the_other_and_stay() {
    let mut moving = Moving::filled().await;
    let before = [moving.rows(0).await, moving.rows(1).await];
    let parts = PartsSpec::Buckets(moving.buckets_of(1).await);
    let id = moving.begin(parts).await.unwrap();
    moving.advance(id, Step::Verified).await.unwrap();
    // Changes follow.
    moving.shards[0]
        .batch_execute("UPDATE public.a SET n = n + 1000 WHERE k % 3 = 0; DELETE FROM public.a WHERE k % 7 = 0")
        .await
        .unwrap();
    moving.advance(id, Step::Switched).await.unwrap();
    let now = status(moving.home(), id).await.unwrap();
    println!("pause {:?} ms, copied {} rows, {} bytes in {} ms", now.pause_ms, now.rows_copied, now.bytes_copied, now.copy_ms);
    moving.advance(id, Step::Completed).await.unwrap();
    assert_eq!(moving.rows(0).await, "0:0 0:0");
    assert_eq!(
        text(&moving.shards[1], "SELECT concat(count(*), ' ', count(*) FILTER (WHERE n > 1000), ' ', min(length(big))) FROM public.a").await,
        text(&moving.shards[1], "SELECT concat(count(*), ' ', count(*) FILTER (WHERE n > 1000), ' ', 5120) FROM public.a").await,
    );
    assert_ne!(before[1], moving.rows(1).await);
    nothing_left(&mut moving).await;
}
