//! FROM: relations, views, references to CTEs, subqueries, functions and joins.

use crate::aggregates::mark_all;
use crate::cte::cte_scope;
use crate::ir::{
    Atom, CteRows, EntryId, Leaf, LeafId, LeafRelation, Occurrence, Scoped, ScopedBody, Tree,
};
use crate::path::{SearchPath, Target};
use crate::resolve::{Resolved, Resolver, TooComplex, plain};
use crate::scope::{Columns, CteScope, CteState, RowColumn, Scope, Visible};
use crate::snapshot::{Placement, Relation, RelationKind};
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{self, Alias, FromItem, Name, Opaque};
use std::rc::Rc;
use std::sync::Arc;

/// One FROM entry, resolved.
pub(crate) struct Entry {
    pub(crate) tree: Tree,
    pub(crate) visible: Vec<Visible>,
    /// What `*` expands to; None: not known.
    pub(crate) star: Option<Columns>,
}

impl<'a> Resolver<'a> {
    /// `base` is the level of the query, `left` what stands to the left in its FROM (for LATERAL).
    pub(crate) fn read_from(
        &mut self,
        item: &'a FromItem,
        base: &Rc<Scope<'a>>,
        left: &[Visible],
    ) -> Resolved<Entry> {
        self.deeper(|this| match item {
            FromItem::Relation(relation) => this.relation_entry(relation, base),
            FromItem::Derived {
                query,
                alias,
                lateral,
            } => {
                let visible = if *lateral { left.to_vec() } else { Vec::new() };
                let scoped = this.query(query, &base.with_visible(visible), &[])?;
                this.derived(scoped, alias.as_ref(), None)
            }
            FromItem::Function { calls, alias } => {
                let scope = base.with_visible(left.to_vec());
                let mut subqueries = Vec::new();
                for call in calls {
                    this.walk(call, &scope, &mut subqueries)?;
                }
                this.unknown_rows(alias.as_ref(), subqueries)
            }
            FromItem::Join(join) => this.join(join, base, left),
            FromItem::Opaque(opaque) => {
                let scope = base.with_visible(left.to_vec());
                let mut subqueries = Vec::new();
                let unbound = this.opaque(opaque, &scope, &mut subqueries)?;
                subqueries.extend(unbound);
                this.unknown_rows(None, subqueries)
            }
        })
    }

    pub(crate) fn relation_entry(
        &mut self,
        relation: &'a facts::Relation,
        base: &Rc<Scope<'a>>,
    ) -> Resolved<Entry> {
        self.seen.name(&relation.name);
        if relation.name.schema.is_none()
            && let Some((ctes, index)) = base.cte(&relation.name.name)
        {
            return self.cte_reference(&ctes, index, relation.alias.as_ref());
        }
        let target = self
            .path
            .relation(&relation.name, self.snapshot, self.context);
        if let Target::Known(known) = &target
            && known.kind == RelationKind::View
        {
            return self.view(known, &relation.name, relation.alias.as_ref());
        }
        let entry = self.leaf_entry(&relation.name, relation.alias.as_ref(), target)?;
        if self.in_view == 0
            && let Tree::Leaf(_, leaf) = &entry.tree
            && let Some(leaf) = self.leaves.get_mut(leaf.0)
        {
            leaf.occurrence = relation.span.clone().map(|span| Occurrence {
                span,
                aliased: relation.alias.is_some(),
                only: relation.only,
                sample: relation.sample,
            });
        }
        Ok(entry)
    }

    /// An occurrence of a relation with rows of its own.
    pub(crate) fn leaf_entry(
        &mut self,
        name: &Name,
        alias: Option<&Alias>,
        target: Target<'a>,
    ) -> Resolved<Entry> {
        let entry = self.entry()?;
        let (known, leaf_relation) = match target {
            Target::Known(known) | Target::Ambiguous(known) => {
                (Some(known), LeafRelation::Known(known.clone()))
            }
            Target::Temporary => (None, LeafRelation::Temporary),
            Target::System => (None, LeafRelation::System),
            Target::Unknown => (None, LeafRelation::Unknown),
        };
        let mut columns = Columns::new();
        for column in known.iter().flat_map(|known| &known.columns) {
            let ty = KeyType::from_oid(column.ty).filter(|_| column.deterministic);
            columns.push((column.name.clone(), Some(self.node(entry, ty)?)));
        }
        let key = match known.map(|known| &known.placement) {
            Some(Placement::Distributed { key, .. }) => {
                columns.get(*key).and_then(|(_, node)| *node)
            }
            Some(Placement::Home | Placement::Reference) | None => None,
        };
        let label = match alias {
            Some(alias) if alias.name != name.name => {
                format!("\"{}\" (alias \"{}\")", name.name, alias.name)
            }
            _ => format!("\"{}\"", name.name),
        };
        let leaf = LeafId(self.leaves.len());
        self.leaves.push(Leaf {
            entry,
            relation: leaf_relation,
            label,
            key,
            locked: false,
            written: false,
            occurrence: None,
        });
        let full = known.map(|known| Name {
            schema: Some(known.schema.clone()),
            name: known.name.clone(),
        });
        let (visible, star) = self.visible(columns, known.is_none(), &name.name, alias, full);
        Ok(Entry {
            tree: Tree::Leaf(entry, leaf),
            visible: vec![visible],
            star,
        })
    }

