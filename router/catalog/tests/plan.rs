//! Which moves are planned, on real servers: what is counted, what is moved, and what shards can leave.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::moves::{
    Measure, PartsSpec, Plan, PlanRequest, merge_ranges, plan, split_range,
};
use shardgate_catalog::{
    Backend, CheckOptions, DistributeRequest, NewShard, Severity, add_shard, check, check_with,
    distribute_table, load, remove_shard, set_weight,
};
use support::{Cluster, Server, text};

async fn run(backend: &Backend, sql: &str) {
    backend
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn one(cluster: &mut Cluster, request: PlanRequest) -> Plan {
    let mut plans = plan(&mut cluster.home, &request).await.unwrap();
    assert_eq!(plans.len(), 1);
    plans.remove(0)
}

fn by(measure: Measure) -> PlanRequest {
    PlanRequest {
        measure,
        ..PlanRequest::default()
    }
}

/// `shard before after` in units.
fn units(plan: &Plan) -> Vec<String> {
    let line = |share: &shardgate_catalog::moves::Share| {
        format!(
            "{} {} {}",
            share.shard, share.before.units, share.after.units
        )
    };
    plan.shards.iter().map(line).collect()
}

#[tokio::test]
async fn a_new_shard_gets_its_share_of_the_buckets_and_not_one_more() {
    let mut cluster = Cluster::start(3).await;
    run(
        &cluster.home,
        "CREATE TABLE public.t (id int PRIMARY KEY, v text)",
    )
    .await;
    let request = DistributeRequest {
        relation: "public.t".to_owned(),
        column: "id".to_owned(),
        buckets: Some(1024),
        ..DistributeRequest::default()
    };
    distribute_table(&mut cluster.home, &request).await.unwrap();
    // Each server takes what its guard lets in.
    for server in &cluster.servers {
        let backend = server.connect().await;
        run(&backend, "SET search_path = public; DO $$ BEGIN FOR n IN 1..3000 LOOP BEGIN INSERT INTO t VALUES (n, 'x'); \
             EXCEPTION WHEN check_violation THEN NULL; END; END LOOP; END $$; ANALYZE t").await;
    }
    let server = Server::start(&["max_prepared_transactions=10"]);
    let new = NewShard {
        name: "s4".to_owned(),
        hosts: server.hosts(),
        weight: 100,
        dbname: None,
    };
    add_shard(&mut cluster.home, &new).await.unwrap();
    let planned = one(&mut cluster, PlanRequest::default()).await;
    assert_eq!(planned.moves.len(), 3, "{:?}", planned.moves);
    assert!(planned.moves.iter().all(|one| one.to == "s4"));
    let moved: u64 = planned.moves.iter().map(|one| one.load.units).sum();
    assert_eq!(moved, 1024 / 4);
    assert_eq!(
        planned.shards.iter().map(|s| s.before.rows).sum::<u64>(),
        3000
    );
    let after: Vec<u64> = planned
        .shards
        .iter()
        .map(|share| share.after.units)
        .collect();
    assert_eq!(after, [256; 4]);
    let runs = |one: &shardgate_catalog::moves::PlannedMove| match &one.parts {
        PartsSpec::Buckets(runs) => runs
            .iter()
            .map(|(first, last)| u64::from(last - first + 1))
            .sum::<u64>(),
        other => panic!("{other:?}"),
    };
    assert!(planned.moves.iter().all(|one| runs(one) == one.load.units));
    // By rows, each shard comes near to a quarter of them.
    let planned = one(&mut cluster, by(Measure::Rows)).await;
    for share in &planned.shards {
        assert!(share.after.rows.abs_diff(750) <= 30, "{share:?}");
    }
    let moved: u64 = planned.moves.iter().map(|one| one.load.rows).sum();
    assert!(moved.abs_diff(750) <= 30, "{moved}");
    // A shard that is emptied: all of it goes, and the others keep what they have.
    let drain = PlanRequest {
        drain: vec!["s2".to_owned()],
        only_drain: true,
        ..PlanRequest::default()
    };
    let planned = one(&mut cluster, drain).await;
    assert!(
        planned.moves.iter().all(|one| one.from == "s2"),
        "{:?}",
        planned.moves
    );
    let share = planned
        .shards
        .iter()
        .find(|share| share.shard == "s2")
        .unwrap();
    assert_eq!((share.after.units, share.after.rows), (0, 0));
    assert_eq!(
        planned.shards.iter().map(|s| s.after.rows).sum::<u64>(),
        3000
    );
    // The empty shard lacks most.
    let most = planned
        .shards
        .iter()
        .max_by_key(|share| share.after.units - share.before.units.min(share.after.units));
    assert_eq!(most.unwrap().shard, "s4");
    let refused = plan(
        &mut cluster.home,
        &PlanRequest {
            drain: vec!["nope".to_owned()],
            ..PlanRequest::default()
        },
    )
    .await;
    assert_eq!(refused.unwrap_err().sqlstate(), "42704");
}

#[tokio::test]
async fn ranges_values_and_pinned_keys_are_units_too() {
    let mut cluster = Cluster::start(2).await;
    run(&cluster.home, "CREATE TABLE public.r (day date PRIMARY KEY); CREATE TABLE public.l (lang text PRIMARY KEY)").await;
    let request = DistributeRequest {
        relation: "public.r".to_owned(),
        column: "day".to_owned(),
        method: Some("range".to_owned()),
        bounds: Some(
            ["2020-01-01", "2021-01-01", "2022-01-01"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ..DistributeRequest::default()
    };
    distribute_table(&mut cluster.home, &request).await.unwrap();
    let value = |value: &str, shard: &str| (value.to_owned(), Some(shard.to_owned()));
    let request = DistributeRequest {
        relation: "public.l".to_owned(),
        column: "lang".to_owned(),
        method: Some("list".to_owned()),
        values: Some(vec![
            value("de", "s2"),
            value("it's", "s2"),
            value("fr", "s1"),
        ]),
        default_shard: Some("s2".to_owned()),
        ..DistributeRequest::default()
    };
    distribute_table(&mut cluster.home, &request).await.unwrap();
    run(
        &cluster.home,
        "INSERT INTO shardgate.pinned_key SELECT id, 'xx', 2 FROM shardgate.distribution WHERE method = 'list'; \
         INSERT INTO public.r VALUES ('2019-05-05'), ('2021-02-02'), ('2021-03-03')",
    )
    .await;
    run(
        &cluster.servers[1].connect().await,
        "INSERT INTO public.l VALUES ('de'), ('pt')",
    )
    .await;
    let drain = PlanRequest {
        drain: vec!["s2".to_owned()],
        only_drain: true,
        measure: Measure::Rows,
        ..PlanRequest::default()
    };
    let plans = plan(&mut cluster.home, &drain).await.unwrap();
    let lines: Vec<String> = plans
        .iter()
        .flat_map(|plan| {
            plan.moves
                .iter()
                .map(|one| format!("{} {} {}", one.from, one.to, one.text))
        })
        .collect();
    assert_eq!(
        lines,
        [
            "s2 s1 range [2020-01-01, 2021-01-01), [2022-01-01, -)",
            "s2 s1 values de, it's, (all others)",
            "s2 s1 keys xx",
        ]
    );
    let (ranges, list) = (&plans[0], &plans[1]);
    assert_eq!(
        (units(ranges), ranges.shards[0].before.rows),
        (vec!["s1 2 4".to_owned(), "s2 2 0".to_owned()], 3)
    );
    assert_eq!(
        (units(list), list.shards[1].before.rows),
        (vec!["s1 1 5".to_owned(), "s2 4 0".to_owned()], 2)
    );
    // Pinned keys and even loads stay where they are.
    let even = plan(&mut cluster.home, &by(Measure::Buckets))
        .await
        .unwrap();
    assert_eq!(even[0].moves, []);
    assert_eq!(
        even[1]
            .moves
            .iter()
            .map(|one| one.load.units)
            .collect::<Vec<_>>(),
        [1]
    );
}

#[tokio::test]
async fn only_a_shard_that_owns_nothing_leaves() {
    let mut cluster = Cluster::start(3).await;
    run(&cluster.home, "CREATE TABLE public.t (id int PRIMARY KEY)").await;
    let request = DistributeRequest {
        relation: "public.t".to_owned(),
        column: "id".to_owned(),
        ..DistributeRequest::default()
    };
    distribute_table(&mut cluster.home, &request).await.unwrap();
    let mut state = async |name: &str| {
        remove_shard(&mut cluster.home, name)
            .await
            .map_err(|error| error.sqlstate())
    };
    assert_eq!(state("s3").await, Err("55006".to_owned()));
    assert_eq!(state("s1").await, Err("0A000".to_owned()));
    assert_eq!(state("s9").await, Err("42704".to_owned()));
    run(
        &cluster.home,
        "UPDATE shardgate.bucket_map SET shard_id = 1 WHERE shard_id = 3",
    )
    .await;
    remove_shard(&mut cluster.home, "s3").await.unwrap();
    let snapshot = load(&mut cluster.home, None)
        .await
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(snapshot.shards.len(), 2);
    set_weight(&mut cluster.home, "s2", 0).await.unwrap();
    let last = set_weight(&mut cluster.home, "s1", 0).await.unwrap_err();
    assert_eq!(last.sqlstate(), "22023");
    // A shard without weight keeps nothing.
    let planned = one(&mut cluster, PlanRequest::default()).await;
    assert_eq!(units(&planned)[1].rsplit(' ').next(), Some("0"));
}

#[tokio::test]
async fn ranges_are_split_and_joined_and_nothing_else_changes() {
    let mut cluster = Cluster::start(2).await;
    run(
        &cluster.home,
        "CREATE TABLE public.r (day date PRIMARY KEY)",
    )
    .await;
    let request = DistributeRequest {
        relation: "public.r".to_owned(),
        column: "day".to_owned(),
        method: Some("range".to_owned()),
        bounds: Some(["2020-01-01", "2021-01-01"].map(str::to_owned).to_vec()),
        ..DistributeRequest::default()
    };
    distribute_table(&mut cluster.home, &request).await.unwrap();
    let name = text(&cluster.home, "SELECT name FROM shardgate.distribution").await;
    let map = "SELECT string_agg(concat_ws(' ', lower, shard_id), ', ' ORDER BY ordinal) FROM shardgate.range_map";
    assert_eq!(
        text(&cluster.home, map).await,
        "1, 2020-01-01 2, 2021-01-01 1"
    );
    for at in ["20200106", "2019-01-01", "infinity"] {
        split_range(&mut cluster.home, &name, at)
            .await
            .unwrap_or_else(|error| panic!("{at}: {error}"));
    }
    assert_eq!(
        text(&cluster.home, map).await,
        "1, 2019-01-01 1, 2020-01-01 2, 2020-01-06 2, 2021-01-01 1, infinity 1"
    );
    // The guards are as they were.
    let findings = check(&mut cluster.home).await.unwrap();
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity != Severity::Error),
        "{findings:?}"
    );
    let mut state = async |split: bool, at: &str| {
        let home = &mut cluster.home;
        let done = if split {
            split_range(home, &name, at).await
        } else {
            merge_ranges(home, &name, at).await
        };
        done.map_err(|error| error.sqlstate())
    };
    assert_eq!(state(true, "2020-01-01").await, Err("22023".to_owned()));
    assert_eq!(state(true, "no day").await, Err("22007".to_owned()));
    assert_eq!(state(false, "2020-01-02").await, Err("22023".to_owned()));
    assert_eq!(state(false, "2020-01-01").await, Err("22023".to_owned()));
    for at in ["infinity", "2020-01-06", "2019-01-01"] {
        assert_eq!(state(false, at).await, Ok(()), "{at}");
    }
    assert_eq!(
        text(&cluster.home, map).await,
        "1, 2020-01-01 2, 2021-01-01 1"
    );
}

#[tokio::test]
async fn what_moves_have_left_is_found() {
    let mut cluster = Cluster::start(2).await;
    run(&cluster.home, "CREATE TABLE public.t (id int PRIMARY KEY)").await;
    let request = DistributeRequest {
        relation: "public.t".to_owned(),
        column: "id".to_owned(),
        ..DistributeRequest::default()
    };
    distribute_table(&mut cluster.home, &request).await.unwrap();
    let rows = CheckOptions { rows: true };
    let errors = |findings: Vec<shardgate_catalog::Finding>| -> Vec<String> {
        let left = findings
            .into_iter()
            .filter(|f| f.severity == Severity::Error || f.object.starts_with("move "));
        left.map(|f| format!("{} {}: {}", f.code, f.object, f.message))
            .collect()
    };
    assert_eq!(
        errors(check_with(&mut cluster.home, rows).await.unwrap()),
        Vec::<String>::new()
    );
    let prefix = text(&cluster.home, "SELECT 'shardgate_' || left(replace(id::text, '-', ''), 8) || '_m7_' FROM shardgate.cluster").await;
    let other = cluster.servers[1].connect().await;
    run(&cluster.home, &format!(
        "SELECT pg_create_logical_replication_slot('{prefix}f0', 'pgoutput'); CREATE PUBLICATION {prefix}f0; \
         INSERT INTO shardgate.gate (move_id, open, other_shard) VALUES (7, true, 's2')"
    )).await;
    run(&other, &format!(
        "CREATE SUBSCRIPTION {prefix}f0 CONNECTION 'host=127.0.0.1' PUBLICATION x WITH (connect = false); \
         CREATE TRIGGER \"~shardgate_gate_i\" BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION shardgate.gate_check('7'); \
         SET session_replication_role = replica; INSERT INTO public.t SELECT generate_series(1, 100); UPDATE shardgate.identity SET fence = 1000"
    )).await;
    let found = errors(check_with(&mut cluster.home, rows).await.unwrap());
    let owned: i64 = text(
        &cluster.home,
        "SELECT count(*)::text FROM shardgate.bucket_map WHERE shard_id = 2",
    )
    .await
    .parse()
    .unwrap();
    assert!(owned > 0);
    let (misplaced, mut others): (Vec<String>, Vec<String>) = found
        .into_iter()
        .partition(|line| line.starts_with("misplaced"));
    others.sort();
    assert_eq!(misplaced.len(), 1, "{misplaced:?}");
    assert!(
        misplaced[0].starts_with("misplaced table public.t on shard s2: "),
        "{misplaced:?}"
    );
    let number = text(
        &cluster.home,
        "SELECT max(number)::text FROM shardgate.epoch",
    )
    .await;
    assert_eq!(others, [
        format!("fence_ahead shard s2: its fence is epoch 1000, and the newest epoch is {number}"),
        "move_left gate of move 7 on shard s1: it is left of a move that is over".to_owned(),
        "move_left gate trigger on public.t ~shardgate_gate_i on shard s2: it is left of a move that is over".to_owned(),
        format!("move_left publication {prefix}f0 on shard s1: it is left of a move that is over"),
        format!("move_left replication slot {prefix}f0 on shard s1: it is left of a move that is over"),
        format!("move_left subscription {prefix}f0 on shard s2: it is left of a move that is over"),
    ]);
    // While the move is under way all of it is as it should be, but that nobody drives it.
    run(&cluster.home, "INSERT INTO shardgate.move (id, distribution_id, source_shard, target_shard, step, replica_lag_bytes_max, \
         wal_bytes_max, pause_ms_max, keyless_rows_max) SELECT 7, id, 1, 2, 'copy', 1, 1, 1, 1 FROM shardgate.distribution; \
         INSERT INTO shardgate.move_part SELECT 7, 0, 'buckets', min(bucket), max(bucket) FROM shardgate.bucket_map").await;
    let found = errors(check_with(&mut cluster.home, rows).await.unwrap());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found.contains(&"move_stopped move 7: nobody drives it, and it is in step copy".to_owned()),
        "{found:?}"
    );
}
