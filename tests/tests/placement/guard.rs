//! Writes past the router: a shard refuses a row that is not its own, by the constraint `shardgate_owns`.

use crate::keys::TABLES;
use anyhow::{Context, Result, ensure};
use shardgate_tests::{Running, Session};

/// A row of each shard cannot be inserted on, or moved to, another one; nor can one without a key.
pub async fn hash_tables_refuse_strangers(running: &Running) -> Result<()> {
    for table in TABLES {
        refuses_strangers(running, table.name, table.key_type).await?;
    }
    println!("{} tables refuse rows of other shards", TABLES.len());
    Ok(())
}

/// For one table that has rows on every shard.
pub async fn refuses_strangers(running: &Running, table: &str, key_type: &str) -> Result<()> {
    let count = running.cluster.shards.len();
    for index in 0..count {
        let owner = running.connect_shard(index).await?;
        let sql = format!("SELECT quote_literal(k::text) FROM {table} WHERE k IS NOT NULL LIMIT 1");
        let row = owner.query_one(&sql, &[]).await.context(sql)?;
        let key = format!("{}::{key_type}", row.get::<_, String>(0));
        let other = running.connect_shard((index + 1) % count).await?;
        let insert =
            |key: &str| format!("INSERT INTO {table} (k, src, n) VALUES ({key}, 'stranger', 0)");
        refused(&other, &insert(&key)).await?;
        refused(&other, &format!("UPDATE {table} SET k = {key}")).await?;
        refused(&other, &insert("NULL")).await?;
        // Rows that logical replication applies were checked where they came from.
        let apply = format!(
            "BEGIN; SET LOCAL session_replication_role = 'replica'; {}; ROLLBACK",
            insert(&key)
        );
        other.batch_execute(&apply).await.context(apply)?;
    }
    Ok(())
}

async fn refused(shard: &Session, sql: &str) -> Result<()> {
    let error = shard.batch_execute(sql).await.err();
    let error = error.with_context(|| format!("{sql} was let in"))?;
    let error = error.as_db_error().context("an error of the server")?;
    let by_guard = error.code().code() == "23514" && error.constraint() == Some("shardgate_owns");
    let null_key = sql.contains("NULL") && error.code().code() == "23502";
    ensure!(by_guard || null_key, "{sql}: {error}");
    Ok(())
}
