//! The same statements on one plain Postgres and through the router: equal answers, or a refusal; never another answer.
//!
//! `SEED=n` repeats a run, `N=n` sets how many statements are made. Reads are asked by simple queries, and by the extended
//! protocol with results in binary.

mod generator;
mod schema;
mod wide;
mod writes;

use bytes::BytesMut;
use generator::Generator;
use shardgate_tests::Running;
use std::collections::BTreeMap;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// What one statement answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// Rows as a sorted multiset (where an ORDER BY fixes the order, equal multisets are what a LIMIT lets differ), and
    /// the count of the tag.
    Rows(Vec<Vec<Option<String>>>, u64),
    Failed(String),
    Refused(String),
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

/// Rows in an order of their own.
async fn ask(client: &Client, sql: &str) -> Answer {
    let mut answer = ask_in_order(client, sql).await;
    if let Answer::Rows(rows, _) = &mut answer {
        rows.sort();
    }
    answer
}

async fn ask_in_order(client: &Client, sql: &str) -> Answer {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let mut rows = Vec::new();
            let mut count = 0;
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => {
                        rows.push(
                            (0..row.len())
                                .map(|at| row.get(at).map(str::to_string))
                                .collect(),
                        );
                    }
                    SimpleQueryMessage::CommandComplete(n) => count = n,
                    _ => {}
                }
            }
            Answer::Rows(rows, count)
        }
        Err(error) => match error.as_db_error() {
            Some(db) if db.code().code() == "0A000" && db.hint().is_some() => {
                Answer::Refused(db.message().to_string())
            }
            Some(db) => Answer::Failed(db.code().code().to_string()),
            None => panic!("the connection broke at {sql}: {error}"),
        },
    }
}

/// Any value as the server sends it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bytes(Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Bytes(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// As `ask`, by the extended protocol, with results in binary.
async fn ask_binary(client: &Client, sql: &str) -> Result<Vec<Vec<Option<Bytes>>>, String> {
    match client.query(sql, &[]).await {
        Ok(found) => {
            let mut rows: Vec<Vec<Option<Bytes>>> = found
                .iter()
                .map(|row| (0..row.len()).map(|at| row.get(at)).collect())
                .collect();
            rows.sort();
            Ok(rows)
        }
        Err(error) => match error.as_db_error() {
            Some(db) => Err(db.code().code().to_string()),
            None => panic!("the connection broke at {sql}: {error}"),
        },
    }
}

async fn prepare(running: &Running) -> (Client, Client) {
    let home = &running.cluster.shards[0].primary;
    let direct = connect(&home.url("postgres", "postgres")).await;
    direct
        .simple_query("create database plain")
        .await
        .expect("a new database");
    let plain = connect(&home.url("plain", "postgres")).await;
    let router = connect(&running.router.url(running.database(), "postgres")).await;
    plain
        .simple_query(schema::TABLES)
        .await
        .expect("the schema");
    for statement in schema::TABLES.split(';') {
        router
            .simple_query(statement)
            .await
            .expect("the schema through the router");
    }
    for statement in schema::DISTRIBUTE {
        router
            .simple_query(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    plain
        .simple_query(schema::LATER)
        .await
        .expect("the foreign key");
    router
        .simple_query(schema::LATER)
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    for row in schema::rows() {
        plain.simple_query(&row).await.expect("a row");
        router
            .simple_query(&row)
            .await
            .unwrap_or_else(|error| panic!("{row}: {error:?}"));
    }
    for row in schema::reference_rows() {
        plain.simple_query(&row).await.expect("a row");
        router.simple_query(&row).await.expect("a row");
    }
    (plain, router)
}

/// All rows of a table, whichever shard has them.
async fn contents(running: &Running, table: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let home_only = table == "notes";
    let copies = table == "countries";
    let mut copy: Option<Vec<String>> = None;
    for (at, shard) in running.cluster.shards.iter().enumerate() {
        if at > 0 && home_only {
            break;
        }
        if copies && at > 0 {
            rows.sort();
            let first = copy.get_or_insert_with(|| rows.clone());
            assert_eq!(*first, rows, "the copies of {table} differ");
            rows.clear();
        }
        let client = connect(&shard.primary.url(running.database(), "postgres")).await;
        for row in client
            .query(&format!("select t::text from {table} t"), &[])
            .await
            .expect("the table")
        {
            rows.push(row.get::<_, String>(0));
        }
    }
    rows.sort();
    assert!(
        copy.is_none_or(|copy| copy == rows),
        "the copies of {table} differ"
    );
    rows
}

async fn plain_contents(plain: &Client, table: &str) -> Vec<String> {
    let mut rows: Vec<String> = plain
        .query(&format!("select t::text from {table} t"), &[])
        .await
        .expect("the table")
        .iter()
        .map(|row| row.get(0))
        .collect();
    rows.sort();
    rows
}

/// SEED and N.
fn asked() -> (u64, u64) {
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .expect("after 1970");
            now.as_nanos() as u64
        });
    let count: u64 = std::env::var("N")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1500);
    (seed, count)
}

