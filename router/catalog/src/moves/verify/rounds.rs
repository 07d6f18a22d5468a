//! Looking again at rows that differ, until each is equal or proven different.
//!
//! A row is proven different when two looks found the same version of it on the source and the same on the target, and
//! before each look at the target the stream had passed what the first look at the source saw. A row is equal when the
//! target has what the source had before or after.

use super::read::{KeyedRow, Seen, named};
use super::shape::{RowId, Shape};
use super::{Kind, Limits, Sides, stream};
use crate::error::CatalogError;
use futures_util::future::try_join;
use std::collections::HashMap;

/// A row that is proven different.
pub(super) struct Different {
    pub id: RowId,
    pub kind: Kind,
}

#[derive(Default)]
pub(super) struct Settled {
    pub different: Vec<Different>,
    pub unsettled: Vec<RowId>,
}

/// Which versions of a row a look has found; None: no row.
type Versions = (Option<String>, Option<String>);

struct Candidate {
    id: RowId,
    last: Option<Versions>,
}

/// One row in three looks: on the source, on the target after the stream has passed, on the source again.
struct Look<'a> {
    before: Option<&'a Seen>,
    target: Option<&'a Seen>,
    after: Option<&'a Seen>,
}

/// While the application writes.
pub(super) async fn settle(
    sides: Sides<'_>,
    shape: &Shape,
    rows: Vec<RowId>,
    limits: &Limits,
) -> Result<Settled, CatalogError> {
    let mut settled = Settled::default();
    let mut open: Vec<Candidate> = rows
        .into_iter()
        .map(|id| Candidate { id, last: None })
        .collect();
    for _ in 0..limits.rounds_max {
        if open.is_empty() {
            break;
        }
        let ids: Vec<&RowId> = open.iter().map(|candidate| &candidate.id).collect();
        let before = named(sides.source, shape, &ids).await?;
        stream::passed(sides, limits.stream_wait).await?;
        let target = named(sides.target, shape, &ids).await?;
        let after = named(sides.source, shape, &ids).await?;
        let mut left = Vec::new();
        for (number, candidate) in open.into_iter().enumerate() {
            let look = Look {
                before: before.get(&number),
                target: target.get(&number),
                after: after.get(&number),
            };
            match judge(look, &candidate.last) {
                Verdict::Equal => {}
                Verdict::Different(kind) => settled.different.push(Different {
                    id: candidate.id,
                    kind,
                }),
                Verdict::Open(last) => left.push(Candidate {
                    id: candidate.id,
                    last,
                }),
            }
        }
        open = left;
    }
    settled.unsettled = open.into_iter().map(|candidate| candidate.id).collect();
    Ok(settled)
}

/// While nobody writes and nothing is in flight.
pub(super) async fn compare_once(
    sides: Sides<'_>,
    shape: &Shape,
    rows: Vec<RowId>,
) -> Result<Settled, CatalogError> {
    let ids: Vec<&RowId> = rows.iter().collect();
    let (source, target): (HashMap<_, _>, HashMap<_, _>) = try_join(
        named(sides.source, shape, &ids),
        named(sides.target, shape, &ids),
    )
    .await?;
    let mut settled = Settled::default();
    for (number, id) in rows.into_iter().enumerate() {
        let (here, there) = (
            source.get(&number).map(|seen| seen.row),
            target.get(&number).map(|seen| seen.row),
        );
        if here != there {
            let kind = kind(here, there);
            settled.different.push(Different { id, kind });
        }
    }
    Ok(settled)
}

enum Verdict {
    Equal,
    Different(Kind),
    Open(Option<Versions>),
}

fn judge(look: Look<'_>, last: &Option<Versions>) -> Verdict {
    let row = |seen: Option<&Seen>| seen.map(|seen| seen.row);
    let version = |seen: Option<&Seen>| seen.map(|seen| seen.version.clone());
    let there = row(look.target);
    if there == row(look.before) || there == row(look.after) {
        return Verdict::Equal;
    }
    if version(look.before) != version(look.after) {
        return Verdict::Open(None);
    }
    let now = Some((version(look.after), version(look.target)));
    if *last == now {
        return Verdict::Different(kind(row(look.after), there));
    }
    Verdict::Open(now)
}

fn kind(source: Option<KeyedRow>, target: Option<KeyedRow>) -> Kind {
    match (source, target) {
        (_, None) => Kind::Missing,
        (None, _) => Kind::TooMany,
        // Rows without a key are named by what they are, so only their number can differ.
        (Some(here), Some(there)) if here.rows > there.rows => Kind::Missing,
        (Some(here), Some(there)) if here.rows < there.rows => Kind::TooMany,
        (Some(_), Some(_)) => Kind::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Option<Seen> {
        let (value, version) = text.split_once('@')?;
        let hash = (value.parse().unwrap(), 0);
        Some(Seen {
            row: KeyedRow { rows: 1, hash },
            version: version.to_owned(),
        })
    }

    /// `value@version` of the row before, on the target and after, for each look; an empty text: no row.
    fn check(looks: &[(&str, &str, &str)], expect: &str) {
        let mut last = None;
        let mut verdict = "open";
        for (before, target, after) in looks {
            let (before, target, after) = (seen(before), seen(target), seen(after));
            let look = Look {
                before: before.as_ref(),
                target: target.as_ref(),
                after: after.as_ref(),
            };
            assert_eq!(verdict, "open", "{looks:?}");
            verdict = match judge(look, &last) {
                Verdict::Equal => "equal",
                Verdict::Different(Kind::Missing) => "missing",
                Verdict::Different(Kind::TooMany) => "too many",
                Verdict::Different(Kind::Changed) => "changed",
                Verdict::Open(now) => {
                    last = now;
                    "open"
                }
            };
        }
        assert_eq!(verdict, expect, "{looks:?}");
    }

    #[test]
    fn rows_in_flight_are_no_differences() {
        check(&[("1@a", "1@x", "1@a")], "equal");
        check(&[("1@a", "2@x", "2@b")], "equal");
        check(&[("1@a", "1@x", "2@b")], "equal");
        check(&[("", "", "")], "equal");
        check(&[("", "1@x", "1@a")], "equal");
        check(&[("1@a", "2@x", "3@b")], "open");
        check(&[("1@a", "2@x", "1@a")], "open");
        check(&[("1@a", "2@x", "1@a"), ("1@a", "1@y", "1@a")], "equal");
        // It was changed and changed back between the looks.
        check(&[("1@a", "2@x", "1@b")], "open");
        check(&[("", "1@x", ""), ("", "1@y", "")], "open");
    }

    #[test]
    fn two_looks_prove_a_difference() {
        check(&[("1@a", "2@x", "1@a"), ("1@a", "2@x", "1@a")], "changed");
        check(&[("1@a", "", "1@a"), ("1@a", "", "1@a")], "missing");
        check(&[("", "1@x", ""), ("", "1@x", "")], "too many");
        check(
            &[
                ("1@a", "9@x", "2@b"),
                ("2@b", "9@x", "2@b"),
                ("2@b", "9@x", "2@b"),
            ],
            "changed",
        );
    }
}
