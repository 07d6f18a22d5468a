//! Distributing a table, making it a reference table, and taking either back: used by the SQL functions and by
//! `shard-admin` alike.
//!
//! Only empty tables for now. Each operation is one change: checks under an ACCESS EXCLUSIVE lock on the home shard,
//! the table made (or dropped) in a prepared transaction on each other shard, the catalog's rows and the next epoch on
//! the home shard, whose commit decides.

use crate::connect::Backend;
use crate::dependent_views;
use crate::distribution::{self, BUCKETS, Known, NewDistribution, NewMethod, Purpose};
use crate::epoch::{self, Next};
use crate::error::{CatalogError, PgError};
use crate::guard::{self, GUARD};
use crate::key_text;
use crate::load_catalog;
use crate::quote::{ident, qualified};
use crate::raw::RawTable;
use crate::recover::recover_before;
use crate::resolve::{self, Relation};
use crate::shard::{self, ShardRow};
use crate::table::{Table, TableColumn};
use crate::table_checks::{self, Target};
use crate::table_ddl;
use crate::two_phase::Change;
use shardgate_shard_map::{ShardId, ShardMap};
use tokio_postgres::Transaction;

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
pub async fn distribute_table(home: &mut Backend, request: &DistributeRequest) -> Result<(), CatalogError> {
    recover_before(home).await?;
    let mut work = Work::begin(home).await?;
    let planned = plan_distribution(&mut work, request).await;
    let (table, known, key) = work.or_abandon(planned).await?;
    let note = format!("distribute {} by {}", table.display(), key.name);
    let done = distribute(&mut work, &table, &known, &key).await;
    work.or_abandon(done).await?;
    work.commit(&note).await
}

/// Copies an empty table to every shard, where all of its rows will be.
///
/// # Errors
/// As for `distribute_table`.
pub async fn reference_table(home: &mut Backend, relation: &str, caller: &Caller) -> Result<(), CatalogError> {
    recover_before(home).await?;
    let mut work = Work::begin(home).await?;
    let done = reference(&mut work, relation, caller).await;
    let note = work.or_abandon(done).await?;
    work.commit(&note).await
}

/// Makes a distributed or reference table a home table again. The copies on other shards are dropped.
///
/// # Errors
/// 0A000 while another shard has rows that home has not, or while foreign keys tie it to tables that stay.
pub async fn undistribute_table(home: &mut Backend, relation: &str, caller: &Caller) -> Result<(), CatalogError> {
    recover_before(home).await?;
    let mut work = Work::begin(home).await?;
    let done = undistribute(&mut work, relation, caller).await;
    let note = work.or_abandon(done).await?;
    work.commit(&note).await
}

/// One change under way.
struct Work<'a> {
    tx: Transaction<'a>,
    next: Next,
    whom: String,
    shards: Vec<ShardRow>,
    change: Option<Change>,
}

