//! Adding a shard to a cluster with tables: what it gets, that it owns nothing, and that nothing that is written meanwhile
//! is missing there.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::{
    Backend, Caller, DistributeRequest, NewShard, Severity, add_shard, check, distribute_table,
    load, reference_table,
};
use shardgate_shard_map::ShardId;
use support::{Cluster, Server, text};

const SETTINGS: &[&str] = &["max_prepared_transactions=10"];

async fn run(backend: &Backend, sql: &str) {
    backend
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn new(name: &str, server: &Server) -> NewShard {
    NewShard {
        name: name.to_owned(),
        hosts: server.hosts(),
        weight: 100,
        dbname: None,
    }
}

async fn distribute(home: &mut Backend, table: &str, column: &str) {
    let request = DistributeRequest {
        relation: table.to_owned(),
        column: column.to_owned(),
        ..DistributeRequest::default()
    };
    distribute_table(home, &request).await.unwrap();
}

/// Two shards, with tables that depend on each other, rows of reference tables on both, views, and code.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::start(2).await;
    run(
        &cluster.home,
        "CREATE SCHEMA shop; CREATE TYPE shop.mood AS ENUM ('sad', 'happy'); CREATE DOMAIN shop.small AS int CHECK (VALUE < 10); \
         CREATE FUNCTION shop.twice(shop.small) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'; \
         CREATE TYPE shop.pair AS (a int, b shop.mood); REVOKE ALL ON FUNCTION shop.twice FROM PUBLIC; \
         CREATE AGGREGATE shop.total(int) (sfunc = int4pl, stype = int, initcond = '0'); \
         CREATE TABLE public.countries (code text PRIMARY KEY, name text, shout text GENERATED ALWAYS AS (upper(name)) STORED); \
         CREATE TABLE shop.users (id bigserial PRIMARY KEY, gone int, country text REFERENCES public.countries, at timestamptz); \
         ALTER TABLE shop.users DROP COLUMN gone; CREATE INDEX by_country ON shop.users (country); \
         CREATE TABLE shop.orders (user_id bigint, n int, PRIMARY KEY (user_id, n)); \
         CREATE TABLE public.notes (id int); CREATE VIEW public.named AS SELECT u.id, c.name FROM shop.users u \
         JOIN public.countries c ON c.code = u.country; CREATE VIEW public.short AS SELECT id FROM public.named",
    )
    .await;
    reference_table(&mut cluster.home, "public.countries", &Caller::default())
        .await
        .unwrap();
    for server in &cluster.servers {
        let rows = "INSERT INTO public.countries VALUES ('de', 'Germany'), ('x', E'tab\\tand \\\\'), ('n', NULL)";
        run(&server.connect().await, rows).await;
    }
    distribute(&mut cluster.home, "shop.users", "id").await;
    distribute(&mut cluster.home, "shop.orders", "user_id").await;
    for server in &cluster.servers {
        let key = "ALTER TABLE shop.orders ADD CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES shop.users";
        run(&server.connect().await, key).await;
    }
    cluster
}

async fn errors(cluster: &mut Cluster) -> Vec<String> {
    let findings = check(&mut cluster.home).await.unwrap();
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    errors
        .map(|finding| format!("{}: {}", finding.object, finding.message))
        .collect()
}

#[tokio::test]
async fn a_shard_is_added_to_a_cluster_with_tables() {
    let mut cluster = cluster().await;
    let server = Server::start(SETTINGS);
    let before = load(&mut cluster.home, None).await.unwrap();
    let added = add_shard(&mut cluster.home, &new("s3", &server))
        .await
        .unwrap();
    assert_eq!(added.id, ShardId(3));
    assert_eq!(
        added.warnings,
        ["1 aggregates of the home shard were not made there"]
    );
    // Same tables, indexes, foreign keys and guards, by the same comparison that looks for drift.
    assert_eq!(errors(&mut cluster).await, Vec::<String>::new());
    let third = server.connect().await;
    assert_eq!(text(&third, "SELECT string_agg(concat_ws('|', code, name, shout), ';' ORDER BY code) FROM public.countries").await,
        "de|Germany|GERMANY;n;x|tab\tand \\|TAB\tAND \\");
    assert_eq!(
        text(
            &third,
            "SELECT (shop.twice(4), ('happy'::shop.mood)::text, (1, 'sad')::shop.pair)::text"
        )
        .await,
        "(8,happy,\"(1,sad)\")"
    );
    assert_eq!(
        text(
            &third,
            "SELECT has_function_privilege('public', 'shop.twice(shop.small)', 'EXECUTE')::text"
        )
        .await,
        "false"
    );
    assert_eq!(
        text(&third, "SELECT count(*)::text FROM public.short").await,
        "0"
    );
    assert_eq!(
        text(&third, "SELECT to_regclass('public.notes')::text").await,
        "NULL"
    );
    // It owns nothing: the maps are as they were, and its guards let nothing in.
    let after = load(&mut cluster.home, None).await.unwrap();
    assert_eq!(before.distributions, after.distributions);
    assert_eq!(after.shards.len(), 3);
    for id in 0..50 {
        let sql = format!("INSERT INTO shop.users (id) VALUES ({id})");
        let refused = third.batch_execute(&sql).await.unwrap_err();
        assert_eq!(
            refused.as_db_error().unwrap().constraint(),
            Some("shardgate_owns")
        );
    }
    // Views that every shard has are still known as such.
    assert_eq!(
        text(
            &cluster.home,
            "SELECT count(*)::text FROM shardgate.view_copy"
        )
        .await,
        "2"
    );
    assert_eq!(
        text(&third, "SELECT count(*)::text FROM pg_prepared_xacts").await,
        "0"
    );
    // New tables reach it too.
    run(
        &cluster.home,
        "CREATE TABLE public.later (id int PRIMARY KEY)",
    )
    .await;
    distribute(&mut cluster.home, "public.later", "id").await;
    assert_eq!(
        text(&third, "SELECT to_regclass('public.later')::text").await,
        "public.later"
    );
}

