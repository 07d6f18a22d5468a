//! Reading the catalog and the schema: one REPEATABLE READ transaction -> `RawSnapshot`.
//!
//! It reads and concludes nothing; `build` does. All names in queries are qualified or under a search_path of
//! pg_catalog alone.

use crate::connect::Backend;
use crate::error::CatalogError;
use crate::raw::{RawEpoch, RawSnapshot};
use crate::{fingerprint, load_catalog, load_code, load_moves, load_relations, schema};
use std::collections::BTreeSet;
use tokio_postgres::{IsolationLevel, Transaction};

/// An epoch that a reader already holds: what is loaded must descend from it.
#[derive(Clone, Debug)]
pub struct Held {
    /// uuid text
    pub cluster: String,
    pub number: u64,
    /// uuid text
    pub id: String,
}

/// Reads everything as of one moment. With `held`, the epoch chain is checked in the same transaction.
///
/// # Errors
/// `NoCatalog` and `Version` by name; `Forked` if the chain does not contain the epoch that is held.
pub async fn load(home: &mut Backend, held: Option<&Held>) -> Result<RawSnapshot, CatalogError> {
    load_from(home, held, None).await
}

/// As `load`, for a reader that holds a snapshot: what it has of the schema is taken over if the fingerprint says that the
/// schema is as it was, and only the catalog's own tables are read.
///
/// # Errors
/// As `load`.
pub(crate) async fn load_again(
    home: &mut Backend,
    known: &RawSnapshot,
) -> Result<RawSnapshot, CatalogError> {
    let held = Held {
        cluster: known.cluster.clone(),
        number: known.epoch.number,
        id: known.epoch.id.clone(),
    };
    load_from(home, Some(&held), Some(known)).await
}

async fn load_from(
    home: &mut Backend,
    held: Option<&Held>,
    known: Option<&RawSnapshot>,
) -> Result<RawSnapshot, CatalogError> {
    let whom = home.whom().to_owned();
    let err = |error| CatalogError::of(&whom, &error);
    let tx = home
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(err)?;
    schema::require(&tx, &whom).await?;
    if let Some(held) = held {
        require_descent(&tx, &whom, held).await?;
    }
    let raw = read(&tx, known).await.map_err(err)?;
    tx.commit().await.map_err(err)?;
    raw
}

async fn read(
    tx: &Transaction<'_>,
    known: Option<&RawSnapshot>,
) -> Result<Result<RawSnapshot, CatalogError>, tokio_postgres::Error> {
    // View texts must have every name qualified.
    tx.batch_execute("SET LOCAL search_path = ''").await?;
    let fingerprint = fingerprint::take(tx).await?;
    let row = tx
        .query_one(
            "SELECT id::text, encode(mock_auth_secret, 'hex'), home_shard, current_database()::text FROM shardgate.cluster",
            &[],
        )
        .await?;
    let Some(epoch) = newest_epoch(tx).await? else {
        return Ok(Err(CatalogError::Damaged {
            what: "it has no epoch".to_owned(),
        }));
    };
    let own = RawSnapshot {
        cluster: row.get(0),
        mock_auth_secret: row.get(1),
        epoch,
        fingerprint,
        database: row.get(3),
        home: u16::try_from(row.get::<_, i16>(2)).unwrap_or_default(),
        shards: load_catalog::shards(tx).await?,
        distributions: load_catalog::distributions(tx).await?,
        tables: load_catalog::tables(tx).await?,
        moves: load_moves::moves(tx).await?,
        ..RawSnapshot::default()
    };
    let known = known
        .filter(|known| known.fingerprint == own.fingerprint && known.database == own.database);
    match known {
        Some(known) => take_over(tx, own, known).await.map(Ok),
        None => schema_of(tx, own).await.map(Ok),
    }
}

