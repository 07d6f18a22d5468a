//! The results of a whole run, their ratios, and the table for people.
//!
//! A ratio is taken in each round between runs that followed each other, and the median of these is told: what else the
//! machine did meanwhile hurts both.

use crate::arguments::Mode;
use crate::cases::Case;
use crate::figures::{Figures, Spread};
use crate::machine::Machine;
use crate::targets::Kind;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub rows: Vec<Row>,
    /// Runs that failed, and why.
    pub problems: Vec<String>,
}

/// One case in one mode with one number of clients.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub case: Case,
    pub detail: String,
    pub mode: Mode,
    pub clients: u32,
    /// What is counted.
    pub unit: &'static str,
    pub targets: Vec<Runs>,
}

/// The runs through one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Runs {
    pub name: String,
    pub kind: Kind,
    /// Why there are none, or no more.
    pub note: Option<String>,
    pub runs: Vec<Figures>,
}

/// One of the figures.
pub type Pick = fn(&Figures) -> Option<f64>;

impl Runs {
    pub fn spread(&self, pick: Pick) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(pick))
    }

    /// The median over the rounds of this one's figure divided by the other's.
    pub fn ratio(&self, other: &Runs, pick: Pick) -> Option<f64> {
        let pairs = self.runs.iter().zip(&other.runs);
        let ratios = pairs.filter_map(|(own, other)| {
            let other = pick(other).filter(|other| *other > 0.0)?;
            Some(pick(own)? / other)
        });
        Spread::of(ratios).map(|spread| spread.median)
    }
}

impl Row {
    pub fn title(&self) -> String {
        let detail = match self.detail.is_empty() {
            true => String::new(),
            false => format!(" {}", self.detail),
        };
        let mode = match self.case.modes().len() {
            1 => String::new(),
            _ => format!(", {}", self.mode.word()),
        };
        let clients = match self.clients {
            1 => "1 client".to_owned(),
            clients => format!("{clients} clients"),
        };
        format!("{}{detail}{mode}, {clients}", self.case.title())
    }

    pub fn of(&self, kind: Kind) -> Option<&Runs> {
        self.targets.iter().find(|runs| runs.kind == kind)
    }

    /// One run in one line.
    pub fn said(&self, number: usize, figures: &Figures) -> String {
        let name = self.targets.get(number).map_or("", |runs| &runs.name);
        let mut said = format!("{}, {name}:", self.title());
        let mut add = |value: Option<f64>, unit: &str| {
            if let Some(value) = value {
                said.push_str(&format!(" {} {unit}", short(value)));
            }
        };
        add(figures.per_second, &format!("{}/s", self.unit));
        add(figures.p50_us.map(|us| us / 1000.0), "ms p50");
        add(figures.p99_us.map(|us| us / 1000.0), "ms p99");
        add(figures.cpu_us, "us CPU each");
        add(
            figures.idle_client_bytes.map(|b| b / 1024.0),
            "KiB for each client",
        );
        add(figures.over_idle_bytes.map(|b| b / MIB), "MiB above idle");
        add(figures.peak_bytes.map(|b| b / MIB), "MiB peak");
        said
    }
}

pub const MIB: f64 = 1024.0 * 1024.0;

impl Report {
    /// With what a proxy's processor time is compared: PgBouncer's in the same row; where it cannot do the mode, its
    /// figure of the extended mode, and then the ratio bears a star.
    pub fn cpu_ratio(&self, row: &Row, runs: &Runs) -> Option<(f64, bool)> {
        let own = row.of(Kind::PgBouncer)?;
        if !own.runs.is_empty() {
            return Some((runs.ratio(own, |f| f.cpu_us)?, false));
        }
        let extended = self.rows.iter().find(|other| {
            (other.case, other.clients, other.mode) == (row.case, row.clients, Mode::Extended)
                && other.detail == row.detail
        })?;
        let base = extended.of(Kind::PgBouncer)?;
        Some((runs.ratio(base, |f| f.cpu_us)?, true))
    }
}

