//! Joins: the names that they make visible, merged columns, and the conditions.

use crate::from::Entry;
use crate::ir::{Atom, NodeId, Predicate, Tree};
use crate::resolve::{Resolved, Resolver};
use crate::scope::{Columns, Scope, Visible};
use crate::value::family;
use shardgate_sql::facts::{Join, JoinCondition, JoinKind};
use std::rc::Rc;

impl<'a> Resolver<'a> {
    pub(crate) fn join(
        &mut self,
        join: &'a Join,
        base: &Rc<Scope<'a>>,
        outside: &[Visible],
    ) -> Resolved<Entry> {
        let left = self.read_from(&join.left, base, outside)?;
        let mut beside = outside.to_vec();
        beside.extend(left.visible.iter().cloned());
        let right = self.read_from(&join.right, base, &beside)?;
        let mut on = Predicate::default();
        let (mut visible, mut star) = match &join.condition {
            JoinCondition::None => side_by_side(&left, &right),
            JoinCondition::On(condition) => {
                let (visible, star) = side_by_side(&left, &right);
                let scope = base.with_visible(visible.clone());
                self.condition(condition, &scope, &mut on)?;
                (visible, star)
            }
            JoinCondition::Using(names) => {
                self.seen.operator("=", None);
                for name in names {
                    self.seen.word(name);
                }
                self.merged(join.kind, &left, &right, Some(names), &mut on)
            }
            JoinCondition::Natural => {
                self.seen.operator("=", None);
                let names = common(&left, &right);
                self.merged(join.kind, &left, &right, names.as_deref(), &mut on)
            }
        };
        if let Some(alias) = &join.alias {
            let columns = star.clone().unwrap_or_default();
            let (mut one, known) = self.visible(columns, star.is_none(), "", Some(alias), None);
            one.system = false;
            visible = vec![one];
            star = known;
        }
        let (left, right) = (Box::new(left.tree), Box::new(right.tree));
        let mut extended = Vec::new();
        if matches!(join.kind, JoinKind::Left | JoinKind::Full) {
            right.entries(&mut extended);
        }
        if matches!(join.kind, JoinKind::Right | JoinKind::Full) {
            left.entries(&mut extended);
        }
        self.extended.extend(extended);
        Ok(Entry {
            tree: Tree::Join {
                kind: join.kind,
                left,
                right,
                on: Box::new(on),
            },
            visible,
            star,
        })
    }

    /// JOIN USING: merged columns first, then the others of the left and of the right. None: the names are not known.
    pub(crate) fn merged(
        &mut self,
        kind: JoinKind,
        left: &Entry,
        right: &Entry,
        names: Option<&[String]>,
        on: &mut Predicate,
    ) -> (Vec<Visible>, Option<Columns>) {
        let mut visible: Vec<Visible> =
            left.visible.iter().chain(&right.visible).cloned().collect();
        for entry in &mut visible {
            entry.unqualified = false;
            entry.unknown = false;
        }
        let known = left.star.as_ref().zip(right.star.as_ref()).zip(names);
        let columns = known.map(|((left, right), names)| {
            let mut columns = Columns::new();
            for name in names {
                let pair = (find(left, name), find(right, name));
                columns.push((name.clone(), self.merge(kind, pair, on)));
            }
            let rest = left
                .iter()
                .chain(right)
                .filter(|(name, _)| !names.contains(name));
            columns.extend(rest.cloned());
            columns
        });
        visible.push(Visible {
            name: None,
            relation: None,
            columns: Rc::new(columns.clone().unwrap_or_default()),
            unknown: columns.is_none(),
            unqualified: true,
            system: false,
        });
        (visible, columns)
    }

    /// The merged column of a pair: the left one, the right one of a RIGHT JOIN, none of a FULL JOIN, where it is
    /// COALESCE of both.
    pub(crate) fn merge(
        &mut self,
        kind: JoinKind,
        (left, right): (Option<NodeId>, Option<NodeId>),
        on: &mut Predicate,
    ) -> Option<NodeId> {
        let (left, right) = (left?, right?);
        let alike = self
            .ty(left)
            .zip(self.ty(right))
            .is_some_and(|(a, b)| family(a) == family(b));
        if !alike || !self.equality_is_builtin(self.ty(left)?) {
            return None;
        }
        on.atoms.push(Atom::Equal(left, right));
        match kind {
            JoinKind::Inner | JoinKind::Left | JoinKind::Cross => Some(left),
            JoinKind::Right => Some(right),
            JoinKind::Full => None,
        }
    }
}

fn side_by_side(left: &Entry, right: &Entry) -> (Vec<Visible>, Option<Columns>) {
    let visible = left.visible.iter().chain(&right.visible).cloned().collect();
    let star = left.star.as_ref().zip(right.star.as_ref());
    (
        visible,
        star.map(|(left, right)| left.iter().chain(right).cloned().collect()),
    )
}

/// The columns of NATURAL JOIN.
fn common(left: &Entry, right: &Entry) -> Option<Vec<String>> {
    let (left, right) = left.star.as_ref().zip(right.star.as_ref())?;
    Some(
        left.iter()
            .map(|(name, _)| name.clone())
            .filter(|name| right.iter().any(|(other, _)| other == name))
            .collect(),
    )
}

/// The node of a column that has this name once.
fn find(columns: &Columns, name: &str) -> Option<NodeId> {
    let mut matches = columns.iter().filter(|(column, _)| column == name);
    match (matches.next(), matches.next()) {
        (Some((_, node)), None) => *node,
        _ => None,
    }
}
