//! Distributing a table, or making it a reference table: used by the SQL functions and by `shard-admin` alike.
//!
//! Only empty tables for now. Each operation is one change: checks under an ACCESS EXCLUSIVE lock on the home shard,
//! the table made in a prepared transaction on each other shard, the catalog's rows and the next epoch on
//! the home shard, whose commit decides.

use crate::choose::choose;
use crate::connect::Backend;
use crate::dependent_views;
use crate::distribution::Known;
use crate::error::{CatalogError, PgError};
use crate::guard;
use crate::quote::{ident, qualified};
use crate::raw::RawTable;
use crate::shard::ShardRow;
use crate::table::{Table, TableColumn};
use crate::table_checks::{self, Target};
use crate::table_ddl;
use crate::temporary_code;
use crate::view_copies;
use crate::work::{self, Work, write_down};
use shardgate_shard_map::ShardId;

/// What `create_distributed_table` was asked for.
#[derive(Clone, Debug, Default)]
pub struct DistributeRequest {
    /// As in SQL: `users`, `public.users`, `"Users"`.
    pub relation: String,
    pub column: String,
    /// `hash` (the default), `range` or `list`.
    pub method: Option<String>,
    /// A table whose distribution is joined; `default`; or `none` for a distribution of its own.
    pub colocate_with: Option<String>,
    /// A distribution that is joined, by its name.
    pub distribution: Option<String>,
    pub buckets: Option<u32>,
    pub bounds: Option<Vec<String>>,
    /// `value` or `value=shard`, for lists.
    pub values: Option<Vec<(String, Option<String>)>>,
    /// For lists: the shard of all other values.
    pub default_shard: Option<String>,
    pub role: Caller,
}

/// In whose name an operation runs.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The role that must own the table; None: the administrator, who needs no other right than the connection's.
    pub role: Option<String>,
    /// The session's search_path; None: the role's default.
    pub search_path: Option<Vec<String>>,
}

/// Distributes an empty table.
///
/// # Errors
/// 0A000 with the reason and the way out for what cannot be distributed; 42501 for a role that does not own the table;
/// 42P01, 42703 for names; 42710 if it is not a home table; 55000 for a shard that cannot prepare transactions; 55P03
/// if the table is in use; `Unconfirmed` if it is done and a shard has not said so.
pub async fn distribute_table(
    home: &mut Backend,
    request: &DistributeRequest,
) -> Result<(), CatalogError> {
    work::change(home, async |work| {
        let (table, known, key) = plan_distribution(work, request).await?;
        distribute(work, &table, &known, &key).await?;
        Ok(format!("distribute {} by {}", table.display(), key.name))
    })
    .await
}

/// Copies an empty table to every shard, where all of its rows will be.
///
/// # Errors
/// As for `distribute_table`.
pub async fn reference_table(
    home: &mut Backend,
    relation: &str,
    caller: &Caller,
) -> Result<(), CatalogError> {
    work::change(home, async |work| reference(work, relation, caller).await).await
}

/// Finds and locks the table, checks it, and finds or makes its distribution.
async fn plan_distribution(
    work: &mut Work<'_>,
    request: &DistributeRequest,
) -> Result<(Table, Known, TableColumn), CatalogError> {
    let (table, others) = lock_home_table(work, &request.relation, &request.role).await?;
    let key = table_checks::check_key(&table, &request.column)?.clone();
    let known = choose(work, request, &table, &key).await?;
    work.refuse_moving(known.id).await?;
    let target = Target::Distributed {
        distribution: u32::try_from(known.id).unwrap_or_default(),
        key: key.attnum,
    };
    table_checks::check_table(&work.tx, &work.whom, &table, target, &others).await?;
    require_empty(work, &table).await?;
    Ok((table, known, key))
}

/// A home table, under a lock that keeps everybody else out.
async fn lock_home_table(
    work: &Work<'_>,
    relation: &str,
    caller: &Caller,
) -> Result<(Table, Vec<RawTable>), CatalogError> {
    let (found, others) = work.lock(relation, caller).await?;
    temporary_code::refuse(&work.tx, &work.whom).await?;
    if let Some(known) = others.iter().find(|other| other.relation == found.oid) {
        let what = if known.kind == "reference" {
            "a reference table"
        } else {
            "distributed"
        };
        return Err(PgError::new(
            "42710",
            format!("table \"{}\" is already {what}", found.display()),
        )
        .into());
    }
    let table = Table::read(&work.tx, &work.whom, found.oid).await?;
    table_checks::check_kind(&table)?;
    Ok((table, others))
}

