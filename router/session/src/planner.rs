//! Analysis and planning of statement texts, with a cache that all sessions share.

use crate::statements::Key;
use foldhash::fast::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};
use shardgate_plan::snapshot::Snapshot;
use shardgate_plan::{Compiled, Context, Decision, Param, Route, Traits, compile, compile_text};
use shardgate_sql::SqlError;
use shardgate_sql::facts::{Facts, Statement};
use shardgate_sql::lift::{TextShape, analyze_lifted, lift};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
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
    /// A query of which a session has nothing to note but that it has run, whatever its state: it goes where the plan says,
    /// it is proven to write nothing and to leave nothing behind, and no other client's things show in it.
    pub quiet: bool,
}

impl Planned {
    fn new(facts: Facts, compiled: Compiled, epoch: [u8; 16], piece: Range<usize>) -> Planned {
        let Traits {
            replica_safe: _,
            read_only,
            taints,
            needs_pin,
            draws,
            shows_statements,
            sets,
            temporary,
            ddl,
            no_transaction: _,
        } = &compiled.traits;
        let leaves_nothing = *read_only
            && taints.is_none()
            && needs_pin.is_none()
            && !draws
            && shows_statements.is_none()
            && sets.is_empty()
            && !temporary
            && !ddl;
        let is_planned = match &compiled.route {
            Route::Home | Route::Any | Route::Keyed(_) | Route::One(_) => true,
            Route::AllShards
            | Route::Gather(..)
            | Route::Spread(..)
            | Route::Call(_)
            | Route::Refused(_) => false,
        };
        Planned {
            quiet: matches!(facts.statement, Statement::Query(_)) && leaves_nothing && is_planned,
            facts,
            compiled,
            epoch,
            piece,
        }
    }
}

/// The shared cache of planned statements. It is bounded by the bytes of the texts (times a factor for what hangs on
/// them); the least used entries go first.
pub struct Planner {
    cache: Cache<PlanKey, Entry, ByText, RandomState>,
    /// What home's primary told clients at their login, by all that it depends on.
    welcomes: Cache<Login, Welcome>,
    /// Start-up settings of sessions, so that those which are alike share one map.
    startups: Cache<StartUp, StartUp>,
    /// Statements that a server has parsed without an error, for a role.
    parsed: Cache<(Key, Box<str>), (), ByKey, RandomState>,
    /// Of the digests of statements; chosen at random, so that nobody can make up texts that have the same.
    digests: RandomState,
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

impl<'a> PlanKeyRef<'a> {
    /// None: sessions with names of their own are not cached.
    fn new(text: &'a str, context: &Context<'a>, snapshot: &Snapshot) -> Option<PlanKeyRef<'a>> {
        (context.temporary.is_empty() && !context.transform_null_equals).then_some(PlanKeyRef {
            text,
            user: context.user,
            search_path: context.search_path,
            declared: context.declared,
            epoch: snapshot.epoch.id,
        })
    }

