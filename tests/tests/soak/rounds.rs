//! Rounds of a soak: the clients work while something is done to the cluster, then they stop, and everything is looked at.

use crate::audit::audit;
use crate::chaos::{ALL, Chaos, Event};
use crate::crowd::Crowd;
use crate::journal::Journal;
use crate::map::Map;
use crate::pauses::Pauses;
use crate::plan::Allowed;
use crate::random::Random;
use crate::world::World;
use anyhow::{Result, bail};
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
}

/// A soak under way.
pub struct Soak {
    pub settings: Settings,
    pub world: World,
    pub journal: Arc<Journal>,
    pub random: Random,
    pub chaos: Chaos,
    pub pauses: Pauses,
    crowd: Option<Crowd>,
}

impl Soak {
    pub async fn start(settings: Settings) -> Result<Soak> {
        let world = World::start(4, 1, settings.ballast).await?;
        let allowed = allowed(&world).await?;
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

    async fn calm(&mut self) {
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
        let faults = audit(&self.world, &mut crowd.ledgers(), &[]).await?;
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

    /// The errors that nothing explains are printed and counted; the others are counted.
    async fn judge(&self) -> Result<(usize, usize)> {
        let map = Map::load(&self.world.running).await?;
        let (unexplained, explained) = self.journal.judge(|key| map.shards(key));
        for failure in unexplained.iter().take(20) {
            println!("ERROR {failure:?}");
        }
        if !unexplained.is_empty() {
            println!("killed: {:?}", self.journal.kills());
        }
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
    })
}
