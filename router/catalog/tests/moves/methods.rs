//! Moves of every kind of map, and of tables of every kind.

use crate::fixture::{Moving, SETTINGS, left_behind};
use crate::support::{Cluster, text};
use shardgate_catalog::moves::{self, MoveOptions, MoveSpec, PartsSpec, Step};
use shardgate_catalog::{
    Backend, DistributeRequest, NewDistribution, NewMethod, create_distribution, distribute_table,
};

/// One table `t (k, v)` whose rows are on the shards that the map says.
struct Plain {
    cluster: Cluster,
    shards: Vec<Backend>,
}

impl Plain {
    async fn start(ddl: &str, request: DistributeRequest, keys: &str) -> Plain {
        let mut cluster = Cluster::start_with(2, SETTINGS).await;
        cluster.home.batch_execute(ddl).await.unwrap();
        let request = DistributeRequest {
            relation: "public.t".to_owned(),
            column: "k".to_owned(),
            ..request
        };
        distribute_table(&mut cluster.home, &request).await.unwrap();
        let mut shards = Vec::new();
        for server in &cluster.servers {
            shards.push(server.connect().await);
        }
        for shard in &shards {
            let sql = format!(
                "DO $$ DECLARE key text; BEGIN FOREACH key IN ARRAY '{keys}'::text[] LOOP BEGIN \
                 EXECUTE format('INSERT INTO public.t (k, v) VALUES (%L, 1)', key); \
                 EXCEPTION WHEN check_violation THEN NULL; END; END LOOP; END $$"
            );
            shard.batch_execute(&sql).await.unwrap();
        }
        Plain { cluster, shards }
    }

    async fn begin(&mut self, parts: PartsSpec, to: &str) -> i64 {
        let distribution = text(
            &self.cluster.home,
            "SELECT name FROM shardgate.distribution",
        )
        .await;
        let spec = MoveSpec {
            distribution,
            parts,
            to: to.to_owned(),
            options: MoveOptions::default(),
        };
        moves::start(&mut self.cluster.home, &spec).await.unwrap()
    }

    async fn advance(&mut self, id: i64, until: Step) {
        let status = moves::advance(&mut self.cluster.home, id, until).await;
        let status = status.unwrap_or_else(|error| panic!("{:?}", error.pg()));
        assert_eq!(status.step, until);
    }

    /// The keys on each shard, with how often they were changed.
    async fn keys(&self) -> [String; 2] {
        let sql = "SELECT coalesce(string_agg(k || ':' || v, ' ' ORDER BY k), '') FROM public.t";
        [
            text(&self.shards[0], sql).await,
            text(&self.shards[1], sql).await,
        ]
    }

    /// Moves the parts to a shard and changes all rows on the way, where they may be changed.
    async fn there(&mut self, parts: PartsSpec, to: &str) -> [String; 2] {
        let id = self.begin(parts, to).await;
        self.advance(id, Step::Verified).await;
        self.touch(if to == "s2" { 0 } else { 1 }).await;
        self.advance(id, Step::Switched).await;
        self.touch(if to == "s2" { 1 } else { 0 }).await;
        self.advance(id, Step::Completed).await;
        for shard in &self.shards {
            assert_eq!(left_behind(shard).await, "");
        }
        self.keys().await
    }

