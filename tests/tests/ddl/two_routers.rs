//! A change through one router is known to the other when the client learns that it is done.

use anyhow::{Context, Result, ensure};
use shard_admin::cluster::{RouterConfig, RouterProcess, connection_url, router_binary};
use shardgate_tests::{Running, Session};

/// How often the schema is changed.
const ROUNDS: usize = 8;

pub async fn agree(running: &Running) -> Result<()> {
    let mut config = RouterConfig::new(
        running.cluster.dir.join("second"),
        running.config.home.clone(),
    )?;
    config.name = "router2".to_owned();
    let id = ("SHARDGATE__ROUTER__ID".to_owned(), "2".to_owned());
    config.env.push(id);
    let binary = router_binary()?;
    let router = tokio::task::spawn_blocking(move || {
        RouterProcess::start(&binary, &config).map(|r| (r, config))
    });
    let (second, config) = router.await??;
    let url = connection_url(
        &config.auth.superuser(),
        "127.0.0.1",
        second.port,
        running.database(),
    );
    let (here, there) = (running.connect().await?, Session::open(&url).await?);
    for sql in [
        "CREATE TABLE spread (k bigint PRIMARY KEY, v int)",
        "SELECT create_distributed_table('spread', 'k')",
    ] {
        here.simple_query(sql).await.context(sql)?;
    }
    for round in 0..ROUNDS {
        // By turns, so that each waits for the other.
        let (maker, other) = if round % 2 == 0 {
            (&here, &there)
        } else {
            (&there, &here)
        };
        for (body, code) in [
            ("SELECT count(*) FROM spread", Some("0A000")),
            ("SELECT 1::bigint", None),
        ] {
            let sql = format!(
                "CREATE OR REPLACE FUNCTION changing() RETURNS bigint LANGUAGE sql AS '{body}'"
            );
            maker
                .simple_query(&sql)
                .await
                .with_context(|| format!("round {round}: {sql}"))?;
            let answer = other.simple_query("SELECT changing()").await;
            let found = answer.as_ref().err().and_then(|error| error.code());
            ensure!(
                found.map(|found| found.code()) == code,
                "round {round}, {body}: {answer:?}"
            );
        }
    }
    for sql in ["DROP FUNCTION changing()", "DROP TABLE spread"] {
        here.simple_query(sql).await.context(sql)?;
    }
    Ok(())
}
