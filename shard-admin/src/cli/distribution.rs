//! `shard-admin distribution create|list`: how keys map to shards, and which tables share each map.

use crate::cli::Shared;
use crate::cli::map::{method_name, shard_name};
use crate::failure::Failure;
use crate::output::{Report, table};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use shardgate_catalog::{BUCKETS, NewDistribution, NewMethod, create_distribution};
use shardgate_plan::snapshot::{Distribution, Placement, RelationKind, Snapshot};
use shardgate_shard_map::{KeyType, Method, ShardId};
use std::collections::BTreeSet;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a distribution that no table belongs to yet; tables join it with "table distribute --distribution"
    Create(Create),
    /// List the distributions with their tables
    List,
}

#[derive(Debug, Args)]
pub struct Create {
    /// Its name
    name: String,
    /// The type of the sharding keys, as in SQL: bigint, text, uuid, date, ..
    #[arg(long)]
    key_type: String,
    #[command(flatten)]
    method: MethodArgs,
}

/// How keys map to shards; shared with "table distribute".
#[derive(Clone, Debug, Args)]
pub struct MethodArgs {
    /// How keys map to shards [default: hash]
    #[arg(long, value_enum)]
    pub method: Option<MethodName>,
    /// hash: the number of buckets, a power of two [default: 4096]
    #[arg(long, value_name = "N")]
    pub buckets: Option<u32>,
    /// range: the bounds in ascending order; n of them make n + 1 ranges on the shards in order
    #[arg(
        long,
        value_name = "KEY,KEY..",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub bounds: Vec<String>,
    /// list: a key, with the shard that it lives on; may be given many times
    #[arg(long = "value", value_name = "KEY=SHARD", allow_hyphen_values = true)]
    pub values: Vec<String>,
    /// list: where all other keys live; without it they are refused
    #[arg(long, value_name = "SHARD")]
    pub default_shard: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    Hash,
    Range,
    List,
}

impl MethodArgs {
    /// True if any of the options was given.
    pub fn is_given(&self) -> bool {
        self.method.is_some()
            || self.buckets.is_some()
            || !self.bounds.is_empty()
            || !self.values.is_empty()
            || self.default_shard.is_some()
    }

    /// Refuses options of another method than the chosen one.
    pub fn method(&self) -> Result<NewMethod, Failure> {
        let wrong = |option: &str, method: &str| {
            Err(Failure::usage(format!(
                "--{option} is for --method {method}"
            )))
        };
        match self.method.unwrap_or(MethodName::Hash) {
            MethodName::Hash | MethodName::List if !self.bounds.is_empty() => {
                wrong("bounds", "range")
            }
            MethodName::Range | MethodName::List if self.buckets.is_some() => {
                wrong("buckets", "hash")
            }
            MethodName::Hash | MethodName::Range if !self.values.is_empty() => {
                wrong("value", "list")
            }
            MethodName::Hash | MethodName::Range if self.default_shard.is_some() => {
                wrong("default-shard", "list")
            }
            MethodName::Hash => Ok(NewMethod::Hash {
                buckets: self.buckets.unwrap_or(BUCKETS),
            }),
            MethodName::Range => Ok(NewMethod::Range {
                bounds: self.bounds.clone(),
            }),
            MethodName::List => Ok(NewMethod::List {
                values: self.values.iter().map(|value| list_value(value)).collect(),
                default: self.default_shard.clone(),
            }),
        }
    }
}

