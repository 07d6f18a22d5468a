//! What is to be moved, as it is written on the command line.

use crate::failure::Failure;
use clap::Args;
use shardgate_catalog::moves::{MoveOptions, PartsSpec};

/// One kind of parts is given.
#[derive(Debug, Args)]
pub struct Options {
    /// Buckets of a hash distribution: 12-40,77
    #[arg(long, value_name = "LIST", value_parser = runs)]
    buckets: Option<Runs>,
    /// A range of a range distribution: FROM..TO, from inclusive, to exclusive, either may be left out
    #[arg(long = "range", value_name = "FROM..TO", value_parser = range, allow_hyphen_values = true)]
    ranges: Vec<(Option<String>, Option<String>)>,
    /// A value of a list distribution
    #[arg(long = "value", value_name = "VALUE", allow_hyphen_values = true)]
    values: Vec<String>,
    /// All values that a list distribution does not name
    #[arg(long)]
    other_values: bool,
    /// A single key, which has its own place from then on
    #[arg(long = "key", value_name = "KEY", allow_hyphen_values = true)]
    keys: Vec<String>,
}

/// First and last of each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs(Vec<(u32, u32)>);

/// How a move is held back.
#[derive(Debug, Args)]
pub struct Throttle {
    /// How many streams copy in parallel
    #[arg(long, value_name = "N", default_value_t = MoveOptions::default().streams)]
    streams: u16,
    /// Copy no more in a second: 20MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    rate: Option<u64>,
    /// Let the copy wait while a replica of the target is further behind
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value_t = MoveOptions::default().replica_lag_bytes_max)]
    replica_lag_max: u64,
    /// Stop when a shard must keep more log for the move
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value_t = MoveOptions::default().wal_bytes_max)]
    wal_max: u64,
    /// Undo a switch that holds statements back for longer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = MoveOptions::default().pause_ms_max)]
    pause_max: u32,
    /// Move a table without a primary key only if it has no more rows
    #[arg(long, value_name = "ROWS", default_value_t = MoveOptions::default().keyless_rows_max)]
    keyless_rows_max: u64,
}

impl Throttle {
    pub fn options(&self) -> MoveOptions {
        MoveOptions {
            streams: self.streams,
            copy_bytes_per_s: self.rate,
            replica_lag_bytes_max: self.replica_lag_max,
            wal_bytes_max: self.wal_max,
            pause_ms_max: self.pause_max,
            keyless_rows_max: self.keyless_rows_max,
        }
    }
}

impl Options {
    /// # Errors
    /// Nothing is given, or several kinds are.
    pub fn spec(self) -> Result<PartsSpec, Failure> {
        let mut kinds = Vec::new();
        if let Some(Runs(runs)) = self.buckets {
            kinds.push(PartsSpec::Buckets(runs));
        }
        if !self.ranges.is_empty() {
            kinds.push(PartsSpec::Ranges(self.ranges));
        }
        if !self.values.is_empty() || self.other_values {
            kinds.push(PartsSpec::Values {
                values: self.values,
                default: self.other_values,
            });
        }
        if !self.keys.is_empty() {
            kinds.push(PartsSpec::Keys(self.keys));
        }
        match (kinds.pop(), kinds.is_empty()) {
            (Some(spec), true) => Ok(spec),
            (None, _) => Err(Failure::usage("what is to be moved is not given")
                .hint("Use --buckets, --range, --value, --other-values or --key.")),
            (Some(_), false) => Err(Failure::usage("one move takes parts of one kind")
                .hint("Start a move for each of --buckets, --range, --value and --key.")),
        }
    }
}

fn runs(text: &str) -> Result<Runs, String> {
    let number = |text: &str| {
        text.trim()
            .parse::<u32>()
            .map_err(|_| format!("\"{text}\" is no bucket"))
    };
    let run = |text: &str| match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("{first}-{last} runs backwards"));
            }
            Ok((first, last))
        }
        None => number(text).map(|one| (one, one)),
    };
    let list = text
        .split(',')
        .map(run)
        .collect::<Result<Vec<_>, String>>()?;
    Ok(Runs(list))
}

fn range(text: &str) -> Result<(Option<String>, Option<String>), String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("write a range as FROM..TO, where either may be left out".to_owned())?;
    let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok((bound(from), bound(to)))
}

/// `20MB`, `512kB`, `1GB`, or a number of bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        "tb" => 1 << 40,
        other => return Err(format!("\"{other}\" is no unit: use kB, MB, GB or TB")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("\"{text}\" is no size"))?;
    number
        .checked_mul(factor)
        .filter(|size| *size > 0)
        .ok_or(format!("\"{text}\" is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_ranges_and_sizes_are_read() {
        let check = |text: &str, expect: Option<&[(u32, u32)]>| {
            assert_eq!(
                runs(text).ok().map(|runs| runs.0).as_deref(),
                expect,
                "{text}"
            );
        };
        check("12-40,77", Some(&[(12, 40), (77, 77)]));
        check("0", Some(&[(0, 0)]));
        for wrong in ["", "4-", "5-4", "1,,2", "x", "-3"] {
            check(wrong, None);
        }
        let bound = |text: &str| Some(text.to_owned());
        assert_eq!(range("1..10"), Ok((bound("1"), bound("10"))));
        assert_eq!(range("..2020-01-01"), Ok((None, bound("2020-01-01"))));
        assert_eq!(range("-5.."), Ok((bound("-5"), None)));
        assert!(range("5").is_err());
        assert_eq!(bytes("20MB"), Ok(20 << 20));
        assert_eq!(bytes("512"), Ok(512));
        for wrong in ["", "MB", "0", "20XB", "99999999999999TB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
