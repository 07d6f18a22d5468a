//! What may stay on a backend and can be told to another one: settings, roles, names of statements.

use anyhow::{Context, Result, bail, ensure};
use shardgate_tests::{Running, Session};
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;

/// How long a client waits that must not get the backend yet.
pub const MOMENT: Duration = Duration::from_millis(300);

pub async fn prepare(running: &Running) -> Result<()> {
    let router = running.connect().await?;
    for sql in [
        "CREATE FUNCTION sneak() RETURNS text LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM set_config('work_mem', '7MB', false); PERFORM set_config('app.tenant', '42', false); RETURN 'done'; END $$",
        "CREATE FUNCTION sneak_sql() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.sql', '43', false) $$",
        "CREATE FUNCTION lock_it() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(77); END $$",
        "CREATE TABLE plain (id int PRIMARY KEY, v text)",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM set_config('app.trigger', '44', false); RETURN new; END $$",
        "CREATE TRIGGER touch BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION touch()",
        "CREATE VIEW sneaky AS SELECT set_config('app.view', '45', false) AS v",
        "CREATE DOMAIN tagged AS text DEFAULT set_config('app.domain', '48', false)",
        "CREATE TABLE tagged_rows (id int, tag tagged)",
        "CREATE TABLE ruled (id int)",
        "CREATE RULE told AS ON INSERT TO ruled DO ALSO SELECT set_config('app.rule', '49', false)",
        "CREATE FUNCTION emptied() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM set_config('app.truncate', '50', false); RETURN NULL; END $$",
        "CREATE TRIGGER emptied BEFORE TRUNCATE ON ruled EXECUTE FUNCTION emptied()",
        "CREATE TABLE altered (id int)",
        "INSERT INTO altered VALUES (1)",
        "CREATE FUNCTION near(float8, float8) RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.operator', '52', false) $$",
        "CREATE OPERATOR <#> (LEFTARG = float8, RIGHTARG = float8, FUNCTION = near)",
        "CREATE TYPE pair AS (a int, b int)",
        "CREATE FUNCTION first_of(pair) RETURNS int LANGUAGE sql AS $$ SELECT set_config('app.cast', '53', false)::int $$",
        "CREATE CAST (pair AS int) WITH FUNCTION first_of(pair) AS IMPLICIT",
        "CREATE TABLE pairs (p pair)",
        "INSERT INTO pairs VALUES (ROW(1, 2))",
        "CREATE FUNCTION watched() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM set_config('app.event', '54', false); END $$",
        "CREATE FUNCTION is_true(int8) RETURNS bool LANGUAGE sql AS $$ SELECT set_config('app.builtin', '55', false) = '55' $$",
        "CREATE ROLE app LOGIN",
        "CREATE SEQUENCE numbers",
        "CREATE SEQUENCE others",
    ] {
        router.simple_query(sql).await.context(sql)?;
    }
    Ok(())
}

/// The last value of the last row; None is NULL, or no row.
pub async fn ask(session: &Session, sql: &str) -> Result<Option<String>> {
    let messages = session
        .simple_query(sql)
        .await
        .with_context(|| sql.to_owned())?;
    let mut answer = None;
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            answer = row.get(row.len() - 1).map(str::to_owned);
        }
    }
    Ok(answer)
}

pub async fn is(session: &Session, sql: &str, expected: Option<&str>) -> Result<()> {
    let answer = ask(session, sql).await?;
    ensure!(
        answer.as_deref() == expected,
        "{sql} is {answer:?}, not {expected:?}"
    );
    Ok(())
}

pub async fn run(session: &Session, sql: &str) -> Result<()> {
    session
        .simple_query(sql)
        .await
        .map(|_| ())
        .with_context(|| sql.to_owned())
}

