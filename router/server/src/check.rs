//! `shardgate check --config FILE`: says what is wrong with a configuration, without the network.

use crate::config::{Report, Severity};
use std::fmt::Write;
use std::path::Path;

/// What the command prints and how it exits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub text: String,
    /// 0: correct, warnings allowed; 1: there is an error.
    pub exit_code: u8,
}

/// Checks the file with the environment's overrides.
pub fn check<I>(path: &Path, variables: I) -> Outcome
where
    I: IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
{
    render(&crate::config::load(path, variables))
}

/// All findings and a last line that counts them.
pub fn render(report: &Report) -> Outcome {
    let of = |s: Severity| {
        report
            .findings
            .list
            .iter()
            .filter(|f| f.severity == s)
            .count()
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let mut text = report.findings.to_string();
    let last = match (errors, warnings) {
        (0, 0) => "configuration is correct".to_owned(),
        (0, w) => format!("configuration is correct, {}", counted(w, "warning")),
        (e, 0) => format!("configuration is wrong: {}", counted(e, "error")),
        (e, w) => format!(
            "configuration is wrong: {}, {}",
            counted(e, "error"),
            counted(w, "warning")
        ),
    };
    writeln!(text, "{last}").expect("writing to a string cannot fail");
    Outcome {
        text,
        exit_code: u8::from(errors > 0),
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
