//! The one place in the log where a copy ends and the stream begins.
//!
//! A copy reads in one snapshot. The stream must bring every transaction that the snapshot does not see, and none that it
//! sees: rows that are brought twice collide. The order in which transactions become visible is not exactly that of their
//! commits in the log. So the slot, which is older than the snapshot, is asked for the commits that it has, and each is
//! looked up in the snapshot. If all that are seen come before all that are not, the end of the last one that is seen is
//! the place; if not, another snapshot is taken.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::moves::drive::Side;
use crate::moves::streams;
use crate::quote::literal;
use std::time::Duration;

/// How many snapshots are tried. Two commits that overtake each other in the moment of a snapshot are rare.
const TRIES: u32 = 50;

/// A snapshot as `pg_current_snapshot` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl Seen {
    /// `xmin:xmax:xid,xid`
    fn parse(text: &str) -> Option<Seen> {
        let mut parts = text.splitn(3, ':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let running = parts
            .next()?
            .split(',')
            .filter(|xid| !xid.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        Some(Seen {
            xmin,
            xmax,
            running,
        })
    }

    /// The log has only the lower half of a transaction's number. The whole one is the nearest to the snapshot.
    fn whole(&self, xid: u32) -> u64 {
        let era = self.xmax & !0xffff_ffff;
        let same = era | u64::from(xid);
        let nearest = [
            Some(same),
            same.checked_sub(1 << 32),
            same.checked_add(1 << 32),
        ];
        nearest
            .into_iter()
            .flatten()
            .min_by_key(|one| one.abs_diff(self.xmax))
            .unwrap_or(same)
    }

    fn sees(&self, xid: u32) -> bool {
        let xid = self.whole(xid);
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

/// Where the stream begins, from the commits in the order of the log: number and the end of the record. Err: some that
/// are not seen come before some that are.
fn between<'a>(seen: &Seen, commits: &'a [(u32, String)]) -> Result<Option<&'a str>, ()> {
    let first_unseen = commits.iter().position(|(xid, _)| !seen.sees(*xid));
    let (before, after) = commits.split_at(first_unseen.unwrap_or(commits.len()));
    if after.iter().any(|(xid, _)| seen.sees(*xid)) {
        return Err(());
    }
    Ok(before.last().map(|(_, end)| end.as_str()))
}

/// Opens a snapshot on a connection of its own, and moves the slot to the place where the stream goes on from it. The
/// connection is in a transaction that has the snapshot.
pub(crate) async fn open(from: &Side, stream: &str) -> Result<Backend, CatalogError> {
    let reader = from.connect().await?;
    for attempt in 0..TRIES {
        reader
            .run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0")
            .await?;
        let row = reader
            .query_one("SELECT pg_current_snapshot()::text", &[])
            .await
            .map_err(|error| reader.err(&error))?;
        let text: String = row.get(0);
        let seen = Seen::parse(&text).ok_or_else(|| CatalogError::Damaged {
            what: format!("a snapshot reads {text}"),
        })?;
        // Everything that the snapshot sees was written to the log before this commit, which flushes it all.
        streams::send_mark(&from.backend, &[stream.to_owned()]).await?;
        let commits = commits(&from.backend, stream).await?;
        if let Ok(place) = between(&seen, &commits) {
            if let Some(end) = place {
                from.backend
                    .run(&format!(
                        "SELECT pg_replication_slot_advance({}, {})",
                        literal(stream),
                        literal(end)
                    ))
                    .await?;
            }
            return Ok(reader);
        }
        reader.run("ROLLBACK").await?;
        tokio::time::sleep(Duration::from_millis(u64::from(attempt % 7) * 3 + 1)).await;
    }
    Err(PgError::new(
        "55006",
        "no moment was found at which a stream can take over from a copy",
    )
    .detail(format!(
        "Commits overtook each other at {TRIES} moments in a row."
    ))
    .hint("Resume the move.")
    .into())
}

/// The commits that the slot has of the stream: those that changed rows of it.
async fn commits(from: &Backend, stream: &str) -> Result<Vec<(u32, String)>, CatalogError> {
    let rows = from
        .query(
            "SELECT xid::text, lsn::text FROM pg_logical_slot_peek_binary_changes($1::text::name, \
             pg_current_wal_flush_lsn(), NULL, 'proto_version', '1', 'publication_names', $2) \
             WHERE get_byte(data, 0) = 67",
            &[&stream, &crate::quote::ident(stream)],
        )
        .await
        .map_err(|error| from.err(&error))?;
    rows.iter()
        .map(|row| {
            let xid: String = row.get(0);
            let xid = xid.parse().map_err(|_| CatalogError::Damaged {
                what: format!("a transaction of the log has the number {xid}"),
            })?;
            Ok((xid, row.get(1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(snapshot: &str, commits: &[u32], expect: Result<Option<usize>, ()>) {
        let seen = Seen::parse(snapshot).unwrap();
        let commits: Vec<(u32, String)> = commits
            .iter()
            .enumerate()
            .map(|(place, xid)| (*xid, place.to_string()))
            .collect();
        let found = between(&seen, &commits)
            .map(|place| place.map(|place| place.parse::<usize>().unwrap()));
        assert_eq!(found, expect, "{snapshot} {commits:?}");
    }

    #[test]
    fn the_stream_begins_behind_the_last_commit_that_is_seen() {
        check("10:10:", &[], Ok(None));
        check("10:10:", &[12, 11], Ok(None));
        check("10:10:", &[9, 7, 10], Ok(Some(1)));
        check("10:14:11,12", &[9, 13, 10, 12, 11, 14], Ok(Some(2)));
        // 12 was in the log before 13, and was not seen yet.
        check("10:14:11,12", &[9, 12, 13], Err(()));
        check("10:14:11,12", &[13, 10], Ok(Some(1)));
    }

    #[test]
    fn numbers_are_counted_over_their_wrap() {
        let era = 3u64 << 32;
        let near_end = format!("{}:{}:", era - 5, era + 5);
        check(&near_end, &[u32::MAX - 2, 3, 6], Ok(Some(1)));
        let before = format!("{}:{}:", era - 5, era - 2);
        check(&before, &[u32::MAX - 5, 3], Ok(Some(0)));
        assert_eq!(Seen::parse("x:1:"), None);
        assert_eq!(Seen::parse("1:2"), None);
    }
}