    /// The target of a change, which is never a CTE.
    pub(crate) fn target(
        &mut self,
        relation: &'a facts::Relation,
    ) -> Resolved<(Entry, LeafId, Option<&'a Arc<Relation>>)> {
        self.seen.name(&relation.name);
        self.seen.writes = true;
        let target = self
            .path
            .relation(&relation.name, self.snapshot, self.context);
        let known = match &target {
            Target::Known(known) | Target::Ambiguous(known) => Some(*known),
            Target::Temporary | Target::System | Target::Unknown => None,
        };
        if known.is_some_and(|known| known.kind == RelationKind::View) {
            self.seen
                .changed_view
                .get_or_insert_with(|| relation.name.name.clone());
        }
        let entry = self.leaf_entry(&relation.name, relation.alias.as_ref(), target)?;
        let Tree::Leaf(_, leaf) = entry.tree else {
            return Err(TooComplex);
        };
        if let Some(leaf) = self.leaves.get_mut(leaf.0) {
            leaf.written = true;
        }
        Ok((entry, leaf, known))
    }

    /// A view: its body stands in its place, for analysis.
    pub(crate) fn view(
        &mut self,
        view: &'a Arc<Relation>,
        name: &Name,
        alias: Option<&Alias>,
    ) -> Resolved<Entry> {
        if !view.everywhere {
            let label = format!("view \"{}\"", name.name);
            self.seen.home_view.get_or_insert(label);
        }
        if view.runs_code.is_some() {
            self.seen
                .blind_view
                .get_or_insert_with(|| name.name.clone());
        }
        let Some(body) = &view.view else {
            self.seen
                .blind_view
                .get_or_insert_with(|| name.name.clone());
            return self.leaf_entry(name, alias, Target::Known(view));
        };
        let path = std::mem::replace(&mut self.path, SearchPath::empty());
        self.in_view += 1;
        let scoped = self.query(body, &Rc::new(Scope::default()), &[]);
        self.in_view -= 1;
        self.path = path;
        let mut scoped = scoped?;
        if scoped.outputs.len() == view.columns.len() {
            for (output, column) in scoped.outputs.iter_mut().zip(&view.columns) {
                output.name.clone_from(&column.name);
            }
        } else {
            scoped.complete = false;
        }
        let full = Name {
            schema: Some(view.schema.clone()),
            name: view.name.clone(),
        };
        match alias {
            Some(alias) => self.derived(scoped, Some(alias), None),
            None => self.derived(scoped, None, Some((&name.name, full))),
        }
    }

    /// A query in FROM. `unaliased`: the name it goes by if it has no alias.
    pub(crate) fn derived(
        &mut self,
        scoped: Scoped,
        alias: Option<&Alias>,
        unaliased: Option<(&str, Name)>,
    ) -> Resolved<Entry> {
        let entry = self.entry()?;
        let mut columns = Columns::new();
        let mut nodes = Vec::new();
        let mut nameless = !scoped.complete;
        if scoped.complete {
            for output in &scoped.outputs {
                let ty = output.node.and_then(|node| self.ty(node));
                let node = match output.node {
                    Some(_) => Some(self.node(entry, ty)?),
                    None => None,
                };
                nodes.push(node);
                nameless |= output.name.is_empty();
                columns.push((output.name.clone(), node));
            }
        }
        let (name, full) = match unaliased {
            Some((name, full)) => (name, Some(full)),
            None => ("", None),
        };
        let (visible, star) = self.visible(columns, nameless, name, alias, full);
        let star = star.or_else(|| scoped.complete.then(|| visible.columns.as_ref().clone()));
        let mut visible = visible;
        visible.system = false;
        Ok(Entry {
            tree: Tree::Derived {
                entry,
                nodes,
                query: Box::new(scoped),
            },
            visible: vec![visible],
            star,
        })
    }