async fn run(shards: u16) {
    let (seed, count) = asked();
    println!("SEED={seed} N={count} shards={shards}");
    let running = Running::start(shards, 0);
    let (plain, router) = prepare(&running).await;
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..count {
        let sql = Generator::new(seed.wrapping_add(number)).statement();
        let is_write = ["INSERT", "UPDATE", "DELETE"]
            .iter()
            .any(|word| sql.starts_with(word));
        // A statement that is refused must not run on the other side, so the router is asked first.
        let got = ask(&router, &sql).await;
        if let Answer::Refused(reason) = &got {
            let kind = if is_write {
                "writes refused"
            } else {
                "reads refused"
            };
            *totals.entry(kind).or_default() += 1;
            let shown = if is_write {
                reason.clone()
            } else {
                format!("{reason}: {sql}")
            };
            *reasons.entry(shown).or_default() += 1;
            continue;
        }
        let expected = ask(&plain, &sql).await;
        assert_eq!(
            got,
            expected,
            "SEED={} N=1: {sql}",
            seed.wrapping_add(number)
        );
        if !is_write {
            let got = ask_binary(&router, &sql).await;
            let expected = ask_binary(&plain, &sql).await;
            assert_eq!(
                got,
                expected,
                "in binary, SEED={} N=1: {sql}",
                seed.wrapping_add(number)
            );
        }
        let kind = match (&got, is_write) {
            (Answer::Failed(_), _) => "failed alike",
            (_, true) => "written",
            (_, false) => "answered",
        };
        *totals.entry(kind).or_default() += 1;
        if is_write && number % 10 == 0 {
            for table in schema::ALL_TABLES {
                assert_eq!(
                    contents(&running, table).await,
                    plain_contents(&plain, table).await,
                    "{table} after {sql}"
                );
            }
        }
    }
    for table in schema::ALL_TABLES {
        assert_eq!(
            contents(&running, table).await,
            plain_contents(&plain, table).await,
            "{table} at the end"
        );
    }
    println!("{totals:?}\nrefusals: {reasons:#?}");
    let answered =
        totals.get("answered").copied().unwrap_or(0) + totals.get("written").copied().unwrap_or(0);
    assert!(
        answered * 5 > count || count < 100,
        "too few statements were answered to prove anything: {totals:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_shards_answer_as_one_postgres() {
    run(2).await;
}

async fn run_wide(shards: u16) {
    let (seed, count) = asked();
    println!("SEED={seed} N={count} shards={shards}");
    let running = Running::start(shards, 0);
    let (plain, router) = prepare(&running).await;
    let mut totals: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut gathered = 0;
    for number in 0..count {
        let seed = seed.wrapping_add(number);
        let mut generator = Generator::new(seed);
        let wide::Wide {
            shape,
            sql,
            ordered,
        } = wide::wide(&mut generator);
        let got = ask_in_order(&router, &sql).await;
        let expected = ask_in_order(&plain, &sql).await;
        let (mut got, mut expected) = (got, expected);
        for answer in [&mut got, &mut expected] {
            if let Answer::Rows(rows, _) = answer
                && !ordered
            {
                rows.sort();
            }
        }
        assert_eq!(got, expected, "SEED={seed} N=1 ({shape}): {sql}");
        assert_eq!(
            ask_binary(&router, &sql).await,
            ask_binary(&plain, &sql).await,
            "in binary, SEED={seed} N=1 ({shape}): {sql}"
        );
        let kind = match got {
            Answer::Rows(..) => "answered",
            Answer::Failed(_) => "failed alike",
            Answer::Refused(_) => "refused",
        };
        *totals.entry((shape, kind)).or_default() += 1;
        if number % 10 == 0
            && let Answer::Rows(lines, _) =
                ask_in_order(&router, &format!("EXPLAIN (ROUTE) {sql}")).await
        {
            gathered += u64::from(lines.concat().contains(&Some("Route: gather".to_owned())));
        }
    }
    println!(
        "{totals:#?}\n{gathered} of {} are gathered for",
        count.div_ceil(10)
    );
    assert!(
        gathered * 20 > count.div_ceil(10) * 10 || count < 100,
        "only {gathered} of {} are gathered for",
        count.div_ceil(10)
    );
}

impl ToSql for writes::Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            writes::Value::Number(number) if *ty == Type::INT4 => {
                number.map(i32::try_from).transpose()?.to_sql(ty, out)
            }
            writes::Value::Number(number) => number.to_sql(ty, out),
            writes::Value::Text(text) => text.to_sql(ty, out),
            writes::Value::Computed(_) => Err("no parameter".into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT4, Type::INT8, Type::TEXT].contains(ty)
    }

    to_sql_checked!();
}