/// The schema of `known`, whose fingerprint is the same. Which views are everywhere is no part of it.
async fn take_over(
    tx: &Transaction<'_>,
    own: RawSnapshot,
    known: &RawSnapshot,
) -> Result<RawSnapshot, tokio_postgres::Error> {
    let everywhere = load_relations::everywhere(tx).await?;
    let mut raw = RawSnapshot {
        cluster: own.cluster,
        mock_auth_secret: own.mock_auth_secret,
        epoch: own.epoch,
        fingerprint: own.fingerprint,
        database: own.database,
        home: own.home,
        shards: own.shards,
        distributions: own.distributions,
        tables: own.tables,
        moves: own.moves,
        ..known.clone()
    };
    for relation in &mut raw.relations {
        relation.everywhere = everywhere.contains(&relation.oid);
    }
    Ok(raw)
}

/// Reads the schema.
async fn schema_of(
    tx: &Transaction<'_>,
    own: RawSnapshot,
) -> Result<RawSnapshot, tokio_postgres::Error> {
    let relations = load_relations::relations(tx).await?;
    let types = load_code::types(tx).await?;
    let functions = load_code::functions(tx).await?;
    let operators = load_code::operators(tx).await?;
    let mut called: BTreeSet<u32> = BTreeSet::new();
    for relation in &relations {
        called.extend(relation.expressions.iter().flat_map(|(_, e)| &e.functions));
        called.extend(
            relation
                .columns
                .iter()
                .filter_map(|c| c.default.as_ref())
                .flat_map(|e| &e.functions),
        );
    }
    called.extend(
        types
            .iter()
            .flat_map(|ty| &ty.checks)
            .flat_map(|e| &e.functions),
    );
    called.extend(operators.iter().map(|operator| operator.function));
    let (path_settings, server_path) = load_code::path_settings(tx).await?;
    Ok(RawSnapshot {
        foreign_keys: load_relations::foreign_keys(tx).await?,
        inherits: load_relations::inherits(tx).await?,
        relations,
        system_functions: load_code::system_functions(tx, &called, &functions).await?,
        functions,
        operators,
        types,
        casts: load_code::casts(tx).await?,
        event_triggers: load_code::event_triggers(tx).await?,
        schemas: load_code::schemas(tx).await?,
        path_settings,
        login_settings: load_code::login_settings(tx).await?,
        logins: load_code::logins(tx).await?,
        serializable: load_code::serializable(tx).await?,
        server_path,
        ..own
    })
}

/// The newest epoch, if there is one.
pub(crate) async fn newest_epoch(
    tx: &impl tokio_postgres::GenericClient,
) -> Result<Option<RawEpoch>, tokio_postgres::Error> {
    let row = tx
        .query_opt(
            "SELECT number, id::text, parent::text FROM shardgate.epoch ORDER BY number DESC LIMIT 1",
            &[],
        )
        .await?;
    Ok(row.map(|row| RawEpoch {
        number: u64::try_from(row.get::<_, i64>(0)).unwrap_or_default(),
        id: row.get(1),
        parent: row.get(2),
    }))
}

/// Every epoch after the one that is held must name its predecessor as its parent, down to that one.
async fn require_descent(
    tx: &Transaction<'_>,
    whom: &str,
    held: &Held,
) -> Result<(), CatalogError> {
    let number = i64::try_from(held.number).unwrap_or(i64::MAX);
    let row = tx
        .query_one(
            "SELECT (SELECT id::text FROM shardgate.cluster), coalesce(max(number), 0), \
             coalesce(bool_or(number = $1 AND id = $2::text::uuid), false), \
             count(*) FILTER (WHERE number > $1 AND NOT EXISTS \
                 (SELECT FROM shardgate.epoch p WHERE p.number = e.number - 1 AND p.id = e.parent)) \
             FROM shardgate.epoch e WHERE number >= $1 OR number = (SELECT max(number) FROM shardgate.epoch)",
            &[&number, &held.id],
        )
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    let found = u64::try_from(row.get::<_, i64>(1)).unwrap_or_default();
    let forked = |why: &str| CatalogError::Forked {
        held: held.number,
        found,
        why: why.to_owned(),
    };
    if row.get::<_, String>(0) != held.cluster {
        return Err(forked("it belongs to another cluster"));
    }
    if !row.get::<_, bool>(2) {
        return Err(forked("the epoch that is held is not among its ancestors"));
    }
    if row.get::<_, i64>(3) != 0 {
        return Err(forked("the chain of parents is broken"));
    }
    Ok(())
}
