//! `RawSnapshot` -> `Snapshot`: what the rows mean for planning. Pure.
//!
//! Contradictions are errors: a router goes on with the snapshot that it has rather than with a guess.

use crate::blind::Blind;
use crate::build_map::build_map;
use crate::build_moves::build_move;
use crate::error::CatalogError;
use crate::function_class::Classes;
use crate::key_text;
use crate::raw::{RawColumn, RawExpression, RawRelation, RawSnapshot, RawTable};
use crate::search_path;
use crate::view;
use shardgate_plan::snapshot::{
    Column, ColumnDefault, Distribution, DistributionId, Epoch, Floor, Host, Move, Placement,
    Relation, RelationKind, Shard, Snapshot, UserOperator,
};
use shardgate_shard_map::ShardId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What the catalog's own tables say.
struct Own {
    epoch: Epoch,
    shards: Vec<Shard>,
    distributions: HashMap<DistributionId, Distribution>,
    moves: Vec<Move>,
    floors: HashMap<ShardId, Floor>,
}

impl RawSnapshot {
    /// Concludes everything that planning needs.
    ///
    /// # Errors
    /// `Damaged` if a map has holes, names a shard that is not there, or a key column is gone.
    pub fn build(&self) -> Result<Snapshot, CatalogError> {
        let Own {
            epoch,
            shards,
            distributions,
            moves,
            floors,
        } = self.build_own()?;
        let classes = Classes::conclude(self);
        let blind = Blind::conclude(self);
        let relations = self.build_relations(&classes, &blind, &distributions)?;
        Ok(Snapshot {
            epoch,
            database: self.database.clone(),
            home: ShardId(self.home),
            shards,
            distributions,
            relations,
            functions: classes.by_name(&self.functions),
            operators: self
                .operators
                .iter()
                .map(|o| UserOperator {
                    name: o.name.clone(),
                    left: o.left,
                    right: o.right,
                })
                .collect(),
            types: self
                .types
                .iter()
                .filter(|ty| !ty.array)
                .map(|ty| ty.name.clone())
                .collect(),
            opaque_operators: classes.opaque_operators(&self.operators),
            casts: self
                .casts
                .iter()
                .map(|cast| (cast.source, cast.target))
                .collect(),
            cast_code: self
                .casts
                .iter()
                .find(|cast| cast.unnamed && classes.is_opaque(cast.function))
                .map(|cast| cast.what.clone()),
            event_code: self
                .event_triggers
                .iter()
                .find(|event| classes.is_opaque(event.function))
                .map(|event| format!("event trigger {}", event.name)),
            search_paths: search_path::defaults(&self.path_settings, &self.server_path),
            serializable: self.serializable.iter().cloned().collect(),
            logins: self.logins.iter().cloned().collect(),
            schemas: self.schemas.iter().cloned().collect(),
            blind_functions: blind.by_name,
            blind_of_row: blind.of_row,
            blind_operators: blind.operators,
            blind_cast: blind.cast,
            blind_event: blind.event,
            catalog_functions: self
                .functions
                .iter()
                .filter(|function| function.schema == "pg_catalog")
                .map(|function| function.name.clone())
                .collect(),
            moves,
            floors,
        })
    }

    /// As `build`, with what an earlier one of the same schema has concluded from it. `before` is what `built` was made of.
    pub(crate) fn build_again(
        &self,
        before: &RawSnapshot,
        built: &Snapshot,
    ) -> Result<Snapshot, CatalogError> {
        let types = |raw: &RawSnapshot| -> Vec<(u32, String)> {
            let of = |one: &crate::raw::RawDistribution| (one.id, one.key_type.clone());
            raw.distributions.iter().map(of).collect()
        };
        let same = self.fingerprint == before.fingerprint
            && self.tables == before.tables
            && types(self) == types(before)
            && self.relations == before.relations;
        if !same || self.database != before.database || self.home != before.home {
            return self.build();
        }
        let own = self.build_own()?;
        Ok(Snapshot {
            epoch: own.epoch,
            shards: own.shards,
            distributions: own.distributions,
            moves: own.moves,
            floors: own.floors,
            ..built.clone()
        })
    }

