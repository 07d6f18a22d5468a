//! What a command prints: tables and sentences for people, one JSON document for programs.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use std::io::{self, Write};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people.
    #[default]
    Table,
    /// One JSON document for programs.
    Json,
}

/// What a command has to say, for both kinds of readers.
#[derive(Clone, Debug)]
pub struct Report {
    /// What people read, without the last line break.
    pub text: String,
    pub json: Value,
}

impl Report {
    pub fn new(text: impl Into<String>, json: Value) -> Report {
        Report {
            text: text.into(),
            json,
        }
    }

    /// Prints to the standard output. A reader that has gone (`| head`) is no error.
    pub fn print(&self, format: Format) {
        let text = match format {
            Format::Table => self.text.clone(),
            Format::Json => format!("{:#}", self.json),
        };
        let mut out = io::stdout().lock();
        let _reader_gone = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// Columns under headings, without lines: easy to read, and to cut with awk.
pub fn table<R: IntoIterator<Item = String>>(
    headings: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    // The cells of the first column need no space before them.
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table
        .to_string()
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_text() {
        let rows = [
            ["s1".to_owned(), "127.0.0.1:5432".to_owned()],
            ["s10".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["shard", "host"], rows),
            "SHARD  HOST\ns1     127.0.0.1:5432\ns10"
        );
    }
}
