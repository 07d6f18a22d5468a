//! Shards: adding one, changing its hosts, connecting to all of them.
//!
//! A shard is looked at before it is written down: what would break later is refused now, with the way out.

use crate::connect::{Backend, config_for};
use crate::epoch;
use crate::error::{CatalogError, PgError};
use crate::raw::RawTable;
use crate::recover::recover_newcomer;
use crate::schema::{self, check_server, create_local, insert_hosts};
use crate::shard_fill::{self, Left};
use crate::work::{self, Work};
use shardgate_plan::snapshot::Host;
use shardgate_shard_map::ShardId;
use tokio_postgres::{Config, GenericClient, Transaction};

/// A shard to be added.
#[derive(Clone, Debug)]
pub struct NewShard {
    pub name: String,
    /// Its primary and replicas, as routers reach them.
    pub hosts: Vec<Host>,
    pub weight: u32,
    /// None: the database has the same name as on the home shard.
    pub dbname: Option<String>,
}

/// A shard as the catalog has it, with how to reach it.
#[derive(Clone, Debug)]
pub(crate) struct ShardRow {
    pub id: i16,
    pub name: String,
    pub weight: u32,
    pub home: bool,
    pub config: Config,
    /// All of its hosts, those of the home shard as well, which `config` may not have.
    pub all_hosts: Config,
}

impl ShardRow {
    /// Its name in messages.
    pub(crate) fn whom(&self) -> String {
        format!("shard \"{}\"", self.name)
    }

    pub(crate) fn shard_id(&self) -> ShardId {
        ShardId(u16::try_from(self.id).unwrap_or_default())
    }

    pub(crate) async fn connect(&self) -> Result<Backend, CatalogError> {
        Backend::primary(&self.config, &self.whom()).await
    }
}

/// What `add_shard` did, and what the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardAdded {
    pub id: ShardId,
    pub warnings: Vec<String>,
}

/// Adds a shard: connects to it, checks it, makes there what every shard has, and writes it down in a new epoch.
///
/// It gets all distributed and reference tables, the rows of the latter, and the home shard's schemas, types and
/// functions. It owns nothing yet: existing maps do not change. While its reference tables are filled, writes of them
/// wait.
///
/// # Errors
/// 0A000 for a server that cannot be a shard, 42704 for roles that are missing there, 42710 for a name or database that
/// is a shard already, 42P07 if it has a table of a name that must be free, 55000 if it cannot prepare transactions and
/// there are tables to be made, 55006 while data is moved, 08006 if it cannot be reached.
pub async fn add_shard(home: &mut Backend, new: &NewShard) -> Result<ShardAdded, CatalogError> {
    if new.hosts.is_empty() {
        return Err(PgError::new("22023", "a shard needs at least one host").into());
    }
    schema::require(&**home, home.whom()).await?;
    let base = home.config().clone();
    let shards = all(&**home, &base, home.whom()).await?;
    if shards.iter().any(|shard| shard.name == new.name) {
        return Err(already_exists(new));
    }
    let mut row = ShardRow {
        id: 0,
        name: new.name.clone(),
        weight: new.weight,
        home: false,
        config: config_for(&base, &new.hosts, new.dbname.as_deref()),
        all_hosts: config_for(&base, &new.hosts, new.dbname.as_deref()),
    };
    let shard = row.connect().await?;
    check_server(&shard).await?;
    let mut warnings = examine(home, &shard, &shards).await?;
    refuse_missing_roles(home, &shard).await?;
    recover_newcomer(home, &row).await?;
    let mut tables = Vec::new();
    work::change(home, async |work| {
        refuse_moves(work).await?;
        tables = work.spread_tables().await?;
        let left = write(work, &shard, &mut row, new, &tables).await?;
        warnings.extend(left.warnings);
        Ok(format!("add shard {}", new.name))
    })
    .await?;
    warnings.extend(shard_fill::level(home, &row, &tables).await?);
    Ok(ShardAdded {
        id: row.shard_id(),
        warnings,
    })
}

fn already_exists(new: &NewShard) -> CatalogError {
    PgError::new("42710", format!("shard \"{}\" already exists", new.name)).into()
}

/// Tables of a move have triggers and replica identities that are not theirs to keep.
async fn refuse_moves(work: &Work<'_>) -> Result<(), CatalogError> {
    let row = work
        .tx
        .query_opt(
            "SELECT id FROM shardgate.move WHERE step NOT IN ('completed', 'cancelled') ORDER BY id LIMIT 1",
            &[],
        )
        .await
        .map_err(|error| work.err(&error))?;
    let Some(row) = row else { return Ok(()) };
    let id: i64 = row.get(0);
    Err(PgError::new("55006", format!("move {id} is under way"))
        .detail("While its tables are on their way a new shard cannot take over their definitions.")
        .hint(format!(
            "Wait for it, or see \"shard-admin move complete {id}\" and \"move cancel {id}\"."
        ))
        .into())
}

