//! How far a move is, on the standard error: one line that is written over on a terminal; elsewhere a line for each step,
//! and one every ten seconds.

use shardgate_catalog::moves::{MoveStatus, Step};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const LINES_EVERY: Duration = Duration::from_secs(10);
const BAR: usize = 24;

/// Where progress goes.
pub struct Progress {
    terminal: bool,
    quiet: bool,
    last: Option<(Step, Instant)>,
    /// Characters of the line on the terminal.
    width: usize,
}

impl Progress {
    /// `quiet`: a program reads the output, and progress is shown on terminals alone.
    pub fn new(quiet: bool) -> Progress {
        Progress {
            terminal: std::io::stderr().is_terminal(),
            quiet,
            last: None,
            width: 0,
        }
    }

    pub fn show(&mut self, now: &MoveStatus) {
        let text = line(now);
        if self.terminal {
            let pad = self.width.saturating_sub(text.chars().count());
            self.width = text.chars().count();
            self.write(&format!("\r{text}{}", " ".repeat(pad)));
            return;
        }
        let due = match self.last {
            Some((step, at)) => step != now.step || at.elapsed() >= LINES_EVERY,
            None => true,
        };
        if due && !self.quiet {
            self.last = Some((now.step, Instant::now()));
            self.write(&format!("{text}\n"));
        }
    }

    /// Leaves the line.
    pub fn end(&mut self) {
        if self.width > 0 {
            self.width = 0;
            self.write("\n");
        }
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stderr().lock();
        let _reader_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// `move 3  copy       [######------]  50 %  1200 of 2400 rows, 1.2 MB of 2.4 MB, 3.1 MB/s, 1 s left, 0 bytes behind`
pub fn line(now: &MoveStatus) -> String {
    let part = |done: i64, all: i64| (all > 0).then(|| (done as f64 / all as f64).clamp(0.0, 1.0));
    let copied = match now.step {
        Step::Prepare => 0.0,
        Step::Copy => part(now.bytes_copied, now.bytes_total)
            .or(part(now.rows_copied, now.rows_total))
            .unwrap_or(0.0),
        Step::CatchUp
        | Step::Verified
        | Step::Hold
        | Step::Moved
        | Step::Switched
        | Step::Reversed
        | Step::Completing
        | Step::Completed
        | Step::Cancelling
        | Step::Cancelled => 1.0,
    };
    let full = (copied * BAR as f64).round() as usize;
    let bar = format!(
        "{}{}",
        "#".repeat(full.min(BAR)),
        "-".repeat(BAR - full.min(BAR))
    );
    let mut text = format!(
        "move {}  {:<10} [{bar}] {:>3.0} %  {} of {} rows, {} of {}",
        now.id,
        now.step.name(),
        copied * 100.0,
        now.rows_copied,
        now.rows_total.max(now.rows_copied),
        size(now.bytes_copied),
        size(now.bytes_total.max(now.bytes_copied)),
    );
    if let Some(rate) = now.bytes_per_s().filter(|_| now.step == Step::Copy) {
        text.push_str(&format!(", {}/s", size(rate as i64)));
    }
    if let Some(left) = now.seconds_left() {
        text.push_str(&format!(", {left:.0} s left"));
    }
    if matches!(
        now.step,
        Step::CatchUp | Step::Verified | Step::Switched | Step::Reversed
    ) {
        text.push_str(&format!(", {} behind", size(now.lag_bytes)));
    }
    if now.paused {
        text.push_str(", paused");
    }
    text
}

/// `1.2 MB`
pub fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = bytes.max(0) as f64;
    let mut unit = "bytes";
    for next in UNITS {
        unit = next;
        if value < 1000.0 {
            break;
        }
        if next != "TB" {
            value /= 1000.0;
        }
    }
    match unit {
        "bytes" => format!("{value:.0} bytes"),
        unit => format!("{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (1_234_567, "1.2 MB"),
            (5_000_000_000_000_000, "5000.0 TB"),
            (-1, "0 bytes"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
