//! The check finds what was broken by hand, and nothing where all is well.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::{
    Backend, Caller, DistributeRequest, check, distribute_table, reference_table,
};
use support::Cluster;

async fn codes(home: &mut Backend) -> Vec<(&'static str, String)> {
    let findings = check(home).await.unwrap();
    // The test's servers run without fsync, which is a finding of its own.
    findings
        .into_iter()
        .filter(|finding| finding.code != "not_durable")
        .map(|finding| {
            (
                finding.code,
                format!("{}: {}", finding.object, finding.message),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_found() {
    let mut cluster = Cluster::start(2).await;
    cluster
        .home
        .batch_execute(
            "CREATE TABLE public.h (k bigserial PRIMARY KEY, v text DEFAULT 'x'); CREATE TABLE public.r (k date NOT NULL);
             CREATE TABLE public.l (k text); CREATE TABLE public.ref (a int PRIMARY KEY); CREATE TABLE public.home (a int);
             CREATE VIEW public.seen AS SELECT k FROM public.h",
        )
        .await
        .unwrap();
    let table = |relation: &str, method: &str| DistributeRequest {
        relation: relation.to_owned(),
        column: "k".to_owned(),
        method: Some(method.to_owned()),
        ..DistributeRequest::default()
    };
    distribute_table(&mut cluster.home, &table("h", "hash"))
        .await
        .unwrap();
    let bounds = Some(vec!["2020-01-01".to_owned()]);
    distribute_table(
        &mut cluster.home,
        &DistributeRequest {
            bounds,
            ..table("r", "range")
        },
    )
    .await
    .unwrap();
    let values = Some(vec![("a".to_owned(), None), ("b".to_owned(), None)]);
    distribute_table(
        &mut cluster.home,
        &DistributeRequest {
            values,
            ..table("l", "list")
        },
    )
    .await
    .unwrap();
    reference_table(&mut cluster.home, "ref", &Caller::default())
        .await
        .unwrap();
    assert_eq!(codes(&mut cluster.home).await, []);

    let shard = cluster.servers[1].connect().await;
    cluster
        .home
        .batch_execute("CREATE ROLE only_home")
        .await
        .unwrap();
    for (broken, code, words, repaired) in [
        (
            "ALTER TABLE public.h DROP CONSTRAINT shardgate_owns",
            "guard_missing",
            "public.h on shard s2",
            "",
        ),
        (
            "ALTER TABLE public.h ADD CONSTRAINT shardgate_owns CHECK (true) NOT VALID",
            "guard_differs",
            "public.h on shard s2",
            "ALTER TABLE public.h DROP CONSTRAINT shardgate_owns",
        ),
        (
            "ALTER TABLE public.l ALTER COLUMN k TYPE varchar(9)",
            "drift",
            "column \"k\" is character varying(9)",
            "ALTER TABLE public.l ALTER COLUMN k TYPE text",
        ),
        (
            "CREATE INDEX i ON public.r (k)",
            "drift",
            "index \"i\" is not on the home shard",
            "DROP INDEX public.i",
        ),
        (
            "ALTER TABLE public.ref DROP CONSTRAINT ref_pkey",
            "drift",
            "constraint \"ref_pkey\" is missing",
            "ALTER TABLE public.ref ADD PRIMARY KEY (a)",
        ),
        (
            "CREATE TABLE public.home (a int)",
            "home_table",
            "public.home on shard s2",
            "DROP TABLE public.home",
        ),
        (
            "CREATE TABLE public.stray (a int)",
            "stray_table",
            "public.stray",
            "DROP TABLE public.stray",
        ),
        (
            "DROP TABLE public.r",
            "table_missing",
            "public.r on shard s2",
            "CREATE TABLE public.r (k date NOT NULL)",
        ),
        (
            "UPDATE shardgate.identity SET shard_id = 7",
            "identity",
            "shard s2",
            "UPDATE shardgate.identity SET shard_id = 2",
        ),
        (
            "CREATE OR REPLACE VIEW public.seen AS SELECT k FROM public.h WHERE k <> 1",
            "view_differs",
            "public.seen on shard s2",
            "CREATE OR REPLACE VIEW public.seen AS SELECT k FROM public.h",
        ),
        (
            "SELECT 1",
            "roles_missing",
            "only_home",
            "CREATE ROLE only_home",
        ),
    ] {
        shard.batch_execute(broken).await.unwrap();
        let found = codes(&mut cluster.home).await;
        assert!(
            found
                .iter()
                .any(|(c, text)| *c == code && text.contains(words)),
            "{broken}: {found:?}"
        );
        if !repaired.is_empty() {
            shard.batch_execute(repaired).await.unwrap();
            let left = codes(&mut cluster.home).await;
            assert!(
                !left
                    .iter()
                    .any(|(c, text)| *c == code && text.contains(words)),
                "{repaired}: {left:?}"
            );
        }
    }
    cluster
        .home
        .batch_execute("CREATE TABLE public.copied (LIKE public.h INCLUDING ALL)")
        .await
        .unwrap();
    assert!(
        codes(&mut cluster.home)
            .await
            .iter()
            .any(|(code, text)| *code == "guard_copied" && text.contains("public.copied"))
    );
    cluster.servers[1].stop();
    assert_eq!(
        codes(&mut cluster.home)
            .await
            .iter()
            .map(|(code, _)| *code)
            .collect::<Vec<_>>(),
        ["guard_copied", "unreachable"]
    );
}
