//! SELECT, INSERT, UPDATE and DELETE -> a route: one shard by proof, home, any shard, or a refusal.

use crate::decision::{Compiled, Context, Decision, Refusal, Route, Traits};
use crate::functions::{Class, class};
use crate::ir::{LeafRelation, Scoped};
use crate::keyed::Keyed;
use crate::moving::{self, Moving};
use crate::proof::{is_distributed, is_reference, known};
use crate::resolve::{Resolver, TooComplex};
use crate::snapshot::{RelationKind, Snapshot};
use crate::{blind, calls, reach, traits};
use shardgate_sql::facts::{Facts, Name, Query};
use std::collections::HashSet;
use std::sync::Arc;

pub(crate) const HINT_BY_HAND: &str =
    "Rewrite the statement, or choose the shard by hand with SET shardgate.shard.";

/// `text`: the whole statement, if it is one that may be answered by gathering rows.
pub(crate) fn compile(
    query: &Query,
    facts: &Facts,
    text: Option<&str>,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Compiled {
    if let Some(call) = calls::whole(query) {
        let route = call.map_or_else(Route::Refused, Route::Call);
        return Compiled {
            route,
            traits: Traits::default(),
            because: Vec::new(),
            concerns: Moving::NONE,
        };
    }
    let mut resolver = Resolver::new(snapshot, context);
    let scoped = match resolver.statement(query) {
        Ok(scoped) => scoped,
        Err(TooComplex) => {
            return unanalysed(
                facts,
                snapshot,
                "it is too large or too deeply nested to be analysed",
            );
        }
    };
    let traits = traits::of_query(&resolver, facts);
    let mut because = Vec::new();
    let mut concerns = moving::named(facts, snapshot);
    let call = resolver
        .seen
        .functions
        .iter()
        .find(|name| calls::is_own(name));
    let route = if let Some(name) = call {
        Route::Refused(calls::misplaced(name))
    } else if snapshot.shards.len() == 1 {
        because.push("there is only one shard".to_owned());
        Route::Home
    } else {
        let planned = Planned {
            resolver: &resolver,
            facts,
            text,
            traits: &traits,
            snapshot,
        };
        planned
            .route(&scoped, &mut because, &mut concerns)
            .unwrap_or_else(Route::Refused)
    };
    Compiled {
        route,
        traits,
        because,
        concerns,
    }
}

/// A statement whose structure is not known: home, unless a name in it belongs to a table that home has not whole.
pub(crate) fn unanalysed(facts: &Facts, snapshot: &Snapshot, why: &str) -> Compiled {
    let traits = Traits {
        taints: Some(format!("statement not understood: {why}")),
        needs_pin: facts
            .identifiers
            .iter()
            .find(|word| traits::reads_session(&bare(word)))
            .map(|word| format!("function {word}")),
        draws: true,
        shows_statements: traits::shows_statements(facts),
        ddl: true,
        ..Traits::default()
    };
    let nothing_known = facts.identifiers.is_empty() && reach::any_spread(snapshot);
    if nothing_known && snapshot.shards.len() > 1 {
        let route = Route::Refused(Refusal::unsupported(
            "the statement is not understood",
            format!("It cannot be read: {why}. It may name a distributed table."),
            HINT_BY_HAND,
        ));
        return Compiled {
            route,
            traits,
            because: Vec::new(),
            concerns: Moving::NONE,
        };
    }
    if let Some(refusal) = blind::in_text(facts, snapshot).filter(|_| snapshot.shards.len() > 1) {
        return Compiled {
            route: Route::Refused(refusal),
            traits,
            because: Vec::new(),
            concerns: Moving::NONE,
        };
    }
    let suspect = |word: &&String| reach::names_unsafe(word, snapshot) || runs_text(word, snapshot);
    let named = facts.identifiers.iter().find(suspect);
    let route = match named {
        Some(word) if snapshot.shards.len() > 1 => Route::Refused(Refusal::unsupported(
            "the statement is not understood and names a table that is not on the home shard alone",
            format!("It names \"{word}\", and {why}."),
            HINT_BY_HAND,
        )),
        Some(_) | None => Route::Home,
    };
    Compiled {
        route,
        traits,
        because: vec![format!("not analysed: {why}")],
        concerns: moving::named(facts, snapshot),
    }
}

fn bare(word: &str) -> Name {
    Name {
        schema: None,
        name: word.to_owned(),
    }
}

/// A function that reads tables by its own or by given text, or one of the router's own, in a statement that is not understood.
fn runs_text(word: &str, snapshot: &Snapshot) -> bool {
    let name = bare(word);
    calls::is_own(&name)
        || snapshot.blind_functions.contains_key(word)
        || (class(&name, snapshot) == Class::Dynamic && reach::any_distributed(snapshot))
}

pub(crate) struct Planned<'p, 'a> {
    pub(crate) resolver: &'p Resolver<'a>,
    pub(crate) facts: &'p Facts,
    /// What the facts were taken from, if rows may be gathered for it.
    pub(crate) text: Option<&'p str>,
    pub(crate) traits: &'p Traits,
    pub(crate) snapshot: &'p Snapshot,
}

pub(crate) type Checked = Result<(), Refusal>;

impl Planned<'_, '_> {
    /// `concerns`: narrowed where it is known to be less.
    fn route(
        &self,
        scoped: &Scoped,
        because: &mut Vec<String>,
        concerns: &mut Moving,
    ) -> Result<Route, Refusal> {
        self.all_names_understood()?;
        self.no_hidden_tables()?;
        self.nothing_blind()?;
        let leaves = &self.resolver.leaves;
        let distributed = leaves.iter().any(is_distributed);
        let reference = leaves.iter().any(is_reference);
        if distributed || reference {
            self.nothing_runs_unseen()?;
            if let Some(route) = self.reference_write(scoped, because)? {
                return Ok(route);
            }
        }
        if distributed {
            return self.keyed(scoped, because, concerns);
        }
        let passive =
            !self.resolver.seen.writes && !self.resolver.seen.into && !self.resolver.seen.locking;
        let only_copies = leaves.iter().all(is_reference) && self.resolver.seen.home_view.is_none();
        let modelled = self.resolver.seen.opaque.is_none()
            && self.resolver.seen.user_operator.is_none()
            && self.resolver.seen.catalog_type.is_none();
        if only_copies && passive && modelled && self.resolver.seen.user_type.is_none() {
            let everywhere = |name| class(name, self.snapshot).anywhere();
            if self.resolver.seen.functions.iter().all(everywhere) {
                because.push(
                    "no tables but reference tables, and functions that compute alike on every shard"
                        .to_owned(),
                );
                return Ok(Route::Any);
            }
        }
        because.push("no distributed table: the home shard has every other row".to_owned());
        Ok(Route::Home)
    }

    /// A table's name that stands in the text and was not met in the tree (rule R6) may be a table that was misread.
    fn all_names_understood(&self) -> Checked {
        let seen: &HashSet<String> = &self.resolver.seen.names;
        let missed =
            |word: &&String| !seen.contains(*word) && reach::names_spread(word, self.snapshot);
        match self.facts.identifiers.iter().find(missed) {
            None => Ok(()),
            Some(word) => Err(Refusal::unsupported(
                "a part of the statement that names a distributed or reference table is not understood",
                format!("\"{word}\" stands in the text, and its meaning there is not known."),
                HINT_BY_HAND,
            )),
        }
    }

    /// Views without a readable body, changes through views, and functions that read by text.
    fn no_hidden_tables(&self) -> Checked {
        let seen = &self.resolver.seen;
        let any = || reach::any_distributed(self.snapshot);
        if let Some(view) = seen.blind_view.as_ref().filter(|_| any()) {
            return Err(Refusal::unsupported(
                format!("view \"{view}\" cannot be used here"),
                "Its body is not understood, so it may read a distributed table.",
                "Write its query into the statement.",
            ));
        }
        for leaf in self.resolver.leaves.iter().filter(|leaf| leaf.written) {
            if let LeafRelation::Known(relation) = &leaf.relation
                && relation.kind == RelationKind::View
                && !reach::of_view(relation, self.snapshot).is_home_only()
            {
                return Err(Refusal::unsupported(
                    format!("view \"{}\" cannot be changed", relation.name),
                    "It reads distributed or reference tables.",
                    "Change the table below it.",
                ));
            }
        }
        let dynamic = seen
            .functions
            .iter()
            .find(|name| class(name, self.snapshot) == Class::Dynamic);
        match dynamic.filter(|_| any()) {
            Some(name) => Err(Refusal::unsupported(
                format!("function {} cannot be used here", name.name),
                "It reads tables that it is told by name or by a query's text, and one of them may be distributed.",
                "Write the query itself.",
            )),
            None => Ok(()),
        }
    }

    /// Triggers, rules, policies and inheritance of distributed and reference tables.
    fn nothing_runs_unseen(&self) -> Checked {
        for leaf in self
            .resolver
            .leaves
            .iter()
            .filter(|leaf| is_distributed(leaf) || is_reference(leaf))
        {
            let Some(relation) = known(leaf) else {
                continue;
            };
            let code = relation.runs_code.as_ref().or(relation.code_read.as_ref());
            let why = if let Some(code) = code {
                Some(code.clone())
            } else if relation.row_security {
                Some("row level security is enabled".to_owned())
            } else if relation.inherits {
                Some("it has inheritance children, parents or partitions".to_owned())
            } else {
                None
            };
            if let Some(why) = why {
                return Err(Refusal::unsupported(
                    format!(
                        "statements on table \"{}\" are not supported",
                        relation.name
                    ),
                    format!("{why}; what that reads or writes is not proven to lie on one shard."),
                    "Remove it from the table, or choose the shard by hand with SET shardgate.shard.",
                ));
            }
        }
        Ok(())
    }

    /// A write of a reference table: on every shard, if that is proven to keep the copies alike.
    fn reference_write(
        &self,
        scoped: &Scoped,
        because: &mut Vec<String>,
    ) -> Result<Option<Route>, Refusal> {
        let written = |leaf: &&crate::ir::Leaf| leaf.written && is_reference(leaf);
        let Some(leaf) = self.resolver.leaves.iter().find(written) else {
            return Ok(None);
        };
        let refusal = Refusal::unsupported(
            format!("reference table {} cannot be written so", leaf.label),
            "Every shard has a copy, and all copies must change together.",
            "Write it by INSERT .. VALUES, UPDATE or DELETE with constants, parameters and plain expressions, in a statement of its own.",
        );
        self.distributed_checks()?;
        let source = self.spread_copies(scoped, &refusal)?;
        because.push("every shard does the same to its copy".to_owned());
        Ok(Some(Route::Spread(Arc::new(source), refusal)))
    }

    fn keyed(
        &self,
        scoped: &Scoped,
        because: &mut Vec<String>,
        concerns: &mut Moving,
    ) -> Result<Route, Refusal> {
        self.distributed_checks()?;
        let bound = match self.bind(scoped) {
            Ok(bound) => bound,
            Err(refusal) if self.resolver.seen.writes => {
                let source = self.spread(scoped, &refusal)?;
                because.push("each shard can do its part alone".to_owned());
                return Ok(Route::Spread(Arc::new(source), refusal));
            }
            Err(refusal) => {
                let gather = self.gather(&refusal)?;
                return Ok(Route::Gather(Arc::new(gather), refusal));
            }
        };
        let home = self
            .resolver
            .leaves
            .iter()
            .find(|leaf| !is_distributed(leaf) && !is_reference(leaf));
        for bound in &bound {
            because.push(format!(
                "{} is bound by its key \"{}\"",
                bound.label, bound.key
            ));
        }
        let keyed = Keyed {
            bound,
            home_relation: home
                .map(|leaf| leaf.label.clone())
                .or_else(|| self.resolver.seen.home_view.clone())
                .or_else(|| {
                    let ty = self.resolver.seen.catalog_type.as_ref()?;
                    Some(format!(
                        "a value of type {ty}, which is a number of the home shard's catalog,"
                    ))
                }),
            gather: None,
            spread: None,
        };
        if !keyed.is_constant() {
            let gather = self.gather_later().map(Arc::new);
            // One key lies on one shard: nothing is to be asked again for each execution.
            let several = keyed.bound.iter().any(|bound| !bound.set.is_single());
            let spread = match several {
                true => self.spread_later(scoped).and_then(Result::ok),
                false => None,
            };
            let spread = spread.map(Arc::new);
            return Ok(Route::Keyed(Keyed {
                gather,
                spread,
                ..keyed
            }));
        }
        match keyed.decide(&[], self.snapshot) {
            Decision::Shard(shard) => {
                *concerns = keyed.moving(&[], self.snapshot);
                Ok(Route::One(shard))
            }
            Decision::Refused(refusal)
                if self.resolver.seen.writes && ["0A000", "23502"].contains(&refusal.sqlstate) =>
            {
                let source = self.spread(scoped, &refusal)?;
                because.push("each shard can do its part alone".to_owned());
                Ok(Route::Spread(Arc::new(source), refusal))
            }
            Decision::Refused(refusal) => {
                let gather = self.gather(&refusal)?;
                because.clear();
                Ok(Route::Gather(Arc::new(gather), refusal))
            }
            Decision::Any
            | Decision::AllShards
            | Decision::Gather(..)
            | Decision::Spread(_)
            | Decision::Call(_) => Ok(Route::Keyed(keyed)),
        }
    }

    /// What is not supported beside a distributed table, wherever its keys lie.
    fn distributed_checks(&self) -> Checked {
        let seen = &self.resolver.seen;
        if let Some(problem) = self.resolver.problems.first() {
            return Err(problem.clone());
        }
        if seen.into {
            return Err(Refusal::unsupported(
                "SELECT INTO from a distributed table is not supported",
                "The new table would live on the home shard, and the rows come from another.",
                "Create the table first, and insert the rows through the application.",
            ));
        }
        if let Some(what) = &seen.opaque {
            return Err(Refusal::unsupported(
                format!("{what} is not supported with a distributed table"),
                "Its structure is not modelled, so nothing about its tables is proven.",
                HINT_BY_HAND,
            ));
        }
        let locked = self
            .resolver
            .leaves
            .iter()
            .find(|leaf| leaf.locked && is_reference(leaf));
        if let Some(leaf) = locked {
            return Err(Refusal::unsupported(
                format!(
                    "rows of reference table {} cannot be locked here",
                    leaf.label
                ),
                "The lock would hold on one shard's copy only.",
                "Lock the distributed table's rows alone: read the reference table in a statement of its own.",
            ));
        }
        if let Some(op) = &seen.user_operator {
            return Err(Refusal::unsupported(
                format!("operator {op} is not supported with a distributed table"),
                "A user's operator of that name may be meant, and what its function reads is not known.",
                "Write OPERATOR(pg_catalog.) where the system's operator is meant.",
            ));
        }
        let function = seen
            .functions
            .iter()
            .find(|name| !class(name, self.snapshot).beside_keys());
        match function {
            Some(name) => Err(Refusal::unsupported(
                format!(
                    "function {} is not supported with a distributed table",
                    name.name
                ),
                "It is not known to compute from its arguments alone, and a shard has only a part of the rows.",
                "Call it in a statement of its own, or declare that it is pure.",
            )),
            None => Ok(()),
        }
    }
}
