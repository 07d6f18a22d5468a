//! The prepared statements and portals of one client, and what identifies a prepared statement on a backend.

use crate::planner::Planned;
use crate::spread::BoundSpread;
use bytes::Bytes;
use foldhash::fast::RandomState;
use shardgate_wire::backend::{Field, parameter_description, row_description};
use shardgate_wire::frame::HEADER_BYTES;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What must be equal for two prepared statements to be the same one on a backend: the text and the declared types, and
/// all that was in force when the text was parsed, since literals keep the meaning that they had then. The login role is
/// the pool's. The catalog's epoch is part of it, so that a statement parsed before a change of schema is parsed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// A hash of text and types.
    pub digest: u64,
    pub text: Arc<str>,
    pub types: Arc<[u32]>,
    /// Hash of the settings in force at the client's Parse.
    pub settings: u64,
    /// Id of the epoch in force when it is used.
    pub epoch: [u8; 16],
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The digest stands for the text and the types, which are long.
        state.write_u64(self.digest);
        state.write_u64(self.settings);
        state.write(&self.epoch);
    }
}

/// A statement that the client has prepared.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Unique in the session: tells an unnamed statement from its successor.
    pub id: u64,
    pub name: Bytes,
    pub text: Arc<str>,
    pub types: Arc<[u32]>,
    /// Of text and types, the same in all sessions. 0 for a statement without a name, which is never looked for.
    pub digest: u64,
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
            digest: self.digest,
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
    Remote { planned: Arc<Planned>, ran: bool },
    /// It stands on home, and is carried out by several shards.
    Spread(Arc<BoundSpread>),
    /// The router answers it.
    Local {
        text: Arc<str>,
        planned: Arc<Planned>,
        params: Vec<Option<String>>,
        done: bool,
    },
}

/// A change of the client's statements since its last Sync: all from it on can be taken back, if an error before it makes
/// the server skip the message that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change(usize);

/// Things of the client by name. The one without a name, which is the one that most clients use, is found at once.
#[derive(Debug)]
pub(crate) struct Named<T> {
    unnamed: Option<T>,
    named: HashMap<Bytes, T, RandomState>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named {
            unnamed: None,
            named: HashMap::default(),
        }
    }
}

impl<T> Named<T> {
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        if name.is_empty() {
            self.unnamed.as_ref()
        } else {
            self.named.get(name)
        }
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        if name.is_empty() {
            self.unnamed.as_mut()
        } else {
            self.named.get_mut(name)
        }
    }

    /// Answers what had the name before.
    pub fn insert(&mut self, name: &[u8], thing: T) -> Option<T> {
        if name.is_empty() {
            self.unnamed.replace(thing)
        } else {
            self.named.insert(Bytes::copy_from_slice(name), thing)
        }
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<T> {
        if name.is_empty() {
            self.unnamed.take()
        } else {
            self.named.remove(name)
        }
    }

    pub fn len(&self) -> usize {
        self.named.len() + usize::from(self.unnamed.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.unnamed.is_none() && self.named.is_empty()
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.unnamed.iter().chain(self.named.values())
    }

    pub fn any(&self, test: impl Fn(&[u8], &T) -> bool) -> bool {
        self.unnamed.as_ref().is_some_and(|thing| test(b"", thing))
            || self.named.iter().any(|(name, thing)| test(name, thing))
    }

    /// Takes out all that have a name.
    pub fn take_named(&mut self) -> impl Iterator<Item = (Bytes, T)> + '_ {
        self.named.drain()
    }

    pub fn clear(&mut self) {
        self.unnamed = None;
        if !self.named.is_empty() {
            self.named.clear();
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Statements {
    /// Boxed, for most sessions have few and a statement is large.
    map: Named<Box<Statement>>,
    next: u64,
    /// What each name stood for before it was changed, since the last Sync.
    before: Vec<(Bytes, Option<Box<Statement>>)>,
}

impl Statements {
    pub fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn get(&self, name: &[u8]) -> Option<&Statement> {
        self.map.get(name).map(Box::as_ref)
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Statement> {
        self.map.get_mut(name).map(Box::as_mut)
    }

    pub fn insert(&mut self, statement: Statement) -> Change {
        let change = Change(self.before.len());
        let name = statement.name.clone();
        let before = self.map.insert(&name, Box::new(statement));
        self.before.push((name, before));
        change
    }

    /// What a message that leaves them as they are has changed.
    pub fn no_change(&self) -> Change {
        Change(self.before.len())
    }

    /// As `remove`, by a message that may turn out to be skipped. The flag: whether there was one.
    pub fn close(&mut self, name: &[u8]) -> (Change, bool) {
        let change = Change(self.before.len());
        let statement = self.map.remove(name);
        let existed = statement.is_some();
        if let Some(statement) = statement {
            self.before.push((statement.name.clone(), Some(statement)));
        }
        (change, existed)
    }

    /// As `close`, of all that have a name: the unnamed one outlives DEALLOCATE ALL.
    pub fn close_all(&mut self) -> Change {
        let change = Change(self.before.len());
        let all = self.map.take_named();
        self.before
            .extend(all.map(|(name, statement)| (name, Some(statement))));
        change
    }

    /// The change and all behind it never happened.
    pub fn undo(&mut self, change: Change) {
        while self.before.len() > change.0
            && let Some((name, before)) = self.before.pop()
        {
            match before {
                Some(statement) => self.map.insert(&name, statement),
                None => self.map.remove(&name),
            };
        }
    }

    /// All messages before have been answered.
    pub fn settle(&mut self) {
        self.before.clear();
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Box<Statement>> {
        self.map.remove(name)
    }

    pub fn len(&self) -> usize {
        self.map.len()
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
