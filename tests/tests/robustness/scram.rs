//! SCRAM-SHA-256 towards clients, and the same role by SCRAM towards the servers.

use anyhow::{Context, Result, ensure};
use shard_admin::cluster::{Auth, Login};
use shardgate_tests::{Running, Session};
use tokio_postgres::NoTls;
use tokio_postgres::error::DbError;

fn login(user: &str, password: &str) -> Login {
    Login {
        user: user.to_owned(),
        password: Some(password.to_owned()),
    }
}

pub async fn all() -> Result<()> {
    let running = Running::start_with(2, 0, |builder| {
        builder.auth(Auth::Scram("s3cret %'\"".to_owned()))
    });
    let admin = running.connect().await.context("the superuser")?;
    for sql in [
        "CREATE ROLE ann LOGIN PASSWORD 'ann''s pw ü'",
        "CREATE ROLE nologin NOLOGIN PASSWORD 'right'",
        "CREATE ROLE expired LOGIN PASSWORD 'right' VALID UNTIL '2001-01-01'",
        "CREATE ROLE nopassword LOGIN",
        "CREATE TABLE t (k bigint PRIMARY KEY, owner text)",
        "SELECT create_distributed_table('t', 'k')",
        "GRANT ALL ON t TO ann",
    ] {
        admin.simple_query(sql).await.context(sql)?;
    }
    the_right_password(&running).await?;
    the_wrong_ones(&running).await?;
    after_a_change(&running, &admin).await
}

/// Each shard sees the client's own role.
async fn the_right_password(running: &Running) -> Result<()> {
    let ann = Session::open(&running.url_of(&login("ann", "ann's pw ü")))
        .await
        .context("the right password")?;
    for k in 1..=20i64 {
        let sql = "INSERT INTO t VALUES ($1, session_user || current_user) RETURNING owner";
        let owner: String = ann.query_one(sql, &[&k]).await?.get(0);
        ensure!(owner == "annann", "shards see {owner}");
    }
    for shard in 0..2 {
        let rows = tokio::task::block_in_place(|| {
            running.on_shard(shard, "SELECT count(*) > 0 FROM t WHERE owner = 'annann'")
        })?;
        ensure!(
            rows == vec![vec![Some("t".to_owned())]],
            "shard {shard}: {rows:?}"
        );
    }
    let denied = ann.simple_query("CREATE ROLE eve").await;
    ensure!(denied.is_err(), "ann may create roles");
    Ok(())
}

async fn refused(url: &str) -> Result<DbError> {
    let error = match tokio_postgres::connect(url, NoTls).await {
        Ok(_) => anyhow::bail!("{url} was let in"),
        Err(error) => error,
    };
    error
        .as_db_error()
        .cloned()
        .with_context(|| format!("{url}: {error}"))
}

/// A stranger learns nothing: the words are the same whether the role exists or not.
async fn the_wrong_ones(running: &Running) -> Result<()> {
    let known = refused(&running.url_of(&login("ann", "wrong"))).await?;
    for user in ["nobody", "nologin", "nopassword", "expired"] {
        let error = refused(&running.url_of(&login(user, "wrong"))).await?;
        ensure!(error.code().code() == "28P01", "{user}: {error:?}");
        let words = error.message().replace(user, "ann");
        ensure!(
            words == known.message(),
            "{user}: {words:?}, and for a known role {:?}",
            known.message()
        );
        ensure!(
            error.detail() == known.detail() && error.hint() == known.hint(),
            "{user}: {error:?}"
        );
    }
    ensure!(known.code().code() == "28P01", "{known:?}");
    for (user, codes) in [
        ("nologin", ["28000", "28P01"]),
        ("expired", ["28P01", "28000"]),
    ] {
        let error = refused(&running.url_of(&login(user, "right"))).await?;
        ensure!(
            codes.contains(&error.code().code()),
            "{user} with the right password: {error:?}"
        );
    }
    let empty = refused(&running.url_of(&login("ann", ""))).await;
    ensure!(
        empty.is_ok() || running.router.is_running(),
        "an empty password: {empty:?}"
    );
    Ok(())
}

/// A changed password counts, and a connection that had the old one is not left open to strangers.
async fn after_a_change(running: &Running, admin: &Session) -> Result<()> {
    admin.simple_query("ALTER ROLE ann PASSWORD 'new'").await?;
    let start = std::time::Instant::now();
    // The verifier may be kept for a moment.
    while let Err(error) = Session::open(&running.url_of(&login("ann", "new"))).await {
        ensure!(
            start.elapsed().as_secs() < 10,
            "the new password: {error:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let old = refused(&running.url_of(&login("ann", "ann's pw ü"))).await?;
    ensure!(old.code().code() == "28P01", "{old:?}");
    let ann = Session::open(&running.url_of(&login("ann", "new"))).await?;
    for k in 1..=20i64 {
        let rows = ann.query("SELECT owner FROM t WHERE k = $1", &[&k]).await?;
        ensure!(rows.len() == 1, "key {k} gives {} rows", rows.len());
    }
    Ok(())
}
