//! The demo in the foreground: it lives until a signal comes, and says when one of its processes has gone.

use crate::cluster::Node;
use crate::demo::start::Demo;
use crate::failure::Failure;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the processes are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The signals that mean "end": Ctrl-C, `kill`, a closed terminal, Ctrl-\.
#[derive(Debug)]
pub struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
}

impl EndSignals {
    /// From now on these signals no longer end this process by themselves.
    pub fn listen() -> Result<EndSignals, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::io("listen for signals"));
        Ok(EndSignals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    /// Waits for one of them. Cancel-safe.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Runs until a signal comes, then ends the demo in order. `say` prints a line for people.
///
/// A server that ends meanwhile is only told, for killing one is what a demo is good for; without the router there is
/// no demo, so its end is ours, as a failure.
pub async fn run_until_signal(
    demo: Demo,
    signals: &mut EndSignals,
    say: &dyn Fn(&str),
) -> Result<(), Failure> {
    let outcome = {
        let end = pin!(signals.next());
        watch(&demo, end, say).await
    };
    say("Stopping ..");
    let place = demo.place.dir.display().to_string();
    let ended = tokio::task::spawn_blocking(move || demo.end()).await;
    ended.map_err(|panic| Failure::new("stopping failed").detail(panic.to_string()))??;
    outcome?;
    say(&format!(
        "Stopped. The data stays in {place}: \"shard-admin demo start\" starts it again, \"demo destroy\" removes it."
    ));
    Ok(())
}

async fn watch(
    demo: &Demo,
    end: impl Future<Output = ()> + Unpin,
    say: &dyn Fn(&str),
) -> Result<(), Failure> {
    let mut end = end;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut running: Vec<&Node> = demo.cluster.nodes().collect();
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            _ = looks.tick() => {}
        }
        if !demo.router.is_running() {
            return Err(Failure::new("the router has ended").detail(format!(
                "The end of {}:\n{}",
                demo.router.log.display(),
                crate::cluster::log_tail(&demo.router.log)
            )));
        }
        running.retain(|node| {
            let lives = node.process().is_some();
            if !lives {
                say(&format!(
                    "{} (port {}) has ended; its log is {}",
                    node.name,
                    node.port,
                    node.log.display()
                ));
            }
            lives
        });
    }
}