pub async fn fails(session: &Session, sql: &str, codes: &[&str]) -> Result<()> {
    let found = match session.simple_query(sql).await {
        Ok(_) => bail!("{sql} is answered"),
        Err(error) => error.code().map(|code| code.code().to_owned()),
    };
    ensure!(
        found.as_deref().is_some_and(|found| codes.contains(&found)),
        "{sql} fails with {found:?}, not {codes:?}"
    );
    Ok(())
}

/// SET in its forms. Defaults are asked of the server, past the router.
pub async fn settings(running: &Running) -> Result<()> {
    let (a, b) = (running.connect().await?, running.connect().await?);
    let direct = running.connect_shard(0).await?;
    for (name, value, shown) in [
        ("work_mem", "'9MB'", "9MB"),
        ("TimeZone", "'Asia/Tokyo'", "Asia/Tokyo"),
        ("DateStyle", "'SQL, DMY'", "SQL, DMY"),
        ("search_path", "pg_catalog, public", "pg_catalog, public"),
        ("statement_timeout", "'77s'", "77s"),
        (
            "default_transaction_isolation",
            "'repeatable read'",
            "repeatable read",
        ),
        ("bytea_output", "'escape'", "escape"),
        ("enable_seqscan", "off", "off"),
        ("application_name", "'a''s name'", "a's name"),
        ("synchronous_commit", "off", "off"),
        ("extra_float_digits", "0", "0"),
        ("IntervalStyle", "'iso_8601'", "iso_8601"),
    ] {
        let show = format!("SHOW {name}");
        let default = ask(&direct, &show).await?;
        run(&a, &format!("SET {name} = {value}")).await?;
        is(&b, &show, default.as_deref()).await?;
        is(&a, &show, Some(shown)).await?;
        run(&b, &format!("BEGIN; SET LOCAL {name} = {value}")).await?;
        is(&b, &show, Some(shown)).await?;
        run(&b, "COMMIT").await?;
        is(&b, &show, default.as_deref()).await?;
        run(&b, &format!("BEGIN; SET {name} = {value}; ROLLBACK")).await?;
        is(&b, &show, default.as_deref()).await?;
        is(
            &a,
            &format!("SELECT current_setting('{name}')"),
            Some(shown),
        )
        .await?;
        run(&a, &format!("RESET {name}")).await?;
        is(&a, &show, default.as_deref()).await?;
    }
    // A client's own settings come back after another client's, also in the extended protocol.
    a.execute("SET work_mem = '11MB'", &[]).await?;
    b.execute("SET work_mem = '12MB'", &[]).await?;
    for _ in 0..3 {
        ensure!(
            a.query_one("SHOW work_mem", &[]).await?.get::<_, String>(0) == "11MB",
            "a lost its setting"
        );
        ensure!(
            b.query_one("SHOW work_mem", &[]).await?.get::<_, String>(0) == "12MB",
            "b lost its setting"
        );
    }
    run(&a, "DISCARD ALL").await?;
    let default = ask(&direct, "SHOW work_mem").await?;
    is(&a, "SHOW work_mem", default.as_deref()).await?;
    is(&b, "SHOW work_mem", Some("12MB")).await?;
    println!("settings: each client its own");
    Ok(())
}

/// Names of the application's own: the value, and that a name was never set.
pub async fn custom_settings(running: &Running) -> Result<()> {
    let (a, b) = (running.connect().await?, running.connect().await?);
    let value = "SELECT current_setting('app.who', true)";
    is(&b, value, None).await?;
    run(&a, "SET app.who = 'ann'").await?;
    is(&b, value, None).await?;
    is(&a, value, Some("ann")).await?;
    fails(&b, "SELECT current_setting('app.who')", &["42704"]).await?;
    run(&b, "SELECT set_config('app.who', 'bob', false)").await?;
    is(&a, value, Some("ann")).await?;
    is(&b, value, Some("bob")).await?;
    run(&a, "RESET app.who").await?;
    // As in Postgres: after RESET a custom name is empty, and no longer unknown.
    is(&a, value, Some("")).await?;
    is(&b, value, Some("bob")).await?;
    let c = running.connect().await?;
    is(&c, value, None).await?;
    run(&c, "BEGIN; SET LOCAL app.local = 'x'; COMMIT").await?;
    is(&b, "SELECT current_setting('app.local', true)", None).await?;
    println!("custom settings: values, and NULL for those never set");
    Ok(())
}

