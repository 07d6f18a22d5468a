//! Distributions: making one, and choosing the one that a new table joins.
//!
//! It knows keys, maps and shards, and no table. Values are canonicalised by Postgres, so that equal values have one text.

use crate::build_map::build_map;
use crate::connect::Backend;
use crate::epoch;
use crate::error::{CatalogError, PgError};
use crate::key_text;
use crate::load_catalog;
use crate::quote::literal;
use crate::shard::{self, ShardRow};
use shardgate_shard_map::{BUCKETS_MAX, ShardId, ShardMap, initial};
use tokio_postgres::Transaction;

/// Buckets of a hash distribution unless another number is asked for.
pub const BUCKETS: u32 = 4096;

/// A distribution to be made.
#[derive(Clone, Debug)]
pub struct NewDistribution {
    pub name: String,
    /// A key type by its name in pg_catalog: `int4`, `varchar`, ..
    pub key_type: String,
    pub method: NewMethod,
}

/// What a distribution was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody asked for it by name: it stays.
    Named,
    /// Hash tables of its key type join it unless they say otherwise.
    Default,
    /// One table, with which it goes.
    Table,
}

/// How keys map to shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewMethod {
    /// Buckets are placed by the shards' weights.
    Hash { buckets: u32 },
    /// n bounds make n + 1 ranges on the shards in order, and again from the first; none: one range on home.
    Range { bounds: Vec<String> },
    /// Values without a shard's name are placed on the shards in order.
    List {
        values: Vec<(String, Option<String>)>,
        default: Option<String>,
    },
}

/// A distribution that exists, inside of a change.
pub(crate) struct Known {
    pub id: i32,
    pub name: String,
    pub map: ShardMap,
}

/// Makes a distribution that no table belongs to yet.
///
/// # Errors
/// 22023 for bounds that do not ascend or numbers out of range, 22P02 and its kin for values that are none of the type,
/// 42710 for a name that is taken, 0A000 for a type that cannot be a key.
pub async fn create_distribution(
    home: &mut Backend,
    new: &NewDistribution,
) -> Result<ShardMap, CatalogError> {
    let whom = home.whom().to_owned();
    let base = home.config().clone();
    let (tx, next) = epoch::begin_change(home).await?;
    let shards = shard::all(&tx, &base, &whom).await?;
    let known = create(&tx, &whom, new, Purpose::Named, &shards).await?;
    let err = |error| CatalogError::of(&whom, &error);
    epoch::finish(&tx, &next, &format!("create distribution {}", new.name))
        .await
        .map_err(err)?;
    tx.commit().await.map_err(err)?;
    Ok(known.map)
}

/// Makes a distribution in the change `tx`.
pub(crate) async fn create(
    tx: &Transaction<'_>,
    whom: &str,
    new: &NewDistribution,
    purpose: Purpose,
    shards: &[ShardRow],
) -> Result<Known, CatalogError> {
    let err = |error| CatalogError::of(whom, &error);
    let Some(key_type) = key_text::key_type(&new.key_type) else {
        return Err(key_type_refused(&new.key_type).into());
    };
    let family = key_text::family(key_type);
    let (method, buckets) = match &new.method {
        NewMethod::Hash { buckets } => ("hash", Some(checked_buckets(*buckets)?)),
        NewMethod::Range { .. } => ("range", None),
        NewMethod::List { .. } => ("list", None),
    };
    let taken = tx
        .query_opt(
            "SELECT FROM shardgate.distribution WHERE name = $1",
            &[&new.name],
        )
        .await
        .map_err(err)?;
    if taken.is_some() {
        return Err(PgError::new(
            "42710",
            format!("distribution \"{}\" already exists", new.name),
        )
        .into());
    }
    let id: i32 = tx
        .query_one("UPDATE shardgate.cluster SET next_distribution = next_distribution + 1 RETURNING next_distribution - 1", &[])
        .await
        .map_err(err)?
        .get(0);
    tx.execute(
        "INSERT INTO shardgate.distribution (id, name, method, key_type, buckets, by_default, for_table) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[&id, &new.name, &method, &family, &buckets, &(purpose == Purpose::Default), &(purpose == Purpose::Table)],
    )
    .await
    .map_err(err)?;
    match &new.method {
        NewMethod::Hash { buckets } => insert_buckets(tx, whom, id, *buckets, shards).await?,
        NewMethod::Range { bounds } => insert_ranges(tx, whom, id, family, bounds, shards).await?,
        NewMethod::List { values, default } => {
            insert_values(tx, whom, id, family, values, default.as_deref(), shards).await?
        }
    }
    find(tx, whom, &format!("id = {id}"), shards)
        .await?
        .ok_or_else(|| CatalogError::Damaged {
            what: format!("distribution {id} is not there"),
        })
}

