//! Verification on two real servers, with a stream between them: what differs is found and named, and what is only in
//! flight is not.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::Backend;
use shardgate_catalog::moves::verify::{
    Changed, Difference, Kind, Limits, Report, Sides, Subject, Witness, verify, verify_changed,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{Server, text};

/// Keys that move; the others stay on the source and never come to the target.
const MOVING: &str = "tenant % 2 = 0";

struct Pair {
    // The target goes first: its subscription holds on to the source.
    target_server: Server,
    source_server: Server,
    source: Backend,
    target: Backend,
    slots: Vec<String>,
}

impl Pair {
    /// Makes tables on both sides and fills the source; `follow` then starts the stream.
    async fn start(tables: &str, rows: &str) -> Pair {
        let (source_server, target_server) = (Server::start(&[]), Server::start(&[]));
        let (source, target) = (source_server.connect().await, target_server.connect().await);
        for backend in [&source, &target] {
            run(
                backend,
                &format!(
                    "SET search_path = public; {tables}; SET search_path = pg_catalog, pg_temp"
                ),
            )
            .await;
        }
        run(
            &source,
            &format!("SET search_path = public; {rows}; SET search_path = pg_catalog, pg_temp"),
        )
        .await;
        Pair {
            target_server,
            source_server,
            source,
            target,
            slots: Vec::new(),
        }
    }

    async fn follow(&mut self, tables: &[&str]) {
        let list: Vec<String> = tables
            .iter()
            .map(|table| format!("public.{table} WHERE ({MOVING})"))
            .collect();
        run(
            &self.source,
            &format!(
                "CREATE PUBLICATION moved FOR TABLE {} WITH (publish = 'insert, update, delete')",
                list.join(", ")
            ),
        )
        .await;
        let sql = format!(
            "CREATE SUBSCRIPTION follow CONNECTION 'host=127.0.0.1 port={} user=postgres dbname=postgres' PUBLICATION moved",
            self.source_server.port
        );
        run(&self.target, &sql).await;
        while text(
            &self.target,
            "SELECT bool_and(srsubstate = 'r')::text FROM pg_subscription_rel",
        )
        .await
            != "true"
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        self.slots = vec!["follow".to_owned()];
    }

    fn sides(&self) -> Sides<'_> {
        Sides {
            source: &self.source,
            target: &self.target,
            slots: &self.slots,
        }
    }

    async fn verify(&self, tables: &[&str]) -> Report {
        verify(self.sides(), &subjects(tables), &Limits::default())
            .await
            .unwrap()
    }
}

