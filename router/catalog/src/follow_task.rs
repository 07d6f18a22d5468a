//! The follower's task: connect, ask, load, publish; again after a loss, with growing pauses.
//!
//! Questions are cheap (the newest epoch) and frequent; the schema's fingerprint costs more in a large database and is
//! taken so rarely that it uses no more than a hundredth of the time.

use crate::connect::Backend;
use crate::disk;
use crate::epoch;
use crate::error::CatalogError;
use crate::fingerprint;
use crate::follow::{FollowerOptions, FollowerState, Held, blocking};
use crate::follow_home::{connect_and_load, end_switches, recover_now_and_then};
use crate::identity;
use crate::load::{load_again, newest_epoch};
use crate::raw::RawSnapshot;
use crate::view_copies;
use shardgate_plan::snapshot::Snapshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

/// The pauses between attempts to reach the home shard.
const RETRY_MS_MIN: u64 = 100;
const RETRY_MS_MAX: u64 = 5_000;
/// How often the router's row says that it lives.
const HEARTBEAT_MS: u64 = 5_000;
/// The fingerprint is taken at most once in this many times its own duration.
const FINGERPRINT_SHARE: u32 = 100;
/// A question that takes longer means that the connection is gone.
const ANSWER_MS_MAX: u64 = 30_000;

/// A wish for a reload.
#[derive(Debug)]
pub(crate) struct Request {
    pub bump: bool,
    pub answer: oneshot::Sender<Result<Answer, CatalogError>>,
}

/// What a reload found.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub snapshot: Arc<Snapshot>,
    /// Other routers live, and work by an older epoch.
    pub others_behind: bool,
}

/// The ends that the follower keeps.
pub(crate) struct Parts {
    pub held: watch::Receiver<Held>,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    pub state: watch::Receiver<FollowerState>,
    pub requests: mpsc::Sender<Request>,
    pub published: Arc<AtomicU64>,
    pub drained: watch::Sender<u64>,
}

pub(crate) struct Task {
    options: FollowerOptions,
    home: Option<Backend>,
    held: watch::Sender<Held>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    state: watch::Sender<FollowerState>,
    requests: mpsc::Receiver<Request>,
    published: Arc<AtomicU64>,
    /// What the router's row is to say of it.
    drained: watch::Receiver<u64>,
    beaten_at: Option<Instant>,
    /// When the fingerprint may be taken again.
    fingerprint_at: Instant,
    /// How long the last one took.
    fingerprint_took: Option<Duration>,
}

impl Task {
    /// Makes the first connection and takes the first snapshot.
    pub(crate) async fn first(
        options: FollowerOptions,
        kept: Option<Held>,
    ) -> Result<(Task, Parts), CatalogError> {
        let known = kept.as_ref().map(|held| held.raw.as_ref());
        let (home, held, trouble) = match (connect_and_load(&options, known).await, kept) {
            (Ok((home, raw)), _) => (
                Some(home),
                Held {
                    snapshot: Arc::new(raw.build()?),
                    raw: Arc::new(raw),
                },
                None,
            ),
            (Err(error), Some(kept))
                if error.is_unreachable() || matches!(error, CatalogError::Forked { .. }) =>
            {
                warn!(%error, epoch = kept.raw.epoch.number, "starting with the snapshot that was kept on disk");
                (None, kept, Some(error))
            }
            (Err(error), _) => return Err(error),
        };
        let state = FollowerState {
            connected: home.is_some(),
            host: home.as_ref().map(|home| home.host().to_owned()),
            since: SystemTime::now(),
            last_error: trouble.as_ref().map(ToString::to_string),
            epoch: held.raw.epoch.number,
            from_disk: home.is_none(),
            refused: trouble
                .filter(|error| matches!(error, CatalogError::Forked { .. }))
                .map(|error| error.to_string()),
        };
        let fresh = home.is_some();
        let (snapshots, snapshots_out) = watch::channel(Arc::clone(&held.snapshot));
        let (held, held_out) = watch::channel(held);
        let (state, state_out) = watch::channel(state);
        let (wishes, requests) = mpsc::channel(crate::follow::REQUESTS_MAX);
        let (drained, drained_in) = watch::channel(0);
        let mut task = Task {
            options,
            home,
            held,
            snapshots,
            state,
            requests,
            published: Arc::default(),
            drained: drained_in,
            beaten_at: None,
            fingerprint_at: Instant::now(),
            fingerprint_took: None,
        };
        if let Some(home) = &task.home {
            identity::claim(home, &task.options.router_id).await?;
        }
        if fresh {
            task.keep().await;
            task.heartbeat().await?;
        }
        let published = Arc::clone(&task.published);
        Ok((
            task,
            Parts {
                published,
                drained,
                held: held_out,
                snapshots: snapshots_out,
                state: state_out,
                requests: wishes,
            },
        ))
    }

