//! What a new shard gets before it is one: the definitions of all tables that are not home tables, with guards that let
//! nothing in, the rows of reference tables, and the views that every shard has.
//!
//! All of it is made in one transaction there, under locks on the home shard that keep definitions and reference rows as
//! they are until the new epoch is committed. What was planned before that, and writes later, is seen to by `level`.

use crate::connect::Backend;
use crate::dependent_views;
use crate::distribution;
use crate::error::{CatalogError, PgError};
use crate::guard;
use crate::quote::qualified;
use crate::raw::RawTable;
use crate::shard::ShardRow;
use crate::shard_objects;
use crate::table::Table;
use crate::table_ddl;
use futures_util::{SinkExt, StreamExt, pin_mut};
use shardgate_shard_map::ShardId;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{GenericClient, Transaction};

/// How long a transaction that was planned before the shard was there may take to end.
const OLD_TRANSACTIONS: Duration = Duration::from_secs(10);

/// What could not be made there.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub warnings: Vec<String>,
    /// Views that other shards have and this one has not.
    pub views: Vec<u32>,
}

/// Keeps the tables as they are until the transaction ends, and reference tables free of writes.
pub(crate) async fn lock(
    tx: &Transaction<'_>,
    whom: &str,
    tables: &[RawTable],
) -> Result<Vec<Table>, CatalogError> {
    let mut all = Vec::new();
    for raw in tables {
        let table = Table::read(tx, whom, raw.relation).await?;
        let mode = match raw.kind.as_str() {
            "reference" => "SHARE",
            _ => "ACCESS SHARE",
        };
        let name = qualified(&table.schema, &table.name);
        tx.batch_execute(&format!("LOCK TABLE {name} IN {mode} MODE"))
            .await
            .map_err(|error| CatalogError::of(whom, &error))?;
        // It may have changed while the lock was waited for.
        all.push(Table::read(tx, whom, raw.relation).await?);
    }
    Ok(all)
}

/// Fills the shard in its open transaction.
pub(crate) async fn fill(
    tx: &Transaction<'_>,
    whom: &str,
    shard: &Backend,
    new: ShardId,
    known: &[ShardRow],
    tables: &[RawTable],
) -> Result<Left, CatalogError> {
    let mut left = Left {
        warnings: shard_objects::copy(tx, whom, shard).await?,
        ..Left::default()
    };
    let definitions = lock(tx, whom, tables).await?;
    for (raw, table) in tables.iter().zip(&definitions) {
        make_table(tx, whom, shard, new, known, raw, table).await?;
    }
    // Only now all tables are there that a foreign key may refer to.
    for sql in definitions.iter().flat_map(table_ddl::foreign_keys) {
        shard.run(&sql).await?;
    }
    let everywhere = tx
        .query("SELECT view::oid FROM shardgate.view_copy", &[])
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    let everywhere: BTreeSet<u32> = everywhere.iter().map(|row| row.get(0)).collect();
    let mut missing = everywhere.clone();
    for view in dependent_views::create_all(tx, whom, tables, &everywhere).await? {
        match shard_objects::attempt(shard, &view.statements).await? {
            None => {
                missing.remove(&view.oid);
            }
            Some(why) => {
                let text = format!("view {} could not be made there: {why}", view.name);
                left.warnings.push(text);
            }
        }
    }
    left.views = missing.into_iter().collect();
    Ok(left)
}

async fn make_table(
    tx: &Transaction<'_>,
    whom: &str,
    shard: &Backend,
    new: ShardId,
    known: &[ShardRow],
    raw: &RawTable,
    table: &Table,
) -> Result<(), CatalogError> {
    let mut bare = table.clone();
    bare.foreign_keys.clear();
    let mut statements = table_ddl::schema(table);
    statements.extend(table_ddl::create(&bare));
    if let (Some(distribution), Some(key)) = (raw.distribution, raw.key_attnum) {
        let condition = format!("id = {distribution}");
        let found = distribution::find(tx, whom, &condition, known).await?;
        let column = table.column(key);
        let (Some(found), Some(column)) = (found, column) else {
            let what = format!(
                "the distribution or key of table {} is missing",
                table.display()
            );
            return Err(CatalogError::Damaged { what });
        };
        statements.push(format!(
            "ALTER TABLE {} {}",
            qualified(&table.schema, &table.name),
            guard::add(&found.map, &column.name, new)
        ));
    }
    for sql in statements {
        shard.run(&sql).await.map_err(|error| match error {
            CatalogError::Postgres { whom, error } if error.sqlstate == "42P07" => {
                PgError::new("42P07", format!("{whom}: {}", error.message))
                    .detail("The new shard gets all distributed and reference tables, and one of this name is there already.")
                    .hint("Drop what is left there by hand if it is not needed.")
                    .into()
            }
            other => other,
        })?;
    }
    if raw.kind == "reference" {
        copy_rows(tx, whom, shard, table).await?;
    }
    Ok(())
}

