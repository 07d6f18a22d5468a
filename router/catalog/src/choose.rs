//! Which distribution a new table joins: one that is named, another table's, the default for its key type, or a new one.

use crate::distribute::{Caller, DistributeRequest};
use crate::distribution::{self, BUCKETS, Known, NewDistribution, NewMethod, Purpose};
use crate::error::{CatalogError, PgError};
use crate::key_text;
use crate::quote::literal;
use crate::resolve;
use crate::table::{Table, TableColumn};
use crate::work::Work;
use shardgate_shard_map::{Method, ShardMap};

/// The distribution that the request names, or the one that its table shall have.
pub(crate) async fn choose(
    work: &Work<'_>,
    request: &DistributeRequest,
    table: &Table,
    key: &TableColumn,
) -> Result<Known, CatalogError> {
    let type_name = key.type_name.clone().unwrap_or_default();
    let joined = match (&request.distribution, request.colocate_with.as_deref()) {
        (Some(name), None | Some("default")) => {
            let condition = format!("name = {}", literal(name));
            let found = distribution::find(&work.tx, &work.whom, &condition, &work.shards).await?;
            Some(found.ok_or_else(|| {
                PgError::new("42704", format!("distribution \"{name}\" does not exist"))
            })?)
        }
        (Some(_), Some(_)) => {
            return Err(PgError::new(
                "22023",
                "a distribution and colocate_with cannot both be given",
            )
            .into());
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
            distribution::default_hash(&work.tx, &work.whom, &type_name, buckets, &work.shards)
                .await
        }
        method @ (NewMethod::Hash { .. } | NewMethod::Range { .. } | NewMethod::List { .. }) => {
            let name = distribution::free_name(&work.tx, &work.whom, &table.display()).await?;
            let new = NewDistribution {
                name,
                key_type: type_name,
                method,
            };
            distribution::create(&work.tx, &work.whom, &new, Purpose::Table, &work.shards).await
        }
    }
}

async fn distribution_of(
    work: &Work<'_>,
    relation: &str,
    caller: &Caller,
) -> Result<Known, CatalogError> {
    let other = resolve::visible(&work.tx, &work.whom, relation, caller).await?;
    let condition = format!(
        "id = (SELECT distribution_id FROM shardgate.distributed_table WHERE relation::oid = {})",
        other.oid
    );
    let found = distribution::find(&work.tx, &work.whom, &condition, &work.shards).await?;
    found.ok_or_else(|| {
        PgError::new(
            "0A000",
            format!("table \"{}\" is not distributed", other.display()),
        )
        .hint("Name a distributed table in colocate_with.")
        .into()
    })
}

/// Whoever joins a distribution cannot ask for another shape of it.
fn check_join(
    known: &Known,
    request: &DistributeRequest,
    key: &TableColumn,
) -> Result<(), PgError> {
    let family = key_text::family(known.map.key_type);
    let own = key
        .type_name
        .as_deref()
        .and_then(key_text::key_type)
        .map(key_text::family);
    if own != Some(family) {
        return Err(PgError::new(
            "42804",
            format!(
                "column \"{}\" of type {} cannot join a distribution of {family}",
                key.name, key.type_sql
            ),
        )
        .hint(
            "Co-located tables have sharding keys of one type; integers of any width count as one.",
        ));
    }
    let (method, buckets) = shape(&known.map);
    let differs = request
        .method
        .as_deref()
        .is_some_and(|asked| !asked.eq_ignore_ascii_case(method))
        || request.buckets.is_some_and(|asked| Some(asked) != buckets)
        || request.bounds.is_some()
        || request.values.is_some()
        || request.default_shard.is_some();
    if differs {
        return Err(PgError::new(
            "22023",
            format!(
                "distribution \"{}\" has another shape than asked for",
                known.name
            ),
        )
        .hint("Leave method, buckets, bounds and values out when joining a distribution."));
    }
    Ok(())
}

fn shape(map: &ShardMap) -> (&'static str, Option<u32>) {
    match &map.method {
        Method::Hash { owners } => ("hash", u32::try_from(owners.len()).ok()),
        Method::Range { .. } => ("range", None),
        Method::List { .. } => ("list", None),
    }
}

fn new_method(request: &DistributeRequest) -> Result<NewMethod, PgError> {
    let misplaced = |what: &str, method: &str| {
        Err(PgError::new(
            "22023",
            format!("{what} cannot be given for a {method} distribution"),
        ))
    };
    let method = request
        .method
        .clone()
        .unwrap_or_else(|| "hash".to_owned())
        .to_ascii_lowercase();
    let lists = request.values.is_some() || request.default_shard.is_some();
    match method.as_str() {
        "hash" if request.bounds.is_some() => misplaced("bounds", "hash"),
        "hash" if lists => misplaced("values", "hash"),
        "hash" => Ok(NewMethod::Hash {
            buckets: request.buckets.unwrap_or(BUCKETS),
        }),
        "range" | "list" if request.buckets.is_some() => misplaced("buckets", &method),
        "range" if lists => misplaced("values", "range"),
        "range" => Ok(NewMethod::Range {
            bounds: request.bounds.clone().unwrap_or_default(),
        }),
        "list" if request.bounds.is_some() => misplaced("bounds", "list"),
        "list" => Ok(NewMethod::List {
            values: request.values.clone().unwrap_or_default(),
            default: request.default_shard.clone(),
        }),
        other => Err(
            PgError::new("22023", format!("unknown distribution method \"{other}\""))
                .hint("The methods are hash, range and list."),
        ),
    }
}