    /// Runs until the follower is dropped.
    pub(crate) async fn run(self) {
        let recovery = recover_now_and_then(self.options.config.clone());
        let switches = end_switches(self.options.config.clone(), self.snapshots.subscribe());
        let following = self.follow();
        tokio::select! {
            () = following => {}
            never = recovery => match never {},
            never = switches => match never {},
        }
    }

    async fn follow(mut self) {
        let mut retry_ms = RETRY_MS_MIN;
        loop {
            let outcome = match self.home {
                Some(_) => self.turn().await,
                None => self.reconnect().await,
            };
            match outcome {
                Ok(Turn::Ended) => return,
                Ok(Turn::Again) => retry_ms = RETRY_MS_MIN,
                Err(error) => {
                    self.failed(&error);
                    if self.pause(retry_ms, &error).await {
                        return;
                    }
                    retry_ms = (retry_ms * 2).min(RETRY_MS_MAX);
                }
            }
        }
    }

    /// Waits for a reason to look, and looks.
    async fn turn(&mut self) -> Result<Turn, CatalogError> {
        let Some(home) = &self.home else {
            return Ok(Turn::Again);
        };
        let notified = home.notified();
        let wish = tokio::select! {
            wish = self.requests.recv() => match wish {
                None => return Ok(Turn::Ended),
                Some(wish) => Some(wish),
            },
            () = notified.notified() => None,
            // Whoever moves data waits for it.
            Ok(()) = self.drained.changed() => {
                self.beaten_at = None;
                let told = in_time(self.heartbeat()).await;
                return told.map(|()| Turn::Again);
            }
            () = tokio::time::sleep(Duration::from_millis(self.options.poll_ms.max(10))) => None,
        };
        // Whoever asked before the reload begins is answered by it.
        let mut wishes: Vec<Request> = wish.into_iter().collect();
        while let Ok(more) = self.requests.try_recv() {
            wishes.push(more);
        }
        let looked = in_time(self.look(&wishes)).await;
        for wish in wishes {
            let answer = looked.clone().map(|others_behind| Answer {
                snapshot: Arc::clone(&self.snapshots.borrow()),
                others_behind,
            });
            // The caller may have gone; its wish is fulfilled nevertheless.
            let _ = wish.answer.send(answer);
        }
        looked.map(|_| Turn::Again)
    }