/// Writes the shard down on the home shard, and fills it: as one step with the home shard's commit if there are tables to
/// be made. Without any, it is done there before the home shard decides, which is harmless if that never happens.
async fn write(
    work: &mut Work<'_>,
    shard: &Backend,
    row: &mut ShardRow,
    new: &NewShard,
    tables: &[RawTable],
) -> Result<Left, CatalogError> {
    let whom = work.whom.clone();
    let err = |error| CatalogError::of(&whom, &error);
    if work.shards.iter().any(|shard| shard.name == new.name) {
        return Err(already_exists(new));
    }
    let drawn = work
        .tx
        .query_one(
            "UPDATE shardgate.cluster SET next_shard = next_shard + 1 RETURNING (next_shard - 1)::smallint, id::text",
            &[],
        )
        .await
        .map_err(err)?;
    row.id = drawn.get(0);
    let cluster: String = drawn.get(1);
    let weight = i32::try_from(new.weight).unwrap_or(i32::MAX);
    work.tx
        .execute(
            "INSERT INTO shardgate.shard (id, name, weight, dbname) VALUES ($1, $2, $3, $4)",
            &[&row.id, &new.name, &weight, &new.dbname],
        )
        .await
        .map_err(err)?;
    insert_hosts(&work.tx, row.id, &new.hosts)
        .await
        .map_err(err)?;
    let (known, next) = (work.shards.clone(), work.next.clone());
    let id = row.shard_id();
    let mut left = Left::default();
    let mut fill = async |tx: &Transaction<'_>, backend: &Backend| {
        let there = |error| backend.err(&error);
        create_local(&**backend).await.map_err(there)?;
        backend.run("DELETE FROM shardgate.identity").await?;
        schema::write_identity(
            &**backend,
            &cluster,
            row.id,
            &new.name,
            next.number,
            &next.id,
        )
        .await
        .map_err(there)?;
        left = shard_fill::fill(tx, &whom, backend, id, &known, tables).await?;
        Ok(())
    };
    if tables.is_empty() {
        shard
            .run("BEGIN; SET LOCAL synchronous_commit = on")
            .await?;
        fill(&work.tx, shard).await?;
        shard.run("COMMIT").await?;
    } else {
        work.prepare_on(row, fill).await?;
    }
    // Whether every shard has a view is found out anew.
    work.tx
        .execute(
            "DELETE FROM shardgate.view_copy WHERE view::oid = ANY ($1)",
            &[&left.views],
        )
        .await
        .map_err(err)?;
    Ok(left)
}

/// Replaces the hosts of a shard: for a replica that was added or an address that changed.
pub async fn set_hosts(home: &mut Backend, name: &str, hosts: &[Host]) -> Result<(), CatalogError> {
    if hosts.is_empty() {
        return Err(PgError::new("22023", "a shard needs at least one host").into());
    }
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let (tx, next) = epoch::begin_change(home).await?;
    let row = tx
        .query_opt("SELECT id FROM shardgate.shard WHERE name = $1", &[&name])
        .await
        .map_err(err)?;
    let Some(row) = row else {
        return Err(PgError::new("42704", format!("shard \"{name}\" does not exist")).into());
    };
    insert_hosts(&tx, row.get(0), hosts).await.map_err(err)?;
    epoch::finish(&tx, &next, &format!("hosts of shard {name}"))
        .await
        .map_err(err)?;
    tx.commit().await.map_err(err)
}

/// All shards, ascending by id. `base` has the credentials; the home shard is reached by `base` itself.
pub(crate) async fn all(
    client: &impl GenericClient,
    base: &Config,
    whom: &str,
) -> Result<Vec<ShardRow>, CatalogError> {
    let rows = client
        .query(
            "SELECT s.id, s.name, s.weight, s.dbname, s.id = c.home_shard, \
             array_agg(h.host ORDER BY h.ordinal), array_agg(h.port ORDER BY h.ordinal) \
             FROM shardgate.shard s CROSS JOIN shardgate.cluster c JOIN shardgate.shard_host h ON h.shard_id = s.id \
             GROUP BY s.id, c.home_shard ORDER BY s.id",
            &[],
        )
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    Ok(rows
        .iter()
        .map(|row| {
            let home: bool = row.get(4);
            let hosts: Vec<Host> = row
                .get::<_, Vec<String>>(5)
                .into_iter()
                .zip(row.get::<_, Vec<i32>>(6))
                .map(|(host, port)| Host {
                    host,
                    port: u16::try_from(port).unwrap_or_default(),
                })
                .collect();
            let dbname: Option<String> = row.get(3);
            ShardRow {
                id: row.get(0),
                name: row.get(1),
                weight: u32::try_from(row.get::<_, i32>(2)).unwrap_or_default(),
                home,
                config: if home {
                    base.clone()
                } else {
                    config_for(base, &hosts, dbname.as_deref())
                },
                all_hosts: config_for(base, &hosts, dbname.as_deref()),
            }
        })
        .collect())
}

