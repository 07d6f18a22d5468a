//! The catalog that the cases are planned against: the tables of the benchmark, by hash over two shards and at home.

use shardgate_plan::snapshot::{
    Column, ColumnDefault, Distribution, DistributionId, Epoch, Host, Placement, Relation,
    RelationKind, Shard, Snapshot,
};
use shardgate_shard_map::{KeyType, Method, ShardId, ShardMap};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Buckets of a hash map, as the catalog makes them.
const BUCKETS: usize = 4096;
const INT8: u32 = 20;
const TEXT: u32 = 25;

pub fn snapshot() -> Arc<Snapshot> {
    let distribution = DistributionId(1);
    let spread = Placement::Distributed {
        distribution,
        key: 0,
    };
    let account: &[(&str, u32)] = &[("aid", INT8), ("abalance", INT8), ("filler", TEXT)];
    let history: &[(&str, u32)] = &[("aid", INT8), ("delta", INT8)];
    let tables = [
        table(1001, "accounts", account, spread.clone()),
        table(1002, "history", history, spread),
        table(1003, "accounts_home", account, Placement::Home),
        table(
            1004,
            "notes",
            &[("id", INT8), ("body", TEXT)],
            Placement::Home,
        ),
    ];
    let owners = (0..BUCKETS).map(|bucket| ShardId(if bucket % 2 == 0 { 1 } else { 2 }));
    let map = ShardMap {
        key_type: KeyType::Int8,
        method: Method::Hash {
            owners: owners.collect(),
        },
        pins: HashMap::new(),
    };
    Arc::new(Snapshot {
        epoch: Epoch {
            number: 1,
            id: [1; 16],
            parent: [0; 16],
        },
        database: "app".to_owned(),
        home: ShardId(1),
        shards: vec![shard(1), shard(2)],
        distributions: HashMap::from([(
            distribution,
            Distribution {
                id: distribution,
                name: "accounts".to_owned(),
                map,
            },
        )]),
        relations: HashMap::from([(
            "public".to_owned(),
            tables
                .into_iter()
                .map(|table| (table.name.clone(), Arc::new(table)))
                .collect(),
        )]),
        functions: HashMap::new(),
        operators: Vec::new(),
        types: HashSet::new(),
        search_paths: HashMap::from([(None, vec!["$user".to_owned(), "public".to_owned()])]),
        schemas: HashSet::from(["public".to_owned()]),
        blind_functions: HashMap::new(),
        blind_of_row: HashSet::new(),
        blind_operators: HashMap::new(),
        blind_cast: None,
        blind_event: None,
        catalog_functions: HashSet::new(),
        opaque_operators: HashSet::new(),
        serializable: HashSet::new(),
        logins: HashMap::new(),
        casts: HashSet::new(),
        cast_code: None,
        event_code: None,
        moves: Vec::new(),
        floors: HashMap::new(),
    })
}

fn shard(number: u16) -> Shard {
    Shard {
        id: ShardId(number),
        name: format!("s{number}"),
        weight: 100,
        hosts: vec![Host {
            host: "127.0.0.1".to_owned(),
            port: 5432 + number,
        }],
    }
}

fn table(oid: u32, name: &str, columns: &[(&str, u32)], placement: Placement) -> Relation {
    let column = |(number, (name, ty)): (usize, &(&str, u32))| Column {
        name: (*name).to_owned(),
        ty: *ty,
        modifier: -1,
        not_null: number == 0,
        default: ColumnDefault::None,
        deterministic: true,
    };
    Relation {
        oid,
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        columns: columns.iter().enumerate().map(column).collect(),
        placement,
        runs_code: None,
        inherits: false,
        view: None,
        row_security: false,
        blind_code: None,
        blind_read: None,
        code_read: None,
        everywhere: false,
        unlogged: false,
    }
}