async fn require_empty(work: &Work<'_>, table: &Table) -> Result<(), CatalogError> {
    if !has_rows(&work.tx, table)
        .await
        .map_err(|error| work.err(&error))?
    {
        return Ok(());
    }
    Err(PgError::new("0A000", format!("table \"{}\" is not empty", table.display()))
        .detail("Tables with rows cannot be distributed yet.")
        .hint("Distribute a new empty table with the same definition and insert the rows into it through the router.")
        .into())
}

async fn has_rows(
    client: &impl tokio_postgres::GenericClient,
    table: &Table,
) -> Result<bool, tokio_postgres::Error> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {})",
        qualified(&table.schema, &table.name)
    );
    Ok(client.query_one(&sql, &[]).await?.get(0))
}

/// Makes the table on the other shards and puts the guard on all.
async fn distribute(
    work: &mut Work<'_>,
    table: &Table,
    known: &Known,
    key: &TableColumn,
) -> Result<(), CatalogError> {
    let mut copied = table.clone();
    for column in copied
        .columns
        .iter_mut()
        .filter(|column| column.attnum == key.attnum)
    {
        column.not_null = true;
    }
    let name = qualified(&table.schema, &table.name);
    let add_guard = |shard: i16| {
        let shard = ShardId(u16::try_from(shard).unwrap_or_default());
        format!(
            "ALTER TABLE {name} {}",
            guard::add(&known.map, &key.name, shard)
        )
    };
    copy_to_shards(work, &copied, |shard| vec![add_guard(shard.id)]).await?;
    let home = work
        .shards
        .iter()
        .find(|shard| shard.home)
        .map(|shard| shard.id)
        .unwrap_or_default();
    if !key.not_null {
        work.run(&format!(
            "ALTER TABLE {name} ALTER COLUMN {} SET NOT NULL",
            ident(&key.name)
        ))
        .await?;
    }
    work.run(&add_guard(home)).await?;
    work.tx
        .execute(
            "INSERT INTO shardgate.distributed_table (relation, kind, distribution_id, key_attnum) \
             VALUES ($1::oid::regclass, 'distributed', $2, $3)",
            &[&table.oid, &known.id, &key.attnum],
        )
        .await
        .map_err(|error| work.err(&error))?;
    Ok(())
}

async fn reference(
    work: &mut Work<'_>,
    relation: &str,
    caller: &Caller,
) -> Result<String, CatalogError> {
    let (table, others) = lock_home_table(work, relation, caller).await?;
    table_checks::check_table(&work.tx, &work.whom, &table, Target::Reference, &others).await?;
    require_empty(work, &table).await?;
    copy_to_shards(work, &table, |_| Vec::new()).await?;
    work.tx
        .execute(
            "INSERT INTO shardgate.distributed_table (relation, kind) VALUES ($1::oid::regclass, 'reference')",
            &[&table.oid],
        )
        .await
        .map_err(|error| work.err(&error))?;
    Ok(format!("reference table {}", table.display()))
}

/// Makes the table on every shard but home and prepares. `more` is run there at the end.
async fn copy_to_shards(
    work: &mut Work<'_>,
    table: &Table,
    more: impl Fn(&ShardRow) -> Vec<String>,
) -> Result<(), CatalogError> {
    let next = work.next.clone();
    let display = table.display();
    let others = work.spread_tables().await?;
    let (views, made) = dependent_views::create(&work.tx, &work.whom, table.oid, &others).await?;
    view_copies::write_down(&work.tx, &made, None)
        .await
        .map_err(|error| work.err(&error))?;
    let prepared = work
        .change()
        .await?
        .prepare(|shard| {
            let mut sql = table_ddl::schema(table);
            sql.extend(table_ddl::create(table));
            sql.extend(more(shard));
            sql.extend(views.iter().cloned());
            sql.push(write_down(&next));
            sql
        })
        .await;
    prepared.map_err(|error| match error {
        CatalogError::Postgres { whom, error } if error.sqlstate == "42P07" => PgError::new(
            "42P07",
            format!("{whom}: {}", error.message),
        )
        .detail(format!(
            "Table \"{display}\" is a home table, and none of its name may exist on another shard."
        ))
        .hint("Drop what is left there by hand if it is not needed.")
        .into(),
        other => other,
    })
}