/// The distribution for which `condition` on its row holds.
pub(crate) async fn find(
    tx: &Transaction<'_>,
    whom: &str,
    condition: &str,
    shards: &[ShardRow],
) -> Result<Option<Known>, CatalogError> {
    let err = |error| CatalogError::of(whom, &error);
    let row = tx
        .query_opt(
            &format!("SELECT id, name FROM shardgate.distribution WHERE {condition}"),
            &[],
        )
        .await
        .map_err(err)?;
    let Some(row) = row else { return Ok(None) };
    let (id, name): (i32, String) = (row.get(0), row.get(1));
    let all = load_catalog::distributions(tx).await.map_err(err)?;
    let raw = all.iter().find(|raw| i32::try_from(raw.id) == Ok(id));
    let raw = raw.ok_or_else(|| CatalogError::Damaged {
        what: format!("distribution {id} is not there"),
    })?;
    let ids = shards
        .iter()
        .filter_map(|shard| u16::try_from(shard.id).ok())
        .collect();
    Ok(Some(Known {
        id,
        name,
        map: build_map(raw, &ids)?,
    }))
}

/// The default hash distribution for a key type and number of buckets; made if there is none.
pub(crate) async fn default_hash(
    tx: &Transaction<'_>,
    whom: &str,
    key_type: &str,
    buckets: u32,
    shards: &[ShardRow],
) -> Result<Known, CatalogError> {
    let family = key_text::key_type(key_type)
        .map(key_text::family)
        .ok_or_else(|| key_type_refused(key_type))?;
    let count = checked_buckets(buckets)?;
    let condition = format!(
        "by_default AND key_type = {} AND buckets = {count}",
        literal(family)
    );
    if let Some(known) = find(tx, whom, &condition, shards).await? {
        return Ok(known);
    }
    let new = NewDistribution {
        name: free_name(tx, whom, &format!("{family}_{buckets}")).await?,
        key_type: key_type.to_owned(),
        method: NewMethod::Hash { buckets },
    };
    create(tx, whom, &new, Purpose::Default, shards).await
}

/// `wanted`, or with a number behind it if that is taken.
pub(crate) async fn free_name(
    tx: &Transaction<'_>,
    whom: &str,
    wanted: &str,
) -> Result<String, CatalogError> {
    let row = tx
        .query_one(
            "SELECT coalesce((SELECT name FROM (SELECT $1::text AS name, 1 AS n \
             UNION ALL SELECT $1 || '_' || n, n FROM generate_series(2, 10000) AS n) AS names \
             WHERE NOT EXISTS (SELECT FROM shardgate.distribution d WHERE d.name = names.name) ORDER BY n LIMIT 1), $1)",
            &[&wanted],
        )
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    Ok(row.get(0))
}

/// Why a type cannot be a sharding key.
pub(crate) fn key_type_refused(name: &str) -> PgError {
    PgError::new("0A000", format!("type {name} cannot be a sharding key"))
        .detail("Keys may be of type smallint, integer, bigint, text, varchar, uuid, bytea, date, timestamp or timestamptz.")
        .hint("Distribute by another column, or convert the column to one of these types.")
}

fn checked_buckets(buckets: u32) -> Result<i32, CatalogError> {
    if buckets.is_power_of_two() && buckets <= BUCKETS_MAX {
        return Ok(i32::try_from(buckets).unwrap_or(i32::MAX));
    }
    Err(
        PgError::new("22023", format!("{buckets} buckets are not possible"))
            .hint(format!("Give a power of two from 1 to {BUCKETS_MAX}."))
            .into(),
    )
}

