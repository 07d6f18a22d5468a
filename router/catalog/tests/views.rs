//! Which views every shard has, as far as the catalog knows.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::{DistributeRequest, Follower, FollowerOptions, distribute_table};
use support::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_compared_with_those_of_the_other_shards() {
    let mut cluster = Cluster::start(2).await;
    let second = cluster.servers[1].connect().await;
    cluster
        .home
        .batch_execute(
            "CREATE TABLE public.users (id int8 PRIMARY KEY, name text);
             CREATE TABLE public.notes (id int8);
             CREATE VIEW public.old AS SELECT id, name FROM public.users;
             CREATE VIEW public.over_old AS SELECT id FROM public.old;
             CREATE VIEW public.mixed AS SELECT u.id FROM public.users u JOIN public.notes USING (id)",
        )
        .await
        .unwrap();
    let request = DistributeRequest {
        relation: "public.users".to_owned(),
        column: "id".to_owned(),
        ..DistributeRequest::default()
    };
    distribute_table(&mut cluster.home, &request).await.unwrap();
    let follower = Follower::start(FollowerOptions {
        config: cluster.config(),
        router_id: "r1".to_owned(),
        router_name: "router one".to_owned(),
        state_file: None,
        poll_ms: 50,
    })
    .await
    .unwrap();
    let direct = "CREATE OR REPLACE VIEW public.direct AS SELECT id FROM public.users";
    let other = "CREATE OR REPLACE VIEW public.direct AS SELECT id FROM public.users WHERE id > 0";
    // Statements on home, on the second shard, and whether the view is everywhere after them.
    let cases = [
        ("", "", "old", true),
        ("", "", "over_old", true),
        ("", "", "mixed", false),
        (direct, "", "direct", false),
        ("CREATE TABLE public.a ()", direct, "direct", true),
        (other, "", "direct", false),
        ("CREATE TABLE public.b ()", other, "direct", true),
        ("", "", "old", true),
        (
            "ALTER VIEW public.direct SET (security_barrier)",
            "",
            "direct",
            false,
        ),
        (
            "CREATE ROLE someone; ALTER VIEW public.old OWNER TO someone",
            "",
            "old",
            false,
        ),
    ];
    for (home, shard, view, expect) in cases {
        cluster.home.batch_execute(home).await.unwrap();
        second.batch_execute(shard).await.unwrap();
        // What was made on another shard alone is compared when the home shard's schema changes.
        if !shard.is_empty() {
            cluster
                .home
                .batch_execute("CREATE TABLE public.passing (); DROP TABLE public.passing; COMMENT ON TABLE public.users IS 'x'; ALTER TABLE public.notes ADD COLUMN x int; ALTER TABLE public.notes DROP COLUMN x")
                .await
                .unwrap();
        }
        let snapshot = follower.refresh(true).await.unwrap();
        let found = snapshot.relation("public", view).unwrap().everywhere;
        assert_eq!(found, expect, "{view} after {home:?} and {shard:?}");
    }
    follower.shutdown().await;
}
