//! Making the catalog on the home shard, and the few objects that every shard carries.
//!
//! It decides what exists; what the rows mean is in the modules that read and change them.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::{epoch, fingerprint, shard};
use shardgate_plan::snapshot::Host;
use tokio_postgres::{GenericClient, Transaction};

/// The version of the catalog that this program reads and writes.
pub const VERSION: i32 = 3;
/// Catalogs of these versions become one of ours by running the script again: everything that is new in it is added.
const UPGRADED: &[i32] = &[2];

const SCHEMA: &str = include_str!("schema.sql");
const LOCAL: &str = include_str!("local.sql");

/// What `init` needs to know of the home shard.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The home shard's name.
    pub shard_name: String,
    pub weight: u32,
    /// Its primary and replicas, as routers reach them.
    pub hosts: Vec<Host>,
}

/// What `init` found or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialised {
    /// The cluster's id, as uuid text.
    pub cluster: String,
    /// False: the catalog was there already, and nothing but missing objects was added.
    pub created: bool,
    /// The version that it had before, if it is a newer one now.
    pub upgraded_from: Option<i32>,
}

/// Makes the catalog in the database of `home`. Running it again changes nothing, unless the catalog is of an older
/// version: then it is made a newer one, on every shard. Routers of the older version go on with what they know.
///
/// # Errors
/// 42501 without the right to create a schema; `Version` if a catalog of a version is there that cannot be made a newer
/// one; 08006 if a shard cannot be reached: then nothing was changed that an older version would notice.
pub async fn init(home: &mut Backend, options: &InitOptions) -> Result<Initialised, CatalogError> {
    if options.hosts.is_empty() {
        return Err(PgError::new("22023", "the home shard needs at least one host").into());
    }
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    check_server(home).await?;
    let older = older_version(home).await?;
    if older.is_some() {
        upgrade_shards(home).await?;
    }
    let tx = home.transaction().await.map_err(err)?;
    tx.batch_execute("SET LOCAL synchronous_commit = on; SELECT pg_advisory_xact_lock(hashtextextended('shardgate init', 0))")
        .await
        .map_err(err)?;
    tx.batch_execute(SCHEMA).await.map_err(err)?;
    tx.batch_execute(LOCAL).await.map_err(err)?;
    let known = tx
        .query_opt("SELECT id::text FROM shardgate.cluster", &[])
        .await
        .map_err(err)?;
    let Some(row) = known else {
        let cluster = first_rows(&tx, options).await.map_err(err)?;
        tx.commit().await.map_err(err)?;
        return Ok(Initialised {
            cluster,
            created: true,
            upgraded_from: None,
        });
    };
    if older.is_some() {
        tx.execute("UPDATE shardgate.cluster SET version = $1", &[&VERSION])
            .await
            .map_err(err)?;
    }
    tx.commit().await.map_err(err)?;
    if older.is_some() {
        // The catalog's own tables are a part of the schema that the newest epoch has seen.
        epoch::bump_if_changed(home, "a newer version of the catalog").await?;
    }
    Ok(Initialised {
        cluster: row.get(0),
        created: false,
        upgraded_from: older,
    })
}

/// The version of a catalog that can be made one of ours; None if there is none, or it is ours already.
async fn older_version(home: &Backend) -> Result<Option<i32>, CatalogError> {
    match require(&**home, home.whom()).await {
        Ok(()) | Err(CatalogError::NoCatalog { .. }) => Ok(None),
        Err(CatalogError::Version { found, .. }) if UPGRADED.contains(&found) => Ok(Some(found)),
        Err(other) => Err(other),
    }
}

/// What every shard carries, on all but home: an older version does not look at what is new.
async fn upgrade_shards(home: &Backend) -> Result<(), CatalogError> {
    let shards = shard::all(&**home, home.config(), home.whom()).await?;
    for shard in shards.iter().filter(|shard| !shard.home) {
        let mut backend = shard.connect().await?;
        let whom = backend.whom().to_owned();
        let err = |error| CatalogError::of(&whom, &error);
        let tx = backend.transaction().await.map_err(err)?;
        create_local(&tx).await.map_err(err)?;
        tx.commit().await.map_err(err)?;
    }
    Ok(())
}

