//! SELECT and VALUES: FROM, WHERE, and for each output column what it is and whether a predicate on it may be applied
//! to the rows below.

use crate::constant::is_constant;
use crate::from::Entry;
use crate::ir::{Atom, NodeId, Output, Predicate, Scoped, ScopedBody, Selected};
use crate::keyset::KeySet;
use crate::resolve::{Resolved, Resolver, plain};
use crate::scope::{Columns, Lookup, Scope, Visible};
use crate::value::family;
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Distinct, Expr, GroupBy, Item, Literal, Select};
use std::rc::Rc;
use std::sync::Arc;

/// The target list as far as it is known.
struct Listed {
    outputs: Vec<Output>,
    complete: bool,
}

impl<'a> Resolver<'a> {
    pub(crate) fn select(
        &mut self,
        select: &'a Select,
        order_by: &'a [Expr],
        base: &Rc<Scope<'a>>,
        assigned: &[Option<KeyType>],
    ) -> Resolved<Scoped> {
        let mut selected = Selected::default();
        let (visible, star) = self.read_from_list(&select.from, base, Vec::new(), &mut selected)?;
        let scope = base.with_visible(visible);
        if let Some(filter) = &select.filter {
            let mut predicate = Predicate::default();
            self.condition(filter, &scope, &mut predicate)?;
            selected.filter = predicate;
        }
        let Selected {
            constants,
            subqueries,
            ..
        } = &mut selected;
        let listed = self.items(
            &select.items,
            &scope,
            star.as_ref(),
            assigned,
            (subqueries, constants),
        )?;
        let mut outputs = listed.outputs;
        if let Some(into) = &select.into {
            self.seen.name(into);
            self.seen.into = true;
            self.seen.into_temporary |= self.path.makes_temporary(into, self.snapshot);
        }
        let (group, distinct) = (
            group_exprs(&select.group_by),
            distinct_exprs(&select.distinct),
        );
        for list in [order_by, group, distinct, &select.windows] {
            self.walk_all(list, &scope, &mut selected.subqueries)?;
        }
        if let Some(having) = &select.having {
            self.walk(having, &scope, &mut selected.subqueries)?;
        }
        selected.from_nothing = match &select.group_by {
            GroupBy::Exprs(exprs) => exprs.is_empty(),
            // An empty grouping set may be among them.
            GroupBy::Sets(_) => true,
            GroupBy::None => select.having.is_some() || scope.aggregates.get(),
        };
        let passing = self.passing(select, &outputs, &scope);
        for (output, passes) in outputs.iter_mut().zip(passing) {
            output.passes = passes && !selected.from_nothing;
        }
        let mut scoped = plain(ScopedBody::Select(selected));
        scoped.outputs = outputs;
        scoped.complete = listed.complete;
        Ok(scoped)
    }

    /// FROM's entries, joined by commas, in addition to what is `visible` already.
    pub(crate) fn read_from_list(
        &mut self,
        from: &'a [shardgate_sql::facts::FromItem],
        base: &Rc<Scope<'a>>,
        mut visible: Vec<Visible>,
        selected: &mut Selected,
    ) -> Resolved<(Vec<Visible>, Option<Columns>)> {
        let mut star = Some(Columns::new());
        for item in from {
            let Entry {
                tree,
                visible: more,
                star: columns,
            } = self.read_from(item, base, &visible)?;
            selected.from.push(tree);
            visible.extend(more);
            star = star.zip(columns).map(|(mut all, columns)| {
                all.extend(columns);
                all
            });
        }
        Ok((visible, star))
    }

