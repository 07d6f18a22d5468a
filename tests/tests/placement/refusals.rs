//! Statements of which no key is proven: never sent to one shard. Reads are answered whole, over rows of all shards, or
//! refused with 0A000 and a way out, as all else is.

use anyhow::{Context, Result, bail, ensure};
use shardgate_tests::{Running, Session};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::DbError;

const TABLES: &[&str] = &[
    "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, boss bigint)",
    "CREATE TABLE orders (id bigint NOT NULL, user_id bigint NOT NULL, cents bigint NOT NULL, PRIMARY KEY (user_id, id))",
    "CREATE TABLE words (w text PRIMARY KEY, n int)",
    "CREATE TABLE notes (id bigint PRIMARY KEY, body text)",
    "CREATE TABLE countries (code text PRIMARY KEY)",
    "SELECT create_distributed_table('users', 'id')",
    "SELECT create_distributed_table('orders', 'user_id', colocate_with => 'users')",
    "SELECT create_distributed_table('words', 'w')",
    "SELECT create_reference_table('countries')",
    "CREATE VIEW everybody AS SELECT * FROM users",
];

/// No shard can answer them alone. Outside of a block their rows are gathered, and the answer must be the whole answer.
const GATHERED: &[&str] = &[
    "SELECT * FROM users",
    "SELECT count(*) FROM users",
    "SELECT * FROM users WHERE name = 'n5'",
    "SELECT * FROM users WHERE id = boss",
    "SELECT * FROM users WHERE CASE WHEN id = 5 THEN true END",
    "SELECT count(*) FILTER (WHERE id = 5) FROM users",
    "SELECT * FROM users u LEFT JOIN orders o ON u.id = 5 AND o.user_id = 5",
    "SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND u.id = 5",
    "SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.id AND u.id = 5",
    "SELECT * FROM users u WHERE NOT EXISTS (SELECT 1 FROM users v WHERE v.id = 5)",
    "SELECT id FROM users WHERE id = 5 UNION ALL SELECT id FROM users",
    "SELECT * FROM users WHERE id = 5 OR name = 'n6'",
    "SELECT * FROM users WHERE id <> 5",
    "SELECT * FROM users WHERE NOT (id = 5)",
    "SELECT * FROM users WHERE (id = 5) IS NOT TRUE",
    "SELECT * FROM users WHERE coalesce(id, 5) = 5",
    "SELECT * FROM users WHERE id > 5",
    "SELECT * FROM users WHERE id BETWEEN 5 AND 5",
    "SELECT * FROM users WHERE id + 0 = 5",
    "SELECT * FROM users WHERE id::text = '5'",
    "SELECT * FROM users WHERE id = 5::float8",
    "SELECT * FROM users WHERE id = (SELECT 5)",
    "SELECT * FROM users WHERE id IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)",
    "SELECT * FROM users WHERE id = ANY (ARRAY[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])",
    "SELECT * FROM users WHERE id = ALL (ARRAY[]::bigint[])",
    "SELECT * FROM words WHERE w = 'a'::char(3)",
    "SELECT * FROM words WHERE w LIKE 'a%'",
    "SELECT * FROM users u JOIN orders o ON o.cents = u.id WHERE u.id = 5",
    "SELECT * FROM users u WHERE u.id = 5 AND EXISTS (SELECT 1 FROM orders o WHERE o.cents = 500)",
    "SELECT (SELECT max(cents) FROM orders) FROM users WHERE id = 5",
    "WITH c AS (SELECT * FROM users) SELECT * FROM c UNION ALL SELECT * FROM c WHERE id = 5",
    "SELECT * FROM (SELECT * FROM users ORDER BY name LIMIT 3) s WHERE id = 5",
    "SELECT * FROM (SELECT id, rank() OVER (ORDER BY name) r FROM users) s WHERE id = 5",
    "WITH RECURSIVE r AS (SELECT id, boss FROM users WHERE id = 5 UNION ALL SELECT u.id, u.boss FROM users u JOIN r ON u.id = r.boss) SELECT * FROM r",
    "SELECT * FROM users, notes",
];

const REFUSED: &[&str] = &[
    "SELECT * FROM everybody",
    "UPDATE users SET id = 1000 WHERE id = 5",
    "UPDATE users SET name = 'x' FROM orders o WHERE users.id = 5 AND o.cents = 500",
    "DELETE FROM users u USING orders o WHERE o.user_id = 5",
    "INSERT INTO users SELECT id + 1000, name FROM users",
    "INSERT INTO users SELECT id, body FROM notes",
    "INSERT INTO users VALUES ((random() * 1000)::bigint, 'x')",
    "WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM users WHERE id = 5",
    "SELECT pg_advisory_xact_lock(id) FROM users WHERE id = 5",
    "SELECT opaque(id) FROM users WHERE id = 5",
    "DO $$ BEGIN PERFORM 1; END $$",
    "LOCK TABLE users IN EXCLUSIVE MODE",
    "PREPARE TRANSACTION 'x'",
    "DECLARE c CURSOR FOR SELECT * FROM users",
    "COPY users TO STDOUT",
];

