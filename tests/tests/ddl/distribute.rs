//! The router's functions: how they may be called, and what they make.

use crate::{everywhere_is, nothing_prepared, on_shards, run};
use anyhow::{Context, Result, ensure};
use shardgate_tests::{Running, Session};
use std::collections::BTreeSet;

/// The table is on every shard, with the guard.
async fn is_distributed(running: &Running, table: &str) -> Result<()> {
    let guard = format!(
        "SELECT count(*) FROM pg_constraint WHERE conname = 'shardgate_owns' AND NOT convalidated AND conrelid = '{table}'::regclass"
    );
    everywhere_is(running, &guard, "1").await
}

/// All of them distribute `{}` by `k`.
const CALLS: &[&str] = &[
    "SELECT create_distributed_table('{}', 'k')",
    "select CREATE_DISTRIBUTED_TABLE ( '{}' , 'k' , 'hash' ) ;",
    "SELECT shardgate.create_distributed_table('{}', 'k')",
    "SELECT create_distributed_table('public.{}', 'k', buckets => 64)",
    "SELECT create_distributed_table('{}', 'k', 'hash', buckets => 64)",
    "SELECT create_distributed_table('{}', 'k', method => 'hash', buckets => 128)",
    "SELECT create_distributed_table('{}', 'k', colocate_with => 'made_0_simple')",
    "SELECT create_distributed_table('{}'::regclass, 'k'::text) AS done",
    "SELECT create_distributed_table(table_name => '{}', distribution_column => 'k', shard_count => 32)",
];

/// By both protocols, with names, casts and parameters.
pub async fn forms(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for (number, call) in CALLS.iter().enumerate() {
        for protocol in ["simple", "extended"] {
            let table = format!("made_{number}_{protocol}");
            run(
                &router,
                &format!("CREATE TABLE {table} (k bigint PRIMARY KEY, v text)"),
            )
            .await?;
            let sql = call.replace("{}", &table);
            match protocol {
                "simple" => run(&router, &sql).await?,
                _ => {
                    let rows = router.query(&sql, &[]).await.with_context(|| sql.clone())?;
                    ensure!(rows.len() == 1 && rows[0].len() == 1, "{sql} gave {rows:?}");
                }
            }
            is_distributed(running, &table)
                .await
                .with_context(|| sql.clone())?;
            works(&router, running, &table).await.with_context(|| sql)?;
        }
    }
    run(&router, "CREATE TABLE by_parameters (k bigint, v text)").await?;
    let call = "SELECT create_distributed_table($1::text, $2::text)";
    router
        .query(call, &[&"by_parameters", &"k"])
        .await
        .context(call)?;
    is_distributed(running, "by_parameters").await?;
    run(
        &router,
        "CREATE TABLE \"Odd name\" (\"The key\" bigint, v text)",
    )
    .await?;
    run(
        &router,
        "SELECT create_distributed_table('\"Odd name\"', 'The key')",
    )
    .await?;
    is_distributed(running, "\"Odd name\"").await?;
    run(&router, "INSERT INTO \"Odd name\" VALUES (5, 'five')").await?;
    nothing_prepared(running).await?;
    println!("{} forms of the call", 2 * CALLS.len() + 2);
    Ok(())
}

/// Rows go to both shards and come back, in the session that made the table and in another one.
async fn works(router: &Session, running: &Running, table: &str) -> Result<()> {
    for k in 1..=16 {
        run(router, &format!("INSERT INTO {table} VALUES ({k}, 'v{k}')")).await?;
    }
    let counts = on_shards(running, &format!("SELECT count(*) FROM {table}")).await?;
    let counts: Vec<u32> = counts
        .iter()
        .flatten()
        .filter_map(|text| text.parse().ok())
        .collect();
    ensure!(
        counts.iter().all(|count| *count > 0) && counts.iter().sum::<u32>() == 16,
        "{table}: {counts:?}"
    );
    let other = running.connect().await?;
    let row = other
        .query_one(&format!("SELECT v FROM {table} WHERE k = 7"), &[])
        .await?;
    ensure!(row.get::<_, String>(0) == "v7", "{table}: another row");
    Ok(())
}

