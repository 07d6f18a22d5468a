//! One random move from its start to its end: forward, back, forth again, cancelled or completed, with pauses; and what is
//! killed meanwhile.

use crate::chaos::ALL;
use crate::ledger::Key;
use crate::map::Map;
use crate::pauses::Window;
use crate::rounds::Soak;
use crate::verbs::{Ended, State, Verb, newest};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long a move may need to come to a step, with everything that is killed meanwhile.
const STEP: Duration = Duration::from_secs(150);

/// A verb that takes longer is spoken of.
const SLOW: Duration = Duration::from_secs(10);

/// How a verb ended that was not the last word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub moves: u32,
    pub switched: u32,
    pub reversed: u32,
    pub cancelled: u32,
    pub completed: u32,
    pub paused: u32,
    /// Switches that were given up and tried again.
    pub undone: u32,
    /// `shard-admin` was killed.
    pub killed: u32,
}

/// What is to move.
#[derive(Clone, Debug)]
struct Parts {
    numbers: bool,
    buckets: BTreeSet<u32>,
    bucket_count: u32,
    /// A single key instead of buckets.
    key: Option<Key>,
    arguments: Vec<String>,
}

impl Soak {
    /// A move of random keys, with random things happening. Returns a description.
    pub async fn episode(&mut self) -> Result<String> {
        let parts = if self.random.chance(15) {
            self.choose_key().await?
        } else {
            self.choose().await?
        };
        let mut story = vec![match (&parts.key, parts.numbers) {
            (Some(key), _) => format!("key {key}"),
            (None, true) => format!("{} buckets of numbers", parts.buckets.len()),
            (None, false) => format!("{} buckets of names", parts.buckets.len()),
        }];
        self.moves.moves += 1;
        let before = newest(&self.world).await?.map_or(0, |state| state.id);
        self.begin_move(&parts, before).await?;
        if self.random.chance(15) {
            self.moves.cancelled += 1;
            story.push("cancel".to_owned());
            self.until("cancel", &["cancelled"]).await?;
            return Ok(story.join(", "));
        }
        if self.random.chance(20) {
            story.push("pause".to_owned());
            self.moves.paused += 1;
            self.verb_once("pause").await?;
            self.calm().await;
        }
        self.until("resume", &["verified", "switched"]).await?;
        loop {
            story.push("switch".to_owned());
            self.switch("switch", "switched", &parts).await?;
            self.moves.switched += 1;
            self.calm().await;
            if !self.random.chance(35) {
                break;
            }
            story.push("reverse".to_owned());
            self.switch("reverse", "reversed", &parts).await?;
            self.moves.reversed += 1;
            self.calm().await;
            if self.random.chance(50) {
                self.moves.cancelled += 1;
                story.push("cancel".to_owned());
                self.until("cancel", &["cancelled"]).await?;
                return Ok(story.join(", "));
            }
        }
        story.push("complete".to_owned());
        self.moves.completed += 1;
        self.until("complete", &["completed"]).await?;
        Ok(story.join(", "))
    }

    /// A run of buckets of one shard, or a single key, and a shard that it goes to.
    async fn choose(&mut self) -> Result<Parts> {
        let map = Map::load(&self.world.running).await?;
        let numbers = self.random.chance(70);
        let table = if numbers { "parent" } else { "named" };
        let shards = self.world.running.cluster.shards.len() as u64;
        let distribution = map.of(table)?;
        let bucket_count = u32::try_from(distribution.buckets)?;
        let (source, buckets) = loop {
            let source = usize::try_from(self.random.below(shards))?;
            let buckets = map.buckets_of(table, source)?;
            if !buckets.is_empty() {
                break (source, buckets);
            }
        };
        let other = 1 + usize::try_from(self.random.below(shards - 1))?;
        let target = (source + other) % usize::try_from(shards)?;
        let first = usize::try_from(self.random.below(buckets.len() as u64))?;
        // A run of the list may have gaps, where buckets of other shards lie between.
        let most = 1 + buckets.len() as u64 / 3;
        let count = 1 + usize::try_from(self.random.below(most))?;
        let chosen: BTreeSet<u32> = buckets
            .iter()
            .skip(first)
            .take(count)
            .map(|bucket| u32::try_from(*bucket))
            .collect::<Result<_, _>>()?;
        let target = self.world.running.cluster.shards[target].name.clone();
        let arguments = vec![
            "start".to_owned(),
            "--of".to_owned(),
            table.to_owned(),
            "--buckets".to_owned(),
            runs(&chosen),
            "--to".to_owned(),
            target,
        ];
        Ok(Parts {
            numbers,
            buckets: chosen,
            bucket_count,
            key: None,
            arguments,
        })
    }

    /// A key of a client alone.
    async fn choose_key(&mut self) -> Result<Parts> {
        let map = Map::load(&self.world.running).await?;
        let clients = u64::from(self.settings.clients.unsigned_abs());
        let client = 1 + i32::try_from(self.random.below(clients))?;
        let keys = crate::crowd::keys(client);
        let key = self.random.pick(&keys).context("a key")?.clone();
        let owner = map.shards(&key).first().copied().context("an owner")?;
        let shards = self.world.running.cluster.shards.len();
        let other = 1 + usize::try_from(self.random.below(shards as u64 - 1))?;
        let (table, text) = match &key {
            Key::Number(number) => ("parent", number.to_string()),
            Key::Name(name) => ("named", name.clone()),
        };
        let target = &self.world.running.cluster.shards[(owner + other) % shards].name;
        let words = ["start", "--of", table, "--key", &text, "--to", target];
        Ok(Parts {
            numbers: table == "parent",
            buckets: BTreeSet::new(),
            bucket_count: u32::try_from(map.of(table)?.buckets)?,
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            key: Some(key),
        })
    }

