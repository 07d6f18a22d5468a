//! The rows of one distribution -> its shard map, or what is wrong with them.

use crate::build::damaged;
use crate::error::CatalogError;
use crate::key_text;
use crate::raw::RawDistribution;
use shardgate_shard_map::{Key, Method, ShardId, ShardMap};
use std::collections::{HashMap, HashSet};

/// The map of one distribution, checked against the shards that exist.
pub(crate) fn build_map(
    raw: &RawDistribution,
    known: &HashSet<u16>,
) -> Result<ShardMap, CatalogError> {
    let wrong = |what: String| damaged(&format!("distribution \"{}\" {what}", raw.name));
    let key_type = key_text::key_type(&raw.key_type)
        .ok_or_else(|| wrong(format!("has the key type {}", raw.key_type)))?;
    let shard = |id: u16| {
        if known.contains(&id) {
            Ok(ShardId(id))
        } else {
            Err(wrong(format!("names shard {id}, which is not there")))
        }
    };
    let key = |hex: &str| {
        key_text::from_binary(key_type, hex)
            .ok_or_else(|| wrong(format!("has a value that is no {}", raw.key_type)))
    };
    let table = |rows: &[(String, u16)]| -> Result<HashMap<Key, ShardId>, CatalogError> {
        rows.iter()
            .map(|(hex, id)| Ok((key(hex)?, shard(*id)?)))
            .collect()
    };
    let method = match raw.method.as_str() {
        "hash" => {
            let count = raw.owners.len();
            if Some(count) != raw.buckets.and_then(|n| usize::try_from(n).ok())
                || !count.is_power_of_two()
            {
                return Err(wrong(format!("has {count} buckets in its map")));
            }
            Method::Hash {
                owners: raw
                    .owners
                    .iter()
                    .map(|id| shard(*id))
                    .collect::<Result<_, _>>()?,
            }
        }
        "range" => range_method(raw, &shard, &key).and_then(|method| {
            method.ok_or_else(|| wrong("has bounds that are not ascending".to_owned()))
        })?,
        "list" => Method::List {
            values: table(&raw.values)?,
            default: raw.default_shard.map(shard).transpose()?,
        },
        other => return Err(wrong(format!("has the unknown method {other}"))),
    };
    Ok(ShardMap {
        key_type,
        method,
        pins: table(&raw.pins)?,
    })
}

/// None: the first range has a bound, another has none, or they are not strictly ascending.
fn range_method(
    raw: &RawDistribution,
    shard: &impl Fn(u16) -> Result<ShardId, CatalogError>,
    key: &impl Fn(&str) -> Result<Key, CatalogError>,
) -> Result<Option<Method>, CatalogError> {
    let Some(((None, first), rest)) = raw.ranges.split_first() else {
        return Ok(None);
    };
    let mut owners = vec![shard(*first)?];
    let mut bounds = Vec::new();
    for (lower, id) in rest {
        let Some(hex) = lower else { return Ok(None) };
        bounds.push(key(hex)?);
        owners.push(shard(*id)?);
    }
    let ascending = bounds.windows(2).all(|pair| pair.first() < pair.get(1));
    Ok(ascending.then_some(Method::Range { bounds, owners }))
}
