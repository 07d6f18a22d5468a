//! Values as the console prints them: times, positions, ids, and text that others chose.

use shardgate_shard_map::Key;
use std::time::{Duration, SystemTime};

/// A control character, or one that turns the direction of writing, is printed as `?`: the text is a stranger's and the
/// reader is a terminal.
pub(super) fn plain(c: char) -> char {
    let bidi =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || bidi { '?' } else { c }
}

pub(super) fn plain_text(text: &str) -> String {
    text.chars().map(plain).collect()
}

/// From 1970-01-01 to 2000-01-01, where Postgres begins to count.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);

/// `2026-01-31 23:59:59 UTC`: as a timestamp of whole seconds is printed.
pub(super) fn time(at: SystemTime) -> String {
    let since_1970 = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(POSTGRES_EPOCH);
    let since_2000 = since_1970.saturating_sub(POSTGRES_EPOCH).as_secs();
    let us = i64::try_from(since_2000)
        .unwrap_or(0)
        .saturating_mul(1_000_000);
    format!("{} UTC", Key::Timestamp(us))
}

/// `X/Y`, as Postgres writes a position in the WAL.
pub(super) fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

pub(super) fn uuid(bytes: &[u8; 16]) -> String {
    Key::Uuid(*bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_moves_no_cursor() {
        assert_eq!(plain_text("a\u{1b}[2J\u{202e}\u{2066}ü\n"), "a?[2J??ü?");
    }

    #[test]
    fn times_and_positions() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_210_096);
        assert_eq!(time(at), "2024-02-29 12:34:56 UTC");
        assert_eq!(lsn(0x0000_0016_B374_D848), "16/B374D848");
        assert_eq!(lsn(0), "0/0");
    }
}
