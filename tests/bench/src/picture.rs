//! The picture: processor time of each proxy for one transaction, as bars, one group for each case and mode.

use crate::cases::Case;
use crate::report::{Report, Row, Runs, short};
use crate::targets::Kind;
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 70.0;
const BAR: f64 = 15.0;
const GAP: f64 = 14.0;
const TOP: f64 = 64.0;
/// The number of clients that is drawn where several were measured.
const CLIENTS: u32 = 16;

/// An SVG document; None if nothing was measured that can be drawn.
pub fn draw(report: &Report) -> Option<String> {
    let groups: Vec<(&Row, Vec<(&Runs, f64)>)> = report
        .rows
        .iter()
        .filter(|row| drawn(report, row))
        .map(|row| (row, bars(row)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let most = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|(_, value)| *value)
        .fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let (mut body, mut y) = (String::new(), TOP);
    for (row, bars) in &groups {
        y = group(&mut body, y, &row.title(), bars, most);
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" fill=\"#222222\">Processor microseconds of the proxy for each transaction (less is better)</text>\n\
         <text x=\"12\" y=\"44\" fill=\"#555555\">{}, {} cores; median of {} rounds</text>\n",
        escape(&report.machine.processor),
        report.machine.cores,
        report.machine.rounds
    );
    svg.push_str(&body);
    svg.push_str("</svg>\n");
    Some(svg)
}

fn drawn(report: &Report, row: &Row) -> bool {
    let same = |clients| {
        report
            .rows
            .iter()
            .any(|other| (other.case, other.mode, other.clients) == (row.case, row.mode, clients))
    };
    matches!(row.case, Case::Home | Case::Point | Case::Transaction)
        && (row.clients == CLIENTS || !same(CLIENTS))
}

fn bars(row: &Row) -> Vec<(&Runs, f64)> {
    let value = |runs: &'_ Runs| runs.spread(|f| f.cpu_us).map(|spread| spread.median);
    row.targets
        .iter()
        .filter_map(|runs| Some((runs, value(runs)?)))
        .collect()
}

/// Draws one group from `y` on, and says where the next begins.
fn group(body: &mut String, y: f64, title: &str, bars: &[(&Runs, f64)], most: f64) -> f64 {
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let height = BAR * bars.len() as f64;
    let middle = y + height / 2.0 + 4.0;
    let title = escape(title);
    let _infallible = writeln!(
        body,
        "<text x=\"12\" y=\"{middle:.1}\" fill=\"#222222\">{title}</text>"
    );
    let mut top = y;
    for (runs, value) in bars {
        let (width, base) = (value * scale, top + BAR - 4.0);
        let (name, color) = (escape(&runs.name), color(runs.kind));
        let _infallible = writeln!(
            body,
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{base:.1}\" font-size=\"10\" fill=\"#222222\">{} {name}</text>",
            BAR - 2.0,
            LEFT + width + 4.0,
            short(*value)
        );
        top += BAR;
    }
    y + height + GAP
}

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Shardgate => "#1f6f8b",
        Kind::PgBouncer => "#d98e04",
        Kind::HaProxy => "#8d99ae",
        Kind::Other => "#b56576",
        Kind::Direct => "#cccccc",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
