//! What could go wrong with a cluster, found before it does.
//!
//! `survey` asks every server, `servers` judges what one shard's servers say, `tables` compares the shards' schemas with
//! the home shard's. Nothing is changed.

mod servers;
pub mod survey;
mod tables;

use crate::check::survey::Survey;
use crate::failure::Failure;
use shardgate_catalog::RawSnapshot;
use shardgate_plan::snapshot::Snapshot;

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

/// All findings, the worst first.
pub async fn check(
    survey: &Survey,
    raw: &RawSnapshot,
    snapshot: &Snapshot,
) -> Result<Vec<Finding>, Failure> {
    let mut findings = servers::judge(survey, raw);
    findings.extend(tables::compare(survey, snapshot).await);
    findings.sort();
    findings.dedup();
    Ok(findings)
}