    /// Asks, and loads if there is something new. True: there are wishes after DDL, and other routers are behind.
    async fn look(&mut self, wishes: &[Request]) -> Result<bool, CatalogError> {
        let raw = Arc::clone(&self.held.borrow().raw);
        let Some(home) = &mut self.home else {
            return Ok(false);
        };
        if home.is_closed() {
            return Err(CatalogError::Unreachable {
                whom: home.whom().to_owned(),
                why: "the connection is closed".to_owned(),
            });
        }
        if wishes.iter().any(|wish| wish.bump)
            && epoch::bump_if_changed(home, "DDL through the router").await?
        {
            view_copies::level(home).await?;
        }
        let newest = newest_epoch(&**home)
            .await
            .map_err(|error| home.err(&error))?;
        let mut news = false;
        let mut stale = !wishes.is_empty() || newest.as_ref() != Some(&raw.epoch);
        if !stale && Instant::now() >= self.fingerprint_at {
            let begun = Instant::now();
            let now = fingerprint::take(&**home)
                .await
                .map_err(|error| home.err(&error))?;
            // One that took long because the machine was busy says little of the next.
            let took = begun.elapsed();
            let usual = took.min(self.fingerprint_took.unwrap_or(took));
            self.fingerprint_took = Some(took);
            self.fingerprint_at = Instant::now() + usual * FINGERPRINT_SHARE;
            if now != raw.fingerprint {
                info!("the schema was changed outside of the router");
                epoch::bump_if_changed(home, "DDL outside of the router").await?;
                view_copies::level(home).await?;
                stale = true;
            }
        }
        if stale {
            let loaded = load_again(home, &raw).await?;
            news = self.publish(loaded)?;
        }
        self.confirmed();
        self.heartbeat().await?;
        if news {
            self.keep().await;
        }
        let number = self.held.borrow().raw.epoch.number;
        match &self.home {
            Some(home) if wishes.iter().any(|wish| wish.bump) => {
                let behind = epoch::behind(home, i64::try_from(number).unwrap_or(i64::MAX)).await;
                behind
                    .map(|routers| routers.is_some())
                    .map_err(|error| home.err(&error))
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Takes a newly loaded snapshot into use. False: it is the one in use. Others wait to hear of it, so it is kept on disk
    /// afterwards.
    fn publish(&mut self, loaded: RawSnapshot) -> Result<bool, CatalogError> {
        let before = self.held.borrow().clone();
        if *before.raw == loaded {
            return Ok(false);
        }
        let held = Held {
            snapshot: Arc::new(loaded.build_again(&before.raw, &before.snapshot)?),
            raw: Arc::new(loaded),
        };
        info!(epoch = held.raw.epoch.number, "new epoch");
        self.beaten_at = None;
        // Whoever has seen the snapshot must see the count too, and the other way round.
        self.snapshots.send_modify(|snapshot| {
            *snapshot = Arc::clone(&held.snapshot);
            self.published.fetch_add(1, Ordering::Release);
        });
        self.held.send_replace(held);
        Ok(true)
    }

    /// Keeps the snapshot on disk. A failure is said and changes nothing else: it matters only at the next start.
    async fn keep(&self) {
        let Some(path) = self.options.state_file.clone() else {
            return;
        };
        let raw = Arc::clone(&self.held.borrow().raw);
        if let Err(error) = blocking(move || disk::save(&path, &raw)).await {
            warn!(%error, "the snapshot could not be kept on disk");
        }
    }

    /// Says in the router's row that it lives and which epoch it works by.
    async fn heartbeat(&mut self) -> Result<(), CatalogError> {
        let due = self
            .beaten_at
            .is_none_or(|at| at.elapsed() >= Duration::from_millis(HEARTBEAT_MS));
        let Some(home) = &self.home else {
            return Ok(());
        };
        if !due {
            return Ok(());
        }
        let epoch = self.held.borrow().raw.epoch.clone();
        let drained = *self.drained.borrow_and_update();
        let application = self
            .options
            .config
            .get_application_name()
            .unwrap_or("shardgate")
            .to_owned();
        home.execute(
            "INSERT INTO shardgate.router (id, name, application_name, epoch, epoch_id, drained) \
             VALUES ($1, $2, $3, $4, $5::text::uuid, $6) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             application_name = excluded.application_name, epoch = excluded.epoch, epoch_id = excluded.epoch_id, \
             drained = excluded.drained, heartbeat = now()",
            &[
                &self.options.router_id,
                &self.options.router_name,
                &application,
                &i64::try_from(epoch.number).unwrap_or(i64::MAX),
                &epoch.id,
                &i64::try_from(drained).unwrap_or(i64::MAX),
            ],
        )
        .await
        .map_err(|error| home.err(&error))?;
        self.beaten_at = Some(Instant::now());
        Ok(())
    }

    async fn reconnect(&mut self) -> Result<Turn, CatalogError> {
        let raw = Arc::clone(&self.held.borrow().raw);
        let (home, loaded) = connect_and_load(&self.options, Some(&raw)).await?;
        info!(host = home.host(), "connected to the home shard");
        // The connection before may linger with the claim; another router would have been refused at its start.
        if !identity::is_free(&home, &self.options.router_id).await? {
            warn!(
                id = self.options.router_id,
                "another connection has this router's id"
            );
        }
        self.home = Some(home);
        let news = self.publish(loaded)?;
        self.confirmed();
        self.heartbeat().await?;
        if news {
            self.keep().await;
        }
        Ok(Turn::Again)
    }

    /// Says that the home shard has confirmed the snapshot in use.
    fn confirmed(&self) {
        let host = self.home.as_ref().map(|home| home.host().to_owned());
        let epoch = self.held.borrow().raw.epoch.number;
        self.state.send_if_modified(|state| {
            let changed = !state.connected
                || state.from_disk
                || state.refused.is_some()
                || state.epoch != epoch
                || state.host != host;
            if !state.connected {
                state.since = SystemTime::now();
            }
            state.connected = true;
            state.from_disk = false;
            state.refused = None;
            state.epoch = epoch;
            state.host.clone_from(&host);
            changed
        });
    }

    fn failed(&mut self, failure: &CatalogError) {
        let refused = matches!(
            failure,
            CatalogError::Forked { .. }
                | CatalogError::Damaged { .. }
                | CatalogError::Version { .. }
        );
        if refused {
            error!(error = %failure, "the home shard's catalog is refused; the last snapshot stays in use");
        } else {
            warn!(error = %failure, "lost the home shard; the last snapshot stays in use");
        }
        self.home = None;
        self.state.send_modify(|state| {
            if state.connected {
                state.since = SystemTime::now();
            }
            state.connected = false;
            state.host = None;
            state.last_error = Some(failure.to_string());
            if refused {
                state.refused = Some(failure.to_string());
            }
        });
    }

    /// Waits before the next attempt. Wishes are answered with the failure at once. True: the follower is gone.
    async fn pause(&mut self, ms: u64, failure: &CatalogError) -> bool {
        let until = tokio::time::Instant::now() + Duration::from_millis(ms);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return false,
                wish = self.requests.recv() => match wish {
                    None => return true,
                    Some(wish) => {
                        let _ = wish.answer.send(Err(failure.clone()));
                    }
                },
            }
        }
    }
}

/// What the home shard is asked, or that it did not answer.
async fn in_time<T>(
    asked: impl Future<Output = Result<T, CatalogError>>,
) -> Result<T, CatalogError> {
    let limit = Duration::from_millis(ANSWER_MS_MAX);
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| {
            Err(CatalogError::Unreachable {
                whom: "the home shard".to_owned(),
                why: format!("no answer in {ANSWER_MS_MAX} ms"),
            })
        })
}

enum Turn {
    Again,
    Ended,
}
