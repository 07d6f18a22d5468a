//! `shard-admin` as a process that can be killed, and what the catalog says of its moves.

use crate::audit::Copies;
use crate::world::World;
use anyhow::{Context, Result, anyhow};
use shardgate_tests::{Running, shard_admin_binary};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long one verb may take.
const VERB: Duration = Duration::from_secs(120);

/// A verb that was started.
#[derive(Debug)]
pub struct Verb {
    child: Child,
    text: String,
    output: std::path::PathBuf,
    started: Instant,
}

/// A verb that has ended, or was ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub verb: String,
    pub status: ExitStatus,
    pub stderr: String,
}

impl Verb {
    /// Starts `shard-admin move ..`.
    pub fn start(dir: &Path, home: &str, arguments: &[String]) -> Result<Verb> {
        let output = dir.join("verb");
        let child = Command::new(shard_admin_binary()?)
            .args(["--catalog", home, "--output", "json", "move"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(output.with_extension("err"))?)
            .spawn()
            .context("shard-admin")?;
        Ok(Verb {
            child,
            // The list of buckets may be long.
            text: format!("move {}", arguments.join(" "))
                .chars()
                .take(60)
                .collect(),
            output,
            started: Instant::now(),
        })
    }

    /// The end of it, if it has ended. One that takes too long is killed.
    pub fn poll(&mut self) -> Result<Option<Ended>> {
        if self.started.elapsed() > VERB {
            println!("{} has not ended within {VERB:?}", self.text);
            self.kill()?;
        }
        let Some(status) = self.child.try_wait()? else {
            return Ok(None);
        };
        Ok(Some(Ended {
            verb: self.text.clone(),
            status,
            stderr: std::fs::read_to_string(self.output.with_extension("err"))?,
        }))
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        Ok(())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ended with {}: {}",
            self.verb,
            self.status,
            self.stderr.trim()
        )
    }
}

/// A move as the catalog has it.
#[derive(Clone, Debug)]
pub struct State {
    pub id: i64,
    pub step: String,
    pub reversing: bool,
    pub settled: bool,
    pub error: Option<String>,
    pub pause_ms: Option<i32>,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (reversing, settled) = (self.reversing, self.settled);
        write!(
            f,
            "move {} in step {}, reversing {reversing}, settled {settled}",
            self.id, self.step
        )?;
        if let Some(error) = &self.error {
            write!(f, ", error {error}")?;
        }
        Ok(())
    }
}

/// The newest move.
pub async fn newest(world: &World) -> Result<Option<State>> {
    let home = world.running.connect_shard(0).await?;
    let sql = "SELECT id, step, reversing, settled, error, pause_ms \
        FROM shardgate.move ORDER BY id DESC LIMIT 1";
    Ok(home.query_opt(sql, &[]).await?.map(|row| State {
        id: row.get(0),
        step: row.get(1),
        reversing: row.get(2),
        settled: row.get(3),
        error: row.get(4),
        pause_ms: row.get(5),
    }))
}

/// How many rows the newest move has copied, and how long that took.
pub async fn copied(running: &Running) -> Result<(i64, Duration)> {
    let home = running.connect_shard(0).await?;
    let sql = "SELECT rows_copied, copy_ms FROM shardgate.move ORDER BY id DESC LIMIT 1";
    let row = home.query_one(sql, &[]).await?;
    let ms: i64 = row.get(1);
    Ok((row.get(0), Duration::from_millis(u64::try_from(ms)?)))
}

/// The moves that are not over.
pub async fn copies(world: &World) -> Result<Vec<Copies>> {
    let home = world.running.connect_shard(0).await?;
    let places: HashMap<&str, usize> = world
        .running
        .cluster
        .shards
        .iter()
        .enumerate()
        .map(|(index, shard)| (shard.name.as_str(), index))
        .collect();
    let place = |name: &str| places.get(name).copied().context("an unknown shard");
    let sql = "SELECT m.id, m.distribution_id, s.name, t.name FROM shardgate.move m \
        JOIN shardgate.shard s ON s.id = m.source_shard JOIN shardgate.shard t ON t.id = m.target_shard \
        WHERE m.step NOT IN ('completed', 'cancelled')";
    let mut found = Vec::new();
    for row in home.query(sql, &[]).await? {
        let id: i64 = row.get(0);
        let mut copies = Copies {
            distribution: row.get(1),
            buckets: Vec::new(),
            pins: Vec::new(),
            shards: [place(row.get(2))?, place(row.get(3))?],
        };
        let sql = "SELECT kind, lower, upper FROM shardgate.move_part WHERE move_id = $1";
        for part in home.query(sql, &[&id]).await? {
            let (kind, lower, upper): (String, String, Option<String>) =
                (part.get(0), part.get(1), part.get(2));
            match kind.as_str() {
                "buckets" => {
                    let first: i32 = lower.parse()?;
                    let last = upper.map_or(Ok(first), |upper| upper.parse())?;
                    copies.buckets.extend(first..=last);
                }
                "pin" => copies.pins.push(lower),
                other => return Err(anyhow!("a part of the kind {other}")),
            }
        }
        found.push(copies);
    }
    Ok(found)
}

/// What moves that are over have left on the shards, in words.
pub async fn leftovers(world: &World) -> Result<Vec<String>> {
    let sql = "SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE slot_type = 'logical' \
        UNION ALL SELECT 'publication ' || pubname FROM pg_publication \
        UNION ALL SELECT 'subscription ' || subname FROM pg_subscription \
        UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin \
        UNION ALL SELECT 'trigger ' || tgname || ' of ' || tgrelid::regclass FROM pg_trigger WHERE tgname LIKE '~shardgate%' \
        UNION ALL SELECT 'gate ' || move_id FROM shardgate.gate \
        UNION ALL SELECT 'identity ' || relreplident::text || ' of ' || relname FROM pg_class \
            WHERE relname IN ('parent', 'child', 'named', 'ballast') AND relreplident <> 'd'";
    let mut left = Vec::new();
    for (index, shard) in world.running.cluster.shards.iter().enumerate() {
        let session = world.running.connect_shard(index).await?;
        for row in session.query(sql, &[]).await? {
            let what: String = row.get(0);
            left.push(format!("{what} on {}", shard.name));
        }
    }
    Ok(left)
}