#[tokio::test]
async fn a_server_that_cannot_take_the_tables_is_refused_and_unchanged() {
    let mut cluster = cluster().await;
    let server = Server::start(SETTINGS);
    let third = server.connect().await;
    run(&third, "CREATE TABLE public.countries (code text)").await;
    let refused = add_shard(&mut cluster.home, &new("s3", &server))
        .await
        .unwrap_err();
    assert_eq!(refused.sqlstate(), "42P07", "{refused}");
    let found = text(
        &third,
        "SELECT concat(to_regclass('shop.users'), to_regnamespace('shardgate'))",
    )
    .await;
    assert_eq!(found, "");
    let unprepared = Server::start(&["max_prepared_transactions=0"]);
    let refused = add_shard(&mut cluster.home, &new("s3", &unprepared))
        .await
        .unwrap_err();
    assert_eq!(refused.sqlstate(), "55000", "{refused}");
    assert_eq!(load(&mut cluster.home, None).await.unwrap().shards.len(), 2);
    // What an attempt that was lost left prepared does not stand in the way.
    run(&third, "DROP TABLE public.countries").await;
    let cluster_id = text(
        &cluster.home,
        "SELECT replace(id::text, '-', '') FROM shardgate.cluster",
    )
    .await;
    let lost = format!(
        "BEGIN; CREATE SCHEMA shop; CREATE TABLE public.countries (code text); PREPARE TRANSACTION 'shardgate:ddl:{cluster_id}:0:3'"
    );
    run(&third, &lost).await;
    add_shard(&mut cluster.home, &new("s3", &server))
        .await
        .unwrap();
    assert_eq!(errors(&mut cluster).await, Vec::<String>::new());
}

/// A transaction that was planned for two shards writes a reference table while the third is added: it holds its lock on
/// another shard and reaches home only when the new epoch is there.
#[tokio::test]
async fn reference_rows_that_are_written_meanwhile_are_not_missing() {
    let mut cluster = cluster().await;
    let server = Server::start(SETTINGS);
    let writer = cluster.servers[0].connect().await;
    run(
        &writer,
        "BEGIN; INSERT INTO public.countries VALUES ('fr', 'France')",
    )
    .await;
    // A router that has not answered yet keeps the epoch from being acknowledged: meanwhile the writer is at home.
    let insert = "INSERT INTO shardgate.router (id, name, application_name, epoch, epoch_id) \
                  SELECT 'r', 'r', 'r', number, id FROM shardgate.epoch ORDER BY number DESC LIMIT 1";
    run(&cluster.home, insert).await;
    let follower = cluster.servers[0].connect().await;
    let old = text(&follower, "SELECT max(number)::text FROM shardgate.epoch").await;
    let beside = async {
        // The add waits for the writer's lock; then, planned by the old epoch, it writes once more.
        wait_for(
            &follower,
            "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'",
            "1",
        )
        .await;
        run(&writer, "COMMIT").await;
        wait_for(
            &follower,
            &format!("SELECT (max(number) > {old})::text FROM shardgate.epoch"),
            "true",
        )
        .await;
        run(
            &writer,
            "BEGIN; INSERT INTO public.countries VALUES ('it', 'Italy')",
        )
        .await;
        run(&follower, "UPDATE shardgate.router SET epoch = epoch + 10").await;
        run(
            &writer,
            "DELETE FROM public.countries WHERE code = 'de'; COMMIT",
        )
        .await;
    };
    let third = new("s3", &server);
    let (added, ()) = tokio::join!(add_shard(&mut cluster.home, &third), beside);
    added.unwrap();
    let rows = "SELECT string_agg(concat_ws('|', code, name, shout), ';' ORDER BY code) FROM public.countries";
    let there = text(&server.connect().await, rows).await;
    assert_eq!(there, text(&follower, rows).await);
    assert!(
        there.contains("fr|France") && there.contains("it|Italy") && !there.contains("de|"),
        "{there}"
    );
}

async fn wait_for(backend: &Backend, sql: &str, wanted: &str) {
    for _ in 0..1000 {
        if text(backend, sql).await == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{sql} is not {wanted}");
}
