//! The prepared statements and portals of one client, and what identifies a prepared statement on a backend.

use crate::planner::Planned;
use bytes::Bytes;
use foldhash::fast::RandomState;
use shardgate_wire::backend::{Field, parameter_description, row_description};
use shardgate_wire::frame::HEADER_BYTES;
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

/// The frames that describe a statement's parameters and result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub parameters: Bytes,
    pub result: Bytes,
}

/// Postgres gives objects of users numbers from here on (transam.h, FirstNormalObjectId).
const FIRST_OF_USERS: u32 = 16_384;

impl Shape {
    /// What another server, or the same one later, says of the statement means the same to a client. Numbers of tables, of
    /// their columns, and of types that users made are each server's own.
    pub fn means(&self, other: &Shape) -> bool {
        same_types(&self.parameters, &other.parameters) && same_columns(&self.result, &other.result)
    }
}

fn same_type(one: u32, other: u32) -> bool {
    one == other || (one >= FIRST_OF_USERS && other >= FIRST_OF_USERS)
}

fn same_types(one: &[u8], other: &[u8]) -> bool {
    let types = |frame: &[u8]| parameter_description(frame.get(HEADER_BYTES..)?).ok();
    match (types(one), types(other)) {
        (Some(one), Some(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(&other)
                    .all(|(one, other)| same_type(*one, *other))
        }
        (None, _) | (_, None) => one == other,
    }
}

fn same_columns(one: &[u8], other: &[u8]) -> bool {
    fn columns(frame: &[u8]) -> Option<Vec<Field<'_>>> {
        (frame.first() == Some(&b'T'))
            .then(|| row_description(frame.get(HEADER_BYTES..)?).ok())
            .flatten()
    }
    match (columns(one), columns(other)) {
        (Some(one), Some(other)) => {
            let same = |(one, other): (&Field<'_>, &Field<'_>)| {
                one.name == other.name
                    && same_type(one.type_oid, other.type_oid)
                    && (one.size, one.modifier, one.format)
                        == (other.size, other.modifier, other.format)
            };
            one.len() == other.len() && one.iter().zip(&other).all(same)
        }
        // NoData.
        (None, None) => one == other,
        (Some(_), None) | (None, Some(_)) => false,
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
    use bytes::{BufMut, BytesMut};
    use shardgate_wire::backend::put;

    /// One column, of the table with this number, and one parameter.
    fn shape(name: &str, table: u32, ty: u32, parameter: u32) -> Shape {
        let mut parameters = BytesMut::new();
        put::parameter_description(&mut parameters, &[parameter]);
        let mut body = BytesMut::new();
        body.put_u16(1);
        body.extend_from_slice(name.as_bytes());
        body.put_u8(0);
        body.put_u32(table);
        body.put_i16(1);
        body.put_u32(ty);
        body.put_i16(8);
        body.put_i32(-1);
        body.put_i16(0);
        let mut result = BytesMut::from(&b"T"[..]);
        result.put_u32(u32::try_from(body.len() + 4).unwrap());
        result.extend_from_slice(&body);
        Shape {
            parameters: parameters.freeze(),
            result: result.freeze(),
        }
    }

    #[test]
    fn numbers_of_another_server_change_no_shape() {
        let told = shape("v", 16_500, 20, 25);
        let check = |other: &Shape, expect: bool| {
            assert_eq!(told.means(other), expect, "{other:?}");
            assert_eq!(other.means(&told), expect, "{other:?}");
        };
        check(&told.clone(), true);
        check(&shape("v", 20_000, 20, 25), true);
        check(&shape("w", 16_500, 20, 25), false);
        check(&shape("v", 16_500, 23, 25), false);
        check(&shape("v", 16_500, 20, 20), false);
        check(&Shape::default(), false);
        let nothing = Shape {
            result: Bytes::from_static(b"n\0\0\0\x04"),
            ..told.clone()
        };
        check(&nothing, false);
        assert!(nothing.means(&nothing.clone()));
        // An enum has another number on each shard.
        let told = shape("v", 16_500, 16_600, 16_600);
        assert!(told.means(&shape("v", 16_500, 17_000, 17_000)));
        assert!(!told.means(&shape("v", 16_500, 25, 17_000)));
    }
}