async fn first_rows(
    tx: &Transaction<'_>,
    options: &InitOptions,
) -> Result<String, tokio_postgres::Error> {
    let row = tx
        .query_one(
            "INSERT INTO shardgate.cluster (id, version, mock_auth_secret, home_shard, next_shard, next_distribution) \
             VALUES (gen_random_uuid(), $1, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 1, 2, 1) \
             RETURNING id::text",
            &[&VERSION],
        )
        .await?;
    let cluster: String = row.get(0);
    let weight = i32::try_from(options.weight).unwrap_or(i32::MAX);
    tx.execute(
        "INSERT INTO shardgate.shard (id, name, weight) VALUES (1, $1, $2)",
        &[&options.shard_name, &weight],
    )
    .await?;
    insert_hosts(tx, 1, &options.hosts).await?;
    let fingerprint = fingerprint::take(tx).await?;
    let row = tx
        .query_one(
            "INSERT INTO shardgate.epoch (number, id, parent, note, fingerprint) \
             VALUES (1, gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 'init', $1) RETURNING id::text",
            &[&fingerprint],
        )
        .await?;
    write_identity(
        tx,
        &cluster,
        1,
        &options.shard_name,
        1,
        &row.get::<_, String>(0),
    )
    .await?;
    Ok(cluster)
}

/// Replaces the hosts of a shard.
pub(crate) async fn insert_hosts(
    tx: &Transaction<'_>,
    shard: i16,
    hosts: &[Host],
) -> Result<(), tokio_postgres::Error> {
    tx.execute(
        "DELETE FROM shardgate.shard_host WHERE shard_id = $1",
        &[&shard],
    )
    .await?;
    for (ordinal, host) in hosts.iter().enumerate() {
        tx.execute(
            "INSERT INTO shardgate.shard_host (shard_id, host, port, ordinal) VALUES ($1, $2, $3, $4)",
            &[&shard, &host.host, &i32::from(host.port), &i16::try_from(ordinal).unwrap_or(i16::MAX)],
        )
        .await?;
    }
    Ok(())
}

/// Makes the local objects of a shard that is not home, in the caller's transaction.
pub(crate) async fn create_local(tx: &impl GenericClient) -> Result<(), tokio_postgres::Error> {
    tx.batch_execute(LOCAL).await
}

/// Writes down on a shard who it is.
pub(crate) async fn write_identity(
    tx: &impl GenericClient,
    cluster: &str,
    shard: i16,
    name: &str,
    epoch: i64,
    epoch_id: &str,
) -> Result<(), tokio_postgres::Error> {
    tx.execute(
        "INSERT INTO shardgate.identity (cluster_id, shard_id, shard_name, epoch, epoch_id) \
         VALUES ($1::text::uuid, $2, $3, $4, $5::text::uuid) \
         ON CONFLICT (only_row) DO UPDATE SET epoch = excluded.epoch, epoch_id = excluded.epoch_id, \
         shard_name = excluded.shard_name",
        &[&cluster, &shard, &name, &epoch, &epoch_id],
    )
    .await?;
    Ok(())
}

/// Fails unless the database has a catalog of our version.
pub(crate) async fn require(client: &impl GenericClient, whom: &str) -> Result<(), CatalogError> {
    let err = |error| CatalogError::of(whom, &error);
    let row = client
        .query_one(
            "SELECT to_regclass('shardgate.cluster') IS NOT NULL, current_database()::text",
            &[],
        )
        .await
        .map_err(err)?;
    let no_catalog = || CatalogError::NoCatalog {
        database: row.get(1),
    };
    if !row.get::<_, bool>(0) {
        return Err(no_catalog());
    }
    match client
        .query_opt("SELECT version FROM shardgate.cluster", &[])
        .await
        .map_err(err)?
    {
        None => Err(no_catalog()),
        Some(row) if row.get::<_, i32>(0) != VERSION => Err(CatalogError::Version {
            found: row.get(0),
            known: VERSION,
        }),
        Some(_) => Ok(()),
    }
}

/// Postgres must be new enough and store text as UTF8: keys are hashed as bytes of that encoding.
pub(crate) async fn check_server(server: &Backend) -> Result<(), CatalogError> {
    let row = server
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), \
             current_setting('server_version')",
            &[],
        )
        .await
        .map_err(|error| server.err(&error))?;
    if row.get::<_, i32>(0) < 150_000 {
        let message = format!(
            "{} runs PostgreSQL {}",
            server.whom(),
            row.get::<_, String>(2)
        );
        return Err(PgError::new("0A000", message)
            .hint("Shardgate needs PostgreSQL 15 or later.")
            .into());
    }
    if row.get::<_, String>(1) != "UTF8" {
        let message = format!(
            "the database of {} has the encoding {}",
            server.whom(),
            row.get::<_, String>(1)
        );
        return Err(PgError::new("0A000", message)
            .hint("Only databases with the encoding UTF8 can be sharded.")
            .into());
    }
    Ok(())
}
