//! That the comparison can fail: each kind of fault is planted on the shards and found, by its name and as nothing else.

use crate::audit::audit;
use crate::compare::Kind;
use crate::crowd::Crowd;
use crate::ledger::Key;
use crate::map::Map;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use shardgate_tests::Session;

/// As an apply worker writes: no guard, no trigger, no foreign key stands in the way.
const FREELY: &str = "SET session_replication_role = 'replica'";

async fn shards(world: &World) -> Result<Vec<Session>> {
    let mut shards = Vec::new();
    for index in 0..world.running.cluster.shards.len() {
        let shard = world.running.connect_shard(index).await?;
        shard.batch_execute(FREELY).await?;
        shards.push(shard);
    }
    Ok(shards)
}

/// A key that has a row, a child and an entry, and the shard that has it.
async fn victim(world: &World, crowd: &Crowd) -> Result<(i64, usize)> {
    let families = crowd.clients.iter().flat_map(|one| one.ledger.families());
    let full = families.into_iter().find_map(|(key, family)| match key {
        Key::Number(k)
            if family.row.is_some_and(|row| row.b.is_some())
                && !family.children.is_empty()
                && !family.entries.is_empty() =>
        {
            Some(*k)
        }
        Key::Number(_) | Key::Name(_) => None,
    });
    let k = full.context("no client has a whole family")?;
    let map = Map::load(&world.running).await?;
    let home = world.running.connect_shard(0).await?;
    let sql = format!(
        "SELECT {} FROM (SELECT {k}::bigint AS k) x",
        map.bucket_sql("parent", "k")?
    );
    let bucket = home.query_one(&sql, &[]).await?.get(0);
    Ok((k, map.of("parent")?.owner(&k.to_string(), bucket)?))
}

/// Plants faults one after another, and takes each back.
pub async fn all(world: &World, crowd: &mut Crowd) -> Result<()> {
    let faults = audit(world, &mut crowd.ledgers(), &[]).await?;
    ensure!(faults.is_empty(), "before anything is planted: {faults:?}");
    let (k, owner) = victim(world, crowd).await?;
    let shards = shards(world).await?;
    let (here, there) = (
        shards.get(owner).context("the owner")?,
        shards.get((owner + 1) % shards.len()).context("another")?,
    );
    let copy = format!(
        "INSERT INTO parent SELECT {k}, client, n, b, big FROM json_populate_record(NULL::parent, $1::text::json)"
    );
    let row = here
        .query_one(
            "SELECT row_to_json(p)::text FROM parent p WHERE k = $1",
            &[&k],
        )
        .await?;
    let row: String = row.get(0);
    let delete = format!("DELETE FROM parent WHERE k = {k}");
    let plant = async |kind: Kind, least: usize, crowd: &mut Crowd| -> Result<()> {
        let faults = audit(world, &mut crowd.ledgers(), &[]).await?;
        ensure!(
            faults.len() == least && faults.iter().all(|fault| fault.kind == kind),
            "{kind:?} was planted, and found is {faults:?}"
        );
        println!("{kind:?} was found: {}", faults[0].text);
        Ok(())
    };
    here.batch_execute(&delete).await?;
    plant(Kind::Lost, 1, crowd).await?;
    there.execute(&copy, &[&row]).await?;
    plant(Kind::Misplaced, 1, crowd).await?;
    here.execute(&copy, &[&row]).await?;
    plant(Kind::Doubled, 1, crowd).await?;
    there.batch_execute(&delete).await?;
    for (kind, change, back) in [
        (
            Kind::Differs,
            format!("UPDATE parent SET n = n + 1 WHERE k = {k}"),
            format!("UPDATE parent SET n = n - 1 WHERE k = {k}"),
        ),
        (
            Kind::Corrupt,
            format!("UPDATE parent SET big = NULL WHERE k = {k}"),
            format!("UPDATE parent SET big = repeat(md5(b::text), 160) WHERE k = {k}"),
        ),
        (
            Kind::Doubled,
            format!(
                "INSERT INTO entry SELECT * FROM entry WHERE k = {k} AND n = (SELECT min(n) FROM entry WHERE k = {k})"
            ),
            format!(
                "DELETE FROM entry WHERE ctid = (SELECT max(ctid) FROM entry WHERE k = {k} AND n = (SELECT min(n) FROM entry WHERE k = {k}))"
            ),
        ),
        (
            Kind::Ghost,
            format!("INSERT INTO child VALUES ({k}, 99, 1, 1)"),
            format!("DELETE FROM child WHERE k = {k} AND id = 99"),
        ),
    ] {
        here.batch_execute(&change).await?;
        plant(kind, 1, crowd).await?;
        here.batch_execute(&back).await?;
    }
    let ballast: i64 = here
        .query_one("SELECT min(k) FROM ballast", &[])
        .await?
        .get(0);
    here.execute("DELETE FROM ballast WHERE k = $1", &[&ballast])
        .await?;
    plant(Kind::Lost, 1, crowd).await?;
    there
        .execute(
            "INSERT INTO ballast VALUES ($1, md5($1::int8::text))",
            &[&ballast],
        )
        .await?;
    let faults = audit(world, &mut crowd.ledgers(), &[]).await?;
    ensure!(
        faults.iter().any(|fault| fault.kind == Kind::Misplaced),
        "{faults:?}"
    );
    Ok(())
}
