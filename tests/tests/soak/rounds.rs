//! Rounds of a soak: the clients work while something is done to the cluster, then they stop, and everything is looked at.

use crate::audit::audit;
use crate::chaos::{ALL, Chaos, Event};
use crate::crowd::Crowd;
use crate::episode::Counted;
use crate::journal::Journal;
use crate::ledger::Key;
use crate::map::Map;
use crate::pauses::{Pauses, Times, Window};
use crate::plan::Allowed;
use crate::random::Random;
use crate::verbs::{copies, leftovers};
use crate::world::World;
use anyhow::{Result, bail, ensure};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a soak is like.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub clients: i32,
    /// Plans a second of all clients together.
    pub rate: u64,
    pub ballast: i64,
    /// Whichever comes first ends it.
    pub time: Duration,
    pub rounds: u32,
    /// Of 100 rounds, those in which something is killed.
    pub chaos_percent: u64,
    pub stop_ms_max: u64,
    /// Clients also write rows of several shards by one statement.
    pub spread: bool,
}

/// A soak under way.
pub struct Soak {
    pub settings: Settings,
    pub world: World,
    pub journal: Arc<Journal>,
    pub random: Random,
    pub chaos: Chaos,
    pub pauses: Pauses,
    pub moves: Counted,
    /// Switches since the samples were last looked at.
    pub windows: Vec<Window>,
    /// Switches that were undone though nothing was killed.
    pub undone: Vec<String>,
    /// How long statements were held back, as the engine says.
    pub engine_pauses: Times,
    /// When something was last killed.
    pub last_chaos: Option<Instant>,
    /// Rounds whose moves or kills explain an error: the maps before and after them.
    maps: [Map; 2],
    explained: usize,
    crowd: Option<Crowd>,
}

impl Soak {
    pub async fn start(settings: Settings) -> Result<Soak> {
        let world = World::start(4, 1, settings.ballast).await?;
        let mut allowed = allowed(&world).await?;
        allowed.spread = settings.spread;
        let map = Map::load(&world.running).await?;
        println!("SEED={}, {allowed:?}", settings.seed);
        let crowd = Crowd::new(
            &world,
            settings.clients,
            settings.rate,
            settings.seed,
            allowed,
        );
        Ok(Soak {
            world,
            journal: Arc::new(Journal::new()),
            random: Random::fork(settings.seed, 0),
            chaos: Chaos {
                stop_ms_max: settings.stop_ms_max,
                ..Chaos::default()
            },
            pauses: Pauses::default(),
            moves: Counted::default(),
            windows: Vec::new(),
            undone: Vec::new(),
            engine_pauses: Times::default(),
            last_chaos: None,
            maps: [map.clone(), map],
            explained: 0,
            crowd: Some(crowd),
            settings,
        })
    }

    /// Rounds without moves: whatever they show is not a move's fault.
    pub async fn kills(&mut self) -> Result<()> {
        let start = Instant::now();
        for round in 1..=self.settings.rounds {
            if start.elapsed() > self.settings.time {
                break;
            }
            let working = self.begin(round)?;
            for event in [ALL[0], ALL[1], ALL[2], ALL[3]] {
                self.calm().await;
                self.happen(event).await?;
            }
            self.calm().await;
            self.end(working, round, "kills").await?;
        }
        Ok(())
    }

    /// Rounds of one random move each.
    pub async fn moves(&mut self) -> Result<()> {
        let start = Instant::now();
        for round in 1..=self.settings.rounds {
            if start.elapsed() > self.settings.time {
                break;
            }
            let working = self.begin(round)?;
            self.calm().await;
            let story = self.episode().await;
            self.calm().await;
            let what = match &story {
                Ok(story) => story.clone(),
                Err(error) => format!("{error:#}"),
            };
            self.end(working, round, &what).await?;
            story?;
            let left = leftovers(&self.world).await?;
            ensure!(left.is_empty(), "{what} has left {left:?}");
            let windows = std::mem::take(&mut self.windows);
            self.pauses.add(&windows, &self.journal.take_samples());
        }
        Ok(())
    }

    /// What was done and seen.
    pub fn report(&self) {
        println!("{:?}; killed: {:?}", self.moves, self.chaos.happened);
        println!(
            "{:?}, {} explained errors",
            self.journal.counts(),
            self.explained
        );
        println!(
            "{} switches undone with nothing killed: {:#?}",
            self.undone.len(),
            self.undone
        );
        println!("pauses as the engine says: {}", self.engine_pauses);
        self.pauses.print();
    }

    pub async fn calm(&mut self) {
        let ms = 200 + self.random.below(1500);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    pub async fn happen(&mut self, event: Event) -> Result<()> {
        let (world, random) = (&mut self.world, &mut self.random);
        self.chaos.happen(event, world, &self.journal, random).await
    }

    pub fn begin(&mut self, round: u32) -> Result<crate::crowd::Working> {
        let Some(crowd) = self.crowd.take() else {
            bail!("the clients have gone");
        };
        crowd.start(&self.journal, self.settings.seed ^ u64::from(round))
    }

    /// Stops the clients, and fails if anything is wrong.
    pub async fn end(
        &mut self,
        working: crate::crowd::Working,
        round: u32,
        what: &str,
    ) -> Result<()> {
        let mut crowd = working.stop().await?;
        let copies = copies(&self.world).await?;
        let faults = audit(&self.world, &mut crowd.ledgers(), &copies).await?;
        self.crowd = Some(crowd);
        for fault in faults.iter().take(20) {
            println!("FAULT {fault:?}");
        }
        let (unexplained, explained) = self.judge().await?;
        println!(
            "round {round}, {what}: {} faults, {} wrong answers, {unexplained} unexplained and {explained} explained errors, {:?}",
            faults.len(),
            self.journal.wrong_answers().len(),
            self.journal.counts(),
        );
        if faults.is_empty() && self.journal.wrong_answers().is_empty() && unexplained == 0 {
            return Ok(());
        }
        bail!("round {round} of SEED={} failed", self.settings.seed);
    }

    /// The errors of this round that nothing explains are printed and counted; the others are counted.
    async fn judge(&mut self) -> Result<(usize, usize)> {
        let [_, before] = &self.maps;
        self.maps = [before.clone(), Map::load(&self.world.running).await?];
        let shards = |key: &Key| self.maps.iter().flat_map(|map| map.shards(key)).collect();
        let (unexplained, explained) = self.journal.judge(shards);
        for failure in unexplained.iter().take(20) {
            println!("ERROR {failure}");
        }
        if !unexplained.is_empty() {
            println!("killed: {:?}", self.journal.kills());
        }
        self.explained += explained;
        Ok((unexplained.len(), explained))
    }
}

/// What this router answers, found by asking for what is right in any case: there is no such row.
async fn allowed(world: &World) -> Result<Allowed> {
    let session = world.connect(0).await?;
    let key_changes = session
        .batch_execute("UPDATE named SET name = 'none-2' WHERE name = 'none-1'")
        .await
        .is_ok();
    let mut two_shards = true;
    session.batch_execute("BEGIN").await?;
    for k in -8..0 {
        let sql = format!("UPDATE parent SET n = 0 WHERE k = {k}");
        two_shards &= session.batch_execute(&sql).await.is_ok();
    }
    session.batch_execute("ROLLBACK").await?;
    Ok(Allowed {
        key_changes,
        two_shards,
        spread: false,
    })
}
