//! Making a distributed or reference table a home table again.
//!
//! For now only when the home shard has all of its rows.

use crate::connect::Backend;
use crate::distribute::Caller;
use crate::error::{CatalogError, PgError};
use crate::guard::GUARD;
use crate::quote::{literal, qualified};
use crate::raw::RawTable;
use crate::table::Table;
use crate::work::{self, Work, write_down};

/// Makes a distributed or reference table a home table again. The copies on other shards are dropped.
///
/// # Errors
/// 0A000 while another shard has rows that home has not, or while foreign keys tie it to tables that stay.
pub async fn undistribute_table(
    home: &mut Backend,
    relation: &str,
    caller: &Caller,
) -> Result<(), CatalogError> {
    work::change(home, async |work| {
        undistribute(work, relation, caller).await
    })
    .await
}

async fn undistribute(
    work: &mut Work<'_>,
    relation: &str,
    caller: &Caller,
) -> Result<String, CatalogError> {
    let (found, others) = work.lock(relation, caller).await?;
    let known = others
        .iter()
        .find(|other| other.relation == found.oid)
        .cloned();
    let Some(known) = known else {
        return Err(PgError::new(
            "42809",
            format!("table \"{}\" is a home table", found.display()),
        )
        .into());
    };
    if let Some(distribution) = known.distribution.and_then(|id| i32::try_from(id).ok()) {
        work.refuse_moving(distribution).await?;
    }
    let table = Table::read(&work.tx, &work.whom, found.oid).await?;
    refuse_ties(&table, &others)?;
    let name = qualified(&table.schema, &table.name);
    let distributed = known.kind == "distributed";
    let next = work.next.clone();
    let emptiness = if distributed {
        vec![refuse_rows(&table)]
    } else {
        Vec::new()
    };
    work.change()
        .await?
        .prepare(|_| {
            let mut sql = vec![format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")];
            sql.extend(emptiness.iter().cloned());
            // Views over it are copies of the home shard's, which stay there.
            sql.push(format!("DROP TABLE {name} CASCADE"));
            sql.push(write_down(&next));
            sql
        })
        .await?;
    if distributed {
        work.run(&format!(
            "ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {GUARD}"
        ))
        .await?;
    }
    work.tx
        .execute(
            "DELETE FROM shardgate.distributed_table WHERE relation::oid = $1",
            &[&table.oid],
        )
        .await
        .map_err(|error| work.err(&error))?;
    Ok(format!("undistribute {}", table.display()))
}

/// A foreign key between this table and another that is not a home table would have rows on one side only.
fn refuse_ties(table: &Table, others: &[RawTable]) -> Result<(), PgError> {
    let tie = table.foreign_keys.iter().find(|key| {
        key.other != table.oid
            && others.iter().any(|other| {
                other.relation == key.other && !(key.outgoing && other.kind == "reference")
            })
    });
    match tie {
        None => Ok(()),
        Some(key) => Err(PgError::new(
            "0A000",
            format!(
                "foreign key \"{}\" ties table \"{}\" to {}",
                key.name,
                table.display(),
                key.other_name
            ),
        )
        .hint("Drop the foreign key first, and add it again when both tables are home tables.")),
    }
}

/// A statement that fails if a shard has rows of the table.
fn refuse_rows(table: &Table) -> String {
    let message = format!("table \"{}\" has rows on this shard", table.display());
    format!(
        "DO $shardgate$ BEGIN IF EXISTS (SELECT FROM {}) THEN RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = {}, \
         HINT = 'Delete or move them to the home shard first: tables with rows cannot be undistributed yet.'; END IF; END $shardgate$",
        qualified(&table.schema, &table.name),
        literal(&message)
    )
}