/// Compares the new shard with the home shard, and makes sure that it is none that is known.
async fn examine(
    home: &Backend,
    shard: &Backend,
    known: &[ShardRow],
) -> Result<Vec<String>, CatalogError> {
    let here = Traits::of(home).await?;
    let there = Traits::of(shard).await?;
    let mut warnings = Vec::new();
    if here.major != there.major {
        let message = format!(
            "{} runs PostgreSQL {}, the home shard {}",
            shard.whom(),
            there.major,
            here.major
        );
        return Err(PgError::new("0A000", message)
            .hint("All shards must run the same major version.")
            .into());
    }
    if here.collation != there.collation {
        let message = format!(
            "{} sorts text by {}, the home shard by {}",
            shard.whom(),
            there.collation,
            here.collation
        );
        return Err(PgError::new("0A000", message)
            .hint("Create its database with the same locale provider, LC_COLLATE and LC_CTYPE.")
            .into());
    }
    for row in known {
        // A shard that is down cannot be compared; its identity is, as soon as this one is connected to as a shard.
        let same = if row.home {
            here.same_database(&there)
        } else {
            match row.connect().await {
                Ok(other) => Traits::of(&other).await?.same_database(&there),
                Err(error) if error.is_unreachable() => {
                    warnings.push(format!(
                        "{} cannot be reached and was not compared: {error}",
                        row.whom()
                    ));
                    false
                }
                Err(error) => return Err(error),
            }
        };
        if same {
            let message = format!("{} is the database of shard \"{}\"", shard.host(), row.name);
            return Err(PgError::new("42710", message)
                .hint("Each shard needs a database of its own.")
                .into());
        }
    }
    if let Some(cluster) = &there.cluster
        && Some(cluster) != here.cluster.as_ref()
    {
        let message = format!("{} belongs to another cluster of Shardgate", shard.whom());
        return Err(PgError::new("42710", message)
            .detail(format!("Its identity says cluster {cluster}."))
            .hint("If that cluster is gone, drop the schema shardgate there.")
            .into());
    }
    if there.max_prepared == 0 {
        warnings.push("max_prepared_transactions is 0: tables cannot be distributed to it until it is raised (restart)".to_owned());
    }
    if there.wal_level != "logical" {
        warnings.push(format!(
            "wal_level is {}: data cannot be moved from it until it is logical (restart)",
            there.wal_level
        ));
    }
    Ok(warnings)
}

/// What must agree between shards, and what tells two databases apart.
struct Traits {
    major: i32,
    collation: String,
    system: i64,
    database: u32,
    max_prepared: i32,
    wal_level: String,
    /// The cluster that the database says it belongs to.
    cluster: Option<String>,
}

impl Traits {
    async fn of(server: &Backend) -> Result<Traits, CatalogError> {
        let err = |error| server.err(&error);
        let row = server
            .query_one(
                "SELECT current_setting('server_version_num')::int / 10000, \
                 d.datlocprovider::text || ' ' || coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale', d.datcollate) \
                     || ' ' || d.datctype, \
                 (SELECT system_identifier FROM pg_control_system()), d.oid, \
                 current_setting('max_prepared_transactions')::int, current_setting('wal_level'), \
                 to_regclass('shardgate.identity') IS NOT NULL \
                 FROM pg_database d WHERE d.datname = current_database()",
                &[],
            )
            .await
            .map_err(err)?;
        let cluster = if row.get(6) {
            let known = server
                .query_opt("SELECT cluster_id::text FROM shardgate.identity", &[])
                .await
                .map_err(err)?;
            known.map(|row| row.get(0))
        } else {
            None
        };
        Ok(Traits {
            major: row.get(0),
            collation: row.get(1),
            system: row.get(2),
            database: row.get(3),
            max_prepared: row.get(4),
            wal_level: row.get(5),
            cluster,
        })
    }

    fn same_database(&self, other: &Traits) -> bool {
        self.system == other.system && self.database == other.database
    }
}

/// Roles of the home shard that are missing on another.
pub(crate) async fn missing_roles(
    home: &Backend,
    shard: &Backend,
) -> Result<Vec<String>, CatalogError> {
    let rows = home
        .query(
            "SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1",
            &[],
        )
        .await
        .map_err(|error| home.err(&error))?;
    let roles: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let rows = shard
        .query("SELECT r FROM unnest($1::text[]) AS r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r)", &[&roles])
        .await
        .map_err(|error| shard.err(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn refuse_missing_roles(home: &Backend, shard: &Backend) -> Result<(), CatalogError> {
    let missing = missing_roles(home, shard).await?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(PgError::new("42704", format!("{} lacks roles of the home shard", shard.whom()))
        .detail(format!("Missing: {}.", missing.join(", ")))
        .hint("Create them with the same passwords: pg_dumpall --roles-only on the home shard, psql on the new one.")
        .into())
}
