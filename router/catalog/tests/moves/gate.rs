//! Who may write rows of a move, and what is refused while one is under way.

use crate::fixture::{Moving, Rows};
use crate::support::text;
use shardgate_catalog::Backend;
use shardgate_catalog::moves::{self, PartsSpec, Step};

/// The SQLSTATE of a statement that must fail.
async fn refused(shard: &Backend, sql: &str) -> String {
    let error = shard.batch_execute(sql).await.unwrap_err();
    error.code().unwrap().code().to_owned()
}

/// A key whose row is on a shard.
async fn key_on(shard: &Backend) -> String {
    text(shard, "SELECT min(k)::text FROM public.a").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard_at_a_time_takes_writes() {
    let mut moving = Moving::filled().await;
    let (key, other) = (
        key_on(&moving.shards[0]).await,
        key_on(&moving.shards[1]).await,
    );
    let parts = PartsSpec::Buckets(moving.buckets_of(1).await);
    let id = moving.begin(parts, "s2").await.unwrap();
    moving.advance(id, Step::Verified).await.unwrap();
    let writes = |key: &str| {
        [
            format!("UPDATE public.a SET n = n + 1 WHERE k = {key}"),
            format!("DELETE FROM public.b WHERE k = {key} AND i = 2"),
            format!("INSERT INTO public.b VALUES ({key}, 2) ON CONFLICT DO NOTHING"),
        ]
    };
    for sql in writes(&key) {
        assert_eq!(refused(&moving.shards[1], &sql).await, "55006", "{sql}");
        moving.shards[0].batch_execute(&sql).await.unwrap();
    }
    // Keys that stay are nobody's concern.
    for sql in writes(&other) {
        moving.shards[1].batch_execute(&sql).await.unwrap();
    }
    for shard in &moving.shards {
        assert_eq!(refused(shard, "TRUNCATE public.b").await, "55006");
        assert_eq!(refused(shard, "TRUNCATE public.a CASCADE").await, "55006");
    }
    // A snapshot from before the switch does not see that the gate is closed, and is refused for it.
    let old = moving.cluster.servers[0].connect().await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.a";
    old.batch_execute(begin).await.unwrap();
    moving.advance(id, Step::Switched).await.unwrap();
    assert_eq!(refused(&old, &writes(&key)[0]).await, "40001");
    old.batch_execute("ROLLBACK").await.unwrap();
    for sql in writes(&key) {
        assert_eq!(refused(&moving.shards[0], &sql).await, "55006", "{sql}");
        moving.shards[1].batch_execute(&sql).await.unwrap();
    }
    // A cascade reaches the rows through no statement of their own, and is refused as well.
    let cascade = format!("DELETE FROM public.a WHERE k = {key}");
    assert_eq!(refused(&moving.shards[0], &cascade).await, "55006");
    moving.advance(id, Step::Completed).await.unwrap();
    for sql in writes(&key).iter().take(1) {
        moving.shards[0].batch_execute(sql).await.unwrap();
    }
    let insert = format!("INSERT INTO public.a (k) VALUES ({key})");
    assert_eq!(refused(&moving.shards[0], &insert).await, "23514");
    moving.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_key_keeps_values_outside_of_the_row() {
    let mut moving = Moving::filled().await;
    let map = moving.map().await;
    let buckets = moving.buckets_of(1).await;
    // Half of the shard's buckets move, in two streams: keys change within one, from one to the other, into the parts
    // and out of them.
    let (going, _) = buckets.split_at(buckets.len() / 2);
    let id = moving
        .begin(PartsSpec::Buckets(going.to_vec()), "s2")
        .await
        .unwrap();
    moving.advance(id, Step::Verified).await.unwrap();
    let bucket = |key: i64| map.bucket(&shardgate_shard_map::Key::Int(key)).unwrap().0;
    let on_source = |key: i64| buckets.iter().any(|(first, _)| *first == bucket(key));
    let goes = |key: i64| going.iter().any(|(first, _)| *first == bucket(key));
    let mut free = (10_000..20_000i64).filter(|key| on_source(*key));
    moving.shards[0]
        .batch_execute("DELETE FROM public.b")
        .await
        .unwrap();
    let rows = moving.shards[0]
        .query("SELECT k FROM public.a ORDER BY k", &[])
        .await
        .unwrap();
    let (mut within, mut into, mut out) = (0, 0, 0);
    for row in &rows {
        let old = i64::from(row.get::<_, i32>(0));
        let new = free.next().unwrap();
        match (goes(old), goes(new)) {
            (true, true) => within += 1,
            (false, true) => into += 1,
            (true, false) => out += 1,
            (false, false) => {}
        }
        let sql = format!("UPDATE public.a SET k = {new} WHERE k = {old}");
        moving.shards[0].batch_execute(&sql).await.unwrap();
    }
    assert!(within > 5 && into > 5 && out > 5, "{within} {into} {out}");
    let before = moving.rows(0).await;
    let there = moving.owned_rows(1).await;
    moving.advance(id, Step::Switched).await.unwrap();
    moving.advance(id, Step::Completed).await.unwrap();
    let short = "SELECT count(*)::text FROM public.a WHERE length(big) IS DISTINCT FROM 5120";
    for shard in &moving.shards {
        assert_eq!(text(shard, short).await, "0");
    }
    let all = moving.all_rows().await;
    let expect = Rows {
        count: before.count + there.count,
        checksum: before.checksum + there.checksum,
    };
    assert_eq!(all, expect);
    moving.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_does_not_end_undoes_the_switch() {
    let mut moving = Moving::filled().await;
    let key = key_on(&moving.shards[0]).await;
    let parts = PartsSpec::Buckets(moving.buckets_of(1).await);
    let id = moving.begin(parts, "s2").await.unwrap();
    moving.advance(id, Step::Verified).await.unwrap();
    moving
        .cluster
        .home
        .batch_execute("UPDATE shardgate.move SET pause_ms_max = 700")
        .await
        .unwrap();
    // A slot cannot be made while it runs, so it begins behind that: at the edge before the hold.
    let writer = moving.cluster.servers[0].connect().await;
    let sql =
        format!("BEGIN; UPDATE public.a SET n = n + 1 WHERE k = {key}; PREPARE TRANSACTION 'held'");
    let (reached, wait) = std::sync::mpsc::channel();
    let (go_on, going_on) = std::sync::mpsc::channel::<()>();
    let going_on = std::sync::Mutex::new(going_on);
    let home = moving.cluster.servers[0].connect().await;
    let mut home = home.watched(Some(std::sync::Arc::new(move |edge| {
        if edge == "move-hold" {
            reached.send(()).unwrap();
            tokio::task::block_in_place(|| going_on.lock().unwrap().recv().unwrap());
        }
    })));
    let switching =
        tokio::spawn(async move { moves::advance(&mut home, id, Step::Switched).await });
    tokio::task::block_in_place(|| wait.recv().unwrap());
    writer.batch_execute(&sql).await.unwrap();
    go_on.send(()).unwrap();
    let error = switching.await.unwrap().unwrap_err();
    assert_eq!(error.sqlstate(), "55006", "{error}");
    assert!(
        error.to_string().contains("the switch was undone"),
        "{error}"
    );
    let status = moves::status(moving.home(), id).await.unwrap();
    assert_eq!(status.step, Step::Verified);
    assert!(status.error.unwrap().contains("undone"));
    // The shard takes writes as before, and the switch can be made when the transaction has ended.
    let other = text(&moving.shards[0], "SELECT max(k)::text FROM public.a").await;
    let write = format!("UPDATE public.a SET n = n + 1 WHERE k = {other}");
    moving.shards[0].batch_execute(&write).await.unwrap();
    writer
        .batch_execute("COMMIT PREPARED 'held'")
        .await
        .unwrap();
    let all = moving.rows(0).await;
    let there = moving.owned_rows(1).await;
    moving.advance(id, Step::Completed).await.unwrap();
    let expect = Rows {
        count: all.count + there.count,
        checksum: all.checksum + there.checksum,
    };
    assert_eq!(moving.all_rows().await, expect);
    moving.nothing_left().await;
}
