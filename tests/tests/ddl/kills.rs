//! A router that is killed at every edge of a statement on several shards: the statement is in force everywhere or
//! nowhere, nothing stays prepared or locked, and clients of other routers see no half of it.

use crate::edges::{Change, SOON, goes_on, never_half, router, settled};
use anyhow::{Context, Result, bail, ensure};
use shard_admin::cluster::RouterProcess;
use shardgate_tests::Running;
use std::time::{Duration, Instant};

/// The number of the router that dies.
const VICTIM: u16 = 2;

/// An edge, how often it is passed on that many shards, and what becomes of the statement.
fn edges(shards: usize) -> Vec<(&'static str, usize, bool)> {
    let others = shards - 1;
    let mut list = Vec::new();
    for (name, count, in_force) in [
        ("ddl-run", shards, false),
        ("ddl-ran", shards, false),
        ("ddl-prepare", others, false),
        ("ddl-prepared", others, false),
        ("ddl-decide", 1, false),
        ("ddl-decided", 1, true),
        ("ddl-commit", others, true),
        ("ddl-committed", others, true),
        ("ddl-refresh", 1, true),
        ("ddl-answer", 1, true),
    ] {
        list.extend((1..=count).map(|nth| (name, nth, in_force)));
    }
    list
}

/// At every edge of a statement that succeeds.
pub async fn at_every_edge(running: &Running, keys: &[i64]) -> Result<()> {
    let cases = edges(running.cluster.shards.len());
    let mut longest = Duration::ZERO;
    for (number, (name, nth, in_force)) in cases.iter().enumerate() {
        let change = Change::number(number);
        let at = format!("{name}:{nth}");
        let title = format!("killed at {at} of {}", change.sql);
        let took = die(running, &at, &change, keys, Some(*in_force))
            .await
            .context(title.clone())?;
        goes_on(running, keys).await.context(title)?;
        longest = longest.max(took);
    }
    println!(
        "{} edges on {} shards; nothing was prepared any more after {longest:?} at most",
        cases.len(),
        keys.len()
    );
    Ok(())
}

/// At every edge of a roll-back: after a failure of the statement, and after one of PREPARE TRANSACTION.
pub async fn at_every_edge_of_a_roll_back(running: &Running, keys: &[i64]) -> Result<()> {
    let shards = running.cluster.shards.len();
    let last = running.connect_shard(shards - 1).await?;
    last.batch_execute("CREATE TYPE taken AS ENUM ('x')")
        .await?;
    let failing = Change {
        sql: "CREATE TYPE taken AS ENUM ('a')".to_owned(),
        check: "SELECT count(*) FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid \
            WHERE typname = 'taken' AND enumlabel = 'a'"
            .to_owned(),
        read: None,
    };
    let mut count = 0;
    for name in ["ddl-roll-back", "ddl-rolled-back"] {
        for nth in 1..=shards {
            let at = format!("{name}:{nth}");
            die(running, &at, &failing, keys, Some(false))
                .await
                .with_context(|| format!("killed at {at} after a failure"))?;
            goes_on(running, keys).await?;
            count += 1;
        }
    }
    last.batch_execute("DROP TYPE taken").await?;
    count += when_one_cannot_prepare(running, keys).await?;
    println!("{count} edges of a roll-back on {shards} shards");
    goes_on(running, keys).await
}

/// The last shard has no room for one more prepared transaction, so that the others have to take theirs back.
async fn when_one_cannot_prepare(running: &Running, keys: &[i64]) -> Result<usize> {
    let shards = running.cluster.shards.len();
    let last = running.connect_shard(shards - 1).await?;
    let room: i32 = last
        .query_one(
            "SELECT current_setting('max_prepared_transactions')::int",
            &[],
        )
        .await?
        .get(0);
    for number in 0..room {
        last.batch_execute(&format!("BEGIN; PREPARE TRANSACTION 'app:{number}'"))
            .await?;
    }
    let change = Change::number(900);
    // Without a kill: the statement fails at once, and nothing is left.
    let session = running.connect().await?;
    let refused = session.simple_query(&change.sql).await;
    ensure!(refused.is_err(), "{} with no room", change.sql);
    let took = settled(running).await?;
    ensure!(took < Duration::from_secs(1), "settled after {took:?} only");
    ensure!(!change.in_force(running).await?, "in force");
    let mut count = 0;
    // Home's ROLLBACK, and ROLLBACK PREPARED on those that have prepared.
    for name in ["ddl-roll-back", "ddl-rolled-back"] {
        for nth in 1..shards {
            let at = format!("{name}:{nth}");
            die(running, &at, &change, keys, Some(false))
                .await
                .with_context(|| format!("killed at {at} after a failed PREPARE"))?;
            count += 1;
        }
    }
    for number in 0..room {
        last.batch_execute(&format!("ROLLBACK PREPARED 'app:{number}'"))
            .await?;
    }
    Ok(count)
}

/// A function of the router that dies at an edge.
struct Call {
    at: String,
    table: String,
    call: String,
    /// The table is distributed before, and is to be a home table.
    back: bool,
    in_force: bool,
}

fn calls(shards: usize) -> Vec<Call> {
    let others = shards - 1;
    let mut list = Vec::new();
    for (function, back) in [
        ("create_distributed_table('{}', 'k')", false),
        ("create_reference_table('{}')", false),
        ("undistribute_table('{}')", true),
    ] {
        for (name, count, in_force) in [
            ("change-run", others, false),
            ("change-prepare", others, false),
            ("change-prepared", others, false),
            ("change-decide", 1, false),
            ("change-decided", 1, true),
            ("change-commit", others, true),
            ("change-committed", others, true),
        ] {
            for nth in 1..=count {
                let table = format!("f{}", list.len());
                list.push(Call {
                    at: format!("{name}:{nth}"),
                    call: function.replace("{}", &table),
                    table,
                    back,
                    in_force,
                });
            }
        }
    }
    list
}

