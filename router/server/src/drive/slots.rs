//! The session's places for backends: empty, waiting for one, or with one attached.

use super::Drive;
use super::inbox::Inbox;
use crate::backend::{Link, LinkInfo};
use crate::health::{Endpoint, NoPrimary};
use crate::mailbox::Refusal;
use crate::pool::{Checkout, Pool, Want};
use shardgate_plan::snapshot::Floor;
use shardgate_session::{Event, Slot, Wanted};
use shardgate_shard_map::ShardId;
use shardgate_wire::PgError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Servers that are tried for one check-out, when each moves away under it.
const ATTEMPTS_MAX: u32 = 16;

type Finding = Pin<Box<dyn Future<Output = Result<Endpoint, NoPrimary>> + Send>>;

/// What is in one slot.
pub(super) enum Place {
    Empty,
    /// The shard has no primary right now.
    Finding(Finding, Errand),
    /// In the queue of a pool.
    Queued {
        pool: Arc<Pool>,
        ticket: u64,
        errand: Errand,
    },
    Attached(Box<Attached>),
}

/// What a slot wants.
#[derive(Clone, Copy)]
pub(super) struct Errand {
    pub shard: ShardId,
    pub wanted: Wanted,
    /// The server that is being tried is a replica.
    pub replica: bool,
    pub attempts: u32,
}

pub(super) struct Attached {
    pub link: Box<Link>,
    pub inbox: Inbox,
    pub errand: Errand,
    /// The session knows of it.
    pub told: bool,
    /// Something was read from it since the session's marks were last raised for it.
    pub heard: bool,
    /// Its end of file was read.
    pub lost: bool,
    pub write_broken: bool,
}

/// A cancel request under way.
pub(super) struct Cancelling {
    pub ticket: u64,
    pub slot: Slot,
    pub info: Arc<LinkInfo>,
}

impl Drive {
    pub(super) fn place_mut(&mut self, slot: Slot) -> Option<&mut Place> {
        self.places.get_mut(usize::from(slot.0))
    }

