//! The prepared statements and portals of one client, and what identifies a prepared statement on a backend.

use crate::planner::Planned;
use bytes::Bytes;
use foldhash::fast::RandomState;
use shardgate_wire::backend::{Field, row_description};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What must be equal for two prepared statements to be the same one on a backend: the text and the declared types, and
/// all that was in force when the text was parsed, since literals keep the meaning that they had then. The login role is
/// the pool's. The catalog's epoch is part of it, so that a statement parsed before a change of schema is parsed again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub text: Arc<str>,
    pub types: Arc<[u32]>,
    /// Hash of the settings in force at the client's Parse.
    pub settings: u64,
    /// Id of the epoch in force when it is used.
    pub epoch: [u8; 16],
}

/// A statement that the client has prepared.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Unique in the session: tells an unnamed statement from its successor.
    pub id: u64,
    pub name: Bytes,
    pub text: Arc<str>,
    pub types: Arc<[u32]>,
    pub planned: Arc<Planned>,
    /// The settings' generation when it was planned.
    pub generation: u64,
    /// Settings hash at the client's Parse.
    pub settings: u64,
    /// The settings themselves.
    pub set: Arc<BTreeMap<String, String>>,
    /// Epoch under which the server last confirmed the text for this client.
    pub confirmed: Option<[u8; 16]>,
    /// The ParameterDescription and RowDescription (or NoData) that the client was told.
    pub told: Option<Shape>,
}

/// What a statement's parameters and result look like, as far as that is the same on every shard: a table has another OID
/// on each of them, and a column may have another number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The frame.
    pub parameters: Bytes,
    pub result: Described,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Described {
    Columns(Vec<Column>),
    /// A frame of another kind: NoData, or one that cannot be read.
    Other(Bytes),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    name: Bytes,
    type_oid: u32,
    size: i16,
    modifier: i32,
}

impl Default for Described {
    fn default() -> Described {
        Described::Other(Bytes::new())
    }
}

impl Described {
    /// Of a RowDescription or NoData frame.
    pub fn of(frame: &[u8]) -> Described {
        let fields = frame
            .split_at_checked(5)
            .filter(|(head, _)| head.first() == Some(&b'T'))
            .and_then(|(_, body)| row_description(body).ok());
        match fields {
            Some(fields) => Described::Columns(fields.iter().map(Column::of).collect()),
            None => Described::Other(Bytes::copy_from_slice(frame)),
        }
    }
}

impl Column {
    fn of(field: &Field<'_>) -> Column {
        Column {
            name: Bytes::copy_from_slice(field.name),
            type_oid: field.type_oid,
            size: field.size,
            modifier: field.modifier,
        }
    }
}

impl Statement {
    pub fn key(&self, epoch: [u8; 16]) -> Key {
        Key {
            text: self.text.clone(),
            types: self.types.clone(),
            settings: self.settings,
            epoch,
        }
    }
}

/// A portal: a statement with its parameters bound.
#[derive(Clone, Debug)]
pub(crate) enum Portal {
    /// It stands on the backend of the slot; which statement it runs decides what its execution does.
    Remote { planned: Arc<Planned> },
    /// The router answers it.
    Local {
        text: Arc<str>,
        planned: Arc<Planned>,
        params: Vec<Option<String>>,
        done: bool,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Statements {
    map: HashMap<Bytes, Statement, RandomState>,
    next: u64,
}

impl Statements {
    pub fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn get(&self, name: &[u8]) -> Option<&Statement> {
        self.map.get(name)
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Statement> {
        self.map.get_mut(name)
    }

    pub fn insert(&mut self, statement: Statement) {
        self.map.insert(statement.name.clone(), statement);
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Statement> {
        if self.map.is_empty() {
            return None;
        }
        self.map.remove(name)
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn clear(&mut self) {
        self.map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A RowDescription of one column `n`.
    fn frame(table: u32, attnum: i16, type_oid: u32) -> Vec<u8> {
        let mut body = vec![0, 1, b'n', 0];
        body.extend(table.to_be_bytes());
        body.extend(attnum.to_be_bytes());
        body.extend(type_oid.to_be_bytes());
        body.extend([0, 8, 255, 255, 255, 255, 0, 0]);
        let length = u32::try_from(body.len() + 4).unwrap();
        [vec![b'T'], length.to_be_bytes().to_vec(), body].concat()
    }

    #[test]
    fn tables_have_other_numbers_on_another_shard() {
        let here = Described::of(&frame(16400, 1, 20));
        assert!(matches!(&here, Described::Columns(columns) if columns.len() == 1));
        assert_eq!(here, Described::of(&frame(16512, 3, 20)));
        assert_ne!(here, Described::of(&frame(16400, 1, 23)));
        assert_ne!(here, Described::of(b"n\0\0\0\x04"));
        assert_ne!(here, Described::of(b"T"));
    }
}
