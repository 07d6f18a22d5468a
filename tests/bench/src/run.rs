//! The whole run: starts everything, goes through the cases, and in each lets the proxies take turns.

use crate::arguments::{Arguments, Mode};
use crate::cases::Case;
use crate::copy::{self, Direction};
use crate::end::End;
use crate::figures::Figures;
use crate::pgbench::{self, Load};
use crate::report::{Report, Row, Runs};
use crate::targets::{self, Kind, Target};
use crate::{idle, machine, servers, slow};
use anyhow::{Context, Result, ensure};
use shard_admin::cluster::Cluster;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const CONNECT_CLIENTS: u32 = 16;
const PIPELINE_CLIENTS: u32 = 4;

pub fn idle_clients(arguments: &Arguments) -> u32 {
    arguments.idle_clients.unwrap_or(10_000)
}

pub fn slow_megabytes(arguments: &Arguments) -> u32 {
    arguments.slow_megabytes.unwrap_or(1000)
}

pub fn run(arguments: &Arguments, end: &End) -> Result<Report> {
    let folder = Folder::make(arguments)?;
    let dir = folder.path();
    eprintln!("bench: starting the servers in {}", dir.display());
    let cluster = servers::start(&dir.join("shards"), arguments.server_ports.as_deref())?;
    end.check()?;
    let targets = targets::start(arguments, &cluster, dir)?;
    targets::check_names(&targets)?;
    end.check()?;
    let router = targets.first().context("the router is the first")?;
    let url = format!(
        "postgresql://postgres@127.0.0.1:{}/{}",
        router.port,
        servers::SHARDED
    );
    servers::fill(&cluster, &url)?;
    let mut report = Report {
        machine: machine::look(arguments, &targets)?,
        rows: Vec::new(),
        problems: Vec::new(),
    };
    let mut bench = Bench {
        arguments,
        cluster: &cluster,
        targets: targets
            .into_iter()
            // The router was needed to make the tables.
            .filter(|target| target.name != "shardgate" || arguments.has("shardgate"))
            .collect(),
        logs: made(&dir.join("logs"))?,
        scripts: made(&dir.join("scripts"))?,
        end,
    };
    for row in plan(arguments) {
        let row = bench.row(row, &mut report.problems)?;
        report.rows.extend(row);
    }
    let results = dir.join("results.json");
    std::fs::write(&results, serde_json::to_string_pretty(&report)?)?;
    if arguments.dir.is_some() {
        eprintln!("bench: every run is in {}", results.display());
    }
    Ok(report)
}

/// Where everything goes.
enum Folder {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn make(arguments: &Arguments) -> Result<Folder> {
        let folder = match &arguments.dir {
            None => Folder::Temporary(
                tempfile::Builder::new()
                    .prefix("shardgate-bench-")
                    .tempdir()?,
            ),
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                ensure!(
                    std::fs::read_dir(dir)?.next().is_none(),
                    "{} is not empty",
                    dir.display()
                );
                Folder::Kept(dir.canonicalize()?)
            }
        };
        // The servers may run as another account.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    fn path(&self) -> &Path {
        match self {
            Folder::Kept(path) => path,
            Folder::Temporary(dir) => dir.path(),
        }
    }
}

fn made(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

/// What is measured, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    case: Case,
    mode: Mode,
    clients: u32,
}

fn plan(arguments: &Arguments) -> Vec<Planned> {
    let mut planned = Vec::new();
    for case in &arguments.only {
        let clients = match case {
            Case::Home | Case::Point | Case::Transaction => arguments.clients.clone(),
            Case::Connect => vec![CONNECT_CLIENTS],
            Case::Pipeline => vec![PIPELINE_CLIENTS],
            Case::Idle => vec![idle_clients(arguments)],
            Case::Slow | Case::Copy => vec![1],
        };
        for clients in clients {
            for mode in case.modes() {
                // A case with one mode has no choice.
                if case.modes().len() == 1 || arguments.modes.contains(mode) {
                    planned.push(Planned {
                        case: *case,
                        mode: *mode,
                        clients,
                    });
                }
            }
        }
    }
    planned
}

struct Bench<'a> {
    arguments: &'a Arguments,
    cluster: &'a Cluster,
    targets: Vec<Target>,
    logs: PathBuf,
    scripts: PathBuf,
    end: &'a End,
}

