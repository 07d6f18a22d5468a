//! Code that runs when the schema is changed or a table is truncated, besides what the statement says: event triggers,
//! defaults, checks, triggers; and code of temporary objects, which nobody sees later.
//!
//! Where a statement goes is decided elsewhere; here it is refused, or pins its session.

use crate::blind::{self, of_function, of_relation};
use crate::decision::{Compiled, Context, Refusal, Route};
use crate::functions::class;
use crate::path::{SearchPath, Target, is_temporary};
use crate::query;
use crate::reach::{self, any_spread};
use crate::snapshot::{Relation, Snapshot};
use shardgate_sql::facts::{Facts, Name, Statement, Utility};

/// Statements that make code which is called by name.
const MAKE_CODE: &[&str] = &[
    "CREATE AGGREGATE",
    "CREATE CAST",
    "CREATE DOMAIN",
    "CREATE FUNCTION",
    "CREATE OPERATOR",
    "CREATE OPERATOR CLASS",
    "CREATE PROCEDURE",
];

/// Statements that run expressions which they hold, or which are stored with their tables.
const RUN_CODE: &[&str] = &[
    "ALTER DOMAIN",
    "ALTER TABLE",
    "CREATE INDEX",
    "CREATE TABLE",
    "REFRESH MATERIALIZED VIEW",
    "TRUNCATE TABLE",
];

/// Adds to what was compiled for a change of the schema.
pub(crate) fn see_to(
    mut compiled: Compiled,
    facts: &Facts,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Compiled {
    let utility = match &facts.statement {
        Statement::Utility(utility) => Some(utility),
        Statement::Empty
        | Statement::Query(_)
        | Statement::Explain { .. }
        | Statement::Command(_)
        | Statement::Unparsed { .. } => None,
    };
    // Event triggers are not fired for changes of themselves.
    let fires = compiled.traits.ddl
        && !utility.is_some_and(|utility| utility.tag.ends_with(" EVENT TRIGGER"));
    let traits = &mut compiled.traits;
    if fires && traits.taints.is_none() {
        traits.taints.clone_from(&snapshot.event_code);
    }
    let statement = utility.map(|utility| Ddl {
        utility,
        facts,
        snapshot,
        context,
        path: SearchPath::effective(snapshot, context),
    });
    if let Some(statement) = &statement
        && traits.taints.is_none()
    {
        traits.taints = statement.leaves_behind();
    }
    if snapshot.shards.len() == 1 || matches!(compiled.route, Route::Refused(_)) {
        return compiled;
    }
    let event = snapshot.blind_event.as_ref().filter(|_| fires);
    let refusal = event
        .map(|why| {
            Refusal::unsupported(
                "the schema cannot be changed here",
                blind::detail(why),
                "Drop or disable the event trigger, or let its function read home tables only.",
            )
        })
        .or_else(|| statement.and_then(|statement| statement.refused()));
    if let Some(refusal) = refusal {
        compiled.route = Route::Refused(refusal);
    }
    compiled
}

struct Ddl<'d> {
    utility: &'d Utility,
    facts: &'d Facts,
    snapshot: &'d Snapshot,
    context: &'d Context<'d>,
    path: SearchPath,
}

impl Ddl<'_> {
    /// Why the code that it runs may leave something behind on the connection.
    fn leaves_behind(&self) -> Option<String> {
        if !RUN_CODE.contains(&self.utility.tag) {
            return None;
        }
        let words = self.facts.identifiers.iter();
        let call = words.map(|word| bare(word)).find(|name| {
            !self.is_column(&name.name) && !class(name, self.snapshot).leaves_nothing()
        });
        let stored = self.relations().into_iter().find_map(|relation| {
            let code = relation.runs_code.as_ref()?;
            Some(format!("table {}: {code}", relation.name))
        });
        call.map(|name| format!("function {}", name.name))
            .or(stored)
            .or_else(|| self.snapshot.cast_code.clone())
    }

    fn refused(&self) -> Option<Refusal> {
        let utility = self.utility;
        if MAKE_CODE.contains(&utility.tag) && self.is_temporary() && any_spread(self.snapshot) {
            return Some(Refusal::unsupported(
                format!(
                    "{} in a temporary schema is not supported while tables are distributed",
                    utility.tag
                ),
                "What it reads would not be known to the router.",
                "Create it in a schema of its own.",
            ));
        }
        let runs = matches!(utility.tag, "CREATE TABLE AS" | "CREATE MATERIALIZED VIEW");
        if let Some(query) = utility.query.as_deref()
            && (runs || self.is_temporary())
        {
            let compiled = query::compile(query, self.facts, None, self.snapshot, self.context);
            if let Route::Refused(refusal) = compiled.route {
                return Some(refusal);
            }
        }
        let expressions = ["ALTER DOMAIN", "ALTER TABLE", "CREATE INDEX"].contains(&utility.tag);
        if let Some(why) = self.snapshot.blind_cast.as_ref().filter(|_| expressions) {
            return Some(blind::refuse("the statement's expressions".to_owned(), why));
        }
        let makes = utility.tag.starts_with("CREATE ") || utility.tag.starts_with("ALTER ");
        if makes && self.is_temporary() {
            self.hidden_code()
        } else {
            None
        }
    }

    /// Code that a temporary relation would get: of it nothing is known when the relation is used.
    fn hidden_code(&self) -> Option<Refusal> {
        let mut words = self.facts.identifiers.iter();
        let called = words.find_map(|word| of_function(word, self.snapshot));
        let copied = || {
            let mut relations = self.relations().into_iter();
            relations.find_map(|relation| of_relation(relation, true))
        };
        let named = || {
            let spread = |word: &&String| reach::names_spread(word, self.snapshot);
            let word = self.facts.identifiers.iter().find(spread)?;
            let rule = matches!(
                self.utility.tag,
                "CREATE RULE" | "CREATE POLICY" | "ALTER POLICY"
            );
            rule.then(|| {
                Refusal::unsupported(
                    format!("{} of a temporary relation cannot use table \"{word}\"", self.utility.tag),
                    "What is read or changed through it would not be seen, and the table is not on the home shard alone.",
                    "Write it for a table that is not temporary.",
                )
            })
        };
        called.or_else(copied).or_else(named)
    }

    /// It makes or changes something temporary.
    fn is_temporary(&self) -> bool {
        let words = || self.facts.identifiers.iter().any(|word| is_temporary(word));
        let targets = || {
            let mut targets = self.utility.targets.iter();
            targets.any(|name| matches!(self.target(name), Target::Temporary))
        };
        let creates = || {
            self.utility.tag.starts_with("CREATE ") && self.path.creates_temporary(self.snapshot)
        };
        self.utility.temporary || words() || targets() || creates()
    }

    fn target(&self, name: &Name) -> Target<'_> {
        self.path.relation(name, self.snapshot, self.context)
    }

    /// The relations that it names.
    fn relations(&self) -> Vec<&Relation> {
        let names = self.utility.targets.iter().chain(&self.utility.others);
        let known = names.filter_map(|name| match self.target(name) {
            Target::Known(relation) | Target::Ambiguous(relation) => Some(relation.as_ref()),
            Target::Temporary | Target::System | Target::Unknown => None,
        });
        known.collect()
    }

    fn is_column(&self, word: &str) -> bool {
        let relations = self.relations();
        let mut columns = relations.iter().flat_map(|relation| &relation.columns);
        columns.any(|column| column.name == word)
    }
}

fn bare(word: &str) -> Name {
    Name {
        schema: None,
        name: word.to_owned(),
    }
}
