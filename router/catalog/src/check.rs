//! What could go wrong: looks at every shard and compares it with the catalog and the home shard. It changes nothing.
//!
//! One finding for each thing that somebody should do something about, with what to do. How findings are shown is not
//! its business.

use crate::check_moves;
use crate::check_tables;
use crate::connect::Backend;
use crate::error::CatalogError;
use crate::load::load;
use crate::recover::in_doubt;
use crate::shard::{self, ShardRow, missing_roles};
use crate::view_copies;
use shardgate_plan::snapshot::Snapshot;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works today and may fail later.
    Warning,
    /// Statements fail or may be answered wrongly.
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// A stable word for programs: `guard_differs`.
    pub code: &'static str,
    /// What it is about: `shard s2`, `table public.users on s2`.
    pub object: String,
    pub message: String,
    pub hint: String,
}

impl Finding {
    pub(crate) fn error(
        code: &'static str,
        object: String,
        message: impl Into<String>,
        hint: &str,
    ) -> Finding {
        Finding {
            severity: Severity::Error,
            code,
            object,
            message: message.into(),
            hint: hint.to_owned(),
        }
    }

    pub(crate) fn warning(
        code: &'static str,
        object: String,
        message: impl Into<String>,
        hint: &str,
    ) -> Finding {
        Finding {
            severity: Severity::Warning,
            ..Finding::error(code, object, message, hint)
        }
    }
}

/// How closely to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Read every row of distributed tables, to find those that lie on a wrong shard.
    pub rows: bool,
}

/// Looks at everything but rows. A shard that cannot be reached is a finding and not an error.
///
/// # Errors
/// The home shard or its catalog cannot be read.
pub async fn check(home: &mut Backend) -> Result<Vec<Finding>, CatalogError> {
    check_with(home, CheckOptions::default()).await
}

