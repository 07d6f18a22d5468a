//! Ctrl-C and other signals that mean "end": the run stops at the next look, and what was started is ended in order.

use anyhow::{Result, bail};
use shard_admin::demo::EndSignals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a signal has come.
#[derive(Clone, Debug)]
pub struct End {
    come: Arc<AtomicBool>,
}

impl End {
    /// From now on the signals do not end this process by themselves.
    pub fn listen() -> Result<End> {
        let come = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut signals = runtime.block_on(async { EndSignals::listen() })?;
        let noted = come.clone();
        // It lives as long as the process: a second Ctrl-C must not interrupt the ending.
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    loop {
                        signals.next().await;
                        noted.store(true, Ordering::Relaxed);
                    }
                });
            })?;
        Ok(End { come })
    }

    pub fn has_come(&self) -> bool {
        self.come.load(Ordering::Relaxed)
    }

    /// # Errors
    /// If a signal has come.
    pub fn check(&self) -> Result<()> {
        if self.has_come() {
            bail!("interrupted");
        }
        Ok(())
    }
}