/// Rows, or an error with what it says; of an UPDATE or DELETE only the kind of error.
type Told = Result<(Vec<Vec<Option<Bytes>>>, u64), Vec<String>>;

async fn carry_out(client: &Client, write: &writes::Write) -> Told {
    let told = if write.params.is_empty() {
        match client.simple_query(&write.sql).await {
            Ok(messages) => {
                let mut rows = Vec::new();
                let mut count = 0;
                for message in messages {
                    match message {
                        SimpleQueryMessage::Row(row) => {
                            let value = |at| row.get(at).map(|text| Bytes(text.into()));
                            rows.push((0..row.len()).map(value).collect());
                        }
                        SimpleQueryMessage::CommandComplete(n) => count = n,
                        _ => {}
                    }
                }
                Ok((rows, count))
            }
            Err(error) => Err(error),
        }
    } else {
        let params: Vec<&(dyn ToSql + Sync)> = write.params.iter().map(|p| p as _).collect();
        client.query(&write.sql, &params).await.map(|found| {
            let row = |row: &tokio_postgres::Row| (0..row.len()).map(|at| row.get(at)).collect();
            (found.iter().map(row).collect(), 0)
        })
    };
    match told {
        Ok((mut rows, count)) => {
            if !write.ordered {
                rows.sort();
            }
            Ok((rows, count))
        }
        Err(error) => {
            let Some(db) = error.as_db_error() else {
                panic!("the connection broke at {}: {error}", write.sql);
            };
            let mut said = vec![db.code().code().to_owned()];
            if write.ordered {
                said.push(db.message().to_owned());
                said.extend(db.detail().map(str::to_owned));
            }
            if db.code().code() == "0A000" && db.hint().is_some() {
                said = vec!["refused".to_owned(), db.message().to_owned()];
                said.extend(db.detail().map(str::to_owned));
            }
            Err(said)
        }
    }
}

async fn run_writes(shards: u16) {
    let (seed, count) = asked();
    println!("SEED={seed} N={count} shards={shards}");
    let running = Running::start(shards, 0);
    let (plain, router) = prepare(&running).await;
    let mut totals: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..count {
        let seed = seed.wrapping_add(number);
        let write = writes::write(&mut Generator::new(seed));
        let shown = || {
            format!(
                "SEED={seed} N=1 ({}): {} {:?}",
                write.shape, write.sql, write.params
            )
        };
        // A statement that is refused must not run on the other side, so the router is asked first.
        let got = carry_out(&router, &write).await;
        if let Err(said) = &got
            && said[0] == "refused"
        {
            *totals.entry((write.shape, "refused")).or_default() += 1;
            let detail = said.get(2).map_or("", String::as_str);
            let why = detail.rsplit("own part: ").next().unwrap_or_default();
            *reasons.entry(format!("{}: {why}", said[1])).or_default() += 1;
            continue;
        }
        let expected = carry_out(&plain, &write).await;
        assert_eq!(got, expected, "{}", shown());
        let kind = match &got {
            Ok(_) => "written",
            Err(_) => "failed alike",
        };
        *totals.entry((write.shape, kind)).or_default() += 1;
        for table in schema::ALL_TABLES {
            let sql = format!("SELECT * FROM {table} ORDER BY 1, 2");
            assert_eq!(
                ask_in_order(&router, &sql).await,
                ask_in_order(&plain, &sql).await,
                "{table} after {}",
                shown()
            );
        }
        if number % 100 == 0 {
            for table in schema::ALL_TABLES {
                assert_eq!(
                    contents(&running, table).await,
                    plain_contents(&plain, table).await,
                    "{table} on the shards, after {}",
                    shown()
                );
            }
        }
    }
    println!("{totals:#?}\nrefusals: {reasons:#?}");
    let of = |wanted: &str| -> u64 {
        let counts = totals.iter().filter(|((_, kind), _)| *kind == wanted);
        counts.map(|(_, count)| count).sum()
    };
    assert!(
        of("written") * 3 > count && of("refused") * 4 < count || count < 100,
        "too few were carried out to prove anything: {totals:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_over_two_shards_answer_as_one_postgres() {
    run_writes(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_over_four_shards_answer_as_one_postgres() {
    run_writes(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_reads_of_two_shards_answer_as_one_postgres() {
    run_wide(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_reads_of_four_shards_answer_as_one_postgres() {
    run_wide(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_shards_answer_as_one_postgres() {
    run(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard_answers_as_one_postgres() {
    run(1).await;
}
