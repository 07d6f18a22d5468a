//! Whole moves: there, back, and given up.

use crate::fixture::{Moving, Rows};
use crate::support::text;
use shardgate_catalog::moves::{PartsSpec, Step, status};

const CHANGES: &str = "UPDATE public.a SET n = n + 1000 WHERE k % 3 = 0; DELETE FROM public.a WHERE k % 7 = 0; \
    UPDATE public.b SET j = '[1]' WHERE i = 1 AND k % 5 = 0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_buckets_of_a_shard_go_to_the_other_and_stay() {
    let mut moving = Moving::filled().await;
    let (here, there) = (moving.rows(0).await, moving.rows(1).await);
    let parts = PartsSpec::Buckets(moving.buckets_of(1).await);
    let id = moving.begin(parts, "s2").await.unwrap();
    moving.advance(id, Step::Verified).await.unwrap();
    // Changes follow.
    moving.shards[0].batch_execute(CHANGES).await.unwrap();
    let changed = moving.rows(0).await;
    moving.advance(id, Step::Switched).await.unwrap();
    let now = status(moving.home(), id).await.unwrap();
    assert!(now.pause_ms.unwrap() < 3_000 && now.rows_copied > 0 && now.bytes_copied > 0);
    println!("pause {:?} ms", now.pause_ms);
    moving.advance(id, Step::Completed).await.unwrap();
    assert_eq!(moving.rows(0).await.count, 0);
    let expect = Rows {
        count: there.count + changed.count,
        checksum: there.checksum + changed.checksum,
    };
    assert_eq!(moving.rows(1).await, expect);
    assert!(changed.count < here.count && changed.count > 0);
    let owned = "SELECT count(*)::text FROM shardgate.bucket_map WHERE shard_id = 2";
    assert_eq!(text(&moving.cluster.home, owned).await, "16");
    moving.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_cancelled_was_never_there() {
    let mut moving = Moving::filled().await;
    let before = [moving.rows(0).await, moving.rows(1).await];
    let parts = PartsSpec::Buckets(moving.buckets_of(1).await);
    for until in [Step::Copy, Step::CatchUp, Step::Verified] {
        let id = moving.begin(parts.clone(), "s2").await.unwrap();
        moving.advance(id, until).await.unwrap();
        moving.advance(id, Step::Cancelled).await.unwrap();
        assert_eq!([moving.rows(0).await, moving.rows(1).await], before);
        moving.nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_is_reversed_and_made_again() {
    let mut moving = Moving::filled().await;
    let all = moving.all_rows().await;
    let before = [moving.rows(0).await, moving.rows(1).await];
    let parts = PartsSpec::Buckets(moving.buckets_of(1).await);
    let id = moving.begin(parts, "s2").await.unwrap();
    moving.advance(id, Step::Switched).await.unwrap();
    // What is written on the target comes back with the keys.
    let undo = "UPDATE public.a SET n = n - 1000 WHERE n > 1000";
    moving.shards[1]
        .batch_execute("UPDATE public.a SET n = n + 1000")
        .await
        .unwrap();
    moving.advance(id, Step::Reversed).await.unwrap();
    moving.shards[0].batch_execute(undo).await.unwrap();
    moving.advance(id, Step::Switched).await.unwrap();
    moving.advance(id, Step::Reversed).await.unwrap();
    moving.advance(id, Step::Cancelled).await.unwrap();
    moving.shards[1].batch_execute(undo).await.unwrap();
    assert_eq!(moving.all_rows().await, all);
    assert_eq!([moving.rows(0).await, moving.rows(1).await], before);
    moving.nothing_left().await;
}
