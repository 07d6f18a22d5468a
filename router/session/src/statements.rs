//! The prepared statements and portals of one client, and what identifies a prepared statement on a backend.

use crate::planner::Planned;
use bytes::Bytes;
use foldhash::fast::RandomState;
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
    Remote { planned: Arc<Planned> },
    /// The router answers it.
    Local {
        text: Arc<str>,
        planned: Arc<Planned>,
        params: Vec<Option<String>>,
        done: bool,
    },
}

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

    pub fn insert(&mut self, name: &[u8], thing: T) {
        if name.is_empty() {
            self.unnamed = Some(thing);
        } else {
            self.named.insert(Bytes::copy_from_slice(name), thing);
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

    pub fn insert(&mut self, statement: Statement) {
        let name = statement.name.clone();
        self.map.insert(&name, Box::new(statement));
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Box<Statement>> {
        self.map.remove(name)
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn clear(&mut self) {
        self.map.clear();
    }
}
