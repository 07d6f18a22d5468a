//! `shard-admin check`: what could go wrong.

use crate::check::{self, Finding, Severity, survey};
use crate::cli::Shared;
use crate::failure::{Exit, Failure};
use crate::output::{Report, table};
use clap::Args;
use serde_json::{Value, json};
use shardgate_catalog::CheckOptions;

#[derive(Debug, Args)]
pub struct Check {
    /// Read every row of distributed tables, to find those that lie on a wrong shard
    #[arg(long)]
    rows: bool,
}

/// Exit code 3 if there are errors; warnings alone are a success.
pub async fn run(shared: &Shared, args: Check) -> Result<(), Failure> {
    let (mut home, raw, snapshot) = shared.snapshot().await?;
    let survey = survey::survey(home.config(), &raw, &snapshot).await?;
    let findings = check::check(&mut home, &survey, &raw, CheckOptions { rows: args.rows }).await?;
    report(&findings).print(shared.output);
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    match errors {
        0 => Ok(()),
        n => Err(Failure {
            exit: Exit::Findings,
            ..Failure::new(format!("{n} errors were found"))
        }),
    }
}

fn report(findings: &[Finding]) -> Report {
    let document = findings.iter().map(|finding| {
        json!({
            "severity": severity(finding),
            "place": finding.place,
            "what": finding.what,
            "hint": finding.hint,
        })
    });
    let document = Value::Array(document.collect());
    if findings.is_empty() {
        return Report::new("Nothing is wrong.", document);
    }
    let rows = findings
        .iter()
        .map(|f| [severity(f).to_owned(), f.place.clone(), f.what.clone()]);
    let hints = findings.iter().map(|f| (f.what.as_str(), f.hint.as_str()));
    let mut known: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for (_, hint) in hints {
        if !known.contains(&hint) {
            known.push(hint);
            lines.push(format!("HINT:  {hint}"));
        }
    }
    let text = format!(
        "{}\n\n{}",
        table(&["severity", "where", "what"], rows),
        lines.join("\n")
    );
    Report::new(text, document)
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
