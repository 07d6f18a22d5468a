//! Making a catalog, adding a shard, loading and following, on real servers.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::{
    CatalogError, Follower, FollowerOptions, InitOptions, NewShard, add_shard, init, load,
    read_state_file, set_hosts,
};
use shardgate_plan::snapshot::{ColumnDefault, FunctionClass, Placement, RelationKind};
use shardgate_shard_map::ShardId;
use std::path::PathBuf;
use std::time::Duration;
use support::{Cluster, Server, text};

fn options(cluster: &Cluster, state_file: Option<PathBuf>) -> FollowerOptions {
    FollowerOptions {
        config: cluster.config(),
        router_id: "r1".to_owned(),
        router_name: "router one".to_owned(),
        state_file,
        poll_ms: 50,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_is_idempotent_and_what_is_missing_is_said() {
    let server = Server::start(&[]);
    let mut home = server.connect().await;
    let error = load(&mut home, None).await.unwrap_err();
    assert_eq!(
        (error.sqlstate().as_str(), error.pg().hint.is_some()),
        ("3F000", true)
    );
    let error = Follower::start(FollowerOptions {
        config: server.config(),
        router_id: "r".to_owned(),
        router_name: "r".to_owned(),
        state_file: None,
        poll_ms: 50,
    })
    .await
    .unwrap_err();
    assert!(matches!(error, CatalogError::NoCatalog { .. }), "{error}");

    let options = InitOptions {
        shard_name: "s1".to_owned(),
        weight: 100,
        hosts: server.hosts(),
    };
    let first = init(&mut home, &options).await.unwrap();
    let second = init(&mut home, &options).await.unwrap();
    assert!(first.created && !second.created);
    assert_eq!(first.cluster, second.cluster);

    let raw = load(&mut home, None).await.unwrap();
    let snapshot = raw.build().unwrap();
    assert_eq!(
        (
            snapshot.epoch.number,
            snapshot.home,
            snapshot.database.as_str()
        ),
        (1, ShardId(1), "postgres")
    );
    assert_eq!(snapshot.shards.len(), 1);
    assert_eq!(snapshot.shards[0].hosts, server.hosts());

    // A role without rights reads nothing and may only decide for commit.
    home.batch_execute("CREATE ROLE app LOGIN; SET ROLE app; SET search_path = pg_catalog")
        .await
        .unwrap();
    let denied = home
        .batch_execute("SELECT * FROM shardgate.epoch")
        .await
        .unwrap_err();
    assert_eq!(denied.code().unwrap().code(), "42501");
    home.batch_execute("SELECT shardgate.decide('shardgate:x:1')")
        .await
        .unwrap();
    let denied = home
        .batch_execute("SELECT shardgate.decide('shardgate:ddl:x')")
        .await
        .unwrap_err();
    assert_eq!(denied.code().unwrap().code(), "42501");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_examined_before_it_is_added() {
    let mut cluster = Cluster::start(2).await;
    let other = Server::start(&[]);
    let new = |name: &str, server: &Server, dbname: Option<&str>| NewShard {
        name: name.to_owned(),
        hosts: server.hosts(),
        weight: 100,
        dbname: dbname.map(str::to_owned),
    };
    async fn refused(cluster: &mut Cluster, new: NewShard, state: &str, words: &str) {
        let error = add_shard(&mut cluster.home, &new).await.unwrap_err();
        assert_eq!(error.sqlstate(), state, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let again = new("s2", &other, None);
    refused(&mut cluster, again, "42710", "already exists").await;
    let home_itself = new("s3", &cluster.servers[0], None);
    refused(
        &mut cluster,
        home_itself,
        "42710",
        "is the database of shard \"s1\"",
    )
    .await;
    let second = new("s3", &cluster.servers[1], None);
    refused(
        &mut cluster,
        second,
        "42710",
        "is the database of shard \"s2\"",
    )
    .await;
    cluster
        .home
        .batch_execute("CREATE ROLE app LOGIN")
        .await
        .unwrap();
    refused(
        &mut cluster,
        new("s3", &other, None),
        "42704",
        "lacks roles",
    )
    .await;
    let there = other.connect().await;
    there.batch_execute("CREATE ROLE app LOGIN").await.unwrap();
    there
        .batch_execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        .await
        .unwrap();
    refused(
        &mut cluster,
        new("s3", &other, Some("latin")),
        "0A000",
        "LATIN1",
    )
    .await;
    let bad = new("bad name", &other, None);
    refused(&mut cluster, bad, "23514", "").await;

    let added = add_shard(&mut cluster.home, &new("s3", &other, None))
        .await
        .unwrap();
    assert_eq!(added.id, ShardId(3));
    assert!(
        added
            .warnings
            .iter()
            .any(|w| w.contains("max_prepared_transactions")),
        "{:?}",
        added.warnings
    );
    // Another database on the same server is a shard of its own.
    let there = cluster.servers[1].connect().await;
    there.batch_execute("CREATE ROLE app LOGIN").await.unwrap();
    there.batch_execute("CREATE DATABASE more").await.unwrap();
    let fourth = new("s4", &cluster.servers[1], Some("more"));
    add_shard(&mut cluster.home, &fourth).await.unwrap();

    let third = other.connect().await;
    assert_eq!(
        text(
            &third,
            "SELECT shard_name || ' ' || shard_id FROM shardgate.identity"
        )
        .await,
        "s3 3"
    );
    let raw = load(&mut cluster.home, None).await.unwrap();
    assert_eq!(
        text(&third, "SELECT cluster_id::text FROM shardgate.identity").await,
        raw.cluster
    );
    assert_eq!(raw.build().unwrap().shards.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_snapshot_says_what_the_schema_is() {
    let server = Server::start(&[]);
    let mut home = server.connect().await;
    let options = InitOptions {
        shard_name: "s1".to_owned(),
        weight: 100,
        hosts: server.hosts(),
    };
    init(&mut home, &options).await.unwrap();
    home.batch_execute(SAMPLE).await.unwrap();
    home.batch_execute("SET search_path = pg_catalog")
        .await
        .unwrap();
    let snapshot = load(&mut home, None).await.unwrap().build().unwrap();

    let class = |name: &str| snapshot.functions.get(name).copied();
    for (name, expect) in [
        ("clean", FunctionClass::Clean),
        ("calls_clean", FunctionClass::Clean),
        ("leaks", FunctionClass::Opaque),
        ("calls_leaks", FunctionClass::Opaque),
        ("reads_view", FunctionClass::Opaque),
        ("definer", FunctionClass::Opaque),
        ("declared", FunctionClass::Pure),
        ("noop", FunctionClass::Clean),
        ("lower", FunctionClass::Opaque),
    ] {
        assert_eq!(class(name), Some(expect), "{name}");
    }

    let relation = |name: &str| {
        snapshot
            .relation("public", name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    for (name, expect) in [
        (
            "plain",
            Some("the default of column \"other\" calls public.leaks"),
        ),
        ("quiet", None),
        ("triggered", Some("trigger \"tr\"")),
        ("child", None),
        (
            "parent",
            Some("foreign key \"child_fk\" acts on a table that runs code"),
        ),
        ("acted", Some("trigger \"tr\"")),
        ("ruled", Some("rule \"r\"")),
        ("secured", Some("row security policies")),
        (
            "with_domain",
            Some("column \"d\" is of a domain that calls a function"),
        ),
        ("checked", Some("check constraint \"c\" calls public.leaks")),
        ("indexed", None),
        ("v", None),
    ] {
        assert_eq!(relation(name).runs_code.as_deref(), expect, "{name}");
    }

    let plain = relation("plain");
    assert_eq!(
        (plain.kind, &plain.placement),
        (RelationKind::Table, &Placement::Home)
    );
    let columns: Vec<_> = plain
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.ty, c.modifier, c.default.clone()))
        .collect();
    assert_eq!(
        columns,
        [
            ("id", 20, -1, ColumnDefault::Sequence),
            ("name", 1043, 24, ColumnDefault::Plain),
            ("at", 1184, -1, ColumnDefault::Clock("now()".into())),
            ("doubled", 23, -1, ColumnDefault::Plain),
            ("other", 25, -1, ColumnDefault::Other),
            ("i", 23, -1, ColumnDefault::Sequence),
            ("ci", 25, -1, ColumnDefault::None),
        ]
    );
    assert!(plain.columns[0].not_null && !plain.columns[2].not_null);
    assert!(plain.columns[1].deterministic && !plain.columns[6].deterministic);
    assert!(relation("part").inherits && relation("part1").inherits && !plain.inherits);
    assert_eq!(relation("part").kind, RelationKind::PartitionedTable);
    assert_eq!(relation("v").kind, RelationKind::View);
    assert_eq!(relation("plain_id_seq").kind, RelationKind::Sequence);
    assert_eq!(relation("plain_pkey").kind, RelationKind::Index);
    assert!(relation("secured").row_security);
    assert!(snapshot.relation("pg_catalog", "pg_class").is_none());
    assert!(snapshot.types.contains("small") && !snapshot.types.contains("_small"));
    assert_eq!(
        snapshot
            .operators
            .iter()
            .map(|o| o.name.as_str())
            .collect::<Vec<_>>(),
        ["<<<"]
    );
    let path = |role: Option<&str>| {
        snapshot
            .search_paths
            .get(&role.map(str::to_owned))
            .map(|p| p.join(","))
    };
    assert_eq!(path(None).as_deref(), Some("$user,public"));
    assert_eq!(path(Some("pathy")).as_deref(), Some("A,b"));
    assert!(snapshot.schemas.contains("public") && snapshot.schemas.contains("shardgate"));
}

/// `reads_view` reads a view, which may call anything; the user's `lower(x, x)` makes the name opaque.
const SAMPLE: &str = "SET search_path = public;
    CREATE FUNCTION clean(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + abs($1)';
    CREATE FUNCTION calls_clean(int) RETURNS int LANGUAGE plpgsql AS 'begin return clean($1); end';
    CREATE FUNCTION leaks() RETURNS text LANGUAGE sql AS 'SELECT set_config(''a.b'', ''c'', false)';
    CREATE FUNCTION calls_leaks() RETURNS text LANGUAGE sql AS 'SELECT leaks()';
    CREATE FUNCTION definer() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
    CREATE FUNCTION lower(text, text) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
    CREATE FUNCTION declared(int) RETURNS int LANGUAGE plpgsql AS 'begin execute $x$select 1$x$; return 1; end';
    INSERT INTO shardgate.function_class VALUES ('declared(int)', 'pure');
    CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end';
    CREATE DOMAIN small AS int CHECK (leaks() IS NOT NULL);
    CREATE OPERATOR <<< (LEFTARG = int, RIGHTARG = int, FUNCTION = int4larger);
    CREATE COLLATION nd (provider = icu, locale = 'und', deterministic = false);
    CREATE TABLE plain (id bigserial PRIMARY KEY, gone int, name varchar(20) NOT NULL DEFAULT 'x', at timestamptz DEFAULT now(),
        doubled int GENERATED ALWAYS AS (3) STORED, other text DEFAULT leaks(), i int GENERATED BY DEFAULT AS IDENTITY,
        ci text COLLATE nd);
    ALTER TABLE plain DROP COLUMN gone;
    CREATE TABLE quiet (a int DEFAULT clean(1) CHECK (calls_clean(a) > 0), b date DEFAULT current_date);
    CREATE TABLE triggered (a int PRIMARY KEY);
    CREATE TRIGGER tr BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION noop();
    CREATE TABLE child (a int REFERENCES triggered ON DELETE CASCADE);
    CREATE TABLE parent (a int PRIMARY KEY);
    CREATE TABLE acted (a int CONSTRAINT child_fk REFERENCES parent ON DELETE CASCADE);
    CREATE TRIGGER tr BEFORE DELETE ON acted FOR EACH ROW EXECUTE FUNCTION noop();
    CREATE TABLE ruled (a int);
    CREATE RULE r AS ON INSERT TO ruled DO NOTHING;
    CREATE TABLE secured (a int);
    ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
    CREATE TABLE with_domain (d small);
    CREATE TABLE checked (a int CONSTRAINT c CHECK (leaks() <> ''));
    CREATE TABLE indexed (a text, b int, CHECK (b IN (1, 2, 3)));
    CREATE INDEX ON indexed (pg_catalog.lower(a)) WHERE b > 1;
    CREATE VIEW v AS SELECT a, leaks() FROM quiet;
    CREATE FUNCTION reads_view() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM v';
    CREATE TABLE part (a int) PARTITION BY RANGE (a);
    CREATE TABLE part1 PARTITION OF part DEFAULT;
    CREATE ROLE pathy;
    ALTER ROLE pathy SET search_path = \"A\", b;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sees_epochs_and_changes_of_the_schema() {
    let mut cluster = Cluster::start(2).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state");
    let follower = Follower::start(options(&cluster, Some(file.clone())))
        .await
        .unwrap();
    let mut snapshots = follower.subscribe();
    let first = follower.snapshot();
    assert_eq!((first.epoch.number, first.shards.len()), (2, 2));
    let state = follower.state();
    assert!(
        state.connected && !state.from_disk && state.refused.is_none(),
        "{state:?}"
    );
    assert_eq!(follower.mock_auth_secret().len(), 32);

    // A change by somebody else.
    let mut hosts = cluster.servers[1].hosts();
    hosts.push(shardgate_plan::snapshot::Host {
        host: "127.0.0.1".to_owned(),
        port: 1,
    });
    set_hosts(&mut cluster.home, "s2", &hosts).await.unwrap();
    let seen = wait_for(&mut snapshots, |s| s.epoch.number == 3).await;
    assert_eq!(seen.shards[1].hosts.len(), 2);
    assert_eq!(seen.epoch.parent, first.epoch.id);
    assert_eq!(
        follower.config_for(&seen.shards[1], &hosts[0]).get_dbname(),
        Some("postgres")
    );

    // What the router has drained is told at once, and is never taken back.
    for (said, told) in [(3, 3), (2, 3), (4, 4)] {
        follower.set_drained(said);
        let sql = "SELECT drained FROM shardgate.router WHERE id = 'r1'";
        let begun = std::time::Instant::now();
        loop {
            let drained: i64 = cluster.home.query_one(sql, &[]).await.unwrap().get(0);
            if drained == told {
                break;
            }
            assert!(begun.elapsed().as_secs() < 20, "{drained} and not {told}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    // DDL behind the router's back, each of a kind that the fingerprint must notice.
    let mut number = 3;
    for ddl in [
        "CREATE TABLE public.t (a int, b text)",
        "ALTER TABLE public.t RENAME COLUMN a TO c",
        "ALTER TABLE public.t ALTER COLUMN c SET NOT NULL",
        "ALTER TABLE public.t DROP COLUMN b",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "CREATE OPERATOR public.= (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
        "CREATE VIEW public.v AS SELECT 1",
        "CREATE ROLE someone; ALTER ROLE someone SET search_path = x",
        "CREATE ROLE passing",
        "ALTER ROLE passing LOGIN",
        "GRANT pg_monitor TO passing",
        "ALTER ROLE passing RENAME TO passed",
        "DROP ROLE passed",
        "ALTER DATABASE postgres SET work_mem = '8MB'",
        "GRANT CONNECT ON DATABASE postgres TO someone",
        "CREATE OPERATOR FAMILY public.fam USING btree; ALTER OPERATOR FAMILY public.fam USING btree ADD FUNCTION 1 (int4, int8) btint48cmp(int4, int8)",
        "ALTER OPERATOR FAMILY public.fam USING btree DROP FUNCTION 1 (int4, int8)",
        "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY",
        "CREATE SCHEMA someone",
        "DROP TABLE public.t",
    ] {
        cluster.home.batch_execute(ddl).await.unwrap();
        number += 1;
        wait_for(&mut snapshots, |s| s.epoch.number == number).await;
    }
    // What is not DDL makes no epoch; the refresh is the proof that the follower has looked since.
    for sql in ["CREATE TEMP TABLE x (a int)", "ANALYZE", "VACUUM"] {
        cluster.home.batch_execute(sql).await.unwrap();
    }
    assert_eq!(follower.refresh(true).await.unwrap().epoch.number, number);

    // The router's own DDL: in the snapshot when refresh returns.
    cluster
        .home
        .batch_execute("CREATE TABLE public.mine (a int)")
        .await
        .unwrap();
    let now = follower.refresh(true).await.unwrap();
    assert!(now.relation("public", "mine").is_some());
    assert!(now.epoch.number > number);

    let acknowledged = "SELECT epoch::text || ' ' || name FROM shardgate.router WHERE id = 'r1'";
    assert_eq!(
        text(&cluster.home, acknowledged).await,
        format!("{} router one", now.epoch.number)
    );
    assert_eq!(
        read_state_file(&file)
            .unwrap()
            .unwrap()
            .build()
            .unwrap()
            .epoch,
        now.epoch
    );
    follower.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_home_keeps_the_snapshot_and_lost_history_is_refused() {
    let mut cluster = Cluster::start(1).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state");
    let follower = Follower::start(options(&cluster, Some(file.clone())))
        .await
        .unwrap();
    let mut states = follower.subscribe_state();
    cluster.servers[0].stop();
    let lost = states
        .wait_for(|state| !state.connected)
        .await
        .unwrap()
        .clone();
    assert!(lost.last_error.is_some());
    assert_eq!(follower.snapshot().epoch.number, 1);
    assert!(follower.refresh(false).await.unwrap_err().is_unreachable());

    // A second one starts from disk, and says so.
    let second = Follower::start(options(&cluster, Some(file.clone())))
        .await
        .unwrap();
    let state = second.state();
    assert!(
        state.from_disk && !state.connected && state.epoch == 1,
        "{state:?}"
    );
    let without_file = Follower::start(options(&cluster, None)).await.unwrap_err();
    assert_eq!(without_file.sqlstate(), "08006", "{without_file}");

    cluster.servers[0].restart();
    states.wait_for(|state| state.connected).await.unwrap();
    second
        .subscribe_state()
        .wait_for(|state| state.connected && !state.from_disk)
        .await
        .unwrap();

    // Home loses its history and makes another epoch with a number that is known.
    cluster.home = cluster.servers[0].connect().await;
    let hosts = cluster.servers[0].hosts();
    set_hosts(&mut cluster.home, "s1", &hosts).await.unwrap();
    let mut snapshots = follower.subscribe();
    let held = wait_for(&mut snapshots, |s| s.epoch.number == 2).await;
    cluster
        .home
        .batch_execute("UPDATE shardgate.epoch SET id = gen_random_uuid() WHERE number = 2")
        .await
        .unwrap();
    let refused = states
        .wait_for(|state| state.refused.is_some())
        .await
        .unwrap()
        .clone();
    assert!(!refused.connected, "{refused:?}");
    assert_eq!(follower.snapshot().epoch, held.epoch);
    assert!(matches!(
        follower.refresh(false).await,
        Err(CatalogError::Forked { .. })
    ));
    let third = Follower::start(options(&cluster, Some(file)))
        .await
        .unwrap();
    assert!(third.state().refused.is_some() && third.state().from_disk);
}

async fn wait_for(
    snapshots: &mut tokio::sync::watch::Receiver<
        std::sync::Arc<shardgate_plan::snapshot::Snapshot>,
    >,
    condition: impl FnMut(&std::sync::Arc<shardgate_plan::snapshot::Snapshot>) -> bool,
) -> std::sync::Arc<shardgate_plan::snapshot::Snapshot> {
    let found = tokio::time::timeout(Duration::from_secs(20), snapshots.wait_for(condition)).await;
    found
        .expect("the epoch was not seen in 20 s")
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_belongs_to_one_living_router() {
    let cluster = Cluster::start(1).await;
    let first = Follower::start(options(&cluster, None)).await.unwrap();
    let error = Follower::start(options(&cluster, None)).await.unwrap_err();
    assert_eq!(error.sqlstate(), "55006", "{error}");
    assert!(
        error
            .pg()
            .hint
            .is_some_and(|hint| hint.contains("router.id"))
    );
    let other = FollowerOptions {
        router_id: "r2".to_owned(),
        ..options(&cluster, None)
    };
    Follower::start(other).await.unwrap();
    // A router that ends, however it ends, leaves its id free.
    drop(first);
    Follower::start(options(&cluster, None)).await.unwrap();
}