/// Settings made where the text of the statement does not show them.
pub async fn hidden_settings(running: &Running) -> Result<()> {
    hidden(running, HIDDEN).await?;
    // While these exist, whoever runs anything of the kind keeps the backend.
    let router = running.connect().await?;
    for (create, case, drop) in [
        (
            "CREATE EVENT TRIGGER watched ON ddl_command_end EXECUTE FUNCTION watched()",
            ("CREATE TABLE seen (id int)", "app.event", "54"),
            "DROP EVENT TRIGGER watched",
        ),
        (
            "CREATE CAST (int8 AS bool) WITH FUNCTION is_true(int8) AS ASSIGNMENT",
            ("SELECT 5::int8::bool", "app.builtin", "55"),
            "DROP CAST (int8 AS bool)",
        ),
    ] {
        run(&router, create).await?;
        hidden(running, &[case]).await?;
        run(&router, drop).await?;
    }
    Ok(())
}

/// Statement, setting, value.
const HIDDEN: &[(&str, &str, &str)] = &[
    ("SELECT sneak()", "app.tenant", "42"),
    ("SELECT sneak_sql()", "app.sql", "43"),
    (
        "INSERT INTO plain VALUES (1, 'x') ON CONFLICT DO NOTHING",
        "app.trigger",
        "44",
    ),
    ("SELECT v FROM sneaky", "app.view", "45"),
    (
        "DO $$ BEGIN PERFORM set_config('app.block', '46', false); END $$",
        "app.block",
        "46",
    ),
    (
        "SELECT x FROM (SELECT set_config('app.sub', '47', false) AS x) s",
        "app.sub",
        "47",
    ),
    (
        "INSERT INTO tagged_rows (id) VALUES (1)",
        "app.domain",
        "48",
    ),
    ("INSERT INTO ruled VALUES (1)", "app.rule", "49"),
    ("TRUNCATE ruled", "app.truncate", "50"),
    (
        "ALTER TABLE altered ADD COLUMN x text DEFAULT set_config('app.alter', '51', false)",
        "app.alter",
        "51",
    ),
    ("SELECT id <#> 1 FROM altered", "app.operator", "52"),
    ("SELECT p + 1 FROM pairs", "app.cast", "53"),
];

async fn hidden(running: &Running, cases: &[(&str, &str, &str)]) -> Result<()> {
    let direct = running.connect_shard(0).await?;
    let default = ask(&direct, "SHOW work_mem").await?;
    for (sql, name, value) in cases.iter().copied() {
        // All log in before, because a login needs the backend for a moment.
        let (a, b, c) = (
            running.connect().await?,
            running.connect().await?,
            running.connect().await?,
        );
        let value_of = format!("SELECT current_setting('{name}', true)");
        run(&a, sql).await?;
        is(&a, &value_of, Some(value))
            .await
            .with_context(|| format!("after {sql}"))?;
        // The client may keep the backend for itself; the next one gets it at the latest when the client has gone.
        let at_once = tokio::time::timeout(MOMENT, ask(&b, &value_of)).await;
        if let Ok(answer) = at_once {
            ensure!(
                answer?.is_none(),
                "{sql}: {name} is seen by the next client"
            );
            is(&a, &value_of, Some(value))
                .await
                .with_context(|| format!("{sql}: again"))?;
        }
        drop((a, b));
        is(&c, &value_of, None)
            .await
            .with_context(|| format!("{sql}: {name} of a client that has gone"))?;
        is(&c, "SHOW work_mem", default.as_deref()).await?;
        let extended = c.query_one(&value_of, &[]).await?;
        ensure!(
            extended.get::<_, Option<String>>(0).is_none(),
            "{name} is seen"
        );
    }
    println!("hidden settings: seen by nobody else");
    Ok(())
}

