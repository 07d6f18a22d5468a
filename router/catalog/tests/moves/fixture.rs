//! A cluster with tables to move, and what is asked of it.

use crate::support::{Cluster, text};
use shardgate_catalog::moves::{self, MoveOptions, MoveSpec, PartsSpec, Step};
use shardgate_catalog::{Backend, CatalogError, DistributeRequest, check, distribute_table, load};
use shardgate_shard_map::{ShardId, ShardMap};

/// Settings of servers on which streams begin quickly.
pub const SETTINGS: &[&str] = &[
    "max_prepared_transactions=10",
    "wal_retrieve_retry_interval=50ms",
    "max_replication_slots=20",
    "max_wal_senders=20",
    "max_logical_replication_workers=8",
    "max_worker_processes=16",
];

/// Two co-located tables over two shards by 16 buckets, the second one with a foreign key to the first.
pub const TABLES: &str = "CREATE TABLE public.a (k int PRIMARY KEY, n int NOT NULL DEFAULT 0, big text, \
    twice int GENERATED ALWAYS AS (n * 2) STORED); ALTER TABLE public.a ALTER big SET STORAGE EXTERNAL; \
    CREATE TABLE public.b (k int NOT NULL, i int, j jsonb, PRIMARY KEY (k, i))";

/// Run on each shard once the tables are distributed.
pub const AFTERWARDS: &str = "ALTER TABLE public.b ADD FOREIGN KEY (k) REFERENCES public.a ON DELETE CASCADE ON UPDATE CASCADE";

pub struct Moving {
    pub cluster: Cluster,
    /// Connections to the shards, in order.
    pub shards: Vec<Backend>,
}

impl Moving {
    /// Distributes `tables` (name and column) by 16 buckets, all together.
    pub async fn start(ddl: &str, tables: &[(&str, &str)]) -> Moving {
        let mut cluster = Cluster::start_with(2, SETTINGS).await;
        cluster.home.batch_execute(ddl).await.unwrap();
        let mut first = None;
        for (name, column) in tables {
            let request = DistributeRequest {
                relation: format!("public.{name}"),
                column: (*column).to_owned(),
                buckets: first.is_none().then_some(16),
                colocate_with: first.clone(),
                ..DistributeRequest::default()
            };
            distribute_table(&mut cluster.home, &request).await.unwrap();
            first.get_or_insert(format!("public.{name}"));
        }
        let mut shards = Vec::new();
        for server in &cluster.servers {
            shards.push(server.connect().await);
        }
        Moving { cluster, shards }
    }

    /// Tables `a` and `b` with 400 keys, each row on its own shard.
    pub async fn filled() -> Moving {
        let moving = Moving::start(TABLES, &[("a", "k"), ("b", "k")]).await;
        for shard in &moving.shards {
            shard.batch_execute(AFTERWARDS).await.unwrap();
            // The guard says which rows are the shard's own.
            shard
                .batch_execute(
                    "DO $$ DECLARE g int; BEGIN FOR g IN 1..400 LOOP BEGIN \
                     INSERT INTO public.a (k, n, big) VALUES (g, g, repeat(md5(g::text), 160)); \
                     INSERT INTO public.b VALUES (g, 1, jsonb_build_object('g', g)), (g, 2, NULL); \
                     EXCEPTION WHEN check_violation THEN NULL; END; END LOOP; END $$; ANALYZE",
                )
                .await
                .unwrap();
        }
        moving
    }

    pub fn home(&mut self) -> &mut Backend {
        &mut self.cluster.home
    }

    /// Starts a move to a shard.
    pub async fn begin(&mut self, parts: PartsSpec, to: &str) -> Result<i64, CatalogError> {
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
        moves::start(&mut self.cluster.home, &spec).await
    }

    pub async fn advance(&mut self, id: i64, until: Step) -> Result<(), CatalogError> {
        moves::advance(&mut self.cluster.home, id, until)
            .await
            .map(|status| assert_eq!(status.step, until))
    }