/// All rows of a table of the home shard, as text: settings of both connections are the same.
async fn copy_rows(
    tx: &Transaction<'_>,
    whom: &str,
    shard: &Backend,
    table: &Table,
) -> Result<(), CatalogError> {
    let name = qualified(&table.schema, &table.name);
    let here = |error| CatalogError::of(whom, &error);
    let there = |error| CatalogError::of(shard.whom(), &error);
    let rows = tx
        .copy_out(&format!("COPY {name} TO STDOUT"))
        .await
        .map_err(here)?;
    let sink = shard
        .copy_in(&format!("COPY {name} FROM STDIN"))
        .await
        .map_err(there)?;
    pin_mut!(rows, sink);
    while let Some(chunk) = rows.next().await {
        sink.send(chunk.map_err(here)?).await.map_err(there)?;
    }
    sink.finish().await.map_err(there)?;
    Ok(())
}

/// Once every router knows the shard: what was planned before that is waited for, and then the reference tables are
/// compared under a lock; one that differs is copied again. Answers what is left to do by hand.
pub(crate) async fn level(
    home: &mut Backend,
    row: &ShardRow,
    tables: &[RawTable],
) -> Result<Vec<String>, CatalogError> {
    let mut warnings = Vec::new();
    let reference: Vec<RawTable> = tables
        .iter()
        .filter(|table| table.kind == "reference")
        .cloned()
        .collect();
    if reference.is_empty() {
        return Ok(warnings);
    }
    if !old_transactions_ended(home).await? {
        warnings.push(format!(
            "transactions older than the shard have been open for {} s: if one of them writes a reference table, the shard \
             lacks it (compare with \"shard-admin check\")",
            OLD_TRANSACTIONS.as_secs()
        ));
    }
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let shard = row.connect().await?;
    let tx = home.transaction().await.map_err(err)?;
    let definitions = lock(&tx, &whom, &reference).await?;
    for table in &definitions {
        shard
            .run("BEGIN; SET LOCAL synchronous_commit = on")
            .await?;
        let name = qualified(&table.schema, &table.name);
        // Waits for what is prepared there as well.
        shard
            .run(&format!("LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))
            .await?;
        let (here, there) = (
            sum(&tx, table).await.map_err(err)?,
            sum(&*shard, table).await,
        );
        if here != there.map_err(|error| shard.err(&error))? {
            // Foreign keys of distributed tables refer to nothing yet, and the rows are whole again at the end.
            shard
                .run(&format!(
                    "SET LOCAL session_replication_role = replica; DELETE FROM {name}"
                ))
                .await?;
            copy_rows(&tx, &whom, &shard, table).await?;
        }
        shard.run("COMMIT").await?;
    }
    tx.rollback().await.map_err(err)?;
    Ok(warnings)
}

/// The number of rows and two sums of hashes of them.
async fn sum(
    client: &impl GenericClient,
    table: &Table,
) -> Result<(i64, String), tokio_postgres::Error> {
    let columns = table.columns.iter().filter(|column| !column.dropped);
    let list: Vec<String> = columns
        .map(|column| crate::quote::ident(&column.name))
        .collect();
    let sql = format!(
        "SELECT count(*), concat_ws(' ', sum(hashtextextended(x, 0)), sum(hashtextextended(x, 1))) \
         FROM (SELECT ROW({})::text COLLATE \"C\" AS x FROM {} OFFSET 0) AS r",
        list.join(", "),
        qualified(&table.schema, &table.name)
    );
    let row = client.query_one(&sql, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Waits until no client's transaction is open that began before now. False: the time is over.
async fn old_transactions_ended(home: &Backend) -> Result<bool, CatalogError> {
    let err = |error| home.err(&error);
    let row = home
        .query_one("SELECT clock_timestamp()::text", &[])
        .await
        .map_err(err)?;
    let now: String = row.get(0);
    let until = Instant::now() + OLD_TRANSACTIONS;
    loop {
        let row = home
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                 AND backend_type = 'client backend' AND xact_start < $1::text::timestamptz AND backend_xid IS NOT NULL)",
                &[&now],
            )
            .await
            .map_err(err)?;
        if !row.get::<_, bool>(0) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
