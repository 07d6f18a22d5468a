//! A change of the schema over several shards that is killed half-way: it is whole or it never was.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::{
    Backend, Caller, CatalogError, DistributeRequest, distribute_table, load, recover,
    undistribute_table,
};
use shardgate_plan::snapshot::Placement;
use support::{Cluster, text};

fn request() -> DistributeRequest {
    DistributeRequest {
        relation: "public.t".to_owned(),
        column: "k".to_owned(),
        ..DistributeRequest::default()
    }
}

/// Holds what a change writes after the other shards have prepared.
const STOP_BEFORE_DECISION: &str = "BEGIN; LOCK TABLE shardgate.distributed_table IN SHARE MODE";

/// Returns when the shard has a prepared transaction; it asks again and again, as there is no event to wait for.
async fn prepared(shard: &Backend) -> String {
    loop {
        let rows = shard
            .query("SELECT gid FROM pg_prepared_xacts", &[])
            .await
            .unwrap();
        if let Some(row) = rows.first() {
            return row.get(0);
        }
        tokio::task::yield_now().await;
    }
}

async fn tables(backend: &Backend) -> String {
    text(
        backend,
        "SELECT count(*)::text FROM pg_class WHERE relname = 't'",
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_decision_it_is_rolled_back() {
    let mut cluster = Cluster::start(2).await;
    let shard = cluster.servers[1].connect().await;
    cluster
        .home
        .batch_execute("CREATE TABLE public.t (k int)")
        .await
        .unwrap();
    let holder = cluster.servers[0].connect().await;
    holder.batch_execute(STOP_BEFORE_DECISION).await.unwrap();

    let mut maker = cluster.servers[0].connect().await;
    let pid = text(&maker, "SELECT pg_backend_pid()::text").await;
    let making = tokio::spawn(async move { distribute_table(&mut maker, &request()).await });
    let gid = prepared(&shard).await;
    assert!(gid.starts_with("shardgate:ddl:"), "{gid}");
    // While the change is alive, recovery waits for it and presumes nothing.
    cluster
        .home
        .batch_execute("SET lock_timeout = '100ms'")
        .await
        .unwrap();
    let busy = recover(&mut cluster.home).await.unwrap_err();
    assert_eq!(busy.sqlstate(), "55P03", "{busy}");
    assert_eq!(prepared(&shard).await, gid);

    cluster
        .home
        .batch_execute(&format!("SELECT pg_terminate_backend({pid})"))
        .await
        .unwrap();
    let killed = making.await.unwrap().unwrap_err();
    assert!(killed.is_unreachable(), "{killed:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(
        prepared(&shard).await,
        gid,
        "what was prepared outlives its maker"
    );

    cluster
        .home
        .batch_execute("SET lock_timeout = '10s'")
        .await
        .unwrap();
    let done = recover(&mut cluster.home).await.unwrap();
    assert_eq!(
        (done.len(), done[0].committed, done[0].shard.as_str()),
        (1, false, "s2")
    );
    assert_eq!(recover(&mut cluster.home).await.unwrap(), []);
    assert_eq!(tables(&shard).await, "0");
    assert_eq!(
        text(&cluster.home, "SELECT outcome FROM shardgate.decision").await,
        "aborted"
    );
    let snapshot = load(&mut cluster.home, None)
        .await
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        snapshot.relation("public", "t").unwrap().placement,
        Placement::Home
    );

    distribute_table(&mut cluster.home, &request())
        .await
        .unwrap();
    assert_eq!(tables(&shard).await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_change_first_ends_what_was_left_behind() {
    let mut cluster = Cluster::start(2).await;
    cluster
        .home
        .batch_execute("CREATE TABLE public.t (k int)")
        .await
        .unwrap();
    let shard = cluster.servers[1].connect().await;
    let cluster_id = text(
        &cluster.home,
        "SELECT replace(id::text, '-', '') FROM shardgate.cluster",
    )
    .await;
    // One change that was decided and one that was not, as a crash leaves them.
    for (number, table) in [("1", "decided"), ("2", "undecided")] {
        let gid = format!("shardgate:ddl:{cluster_id}:{number}:2");
        shard
            .batch_execute(&format!(
                "BEGIN; CREATE TABLE public.{table} (); PREPARE TRANSACTION '{gid}'"
            ))
            .await
            .unwrap();
    }
    // What is not ours is let alone.
    shard
        .batch_execute("BEGIN; CREATE TABLE public.foreign_one (); PREPARE TRANSACTION 'app:1'")
        .await
        .unwrap();
    let decision = format!(
        "INSERT INTO shardgate.decision (gid, outcome) VALUES ('shardgate:ddl:{cluster_id}:1', 'commit')"
    );
    cluster.home.batch_execute(&decision).await.unwrap();

    distribute_table(&mut cluster.home, &request())
        .await
        .unwrap();
    let there = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(text(&shard, there).await, "decided t");
    assert_eq!(prepared(&shard).await, "app:1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_decision_it_is_finished() {
    let mut cluster = Cluster::start(2).await;
    let shard = cluster.servers[1].connect().await;
    cluster
        .home
        .batch_execute("CREATE TABLE public.t (k int)")
        .await
        .unwrap();
    let holder = cluster.servers[0].connect().await;
    holder.batch_execute(STOP_BEFORE_DECISION).await.unwrap();
    let mut maker = cluster.servers[0].connect().await;
    let making = tokio::spawn(async move { distribute_table(&mut maker, &request()).await });
    prepared(&shard).await;
    cluster.servers[1].stop();
    holder.batch_execute("ROLLBACK").await.unwrap();
    let told = making.await.unwrap().unwrap_err();
    assert!(matches!(told, CatalogError::Unconfirmed { .. }), "{told:?}");
    assert_eq!(told.sqlstate(), "08007");
    let snapshot = load(&mut cluster.home, None)
        .await
        .unwrap()
        .build()
        .unwrap();
    assert!(matches!(
        snapshot.relation("public", "t").unwrap().placement,
        Placement::Distributed { .. }
    ));
    assert!(
        recover(&mut cluster.home)
            .await
            .unwrap_err()
            .is_unreachable()
    );

    cluster.servers[1].restart();
    let shard = cluster.servers[1].connect().await;
    assert_eq!(tables(&shard).await, "0", "it is still in doubt");
    let done = recover(&mut cluster.home).await.unwrap();
    assert_eq!((done.len(), done[0].committed), (1, true));
    assert_eq!(tables(&shard).await, "1");
    undistribute_table(&mut cluster.home, "public.t", &Caller::default())
        .await
        .unwrap();
    assert_eq!(tables(&shard).await, "0");
}
