//! What is wrong with a configuration, with its place, and how that is printed.

use std::fmt;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// It works, but probably not as it was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub place: Place,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Where it is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Text(Position),
    /// An environment variable, by name. Its value is not printed: it may be a password.
    Variable(String),
    /// The file as a whole: something is missing in it.
    Whole,
}

/// A piece of one line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In characters, at least 1.
    pub width: usize,
    /// The text of the line; None if it holds a secret.
    pub source: Option<String>,
}

/// All findings about one file and the environment, in the order of the file, and then the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    pub file: String,
    pub list: Vec<Finding>,
}

impl Finding {
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Error,
            place,
            message: message.into(),
            help: None,
        }
    }

    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Warning,
            ..Finding::error(place, message)
        }
    }

    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// The order of printing: by place in the file, then variables by name, then the file as a whole.
    pub(super) fn rank(&self) -> (u8, usize, usize, String) {
        match &self.place {
            Place::Text(p) => (0, p.line, p.column, String::new()),
            Place::Variable(name) => (1, 0, 0, name.clone()),
            Place::Whole => (2, 0, 0, String::new()),
        }
    }
}

impl Position {
    /// The place of the bytes `span` of `text`; only the first line of a longer piece is marked.
    pub(super) fn of(text: &str, span: Range<usize>, secret: bool) -> Self {
        let start = floor_char(text, span.start);
        let end = floor_char(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[..line_start].bytes().filter(|b| *b == b'\n').count() + 1;
        let width = text[start..end.min(line_end).max(start)].chars().count();
        let source = text[line_start..line_end].trim_end_matches('\r');
        Position {
            line,
            column: text[line_start..start].chars().count() + 1,
            width: width.max(1),
            source: (!secret).then(|| printable(source)),
        }
    }
}

/// The last character border that is not after `at`.
fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The line with nothing in it that moves a terminal's cursor, so that the caret stands under what it means.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '?',
            c => c,
        })
        .collect()
}

impl Findings {
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|f| f.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.list {
            write_finding(f, &self.file, finding)?;
        }
        Ok(())
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, file: &str, finding: &Finding) -> fmt::Result {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    writeln!(f, "{severity}: {}", finding.message)?;
    let mut gutter = 1;
    match &finding.place {
        Place::Text(p) => {
            gutter = p.line.to_string().len();
            writeln!(f, "{:gutter$}--> {file}:{}:{}", "", p.line, p.column)?;
            if let Some(source) = &p.source {
                writeln!(f, "{:gutter$} |", "")?;
                writeln!(f, "{} | {source}", p.line)?;
                let indent = p.column - 1;
                writeln!(f, "{:gutter$} | {:indent$}{:^<w$}", "", "", "", w = p.width)?;
            }
        }
        Place::Variable(name) => writeln!(f, " --> environment variable {name}")?,
        Place::Whole => writeln!(f, " --> {file}")?,
    }
    if let Some(help) = &finding.help {
        writeln!(f, "{:gutter$} = help: {help}", "")?;
    }
    writeln!(f)
}
