//! One client: it does what its plans say at a steady pace, notes what became of it, and connects again after a loss.

use crate::journal::{Failure, Journal};
use crate::ledger::{Key, Ledger};
use crate::plan::{Allowed, Plan, Step};
use crate::random::Random;
use crate::work::{Hand, Trouble};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How long a client waits for an answer. Longer than a router is stopped for.
const PATIENCE: Duration = Duration::from_secs(100);
/// Between two attempts to connect.
const ATTEMPT: Duration = Duration::from_millis(100);

/// A client and all that it knows. It outlives its connection.
#[derive(Debug)]
pub struct Client {
    pub ledger: Ledger,
    /// The number of its router.
    pub router: usize,
    pub url: String,
    pub random: Random,
    pub allowed: Allowed,
    /// From one plan to the next.
    pub pace: Duration,
    pub hand: Option<Hand>,
}

impl Client {
    /// Works until it is told to stop, and gives itself back.
    pub async fn work(mut self, journal: Arc<Journal>, stop: Arc<AtomicBool>) -> Client {
        let mut ticks = tokio::time::interval(self.pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let Some(hand) = self.connected(&journal, &stop).await else {
                continue;
            };
            let plan = Plan::next(&mut self.random, &mut self.ledger, self.allowed);
            let Some(plan) = plan else {
                continue;
            };
            self.hand = self.step(hand, &plan, &journal).await;
            if !plan.changes.is_empty()
                && self.random.chance(50)
                && !self.ledger.frozen().contains(&plan.key)
                && let Some(hand) = self.hand.take()
            {
                let read = plan.read_back(&self.ledger);
                self.hand = self.step(hand, &read, &journal).await;
            }
        }
        self
    }

    async fn connected(&mut self, journal: &Journal, stop: &AtomicBool) -> Option<Hand> {
        if let Some(hand) = self.hand.take() {
            return Some(hand);
        }
        loop {
            let from = journal.now();
            let opened =
                tokio::time::timeout(PATIENCE, Hand::open(&self.url, self.ledger.client)).await;
            let error = match opened {
                Ok(Ok(hand)) => return Some(hand),
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("no connection within {PATIENCE:?}"),
            };
            let code = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>())
                .and_then(|error| error.code())
                .map(|code| code.code().to_owned());
            self.failed(
                journal,
                from,
                (None, false, code),
                format!("connecting: {error:#}"),
            );
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            tokio::time::sleep(ATTEMPT).await;
        }
    }

    /// Carries out a plan; the connection, if it can still be used.
    async fn step(&mut self, hand: Hand, plan: &Plan, journal: &Journal) -> Option<Hand> {
        let from = journal.now();
        let done = tokio::time::timeout(PATIENCE, hand.run(plan, &self.ledger)).await;
        let gather = matches!(plan.step, Step::Gather(_));
        match done {
            Ok(Ok(())) => {
                journal.count(|counts| match (gather, plan.changes.is_empty()) {
                    (true, _) => counts.gathers += 1,
                    (false, true) => counts.reads += 1,
                    (false, false) => counts.writes += 1,
                });
                if !plan.step.is_wide() {
                    journal.sample(from, plan.key.clone());
                }
                self.ledger.acknowledge(plan.changes.clone());
                Some(hand)
            }
            Ok(Err(Trouble::Wrong(text))) => {
                let who = format!("client {} of router {}", self.ledger.client, self.router);
                journal.wrong(format!("{who}: {text}; {plan:?}"));
                // What is there is for the comparison to say.
                self.doubt(plan, journal);
                None
            }
            Ok(Err(Trouble::Error { error, maybe })) => {
                self.error(hand, plan, (error, maybe), journal, from).await
            }
            Err(_) => {
                let key = (!gather).then(|| plan.key.clone());
                let text = format!("no answer within {PATIENCE:?}: {plan:?}");
                self.failed(journal, from, (key, false, None), text);
                self.doubt(plan, journal);
                None
            }
        }
    }

    async fn error(
        &mut self,
        hand: Hand,
        plan: &Plan,
        (error, maybe): (tokio_postgres::Error, bool),
        journal: &Journal,
        from: Duration,
    ) -> Option<Hand> {
        let code = error.code().map(|code| code.code().to_owned());
        let repeatable = matches!(plan.step, Step::Repeatable { .. });
        if repeatable && code.as_deref() == Some("40001") {
            journal.count(|counts| counts.retries += 1);
        } else {
            // A statement that is prepared first is described by any shard.
            let alone = matches!(
                (&plan.step, &plan.key),
                (Step::SetNumber(_, _) | Step::AddEntry(_), Key::Number(_))
            );
            let key = alone.then(|| plan.key.clone());
            let block = matches!(
                plan.step,
                Step::Block { .. } | Step::Repeatable { .. } | Step::Both(_, _)
            );
            let detail = error.as_db_error().and_then(|db| db.detail());
            let text = format!("{error:?} {detail:?} of {:?} {}", plan.step, plan.key);
            self.failed(journal, from, (key, block, code), text);
        }
        if maybe {
            self.doubt(plan, journal);
        }
        let fatal = error
            .as_db_error()
            .is_some_and(|db| db.severity() == "FATAL");
        if fatal || hand.session.is_closed() || error.code().is_none() {
            return None;
        }
        // Ends a block that has failed; elsewhere it is a warning.
        hand.session.batch_execute("ROLLBACK").await.ok()?;
        Some(hand)
    }

    fn doubt(&mut self, plan: &Plan, journal: &Journal) {
        if !plan.changes.is_empty() {
            journal.count(|counts| counts.doubts += 1);
            self.ledger.doubt(plan.changes.clone());
        }
    }

    fn failed(
        &self,
        journal: &Journal,
        from: Duration,
        (key, block, code): (Option<Key>, bool, Option<String>),
        text: String,
    ) {
        journal.failed(Failure {
            from,
            to: journal.now(),
            client: self.ledger.client,
            router: self.router,
            key,
            block,
            code,
            text,
        });
    }
}
