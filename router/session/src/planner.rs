//! Analysis and planning of statement texts, with a cache that all sessions share.

use crate::statements::Key;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use shardgate_plan::snapshot::Snapshot;
use shardgate_plan::{Compiled, Context, compile_text};
use shardgate_sql::SqlError;
use shardgate_sql::facts::Facts;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

/// A statement analysed and compiled against one snapshot.
#[derive(Debug)]
pub struct Planned {
    pub facts: Facts,
    pub compiled: Compiled,
    /// The epoch of the snapshot.
    pub epoch: [u8; 16],
    /// Where the statement stands in the text that was planned: without the blanks and semicolons around it.
    pub piece: Range<usize>,
}

/// The shared cache of planned statements. It is bounded by the bytes of the texts (times a factor for what hangs on
/// them); the least used entries go first.
pub struct Planner {
    cache: Cache<PlanKey, Arc<Planned>, ByText>,
    /// What home's primary told clients at their login, by all that it depends on.
    welcomes: Cache<Login, Arc<BTreeMap<String, String>>>,
    /// Statements that a server has parsed without an error, for a role.
    parsed: Cache<(Key, Box<str>), (), ByKey>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner")
            .field("entries", &self.cache.len())
            .finish()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PlanKey {
    text: Box<str>,
    user: Box<str>,
    search_path: Option<Box<[String]>>,
    declared: Box<[u32]>,
    epoch: [u8; 16],
}

/// The key of a look-up; it borrows, and hashes as `PlanKey` does.
#[derive(Clone, Copy, Debug)]
struct PlanKeyRef<'a> {
    text: &'a str,
    user: &'a str,
    search_path: Option<&'a [String]>,
    declared: &'a [u32],
    epoch: [u8; 16],
}

impl PlanKey {
    fn as_ref(&self) -> PlanKeyRef<'_> {
        PlanKeyRef {
            text: &self.text,
            user: &self.user,
            search_path: self.search_path.as_deref(),
            declared: &self.declared,
            epoch: self.epoch,
        }
    }
}

impl Hash for PlanKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.user.hash(state);
        self.search_path.hash(state);
        self.declared.hash(state);
        self.epoch.hash(state);
    }
}

impl Hash for PlanKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Equivalent<PlanKey> for PlanKeyRef<'_> {
    fn equivalent(&self, key: &PlanKey) -> bool {
        *self.text == *key.text
            && self.epoch == key.epoch
            && *self.user == *key.user
            && self.declared == &*key.declared
            && self.search_path == key.search_path.as_deref()
    }
}

#[derive(Clone)]
struct ByText;

/// What facts and plan weigh beside their text, as measured: a base, and a multiple of the text's bytes.
const WEIGHT_BASE: u64 = 2560;
const WEIGHT_FACTOR: u64 = 80;

impl Weighter<PlanKey, Arc<Planned>> for ByText {
    fn weight(&self, key: &PlanKey, _: &Arc<Planned>) -> u64 {
        WEIGHT_BASE + key.text.len() as u64 * WEIGHT_FACTOR
    }
}

#[derive(Clone)]
struct ByKey;

impl Weighter<(Key, Box<str>), ()> for ByKey {
    fn weight(&self, key: &(Key, Box<str>), (): &()) -> u64 {
        256 + key.0.text.len() as u64
    }
}

/// What the parameters that a client is told at its login depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Login {
    pub user: String,
    pub database: String,
    /// The settings that the client sent.
    pub startup: BTreeMap<String, String>,
    pub epoch: [u8; 16],
}

/// Logins that are remembered.
const LOGINS_MAX: usize = 256;

/// What a text holds.
pub(crate) enum Texts {
    /// One statement.
    One(Arc<Planned>),
    /// None, or several: where they stand.
    Pieces(Vec<Range<usize>>),
}

impl Planner {
    pub fn new(cache_bytes: u64) -> Planner {
        let entries = usize::try_from(cache_bytes / 2048)
            .unwrap_or(usize::MAX)
            .max(16);
        Planner {
            cache: Cache::with_weighter(entries, cache_bytes.max(1 << 20), ByText),
            welcomes: Cache::new(LOGINS_MAX),
            parsed: Cache::with_weighter(entries, (cache_bytes / 8).max(1 << 18), ByKey),
        }
    }

    /// What a client with the same start-up was told under this epoch.
    pub(crate) fn welcome(&self, login: &Login) -> Option<Arc<BTreeMap<String, String>>> {
        self.welcomes.get(login)
    }

    pub(crate) fn note_welcome(&self, login: Login, told: Arc<BTreeMap<String, String>>) {
        self.welcomes.insert(login, told);
    }

    /// A server has parsed the statement for the role.
    pub(crate) fn note_parsed(&self, key: Key, role: &str) {
        let key = (key, role.into());
        if self.parsed.get(&key).is_none() {
            self.parsed.insert(key, ());
        }
    }

    /// Whether some server has parsed the statement for the role.
    pub(crate) fn was_parsed(&self, key: Key, role: &str) -> bool {
        self.parsed.get(&(key, role.into())).is_some()
    }

    /// The plan of a text that holds one statement; else where its statements stand.
    ///
    /// # Errors
    /// A text that Postgres's scanner would refuse.
    pub(crate) fn texts(
        &self,
        text: &str,
        context: &Context<'_>,
        snapshot: &Snapshot,
    ) -> Result<Texts, SqlError> {
        let key = PlanKeyRef {
            text,
            user: context.user,
            search_path: context.search_path,
            declared: context.declared,
            epoch: snapshot.epoch.id,
        };
        // Sessions with temporary objects have names of their own and are not cached.
        let cached = context.temporary.is_empty() && !context.transform_null_equals;
        if cached && let Some(planned) = self.cache.get(&key) {
            return Ok(Texts::One(planned));
        }
        let mut pieces = shardgate_sql::split(text)?;
        if pieces.len() != 1 {
            return Ok(Texts::Pieces(pieces));
        }
        let piece = pieces.pop().unwrap_or(0..text.len());
        let planned = Arc::new(fresh(text, piece, context, snapshot));
        if cached {
            let key = PlanKey {
                text: text.into(),
                user: context.user.into(),
                search_path: context.search_path.map(Into::into),
                declared: context.declared.into(),
                epoch: snapshot.epoch.id,
            };
            self.cache.insert(key, planned.clone());
        }
        Ok(Texts::One(planned))
    }
}

/// A plan that is not looked up: of the empty text, too.
pub(crate) fn fresh(
    text: &str,
    piece: Range<usize>,
    context: &Context<'_>,
    snapshot: &Snapshot,
) -> Planned {
    let statement = text.get(piece.clone()).unwrap_or_default();
    let facts = shardgate_sql::analyze(statement);
    let compiled = compile_text(&facts, statement, snapshot, context);
    Planned {
        facts,
        compiled,
        epoch: snapshot.epoch.id,
        piece,
    }
}
