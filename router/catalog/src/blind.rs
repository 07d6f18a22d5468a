//! Which functions, and which code of relations, may read or write a relation that is not a home relation.
//!
//! Such code runs on the home shard, which has only a part of a distributed table's rows, and one copy of a reference
//! table's. Cautious by construction: a name in a text is enough, wherever it stands and whatever schema it is in.
//! What the owner declared in `shardgate.function_class` as pure or clean is believed.

use crate::fingerprint::FIRST_USER_OID;
use crate::raw::{RawExpression, RawFunction, RawReach, RawRelation, RawSnapshot, RawType};
use crate::suspect::{Suspect, Text};
use std::collections::{HashMap, HashSet};

/// The conclusion, with a reason for each; all empty if every table is a home table.
#[derive(Debug, Default)]
pub(crate) struct Blind {
    functions: HashMap<u32, String>,
    /// Types that run such code when a value of theirs is made.
    types: HashMap<u32, String>,
    /// Types that run such code when a value of theirs is read: printed, compared, sorted, or cast to another type.
    types_read: HashMap<u32, String>,
    /// Relations whose change runs such code.
    pub(crate) written: HashMap<u32, String>,
    /// Relations that run such code when they are read: policies.
    pub(crate) read: HashMap<u32, String>,
    /// By bare name: functions, and types whose values are checked or cast by such functions.
    pub(crate) by_name: HashMap<String, String>,
    /// Names of those functions that may be called as `row.name`.
    pub(crate) of_row: HashSet<String>,
    /// By the operator's name.
    pub(crate) operators: HashMap<String, String>,
    /// Casts between types of pg_catalog run such code: any expression may do so.
    pub(crate) cast: Option<String>,
    /// Event triggers run such code: any change of the schema does so.
    pub(crate) event: Option<String>,
}

impl Blind {
    pub(crate) fn conclude(raw: &RawSnapshot) -> Blind {
        let mut blind = Blind::default();
        if raw.tables.is_empty() {
            return blind;
        }
        let mut search = Search::new(raw);
        let mut fresh = search.first(&mut blind);
        // Each round looks for the names that the last one found; what depends on ids is asked anew each time.
        loop {
            let mut next = search.functions(&fresh, &mut blind);
            next.extend(search.operators_and_types(&mut blind));
            next.extend(search.views(&fresh, &mut blind));
            next.extend(search.relations(&fresh, &mut blind));
            next.extend(search.along_keys(&mut blind));
            if next.is_empty() {
                blind.cast = search.cast(&blind);
                blind.event = search.event(&blind);
                return blind;
            }
            fresh = next;
        }
    }

    /// Why an expression may reach more than home tables.
    fn code_in(&self, expression: &RawExpression) -> Option<&str> {
        let function = expression
            .functions
            .iter()
            .find_map(|id| self.functions.get(id));
        let ty = || expression.types.iter().find_map(|id| self.types.get(id));
        // A part that is not understood may call any of them.
        let strange = || {
            let any = self.functions.values().min();
            any.filter(|_| expression.strange)
        };
        function.or_else(ty).or_else(strange).map(String::as_str)
    }
}

/// The material, prepared once.
struct Search<'r> {
    raw: &'r RawSnapshot,
    functions: Vec<(&'r RawFunction, Text<'r>)>,
    relations: HashMap<u32, &'r RawRelation>,
    /// Views that are suspects already, in texts that read them.
    views_read: HashSet<u32>,
}