/// Three significant digits, as far as they are before the point.
pub fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// `median (min..max)`; only the median if there was one run.
pub fn spread(spread: Option<Spread>, scale: f64) -> String {
    match spread {
        None => "-".to_owned(),
        Some(s) => {
            let median = short(s.median / scale);
            let (min, max) = (short(s.min / scale), short(s.max / scale));
            match min == max {
                true => median,
                false => format!("{median} ({min}..{max})"),
            }
        }
    }
}

pub fn median(spread: Option<Spread>, scale: f64) -> String {
    spread.map_or_else(|| "-".to_owned(), |s| short(s.median / scale))
}

/// `0.97`, with a star if the other figure is of another mode.
pub fn starred(ratio: Option<(f64, bool)>) -> String {
    match ratio {
        None => "-".to_owned(),
        Some((ratio, star)) => format!("{ratio:.2}{}", if star { "*" } else { "" }),
    }
}

/// The table for people, with what failed under it.
pub fn text(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "",
        "proxy",
        "per second",
        "p50 ms",
        "p99 ms",
        "CPU us each",
        "peak MiB",
        "CPU/pgb",
        "tps/pgb",
        "tps/direct",
    ]);
    for row in &report.rows {
        let mut title = row.title();
        for runs in row.targets.iter().filter(|runs| !runs.runs.is_empty()) {
            table.add_row(line(report, row, runs, std::mem::take(&mut title)));
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.to_string();
    text.push_str("\n\nMedian (min..max). CPU us each: processor microseconds of the proxy for each transaction (pipeline, connection, MB).");
    text.push_str("\npgb: PgBouncer; * against its extended mode, where it cannot do the mode.");
    for note in notes(report) {
        text.push_str(&format!("\n{note}"));
    }
    for problem in &report.problems {
        text.push_str(&format!("\nFAILED: {problem}"));
    }
    text
}

/// What was not measured, and why; each once.
pub fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    for row in &report.rows {
        for runs in &row.targets {
            if let Some(note) = &runs.note {
                let note = format!("{}, {}: {note}", row.title(), runs.name);
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
    }
    notes
}

fn line(report: &Report, row: &Row, runs: &Runs, title: String) -> Vec<String> {
    let against = |kind| {
        let other = row.of(kind)?;
        Some((runs.ratio(other, |f| f.per_second)?, false))
    };
    let mut peak = spread(runs.spread(|f| f.peak_bytes), MIB);
    if let Some(each) = runs.spread(|f| f.idle_client_bytes) {
        peak = format!("{} KiB/client; {peak}", short(each.median / 1024.0));
    }
    if let Some(over) = runs.spread(|f| f.over_idle_bytes) {
        peak = format!("{} over idle; {peak}", short(over.median / MIB));
    }
    vec![
        title,
        runs.name.clone(),
        spread(runs.spread(|f| f.per_second), 1.0),
        median(runs.spread(|f| f.p50_us), 1000.0),
        median(runs.spread(|f| f.p99_us), 1000.0),
        spread(runs.spread(|f| f.cpu_us), 1.0),
        peak,
        starred(report.cpu_ratio(row, runs)),
        starred(against(Kind::PgBouncer)),
        starred(against(Kind::Direct)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        let runs = |values: &[f64]| Runs {
            name: "x".to_owned(),
            kind: Kind::Other,
            note: None,
            runs: values
                .iter()
                .map(|value| Figures {
                    cpu_us: Some(*value),
                    ..Figures::default()
                })
                .collect(),
        };
        let ratio = |own: &[f64], other: &[f64]| runs(own).ratio(&runs(other), |f| f.cpu_us);
        assert_eq!(ratio(&[2.0, 20.0, 30.0], &[1.0, 10.0, 10.0]), Some(2.0));
        assert_eq!(ratio(&[2.0], &[]), None);
        assert_eq!(ratio(&[2.0], &[0.0]), None);
    }

    #[test]
    fn spreads_are_written() {
        let of = |values: &[f64]| spread(Spread::of(values.iter().copied()), 1.0);
        assert_eq!(of(&[]), "-");
        assert_eq!(of(&[12.34]), "12.3");
        assert_eq!(of(&[1234.4, 1.0, 99.95]), "100.0 (1.00..1234)");
    }
}
