//! Instructions for each statement against the recorded ones: the only figures of speed that are a test.
//!
//! Unlike times they hardly depend on the machine or on what else it does. `make instructions` records them anew after a
//! change that is meant to cost or to save.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A count may be so many percent above the recorded one: compilers and libraries of other versions need a little more.
const ABOVE_MAX: u64 = 10;
/// So many percent below it, somebody should record it.
const BELOW_TOLD: u64 = 10;
/// As in the counted program.
const REPEATS: u64 = 50;

#[test]
fn no_statement_costs_more_instructions_than_recorded() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED: there is no valgrind; \"bash tests/setup.sh all\" installs it");
        return;
    }
    let counted = count(&build());
    assert!(counted.len() > 20, "{counted:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.txt");
    if std::env::var_os("INSTRUCTIONS_RECORD").is_some() {
        std::fs::write(&path, written(&counted)).unwrap();
        println!("{}", written(&counted));
        return;
    }
    let recorded = read(&std::fs::read_to_string(&path).unwrap());
    let mut problems = String::new();
    for (name, count) in &counted {
        match recorded.get(name) {
            None => writeln!(problems, "{name}: {count}, not recorded").unwrap(),
            Some(before) if *count * 100 > before * (100 + ABOVE_MAX) => {
                writeln!(problems, "{name}: {count}, recorded {before}").unwrap();
            }
            Some(before) => {
                println!("{name}: {count}, recorded {before}");
                if *count * 100 < before * (100 - BELOW_TOLD) {
                    println!("  cheaper than recorded: keep it by \"make instructions\"");
                }
            }
        }
    }
    for name in recorded.keys().filter(|name| !counted.contains_key(*name)) {
        writeln!(problems, "{name}: recorded, but not counted").unwrap();
    }
    assert!(
        problems.is_empty(),
        "instructions for each time, more than {ABOVE_MAX} % above the recorded ones:\n{problems}\
         If the change is worth it, record them with \"make instructions\" and say why in the commit."
    );
}

/// The program as the router is built: without optimisation the counts would say nothing. "make test" has built it
/// before, so that this is quick.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "-p", "shardgate-instructions"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mark = "\"executable\":\"";
    let path = stdout
        .lines()
        .rev()
        .find_map(|line| line.split_once(mark)?.1.split_once('"'))
        .map(|(path, _)| PathBuf::from(path));
    path.unwrap_or_else(|| panic!("no executable in {stdout}"))
}

/// Instructions of each case for one time.
fn count(program: &Path) -> BTreeMap<String, u64> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-before=*dump_here*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .output()
        .expect("valgrind runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let names = String::from_utf8_lossy(&output.stdout);
    let mut counted = BTreeMap::new();
    for (number, name) in names.lines().enumerate() {
        // Dumps are numbered from 1; the first of each pair is of what came before the case.
        let file = dir.path().join(format!("out.{}", 2 * number + 2));
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{name}, {}: {error}\n{stderr}", file.display()));
        let total = text
            .lines()
            .find_map(|line| line.strip_prefix("totals: "))
            .unwrap_or_else(|| panic!("{name}: no totals in {text}"));
        let total: u64 = total.trim().parse().expect("a number");
        assert!(total > REPEATS, "{name}: the work was optimised away");
        counted.insert(name.to_owned(), total / REPEATS);
    }
    counted
}

fn written(counted: &BTreeMap<String, u64>) -> String {
    let mut text = String::from(
        "# Instructions for each time, recorded by \"make instructions\" (valgrind, release build).\n",
    );
    for (name, count) in counted {
        let _infallible = writeln!(text, "{name} {count}");
    }
    text
}

fn read(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, count) = line.split_once(' ').expect("NAME COUNT");
            (name.to_owned(), count.parse().expect("a number"))
        })
        .collect()
}
