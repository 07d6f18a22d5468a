//! The cases of the comparison: their letters, names and pgbench scripts.

use crate::arguments::Mode;
use serde::Serialize;
use std::str::FromStr;

/// Rows of each table that is read by key.
pub const ROWS: u32 = 100_000;
/// Statements of one pipeline.
pub const PIPELINE: u32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    Home,
    Point,
    Transaction,
    Idle,
    Connect,
    Slow,
    Copy,
    Pipeline,
}

/// In the order of their letters.
pub const ALL: [(char, &str, Case); 8] = [
    ('a', "home", Case::Home),
    ('b', "point", Case::Point),
    ('c', "transaction", Case::Transaction),
    ('d', "idle", Case::Idle),
    ('e', "connect", Case::Connect),
    ('f', "slow", Case::Slow),
    ('g', "copy", Case::Copy),
    ('h', "pipeline", Case::Pipeline),
];

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Case, String> {
        let found = ALL
            .iter()
            .find(|(letter, name, _)| *name == text || letter.to_string() == text);
        found.map(|(_, _, case)| *case).ok_or_else(|| {
            let known: Vec<String> = ALL
                .iter()
                .map(|(letter, name, _)| format!("{letter} ({name})"))
                .collect();
            format!("the cases are {}", known.join(", "))
        })
    }
}

impl Case {
    /// What is done, for people.
    pub fn title(self) -> &'static str {
        match self {
            Case::Home => "SELECT by key, home table",
            Case::Point => "SELECT by key over 2 shards",
            Case::Transaction => "read/write transaction on one of 2 shards",
            Case::Idle => "idle clients",
            Case::Connect => "connect, one SELECT, disconnect",
            Case::Slow => "one client reads slowly",
            Case::Copy => "COPY of a home table",
            Case::Pipeline => "pipeline of 100 SELECTs by one key",
        }
    }

    /// What pgbench runs; None for the cases that have a client of their own.
    pub fn script(self) -> Option<String> {
        let key = format!("\\set aid random(1, {ROWS})\n");
        let select = |table: &str| format!("SELECT abalance FROM {table} WHERE aid = :aid;\n");
        match self {
            Case::Home | Case::Connect => Some(format!("{key}{}", select("accounts_home"))),
            Case::Point => Some(format!("{key}{}", select("accounts"))),
            Case::Transaction => Some(format!(
                "{key}\\set delta random(-5000, 5000)\nBEGIN;\n\
                 UPDATE accounts SET abalance = abalance + :delta WHERE aid = :aid;\n{}\
                 INSERT INTO history (aid, delta) VALUES (:aid, :delta);\nEND;\n",
                select("accounts")
            )),
            Case::Pipeline => Some(pipeline()),
            Case::Idle | Case::Slow | Case::Copy => None,
        }
    }

    /// The modes in which the case is driven.
    pub fn modes(self) -> &'static [Mode] {
        match self {
            Case::Home | Case::Point | Case::Transaction => {
                &[Mode::Simple, Mode::Extended, Mode::Prepared]
            }
            // libpq has no pipelines of the simple protocol.
            Case::Pipeline => &[Mode::Extended, Mode::Prepared],
            Case::Idle | Case::Connect | Case::Slow | Case::Copy => &[Mode::Simple],
        }
    }

    /// What one "transaction" of the figures is.
    pub fn unit(self) -> &'static str {
        match self {
            Case::Home | Case::Point | Case::Transaction => "transaction",
            Case::Pipeline => "pipeline",
            Case::Connect => "connection",
            Case::Idle => "login",
            Case::Slow | Case::Copy => "MB",
        }
    }
}

/// One key for the whole pipeline: all its statements belong to one shard.
fn pipeline() -> String {
    let mut script = format!("\\set aid random(1, {ROWS})\n\\startpipeline\n");
    for _ in 0..PIPELINE {
        script.push_str("SELECT abalance FROM accounts WHERE aid = :aid;\n");
    }
    script.push_str("\\endpipeline\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_a_letter_and_a_name() {
        for (letter, name, case) in ALL {
            assert_eq!(letter.to_string().parse(), Ok(case));
            assert_eq!(name.parse(), Ok(case));
        }
        assert!("i".parse::<Case>().is_err());
    }

    #[test]
    fn a_pipeline_has_its_statements() {
        let selects = pipeline()
            .lines()
            .filter(|line| line.starts_with("SELECT"))
            .count();
        assert_eq!(selects, 100);
    }
}