    /// Starts it, until the catalog has it.
    async fn begin_move(&mut self, parts: &Parts, before: i64) -> Result<()> {
        let start = Instant::now();
        loop {
            let ended = self.verb(&parts.arguments).await?;
            match newest(&self.world).await? {
                Some(state) if state.id > before => return Ok(()),
                _ if start.elapsed() > STEP => bail!("no move was made: {ended}"),
                _ if !self.disturbed(start) => bail!("refused, and nothing was killed: {ended}"),
                _ => {}
            }
        }
    }

    /// Repeats a verb until the move is at one of the steps.
    async fn until(&mut self, verb: &str, steps: &[&str]) -> Result<State> {
        let start = Instant::now();
        loop {
            let state = self.state().await?;
            if steps.contains(&state.step.as_str()) {
                return Ok(state);
            }
            if start.elapsed() > STEP {
                bail!("move {} does not come to {steps:?}: {state}", state.id);
            }
            let from = Instant::now();
            let ended = self.verb_once(verb).await?;
            let now = self.state().await?;
            if !ended.status.success()
                && !steps.contains(&now.step.as_str())
                && !self.disturbed(from)
            {
                bail!("{verb} failed, and nothing was killed: {ended}, {now}");
            }
        }
    }

    /// A switch or its reverse. One that is undone is tried again.
    async fn switch(&mut self, verb: &str, step: &str, parts: &Parts) -> Result<()> {
        let start = Instant::now();
        loop {
            let from = self.journal.now();
            let began = Instant::now();
            let ended = self.verb_once(verb).await?;
            self.windows.push(Window {
                from,
                to: self.journal.now(),
                numbers: parts.numbers,
                bucket_count: parts.bucket_count,
                buckets: parts.buckets.clone(),
                key: parts.key.clone(),
                disturbed: self.disturbed(began),
            });
            let state = self.settled().await?;
            if state.step == step {
                if let Some(ms) = state.pause_ms
                    && !self.disturbed(began)
                {
                    let ms = u64::try_from(ms).unwrap_or(0);
                    self.engine_pauses.add(Duration::from_millis(ms));
                }
                return Ok(());
            }
            self.moves.undone += 1;
            if !self.disturbed(began) {
                self.undone.push(format!("{ended} {state}"));
            }
            if start.elapsed() > STEP {
                bail!("{verb} does not succeed: {ended}, {state}");
            }
        }
    }

    /// Neither holding nor moved: a switch whose engine was killed is ended by somebody else.
    async fn settled(&mut self) -> Result<State> {
        let start = Instant::now();
        loop {
            let state = self.state().await?;
            if !["hold", "moved"].contains(&state.step.as_str()) {
                return Ok(state);
            }
            if start.elapsed() > STEP {
                bail!("a switch is left under way: {state}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The state, also while home restarts.
    async fn state(&self) -> Result<State> {
        newest(&self.world).await?.context("no move")
    }

    async fn verb_once(&mut self, verb: &str) -> Result<Ended> {
        let id = self.state().await?.id.to_string();
        self.verb(&[verb.to_owned(), id]).await
    }

    /// Runs a verb to its end; meanwhile something may be killed, the verb itself too.
    async fn verb(&mut self, arguments: &[String]) -> Result<Ended> {
        let chaos = self.random.chance(self.settings.chaos_percent);
        let at = Instant::now() + Duration::from_millis(self.random.below(2500));
        let mut event = chaos.then(|| self.random.below(ALL.len() as u64 + 3));
        let running = &self.world.running;
        let begun = Instant::now();
        let mut verb = Verb::start(&running.cluster.dir, &running.catalog_url(), arguments)?;
        loop {
            if let Some(ended) = verb.poll()? {
                let took = begun.elapsed();
                if !ended.status.success() || took > SLOW {
                    println!("{:?}: after {took:?} {ended}", self.journal.now());
                }
                return Ok(ended);
            }
            if Instant::now() > at
                && let Some(number) = event.take()
            {
                self.last_chaos = Some(Instant::now());
                match usize::try_from(number).ok().and_then(|n| ALL.get(n)) {
                    Some(event) => self.happen(*event).await?,
                    None => {
                        println!("{:?}: the engine is killed", self.journal.now());
                        self.moves.killed += 1;
                        verb.kill()?;
                    }
                }
                self.last_chaos = Some(Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Something was killed since then, or not long before.
    fn disturbed(&self, since: Instant) -> bool {
        let aftermath = Duration::from_secs(5);
        self.last_chaos
            .is_some_and(|chaos| chaos + aftermath > since)
    }
}

/// `3-7,9` of a set of numbers.
pub fn runs(numbers: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let texts: Vec<String> = runs
        .iter()
        .map(|(first, last)| format!("{first}-{last}"))
        .collect();
    texts.join(",")
}
