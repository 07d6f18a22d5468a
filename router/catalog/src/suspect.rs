//! Names that make the texts suspect in which they stand, and the texts. Which names are suspect is `blind`'s business.

use crate::function_reach::names;
use std::collections::HashSet;

/// Words without which a statement changes and locks nothing.
const WRITES: &[&str] = &[
    "alter", "cluster", "copy", "create", "delete", "drop", "insert", "lock", "merge", "refresh",
    "share", "truncate", "update",
];

/// A name that makes the texts blind in which it stands.
pub(crate) struct Suspect {
    pub(crate) words: Vec<String>,
    pub(crate) operator: bool,
    /// Only texts that change something.
    pub(crate) if_written: bool,
    pub(crate) reason: String,
}

impl Suspect {
    pub(crate) fn of(name: &str, if_written: bool, reason: String) -> Suspect {
        Suspect {
            words: names(name),
            operator: false,
            if_written,
            reason,
        }
    }

    fn stands_in(&self, text: &Text<'_>) -> bool {
        if self.if_written && !text.writes {
            return false;
        }
        if self.operator {
            return text
                .words
                .iter()
                .any(|run| self.words.iter().any(|operator| run.contains(operator)));
        }
        self.words
            .iter()
            .all(|word| text.words.contains(word.as_str()))
    }
}

pub(crate) struct Text<'r> {
    words: HashSet<&'r str>,
    pub(crate) writes: bool,
}

impl<'r> Text<'r> {
    pub(crate) fn of(words: &'r [String]) -> Text<'r> {
        Text {
            words: words.iter().map(String::as_str).collect(),
            writes: words.iter().any(|word| WRITES.contains(&word.as_str())),
        }
    }

    /// As if it changed what it names: a view may be the target of a change.
    pub(crate) fn written(words: &'r [String]) -> Text<'r> {
        Text {
            writes: true,
            ..Text::of(words)
        }
    }

    pub(crate) fn hit<'s>(&self, suspects: &'s [Suspect]) -> Option<&'s str> {
        let found = suspects.iter().find(|suspect| suspect.stands_in(self));
        found.map(|suspect| suspect.reason.as_str())
    }
}