    fn set_place(&mut self, slot: Slot, place: Place) {
        let index = usize::from(slot.0);
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || Place::Empty);
        }
        if let Some(entry) = self.places.get_mut(index) {
            *entry = place;
        }
    }

    pub(super) fn take_place(&mut self, slot: Slot) -> Place {
        self.place_mut(slot)
            .map_or(Place::Empty, |place| std::mem::replace(place, Place::Empty))
    }

    /// `Step::Checkout`.
    pub(super) fn checkout(&mut self, slot: Slot, shard: ShardId, wanted: Wanted) {
        let errand = Errand {
            shard,
            wanted,
            replica: false,
            attempts: 0,
        };
        self.seek(slot, errand);
    }

    /// Chooses a server and asks its pool.
    fn seek(&mut self, slot: Slot, errand: Errand) {
        let metrics = Arc::clone(&self.shared.metrics);
        let errand = Errand {
            attempts: errand.attempts + 1,
            ..errand
        };
        let replica = match errand.wanted {
            Wanted::Primary => None,
            Wanted::Replica => {
                self.mark_what_was_seen(errand.shard);
                let marks = self.marks.of(errand.shard);
                let found =
                    self.shared
                        .health
                        .replica(errand.shard, &marks, self.floor(errand.shard));
                let counter = if found.is_some() {
                    &metrics.reads_on_replica
                } else {
                    &metrics.reads_on_primary_instead
                };
                counter.increment();
                found
            }
            Wanted::ReplicaOnly => match self
                .shared
                .health
                .any_replica(errand.shard, self.floor(errand.shard))
            {
                Some(found) => Some(found),
                None => {
                    self.events.push_back(Event::CheckoutFailed {
                        slot,
                        error: no_replica(errand.shard),
                    });
                    return;
                }
            },
        };
        match replica {
            Some(endpoint) => self.ask(
                slot,
                &endpoint,
                Errand {
                    replica: true,
                    ..errand
                },
            ),
            None => self.seek_primary(
                slot,
                Errand {
                    replica: false,
                    ..errand
                },
            ),
        }
    }

    /// What a replica of the shard must have replayed. Of the newest snapshot, which is no older than the session's.
    fn floor(&self, shard: ShardId) -> Option<Floor> {
        self.shared.follower.floor(shard)
    }

    fn seek_primary(&mut self, slot: Slot, errand: Errand) {
        self.shared.metrics.on_primary.increment();
        match self.shared.health.primary(errand.shard) {
            Some(endpoint) => self.ask(slot, &endpoint, errand),
            None => self.find_primary(slot, errand),
        }
    }

    /// Waits for a fail-over to end.
    fn find_primary(&mut self, slot: Slot, errand: Errand) {
        let health = self.shared.health.clone();
        let deadline = Instant::now() + self.shared.config.pool.server_connect_timeout;
        let finding = Box::pin(async move { health.wait_primary(errand.shard, deadline).await });
        self.clock.waiting.get_or_insert_with(Instant::now);
        self.set_place(slot, Place::Finding(finding, errand));
    }

    fn ask(&mut self, slot: Slot, endpoint: &Endpoint, errand: Errand) {
        let pool = self.pool(endpoint);
        let want = Want {
            client: &self.client,
            names: self.session.custom_names(),
            settings_hash: self.session.settings_hash(),
            lane: self.lane,
            patient: !(errand.replica && errand.wanted == Wanted::Replica),
        };
        match pool.checkout(&want) {
            Checkout::Link(link) => self.attach(slot, link, errand),
            Checkout::Queued(ticket) => {
                self.clock.waiting.get_or_insert_with(Instant::now);
                self.set_place(
                    slot,
                    Place::Queued {
                        pool,
                        ticket,
                        errand,
                    },
                );
            }
            Checkout::Refused(refusal) => self.refused(slot, errand, refusal),
        }
    }

    fn attach(&mut self, slot: Slot, link: Box<Link>, errand: Errand) {
        let Some(link) = link.move_to(self.lane) else {
            let error = PgError::error("08006", "the connection to the server could not be used");
            return self.refused(slot, errand, Refusal::Failed(error));
        };
        let inbox = Inbox::new(std::mem::take(&mut self.spare));
        let attached = Attached {
            link,
            inbox,
            errand,
            told: false,
            heard: false,
            lost: false,
            write_broken: false,
        };
        self.set_place(slot, Place::Attached(Box::new(attached)));
    }

    fn pool(&mut self, endpoint: &Endpoint) -> Arc<Pool> {
        if let Some(pool) = self
            .pools
            .iter()
            .find(|pool| pool.endpoint.id == endpoint.id)
        {
            return Arc::clone(pool);
        }
        // Those of servers that were left for good are not kept.
        let health = &self.shared.health;
        self.pools.retain(|pool| health.is_current(&pool.endpoint));
        let pool = self
            .role
            .pool(endpoint, &self.shared.database_on(endpoint.shard));
        self.pools.push(Arc::clone(&pool));
        pool
    }

    fn refused(&mut self, slot: Slot, errand: Errand, refusal: Refusal) {
        self.set_place(slot, Place::Empty);
        match refusal {
            Refusal::Moved if errand.attempts < ATTEMPTS_MAX => self.seek(slot, errand),
            // A read that need not go to a replica goes where it can.
            Refusal::Failed(_) if errand.replica && errand.wanted == Wanted::Replica => {
                self.seek_primary(
                    slot,
                    Errand {
                        replica: false,
                        wanted: Wanted::Primary,
                        ..errand
                    },
                );
            }
            Refusal::Failed(error) => self.events.push_back(Event::CheckoutFailed { slot, error }),
            Refusal::Moved => self.events.push_back(Event::CheckoutFailed {
                slot,
                error: no_primary(errand.shard),
            }),
        }
    }

    /// The slot whose wait has this ticket.
    fn waiting_slot(&self, wanted: u64) -> Option<(Slot, Errand)> {
        self.places
            .iter()
            .enumerate()
            .find_map(|(index, place)| match place {
                Place::Queued { ticket, errand, .. } if *ticket == wanted => {
                    Some((Slot(u8::try_from(index).ok()?), *errand))
                }
                Place::Queued { .. } | Place::Empty | Place::Finding(..) | Place::Attached(_) => {
                    None
                }
            })
    }

    /// A connection came by letter; one that is not waited for any more goes back.
    pub(super) fn link_came(&mut self, ticket: u64, link: Box<Link>) {
        match self.waiting_slot(ticket) {
            Some((slot, errand)) => self.attach(slot, link, errand),
            None => {
                let pool = Arc::clone(link.place.pool());
                pool.give(link);
            }
        }
    }

    pub(super) fn link_refused(&mut self, ticket: u64, refusal: Refusal) {
        if let Some((slot, errand)) = self.waiting_slot(ticket) {
            self.refused(slot, errand, refusal);
        }
    }

    /// `Step::AbandonCheckout`.
    pub(super) fn abandon(&mut self, slot: Slot) {
        match self.take_place(slot) {
            Place::Queued { pool, ticket, .. } => pool.abandon(ticket),
            // It was attached a moment ago, and the session does not know it: nothing has happened on it.
            Place::Attached(attached) => {
                let pool = Arc::clone(attached.link.place.pool());
                pool.give(attached.link);
            }
            Place::Empty | Place::Finding(..) => {}
        }
        self.events.retain(
            |event| !matches!(event, Event::CheckoutFailed { slot: failed, .. } if *failed == slot),
        );
    }

    /// Leaves all queues.
    pub(super) fn abandon_waits(&mut self) {
        for place in self.places.drain(..) {
            if let Place::Queued { pool, ticket, .. } = place {
                pool.abandon(ticket);
            }
        }
    }

    /// Asks those who look for a primary. True if one is done.
    pub(super) fn poll_places(&mut self, context: &mut Context<'_>) -> bool {
        let mut busy = false;
        for index in 0..self.places.len() {
            let Ok(number) = u8::try_from(index) else {
                continue;
            };
            let slot = Slot(number);
            let Some(Place::Finding(finding, errand)) = self.places.get_mut(index) else {
                continue;
            };
            let errand = *errand;
            if let Poll::Ready(found) = finding.as_mut().poll(context) {
                busy = true;
                self.set_place(slot, Place::Empty);
                match found {
                    Ok(endpoint) => self.ask(slot, &endpoint, errand),
                    Err(NoPrimary { .. }) => {
                        self.events.push_back(Event::CheckoutFailed {
                            slot,
                            error: no_primary(errand.shard),
                        });
                    }
                }
                self.deliver();
            }
        }
        busy
    }
}

fn no_primary(shard: ShardId) -> PgError {
    PgError::error(
        "57P03",
        format!("shard {} has no primary at the moment", shard.0),
    )
}

fn no_replica(shard: ShardId) -> PgError {
    PgError::error(
        "57P03",
        format!("shard {} has no replica that can be read from", shard.0),
    )
    .detail("shardgate.role is \"replica\", and no replica is up and within the limits of lag.")
    .hint("SET shardgate.role = 'auto' reads from the primary when there is no replica.")
}