/// Each shard does its own part, in a transaction that ends with the statement; so they are refused in a block.
const SPREAD: &[&str] = &[
    "UPDATE users SET name = 'x'",
    "UPDATE users SET name = 'x' WHERE name = 'n5'",
    "DELETE FROM users",
    "DELETE FROM users WHERE id IN (SELECT user_id FROM orders)",
    "INSERT INTO users VALUES (1001, 'a'), (1002, 'b'), (1003, 'c'), (1004, 'd'), (1005, 'e'), (1006, 'f'), (1007, 'g')",
    "INSERT INTO countries VALUES ('xx')",
];

/// Refused, with the words that Postgres prints.
fn refusal<T>(result: Result<T, tokio_postgres::Error>, sql: &str) -> Result<DbError> {
    let error = match result {
        Ok(_) => bail!("{sql} was answered"),
        Err(error) => error,
    };
    let error = error
        .as_db_error()
        .with_context(|| format!("{sql}: {error}"))?
        .clone();
    ensure!(error.code().code() == "0A000", "{sql}: {error:?}");
    ensure!(
        error.hint().is_some_and(|hint| hint.len() > 10),
        "{sql}: no way out: {error:?}"
    );
    Ok(error)
}

pub async fn check_all(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    let plpgsql = "CREATE FUNCTION opaque(bigint) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN EXECUTE ''SELECT 1''; RETURN $1; END'";
    for sql in TABLES.iter().chain([&plpgsql]) {
        router
            .simple_query(sql)
            .await
            .with_context(|| (*sql).to_owned())?;
    }
    for id in 1..=12 {
        router
            .simple_query(&format!(
                "INSERT INTO users VALUES ({id}, 'n{id}', {})",
                id % 5
            ))
            .await?;
        router
            .simple_query(&format!(
                "INSERT INTO orders VALUES (1, {id}, {})",
                id * 100
            ))
            .await?;
    }
    let before = contents(running).await?;
    let mut wrong = Vec::new();
    let plain = plain(running).await?;
    for sql in GATHERED {
        for check in [
            whole(&router, &plain, sql).await,
            in_block(&router, sql).await,
        ] {
            if let Err(error) = check {
                wrong.push(format!("{error:?}"));
                router.simple_query("ROLLBACK").await?;
            }
        }
    }
    for sql in REFUSED {
        for check in [
            simple(&router, sql).await,
            extended(&router, sql).await,
            in_block(&router, sql).await,
        ] {
            if let Err(error) = check {
                wrong.push(format!("{error:?}"));
                // An answer may have left a block open.
                router
                    .simple_query("ROLLBACK")
                    .await
                    .with_context(|| format!("after {sql}"))?;
            }
        }
    }
    for sql in SPREAD {
        if let Err(error) = in_block(&router, sql).await {
            wrong.push(format!("{error:?}"));
            router.simple_query("ROLLBACK").await?;
        }
    }
    ensure!(
        contents(running).await? == before,
        "a refused statement changed something"
    );
    second_shard(&router).await?;
    ensure!(
        wrong.is_empty(),
        "{} of {} checks:\n{}",
        wrong.len(),
        3 * REFUSED.len() + 2 * GATHERED.len() + SPREAD.len(),
        wrong.join("\n")
    );
    println!(
        "{} shapes refused in both protocols and in blocks, {} answered whole outside of blocks",
        REFUSED.len(),
        GATHERED.len()
    );
    Ok(())
}

/// The same tables and rows in one plain database.
async fn plain(running: &Running) -> Result<Session> {
    running.on_shard(0, "CREATE DATABASE plain_refusals")?;
    let home = &running.cluster.shards[0].primary;
    let plain = Session::open(&home.url("plain_refusals", "postgres")).await?;
    for sql in TABLES.iter().filter(|sql| sql.starts_with("CREATE")) {
        plain.simple_query(sql).await?;
    }
    for table in ["users", "orders"] {
        for shard in 0..running.cluster.shards.len() {
            let rows = running.on_shard(shard, &format!("SELECT t::text FROM {table} t"))?;
            for row in rows.into_iter().flatten().flatten() {
                let insert = format!("INSERT INTO {table} SELECT ('{row}'::{table}).*");
                plain.simple_query(&insert).await.context(insert)?;
            }
        }
    }
    Ok(plain)
}