    fn to_owned(self) -> PlanKey {
        PlanKey {
            text: self.text.into(),
            user: self.user.into(),
            search_path: self.search_path.map(Into::into),
            declared: self.declared.into(),
            epoch: self.epoch,
        }
    }
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

/// What is known of a text, or of all texts of one shape.
#[derive(Clone, Debug)]
enum Entry {
    Plan(Arc<Planned>),
    /// A shape whose texts are planned one by one.
    Odd,
}

impl Weighter<PlanKey, Entry> for ByText {
    fn weight(&self, key: &PlanKey, _: &Entry) -> u64 {
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

/// What a server said to such a login.
#[derive(Clone, Debug)]
pub(crate) struct Welcome {
    /// The parameters of ParameterStatus.
    pub told: Arc<BTreeMap<String, String>>,
    /// `default_transaction_isolation`, which is none of them.
    pub isolation: Option<String>,
}

/// Start-up settings that sessions share.
type StartUp = Arc<BTreeMap<String, String>>;

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
            cache: Cache::with(
                entries,
                cache_bytes.max(1 << 20),
                ByText,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
            welcomes: Cache::new(LOGINS_MAX),
            startups: Cache::new(LOGINS_MAX),
            parsed: Cache::with(
                entries,
                (cache_bytes / 8).max(1 << 18),
                ByKey,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
            digests: RandomState::default(),
        }
    }

    /// What a client with the same start-up was told under this epoch.
    pub(crate) fn welcome(&self, login: &Login) -> Option<Welcome> {
        self.welcomes.get(login)
    }

    pub(crate) fn note_welcome(&self, login: Login, welcome: Welcome) {
        self.welcomes.insert(login, welcome);
    }

    /// A hash of a statement, the same for all sessions.
    pub(crate) fn digest(&self, text: &str, types: &[u32]) -> u64 {
        self.digests.hash_one((text, types))
    }

    /// The map with the same settings that other sessions have already; else this one from now on.
    pub(crate) fn shared_settings(&self, settings: &StartUp) -> StartUp {
        if let Some(known) = self.startups.get(settings) {
            return known;
        }
        self.startups.insert(settings.clone(), settings.clone());
        settings.clone()
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
        let key = PlanKeyRef::new(text, context, snapshot);
        if let Some(key) = &key
            && let Some(Entry::Plan(planned)) = self.cache.get(key)
        {
            return Ok(Texts::One(planned));
        }
        let mut pieces = shardgate_sql::split(text)?;
        if pieces.len() != 1 {
            return Ok(Texts::Pieces(pieces));
        }
        let piece = pieces.pop().unwrap_or(0..text.len());
        let planned = Arc::new(fresh(text, piece, context, snapshot));
        if let Some(key) = key {
            self.cache
                .insert(key.to_owned(), Entry::Plan(planned.clone()));
        }
        Ok(Texts::One(planned))
    }

    /// The plan of all texts of the text's shape, for which the lifted constants are parameters. None: the text has to be
    /// planned by itself.
    pub(crate) fn lifted(
        &self,
        text: &str,
        context: &Context<'_>,
        snapshot: &Snapshot,
    ) -> Option<(Arc<Planned>, TextShape)> {
        let shape = lift(text)?;
        let key = PlanKeyRef::new(&shape.text, context, snapshot)?;
        let planned = match self.cache.get(&key) {
            Some(Entry::Plan(planned)) => Some(planned),
            Some(Entry::Odd) => None,
            None => {
                let planned = plan_shape(text, &shape, context, snapshot).map(Arc::new);
                let entry = planned.clone().map_or(Entry::Odd, Entry::Plan);
                self.cache.insert(key.to_owned(), entry);
                planned
            }
        };
        planned.map(|planned| (planned, shape))
    }
}

/// Plans a shape by one of its texts. None: its constants are no mere parameters, or it goes to no single server.
fn plan_shape(
    text: &str,
    shape: &TextShape,
    context: &Context<'_>,
    snapshot: &Snapshot,
) -> Option<Planned> {
    let facts = analyze_lifted(text, shape)?;
    let declared: Vec<u32> = shape.literals.iter().map(|l| l.class.oid()).collect();
    let context = Context {
        declared: &declared,
        ..context.clone()
    };
    // Without the text: rows are gathered by the text of each statement, never by that of another one of its shape.
    let compiled_shape = compile(&facts, snapshot, &context);
    let planned = Planned::new(facts, compiled_shape, snapshot.epoch.id, 0..text.len());
    match &planned.compiled.route {
        Route::Home | Route::Any | Route::Keyed(_) | Route::One(_) => {}
        Route::AllShards
        | Route::Gather(..)
        | Route::Spread(..)
        | Route::Call(_)
        | Route::Refused(_) => return None,
    }
    // The text by itself must be no other than what its shape says of it.
    let own = compiled(
        shardgate_sql::analyze(text),
        text,
        0..text.len(),
        &context,
        snapshot,
    );
    let values = lifted_values(text, shape);
    let same = own.compiled.traits == planned.compiled.traits
        && own.compiled.traits.sets.is_empty()
        && without_gathering(own.compiled.decide(&[], snapshot))
            == planned.compiled.decide(&as_params(&values), snapshot);
    same.then_some(planned)
}

/// A shape says of such a statement that it is refused; then it is planned by itself.
fn without_gathering(decision: Decision) -> Decision {
    match decision {
        Decision::Gather(_, refusal) => Decision::Refused(refusal),
        Decision::Shard(_)
        | Decision::Any
        | Decision::AllShards
        | Decision::Spread(_)
        | Decision::Call(_)
        | Decision::Refused(_) => decision,
    }
}

/// The lifted constants of a text.
pub(crate) fn lifted_values<'a>(text: &'a str, shape: &TextShape) -> Vec<Cow<'a, str>> {
    shape.literals.iter().map(|l| l.value(text)).collect()
}

pub(crate) fn as_params<'a>(values: &'a [Cow<'a, str>]) -> Vec<Param<'a>> {
    let param = |value: &'a Cow<'a, str>| Param {
        binary: false,
        value: Some(value.as_bytes()),
    };
    values.iter().map(param).collect()
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
    compiled(facts, statement, piece, context, snapshot)
}

fn compiled(
    facts: Facts,
    statement: &str,
    piece: Range<usize>,
    context: &Context<'_>,
    snapshot: &Snapshot,
) -> Planned {
    let compiled = compile_text(&facts, statement, snapshot, context);
    Planned::new(facts, compiled, snapshot.epoch.id, piece)
}
