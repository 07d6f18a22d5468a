//! Routers and the switch: it waits for those that live, and cuts off those that do not answer.

use crate::fixture::Moving;
use crate::support::text;
use shardgate_catalog::moves::{self, PartsSpec, Step};
use shardgate_catalog::{
    Backend, Caller, DistributeRequest, distribute_table, load, undistribute_table,
};

/// Writes a router's row down and claims its id, as a living router does.
async fn router(home: &Backend, id: &str, drained: i64) {
    home.batch_execute(&format!(
        "INSERT INTO shardgate.router (id, name, application_name, epoch, epoch_id, drained) \
         VALUES ('{id}', 'router {id}', 'test', 1, gen_random_uuid(), {drained}); \
         SELECT pg_advisory_lock(hashtextextended('shardgate router {id}', 0))"
    ))
    .await
    .unwrap();
}

/// A connection of a router to a shard.
async fn enter(moving: &Moving, shard: usize, id: &str) -> Backend {
    let backend = moving.cluster.servers[shard].connect().await;
    let sql = format!("SELECT shardgate.enter('{id}')");
    backend.batch_execute(&sql).await.unwrap();
    backend
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_has_not_drained_is_waited_for_and_then_the_switch_is_undone() {
    let mut moving = Moving::filled().await;
    let before = [moving.rows(0).await, moving.rows(1).await];
    let id = moving
        .begin(PartsSpec::Buckets(moving.buckets_of(1).await), "s2")
        .await
        .unwrap();
    moving.advance(id, Step::Verified).await.unwrap();
    let set = "UPDATE shardgate.move SET pause_ms_max = 500";
    moving.cluster.home.batch_execute(set).await.unwrap();
    let claim = moving.cluster.servers[0].connect().await;
    router(&claim, "r1", 0).await;
    let mine = enter(&moving, 0, "r1").await;
    let error = moving.advance(id, Step::Switched).await.unwrap_err();
    assert_eq!(error.sqlstate(), "55006");
    assert!(error.to_string().contains("router r1 (r1)"), "{error}");
    let raw = load(moving.home(), None).await.unwrap();
    assert!(!raw.moves[0].holding && raw.moves[0].since == 0);
    // It lives, so nobody has touched its connections.
    mine.batch_execute("SELECT").await.unwrap();
    // Once it has drained the switch goes on. It answers the second epoch too late, and is cut off.
    let answers =
        "UPDATE shardgate.router SET drained = (SELECT max(number) + 1 FROM shardgate.epoch)";
    claim.batch_execute(answers).await.unwrap();
    moving
        .cluster
        .home
        .batch_execute("UPDATE shardgate.move SET pause_ms_max = 3000")
        .await
        .unwrap();
    let good = moving.cluster.servers[0].connect().await;
    router(&good, "r2", i64::MAX).await;
    let others = [enter(&moving, 0, "r2").await, enter(&moving, 1, "r2").await];
    moving.advance(id, Step::Switched).await.unwrap();
    assert!(mine.batch_execute("SELECT").await.is_err());
    for other in &others {
        other.batch_execute("SELECT").await.unwrap();
    }
    let raw = load(moving.home(), None).await.unwrap();
    let since = i64::try_from(raw.moves[0].since).unwrap();
    for shard in &moving.shards {
        let fence = text(shard, "SELECT fence::text FROM shardgate.identity").await;
        assert_eq!(fence, since.to_string());
    }
    claim
        .batch_execute("UPDATE shardgate.router SET drained = 1000000")
        .await
        .unwrap();
    moving.advance(id, Step::Reversed).await.unwrap();
    moving.advance(id, Step::Cancelled).await.unwrap();
    assert_eq!([moving.rows(0).await, moving.rows(1).await], before);
    moving.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routers_that_are_gone_are_not_waited_for() {
    let mut moving = Moving::filled().await;
    let id = moving
        .begin(PartsSpec::Buckets(moving.buckets_of(1).await), "s2")
        .await
        .unwrap();
    moving.advance(id, Step::Verified).await.unwrap();
    // One whose connection to home is gone, one whose sign of life is old.
    let gone = moving.cluster.servers[0].connect().await;
    router(&gone, "gone", 0).await;
    gone.batch_execute("SELECT pg_advisory_unlock_all()")
        .await
        .unwrap();
    let silent = moving.cluster.servers[0].connect().await;
    router(&silent, "silent", 0).await;
    silent
        .batch_execute(
            "UPDATE shardgate.router SET heartbeat = now() - interval '20 s' WHERE id = 'silent'",
        )
        .await
        .unwrap();
    // Their connections, and those of one that nobody has heard of, may still be there.
    let old = [
        enter(&moving, 0, "gone").await,
        enter(&moving, 1, "silent").await,
        enter(&moving, 0, "unheard").await,
    ];
    moving.advance(id, Step::Switched).await.unwrap();
    for backend in &old {
        assert!(backend.batch_execute("SELECT").await.is_err());
    }
    moving.advance(id, Step::Completed).await.unwrap();
    moving.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_ends_a_switch_whose_maker_has_died() {
    let mut moving = Moving::filled().await;
    let id = moving
        .begin(PartsSpec::Buckets(moving.buckets_of(1).await), "s2")
        .await
        .unwrap();
    moving.advance(id, Step::Verified).await.unwrap();
    for (edge, step) in [
        ("move-gate-closed", Step::Verified),
        ("move-map-changed", Step::Switched),
    ] {
        let home = moving.cluster.servers[0].connect().await;
        let mut home = home.watched(Some(std::sync::Arc::new(move |passed| {
            assert_ne!(passed, edge, "killed");
        })));
        let driven = tokio::spawn(async move {
            moves::advance(&mut home, id, Step::Switched)
                .await
                .map(|_| ())
        });
        assert!(driven.await.unwrap_err().is_panic());
        // While its lease lasts nobody takes it over.
        assert_eq!(
            moves::recover(moving.home()).await.unwrap(),
            Vec::<i64>::new()
        );
        let options = shardgate_catalog::FollowerOptions {
            config: moving.cluster.config(),
            router_id: "r1".to_owned(),
            router_name: "router".to_owned(),
            state_file: None,
            poll_ms: 100,
        };
        let follower = shardgate_catalog::Follower::start(options).await.unwrap();
        let mut snapshots = follower.subscribe();
        let ended = snapshots.wait_for(|snapshot| !snapshot.moves[0].holding);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), ended);
        drop(ended.await.unwrap().unwrap());
        let status = moves::status(moving.home(), id).await.unwrap();
        assert_eq!(status.step, step, "{edge}");
        follower.leave().await;
    }
    moving.advance(id, Step::Completed).await.unwrap();
    moving.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_neither_come_nor_go_while_a_part_of_them_moves() {
    let mut moving = Moving::filled().await;
    let id = moving
        .begin(PartsSpec::Buckets(moving.buckets_of(1).await), "s2")
        .await
        .unwrap();
    moving.advance(id, Step::Copy).await.unwrap();
    let create = "CREATE TABLE public.c (k int PRIMARY KEY)";
    moving.cluster.home.batch_execute(create).await.unwrap();
    let request = DistributeRequest {
        relation: "public.c".to_owned(),
        column: "k".to_owned(),
        colocate_with: Some("public.a".to_owned()),
        ..DistributeRequest::default()
    };
    let error = distribute_table(moving.home(), &request).await.unwrap_err();
    assert_eq!(error.sqlstate(), "55006", "{error}");
    let undone = undistribute_table(moving.home(), "public.b", &Caller::default()).await;
    assert_eq!(undone.unwrap_err().sqlstate(), "55006");
    let again = moving.begin(PartsSpec::Buckets(vec![(0, 0)]), "s2").await;
    assert_eq!(again.unwrap_err().sqlstate(), "55006");
    moving.advance(id, Step::Cancelled).await.unwrap();
    distribute_table(moving.home(), &request).await.unwrap();
    moving.nothing_left().await;
}