impl Bench<'_> {
    /// All rounds of one case; some cases give two rows.
    fn row(&mut self, planned: Planned, problems: &mut Vec<String>) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = details(planned.case)
            .iter()
            .map(|detail| self.empty_row(planned, detail))
            .collect();
        if planned.case == Case::Transaction {
            servers::settle(self.cluster)?;
        }
        let script = self.scripts.join("script.sql");
        if let Some(text) = planned.case.script() {
            std::fs::write(&script, text)?;
        }
        let count = self.targets.len();
        for round in 0..usize::try_from(self.arguments.rounds)? {
            for turn in 0..count {
                // Who comes first changes, for who follows whom may matter.
                let number = (round + turn) % count;
                let wanted = rows.iter().any(|row| {
                    row.targets
                        .get(number)
                        .is_some_and(|runs| runs.note.is_none())
                });
                if !wanted {
                    continue;
                }
                self.end.check()?;
                let result = self.one(planned, number, &script);
                self.end.check()?;
                self.note(&mut rows, number, result, problems);
            }
        }
        Ok(rows)
    }

    fn empty_row(&self, planned: Planned, detail: &str) -> Row {
        let runs = |target: &Target| Runs {
            name: target.name.clone(),
            kind: target.kind,
            note: skipped(planned, target),
            runs: Vec::new(),
        };
        Row {
            case: planned.case,
            detail: detail.to_owned(),
            mode: planned.mode,
            clients: planned.clients,
            unit: planned.case.unit(),
            targets: self.targets.iter().map(runs).collect(),
        }
    }

    /// The figures of one turn, one for each detail.
    fn one(&mut self, planned: Planned, number: usize, script: &Path) -> Result<Vec<Figures>> {
        let arguments = self.arguments;
        let home = &self
            .cluster
            .shards
            .first()
            .context("no home shard")?
            .primary;
        let target = self.targets.get_mut(number).context("no such target")?;
        match planned.case {
            Case::Idle => {
                let idle = idle::run(target, planned.clients, self.end)?;
                Ok(vec![idle.after_login, idle.after_statement])
            }
            Case::Slow => slow::run(target, slow_megabytes(arguments), self.end).map(|f| vec![f]),
            Case::Copy => [Direction::In, Direction::Out]
                .into_iter()
                .map(|direction| copy::run(target, home, direction, arguments.seconds, self.end))
                .collect(),
            Case::Home | Case::Point | Case::Transaction | Case::Connect | Case::Pipeline => {
                let load = Load {
                    case: planned.case,
                    mode: planned.mode,
                    clients: planned.clients,
                    seconds: arguments.seconds,
                    script,
                    logs: &self.logs,
                };
                pgbench::run(&load, target, self.end).map(|figures| vec![figures])
            }
        }
    }

    fn note(
        &self,
        rows: &mut [Row],
        number: usize,
        result: Result<Vec<Figures>>,
        problems: &mut Vec<String>,
    ) {
        match result {
            Ok(all) => {
                for (row, figures) in rows.iter_mut().zip(all) {
                    eprintln!("bench: {}", row.said(number, &figures));
                    if let Some(runs) = row.targets.get_mut(number) {
                        runs.runs.push(figures);
                    }
                }
            }
            Err(error) => {
                for row in rows.iter_mut() {
                    let title = row.title();
                    if let Some(runs) = row.targets.get_mut(number) {
                        let problem = format!("{title}, {}: {error:#}", runs.name);
                        eprintln!("bench: {problem}");
                        runs.note = Some(format!("failed: {}", cause(&problem)));
                        problems.push(problem);
                    }
                }
            }
        }
    }
}

/// The line of a problem that tells most: a server's error, else the first.
fn cause(problem: &str) -> &str {
    let error = problem.lines().find_map(|line| line.split_once("ERROR:"));
    match error {
        Some((_, error)) => error.trim(),
        None => problem.lines().next().unwrap_or_default(),
    }
}

/// The rows that one case gives.
fn details(case: Case) -> &'static [&'static str] {
    match case {
        Case::Idle => &["after login", "after a statement"],
        Case::Copy => &["in", "out"],
        Case::Home
        | Case::Point
        | Case::Transaction
        | Case::Connect
        | Case::Slow
        | Case::Pipeline => &[""],
    }
}

/// Why a proxy does not take part.
fn skipped(planned: Planned, target: &Target) -> Option<String> {
    if planned.case == Case::Idle && target.passes_through() {
        return Some("a server connection for each client".to_owned());
    }
    if planned.case == Case::Slow && target.kind == Kind::Direct {
        return Some("no proxy to look at".to_owned());
    }
    target.lacks(planned.mode)
}