async fn run(backend: &Backend, sql: &str) {
    backend
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn subjects(tables: &[&str]) -> Vec<Subject> {
    let subject = |table: &&str| Subject {
        schema: "public".to_owned(),
        name: (*table).to_owned(),
        key: "tenant".to_owned(),
        predicate: MOVING.to_owned(),
    };
    tables.iter().map(subject).collect()
}

fn lines(report: &Report) -> Vec<String> {
    report.differences().map(ToString::to_string).collect()
}

const TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE all_types (tenant int8, id int, \
    n numeric, f float8, r real, j json, jb jsonb, i interval, t timestamptz, d date, ba bytea, m mood, mo money, \
    arr int[], big text, c char(5), v varchar(9), p point, x xml, b bool, ip inet, tv tsvector, twice int GENERATED ALWAYS AS (id * 2) STORED, \
    gone text, \"Odd name\" text, PRIMARY KEY (tenant, id)); ALTER TABLE all_types DROP COLUMN gone; \
    ALTER TABLE all_types ALTER COLUMN big SET STORAGE EXTERNAL; ALTER TABLE all_types REPLICA IDENTITY FULL";

const TYPES_ROWS: &str = "INSERT INTO all_types (tenant, id, n, f, r, j, jb, i, t, d, ba, m, mo, arr, big, c, v, p, x, b, ip, tv, \"Odd name\") \
    SELECT g % 10, g, '1.0', '-0', 'NaN', '{\"a\": 1}', '{\"a\":1.0}', '13 mons 2 days', '2020-01-01 00:00+00', 'infinity', \
    '\\x00ff', 'happy', '12.50', '{1,NULL}', repeat(g::text, 3000), 'ab ', 'V', '(1,2)', '<a/>', true, '10.0.0.1/8', 'a:1', \
    CASE WHEN g % 3 = 0 THEN '' END FROM generate_series(0, 199) AS g";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_type_is_compared_byte_for_byte() {
    let mut pair = Pair::start(TYPES, TYPES_ROWS).await;
    pair.follow(&["all_types"]).await;
    // Neither side's own settings change what is compared.
    run(
        &pair.source_server.connect().await,
        "ALTER DATABASE postgres SET DateStyle = 'SQL, DMY'",
    )
    .await;
    let report = pair.verify(&["all_types"]).await;
    assert_eq!(
        (lines(&report), report.rows(), report.unsettled()),
        (Vec::new(), 100, 0)
    );
    // One row for each change; all are of one tenant.
    let changes = [
        ("n", "'1.00'"),
        ("f", "'0'"),
        ("r", "'Infinity'"),
        ("j", "'{\"a\":1}'"),
        ("jb", "'{\"a\":1}'"),
        ("i", "'1 year 1 mon 48 hours'"),
        ("t", "'2020-01-01 00:00:00.000001+00'"),
        ("d", "'-infinity'"),
        ("ba", "'\\x00fe'"),
        ("m", "'sad'"),
        ("mo", "'12.51'"),
        ("arr", "'[0:1]={1,NULL}'"),
        ("big", "repeat('x', 2999)"),
        ("c", "'ac'"),
        ("v", "'v'"),
        ("p", "'(1,-2)'"),
        ("x", "'<a></a>'"),
        ("b", "NULL"),
        ("ip", "'10.0.0.1/9'"),
    ];
    let mut expect = Vec::new();
    for (number, (column, value)) in changes.iter().enumerate() {
        let id = number * 10 + 2;
        let sql = format!(
            "UPDATE public.all_types SET {column} = {value} WHERE tenant = 2 AND id = {id}"
        );
        run(&pair.target, &sql).await;
        expect.push((
            id,
            format!("table public.all_types: row (tenant, id)=(2, {id}) differs in {column}"),
        ));
    }
    run(
        &pair.target,
        "UPDATE public.all_types SET \"Odd name\" = '' WHERE tenant = 4 AND id = 4",
    )
    .await;
    let mut expect: Vec<String> = expect.into_iter().map(|(_, line)| line).collect();
    expect.push("table public.all_types: row (tenant, id)=(4, 4) differs in Odd name".to_owned());
    expect.sort();
    let mut found = lines(&pair.verify(&["all_types"]).await);
    found.sort();
    assert_eq!(found, expect);
}

const TWO_TABLES: &str = "CREATE TABLE keyed (tenant int, id int, v text, PRIMARY KEY (tenant, id)); \
    CREATE TABLE bare (tenant int NOT NULL, v text); ALTER TABLE bare REPLICA IDENTITY FULL; CREATE INDEX ON bare (tenant); \
    CREATE TABLE uniquely (tenant int NOT NULL, code text NOT NULL, v text, UNIQUE (tenant, code)); \
    ALTER TABLE uniquely REPLICA IDENTITY FULL";

const TWO_TABLES_ROWS: &str = "INSERT INTO keyed SELECT g % 20, g, 'v' || g FROM generate_series(1, 20000) AS g; \
    INSERT INTO bare SELECT g % 20, 'v' || g % 100 FROM generate_series(1, 2000) AS g; \
    INSERT INTO uniquely SELECT g % 20, 'code ' || g, NULL FROM generate_series(1, 500) AS g";

const TABLES: &[&str] = &["keyed", "bare", "uniquely"];

/// One missing, one too many, one changed in each table.
async fn plant(target: &Backend) {
    run(
        target,
        "DELETE FROM public.keyed WHERE tenant = 4 AND id = 44; UPDATE public.keyed SET v = 'x' WHERE tenant = 6 AND id = 46; \
         INSERT INTO public.keyed VALUES (8, -1, 'y'); \
         DELETE FROM public.uniquely WHERE tenant = 4 AND code = 'code 44'; INSERT INTO public.uniquely VALUES (8, 'new', ''); \
         UPDATE public.uniquely SET v = '' WHERE tenant = 6 AND code = 'code 46'; \
         DELETE FROM public.bare WHERE ctid = (SELECT min(ctid) FROM public.bare WHERE tenant = 4 AND v = 'v4'); \
         INSERT INTO public.bare VALUES (6, NULL); INSERT INTO public.bare SELECT 8, 'v8'",
    )
    .await;
}

fn planted() -> Vec<String> {
    [
        "table public.keyed: row (tenant, id)=(4, 44) is missing on the target",
        "table public.keyed: row (tenant, id)=(8, -1) is on the target only",
        "table public.keyed: row (tenant, id)=(6, 46) differs in v",
        "table public.bare: row (4,v4) is missing on the target",
        "table public.bare: row (6,) is on the target only",
        "table public.bare: row (8,v8) is on the target only",
        "table public.uniquely: row (tenant, code)=(4, code 44) is missing on the target",
        "table public.uniquely: row (tenant, code)=(8, new) is on the target only",
        "table public.uniquely: row (tenant, code)=(6, code 46) differs in v",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Writes to all tables until it is told to stop; answers the number of its statements.
fn writer(
    server: &Server,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
) -> tokio::task::JoinHandle<()> {
    let config = server.config();
    tokio::spawn(async move {
        let backend = Backend::primary(&config, "the writer").await.unwrap();
        // As an application may: what it sees is not flushed yet.
        run(&backend, "SET synchronous_commit = off").await;
        let mut n = 0u64;
        while !stop.load(Ordering::Relaxed) {
            n += 1;
            // No faster than the target can follow: it has no index for its tables without a key.
            let behind = "SELECT (coalesce(max(pg_current_wal_flush_lsn() - confirmed_flush_lsn), 0) > 100000)::text \
                          FROM pg_replication_slots";
            while text(&backend, behind).await == "true" && !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            // Tenants that nothing is planted in. One row is changed each time, others come, change and go.
            let (hot, id) = (10, 100_000 + n % 50);
            run(
                &backend,
                &format!(
                    "UPDATE public.keyed SET v = 'hot {n}' WHERE tenant = {hot} AND id = 10; \
                     INSERT INTO public.keyed VALUES (12, {id}, 'n') ON CONFLICT (tenant, id) DO UPDATE SET v = 'again {n}'; \
                     DELETE FROM public.keyed WHERE tenant = 12 AND id = 100000 + ({n} * 7) % 50; \
                     INSERT INTO public.bare VALUES (12, 'hot'); DELETE FROM public.bare WHERE tenant = 12 AND v = 'hot' \
                     AND ctid <> (SELECT max(ctid) FROM public.bare WHERE tenant = 12 AND v = 'hot'); \
                     UPDATE public.uniquely SET v = '{n}' WHERE tenant = 14; \
                     UPDATE public.keyed SET tenant = CASE tenant WHEN 16 THEN 17 ELSE 16 END WHERE id = 16 AND tenant IN (16, 17)"
                ),
            )
            .await;
            count.store(n, Ordering::Relaxed);
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_flight_do_not_count_and_planted_ones_do() {
    let mut pair = Pair::start(TWO_TABLES, TWO_TABLES_ROWS).await;
    pair.follow(TABLES).await;
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writing = writer(&pair.source_server, stop.clone(), count.clone());
    for _ in 0..3 {
        let before = count.load(Ordering::Relaxed);
        let report = pair.verify(TABLES).await;
        assert_eq!(lines(&report), Vec::<String>::new());
        assert!(report.rows() >= 10_000 + 1_000 + 250, "{}", report.rows());
        assert!(
            count.load(Ordering::Relaxed) > before,
            "nothing was written meanwhile"
        );
    }
    plant(&pair.target).await;
    for _ in 0..2 {
        let mut found = lines(&pair.verify(TABLES).await);
        let mut expect = planted();
        found.sort();
        expect.sort();
        assert_eq!(found, expect);
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    // With the writer gone nothing is unsettled.
    let report = pair.verify(TABLES).await;
    assert_eq!(
        (report.differences().count(), report.unsettled()),
        (planted().len(), 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_witness_names_what_has_changed_since() {
    let mut pair = Pair::start(TWO_TABLES, TWO_TABLES_ROWS).await;
    pair.follow(TABLES).await;
    let publications = vec!["moved".to_owned()];
    let witness = Witness::open(&pair.source, "witness", &publications, true)
        .await
        .unwrap();
    let mut changed = Changed::default();
    witness
        .drain(pair.sides(), &subjects(TABLES), &mut changed)
        .await
        .unwrap();
    assert!(changed.is_empty());
    // Changed rows that move, one that leaves, and one that does not move at all.
    run(
        &pair.source,
        "UPDATE public.keyed SET v = 'new' WHERE tenant = 6 AND id = 46; DELETE FROM public.keyed WHERE tenant = 4 AND id = 44; \
         INSERT INTO public.keyed VALUES (8, -1, 'y'); UPDATE public.keyed SET tenant = 7 WHERE tenant = 6 AND id = 66; \
         UPDATE public.keyed SET v = '' WHERE tenant = 1; UPDATE public.uniquely SET code = 'c' WHERE tenant = 6 AND code = 'code 46'; \
         DELETE FROM public.bare WHERE tenant = 4 AND v = 'v4'; INSERT INTO public.bare VALUES (6, NULL)",
    )
    .await;
    witness
        .drain(pair.sides(), &subjects(TABLES), &mut changed)
        .await
        .unwrap();
    // keyed: 46, 44, -1, 66; uniquely: the old code and the new one; bare: the keys 4 and 6.
    assert_eq!(changed.len(), 8, "{changed:?}");
    let limits = Limits::default();
    let checked = verify_changed(pair.sides(), &subjects(TABLES), &changed, false, &limits)
        .await
        .unwrap();
    assert_eq!(lines(&checked), Vec::<String>::new());
    // The target loses some of it; it is also wrong in a row that nobody has changed, which is not looked at.
    run(
        &pair.target,
        "UPDATE public.keyed SET v = 'old' WHERE tenant = 6 AND id = 46; INSERT INTO public.keyed VALUES (4, 44, 'v44'); \
         DELETE FROM public.keyed WHERE tenant = 8 AND id = -1; UPDATE public.keyed SET v = 'x' WHERE tenant = 2 AND id = 2; \
         UPDATE public.uniquely SET code = 'code 46' WHERE code = 'c'; INSERT INTO public.bare VALUES (4, 'v4')",
    )
    .await;
    for still in [false, true] {
        let checked = verify_changed(pair.sides(), &subjects(TABLES), &changed, still, &limits)
            .await
            .unwrap();
        let mut found = lines(&checked);
        found.sort();
        assert_eq!(
            found,
            [
                "table public.bare: row (4,v4) is on the target only",
                "table public.keyed: row (tenant, id)=(4, 44) is on the target only",
                "table public.keyed: row (tenant, id)=(6, 46) differs in v",
                "table public.keyed: row (tenant, id)=(8, -1) is missing on the target",
                "table public.uniquely: row (tenant, code)=(6, c) is missing on the target",
                "table public.uniquely: row (tenant, code)=(6, code 46) is on the target only",
            ],
            "still: {still}"
        );
    }
    witness.close(&pair.source).await.unwrap();
    assert_eq!(
        text(
            &pair.source,
            "SELECT string_agg(slot_name, ',')::text FROM pg_replication_slots"
        )
        .await,
        "follow"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_copy_ends_early_and_a_stuck_stream_is_told() {
    let mut pair = Pair::start(TWO_TABLES, TWO_TABLES_ROWS).await;
    let limits = Limits {
        differences_max: 3,
        candidates_max: 50,
        stream_wait: std::time::Duration::from_millis(200),
        ..Limits::default()
    };
    // Nothing was copied and nothing follows.
    let report = verify(pair.sides(), &subjects(&["keyed"]), &limits)
        .await
        .unwrap();
    let table = &report.tables[0];
    assert_eq!(
        (table.differences.len(), table.more, table.rows),
        (3, true, 10_000)
    );
    assert!(
        table
            .differences
            .iter()
            .all(|one: &Difference| one.kind == Kind::Missing)
    );
    pair.follow(TABLES).await;
    run(&pair.target, "ALTER SUBSCRIPTION follow DISABLE").await;
    let stuck = verify(pair.sides(), &subjects(&["keyed"]), &limits)
        .await
        .unwrap_err();
    assert_eq!(stuck.sqlstate(), "55000", "{stuck}");
    assert!(stuck.to_string().contains("has not followed"), "{stuck}");
    pair.slots.push("another".to_owned());
    let gone = verify(pair.sides(), &subjects(&["keyed"]), &limits)
        .await
        .unwrap_err();
    assert!(
        gone.to_string().contains("1 of 2 replication slots"),
        "{gone}"
    );
    run(&pair.target, "ALTER TABLE public.keyed ADD COLUMN more int").await;
    pair.slots.clear();
    let other = verify(pair.sides(), &subjects(&["keyed"]), &limits)
        .await
        .unwrap_err();
    assert!(
        other
            .to_string()
            .contains("has other columns on the target"),
        "{other}"
    );
    drop(pair.target_server);
}
