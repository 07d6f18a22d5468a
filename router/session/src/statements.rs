//! The prepared statements and portals of one client, and what identifies a prepared statement on a backend.

use crate::planner::Planned;
use crate::spread::BoundSpread;
use bytes::Bytes;
use foldhash::fast::RandomState;
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