/// Co-location, ranges on the shards in order, one range on home without bounds.
pub async fn maps(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let home = running.connect_shard(0).await?;
    let of = async |table: &str| -> Result<i32> {
        let sql = "SELECT distribution_id FROM shardgate.distributed_table WHERE relation = $1::text::regclass";
        Ok(home
            .query_one(sql, &[&table])
            .await
            .with_context(|| table.to_owned())?
            .get(0))
    };
    ensure!(
        of("made_0_simple").await? == of("made_1_simple").await?,
        "equal hash distributions are not co-located"
    );
    ensure!(
        of("made_0_simple").await? == of("made_6_extended").await?,
        "colocate_with has no effect"
    );
    ensure!(
        of("made_3_simple").await? == of("made_4_extended").await?,
        "equal numbers of buckets are not co-located"
    );
    ensure!(
        of("made_0_simple").await? != of("made_3_simple").await?,
        "different numbers of buckets are co-located"
    );
    for table in ["ranged", "whole"] {
        run(&router, &format!("CREATE TABLE {table} (k int, v text)")).await?;
    }
    run(
        &router,
        "SELECT create_distributed_table('ranged', 'k', 'range', bounds => ARRAY[100])",
    )
    .await?;
    run(
        &router,
        "SELECT create_distributed_table('whole', 'k', method => 'range')",
    )
    .await?;
    for k in [99, 100] {
        run(&router, &format!("INSERT INTO ranged VALUES ({k}, 'x')")).await?;
        run(&router, &format!("INSERT INTO whole VALUES ({k}, 'x')")).await?;
    }
    let found = on_shards(
        running,
        "SELECT string_agg(k::text, ' ' ORDER BY k) FROM ranged",
    )
    .await?;
    ensure!(
        found == [Some("99".to_owned()), Some("100".to_owned())],
        "{found:?}"
    );
    let found = on_shards(running, "SELECT count(*) FROM whole").await?;
    ensure!(
        found == [Some("2".to_owned()), Some("0".to_owned())],
        "{found:?}"
    );
    Ok(())
}

/// Reference tables are everywhere, an undistributed one is home's again.
pub async fn references_and_back(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for (table, protocol) in [("ref_a", "simple"), ("ref_b", "extended")] {
        run(
            &router,
            &format!("CREATE TABLE {table} (code text PRIMARY KEY)"),
        )
        .await?;
        let call = format!("SELECT create_reference_table('{table}')");
        match protocol {
            "simple" => run(&router, &call).await?,
            _ => ensure!(
                router.query(&call, &[]).await.context(call)?.len() == 1,
                "no row"
            ),
        }
        everywhere_is(running, &format!("SELECT to_regclass('{table}')"), table).await?;
        ensure!(
            router
                .query(&format!("SELECT * FROM {table}"), &[])
                .await?
                .is_empty(),
            "rows"
        );
    }
    for (table, protocol) in [("back_a", "simple"), ("back_b", "extended")] {
        run(
            &router,
            &format!("CREATE TABLE {table} (k bigint PRIMARY KEY)"),
        )
        .await?;
        run(
            &router,
            &format!("SELECT create_distributed_table('{table}', 'k')"),
        )
        .await?;
        let call = format!("SELECT undistribute_table('{table}')");
        match protocol {
            "simple" => run(&router, &call).await?,
            _ => ensure!(
                router.query(&call, &[]).await.context(call)?.len() == 1,
                "no row"
            ),
        }
        let where_it_is = on_shards(running, &format!("SELECT to_regclass('{table}')")).await?;
        ensure!(
            where_it_is == [Some(table.to_owned()), None]
                || where_it_is == [Some(table.to_owned()), Some(String::new())],
            "{where_it_is:?}"
        );
        let guards = format!(
            "SELECT count(*) FROM pg_constraint WHERE conname = 'shardgate_owns' AND conrelid = to_regclass('{table}')"
        );
        everywhere_is(running, &guards, "0").await?;
        for k in 1..=16 {
            run(&router, &format!("INSERT INTO {table} VALUES ({k})")).await?;
        }
        let count: i64 = router
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await?
            .get(0);
        ensure!(count == 16, "{table} has {count} rows");
    }
    nothing_prepared(running).await
}

/// Numbers of a sequence are unique over the shards, or the statement that would draw one is refused.
pub async fn serials(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for column in ["bigserial", "bigint GENERATED BY DEFAULT AS IDENTITY"] {
        run(
            &router,
            &format!("CREATE TABLE numbered (k bigint, id {column})"),
        )
        .await?;
        if router
            .simple_query("SELECT create_distributed_table('numbered', 'k')")
            .await
            .is_ok()
        {
            let mut drawn = BTreeSet::new();
            for k in 1..=16i64 {
                match router
                    .query_one("INSERT INTO numbered (k) VALUES ($1) RETURNING id", &[&k])
                    .await
                {
                    Ok(row) => ensure!(
                        drawn.insert(row.get::<_, i64>(0)),
                        "a number is given twice: {row:?}"
                    ),
                    Err(error) => ensure!(
                        error.code().is_some_and(|code| code.code() == "0A000"),
                        "{error:?}"
                    ),
                }
            }
            println!("{column}: {} numbers drawn", drawn.len());
            run(&router, "INSERT INTO numbered VALUES (1, 1000)").await?;
        }
        run(&router, "DROP TABLE numbered").await?;
        everywhere_is(
            running,
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'numbered%'",
            "0",
        )
        .await?;
    }
    Ok(())
}

/// A router that starts again knows what was made.
pub async fn after_a_restart(running: &mut Running) -> Result<()> {
    tokio::task::block_in_place(|| running.restart_router())?;
    let router = running.connect().await?;
    let row = router
        .query_one("SELECT v FROM made_0_simple WHERE k = $1", &[&7i64])
        .await?;
    ensure!(row.get::<_, String>(0) == "v7", "another row");
    let unbound = router
        .query("SELECT * FROM made_0_simple FOR UPDATE", &[])
        .await;
    ensure!(unbound.is_err(), "the table is taken for a home table");
    Ok(())
}
