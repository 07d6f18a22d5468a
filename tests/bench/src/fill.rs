//! Writes the measured part of `performance.md`, between two marks, and the picture beside it.

use crate::picture;
use crate::report::{MIB, Report, Row, Runs, median, notes, short, spread, starred};
use crate::targets::Kind;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::path::Path;

const BEGIN: &str = "<!-- measured: make bench writes from here -->";
const END: &str = "<!-- measured: to here -->";

pub fn fill(docs: &Path, report: &Report) -> Result<()> {
    let page = docs.join("performance.md");
    let text =
        std::fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    let marks = format!("{} has no lines \"{BEGIN}\" and \"{END}\"", page.display());
    let (before, rest) = text.split_once(BEGIN).context(marks.clone())?;
    let (_, after) = rest.split_once(END).context(marks)?;
    let measured = markdown(report);
    std::fs::write(
        &page,
        format!("{before}{BEGIN}\n\n{measured}\n{END}{after}"),
    )?;
    if let Some(svg) = picture::draw(report) {
        std::fs::write(docs.join("performance.svg"), svg)?;
    }
    eprintln!("bench: wrote {}", page.display());
    Ok(())
}

fn markdown(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "Measured on {} with {} cores of {}, {} GiB of memory, Linux {}, {}.\n\n",
        machine.date,
        machine.cores,
        machine.processor,
        short((machine.memory_bytes as f64 / MIB / 1024.0).round()),
        machine.kernel,
        machine.postgres
    );
    for (name, description) in &machine.proxies {
        let _infallible = writeln!(text, "- {name}: {description}");
    }
    let _infallible = write!(
        text,
        "\nPool: {} server connections of each pooler for a server. Worker threads of Shardgate and HAProxy: {}. \
         {} rounds of {} s. Command: `make bench BENCH=\"{}\"`.\n\n![Processor time for each transaction](performance.svg)\n\n",
        machine.pool, machine.threads, machine.rounds, machine.seconds, machine.arguments
    );
    text.push_str(
        "| case | proxy | per second | p50 ms | p99 ms | CPU us each | peak MiB | CPU / PgBouncer | tps / PgBouncer | tps / direct |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in &report.rows {
        for runs in row.targets.iter().filter(|runs| !runs.runs.is_empty()) {
            text.push_str(&line(report, row, runs));
        }
    }
    text.push_str(
        "\nMedian of the rounds, with the least and the most in brackets. A ratio is the median of those of single rounds. \
         A star: PgBouncer cannot do the mode, so its extended mode is the measure.\n",
    );
    for note in notes(report) {
        let _infallible = write!(text, "\n- {note}.");
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn line(report: &Report, row: &Row, runs: &Runs) -> String {
    let against = |kind| {
        let other = row.of(kind)?;
        Some((runs.ratio(other, |f| f.per_second)?, false))
    };
    let mut peak = median(runs.spread(|f| f.peak_bytes), MIB);
    if let Some(each) = runs.spread(|f| f.idle_client_bytes) {
        peak = format!("{} KiB for each client", short(each.median / 1024.0));
    }
    if let Some(over) = runs.spread(|f| f.over_idle_bytes) {
        peak = format!("{} above idle", short(over.median / MIB));
    }
    format!(
        "| {} | {} | {} | {} | {} | {} | {peak} | {} | {} | {} |\n",
        row.title(),
        runs.name,
        spread(runs.spread(|f| f.per_second), 1.0),
        median(runs.spread(|f| f.p50_us), 1000.0),
        median(runs.spread(|f| f.p99_us), 1000.0),
        spread(runs.spread(|f| f.cpu_us), 1.0),
        starred(report.cpu_ratio(row, runs)),
        starred(against(Kind::PgBouncer)),
        starred(against(Kind::Direct)),
    )
}