    /// The buckets of a shard, as a move of all of them names them.
    pub async fn buckets_of(&self, shard: i16) -> Vec<(u32, u32)> {
        let rows = self
            .cluster
            .home
            .query(
                "SELECT bucket FROM shardgate.bucket_map WHERE shard_id = $1 ORDER BY 1",
                &[&shard],
            )
            .await
            .unwrap();
        rows.iter()
            .map(|row| u32::try_from(row.get::<_, i32>(0)).unwrap())
            .map(|bucket| (bucket, bucket))
            .collect()
    }

    /// Rows of `a` and `b` on a shard: how many, and a checksum.
    pub async fn rows(&self, shard: usize) -> Rows {
        self.rows_where(shard, "true").await
    }

    async fn rows_where(&self, shard: usize, condition: &str) -> Rows {
        let mut rows = Rows::default();
        for table in ["a", "b"] {
            let row = self.shards[shard]
                .query_one(
                    &format!(
                        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0) % 1000000000), 0)::bigint FROM public.{table} t WHERE {condition}"
                    ),
                    &[],
                )
                .await
                .unwrap();
            rows.count += row.get::<_, i64>(0);
            rows.checksum += row.get::<_, i64>(1);
        }
        rows
    }

    /// Rows of both shards together.
    pub async fn all_rows(&self) -> Rows {
        let (one, two) = (self.rows(0).await, self.rows(1).await);
        Rows {
            count: one.count + two.count,
            checksum: one.checksum + two.checksum,
        }
    }

    /// The map of the only distribution.
    pub async fn map(&mut self) -> ShardMap {
        let raw = load(&mut self.cluster.home, None).await.unwrap();
        let snapshot = raw.build().unwrap();
        snapshot.distributions.values().next().unwrap().map.clone()
    }

    /// Rows of `a` and `b` that a shard owns.
    pub async fn owned_rows(&mut self, shard: usize) -> Rows {
        let owner = ShardId(u16::try_from(shard + 1).unwrap());
        let owned = self.map().await.ownership_sql("k", owner);
        self.rows_where(shard, &owned).await
    }

    /// Nothing is left of any move: on no shard, and not for `check`.
    pub async fn nothing_left(&mut self) {
        for shard in &self.shards {
            assert_eq!(left_behind(shard).await, "");
        }
        let findings = check(&mut self.cluster.home).await.unwrap();
        // The servers of tests run without fsync.
        let found: Vec<_> = findings
            .into_iter()
            .filter(|finding| finding.code != "not_durable")
            .collect();
        assert_eq!(found, []);
        // Every row is where the map says.
        let snapshot = load(&mut self.cluster.home, None)
            .await
            .unwrap()
            .build()
            .unwrap();
        assert_eq!(snapshot.moves, []);
        let map = &snapshot.distributions.values().next().unwrap().map;
        for (shard, id) in self.shards.iter().zip([1, 2]) {
            for table in ["a", "b"] {
                let sql = format!(
                    "SELECT count(*)::text FROM public.{table} WHERE NOT ({})",
                    map.ownership_sql("k", ShardId(id))
                );
                assert_eq!(text(shard, &sql).await, "0", "{table} on shard {id}");
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    pub count: i64,
    pub checksum: i64,
}

/// What a move makes on a shard, by kind: empty when nothing is left.
pub async fn left_behind(shard: &Backend) -> String {
    text(
        shard,
        "SELECT coalesce(string_agg(what, ', ' ORDER BY what), '') FROM (\
         SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL \
         SELECT 'publication ' || pubname FROM pg_publication UNION ALL \
         SELECT 'subscription ' || subname FROM pg_subscription UNION ALL \
         SELECT 'origin ' || roname FROM pg_replication_origin UNION ALL \
         SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal UNION ALL \
         SELECT 'gate ' || move_id FROM shardgate.gate UNION ALL \
         SELECT 'mark ' || stream FROM shardgate.move_mark UNION ALL \
         SELECT 'identity of ' || oid::regclass FROM pg_class WHERE relreplident = 'f' AND relkind = 'r' AND oid >= 16384) \
         AS left_behind (what)",
    )
    .await
}