    /// A target list or RETURNING. `sink`: the queries in it, and what is known of its constants.
    fn items(
        &mut self,
        items: &'a [Item],
        scope: &Rc<Scope<'a>>,
        star: Option<&Columns>,
        assigned: &[Option<KeyType>],
        sink: (&mut Vec<Scoped>, &mut Vec<Atom>),
    ) -> Resolved<Listed> {
        let (subqueries, atoms) = sink;
        let mut listed = Listed {
            outputs: Vec::new(),
            complete: true,
        };
        for item in items {
            match item {
                Item::Expr { expr, alias } => {
                    let ty = assigned.get(listed.outputs.len()).copied().flatten();
                    self.walk_assigned(expr, ty, scope, subqueries)?;
                    let output = self.output(expr, alias.as_deref(), scope, atoms)?;
                    listed.outputs.push(output);
                }
                Item::Star => listed.expand(star),
                Item::QualifiedStar(name) => {
                    if name.schema.is_some() {
                        self.seen.qualified.insert(name.name.clone());
                    }
                    self.seen.name(name);
                    let entry = scope.entry(name).filter(|entry| !entry.unknown);
                    listed.expand(entry.map(|entry| entry.columns.as_ref()));
                }
            }
        }
        Ok(listed)
    }

    pub(crate) fn returning(
        &mut self,
        items: &'a [Item],
        scope: &Rc<Scope<'a>>,
        star: Option<&Columns>,
        subqueries: &mut Vec<Scoped>,
    ) -> Resolved<(Vec<Output>, bool)> {
        let mut constants = Vec::new();
        let listed = self.items(items, scope, star, &[], (subqueries, &mut constants))?;
        Ok((listed.outputs, listed.complete))
    }

    fn output(
        &mut self,
        expr: &'a Expr,
        alias: Option<&str>,
        scope: &Rc<Scope<'a>>,
        atoms: &mut Vec<Atom>,
    ) -> Resolved<Output> {
        if let Some(alias) = alias {
            self.seen.word(alias);
        }
        let name = match (alias, expr) {
            (Some(alias), _) => alias.to_owned(),
            (None, Expr::Column { column, .. }) => column.clone(),
            // Postgres makes up a name; an empty one says that it is not known.
            (None, _) => String::new(),
        };
        let node = match self.column(expr, scope) {
            Some(Lookup::Node(node)) => Some(node),
            Some(Lookup::Opaque) => None,
            None => match self.typed_constant(expr) {
                Some((ty, item)) => {
                    let entry = self.entry()?;
                    let node = self.node(entry, Some(ty))?;
                    atoms.push(Atom::Values(node, Arc::new(KeySet::Items(vec![item]))));
                    Some(node)
                }
                None => None,
            },
        };
        let constant = is_constant(expr).then(|| expr.clone());
        Ok(Output {
            name,
            node,
            passes: false,
            constant,
        })
    }

    /// For each output: a predicate on it may be applied before DISTINCT and GROUP BY.
    fn passing(&self, select: &Select, outputs: &[Output], scope: &Scope<'a>) -> Vec<bool> {
        let items = select.items.iter().filter_map(|item| match item {
            Item::Expr { expr, .. } => Some(expr),
            Item::Star | Item::QualifiedStar(_) => None,
        });
        let plain =
            select.windows.is_empty() && items.into_iter().all(|expr| self.is_row_by_row(expr));
        let grouped: Option<Vec<NodeId>> = match &select.group_by {
            GroupBy::None if select.having.is_none() => None,
            GroupBy::None | GroupBy::Sets(_) => Some(Vec::new()),
            GroupBy::Exprs(exprs) => Some(self.listed_nodes(exprs, outputs, scope, false)),
        };
        let distinct: Option<Vec<NodeId>> = match &select.distinct {
            Distinct::No | Distinct::All => None,
            Distinct::On(exprs) => Some(self.listed_nodes(exprs, outputs, scope, true)),
        };
        let within = |list: &Option<Vec<NodeId>>, node: NodeId| {
            list.as_ref().is_none_or(|list| list.contains(&node))
        };
        let passes = |output: &Output| {
            plain
                && output
                    .node
                    .is_some_and(|node| within(&grouped, node) && within(&distinct, node))
        };
        outputs.iter().map(passes).collect()
    }