    /// Everything that does not follow from the schema.
    fn build_own(&self) -> Result<Own, CatalogError> {
        let known: HashSet<u16> = self.shards.iter().map(|shard| shard.id).collect();
        let mut distributions = HashMap::new();
        for raw in &self.distributions {
            let id = DistributionId(raw.id);
            distributions.insert(
                id,
                Distribution {
                    id,
                    name: raw.name.clone(),
                    map: build_map(raw, &known)?,
                },
            );
        }
        let moves = self
            .moves
            .iter()
            .map(|raw| build_move(raw, &known, &distributions))
            .collect::<Result<_, _>>()?;
        let floors = self.shards.iter().filter_map(|raw| {
            let (timeline, lsn) = raw.floor?;
            Some((ShardId(raw.id), Floor { timeline, lsn }))
        });
        Ok(Own {
            epoch: Epoch {
                number: self.epoch.number,
                id: key_text::uuid(&self.epoch.id)
                    .ok_or_else(|| damaged("an epoch's id is no uuid"))?,
                parent: key_text::uuid(&self.epoch.parent)
                    .ok_or_else(|| damaged("an epoch's parent is no uuid"))?,
            },
            shards: self.build_shards()?,
            distributions,
            moves,
            floors: floors.collect(),
        })
    }

    fn build_shards(&self) -> Result<Vec<Shard>, CatalogError> {
        let shards: Vec<Shard> = self
            .shards
            .iter()
            .map(|raw| Shard {
                id: ShardId(raw.id),
                name: raw.name.clone(),
                weight: raw.weight,
                hosts: raw
                    .hosts
                    .iter()
                    .map(|(host, port)| Host {
                        host: host.clone(),
                        port: *port,
                    })
                    .collect(),
            })
            .collect();
        match shards.iter().find(|shard| shard.hosts.is_empty()) {
            Some(shard) => Err(damaged(&format!("shard \"{}\" has no host", shard.name))),
            None if !self.shards.iter().any(|shard| shard.id == self.home) => {
                Err(damaged("the home shard is not listed"))
            }
            None => Ok(shards),
        }
    }

    fn build_relations(
        &self,
        classes: &Classes,
        blind: &Blind,
        distributions: &HashMap<DistributionId, Distribution>,
    ) -> Result<HashMap<String, HashMap<String, Arc<Relation>>>, CatalogError> {
        let code = self.code_by_relation(classes);
        let placements: HashMap<u32, _> = self
            .tables
            .iter()
            .map(|table| (table.relation, table))
            .collect();
        let by_id: HashMap<u32, &RawRelation> = self.relations.iter().map(|r| (r.oid, r)).collect();
        let unlogged = self.unlogged();
        let shown = self.types_with_code(classes);
        let mut relations: HashMap<String, HashMap<String, Arc<Relation>>> = HashMap::new();
        for raw in &self.relations {
            // An index is where its table is.
            let owner = raw.table.and_then(|table| by_id.get(&table)).copied();
            let placed = owner.unwrap_or(raw);
            let placement = match placements.get(&placed.oid) {
                None => Placement::Home,
                Some(table) if table.kind == "reference" => Placement::Reference,
                Some(table) => distributed(placed, table, distributions)?,
            };
            let relation = Relation {
                oid: raw.oid,
                schema: raw.schema.clone(),
                name: raw.name.clone(),
                kind: kind(raw)?,
                columns: raw
                    .columns
                    .iter()
                    .map(|column| build_column(column, classes))
                    .collect(),
                placement,
                runs_code: code.get(&raw.oid).cloned(),
                code_read: code_read(raw, &shown, classes),
                inherits: raw.inherits,
                view: raw
                    .definition
                    .as_deref()
                    .and_then(view::analyse)
                    .map(Arc::new),
                row_security: raw.row_security,
                blind_code: blind.written.get(&raw.oid).cloned(),
                blind_read: blind.read.get(&raw.oid).cloned(),
                unlogged: unlogged.contains(&raw.oid),
                everywhere: raw.everywhere,
            };
            relations
                .entry(raw.schema.clone())
                .or_default()
                .insert(raw.name.clone(), Arc::new(relation));
        }
        Ok(relations)
    }

