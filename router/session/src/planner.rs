//! Analysis and planning of statement texts, with a cache that all sessions share.

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use shardgate_plan::snapshot::Snapshot;
use shardgate_plan::{Compiled, Context, compile_text};
use shardgate_sql::facts::Facts;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A statement analysed and compiled against one snapshot.
#[derive(Debug)]
pub struct Planned {
    pub facts: Facts,
    pub compiled: Compiled,
    /// The epoch of the snapshot.
    pub epoch: [u8; 16],
}

/// The shared cache of planned statements. It is bounded by the bytes of the texts (times a factor for what hangs on
/// them); the least used entries go first.
pub struct Planner {
    cache: Cache<PlanKey, Arc<Planned>, ByText>,
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
    text: Arc<str>,
    user: Arc<str>,
    search_path: Option<Arc<[String]>>,
    declared: Arc<[u32]>,
    epoch: [u8; 16],
}

impl Hash for PlanKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.user.hash(state);
        self.search_path.hash(state);
        self.declared.hash(state);
        self.epoch.hash(state);
    }
}

#[derive(Clone)]
struct ByText;

/// What facts and plan weigh beside their text, as a rough multiple of the text's bytes.
const WEIGHT_FACTOR: u64 = 16;

impl Weighter<PlanKey, Arc<Planned>> for ByText {
    fn weight(&self, key: &PlanKey, _: &Arc<Planned>) -> u64 {
        512 + key.text.len() as u64 * WEIGHT_FACTOR
    }
}

impl Planner {
    pub fn new(cache_bytes: u64) -> Planner {
        let entries = usize::try_from(cache_bytes / 2048)
            .unwrap_or(usize::MAX)
            .max(16);
        Planner {
            cache: Cache::with_weighter(entries, cache_bytes.max(1 << 20), ByText),
        }
    }

    /// The plan of one statement's text. Sessions with temporary objects have names of their own and are not cached.
    pub fn plan(&self, text: &str, context: &Context<'_>, snapshot: &Snapshot) -> Arc<Planned> {
        if !context.temporary.is_empty() || context.transform_null_equals {
            return Arc::new(fresh(text, context, snapshot));
        }
        let key = PlanKey {
            text: Arc::from(text),
            user: Arc::from(context.user),
            search_path: context.search_path.map(Arc::from),
            declared: Arc::from(context.declared),
            epoch: snapshot.epoch.id,
        };
        if let Some(planned) = self.cache.get(&key) {
            return planned;
        }
        let planned = Arc::new(fresh(text, context, snapshot));
        self.cache.insert(key, planned.clone());
        planned
    }
}

fn fresh(text: &str, context: &Context<'_>, snapshot: &Snapshot) -> Planned {
    let facts = shardgate_sql::analyze(text);
    let compiled = compile_text(&facts, text, snapshot, context);
    Planned {
        facts,
        compiled,
        epoch: snapshot.epoch.id,
    }
}