    /// The columns that GROUP BY (an input column's name goes first) or DISTINCT ON (an output's goes first) lists.
    fn listed_nodes(
        &self,
        exprs: &[Expr],
        outputs: &[Output],
        scope: &Scope<'a>,
        output_first: bool,
    ) -> Vec<NodeId> {
        let by_name = |name: &str| {
            outputs
                .iter()
                .find(|output| output.name == name)
                .and_then(|output| output.node)
        };
        let node = |expr: &Expr| match expr {
            Expr::Literal(Literal::Number(position)) => {
                let index = position.parse::<usize>().ok()?.checked_sub(1)?;
                outputs.get(index)?.node
            }
            Expr::Column {
                table: None,
                column,
                ..
            } => {
                let named = outputs.iter().any(|output| output.name == *column);
                if output_first && named {
                    return by_name(column);
                }
                match scope.column(None, None, column) {
                    Lookup::Node(node) => Some(node),
                    Lookup::Opaque => by_name(column),
                }
            }
            Expr::Column { .. } => match self.column(expr, scope)? {
                Lookup::Node(node) => Some(node),
                Lookup::Opaque => None,
            },
            _ => None,
        };
        exprs.iter().filter_map(node).collect()
    }

    /// VALUES as a query of its own or in FROM.
    pub(crate) fn values(
        &mut self,
        rows: &'a [Vec<Expr>],
        order_by: &'a [Expr],
        base: &Rc<Scope<'a>>,
    ) -> Resolved<Scoped> {
        let mut selected = Selected::default();
        for row in rows {
            self.walk_all(row, base, &mut selected.subqueries)?;
        }
        self.walk_all(order_by, base, &mut selected.subqueries)?;
        let entry = self.entry()?;
        let width = rows.first().map_or(0, Vec::len);
        let mut outputs = Vec::new();
        for column in 0..width {
            let mut node = None;
            if let Some((ty, items)) = self.value_column(rows, column) {
                let new = self.node(entry, Some(ty))?;
                selected
                    .filter
                    .atoms
                    .push(Atom::Values(new, Arc::new(KeySet::Items(items))));
                node = Some(new);
            }
            let name = format!("column{}", column + 1);
            outputs.push(Output {
                name,
                node,
                passes: false,
                constant: None,
            });
        }
        let mut scoped = plain(ScopedBody::Select(selected));
        scoped.outputs = outputs;
        scoped.complete = true;
        Ok(scoped)
    }

    /// One column of VALUES, if all its rows are constants of one type family.
    fn value_column(
        &self,
        rows: &[Vec<Expr>],
        column: usize,
    ) -> Option<(KeyType, Vec<crate::keyset::Item>)> {
        let mut whole: Option<KeyType> = None;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            let (ty, item) = self.typed_constant(row.get(column)?)?;
            let same = whole.is_none_or(|known| family(known) == family(ty));
            // An uncast string takes the type of the others, which only text leaves as it is.
            if !same {
                return None;
            }
            whole = Some(
                whole
                    .filter(|known| known.name() >= ty.name())
                    .unwrap_or(ty),
            );
            items.push(item);
        }
        Some((whole?, items))
    }
}

impl Listed {
    fn expand(&mut self, columns: Option<&Columns>) {
        let Some(columns) = columns else {
            self.complete = false;
            return;
        };
        for (name, node) in columns {
            self.outputs.push(Output {
                name: name.clone(),
                node: *node,
                passes: false,
                constant: None,
            });
        }
    }
}

fn group_exprs(group: &GroupBy) -> &[Expr] {
    match group {
        GroupBy::None => &[],
        GroupBy::Exprs(exprs) | GroupBy::Sets(exprs) => exprs,
    }
}

fn distinct_exprs(distinct: &Distinct) -> &[Expr] {
    match distinct {
        Distinct::No | Distinct::All => &[],
        Distinct::On(exprs) => exprs,
    }
}