async fn insert_buckets(
    tx: &Transaction<'_>,
    whom: &str,
    id: i32,
    buckets: u32,
    shards: &[ShardRow],
) -> Result<(), CatalogError> {
    let weights: Vec<(ShardId, u32)> = shards
        .iter()
        .map(|shard| {
            (
                ShardId(u16::try_from(shard.id).unwrap_or_default()),
                shard.weight,
            )
        })
        .collect();
    let owners =
        initial(buckets, &weights).map_err(|error| PgError::new("22023", error.to_string()))?;
    let owners: Vec<i16> = owners
        .iter()
        .map(|owner| i16::try_from(owner.0).unwrap_or_default())
        .collect();
    tx.execute(
        "INSERT INTO shardgate.bucket_map (distribution_id, bucket, shard_id) \
         SELECT $1, n - 1, s FROM unnest($2::int2[]) WITH ORDINALITY AS o (s, n)",
        &[&id, &owners],
    )
    .await
    .map_err(|error| CatalogError::of(whom, &error))?;
    Ok(())
}

async fn insert_ranges(
    tx: &Transaction<'_>,
    whom: &str,
    id: i32,
    family: &str,
    bounds: &[String],
    shards: &[ShardRow],
) -> Result<(), CatalogError> {
    let home = shards
        .iter()
        .find(|shard| shard.home)
        .map(|shard| shard.id)
        .unwrap_or_default();
    let owner = |position: usize| match bounds {
        [] => home,
        _ => shards
            .get(position % shards.len().max(1))
            .map_or(home, |shard| shard.id),
    };
    let mut lowers: Vec<Option<String>> = vec![None];
    for bound in bounds {
        lowers.push(Some(canonical(tx, whom, family, bound).await?));
    }
    for (position, lower) in lowers.iter().enumerate() {
        tx.execute(
            "INSERT INTO shardgate.range_map (distribution_id, ordinal, lower, shard_id) VALUES ($1, $2, $3, $4)",
            &[&id, &i32::try_from(position).unwrap_or(i32::MAX), lower, &owner(position)],
        )
        .await
        .map_err(|error| match error.code() {
            Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION) => not_ascending().into(),
            Some(_) | None => CatalogError::of(whom, &error),
        })?;
    }
    // The order is that of the map, by value or by bytes, and not of the column's collation.
    match find(tx, whom, &format!("id = {id}"), shards).await {
        Err(CatalogError::Damaged { .. }) => Err(not_ascending().into()),
        other => other.map(|_| ()),
    }
}

fn not_ascending() -> PgError {
    PgError::new("22023", "the bounds of the ranges must ascend")
        .detail("Text and bytea are compared by their bytes.")
}

async fn insert_values(
    tx: &Transaction<'_>,
    whom: &str,
    id: i32,
    family: &str,
    values: &[(String, Option<String>)],
    default: Option<&str>,
    shards: &[ShardRow],
) -> Result<(), CatalogError> {
    let err = |error| CatalogError::of(whom, &error);
    let named = |name: &str| {
        let found = shards
            .iter()
            .find(|shard| shard.name == name)
            .map(|shard| shard.id);
        found.ok_or_else(|| PgError::new("42704", format!("shard \"{name}\" does not exist")))
    };
    if values.is_empty() && default.is_none() {
        return Err(PgError::new(
            "22023",
            "a list distribution needs values or a default shard",
        )
        .into());
    }
    for (position, (value, shard)) in values.iter().enumerate() {
        let owner = match shard {
            Some(name) => named(name)?,
            None => shards
                .get(position % shards.len().max(1))
                .map(|shard| shard.id)
                .unwrap_or_default(),
        };
        let value = canonical(tx, whom, family, value).await?;
        let inserted = tx
            .execute(
                "INSERT INTO shardgate.list_map (distribution_id, value, shard_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                &[&id, &value, &owner],
            )
            .await
            .map_err(err)?;
        if inserted == 0 {
            return Err(PgError::new("22023", format!("the value {value} is given twice")).into());
        }
    }
    if let Some(name) = default {
        tx.execute(
            "UPDATE shardgate.distribution SET default_shard = $2 WHERE id = $1",
            &[&id, &named(name)?],
        )
        .await
        .map_err(err)?;
    }
    Ok(())
}

/// A value as Postgres prints it; its error if it is none of the type.
async fn canonical(
    tx: &Transaction<'_>,
    whom: &str,
    family: &str,
    value: &str,
) -> Result<String, CatalogError> {
    let row = tx
        .query_one(&format!("SELECT ($1::text::{family})::text"), &[&value])
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    Ok(row.get(0))
}