/// As `check`, as closely as asked for.
///
/// # Errors
/// The home shard or its catalog cannot be read.
pub async fn check_with(
    home: &mut Backend,
    options: CheckOptions,
) -> Result<Vec<Finding>, CatalogError> {
    let raw = load(home, None).await?;
    let snapshot = raw.build()?;
    let base = home.config().clone();
    let shards = shard::all(&**home, &base, home.whom()).await?;
    let mut findings = check_moves::of_home(home).await?;
    let definitions = check_tables::definitions(home, &snapshot).await?;
    for row in &shards {
        let backend = match row.connect().await {
            Ok(backend) => backend,
            Err(error) => {
                let hint = "Start the server, or correct its hosts with `shard-admin shard`.";
                findings.push(Finding::error(
                    "unreachable",
                    object(row),
                    error.to_string(),
                    hint,
                ));
                continue;
            }
        };
        let looked = async {
            let mut found =
                check_shard(home, &backend, row, &raw.cluster, &snapshot, &definitions).await?;
            if options.rows {
                found.extend(check_moves::misplaced(&backend, row, &snapshot).await?);
            }
            Ok::<_, CatalogError>(found)
        };
        match looked.await {
            Ok(found) => findings.extend(found),
            Err(error) => {
                let hint = "Connect as a role that may read the system catalogs of every shard.";
                findings.push(Finding::error(
                    "not_checked",
                    object(row),
                    error.to_string(),
                    hint,
                ));
            }
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

async fn check_shard(
    home: &Backend,
    backend: &Backend,
    row: &ShardRow,
    cluster: &str,
    snapshot: &Snapshot,
    definitions: &check_tables::Definitions,
) -> Result<Vec<Finding>, CatalogError> {
    let mut findings = settings(backend, row).await?;
    findings.extend(identity(backend, row, cluster).await?);
    for found in in_doubt(backend)
        .await?
        .into_iter()
        .filter(|found| !found.is_recent())
    {
        findings.push(Finding::error(
            "in_doubt",
            object(row),
            format!("transaction {} has been prepared for {:.0} s and was not ended", found.gid, found.age_s),
            "Routers end it within a minute if the home shard can be reached; otherwise see the router's log.",
        ));
    }
    if !row.home {
        let missing = missing_roles(home, backend).await?.into_iter();
        findings.extend(missing.map(|role| {
            Finding::error(
                "roles_missing",
                object(row),
                format!("role \"{role}\" of the home shard is missing"),
                "Create it with the same password, or create roles through the router.",
            )
        }));
    }
    if !row.home {
        let hint = "Statements use it on the home shard only. Create it anew through a router.";
        let differing = view_copies::differing(home, backend).await?.into_iter();
        findings.extend(differing.map(|view| {
            let object = format!("view {view} on shard {}", row.name);
            Finding::warning(
                "view_differs",
                object,
                "it is not as on the home shard",
                hint,
            )
        }));
    }
    findings.extend(check_moves::of_shard(backend, row, cluster, snapshot).await?);
    findings.extend(check_tables::check(backend, row, snapshot, definitions).await?);
    Ok(findings)
}

/// Settings with the value that they must have or should have.
async fn settings(backend: &Backend, row: &ShardRow) -> Result<Vec<Finding>, CatalogError> {
    let shown = backend
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), \
             current_setting('max_prepared_transactions')::int, current_setting('wal_level'), \
             current_setting('fsync')::bool, current_setting('full_page_writes')::bool, \
             (SELECT reset_val FROM pg_settings WHERE name = 'standard_conforming_strings')",
            &[],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    let mut findings = Vec::new();
    if shown.get::<_, i32>(0) < 150_000 || shown.get::<_, &str>(1) != "UTF8" {
        let message = "the server is older than PostgreSQL 15, or its encoding is not UTF8";
        findings.push(Finding::error(
            "not_supported",
            object(row),
            message,
            "Move the database to one that is supported.",
        ));
    }
    if shown.get::<_, i32>(2) == 0 && !row.home {
        let message = "max_prepared_transactions is 0: no change can include this shard";
        findings.push(Finding::error(
            "no_prepared",
            object(row),
            message,
            "Raise it to max_connections and restart.",
        ));
    }
    if shown.get::<_, &str>(3) != "logical" {
        let message = format!(
            "wal_level is {}: data cannot be moved from here",
            shown.get::<_, &str>(3)
        );
        findings.push(Finding::warning(
            "wal_level",
            object(row),
            message,
            "Set wal_level = logical and restart.",
        ));
    }
    if !shown.get::<_, bool>(4) || !shown.get::<_, bool>(5) {
        let message =
            "fsync or full_page_writes is off: a crash may lose or damage what was committed";
        findings.push(Finding::warning(
            "not_durable",
            object(row),
            message,
            "Switch both on, unless the data may be lost.",
        ));
    }
    if shown.get::<_, &str>(6) != "on" {
        let message = "standard_conforming_strings is off by default";
        findings.push(Finding::warning(
            "strings",
            object(row),
            message,
            "Switch it on: literals mean different things on shards.",
        ));
    }
    Ok(findings)
}

/// The shard must be the one that the catalog takes it for.
async fn identity(
    backend: &Backend,
    row: &ShardRow,
    cluster: &str,
) -> Result<Vec<Finding>, CatalogError> {
    let known = backend
        .query_one("SELECT to_regclass('shardgate.identity') IS NOT NULL", &[])
        .await
        .map_err(|error| backend.err(&error))?;
    let said = if known.get(0) {
        backend
            .query_opt(
                "SELECT cluster_id::text, shard_id FROM shardgate.identity",
                &[],
            )
            .await
            .map_err(|error| backend.err(&error))?
    } else {
        None
    };
    let right = said
        .is_some_and(|said| said.get::<_, &str>(0) == cluster && said.get::<_, i16>(1) == row.id);
    if right {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::error(
        "identity",
        object(row),
        "the database does not say that it is this shard of this cluster",
        "Its hosts may be another shard's, or the database was replaced: correct the hosts.",
    )])
}

fn object(row: &ShardRow) -> String {
    format!("shard {}", row.name)
}