    /// Types whose values run code when they are read: functions of their own or of casts, which an expression may take
    /// without naming them. Those of extensions leave nothing behind.
    fn types_with_code(&self, classes: &Classes) -> HashSet<u32> {
        let fields: HashMap<u32, &RawRelation> =
            self.relations.iter().map(|r| (r.oid, r)).collect();
        let mut found: HashSet<u32> = HashSet::new();
        loop {
            let before = found.len();
            for ty in self.types.iter().filter(|ty| !ty.extension) {
                let mut own = ty.casts.iter().chain(&ty.support);
                let columns = fields.get(&ty.row_of).map(|r| r.columns.as_slice());
                let mut columns = columns.unwrap_or_default().iter();
                if own.any(|id| classes.is_opaque(*id))
                    || found.contains(&ty.base)
                    || columns.any(|column| found.contains(&column.ty))
                {
                    found.insert(ty.oid);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    /// Unlogged relations, and parents of such.
    fn unlogged(&self) -> HashSet<u32> {
        let unlogged = self.relations.iter().filter(|relation| relation.unlogged);
        let mut found: HashSet<u32> = unlogged.map(|relation| relation.oid).collect();
        loop {
            let before = found.len();
            for (child, parent) in &self.inherits {
                if found.contains(child) {
                    found.insert(*parent);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    /// Why a statement on a relation may run code that planning does not see. A foreign key that changes its child
    /// carries the child's reason to the parent.
    fn code_by_relation(&self, classes: &Classes) -> HashMap<u32, String> {
        let mut code: HashMap<u32, String> = HashMap::new();
        for relation in &self.relations {
            if let Some(why) = own_code(relation, classes) {
                code.insert(relation.oid, why);
            }
        }
        loop {
            let mut changed = false;
            for key in self.foreign_keys.iter().filter(|key| key.acts) {
                if code.contains_key(&key.child) && !code.contains_key(&key.parent) {
                    let why = format!(
                        "foreign key \"{}\" acts on a table that runs code",
                        key.name
                    );
                    code.insert(key.parent, why);
                    changed = true;
                }
            }
            if !changed {
                return code;
            }
        }
    }
}

/// The key column must be there, and be of the type that the map was made for.
fn distributed(
    raw: &RawRelation,
    table: &RawTable,
    distributions: &HashMap<DistributionId, Distribution>,
) -> Result<Placement, CatalogError> {
    let wrong = |what: &str| damaged(&format!("table {}.{} {what}", raw.schema, raw.name));
    let id = DistributionId(table.distribution.unwrap_or_default());
    let distribution = distributions.get(&id);
    let distribution =
        distribution.ok_or_else(|| wrong("belongs to a distribution that is not there"))?;
    let key = raw
        .columns
        .iter()
        .position(|column| Some(column.attnum) == table.key_attnum);
    let key = key.ok_or_else(|| wrong("has lost its sharding key column"))?;
    let family = raw
        .columns
        .get(key)
        .and_then(|column| key_text::key_type_of(column.ty))
        .map(key_text::family);
    if family != Some(key_text::family(distribution.map.key_type)) {
        return Err(wrong("has a sharding key column whose type was changed"));
    }
    Ok(Placement::Distributed {
        distribution: id,
        key,
    })
}

/// Why reading a relation runs code: see `Relation::code_read`.
fn code_read(relation: &RawRelation, shown: &HashSet<u32>, classes: &Classes) -> Option<String> {
    let stored = matches!(relation.kind, 'r' | 'p' | 'f' | 'm');
    let mut columns = relation.columns.iter().filter(|_| stored);
    let mut code = relation.code.iter().filter(|code| code.reads);
    columns
        .find(|column| shown.contains(&column.ty))
        .map(|column| format!("the type of column \"{}\"", column.name))
        .or_else(|| {
            code.find(|code| classes.is_opaque(code.function))
                .map(|code| code.what.clone())
        })
}

fn own_code(relation: &RawRelation, classes: &Classes) -> Option<String> {
    if let Some(name) = relation.triggers.first() {
        return Some(format!("trigger \"{name}\""));
    }
    if let Some(name) = relation.rules.first() {
        return Some(format!("rule \"{name}\""));
    }
    if relation.row_security {
        return Some("row security policies".to_owned());
    }
    let defaults = relation.columns.iter().filter_map(|column| {
        let expression = without_nextval(column.default.as_ref()?);
        classes
            .code_in(&expression)
            .map(|why| format!("the default of column \"{}\" {why}", column.name))
    });
    let checks = relation
        .expressions
        .iter()
        .filter_map(|(what, expression)| {
            classes
                .code_in(expression)
                .map(|why| format!("{what} {why}"))
        });
    // A view's or composite type's columns are not written, and so not checked.
    let written = matches!(relation.kind, 'r' | 'p' | 'f');
    let domains = relation
        .columns
        .iter()
        .filter(|column| written && classes.is_unsafe_type(column.ty))
        .map(|column| {
            format!(
                "column \"{}\" is of a domain that calls a function",
                column.name
            )
        });
    defaults.chain(checks).chain(domains).next()
}

/// A sequence is known to planning by the column's default, and is no unseen code.
fn without_nextval(expression: &RawExpression) -> RawExpression {
    let functions = expression
        .functions
        .iter()
        .copied()
        .filter(|id| *id != crate::expression::NEXTVAL)
        .collect();
    RawExpression {
        functions,
        ..expression.clone()
    }
}

fn build_column(raw: &RawColumn, classes: &Classes) -> Column {
    Column {
        name: raw.name.clone(),
        ty: raw.ty,
        modifier: raw.modifier,
        not_null: raw.not_null,
        default: default_kind(raw, classes),
        deterministic: raw.deterministic,
    }
}

pub(crate) fn default_kind(raw: &RawColumn, classes: &Classes) -> ColumnDefault {
    match &raw.default {
        _ if raw.identity => ColumnDefault::Sequence,
        None => ColumnDefault::None,
        Some(expression) if expression.functions.contains(&crate::expression::NEXTVAL) => {
            ColumnDefault::Sequence
        }
        Some(expression) if classes.is_plain(expression) => match &raw.clock {
            _ if raw.anew => ColumnDefault::Anew,
            Some(text) => ColumnDefault::Clock(Arc::from(text.as_str())),
            None => ColumnDefault::Plain,
        },
        Some(_) => ColumnDefault::Other,
    }
}

fn kind(raw: &RawRelation) -> Result<RelationKind, CatalogError> {
    match raw.kind {
        'r' => Ok(RelationKind::Table),
        'p' => Ok(RelationKind::PartitionedTable),
        'v' => Ok(RelationKind::View),
        'm' => Ok(RelationKind::MaterializedView),
        'f' => Ok(RelationKind::ForeignTable),
        'S' => Ok(RelationKind::Sequence),
        'i' | 'I' => Ok(RelationKind::Index),
        'c' => Ok(RelationKind::Composite),
        other => Err(damaged(&format!(
            "relation {}.{} is of the unknown kind '{other}'",
            raw.schema, raw.name
        ))),
    }
}

pub(crate) fn damaged(what: &str) -> CatalogError {
    CatalogError::Damaged {
        what: what.to_owned(),
    }
}