/// The functions that make tables distributed, or reference tables, and back: killed at every edge.
pub async fn of_the_functions(running: &Running) -> Result<()> {
    let shards = running.cluster.shards.len();
    let calls = calls(shards);
    let session = running.connect().await?;
    for Call { table, back, .. } in &calls {
        crate::run(
            &session,
            &format!("CREATE TABLE {table} (k bigint PRIMARY KEY, v int)"),
        )
        .await?;
        if *back {
            crate::run(
                &session,
                &format!("SELECT create_distributed_table('{table}', 'k')"),
            )
            .await?;
        }
    }
    for call in &calls {
        a_function(running, call)
            .await
            .with_context(|| format!("killed at {} of {}", call.at, call.call))?;
    }
    println!("{} edges of the functions on {shards} shards", calls.len());
    Ok(())
}

async fn a_function(running: &Running, call: &Call) -> Result<()> {
    let Call {
        at,
        table,
        call,
        back,
        in_force,
    } = call;
    let victim = router(running, VICTIM, &[("SHARDGATE_KILL_AT", at)])?;
    let client = running.connect_to(&victim).await?;
    let result = client.simple_query(&format!("SELECT {call}")).await;
    ensure!(result.is_err(), "acknowledged by a router that was to die");
    ended(&victim)?;
    let again = router(running, VICTIM, &[])?;
    settled(running).await?;
    let everywhere = in_force != back;
    let found = crate::on_shards(running, &format!("SELECT count(to_regclass('{table}'))")).await?;
    for (index, count) in found.iter().enumerate() {
        let expected = if index == 0 || everywhere { "1" } else { "0" };
        ensure!(
            count.as_deref() == Some(expected),
            "{table} is on {found:?}, everywhere: {everywhere}"
        );
    }
    let home = running.connect_shard(0).await?;
    let noted: i64 = home
        .query_one(
            "SELECT count(*) FROM shardgate.distributed_table WHERE relation = $1::text::regclass",
            &[table],
        )
        .await?
        .get(0);
    ensure!(
        noted == i64::from(everywhere),
        "{noted} rows in the catalog"
    );
    // No lock is left: the call works now, or the one that undoes it.
    let session = running.connect_to(&again).await?;
    let next = match (in_force, back) {
        (false, _) => call.clone(),
        (true, false) => format!("undistribute_table('{table}')"),
        (true, true) => format!("create_distributed_table('{table}', 'k')"),
    };
    tokio::time::timeout(SOON, crate::run(&session, &format!("SELECT {next}")))
        .await
        .context("the next call waits")?
}

/// Without the one that died: another router ends what it has left.
pub async fn another_router_cleans_up(running: &Running, keys: &[i64]) -> Result<()> {
    for (number, (at, in_force)) in [("ddl-prepared:1", false), ("ddl-decided:1", true)]
        .into_iter()
        .enumerate()
    {
        let change = Change::number(600 + 3 * number);
        let victim = router(running, VICTIM, &[("SHARDGATE_KILL_AT", at)])?;
        let client = running.connect_to(&victim).await?;
        let result = client.simple_query(&change.sql).await;
        ensure!(result.is_err(), "acknowledged by a router that was to die");
        ended(&victim)?;
        let watcher = running.connect().await?;
        let read = change.read.clone().context("a column")?;
        let watching = tokio::spawn(never_half(watcher, read, keys.to_vec()));
        let took = settled(running).await?;
        println!("{at}: the other router has ended it after {took:?}");
        watching.await??;
        ensure!(
            change.in_force(running).await? == in_force,
            "{at}: in force is not {in_force}"
        );
        goes_on(running, keys).await?;
    }
    Ok(())
}

/// Runs the statement through a router that dies at the edge, starts that router again and looks. How long something was
/// prepared after that.
async fn die(
    running: &Running,
    at: &str,
    change: &Change,
    keys: &[i64],
    in_force: Option<bool>,
) -> Result<Duration> {
    let victim = router(running, VICTIM, &[("SHARDGATE_KILL_AT", at)])?;
    let client = running.connect_to(&victim).await?;
    let watcher = running.connect().await?;
    let result = tokio::time::timeout(SOON, client.simple_query(&change.sql))
        .await
        .context("the statement ends")?;
    match &result {
        Ok(_) => bail!("acknowledged by a router that was to die"),
        Err(error) if error.code().is_some() => bail!("an error, and no death: {error:?}"),
        Err(_) => {}
    }
    ended(&victim)?;
    let watching = change
        .read
        .clone()
        .map(|read| tokio::spawn(never_half(watcher, read, keys.to_vec())));
    let _again = router(running, VICTIM, &[])?;
    let took = settled(running).await?;
    if let Some(watching) = watching {
        tokio::time::timeout(SOON, watching)
            .await
            .context("a reader of the other router waits")???;
    }
    let found = change.in_force(running).await?;
    ensure!(
        in_force.is_none_or(|expected| expected == found),
        "in force: {found}"
    );
    Ok(took)
}

fn ended(victim: &RouterProcess) -> Result<()> {
    let start = Instant::now();
    tokio::task::block_in_place(|| victim.process().wait_end(SOON))
        .then_some(())
        .with_context(|| format!("the router lives on after {:?}", start.elapsed()))
}
