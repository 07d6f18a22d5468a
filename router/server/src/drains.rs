//! Says in the catalog when nothing is under way any more that was planned by an older epoch and concerns a move.
//!
//! Every client has a number that its own task raises (`Session::drained_epoch`), so that nothing is asked of a statement on
//! its way. What all of them can say is what the router says. How this stands up to races is in `docs/adr/0009`.

use crate::mailbox::Signals;
use crate::shared::Shared;
use std::sync::Arc;
use tokio::time::Instant;

/// Runs as long as the router does.
pub async fn run(shared: Arc<Shared>) {
    let mut snapshots = shared.follower.subscribe();
    let mut told = 0;
    loop {
        let (epoch, holding) = {
            let snapshot = snapshots.borrow_and_update();
            let holding = snapshot.moves.iter().any(|one| one.holding);
            (snapshot.epoch.number, holding)
        };
        // Who might still use keys that are held back, and does not, is not waited for longer than this.
        let grace = shared.config.limits.hold_grace;
        let mut seal_at = holding.then(|| Instant::now() + grace);
        loop {
            let drained = shared.clients.drained().min(epoch);
            if drained > told {
                told = drained;
                shared.follower.set_drained(drained);
            }
            if drained >= epoch {
                seal_at = None;
            }
            let sealing = async {
                match seal_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = snapshots.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = shared.clients.drained_rises() => {}
                () = sealing => {
                    seal_at = None;
                    shared.clients.signal_all(Signals::SEAL);
                }
            }
        }
    }
}
