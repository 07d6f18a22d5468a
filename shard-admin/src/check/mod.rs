//! What could go wrong with a cluster, found before it does.
//!
//! `survey` asks every server, `servers` judges what one shard's servers say; the catalog compares the shards' schemas with
//! the home shard's. One list comes of it, in which nothing is said twice. Nothing is changed.

mod servers;
pub mod survey;

use crate::check::survey::Survey;
use crate::failure::Failure;
use shardgate_catalog::{Backend, CheckOptions, RawSnapshot};

/// How bad a finding is; the order is from bad to harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work, or answers may be wrong.
    Error,
    /// It works now, and may not after the next failure.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub severity: Severity,
    /// The shard, or `shard host:port` for one server.
    pub place: String,
    pub what: String,
    pub hint: String,
}

impl Finding {
    fn error(place: &str, what: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Error,
            place: place.to_owned(),
            what: what.into(),
            hint: hint.into(),
        }
    }

    fn warning(place: &str, what: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Warning,
            ..Finding::error(place, what, hint)
        }
    }
}

/// Findings of the catalog that are told of each server, replicas too, and so not once more for the shard.
const TOLD_OF_SERVERS: &[&str] = &[
    "identity",
    "no_prepared",
    "not_durable",
    "not_supported",
    "unreachable",
    "wal_level",
];

/// All findings, the worst first.
///
/// # Errors
/// The home shard or its catalog cannot be read.
pub async fn check(
    home: &mut Backend,
    survey: &Survey,
    raw: &RawSnapshot,
    options: CheckOptions,
) -> Result<Vec<Finding>, Failure> {
    let mut findings = servers::judge(survey, raw);
    let of_schema = shardgate_catalog::check_with(home, options).await?;
    let more: Vec<Finding> = of_schema
        .into_iter()
        .filter(|found| !TOLD_OF_SERVERS.contains(&found.code))
        .map(of_catalog)
        .filter(|found| !findings.iter().any(|known| says_the_same(known, found)))
        .collect();
    findings.extend(more);
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// The catalog names `shard s2`, or `table public.users on shard s2`.
fn of_catalog(found: shardgate_catalog::Finding) -> Finding {
    let (place, what) = match found.object.rsplit_once(" on shard ") {
        Some((object, shard)) => (shard.to_owned(), format!("{object}: {}", found.message)),
        None => {
            let shard = found.object.strip_prefix("shard ");
            let place = shard.unwrap_or(&found.object).to_owned();
            (place, found.message)
        }
    };
    Finding {
        severity: match found.severity {
            shardgate_catalog::Severity::Error => Severity::Error,
            shardgate_catalog::Severity::Warning => Severity::Warning,
        },
        place,
        what,
        hint: found.hint,
    }
}

/// Both tell of one role of one shard.
fn says_the_same(known: &Finding, found: &Finding) -> bool {
    let role = |finding: &Finding| -> Option<String> {
        let named = finding.what.strip_prefix("role \"")?;
        Some(named.split_once('"')?.0.to_owned())
    };
    known.place == found.place && role(known).is_some() && role(known) == role(found)
}
