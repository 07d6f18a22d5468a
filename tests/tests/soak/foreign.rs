//! A client in another process, which speaks through psycopg: it says what it is about to write and what came of it, and
//! the ledger is kept here.

use crate::journal::{Failure, Journal};
use crate::ledger::{Change, Key, Ledger, Row};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shardgate_tests::python_command;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long it may take to end: it waits for its answer first.
const END: Duration = Duration::from_secs(120);

const SCRIPT: &str = include_str!("client.py");

/// At rest.
#[derive(Debug)]
pub struct Foreign {
    pub ledger: Ledger,
    pub router: usize,
    pub url: String,
    pub pace: Duration,
    /// The last value that it wrote.
    pub value: i64,
}

/// At work.
#[derive(Debug)]
pub struct ForeignWorking {
    child: Child,
    /// Closing it tells the client to stop.
    stdin: ChildStdin,
    reader: JoinHandle<Result<Foreign>>,
}

impl Foreign {
    pub fn start(self, journal: &Arc<Journal>, seed: u64) -> Result<ForeignWorking> {
        let mut child = python_command(SCRIPT)
            .args([self.url.clone(), self.pace.as_secs_f64().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("the psycopg client")?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let rows: serde_json::Map<String, Value> = self
            .ledger
            .free()
            .into_iter()
            .map(|key| {
                let row = self.ledger.family(key).row;
                (key.to_string(), json!(row.map(|row| (row.n, row.b))))
            })
            .collect();
        let first =
            json!({"client": self.ledger.client, "rows": rows, "value": self.value, "seed": seed});
        writeln!(stdin, "{first}")?;
        let journal = Arc::clone(journal);
        let reader = std::thread::spawn(move || self.listen(BufReader::new(stdout), &journal));
        Ok(ForeignWorking {
            child,
            stdin,
            reader,
        })
    }

    fn listen(mut self, lines: impl BufRead, journal: &Journal) -> Result<Foreign> {
        let mut begun = journal.now();
        let mut attempt: Option<Change> = None;
        for line in lines.lines() {
            let line = line?;
            let said: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if said.get("begin").is_some() {
                begun = journal.now();
            } else if let Some(key) = said["attempt"].as_i64() {
                let key = Key::Number(key);
                let mut after = self.ledger.family(&key);
                after.row = match (said["after"][0].as_i64(), said["after"][1].as_i64()) {
                    (Some(n), b) => {
                        let b = b.map(i32::try_from).transpose()?;
                        Some(Row { n, b })
                    }
                    (None, _) => None,
                };
                attempt = Some(Change { key, after });
            } else if said.get("done").is_some() {
                let change = attempt.take().context("done, but nothing was attempted")?;
                journal.count(|counts| counts.writes += 1);
                journal.sample(begun, change.key.clone());
                self.ledger.acknowledge(vec![change]);
            } else if let Some(text) = said["wrong"].as_str() {
                journal.wrong(format!("psycopg client {}: {text}", self.ledger.client));
            } else if said.get("failed").is_some() {
                let change = attempt.take();
                self.failed(&said, begun, change, journal);
            } else if said.get("end").is_some() {
                self.value = said["value"].as_i64().context("no value")?;
                return Ok(self);
            }
        }
        // It was ended by force, or has a fault of its own: that is no result.
        anyhow::bail!("the psycopg client {} ended by itself", self.ledger.client)
    }

    fn failed(&mut self, said: &Value, from: Duration, change: Option<Change>, journal: &Journal) {
        if said["maybe"].as_bool() == Some(true) {
            journal.count(|counts| counts.doubts += 1);
            self.ledger.doubt(change.into_iter().collect());
        }
        let code = said["code"].as_str().map(str::to_owned);
        // Its locking reads are made under READ COMMITTED, where nobody else has its rows.
        let repeatable = said["repeatable"].as_bool() == Some(true);
        if repeatable && code.as_deref() == Some("40001") {
            journal.count(|counts| counts.retries += 1);
            return;
        }
        journal.failed(Failure {
            from,
            to: journal.now(),
            client: self.ledger.client,
            router: self.router,
            key: said["failed"].as_i64().map(Key::Number),
            block: said["block"].as_bool() == Some(true),
            code,
            text: format!("psycopg: {}", said["text"]),
        });
    }
}

impl ForeignWorking {
    /// Tells it to stop; blocking.
    pub fn stop(mut self) -> Result<Foreign> {
        drop(self.stdin);
        let end = std::time::Instant::now() + END;
        while self.child.try_wait()?.is_none() {
            if std::time::Instant::now() > end {
                self.child.kill()?;
                self.child.wait()?;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let listened = self.reader.join();
        ensure!(listened.is_ok(), "reading a psycopg client panicked");
        listened.unwrap_or_else(|_| anyhow::bail!("it panicked"))
    }
}