/// `KEY=SHARD`, split at the last `=`, for shards' names have none.
fn list_value(text: &str) -> (String, Option<String>) {
    match text.rsplit_once('=') {
        Some((key, shard)) => (key.to_owned(), Some(shard.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// The name in pg_catalog of a type that is named as in SQL.
fn catalog_name(sql_name: &str) -> String {
    let lower = sql_name.to_lowercase();
    let name = match lower.as_str() {
        "smallint" => "int2",
        "integer" | "int" => "int4",
        "bigint" => "int8",
        "character varying" => "varchar",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        other => other,
    };
    name.to_owned()
}

async fn create(shared: &Shared, args: Create) -> Result<(), Failure> {
    let method = args.method.method()?;
    let mut home = shared.home().await?;
    let new = NewDistribution {
        name: args.name,
        key_type: catalog_name(&args.key_type),
        method,
    };
    let map = create_distribution(&mut home, &new).await?;
    let text = format!(
        "Made the distribution \"{}\": {} of {}, {} parts. See \"shard-admin map show {}\".",
        new.name,
        method_name(&map.method),
        key_type_name(map.key_type),
        parts(&map.method),
        new.name
    );
    let document = json!({
        "name": new.name,
        "method": method_name(&map.method),
        "key_type": key_type_name(map.key_type),
        "parts": parts(&map.method),
    });
    Report::new(text, document).print(shared.output);
    Ok(())
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create(shared, args).await,
        Verb::List => {
            let (_, _, snapshot) = shared.snapshot().await?;
            list(&snapshot).print(shared.output);
            Ok(())
        }
    }
}

fn list(snapshot: &Snapshot) -> Report {
    let mut all: Vec<&Distribution> = snapshot.distributions.values().collect();
    all.sort_by_key(|distribution| distribution.id);
    let rows = all.iter().map(|distribution| {
        let map = &distribution.map;
        [
            distribution.name.clone(),
            method_name(&map.method).to_owned(),
            key_type_name(map.key_type).to_owned(),
            parts(&map.method).to_string(),
            owners(snapshot, &map.method).join(", "),
            tables(snapshot, distribution).join(", "),
        ]
    });
    let documents = all.iter().map(|distribution| {
        let map = &distribution.map;
        json!({
            "name": distribution.name,
            "method": method_name(&map.method),
            "key_type": key_type_name(map.key_type),
            "parts": parts(&map.method),
            "shards": owners(snapshot, &map.method),
            "tables": tables(snapshot, distribution),
        })
    });
    let document = Value::Array(documents.collect());
    if all.is_empty() {
        return Report::new(
            "There is no distribution: no table is distributed.",
            document,
        );
    }
    Report::new(
        table(
            &["name", "method", "key", "parts", "shards", "tables"],
            rows,
        ),
        document,
    )
}

/// Buckets, ranges or values.
fn parts(method: &Method) -> usize {
    match method {
        Method::Hash { owners } | Method::Range { owners, .. } => owners.len(),
        Method::List { values, default } => values.len() + default.iter().count(),
    }
}

/// The names of the shards that own a part.
fn owners(snapshot: &Snapshot, method: &Method) -> Vec<String> {
    let ids: BTreeSet<ShardId> = match method {
        Method::Hash { owners } | Method::Range { owners, .. } => owners.iter().copied().collect(),
        Method::List { values, default } => values.values().copied().chain(*default).collect(),
    };
    ids.into_iter().map(|id| shard_name(snapshot, id)).collect()
}

fn tables(snapshot: &Snapshot, wanted: &Distribution) -> Vec<String> {
    let all = snapshot
        .relations
        .values()
        .flat_map(|tables| tables.values());
    let own = all.filter(|relation| {
        relation.kind != RelationKind::Index
            && matches!(relation.placement, Placement::Distributed { distribution, .. } if distribution == wanted.id)
    });
    let mut names: Vec<String> = own
        .map(|relation| format!("{}.{}", relation.schema, relation.name))
        .collect();
    names.sort();
    names
}

/// Postgres's name of the type.
pub fn key_type_name(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Int2 => "smallint",
        KeyType::Int4 => "integer",
        KeyType::Int8 => "bigint",
        KeyType::Text => "text",
        KeyType::Varchar => "varchar",
        KeyType::Uuid => "uuid",
        KeyType::Bytea => "bytea",
        KeyType::Date => "date",
        KeyType::Timestamp => "timestamp",
        KeyType::Timestamptz => "timestamptz",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> MethodArgs {
        MethodArgs {
            method: None,
            buckets: None,
            bounds: vec![],
            values: vec![],
            default_shard: None,
        }
    }

    #[test]
    fn options_belong_to_their_method() {
        assert_eq!(
            args().method().unwrap(),
            NewMethod::Hash { buckets: BUCKETS }
        );
        let list = MethodArgs {
            method: Some(MethodName::List),
            values: vec!["a=b=s1".to_owned(), "c".to_owned()],
            ..args()
        };
        let values = vec![
            ("a=b".to_owned(), Some("s1".to_owned())),
            ("c".to_owned(), None),
        ];
        assert_eq!(
            list.method().unwrap(),
            NewMethod::List {
                values,
                default: None
            }
        );
        for wrong in [
            MethodArgs {
                bounds: vec!["1".to_owned()],
                ..args()
            },
            MethodArgs {
                method: Some(MethodName::Range),
                buckets: Some(8),
                ..args()
            },
            MethodArgs {
                method: Some(MethodName::Range),
                values: vec!["1".to_owned()],
                ..args()
            },
            MethodArgs {
                default_shard: Some("s1".to_owned()),
                ..args()
            },
        ] {
            assert_eq!(
                wrong.method().unwrap_err().exit,
                crate::failure::Exit::Usage,
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn types_are_named_as_in_sql() {
        let check = |sql: &str, expect: &str| assert_eq!(catalog_name(sql), expect);
        check("BIGINT", "int8");
        check("uuid", "uuid");
        check("timestamp with time zone", "timestamptz");
    }
}
