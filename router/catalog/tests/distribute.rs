//! Distributing tables on real servers: what is made where, what is refused and why, and what the guards let pass.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use shardgate_catalog::{
    Backend, Caller, CatalogError, DistributeRequest, NewDistribution, NewMethod, call,
    create_distribution, distribute_table, load, reference_table, undistribute_table,
};
use shardgate_plan::snapshot::{ColumnDefault, Placement};
use shardgate_plan::{Argument, Call, CallName};
use shardgate_shard_map::{Key, ShardId, ShardMap};
use support::{Cluster, text};

fn request(relation: &str, column: &str) -> DistributeRequest {
    DistributeRequest {
        relation: relation.to_owned(),
        column: column.to_owned(),
        ..DistributeRequest::default()
    }
}

fn list(items: &[&str]) -> Option<Vec<String>> {
    Some(items.iter().map(|item| (*item).to_owned()).collect())
}

/// Runs SQL on home as an application's tool would.
async fn run(backend: &Backend, sql: &str) {
    backend
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn map_of(cluster: &mut Cluster, table: &str) -> ShardMap {
    let snapshot = load(&mut cluster.home, None)
        .await
        .unwrap()
        .build()
        .unwrap();
    match &snapshot.relation("public", table).unwrap().placement {
        Placement::Distributed { distribution, .. } => {
            snapshot.distributions[distribution].map.clone()
        }
        other => panic!("{table} is {other:?}"),
    }
}

/// Inserts each key on each shard and compares what is accepted with the map.
async fn guards_agree(cluster: &mut Cluster, table: &str, keys: &[(&str, Key)]) {
    let map = map_of(cluster, table).await;
    let mut owners = std::collections::BTreeSet::new();
    for (number, server) in cluster.servers.iter().enumerate() {
        let shard = ShardId(u16::try_from(number).unwrap() + 1);
        let backend = server.connect().await;
        for (literal, key) in keys {
            let inserted = backend
                .execute(
                    &format!("INSERT INTO public.{table} (k) VALUES ({literal})"),
                    &[],
                )
                .await;
            let owner = map.route(key).ok();
            owners.extend(owner);
            match inserted {
                Ok(_) => assert_eq!(
                    owner,
                    Some(shard),
                    "{table}: {literal} was accepted by {shard:?}"
                ),
                Err(error) => {
                    let db = error.as_db_error().unwrap();
                    assert_eq!(
                        (db.code().code(), db.constraint()),
                        ("23514", Some("shardgate_owns")),
                        "{db:?}"
                    );
                    assert_ne!(
                        owner,
                        Some(shard),
                        "{table}: {literal} was refused by its shard"
                    );
                }
            }
        }
        let null = backend
            .execute(
                &format!("INSERT INTO public.{table} (k) VALUES (NULL)"),
                &[],
            )
            .await
            .unwrap_err();
        assert_eq!(null.code().unwrap().code(), "23502");
        // Even where NULL is allowed the guard refuses it.
        run(
            &backend,
            &format!("ALTER TABLE public.{table} ALTER COLUMN k DROP NOT NULL"),
        )
        .await;
        let null = backend
            .execute(
                &format!("INSERT INTO public.{table} (k) VALUES (NULL)"),
                &[],
            )
            .await
            .unwrap_err();
        assert_eq!(
            null.as_db_error().unwrap().constraint(),
            Some("shardgate_owns")
        );
        // Apply workers pass.
        let (literal, _) = &keys[0];
        let sql = format!(
            "BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO public.{table} (k) VALUES ({literal}); ROLLBACK"
        );
        run(&backend, &sql).await;
    }
    assert!(
        owners.len() > 1,
        "{table}: the keys are all of one shard, which tests little"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_accept_what_the_map_says_and_nothing_else() {
    let mut cluster = Cluster::start(2).await;
    let ints: Vec<(String, Key)> = (-40..40)
        .map(|n: i64| (n.to_string(), Key::Int(n)))
        .collect();
    let ints: Vec<(&str, Key)> = ints
        .iter()
        .map(|(text, key)| (text.as_str(), key.clone()))
        .collect();
    let words = ["", "a", "b", "B", "é", "zebra", "ab", "abc", "x'y", "日本"];
    let quoted: Vec<String> = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', "''")))
        .collect();
    let texts: Vec<(&str, Key)> = quoted
        .iter()
        .zip(words)
        .map(|(sql, word)| (sql.as_str(), Key::Text(word.into())))
        .collect();
    let uuid = |last: u8| {
        let mut bytes = [0; 16];
        bytes[15] = last;
        Key::Uuid(bytes)
    };
    let uuids: Vec<(String, Key)> = (0..20)
        .map(|n| {
            (
                format!("'00000000-0000-0000-0000-0000000000{n:02x}'"),
                uuid(n),
            )
        })
        .collect();
    let uuids: Vec<(&str, Key)> = uuids
        .iter()
        .map(|(text, key)| (text.as_str(), key.clone()))
        .collect();
    let dates = [
        ("'2000-01-01'", Key::Date(0)),
        ("'2000-01-31'", Key::Date(30)),
        ("'1999-12-31'", Key::Date(-1)),
        ("'2000-02-01'", Key::Date(31)),
        ("'2001-01-01'", Key::Date(366)),
        ("'infinity'", Key::Date(i32::MAX)),
        ("'-infinity'", Key::Date(i32::MIN)),
    ];
    let times = [
        ("'2000-01-01 00:00:00+00'", Key::Timestamp(0)),
        ("'2000-01-01 01:00:00+00'", Key::Timestamp(3_600_000_000)),
        ("'2000-01-01 00:00:00.000001+00'", Key::Timestamp(1)),
        ("'1999-12-31 00:00:00+00'", Key::Timestamp(-86_400_000_000)),
        ("'infinity'", Key::Timestamp(i64::MAX)),
    ];
    let byteas = [
        ("'\\x00'::bytea", Key::Bytea([0].into())),
        ("'\\xff'::bytea", Key::Bytea([255].into())),
        ("''::bytea", Key::Bytea([].into())),
        ("'\\x80'::bytea", Key::Bytea([128].into())),
        ("'\\x7f00'::bytea", Key::Bytea([127, 0].into())),
    ];
    let hash = |ty: &str, buckets: Option<u32>| {
        (
            ty.to_owned(),
            DistributeRequest {
                buckets,
                ..DistributeRequest::default()
            },
        )
    };
    let range = |ty: &str, bounds: &[&str]| {
        let request = DistributeRequest {
            method: Some("range".to_owned()),
            bounds: list(bounds),
            ..DistributeRequest::default()
        };
        (ty.to_owned(), request)
    };
    let cases: [(_, &[(&str, Key)]); 16] = [
        (hash("bigint", None), &ints),
        (hash("smallint", Some(2)), &ints),
        (hash("int", Some(16)), &ints),
        (hash("text", Some(64)), &texts),
        (hash("varchar(20)", Some(64)), &texts),
        (hash("uuid", None), &uuids),
        (hash("bytea", Some(8)), &byteas),
        (hash("date", Some(8)), &dates),
        (hash("timestamp", Some(8)), &times),
        (hash("timestamptz", Some(8)), &times),
        (range("int", &["-10", "0", "10"]), &ints),
        (range("varchar(10)", &["a", "b"]), &texts),
        (range("date", &["2000-01-01", "2000-02-01"]), &dates),
        (
            range(
                "timestamptz",
                &["2000-01-01 02:00:00+02", "2000-01-01 00:30:00+00"],
            ),
            &times,
        ),
        (range("bytea", &["\\x80"]), &byteas),
        (
            range("uuid", &["00000000-0000-0000-0000-000000000007"]),
            &uuids,
        ),
    ];
    for (number, ((ty, asked), keys)) in cases.into_iter().enumerate() {
        let table = format!("t{number}");
        run(
            &cluster.home,
            &format!("CREATE TABLE public.{table} (k {ty}, v text)"),
        )
        .await;
        let asked = DistributeRequest {
            relation: format!("public.{table}"),
            column: "k".to_owned(),
            ..asked
        };
        distribute_table(&mut cluster.home, &asked)
            .await
            .unwrap_or_else(|error| panic!("{table} {ty}: {error:?}"));
        guards_agree(&mut cluster, &table, keys).await;
    }

    // Lists: values in order, named shards, a default.
    run(&cluster.home, "CREATE TABLE public.l (k text)").await;
    let values = ["a", "b", "x'y"].map(|value| (value.to_owned(), None));
    let asked = DistributeRequest {
        method: Some("list".to_owned()),
        values: Some(values.to_vec()),
        ..request("public.l", "k")
    };
    distribute_table(&mut cluster.home, &asked).await.unwrap();
    guards_agree(&mut cluster, "l", &texts).await;
    let new = NewDistribution {
        name: "regions".to_owned(),
        key_type: "int4".to_owned(),
        method: NewMethod::List {
            values: vec![("1".to_owned(), Some("s2".to_owned()))],
            default: Some("s1".to_owned()),
        },
    };
    create_distribution(&mut cluster.home, &new).await.unwrap();
    run(&cluster.home, "CREATE TABLE public.m (k int)").await;
    let asked = DistributeRequest {
        distribution: Some("regions".to_owned()),
        ..request("public.m", "k")
    };
    distribute_table(&mut cluster.home, &asked).await.unwrap();
    guards_agree(&mut cluster, "m", &ints).await;
    assert_eq!(
        map_of(&mut cluster, "m").await.route(&Key::Int(1)),
        Ok(ShardId(2))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_definition_is_the_same_on_every_shard() {
    let mut cluster = Cluster::start(3).await;
    for server in &cluster.servers {
        run(
            &server.connect().await,
            "CREATE ROLE app LOGIN; CREATE ROLE reader",
        )
        .await;
    }
    run(
        &cluster.home,
        "CREATE SCHEMA \"Shop\" AUTHORIZATION app; GRANT USAGE ON SCHEMA \"Shop\" TO reader;
         CREATE TABLE \"Shop\".countries (code varchar(2) PRIMARY KEY, name text NOT NULL);
         CREATE TABLE \"Shop\".\"Users\" (gone int, id bigserial PRIMARY KEY, \"Name\" varchar(40) COLLATE \"C\" NOT NULL DEFAULT 'x''y',
             country varchar(2) REFERENCES \"Shop\".countries, at timestamptz(3) NOT NULL DEFAULT now(),
             price numeric(10,2) CHECK (price > 0) , doubled numeric GENERATED ALWAYS AS (price * 2) STORED, tags text[] DEFAULT '{}',
             n int GENERATED BY DEFAULT AS IDENTITY, big text, UNIQUE (id, \"Name\"), EXCLUDE USING btree (id WITH =))
             WITH (fillfactor = 70, autovacuum_enabled = false);
         ALTER TABLE \"Shop\".\"Users\" DROP COLUMN gone;
         ALTER TABLE \"Shop\".\"Users\" ALTER COLUMN big SET STORAGE EXTERNAL;
         CREATE INDEX users_name ON \"Shop\".\"Users\" (lower(\"Name\")) WHERE price > 1;
         CREATE UNIQUE INDEX users_unique ON \"Shop\".\"Users\" (\"Name\", id DESC) INCLUDE (price);
         CREATE STATISTICS \"Shop\".st ON id, price FROM \"Shop\".\"Users\";
         ALTER TABLE \"Shop\".\"Users\" REPLICA IDENTITY FULL;
         ALTER TABLE \"Shop\".\"Users\" OWNER TO app;
         GRANT SELECT ON \"Shop\".\"Users\" TO reader; GRANT UPDATE (price) ON \"Shop\".\"Users\" TO reader WITH GRANT OPTION;
         CREATE TABLE \"Shop\".orders (user_id int NOT NULL, id int, PRIMARY KEY (user_id, id),
             FOREIGN KEY (user_id) REFERENCES \"Shop\".\"Users\" (id));
         ALTER TABLE \"Shop\".orders DROP CONSTRAINT orders_user_id_fkey;
         CREATE TABLE \"Shop\".stays (a int);
         CREATE VIEW \"Shop\".pairs AS SELECT o.id, u.\"Name\" AS \"N\" FROM \"Shop\".orders o JOIN \"Shop\".\"Users\" u ON u.id = o.user_id;
         CREATE VIEW \"Shop\".total WITH (security_barrier) AS SELECT count(*) FROM \"Shop\".pairs;
         GRANT SELECT ON \"Shop\".total TO reader;
         CREATE VIEW \"Shop\".mixed AS SELECT * FROM \"Shop\".pairs, \"Shop\".stays",
    )
    .await;
    let admin = Caller::default();
    reference_table(&mut cluster.home, "\"Shop\".countries", &admin)
        .await
        .unwrap();
    distribute_table(&mut cluster.home, &request("\"Shop\".\"Users\"", "id"))
        .await
        .unwrap();
    // int and bigint are one family: co-located by default, so the foreign key holds on each shard.
    run(
        &cluster.home,
        "ALTER TABLE \"Shop\".orders ADD FOREIGN KEY (user_id) REFERENCES \"Shop\".\"Users\" (id) ON DELETE CASCADE",
    )
    .await;
    distribute_table(&mut cluster.home, &request("\"Shop\".orders", "user_id"))
        .await
        .unwrap();

    let definition = "SELECT string_agg(d, E'\\n' ORDER BY d) FROM (
        SELECT concat_ws(' ', a.attnum, a.attname, format_type(atttypid, atttypmod), attnotnull, attstorage, attgenerated,
            attcollation::regcollation, attisdropped, CASE WHEN a.attname NOT IN ('id', 'n') THEN pg_get_expr(adbin, adrelid) END) AS d
            FROM pg_attribute a LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE attrelid = '\"Shop\".\"Users\"'::regclass AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT conrelid::regclass || conname || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = '\"Shop\"'::regnamespace AND conname <> 'shardgate_owns'
        UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '\"Shop\".\"Users\"'::regclass
        UNION ALL SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
        UNION ALL SELECT concat_ws(' ', relname, pg_get_userbyid(relowner), relreplident, reloptions::text) FROM pg_class
            WHERE relnamespace = '\"Shop\"'::regnamespace AND relkind = 'r' AND relname <> 'stays'
        UNION ALL SELECT concat_ws(' ', relname, e.grantee::regrole, privilege_type, is_grantable)
            FROM pg_class, aclexplode(relacl) e WHERE relname = 'Users'
        UNION ALL SELECT concat_ws(' ', attname, e.grantee::regrole, privilege_type, is_grantable)
            FROM pg_attribute, aclexplode(attacl) e WHERE attrelid = '\"Shop\".\"Users\"'::regclass
        UNION ALL SELECT concat_ws(' ', nspname, pg_get_userbyid(nspowner), has_schema_privilege('reader', oid, 'USAGE'))
            FROM pg_namespace WHERE nspname = 'Shop') AS x";
    let home = text(&cluster.home, definition).await;
    assert!(
        home.contains("fillfactor=70")
            && home.contains("users_unique")
            && home.contains("price reader UPDATE t"),
        "{home}"
    );
    for server in &cluster.servers[1..] {
        let shard = server.connect().await;
        assert_eq!(text(&shard, definition).await, home);
        // The sequence is on home alone.
        let own_id = shard
            .execute(
                "INSERT INTO \"Shop\".\"Users\" (\"Name\") VALUES ('a')",
                &[],
            )
            .await
            .unwrap_err();
        assert_eq!(own_id.as_db_error().unwrap().code().code(), "0A000");
        assert_eq!(
            text(&shard, "SELECT count(*)::text FROM pg_prepared_xacts").await,
            "0"
        );
        let epochs = "SELECT epoch::text || epoch_id FROM shardgate.identity";
        assert_eq!(
            text(&shard, epochs).await,
            text(&cluster.home, epochs).await
        );
    }

    let snapshot = load(&mut cluster.home, None)
        .await
        .unwrap()
        .build()
        .unwrap();
    let users = snapshot.relation("Shop", "Users").unwrap();
    let orders = snapshot.relation("Shop", "orders").unwrap();
    let Placement::Distributed { distribution, key } = users.placement else {
        panic!("{:?}", users.placement)
    };
    assert_eq!(
        (
            key,
            users.columns[0].name.as_str(),
            users.columns[0].default.clone()
        ),
        (0, "id", ColumnDefault::Sequence)
    );
    assert_eq!(
        orders.placement,
        Placement::Distributed {
            distribution,
            key: 0
        }
    );
    assert_eq!(
        snapshot.relation("Shop", "countries").unwrap().placement,
        Placement::Reference
    );
    assert_eq!(users.runs_code, None);
    assert_eq!(snapshot.distributions[&distribution].name, "int8_4096");

    // Views go along as soon as all that they read is there, and no sooner.
    let views = "SELECT string_agg(relname || ' ' || pg_get_viewdef(oid), ';' ORDER BY relname) FROM pg_class
        WHERE relkind = 'v' AND relnamespace = '\"Shop\"'::regnamespace AND relname <> 'mixed'";
    for server in &cluster.servers[1..] {
        let shard = server.connect().await;
        assert_eq!(text(&shard, views).await, text(&cluster.home, views).await);
        assert_eq!(
            text(&shard, "SELECT to_regclass('\"Shop\".mixed')::text").await,
            "NULL"
        );
        assert_eq!(
            text(
                &shard,
                "SELECT has_table_privilege('reader', '\"Shop\".total', 'SELECT')::text"
            )
            .await,
            "true"
        );
    }

    // A renamed key is still the key.
    run(
        &cluster.home,
        "ALTER TABLE \"Shop\".orders RENAME COLUMN user_id TO uid",
    )
    .await;
    let renamed = load(&mut cluster.home, None)
        .await
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        renamed.relation("Shop", "orders").unwrap().columns[0].name,
        "uid"
    );
    assert_eq!(
        renamed.relation("Shop", "orders").unwrap().placement,
        orders.placement
    );

    // Back again.
    let tied = undistribute_table(&mut cluster.home, "\"Shop\".\"Users\"", &admin)
        .await
        .unwrap_err();
    assert!(
        tied.sqlstate() == "0A000" && tied.to_string().contains("ties table"),
        "{tied}"
    );
    run(
        &cluster.home,
        "ALTER TABLE \"Shop\".orders DROP CONSTRAINT \"orders_user_id_fkey\"",
    )
    .await;
    undistribute_table(&mut cluster.home, "\"Shop\".orders", &admin)
        .await
        .unwrap();
    undistribute_table(&mut cluster.home, "\"Shop\".\"Users\"", &admin)
        .await
        .unwrap();
    undistribute_table(&mut cluster.home, "\"Shop\".countries", &admin)
        .await
        .unwrap();
    for server in &cluster.servers[1..] {
        let left = text(
            &server.connect().await,
            "SELECT count(*)::text FROM pg_class WHERE relnamespace = '\"Shop\"'::regnamespace",
        )
        .await;
        assert_eq!(left, "0");
    }
    let guards = text(
        &cluster.home,
        "SELECT count(*)::text FROM pg_constraint WHERE conname = 'shardgate_owns'",
    )
    .await;
    assert_eq!(guards, "0");
    // Distributions that were made for a table go with it, also when it was dropped; the default one stays.
    let own = DistributeRequest {
        colocate_with: Some("none".to_owned()),
        ..request("\"Shop\".orders", "uid")
    };
    distribute_table(&mut cluster.home, &own).await.unwrap();
    run(&cluster.home, "DROP TABLE \"Shop\".orders CASCADE").await;
    run(&cluster.home, "CREATE TABLE \"Shop\".orders (uid int)").await;
    for server in &cluster.servers[1..] {
        run(
            &server.connect().await,
            "DROP TABLE \"Shop\".orders CASCADE",
        )
        .await;
    }
    let other = NewDistribution {
        name: "other".to_owned(),
        key_type: "uuid".to_owned(),
        method: NewMethod::Hash { buckets: 4 },
    };
    create_distribution(&mut cluster.home, &other)
        .await
        .unwrap();
    let names = "SELECT string_agg(name, ' ' ORDER BY name) FROM shardgate.distribution";
    assert_eq!(text(&cluster.home, names).await, "int8_4096 other");
    assert_eq!(
        text(
            &cluster.home,
            "SELECT count(*)::text FROM shardgate.distributed_table"
        )
        .await,
        "0"
    );
    let twice = undistribute_table(&mut cluster.home, "\"Shop\".orders", &admin)
        .await
        .unwrap_err();
    assert_eq!(twice.sqlstate(), "42809");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_hold_per_shard_is_refused_with_the_reason() {
    let mut cluster = Cluster::start(2).await;
    run(&cluster.home, REFUSED).await;
    let hash = |relation: &str| request(relation, "k");
    for (asked, state, words) in [
        (hash("missing"), "42P01", "does not exist"),
        (request("plain", "nope"), "42703", "column \"nope\""),
        (
            request("plain", "n"),
            "0A000",
            "type numeric cannot be a sharding key",
        ),
        (request("plain", "e"), "0A000", "cannot be a sharding key"),
        (request("plain", "nd"), "0A000", "not deterministic"),
        (request("plain", "g"), "0A000", "generated column"),
        (hash("v"), "42809", "view"),
        (hash("mv"), "42809", "materialized view"),
        (hash("unl"), "0A000", "unlogged"),
        (hash("part"), "0A000", "partitioned"),
        (hash("part1"), "0A000", "inheritance or is a partition"),
        (hash("parent"), "0A000", "inheritance"),
        (hash("shardgate.epoch"), "42809", "system table"),
        (
            hash("pk"),
            "0A000",
            "primary key \"pk_pkey\" does not contain the sharding key \"k\"",
        ),
        (hash("uq"), "0A000", "unique constraint"),
        (hash("ui"), "0A000", "unique index \"ui_x\""),
        (hash("ex"), "0A000", "exclusion constraint"),
        (hash("trig"), "0A000", "trigger \"tr\""),
        (hash("ruled"), "0A000", "rule \"r\""),
        (hash("pol"), "0A000", "policy \"p\""),
        (hash("rls"), "0A000", "row security"),
        (hash("matviewed"), "0A000", "materialized view public.mv"),
        (hash("user_type"), "0A000", "not built in"),
        (hash("always"), "0A000", "GENERATED ALWAYS"),
        (
            hash("deff"),
            "0A000",
            "the default of column \"a\" calls public.f",
        ),
        (hash("defsql"), "0A000", "calls query_to_xml"),
        (hash("chk"), "0A000", "constraint \"c\" calls public.f"),
        (hash("idx"), "0A000", "index \"idx_x\" calls public.f"),
        (hash("fk_home"), "0A000", "refers to public.home_target"),
        (
            hash("referenced"),
            "0A000",
            "foreign key \"fk_to\" of public.refers",
        ),
        (hash("rows"), "0A000", "is not empty"),
        (
            DistributeRequest {
                buckets: Some(3),
                ..hash("plain")
            },
            "22023",
            "3 buckets",
        ),
        (
            DistributeRequest {
                method: Some("magic".to_owned()),
                ..hash("plain")
            },
            "22023",
            "magic",
        ),
        (
            DistributeRequest {
                bounds: list(&["1"]),
                ..hash("plain")
            },
            "22023",
            "bounds cannot be given",
        ),
        (
            DistributeRequest {
                method: Some("range".to_owned()),
                bounds: list(&["2", "1"]),
                ..hash("plain")
            },
            "22023",
            "must ascend",
        ),
        (
            DistributeRequest {
                method: Some("range".to_owned()),
                bounds: list(&["1", "1"]),
                ..hash("plain")
            },
            "22023",
            "must ascend",
        ),
        (
            DistributeRequest {
                method: Some("range".to_owned()),
                bounds: list(&["x"]),
                ..hash("plain")
            },
            "22P02",
            "invalid input",
        ),
        (
            DistributeRequest {
                method: Some("list".to_owned()),
                ..hash("plain")
            },
            "22023",
            "needs values",
        ),
        (
            DistributeRequest {
                colocate_with: Some("pk".to_owned()),
                ..hash("plain")
            },
            "0A000",
            "is not distributed",
        ),
        (
            DistributeRequest {
                distribution: Some("none".to_owned()),
                ..hash("plain")
            },
            "42704",
            "does not exist",
        ),
        (
            DistributeRequest {
                role: Caller {
                    role: Some("other".to_owned()),
                    search_path: None,
                },
                ..hash("plain")
            },
            "42501",
            "must be owner",
        ),
        (
            DistributeRequest {
                role: Caller {
                    role: Some("ghost".to_owned()),
                    search_path: None,
                },
                ..hash("plain")
            },
            "42704",
            "role \"ghost\"",
        ),
        (
            DistributeRequest {
                role: Caller {
                    role: None,
                    search_path: list(&["nowhere"]),
                },
                ..hash("plain")
            },
            "42P01",
            "does not exist",
        ),
    ] {
        let error = distribute_table(&mut cluster.home, &asked)
            .await
            .unwrap_err();
        assert!(
            error.sqlstate() == state && error.to_string().contains(words),
            "{}: {} {error}",
            asked.relation,
            error.sqlstate()
        );
        if state == "0A000" {
            assert!(error.pg().hint.is_some(), "{error} has no hint");
        }
    }
    // Nothing of all that was left anywhere.
    assert_eq!(
        text(
            &cluster.home,
            "SELECT count(*)::text FROM shardgate.distribution"
        )
        .await,
        "0"
    );
    assert_eq!(
        text(
            &cluster.home,
            "SELECT max(number)::text FROM shardgate.epoch"
        )
        .await,
        "2"
    );
    let shard = cluster.servers[1].connect().await;
    assert_eq!(
        text(
            &shard,
            "SELECT count(*)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
        .await,
        "0"
    );
    assert_eq!(
        text(&shard, "SELECT count(*)::text FROM pg_prepared_xacts").await,
        "0"
    );

    // The name is taken on the other shard.
    run(&shard, "CREATE TABLE public.target (k int)").await;
    let error = distribute_table(&mut cluster.home, &hash("target"))
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "42P07", "{error}");
    run(&shard, "DROP TABLE public.target").await;
    distribute_table(&mut cluster.home, &hash("target"))
        .await
        .unwrap();
    let error = distribute_table(&mut cluster.home, &hash("target"))
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "42710", "{error}");

    // Foreign keys between distributed tables must pair the keys of one distribution.
    run(
        &cluster.home,
        "CREATE TABLE public.kid (k int NOT NULL, x int REFERENCES public.target (k))",
    )
    .await;
    let error = distribute_table(&mut cluster.home, &hash("kid"))
        .await
        .unwrap_err();
    assert!(error.pg().detail.unwrap().contains("different shards"));
    distribute_table(&mut cluster.home, &request("kid", "x"))
        .await
        .unwrap();

    // Rows on another shard keep a table distributed.
    let map = map_of(&mut cluster, "target").await;
    let far = (0..)
        .find(|n| map.route(&Key::Int(*n)) == Ok(ShardId(2)))
        .unwrap();
    run(
        &shard,
        &format!("INSERT INTO public.target (k) VALUES ({far})"),
    )
    .await;
    run(
        &cluster.home,
        "ALTER TABLE public.kid DROP CONSTRAINT kid_x_fkey",
    )
    .await;
    let error = undistribute_table(&mut cluster.home, "target", &Caller::default())
        .await
        .unwrap_err();
    assert!(
        error.sqlstate() == "0A000" && error.to_string().contains("has rows on this shard"),
        "{error}"
    );
}

const REFUSED: &str = "SET search_path = public;
    CREATE ROLE other;
    CREATE TYPE mood AS ENUM ('a');
    CREATE COLLATION nd (provider = icu, locale = 'und', deterministic = false);
    CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
    CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end';
    CREATE TABLE plain (k int PRIMARY KEY, n numeric, e money, nd text COLLATE nd, g int GENERATED ALWAYS AS (1) STORED);
    ALTER TABLE plain DROP COLUMN nd; ALTER TABLE plain ADD COLUMN nd text COLLATE nd;
    CREATE VIEW v AS SELECT 1 AS k;
    CREATE TABLE matviewed (k int); CREATE VIEW mid AS SELECT * FROM matviewed; CREATE MATERIALIZED VIEW mv AS SELECT * FROM mid;
    CREATE UNLOGGED TABLE unl (k int);
    CREATE TABLE part (k int) PARTITION BY HASH (k); CREATE TABLE part1 PARTITION OF part FOR VALUES WITH (MODULUS 1, REMAINDER 0);
    CREATE TABLE parent (k int); CREATE TABLE inherited () INHERITS (parent);
    CREATE TABLE target (k int PRIMARY KEY);
    CREATE TABLE pk (id int PRIMARY KEY, k int);
    CREATE TABLE uq (k int, a int UNIQUE);
    CREATE TABLE ui (k int, a int); CREATE UNIQUE INDEX ui_x ON ui (a) INCLUDE (k);
    CREATE TABLE ex (k int, EXCLUDE USING gist (int4range(k, k, '[]') WITH &&));
    CREATE TABLE trig (k int); CREATE TRIGGER tr BEFORE INSERT ON trig FOR EACH ROW EXECUTE FUNCTION tf();
    CREATE TABLE ruled (k int); CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING;
    CREATE TABLE pol (k int); CREATE POLICY p ON pol USING (true);
    CREATE TABLE rls (k int); ALTER TABLE rls ENABLE ROW LEVEL SECURITY;
    CREATE TABLE user_type (k int, m mood);
    CREATE TABLE always (k int, i int GENERATED ALWAYS AS IDENTITY);
    CREATE TABLE deff (k int, a int DEFAULT f(1));
    CREATE TABLE defsql (k int, a xml DEFAULT query_to_xml('select 1', true, true, ''));
    CREATE TABLE chk (k int CONSTRAINT c CHECK (f(k) > 0));
    CREATE TABLE idx (k int); CREATE INDEX idx_x ON idx (f(k));
    CREATE TABLE fk_home (k int REFERENCES plain);
    CREATE TABLE referenced (k int PRIMARY KEY); CREATE TABLE refers (k int CONSTRAINT fk_to REFERENCES referenced);
    DROP TABLE fk_home; CREATE TABLE home_target (k int PRIMARY KEY); CREATE TABLE fk_home (k int REFERENCES home_target);
    CREATE TABLE rows (k int); INSERT INTO rows VALUES (1);
    RESET search_path; SET search_path = pg_catalog, pg_temp;";

/// A session's temporary code goes on running where only a part of the rows will be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_code_of_sessions_stands_in_the_way() {
    let mut cluster = Cluster::start(2).await;
    run(&cluster.home, "CREATE TABLE public.t (k int); CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'").await;
    for (create, words) in [
        (
            "CREATE TEMP VIEW v AS SELECT * FROM public.t",
            "view or rule on v",
        ),
        (
            "CREATE FUNCTION pg_temp.g() RETURNS int8 LANGUAGE sql AS 'SELECT count(*) FROM public.t'",
            "function pg_temp",
        ),
        (
            "CREATE DOMAIN pg_temp.d AS int CHECK (VALUE > public.f())",
            "domain d",
        ),
        (
            "CREATE TEMP TABLE x (a int DEFAULT public.f())",
            "default or check of x",
        ),
        (
            "CREATE TEMP TABLE x (a int); CREATE RULE r AS ON INSERT TO x DO ALSO DELETE FROM public.t",
            "view or rule on x",
        ),
    ] {
        let session = cluster.servers[0].connect().await;
        run(&session, create).await;
        let error = distribute_table(&mut cluster.home, &request("public.t", "k"))
            .await
            .unwrap_err();
        assert_eq!(error.sqlstate(), "55006", "{create}: {error}");
        assert!(error.to_string().contains(words), "{create}: {error}");
        run(&session, "DISCARD TEMP").await;
    }
    let session = cluster.servers[0].connect().await;
    run(&session, "CREATE TEMP TABLE plain (a int DEFAULT 1)").await;
    distribute_table(&mut cluster.home, &request("public.t", "k"))
        .await
        .unwrap();
}

/// Names and numbers of columns say nothing, only their places in the foreign key's lists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn composite_foreign_keys_pair_the_keys_by_their_places() {
    let mut cluster = Cluster::start(2).await;
    run(
        &cluster.home,
        "SET search_path = public;
         CREATE TABLE parent (gone int, a int, k int, PRIMARY KEY (a, k)); ALTER TABLE parent DROP COLUMN gone;
         CREATE TABLE child (own int, b int, FOREIGN KEY (b, own) REFERENCES parent (a, k));
         CREATE TABLE by_primary (own int, b int, FOREIGN KEY (b, own) REFERENCES parent);
         CREATE TABLE crossed (own int, b int, FOREIGN KEY (own, b) REFERENCES parent (a, k));
         CREATE TABLE same_name (x int, a int, k int, FOREIGN KEY (k, a) REFERENCES parent (a, k));
         CREATE TABLE itself (a int, k int, up int, PRIMARY KEY (a, k), FOREIGN KEY (k, up) REFERENCES itself (a, k));
         SET search_path = pg_catalog, pg_temp",
    )
    .await;
    for (table, key) in [("crossed", "own"), ("same_name", "k")] {
        run(
            &cluster.home,
            &format!("ALTER TABLE public.{table} ALTER {key} SET NOT NULL"),
        )
        .await;
    }
    // A foreign key from a home table would see only a part of the parent's rows.
    for table in ["child", "by_primary", "crossed", "same_name"] {
        let sql = format!(
            "DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE public.kept_{table} AS SELECT conname, pg_get_constraintdef(oid) AS def \
             FROM pg_constraint WHERE contype = ''f'' AND conrelid = ''public.{table}''::regclass'); \
             EXECUTE (SELECT 'ALTER TABLE public.{table} DROP CONSTRAINT ' || conname FROM public.kept_{table}); END $$"
        );
        run(&cluster.home, &sql).await;
    }
    distribute_table(&mut cluster.home, &request("public.parent", "k"))
        .await
        .unwrap();
    for (table, key, holds) in [
        ("child", "own", true),
        ("by_primary", "own", true),
        ("crossed", "own", false),
        ("same_name", "k", false),
    ] {
        let sql = format!(
            "DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE public.{table} ADD ' || def FROM public.kept_{table}); END $$"
        );
        run(&cluster.home, &sql).await;
        let done =
            distribute_table(&mut cluster.home, &request(&format!("public.{table}"), key)).await;
        match done {
            Ok(()) => assert!(holds, "{table}"),
            Err(error) => assert!(
                !holds && error.to_string().contains("foreign key"),
                "{table}: {error}"
            ),
        }
    }
    let error = distribute_table(&mut cluster.home, &request("public.itself", "k"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("foreign key"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_for_a_role_and_its_search_path() {
    let mut cluster = Cluster::start(2).await;
    for server in &cluster.servers {
        run(
            &server.connect().await,
            "CREATE ROLE app LOGIN; CREATE ROLE other LOGIN",
        )
        .await;
    }
    run(&cluster.home, "CREATE SCHEMA app AUTHORIZATION app; CREATE TABLE app.t (k int); ALTER TABLE app.t OWNER TO app").await;
    let asked = |function, args: &[&str]| Call {
        function,
        column: "f".to_owned(),
        args: args
            .iter()
            .map(|arg| (None, Argument::Text(Some((*arg).to_owned()))))
            .collect(),
    };
    let distribute = asked(CallName::CreateDistributedTable, &["t", "k", "hash"]);
    let error = call(&cluster.config(), &distribute, "other")
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "42P01", "{error}");
    call(&cluster.config(), &distribute, "app").await.unwrap();
    assert_eq!(
        text(
            &cluster.home,
            "SELECT relation::text FROM shardgate.distributed_table"
        )
        .await,
        "app.t"
    );
    let other = asked(CallName::UndistributeTable, &["app.t"]);
    assert_eq!(
        call(&cluster.config(), &other, "other")
            .await
            .unwrap_err()
            .sqlstate(),
        "42501"
    );
    call(&cluster.config(), &other, "app").await.unwrap();
    call(
        &cluster.config(),
        &asked(CallName::CreateReferenceTable, &["t"]),
        "app",
    )
    .await
    .unwrap();
    let snapshot = load(&mut cluster.home, None)
        .await
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        snapshot.relation("app", "t").unwrap().placement,
        Placement::Reference
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_prepared_transactions_it_is_said_before_anything_is_done() {
    let mut cluster = Cluster::start_with(2, &[]).await;
    run(&cluster.home, "CREATE TABLE public.t (k int)").await;
    let error = distribute_table(&mut cluster.home, &request("t", "k"))
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), "55000", "{error}");
    assert!(
        error
            .pg()
            .hint
            .unwrap()
            .contains("max_prepared_transactions")
    );
    assert!(matches!(error, CatalogError::Refused(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_changed_behind_the_router_is_damage() {
    let mut cluster = Cluster::start(1).await;
    run(&cluster.home, "CREATE TABLE public.t (k int, v text)").await;
    distribute_table(&mut cluster.home, &request("t", "k"))
        .await
        .unwrap();
    for (broken, words) in [
        (
            "ALTER TABLE public.t DROP CONSTRAINT shardgate_owns, ALTER COLUMN k TYPE text",
            "whose type was changed",
        ),
        (
            "ALTER TABLE public.t DROP COLUMN k",
            "has lost its sharding key",
        ),
    ] {
        run(&cluster.home, broken).await;
        let error = load(&mut cluster.home, None)
            .await
            .unwrap()
            .build()
            .unwrap_err();
        assert!(
            error.sqlstate() == "XX001" && error.to_string().contains(words),
            "{error}"
        );
    }
}