    pub(crate) fn cte_reference(
        &mut self,
        ctes: &Rc<CteScope<'a>>,
        index: usize,
        alias: Option<&Alias>,
    ) -> Resolved<Entry> {
        let Some(entry) = ctes.frame.entries.get(index) else {
            return Err(TooComplex);
        };
        entry.references.set(entry.references.get() + 1);
        let alias = alias.cloned().unwrap_or_else(|| Alias {
            name: entry.cte.name.clone(),
            columns: Vec::new(),
        });
        let state = entry.state.borrow().clone();
        match state {
            CteState::Pending | CteState::Active => Err(TooComplex),
            CteState::UnknownRows => self.unknown_rows(Some(&alias), Vec::new()),
            CteState::Rows(columns) => self.known_rows(entry.id, &columns, &alias),
            CteState::Inline => {
                entry.state.replace(CteState::Active);
                let scope = cte_scope(&ctes.frame, index);
                let scoped = self.query(&entry.cte.query, &scope, &[]);
                entry.state.replace(CteState::Inline);
                let mut scoped = scoped?;
                for (output, name) in scoped.outputs.iter_mut().zip(&entry.cte.columns) {
                    output.name.clone_from(name);
                }
                self.derived(scoped, Some(&alias), None)
            }
        }
    }

    pub(crate) fn known_rows(
        &mut self,
        id: EntryId,
        columns: &[RowColumn],
        alias: &Alias,
    ) -> Resolved<Entry> {
        let entry = self.entry()?;
        let mut names = Columns::new();
        let mut values = Vec::new();
        let mut nameless = false;
        for column in columns {
            let node = match column.ty {
                Some(ty) => Some(self.node(entry, Some(ty))?),
                None => None,
            };
            if let (Some(node), Some(set)) = (node, &column.values) {
                values.push(Atom::Values(node, set.clone()));
            }
            nameless |= column.name.is_empty();
            names.push((column.name.clone(), node));
        }
        let nodes = names.iter().map(|(_, node)| *node).collect();
        let (mut visible, star) = self.visible(names, nameless, "", Some(alias), None);
        visible.system = false;
        let star = star.or_else(|| Some(visible.columns.as_ref().clone()));
        let cte = Some(CteRows { id, nodes });
        Ok(Entry {
            tree: Tree::Rows {
                entry,
                values,
                subqueries: Vec::new(),
                cte,
            },
            visible: vec![visible],
            star,
        })
    }

    pub(crate) fn unknown_rows(
        &mut self,
        alias: Option<&Alias>,
        subqueries: Vec<Scoped>,
    ) -> Resolved<Entry> {
        let entry = self.entry()?;
        let (visible, star) = self.visible(Columns::new(), true, "", alias, None);
        let tree = Tree::Rows {
            entry,
            values: Vec::new(),
            subqueries,
            cte: None,
        };
        Ok(Entry {
            tree,
            visible: vec![visible],
            star,
        })
    }

    /// The names of one entry; column aliases rename from the left.
    pub(crate) fn visible(
        &mut self,
        mut columns: Columns,
        unknown: bool,
        name: &str,
        alias: Option<&Alias>,
        full: Option<Name>,
    ) -> (Visible, Option<Columns>) {
        if let Some(alias) = alias {
            self.seen.word(&alias.name);
            for (i, renamed) in alias.columns.iter().enumerate() {
                self.seen.word(renamed);
                match columns.get_mut(i) {
                    Some(column) => column.0.clone_from(renamed),
                    None => columns.push((renamed.clone(), None)),
                }
            }
        }
        let star = (!unknown).then(|| columns.clone());
        let visible = Visible {
            name: Some(alias.map_or(name, |alias| &alias.name).to_owned()),
            relation: full.filter(|_| alias.is_none()),
            columns: Rc::new(columns),
            unknown,
            unqualified: true,
            system: true,
        };
        (visible, star)
    }

    /// Syntax that is not modelled. Its queries go to `subqueries`; its relations are answered as queries over them
    /// without any condition, so that none of them counts as bound.
    pub(crate) fn opaque(
        &mut self,
        opaque: &'a Opaque,
        scope: &Rc<Scope<'a>>,
        subqueries: &mut Vec<Scoped>,
    ) -> Resolved<Vec<Scoped>> {
        self.seen.opaque(&opaque.what);
        mark_all(scope);
        let mut unbound = Vec::new();
        for name in &opaque.relations {
            self.seen.name(name);
            if name.schema.is_none() && scope.cte(&name.name).is_some() {
                continue;
            }
            let target = self.path.relation(name, self.snapshot, self.context);
            let entry = match target {
                Target::Known(view) if view.kind == RelationKind::View => {
                    self.view(view, name, None)?
                }
                other => self.leaf_entry(name, None, other)?,
            };
            let selected = crate::ir::Selected {
                from: vec![entry.tree],
                ..Default::default()
            };
            unbound.push(plain(ScopedBody::Select(selected)));
        }
        for query in &opaque.subqueries {
            subqueries.push(self.query(query, scope, &[])?);
        }
        for child in &opaque.children {
            self.walk(child, scope, subqueries)?;
        }
        Ok(unbound)
    }
}