impl<'r> Search<'r> {
    fn new(raw: &'r RawSnapshot) -> Search<'r> {
        let functions = raw
            .functions
            .iter()
            .filter(|function| !is_trusted(function))
            .map(|function| match &function.reach {
                RawReach::Words(words) => (function, Text::of(words)),
                RawReach::Blind(_) => (function, Text::of(&[])),
            })
            .collect();
        Search {
            raw,
            functions,
            relations: raw.relations.iter().map(|r| (r.oid, r)).collect(),
            views_read: HashSet::new(),
        }
    }

    /// Tables that are not home tables, and functions of which nothing can be said.
    fn first(&self, blind: &mut Blind) -> Vec<Suspect> {
        let mut suspects = Vec::new();
        for table in &self.raw.tables {
            let Some(relation) = self.relations.get(&table.relation) else {
                continue;
            };
            let copies = table.kind == "reference";
            let verb = if copies { "changes" } else { "reads or writes" };
            let reason = format!("{verb} {} table {}", table.kind, full_name(relation));
            suspects.push(Suspect::of(&relation.name, copies, reason));
        }
        for (function, _) in &self.functions {
            if let RawReach::Blind(why) = &function.reach {
                suspects.push(blind.add_function(function, why));
            }
        }
        let known: HashSet<u32> = self.raw.functions.iter().map(|f| f.oid).collect();
        let unknown = self
            .referenced()
            .filter(|id| *id >= FIRST_USER_OID && !known.contains(id));
        for id in unknown {
            let why = "calls a function of a temporary schema, which is not read".to_owned();
            blind.functions.insert(id, why);
        }
        suspects
    }

    /// Functions that anything which is stored calls by id.
    fn referenced(&self) -> impl Iterator<Item = u32> {
        let raw = self.raw;
        let relations = raw.relations.iter().flat_map(|relation| {
            let code = relation.code.iter().map(|code| code.function);
            let defaults = relation.columns.iter().filter_map(|c| c.default.as_ref());
            let expressions = relation.expressions.iter().map(|(_, e)| e).chain(defaults);
            code.chain(expressions.flat_map(|e| e.functions.iter().copied()))
        });
        let types = raw.types.iter().flat_map(|ty| {
            let checks = ty.checks.iter().flat_map(|check| &check.functions);
            checks.chain(&ty.casts).chain(&ty.support).copied()
        });
        let operators = raw.operators.iter().map(|operator| operator.function);
        let casts = raw.casts.iter().map(|cast| cast.function);
        let events = raw.event_triggers.iter().map(|event| event.function);
        relations
            .chain(types)
            .chain(operators)
            .chain(casts)
            .chain(events)
    }

    fn cast(&self, blind: &Blind) -> Option<String> {
        let mut unnamed = self.raw.casts.iter().filter(|cast| cast.unnamed);
        unnamed.find_map(|cast| {
            let why = blind.functions.get(&cast.function)?;
            Some(format!("{} {why}", cast.what))
        })
    }

    fn event(&self, blind: &Blind) -> Option<String> {
        self.raw.event_triggers.iter().find_map(|event| {
            let why = blind.functions.get(&event.function)?;
            Some(format!("event trigger \"{}\" {why}", event.name))
        })
    }

    fn functions(&self, fresh: &[Suspect], blind: &mut Blind) -> Vec<Suspect> {
        let mut found = Vec::new();
        for (function, text) in &self.functions {
            if blind.functions.contains_key(&function.oid) {
                continue;
            }
            if let Some(why) = text.hit(fresh) {
                found.push(blind.add_function(function, &format!("its text {why}")));
            }
        }
        found
    }

    fn operators_and_types(&self, blind: &mut Blind) -> Vec<Suspect> {
        let mut found = Vec::new();
        for operator in &self.raw.operators {
            let Some(why) = blind.functions.get(&operator.function).cloned() else {
                continue;
            };
            if blind.operators.insert(operator.name.clone(), why).is_none() {
                found.push(Suspect {
                    words: vec![operator.name.clone()],
                    operator: true,
                    if_written: false,
                    reason: format!(
                        "uses operator {}, whose function may reach other tables",
                        operator.name
                    ),
                });
            }
        }
        for ty in &self.raw.types {
            // A cast is made by whoever owns one of its types, so one of them is not of pg_catalog.
            let mut of_value = ty.casts.iter().chain(&ty.support);
            let read = of_value.find_map(|id| blind.functions.get(id)).cloned();
            let read = read
                .or_else(|| blind.types_read.get(&ty.base).cloned())
                .or_else(|| self.field_of(ty, &blind.types_read));
            if let Some(why) = &read {
                blind
                    .types_read
                    .entry(ty.oid)
                    .or_insert_with(|| why.clone());
            }
            let check = || ty.checks.iter().find_map(|check| blind.code_in(check));
            let own = read.or_else(|| check().map(str::to_owned));
            let Some(why) = own.or_else(|| blind.types.get(&ty.base).cloned()) else {
                continue;
            };
            // The row type of a table goes by the table, which is a suspect itself.
            let of_table = self
                .relations
                .get(&ty.row_of)
                .is_some_and(|r| r.kind != 'c');
            if blind.types.insert(ty.oid, why.clone()).is_none() && !of_table {
                blind.by_name.insert(ty.name.clone(), why);
                let reason = format!(
                    "uses type {}, whose checks, default or casts may reach other tables",
                    ty.name
                );
                found.push(Suspect::of(&ty.name, false, reason));
            }
        }
        found
    }

    /// Why a value of a composite type, or a row, runs such code when it is read.
    fn field_of(&self, ty: &RawType, types: &HashMap<u32, String>) -> Option<String> {
        let relation = self.relations.get(&ty.row_of)?;
        relation
            .columns
            .iter()
            .find_map(|column| types.get(&column.ty).cloned())
    }

    /// A view over suspects is one itself, and so is what changes a table through a view.
    fn views(&mut self, fresh: &[Suspect], blind: &mut Blind) -> Vec<Suspect> {
        let mut found = Vec::new();
        for view in self
            .raw
            .relations
            .iter()
            .filter(|r| matches!(r.kind, 'v' | 'm'))
        {
            let reason = |why: &str| format!("uses view {}, which {why}", full_name(view));
            let mut text = Text::of(&view.words);
            text.writes = false;
            if let Some(why) = text.hit(fresh)
                && self.views_read.insert(view.oid)
            {
                found.push(Suspect::of(&view.name, false, reason(why)));
                if view.kind == 'm' {
                    let why = format!("its query {why}");
                    blind.written.entry(view.oid).or_insert(why);
                }
            }
            if let Some(why) = Text::written(&view.words).hit(fresh)
                && !blind.written.contains_key(&view.oid)
                && view.kind == 'v'
            {
                found.push(Suspect::of(&view.name, true, reason(why)));
                blind.written.insert(view.oid, format!("the view {why}"));
            }
        }
        found
    }

    /// Triggers, rules, policies, defaults, checks, types and indexes.
    fn relations(&self, fresh: &[Suspect], blind: &mut Blind) -> Vec<Suspect> {
        let mut found = Vec::new();
        for relation in &self.raw.relations {
            if !blind.read.contains_key(&relation.oid)
                && let Some(why) = code_of(relation, true, fresh, blind)
                    .or_else(|| values_of(relation, &blind.types_read))
            {
                found.push(Suspect::of(
                    &relation.name,
                    false,
                    table_reason(relation, &why),
                ));
                blind.read.insert(relation.oid, why);
            }
            if !blind.written.contains_key(&relation.oid)
                && let Some(why) = code_of(relation, false, fresh, blind)
                    .or_else(|| expressions_of(relation, blind))
                    .or_else(|| blind.read.get(&relation.oid).cloned())
            {
                found.push(Suspect::of(
                    &relation.name,
                    true,
                    table_reason(relation, &why),
                ));
                blind.written.insert(relation.oid, why);
            }
        }
        found
    }

    /// A change of a parent may change its children: by a foreign key's action, by inheritance and partitions.
    fn along_keys(&self, blind: &mut Blind) -> Vec<Suspect> {
        let mut found = Vec::new();
        let keys = self.raw.foreign_keys.iter().filter(|key| key.acts);
        let keys = keys.map(|key| (key.child, key.parent));
        for (child, parent) in keys.chain(self.raw.inherits.iter().copied()) {
            let (Some(why), Some(child), Some(parent)) = (
                blind.written.get(&child).cloned(),
                self.relations.get(&child),
                self.relations.get(&parent),
            ) else {
                continue;
            };
            if blind.written.contains_key(&parent.oid) {
                continue;
            }
            let why = format!("its changes reach table {}: {why}", full_name(child));
            found.push(Suspect::of(&parent.name, true, table_reason(parent, &why)));
            blind.written.insert(parent.oid, why);
        }
        found
    }
}

impl Blind {
    fn add_function(&mut self, function: &RawFunction, why: &str) -> Suspect {
        self.functions
            .insert(function.oid, format!("calls {}", function.name));
        self.by_name
            .entry(function.name.clone())
            .or_insert_with(|| why.to_owned());
        if function.of_row {
            self.of_row.insert(function.name.clone());
        }
        let reason = format!("calls {}, which may reach other tables", function.name);
        Suspect::of(&function.name, false, reason)
    }
}

/// Declared, or the catalog's own.
fn is_trusted(function: &RawFunction) -> bool {
    function.schema == "shardgate" || matches!(function.declared.as_deref(), Some("pure" | "clean"))
}

fn code_of(
    relation: &RawRelation,
    reads: bool,
    fresh: &[Suspect],
    blind: &Blind,
) -> Option<String> {
    let mut code = relation.code.iter().filter(|code| !reads || code.reads);
    code.find_map(|code| {
        let called = blind.functions.get(&code.function).map(String::as_str);
        let why = called.or_else(|| Text::of(&code.words).hit(fresh))?;
        Some(format!("{} {why}", code.what))
    })
}

fn expressions_of(relation: &RawRelation, blind: &Blind) -> Option<String> {
    let defaults = relation.columns.iter().filter_map(|column| {
        let why = blind.code_in(column.default.as_ref()?)?;
        Some(format!("the default of column \"{}\" {why}", column.name))
    });
    let checks = relation
        .expressions
        .iter()
        .filter_map(|(what, expression)| {
            blind.code_in(expression).map(|why| format!("{what} {why}"))
        });
    let domains = || values_of(relation, &blind.types);
    defaults.chain(checks).next().or_else(domains)
}

/// The column whose type is one of these; a view's columns are those of its tables.
fn values_of(relation: &RawRelation, types: &HashMap<u32, String>) -> Option<String> {
    let stored = matches!(relation.kind, 'r' | 'p' | 'f' | 'm');
    relation.columns.iter().find_map(|column| {
        let why = types.get(&column.ty).filter(|_| stored)?;
        Some(format!("the type of column \"{}\" {why}", column.name))
    })
}

fn full_name(relation: &RawRelation) -> String {
    format!("{}.{}", relation.schema, relation.name)
}

fn table_reason(relation: &RawRelation, why: &str) -> String {
    format!("uses table {}, where {why}", full_name(relation))
}