    async fn touch(&self, shard: usize) {
        let sql = "UPDATE public.t SET v = v + 1";
        self.shards[shard].batch_execute(sql).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_cut_out_and_given_away() {
    let request = DistributeRequest {
        method: Some("range".to_owned()),
        bounds: Some(vec!["2024-01-01".to_owned()]),
        ..DistributeRequest::default()
    };
    let ddl = "CREATE TABLE public.t (k timestamptz PRIMARY KEY, v int)";
    let keys = "{2020-01-01,2022-01-01,2023-06-01,2025-01-01}";
    let mut plain = Plain::start(ddl, request, keys).await;
    let range = (Some("2021-01-01".to_owned()), Some("2023-01-01".to_owned()));
    let id = plain.begin(PartsSpec::Ranges(vec![range]), "s2").await;
    plain.advance(id, Step::Switched).await;
    plain.advance(id, Step::Completed).await;
    let map = "SELECT string_agg(concat(lower, '=', shard_id), ' ' ORDER BY ordinal) FROM shardgate.range_map";
    assert_eq!(
        text(&plain.cluster.home, map).await,
        "=1 2021-01-01 00:00:00+00=2 2023-01-01 00:00:00+00=1 2024-01-01 00:00:00+00=2"
    );
    let count = "SELECT string_agg(extract(year FROM k)::text, ' ' ORDER BY k) FROM public.t";
    assert_eq!(text(&plain.shards[0], count).await, "2020 2023");
    assert_eq!(text(&plain.shards[1], count).await, "2022 2025");
    for shard in &plain.shards {
        assert_eq!(left_behind(shard).await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_the_rest_and_single_keys() {
    let request = DistributeRequest {
        method: Some("list".to_owned()),
        values: Some(vec![
            ("de".to_owned(), Some("s1".to_owned())),
            ("fr".to_owned(), Some("s1".to_owned())),
            ("it".to_owned(), Some("s2".to_owned())),
        ]),
        default_shard: Some("s1".to_owned()),
        ..DistributeRequest::default()
    };
    let ddl = "CREATE TABLE public.t (k text PRIMARY KEY, v int)";
    let mut plain = Plain::start(ddl, request, "{de,fr,it,es,pt}").await;
    assert_eq!(plain.keys().await, ["de:1 es:1 fr:1 pt:1", "it:1"]);
    let values = |list: &[&str], default| PartsSpec::Values {
        values: list.iter().map(|value| (*value).to_owned()).collect(),
        default,
    };
    let keys = plain.there(values(&["de"], false), "s2").await;
    assert_eq!(keys, ["es:2 fr:2 pt:2", "de:3 it:2"]);
    // A key alone: it is pinned, and the rest of its part stays.
    let keys = plain
        .there(PartsSpec::Keys(vec!["pt".to_owned()]), "s2")
        .await;
    assert_eq!(keys, ["es:3 fr:3", "de:4 it:3 pt:4"]);
    let keys = plain.there(values(&[], true), "s2").await;
    assert_eq!(keys, ["fr:4", "de:5 es:5 it:4 pt:5"]);
    let keys = plain
        .there(PartsSpec::Keys(vec!["pt".to_owned()]), "s1")
        .await;
    assert_eq!(keys, ["fr:5 pt:7", "de:6 es:6 it:5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_without_a_primary_key() {
    for (ddl, keyless) in [
        ("CREATE TABLE public.t (k int, v int, big text)", true),
        (
            "CREATE TABLE public.t (k int NOT NULL UNIQUE, v int, big text)",
            false,
        ),
    ] {
        let request = DistributeRequest {
            buckets: Some(4),
            ..DistributeRequest::default()
        };
        let mut plain = Plain::start(ddl, request, "{1,2,3,4,5,6,7,8,9,10}").await;
        let owner =
            "SELECT string_agg(bucket::text, ',') FROM shardgate.bucket_map WHERE shard_id = 1";
        let own = text(&plain.cluster.home, owner).await;
        let own: Vec<(u32, u32)> = own
            .split(',')
            .map(|n| n.parse().unwrap())
            .map(|n| (n, n))
            .collect();
        if keyless {
            // With many rows each change would take long: refused, with the way out.
            let id = plain.begin(PartsSpec::Buckets(own.clone()), "s2").await;
            let limit = "UPDATE shardgate.move SET keyless_rows_max = 1";
            plain.cluster.home.batch_execute(limit).await.unwrap();
            let refused = moves::advance(&mut plain.cluster.home, id, Step::Copy)
                .await
                .unwrap_err();
            assert_eq!(refused.sqlstate(), "0A000", "{refused}");
            plain.advance(id, Step::Cancelled).await;
        } else {
            let id = plain.begin(PartsSpec::Buckets(own.clone()), "s2").await;
            plain.advance(id, Step::Copy).await;
            let changed = plain.shards[0]
                .batch_execute("UPDATE public.t SET k = k + 1000")
                .await;
            assert_eq!(changed.unwrap_err().code().unwrap().code(), "55006");
            plain.advance(id, Step::Cancelled).await;
        }
        let keys = plain.there(PartsSpec::Buckets(own), "s2").await;
        assert_eq!(keys[0], "");
        assert_eq!(keys[1].split(' ').count(), 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distribution_without_tables_moves_at_once() {
    let mut cluster = Cluster::start_with(2, SETTINGS).await;
    let new = NewDistribution {
        name: "empty".to_owned(),
        key_type: "int8".to_owned(),
        method: NewMethod::Hash { buckets: 4 },
    };
    create_distribution(&mut cluster.home, &new).await.unwrap();
    let spec = MoveSpec {
        distribution: "empty".to_owned(),
        parts: PartsSpec::Keys(vec!["42".to_owned()]),
        to: "s2".to_owned(),
        options: MoveOptions::default(),
    };
    let id = match moves::start(&mut cluster.home, &spec).await {
        Ok(id) => id,
        // It is there already: the other way then.
        Err(error) => {
            assert_eq!(error.sqlstate(), "22023", "{error}");
            let spec = MoveSpec {
                to: "s1".to_owned(),
                ..spec
            };
            moves::start(&mut cluster.home, &spec).await.unwrap()
        }
    };
    for until in [Step::Switched, Step::Reversed, Step::Completed] {
        moves::advance(&mut cluster.home, id, until).await.unwrap();
    }
    for server in &cluster.servers {
        assert_eq!(left_behind(&server.connect().await).await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_cannot_move_are_refused() {
    let mut moving = Moving::filled().await;
    let own = moving.buckets_of(1).await;
    let error = moving
        .begin(PartsSpec::Buckets(own), "s1")
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "22023", "{error}");
    let error = moving
        .begin(PartsSpec::Buckets(vec![(0, 15)]), "s2")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("several shards"), "{error}");
    let error = moving
        .begin(PartsSpec::Buckets(vec![(0, 16)]), "s2")
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "22023", "{error}");
    let error = moving
        .begin(PartsSpec::Keys(vec!["x".to_owned()]), "s2")
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "22P02", "{error}");
    let error = moving
        .begin(PartsSpec::Keys(vec!["1".to_owned()]), "s9")
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "42704", "{error}");
    moving.nothing_left().await;
}