impl<'a> Work<'a> {
    async fn begin(home: &'a mut Backend) -> Result<Work<'a>, CatalogError> {
        let whom = home.whom().to_owned();
        let base = home.config().clone();
        let (tx, next) = epoch::begin_change(home).await?;
        let shards = shard::all(&tx, &base, &whom).await?;
        Ok(Work { tx, next, whom, shards, change: None })
    }

    fn err(&self, error: &tokio_postgres::Error) -> CatalogError {
        CatalogError::of(&self.whom, error)
    }

    async fn run(&self, sql: &str) -> Result<(), CatalogError> {
        self.tx.batch_execute(sql).await.map_err(|error| self.err(&error))
    }

    /// Opens the other shards once the checks have passed.
    async fn change(&mut self) -> Result<&mut Change, CatalogError> {
        if self.change.is_none() {
            self.change = Some(Change::open(&self.tx, &self.whom, &self.shards).await?);
        }
        self.change.as_mut().ok_or(CatalogError::Stopped)
    }

    /// Passes a result on, and takes back what was prepared if it is an error.
    async fn or_abandon<T>(&mut self, result: Result<T, CatalogError>) -> Result<T, CatalogError> {
        // The home shard's own transaction must end first: nobody may see it decide afterwards.
        if result.is_err()
            && self.run("ROLLBACK").await.is_ok()
            && let Some(change) = self.change.take()
        {
            change.abandon().await;
        }
        result
    }

    async fn commit(self, note: &str) -> Result<(), CatalogError> {
        let Work { tx, next, whom, change, .. } = self;
        let decided = async {
            epoch::finish(&tx, &next, note).await?;
            if let Some(change) = &change {
                change.decide(&tx).await?;
            }
            tx.commit().await
        };
        match decided.await {
            Ok(()) => match change {
                Some(change) => change.finish().await,
                None => Ok(()),
            },
            Err(error) => {
                // Raised by Postgres: it did not commit. Anything else leaves that open, and recovery finds out.
                if let (Some(change), Some(_)) = (change, error.as_db_error()) {
                    change.abandon().await;
                }
                Err(CatalogError::of(&whom, &error))
            }
        }
    }
}

/// Finds and locks the table, checks it, and finds or makes its distribution.
async fn plan_distribution(
    work: &mut Work<'_>,
    request: &DistributeRequest,
) -> Result<(Table, Known, TableColumn), CatalogError> {
    let (table, others) = lock_home_table(work, &request.relation, &request.role).await?;
    let key = table_checks::check_key(&table, &request.column)?.clone();
    let known = choose_distribution(work, request, &table, &key).await?;
    let target = Target::Distributed { distribution: u32::try_from(known.id).unwrap_or_default(), key: key.attnum };
    table_checks::check_table(&work.tx, &work.whom, &table, target, &others).await?;
    require_empty(work, &table).await?;
    Ok((table, known, key))
}

/// A home table, under a lock that keeps everybody else out.
async fn lock_home_table(work: &Work<'_>, relation: &str, caller: &Caller) -> Result<(Table, Vec<RawTable>), CatalogError> {
    let found = resolve::owned(&work.tx, &work.whom, relation, caller).await?;
    require_lockable(work, &found).await?;
    let others = load_catalog::tables(&work.tx).await.map_err(|error| work.err(&error))?;
    if let Some(known) = others.iter().find(|other| other.relation == found.oid) {
        let what = if known.kind == "reference" { "a reference table" } else { "distributed" };
        return Err(PgError::new("42710", format!("table \"{}\" is already {what}", found.display())).into());
    }
    let table = Table::read(&work.tx, &work.whom, found.oid).await?;
    table_checks::check_kind(&table)?;
    Ok((table, others))
}

async fn require_lockable(work: &Work<'_>, found: &Relation) -> Result<(), CatalogError> {
    if matches!(found.kind.as_str(), "r" | "p") {
        work.run(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", qualified(&found.schema, &found.name))).await?;
    }
    Ok(())
}

async fn require_empty(work: &Work<'_>, table: &Table) -> Result<(), CatalogError> {
    if !has_rows(&work.tx, table).await.map_err(|error| work.err(&error))? {
        return Ok(());
    }
    Err(PgError::new("0A000", format!("table \"{}\" is not empty", table.display()))
        .detail("Tables with rows cannot be distributed yet.")
        .hint("Distribute a new empty table with the same definition and insert the rows into it through the router.")
        .into())
}

async fn has_rows(client: &impl tokio_postgres::GenericClient, table: &Table) -> Result<bool, tokio_postgres::Error> {
    let sql = format!("SELECT EXISTS (SELECT FROM {})", qualified(&table.schema, &table.name));
    Ok(client.query_one(&sql, &[]).await?.get(0))
}

async fn choose_distribution(
    work: &Work<'_>,
    request: &DistributeRequest,
    table: &Table,
    key: &TableColumn,
) -> Result<Known, CatalogError> {
    let type_name = key.type_name.clone().unwrap_or_default();
    let joined = match (&request.distribution, request.colocate_with.as_deref()) {
        (Some(name), None | Some("default")) => {
            let condition = format!("name = {}", crate::quote::literal(name));
            let found = distribution::find(&work.tx, &work.whom, &condition, &work.shards).await?;
            Some(found.ok_or_else(|| PgError::new("42704", format!("distribution \"{name}\" does not exist")))?)
        }
        (Some(_), Some(_)) => {
            return Err(PgError::new("22023", "a distribution and colocate_with cannot both be given").into());
        }
        (None, None | Some("default" | "none")) => None,
        (None, Some(other)) => Some(distribution_of(work, other, &request.role).await?),
    };
    if let Some(known) = joined {
        check_join(&known, request, key)?;
        return Ok(known);
    }
    let method = new_method(request)?;
    let own = request.colocate_with.as_deref() == Some("none");
    match method {
        NewMethod::Hash { buckets } if !own => {
            distribution::default_hash(&work.tx, &work.whom, &type_name, buckets, &work.shards).await
        }
        method @ (NewMethod::Hash { .. } | NewMethod::Range { .. } | NewMethod::List { .. }) => {
            let name = distribution::free_name(&work.tx, &work.whom, &table.display()).await?;
            let new = NewDistribution { name, key_type: type_name, method };
            distribution::create(&work.tx, &work.whom, &new, Purpose::Table, &work.shards).await
        }
    }
}

async fn distribution_of(work: &Work<'_>, relation: &str, caller: &Caller) -> Result<Known, CatalogError> {
    let other = resolve::visible(&work.tx, &work.whom, relation, caller).await?;
    let condition =
        format!("id = (SELECT distribution_id FROM shardgate.distributed_table WHERE relation::oid = {})", other.oid);
    let found = distribution::find(&work.tx, &work.whom, &condition, &work.shards).await?;
    found.ok_or_else(|| {
        PgError::new("0A000", format!("table \"{}\" is not distributed", other.display()))
            .hint("Name a distributed table in colocate_with.")
            .into()
    })
}

/// Whoever joins a distribution cannot ask for another shape of it.
fn check_join(known: &Known, request: &DistributeRequest, key: &TableColumn) -> Result<(), PgError> {
    let family = key_text::family(known.map.key_type);
    let own = key.type_name.as_deref().and_then(key_text::key_type).map(key_text::family);
    if own != Some(family) {
        return Err(PgError::new(
            "42804",
            format!("column \"{}\" of type {} cannot join a distribution of {family}", key.name, key.type_sql),
        )
        .hint("Co-located tables have sharding keys of one type; integers of any width count as one."));
    }
    let (method, buckets) = shape(&known.map);
    let differs = request.method.as_deref().is_some_and(|asked| !asked.eq_ignore_ascii_case(method))
        || request.buckets.is_some_and(|asked| Some(asked) != buckets)
        || request.bounds.is_some()
        || request.values.is_some()
        || request.default_shard.is_some();
    if differs {
        return Err(PgError::new("22023", format!("distribution \"{}\" has another shape than asked for", known.name))
            .hint("Leave method, buckets, bounds and values out when joining a distribution."));
    }
    Ok(())
}

fn shape(map: &ShardMap) -> (&'static str, Option<u32>) {
    match &map.method {
        shardgate_shard_map::Method::Hash { owners } => ("hash", u32::try_from(owners.len()).ok()),
        shardgate_shard_map::Method::Range { .. } => ("range", None),
        shardgate_shard_map::Method::List { .. } => ("list", None),
    }
}

fn new_method(request: &DistributeRequest) -> Result<NewMethod, PgError> {
    let misplaced = |what: &str, method: &str| {
        Err(PgError::new("22023", format!("{what} cannot be given for a {method} distribution")))
    };
    let method = request.method.clone().unwrap_or_else(|| "hash".to_owned()).to_ascii_lowercase();
    let lists = request.values.is_some() || request.default_shard.is_some();
    match method.as_str() {
        "hash" if request.bounds.is_some() => misplaced("bounds", "hash"),
        "hash" if lists => misplaced("values", "hash"),
        "hash" => Ok(NewMethod::Hash { buckets: request.buckets.unwrap_or(BUCKETS) }),
        "range" | "list" if request.buckets.is_some() => misplaced("buckets", &method),
        "range" if lists => misplaced("values", "range"),
        "range" => Ok(NewMethod::Range { bounds: request.bounds.clone().unwrap_or_default() }),
        "list" if request.bounds.is_some() => misplaced("bounds", "list"),
        "list" => Ok(NewMethod::List {
            values: request.values.clone().unwrap_or_default(),
            default: request.default_shard.clone(),
        }),
        other => Err(PgError::new("22023", format!("unknown distribution method \"{other}\""))
            .hint("The methods are hash, range and list.")),
    }
}

/// Makes the table on the other shards and puts the guard on all.
async fn distribute(work: &mut Work<'_>, table: &Table, known: &Known, key: &TableColumn) -> Result<(), CatalogError> {
    let mut copied = table.clone();
    for column in copied.columns.iter_mut().filter(|column| column.attnum == key.attnum) {
        column.not_null = true;
    }
    let name = qualified(&table.schema, &table.name);
    let add_guard = |shard: i16| {
        let shard = ShardId(u16::try_from(shard).unwrap_or_default());
        format!("ALTER TABLE {name} {}", guard::add(&known.map, &key.name, shard))
    };
    copy_to_shards(work, &copied, |shard| vec![add_guard(shard.id)]).await?;
    let home = work.shards.iter().find(|shard| shard.home).map(|shard| shard.id).unwrap_or_default();
    if !key.not_null {
        work.run(&format!("ALTER TABLE {name} ALTER COLUMN {} SET NOT NULL", ident(&key.name))).await?;
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

async fn reference(work: &mut Work<'_>, relation: &str, caller: &Caller) -> Result<String, CatalogError> {
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
    let others = load_catalog::tables(&work.tx).await.map_err(|error| work.err(&error))?;
    let views = dependent_views::create(&work.tx, &work.whom, table.oid, &others).await?;
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
        CatalogError::Postgres { whom, error } if error.sqlstate == "42P07" => {
            PgError::new("42P07", format!("{whom}: {}", error.message))
                .detail(format!("Table \"{display}\" is a home table, and none of its name may exist on another shard."))
                .hint("Drop what is left there by hand if it is not needed.")
                .into()
        }
        other => other,
    })
}

fn write_down(next: &Next) -> String {
    format!("UPDATE shardgate.identity SET epoch = {}, epoch_id = {}", next.number, crate::quote::literal(&next.id))
}

async fn undistribute(work: &mut Work<'_>, relation: &str, caller: &Caller) -> Result<String, CatalogError> {
    let found = resolve::owned(&work.tx, &work.whom, relation, caller).await?;
    require_lockable(work, &found).await?;
    let others = load_catalog::tables(&work.tx).await.map_err(|error| work.err(&error))?;
    let known = others.iter().find(|other| other.relation == found.oid).cloned();
    let Some(known) = known else {
        return Err(PgError::new("42809", format!("table \"{}\" is a home table", found.display())).into());
    };
    let table = Table::read(&work.tx, &work.whom, found.oid).await?;
    refuse_ties(&table, &others)?;
    let name = qualified(&table.schema, &table.name);
    let distributed = known.kind == "distributed";
    let next = work.next.clone();
    let emptiness = if distributed { vec![refuse_rows(&table)] } else { Vec::new() };
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
        work.run(&format!("ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {GUARD}")).await?;
    }
    work.tx
        .execute("DELETE FROM shardgate.distributed_table WHERE relation::oid = $1", &[&table.oid])
        .await
        .map_err(|error| work.err(&error))?;
    drop_unused_distribution(work, &known).await?;
    Ok(format!("undistribute {}", table.display()))
}

/// A distribution that was made for this table alone goes with it; one with a name that somebody gave stays, and so
/// does the default for its type.
async fn drop_unused_distribution(work: &Work<'_>, known: &RawTable) -> Result<(), CatalogError> {
    let Some(id) = known.distribution.and_then(|id| i32::try_from(id).ok()) else { return Ok(()) };
    work.tx
        .execute(
            "DELETE FROM shardgate.distribution d WHERE id = $1 AND NOT by_default AND for_table \
             AND NOT EXISTS (SELECT FROM shardgate.distributed_table t WHERE t.distribution_id = d.id)",
            &[&id],
        )
        .await
        .map_err(|error| work.err(&error))?;
    Ok(())
}

/// A foreign key between this table and another that is not a home table would have rows on one side only.
fn refuse_ties(table: &Table, others: &[RawTable]) -> Result<(), PgError> {
    let tie = table
        .foreign_keys
        .iter()
        .find(|key| key.other != table.oid && others.iter().any(|other| other.relation == key.other && !(key.outgoing && other.kind == "reference")));
    match tie {
        None => Ok(()),
        Some(key) => Err(PgError::new(
            "0A000",
            format!("foreign key \"{}\" ties table \"{}\" to {}", key.name, table.display(), key.other_name),
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
        crate::quote::literal(&message)
    )
}