pub async fn roles(running: &Running) -> Result<()> {
    let (a, b) = (running.connect().await?, running.connect().await?);
    run(&a, "SET ROLE app").await?;
    is(&b, "SELECT current_user", Some("postgres")).await?;
    is(&a, "SELECT current_user", Some("app")).await?;
    run(&b, "BEGIN; SET LOCAL ROLE app").await?;
    is(&b, "SELECT current_user", Some("app")).await?;
    run(&b, "COMMIT").await?;
    is(&b, "SELECT current_user", Some("postgres")).await?;
    run(&a, "RESET ROLE").await?;
    is(&a, "SELECT current_user", Some("postgres")).await?;
    let app = Session::open(&running.url_as("app")).await?;
    is(&app, "SELECT session_user", Some("app")).await?;
    run(&app, "RESET ROLE").await?;
    is(&app, "SELECT current_user", Some("app")).await?;
    fails(&app, "SET ROLE postgres", &["42501"]).await?;
    is(&app, "SELECT session_user || current_user", Some("appapp")).await?;
    println!("roles: each client its own");
    Ok(())
}

/// The same names for different statements; a name that only another client has prepared.
pub async fn prepared_statements(running: &Running) -> Result<()> {
    let (a, b) = (running.connect().await?, running.connect().await?);
    // tokio-postgres numbers its statements over all clients, so the raw sequences test equal names.
    let one = a.prepare("SELECT 'of a'").await?;
    let two = b.prepare("SELECT 'of b'").await?;
    for _ in 0..3 {
        ensure!(
            a.query_one(&one, &[]).await?.get::<_, String>(0) == "of a",
            "a has another's statement"
        );
        ensure!(
            b.query_one(&two, &[]).await?.get::<_, String>(0) == "of b",
            "b has another's statement"
        );
    }
    let mut clients = Vec::new();
    for number in 0..6 {
        let mut client = crate::raw::RawClient::connect(running.router.port, "postgres", "app");
        let parse = format!("P same|select 'client {number}'|");
        let replies = tokio::task::block_in_place(|| client.run(&[&parse, "S"]));
        ensure!(replies[0].starts_with('1'), "{replies:?}");
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let replies = tokio::task::block_in_place(|| client.run(&["B |same", "E |0", "S"]));
        ensure!(
            replies[1].contains(&format!("client {number}")),
            "client {number} got {replies:?}"
        );
    }
    let mut stranger = crate::raw::RawClient::connect(running.router.port, "postgres", "app");
    let replies = tokio::task::block_in_place(|| stranger.run(&["B |same", "E |0", "S"]));
    ensure!(replies[0].contains("26000"), "{replies:?}");
    println!("prepared statements: each client its own");
    Ok(())
}

/// Settings of the start-up message are the client's, and what RESET returns to.
pub async fn start_up(running: &Running) -> Result<()> {
    let direct = running.connect_shard(0).await?;
    let default = ask(&direct, "SHOW work_mem").await?;
    let url = format!(
        "{}?application_name=mine&options=-c%20work_mem%3D13MB",
        running.url()
    );
    let (a, b) = (Session::open(&url).await?, running.connect().await?);
    is(&a, "SHOW work_mem", Some("13MB")).await?;
    is(&b, "SHOW work_mem", default.as_deref()).await?;
    run(&a, "SET work_mem = '14MB'").await?;
    run(&a, "RESET work_mem").await?;
    is(&a, "SHOW work_mem", Some("13MB")).await?;
    is(&a, "SHOW application_name", Some("mine")).await?;
    is(&b, "SHOW work_mem", default.as_deref()).await?;
    run(&a, "RESET ALL").await?;
    is(&a, "SHOW work_mem", Some("13MB")).await?;
    println!("start-up settings: the client's own");
    Ok(())
}
