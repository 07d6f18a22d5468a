//! The messages of the output plugin `pgoutput`, protocol version 1: only which rows they speak of.
//!
//! Postgres's manual, 55.9 "Logical Replication Message Formats". Bytes that are not understood end the reading.

use std::collections::HashMap;

/// One row that was inserted, deleted, or updated: for an update its old and its new form, if both are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    pub schema: String,
    pub table: String,
    /// Name and value.
    pub columns: Vec<(String, Column)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Null,
    /// A TOAST value that was not touched and is not sent.
    Unchanged,
    Text(String),
}

struct Relation {
    schema: String,
    table: String,
    columns: Vec<String>,
}

/// Knows the relations that were described so far in one stream.
#[derive(Default)]
pub(super) struct Reader {
    relations: HashMap<u32, Relation>,
}

impl Reader {
    /// The rows that one message speaks of. None: it cannot be read.
    pub(super) fn read(&mut self, message: &[u8]) -> Option<Vec<Tuple>> {
        let mut bytes = Bytes(message);
        match bytes.byte()? {
            b'R' => {
                let id = bytes.number()?;
                let relation = bytes.relation()?;
                self.relations.insert(id, relation);
                Some(Vec::new())
            }
            b'I' | b'U' | b'D' => {
                let relation = self.relations.get(&bytes.number()?)?;
                let mut tuples = Vec::new();
                while let Some(mark) = bytes.byte() {
                    if !matches!(mark, b'N' | b'K' | b'O') {
                        return None;
                    }
                    tuples.push(bytes.tuple(relation)?);
                }
                Some(tuples)
            }
            // Begin, commit, origin, type, truncate (never published), message.
            b'B' | b'C' | b'O' | b'Y' | b'T' | b'M' => Some(Vec::new()),
            _ => None,
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8(self.take(end)?.to_vec()).ok()?;
        self.take(1)?;
        Some(text)
    }

    /// Namespace (empty: pg_catalog), name, replica identity, columns with flags, name, type and modifier.
    fn relation(&mut self) -> Option<Relation> {
        let (schema, table) = (self.text()?, self.text()?);
        self.byte()?;
        let count = self.short()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            self.byte()?;
            columns.push(self.text()?);
            self.take(8)?;
        }
        Some(Relation {
            schema,
            table,
            columns,
        })
    }

    fn tuple(&mut self, relation: &Relation) -> Option<Tuple> {
        let count = self.short()?;
        let mut columns = Vec::new();
        for number in 0..usize::from(count) {
            let value = match self.byte()? {
                b'n' => Column::Null,
                b'u' => Column::Unchanged,
                b't' => {
                    let length = usize::try_from(self.number()?).ok()?;
                    Column::Text(String::from_utf8(self.take(length)?.to_vec()).ok()?)
                }
                _ => return None,
            };
            columns.push((relation.columns.get(number)?.clone(), value));
        }
        Some(Tuple {
            schema: relation.schema.clone(),
            table: relation.table.clone(),
            columns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELATION: &[u8] = b"R\0\0\0\x07public\0t\0d\0\x02\x01id\0\0\0\0\x14\xff\xff\xff\xff\0big\0\0\0\0\x19\xff\xff\xff\xff";

    fn reader() -> Reader {
        let mut reader = Reader::default();
        assert_eq!(reader.read(RELATION), Some(Vec::new()));
        reader
    }

    #[test]
    fn rows_are_named() {
        let mut reader = reader();
        let mut check = |message: &[u8], expect: &[(Column, Column)]| {
            let tuples = reader.read(message).unwrap();
            let found: Vec<(Column, Column)> = tuples
                .iter()
                .map(|tuple| {
                    assert_eq!(
                        (tuple.schema.as_str(), tuple.table.as_str()),
                        ("public", "t")
                    );
                    assert_eq!(
                        (tuple.columns[0].0.as_str(), tuple.columns[1].0.as_str()),
                        ("id", "big")
                    );
                    (tuple.columns[0].1.clone(), tuple.columns[1].1.clone())
                })
                .collect();
            assert_eq!(found, expect);
        };
        let text = |text: &str| Column::Text(text.to_owned());
        check(b"B\0\0", &[]);
        check(
            b"I\0\0\0\x07N\0\x02t\0\0\0\x0212n",
            &[(text("12"), Column::Null)],
        );
        check(
            b"U\0\0\0\x07N\0\x02t\0\0\0\x015u",
            &[(text("5"), Column::Unchanged)],
        );
        check(
            b"U\0\0\0\x07K\0\x02t\0\0\0\x015nN\0\x02t\0\0\0\x016t\0\0\0\0",
            &[(text("5"), Column::Null), (text("6"), text(""))],
        );
        check(
            b"D\0\0\0\x07O\0\x02t\0\0\0\x015t\0\0\0\x01x",
            &[(text("5"), text("x"))],
        );
    }

    #[test]
    fn broken_messages_are_refused() {
        let mut reader = reader();
        for broken in [
            &b""[..],
            b"?",
            b"I\0\0\0\x08N\0\0",
            b"I\0\0\0\x07X",
            b"I\0\0\0\x07N\0\x02t\0\0\0\x0912",
            b"I\0\0\0\x07N\0\x03nnn",
            b"R\0\0\0\x07public",
        ] {
            assert_eq!(reader.read(broken), None, "{broken:?}");
        }
    }
}