/// The rows as text in an order of their own.
async fn rows(client: &Session, sql: &str) -> Result<Vec<String>> {
    let messages = client
        .simple_query(sql)
        .await
        .with_context(|| sql.to_owned())?;
    let mut rows: Vec<String> = messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|at| format!("{:?}", row.get(at)))
                    .collect(),
            ),
            _ => None,
        })
        .collect();
    rows.sort();
    Ok(rows)
}

async fn whole(router: &Session, plain: &Session, sql: &str) -> Result<()> {
    let (got, expected) = (rows(router, sql).await?, rows(plain, sql).await?);
    ensure!(got == expected, "{sql}: {got:?}, expected {expected:?}");
    let extended = router
        .query(sql, &[])
        .await
        .with_context(|| format!("{sql}, extended protocol"))?;
    ensure!(
        extended.len() == expected.len(),
        "{sql}: {} rows by the extended protocol",
        extended.len()
    );
    Ok(())
}

async fn simple(router: &Session, sql: &str) -> Result<()> {
    refusal(router.simple_query(sql).await, sql)?;
    usable(router).await.with_context(|| format!("after {sql}"))
}

async fn extended(router: &Session, sql: &str) -> Result<()> {
    if sql.starts_with("COPY") {
        return Ok(());
    }
    refusal(router.query(sql, &[]).await, sql).context("extended protocol")?;
    usable(router)
        .await
        .with_context(|| format!("after {sql}, extended protocol"))
}

/// A refusal fails the block as any error does, and a savepoint brings it back.
async fn in_block(router: &Session, sql: &str) -> Result<()> {
    router.simple_query("BEGIN").await?;
    router
        .simple_query("UPDATE users SET boss = 7 WHERE id = 3")
        .await?;
    router.simple_query("SAVEPOINT s").await?;
    // These two are said of the block itself.
    if sql.starts_with("PREPARE TRANSACTION") {
        let _refused = router.simple_query(sql).await;
        router.simple_query("ROLLBACK").await?;
        return Ok(());
    }
    refusal(router.simple_query(sql).await, sql).context("in a block")?;
    let next = router.simple_query("SELECT 1").await;
    let code = next
        .err()
        .and_then(|error| error.code().map(|code| code.code().to_owned()));
    ensure!(
        code.as_deref() == Some("25P02"),
        "{sql}: the block goes on: {code:?}"
    );
    router.simple_query("ROLLBACK TO s").await?;
    let boss: i64 = router
        .query_one("SELECT boss FROM users WHERE id = 3", &[])
        .await?
        .get(0);
    ensure!(boss == 7, "{sql}: the work before the savepoint is gone");
    router.simple_query("ROLLBACK").await?;
    usable(router).await
}

async fn usable(router: &Session) -> Result<()> {
    let one: i32 = router.query_one("SELECT 1", &[]).await?.get(0);
    let name: String = router
        .query_one("SELECT name FROM users WHERE id = $1", &[&5i64])
        .await?
        .get(0);
    ensure!(
        one == 1 && name == "n5",
        "the session answers {one}, {name}"
    );
    Ok(())
}

/// Two shards in one block: refused, and the block is failed.
async fn second_shard(router: &Session) -> Result<()> {
    router.simple_query("BEGIN").await?;
    let mut refused = None;
    for id in 1..=12 {
        let sql = format!("UPDATE users SET boss = 9 WHERE id = {id}");
        if let Err(error) = router.simple_query(&sql).await {
            refused = Some(refusal::<()>(Err(error), &sql)?);
            break;
        }
    }
    ensure!(refused.is_some(), "a block over two shards was let through");
    let next = router.simple_query("SELECT 1").await;
    ensure!(
        next.is_err_and(|error| error.code().is_some_and(|code| code.code() == "25P02")),
        "the block goes on"
    );
    router.simple_query("COMMIT").await?;
    usable(router).await
}

/// All rows, with the shard that has each.
async fn contents(running: &Running) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for index in 0..running.cluster.shards.len() {
        let shard = running.connect_shard(index).await?;
        for table in ["users", "orders", "countries"] {
            let sql = format!("SELECT t::text FROM {table} t ORDER BY 1");
            rows.extend(
                shard
                    .query(&sql, &[])
                    .await?
                    .iter()
                    .map(|row| format!("{index} {table} {}", row.get::<_, String>(0))),
            );
        }
    }
    Ok(rows)
}
