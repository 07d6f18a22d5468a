//! The sample: a small shop that has one table of every kind, loaded through the router as an application would.

use crate::cluster::Cluster;
use crate::demo::DATABASE;
use crate::failure::Failure;
use tokio_postgres::{Client, NoTls};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sample {
    /// users and orders (co-located by hash), events (by range), countries (reference), notes (home).
    #[default]
    Shop,
    None,
}

const USERS: i64 = 200;
const ORDERS_EACH: i64 = 3;
const EVENTS: i64 = 240;
/// The events lie in one year, so more ranges than months make no sense.
const RANGES_MAX: usize = 12;

const TABLES: [&str; 5] = [
    "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL, country text NOT NULL)",
    "CREATE TABLE orders (id bigint NOT NULL, user_id bigint NOT NULL, total_cents bigint NOT NULL, \
     PRIMARY KEY (user_id, id))",
    "CREATE TABLE events (day date NOT NULL, id bigint NOT NULL, user_id bigint NOT NULL, kind text NOT NULL, \
     PRIMARY KEY (day, id))",
    "CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL)",
    "CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL)",
];

const COUNTRIES: [(&str, &str); 8] = [
    ("BR", "Brazil"),
    ("DE", "Germany"),
    ("IN", "India"),
    ("IS", "Iceland"),
    ("JP", "Japan"),
    ("KE", "Kenya"),
    ("NZ", "New Zealand"),
    ("US", "United States"),
];

const NAMES: [&str; 10] = [
    "Ada", "Bo", "Chi", "Dana", "Emil", "Fatma", "Gus", "Hana", "Ines", "Jon",
];

/// Makes the tables and the rows. `router` is the URL of the router; blocking.
pub fn load(sample: Sample, cluster: &Cluster, router: &str) -> Result<(), Failure> {
    match sample {
        Sample::None => return Ok(()),
        Sample::Shop => {}
    }
    crate::demo::catalog::block_on(async {
        let client = connect(router).await?;
        tables(&client, cluster.shards.len()).await?;
        users_and_orders(&client).await?;
        events(&client).await?;
        let note = "INSERT INTO notes VALUES (1, 'A table that nobody distributed lives on the home shard.')";
        run(&client, note).await
    })?;
    countries(cluster)
}

async fn connect(router: &str) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(router, NoTls)
        .await
        .map_err(|e| failed("connect", e))?;
    // Its error comes back from the client's calls as well.
    tokio::spawn(async move {
        let _end = connection.await;
    });
    Ok(client)
}

async fn tables(client: &Client, shards: usize) -> Result<(), Failure> {
    for table in TABLES {
        run(client, table).await?;
    }
    let bounds: Vec<String> = bounds(shards)
        .iter()
        .map(|bound| format!("'{bound}'"))
        .collect();
    let calls = [
        "SELECT create_distributed_table('users', 'id')".to_owned(),
        "SELECT create_distributed_table('orders', 'user_id', colocate_with => 'users')".to_owned(),
        format!(
            "SELECT create_distributed_table('events', 'day', 'range', bounds => ARRAY[{}]::text[])",
            bounds.join(", ")
        ),
        "SELECT create_reference_table('countries')".to_owned(),
    ];
    for call in calls {
        run(client, &call).await?;
    }
    Ok(())
}

/// The first days of months which cut the year into one range for each shard.
fn bounds(shards: usize) -> Vec<String> {
    let ranges = shards.clamp(1, RANGES_MAX);
    (1..ranges)
        .map(|i| format!("2026-{:02}-01", i * 12 / ranges + 1))
        .collect()
}

/// With parameters, as drivers send them.
async fn users_and_orders(client: &Client) -> Result<(), Failure> {
    let user = "INSERT INTO users (id, name, email, country) VALUES ($1, $2, $3, $4)";
    let order = "INSERT INTO orders (id, user_id, total_cents) VALUES ($1, $2, $3)";
    let prepared = client.prepare(user).await.map_err(|e| failed(user, e))?;
    for id in 1..=USERS {
        let name = pick(&NAMES, id);
        let (country, _) = pick(&COUNTRIES, id / 3);
        let email = format!("{}{id}@example.com", name.to_lowercase());
        client
            .execute(&prepared, &[&id, &name, &email, &country])
            .await
            .map_err(|e| failed(user, e))?;
    }
    let prepared = client.prepare(order).await.map_err(|e| failed(order, e))?;
    for number in 0..USERS * ORDERS_EACH {
        let (id, user_id, cents) = (number + 1, number % USERS + 1, 500 + number * 7919 % 20_000);
        client
            .execute(&prepared, &[&id, &user_id, &cents])
            .await
            .map_err(|e| failed(order, e))?;
    }
    Ok(())
}

/// With literals, as people type them.
async fn events(client: &Client) -> Result<(), Failure> {
    for id in 1..=EVENTS {
        let (month, day) = (id % 12 + 1, id / 24 + 1);
        let kind = pick(&["view", "cart", "order"], id);
        let user = id * 37 % USERS + 1;
        run(
            client,
            &format!(
                "INSERT INTO events VALUES ('2026-{month:02}-{day:02}', {id}, {user}, '{kind}')"
            ),
        )
        .await?;
    }
    Ok(())
}

/// Writes of reference tables through the router come in a later version (with more than one shard), and a table that
/// has rows cannot be made one, so the same rows are written to each shard directly.
fn countries(cluster: &Cluster) -> Result<(), Failure> {
    let rows: Vec<String> = COUNTRIES
        .iter()
        .map(|(code, name)| format!("('{code}', '{name}')"))
        .collect();
    let sql = format!(
        "INSERT INTO public.countries (code, name) VALUES {}",
        rows.join(", ")
    );
    for shard in &cluster.shards {
        shard.primary.query(DATABASE, &sql)?;
    }
    Ok(())
}

/// One of the values, in turn.
fn pick<T: Copy>(values: &[T], turn: i64) -> T {
    let index = usize::try_from(turn).unwrap_or(0) % values.len();
    values[index]
}

async fn run(client: &Client, sql: &str) -> Result<(), Failure> {
    client
        .simple_query(sql)
        .await
        .map(|_| ())
        .map_err(|error| failed(sql, error))
}

/// The server's error, with the statement to which it belongs.
fn failed(sql: &str, error: tokio_postgres::Error) -> Failure {
    let Failure {
        message,
        detail,
        hint,
        ..
    } = Failure::from(error);
    let detail = detail
        .map(|detail| format!("{detail}\n"))
        .unwrap_or_default();
    let mut failure = Failure::new(format!("loading the sample failed: {message}"))
        .detail(format!("{detail}The statement was: {sql}"));
    failure.hint = hint;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_year_is_cut_into_ascending_ranges() {
        let check =
            |shards: usize, expect: &[&str]| assert_eq!(bounds(shards), expect, "{shards} shards");
        check(1, &[]);
        check(2, &["2026-07-01"]);
        check(3, &["2026-05-01", "2026-09-01"]);
        check(4, &["2026-04-01", "2026-07-01", "2026-10-01"]);
        for shards in 5..20 {
            let bounds = bounds(shards);
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}
