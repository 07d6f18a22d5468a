//! Conditions -> atoms: the part of a condition that is surely true of every row that passes it.
//!
//! Whatever is not understood adds no atom; that can only make fewer relations bound.

use crate::constant::{Constant, Meets};
use crate::ir::{Atom, Membership, NodeId, Predicate};
use crate::keyset::{Item, KeySet, NullMeans, ParamItem};
use crate::operators::is_comparison;
use crate::resolve::{Resolved, Resolver};
use crate::scope::{Lookup, Scope};
use crate::value::{self, Family, family};
use crate::walk::{expr_columns, is_fractional};
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Expr, Literal, Quantifier, Query};
use std::rc::Rc;
use std::sync::Arc;

impl<'a> Resolver<'a> {
    /// WHERE or ON: its atoms and the queries in it.
    pub(crate) fn condition(
        &mut self,
        expr: &'a Expr,
        scope: &Rc<Scope<'a>>,
        into: &mut Predicate,
    ) -> Resolved<()> {
        match expr {
            Expr::And(list) => list
                .iter()
                .try_for_each(|conjunct| self.condition(conjunct, scope, into)),
            Expr::InSubquery {
                expr,
                query,
                negated: false,
            } => self.membership(expr, query, scope, into),
            other => {
                self.walk(other, scope, &mut into.subqueries)?;
                let atoms = self.atoms(other, scope);
                into.atoms.extend(atoms);
                Ok(())
            }
        }
    }

    pub(crate) fn membership(
        &mut self,
        expr: &'a Expr,
        query: &'a Query,
        scope: &Rc<Scope<'a>>,
        into: &mut Predicate,
    ) -> Resolved<()> {
        self.walk(expr, scope, &mut into.subqueries)?;
        let query = self.query(query, scope, &[])?;
        let mut columns = Vec::new();
        for (i, column) in expr_columns(expr).into_iter().enumerate() {
            let ty = self.column_type(column, scope);
            self.note_operator("=", None, ty);
            let node = self
                .typed_node(column, scope)
                .filter(|(_, ty)| self.equality_is_builtin(*ty));
            let inner = query
                .outputs
                .get(i)
                .and_then(|output| output.node)
                .and_then(|node| self.ty(node));
            let alike = node
                .zip(inner)
                .is_some_and(|((_, ty), inner)| family(ty) == family(inner));
            columns.push(node.filter(|_| alike).map(|(node, _)| node));
            if let Some((node, _)) = node.filter(|_| alike && query.complete) {
                let set = query.exports.get(i).cloned().flatten();
                into.atoms
                    .push(set.map_or(Atom::NotNull(node), |set| Atom::Within(node, set)));
            }
        }
        if columns.len() != query.outputs.len() {
            columns.clear();
        }
        into.memberships.push(Membership { columns, query });
        Ok(())
    }

    /// The atoms of one conjunct.
    pub(crate) fn atoms(&mut self, expr: &Expr, scope: &Scope<'a>) -> Vec<Atom> {
        match expr {
            Expr::And(list) => list
                .iter()
                .flat_map(|conjunct| self.atoms(conjunct, scope))
                .collect(),
            Expr::Or(list) => self.disjunction(list, scope),
            Expr::Literal(Literal::Bool(false) | Literal::Null) => vec![Atom::Never],
            Expr::Binary {
                op,
                schema,
                left,
                right,
            } if op == "=" => self.equality(left, right, schema.as_deref(), scope),
            Expr::Binary {
                op,
                schema,
                left,
                right,
            } if is_comparison(op) => self.comparison(op, schema.as_deref(), left, right, scope),
            Expr::IsDistinct {
                left,
                right,
                negated: true,
            } => self.not_distinct(left, right, scope),
            Expr::IsNull {
                expr,
                negated: true,
            } => self
                .column_node(expr, scope)
                .map(Atom::NotNull)
                .into_iter()
                .collect(),
            Expr::InList {
                expr,
                list,
                negated: false,
            } => self.in_list(expr, list, scope),
            Expr::Quantified {
                op,
                schema,
                all: false,
                left,
                right: Quantifier::Array(array),
            } if op == "=" => self.any_of(left, array, schema.as_deref(), scope),
            Expr::Between {
                expr,
                low,
                high,
                negated: false,
                symmetric: false,
            } => {
                let mut atoms = self.comparison(">=", None, expr, low, scope);
                atoms.extend(self.comparison("<=", None, expr, high, scope));
                atoms
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn disjunction(&mut self, list: &[Expr], scope: &Scope<'a>) -> Vec<Atom> {
        let mut arms: Vec<Vec<Atom>> = list.iter().map(|arm| self.atoms(arm, scope)).collect();
        arms.retain(|arm| !arm.contains(&Atom::Never));
        let Some(first) = arms.first() else {
            return vec![Atom::Never];
        };
        if arms.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        // An equality of columns in every arm holds whichever arm does.
        let shared = |atom: &&Atom| {
            matches!(atom, Atom::Equal(..)) && arms.iter().all(|arm| arm.contains(atom))
        };
        let mut atoms: Vec<Atom> = first.iter().filter(shared).cloned().collect();
        atoms.push(Atom::Any(Arc::new(arms)));
        atoms
    }

    pub(crate) fn column_node(&self, expr: &Expr, scope: &Scope<'a>) -> Option<NodeId> {
        match self.column(expr, scope)? {
            Lookup::Node(node) => Some(node),
            Lookup::Opaque => None,
        }
    }

    pub(crate) fn typed_node(&self, expr: &Expr, scope: &Scope<'a>) -> Option<(NodeId, KeyType)> {
        let node = self.column_node(expr, scope)?;
        Some((node, self.ty(node)?))
    }

    pub(crate) fn equality(
        &mut self,
        left: &Expr,
        right: &Expr,
        schema: Option<&str>,
        scope: &Scope<'a>,
    ) -> Vec<Atom> {
        if let (Expr::Row(lefts), Expr::Row(rights)) = (left, right)
            && lefts.len() == rights.len()
        {
            let pairs = lefts.iter().zip(rights);
            return pairs
                .flat_map(|(left, right)| self.equality(left, right, schema, scope))
                .collect();
        }
        if let (Expr::Literal(Literal::Number(a)), Expr::Literal(Literal::Number(b))) =
            (left, right)
        {
            let integers = value::plain_integer(a).zip(value::plain_integer(b));
            let never = integers.is_some_and(|(a, b)| a != b)
                && self.operator_is_builtin("=", schema, None);
            return if never { vec![Atom::Never] } else { Vec::new() };
        }
        let null = |side: &Expr| *side == Expr::Literal(Literal::Null);
        if null(left) || null(right) {
            let other = if null(left) { right } else { left };
            return self.equals_null(other, scope);
        }
        // Whatever it compares, `=` rejects NULL.
        let mut atoms = self.comparison("=", schema, left, right, scope);
        atoms.extend(self.equal_values(left, right, schema, scope));
        atoms
    }

    /// `x = NULL`, which the setting transform_null_equals makes `x IS NULL`; the setting may also come from a role or
    /// a database. A sharding key is never NULL, unless an outer join made it so: then no row passes by either meaning.
    fn equals_null(&mut self, other: &Expr, scope: &Scope<'a>) -> Vec<Atom> {
        let Some((node, ty)) = self.typed_node(other, scope) else {
            return Vec::new();
        };
        let key = self.leaves.iter().any(|leaf| leaf.key == Some(node));
        let extended = self
            .entry_of(node)
            .is_none_or(|entry| self.extended.contains(&entry));
        let certain = !self.context.transform_null_equals;
        if key && !extended && certain && self.equality_is_builtin(ty) {
            return within(node, Arc::new(KeySet::empty()));
        }
        self.note(node, "= NULL may mean IS NULL");
        Vec::new()
    }

    pub(crate) fn equal_values(
        &mut self,
        left: &Expr,
        right: &Expr,
        schema: Option<&str>,
        scope: &Scope<'a>,
    ) -> Vec<Atom> {
        match (self.typed_node(left, scope), self.typed_node(right, scope)) {
            (Some((a, ty)), Some((b, other))) => {
                if family(ty) != family(other) || !self.operator_is_builtin("=", schema, Some(ty)) {
                    self.note(
                        a,
                        "it is compared with a column of another type, or by a user's operator",
                    );
                    self.note(
                        b,
                        "it is compared with a column of another type, or by a user's operator",
                    );
                    return Vec::new();
                }
                vec![Atom::Equal(a, b)]
            }
            (Some((node, ty)), None) => self.equals_constant(node, ty, right, schema),
            (None, Some((node, ty))) => self.equals_constant(node, ty, left, schema),
            (None, None) => Vec::new(),
        }
    }

    pub(crate) fn equals_constant(
        &mut self,
        node: NodeId,
        ty: KeyType,
        constant: &Expr,
        schema: Option<&str>,
    ) -> Vec<Atom> {
        if !self.operator_is_builtin("=", schema, Some(ty)) {
            self.note(node, "its = may be a user's operator");
            return Vec::new();
        }
        match self.constant(constant, ty, Meets::Alone).into_set() {
            Ok(set) => within(node, set),
            Err(why) => {
                self.note(
                    node,
                    &format!("it is compared with an expression that does not bind: {why}"),
                );
                Vec::new()
            }
        }
    }

    pub(crate) fn note(&mut self, node: NodeId, why: &str) {
        self.notes.entry(node).or_insert_with(|| why.to_owned());
    }

    /// Comparisons other than `=`: they reject NULL, and on ordered keys they bound the range.
    pub(crate) fn comparison(
        &mut self,
        op: &str,
        schema: Option<&str>,
        left: &Expr,
        right: &Expr,
        scope: &Scope<'a>,
    ) -> Vec<Atom> {
        let mut atoms = Vec::new();
        for (side, other, mirrored) in [(left, right, false), (right, left, true)] {
            let Some(node) = self.column_node(side, scope) else {
                continue;
            };
            let ty = self.ty(node);
            if !self.operator_is_builtin(op, schema, ty) {
                return Vec::new();
            }
            atoms.push(Atom::NotNull(node));
            let Some(ty) = ty.filter(|ty| family(*ty) != Family::Text) else {
                continue;
            };
            let Some(set) = self.interval(op, mirrored, other, ty) else {
                continue;
            };
            atoms.push(Atom::Within(node, Arc::new(set)));
        }
        atoms
    }

    /// `column op constant` as a set. Text is left out: its order is the collation's.
    pub(crate) fn interval(
        &self,
        op: &str,
        mirrored: bool,
        constant: &Expr,
        ty: KeyType,
    ) -> Option<KeySet> {
        if is_fractional(constant) {
            return None;
        }
        let Constant::Item(item) = self.constant(constant, ty, Meets::Alone) else {
            return None;
        };
        if item == Item::Fails {
            return None;
        }
        let (low, inclusive) = match (op, mirrored) {
            (">", false) | ("<", true) => (true, false),
            (">=", false) | ("<=", true) => (true, true),
            ("<", false) | (">", true) => (false, false),
            ("<=", false) | (">=", true) => (false, true),
            _ => return None,
        };
        let end = Some((item, inclusive));
        let (low, high) = if low { (end, None) } else { (None, end) };
        Some(KeySet::Interval { low, high })
    }

    /// `IS NOT DISTINCT FROM`: NULL equals NULL here.
    pub(crate) fn not_distinct(
        &mut self,
        left: &Expr,
        right: &Expr,
        scope: &Scope<'a>,
    ) -> Vec<Atom> {
        let (node, ty, other) = match (self.typed_node(left, scope), self.typed_node(right, scope))
        {
            (Some((a, ty)), Some((b, other))) => {
                let same = family(ty) == family(other) && self.equality_is_builtin(ty);
                return if same {
                    vec![Atom::Same(a, b)]
                } else {
                    Vec::new()
                };
            }
            (Some((node, ty)), None) => (node, ty, right),
            (None, Some((node, ty))) => (node, ty, left),
            (None, None) => return Vec::new(),
        };
        if !self.equality_is_builtin(ty) {
            return Vec::new();
        }
        match self.constant(other, ty, Meets::Alone) {
            Constant::Item(Item::Param(param)) => {
                let param = ParamItem {
                    null: NullMeans::Anything,
                    ..param
                };
                vec![Atom::Values(
                    node,
                    Arc::new(KeySet::Items(vec![Item::Param(param)])),
                )]
            }
            Constant::Item(item) => vec![Atom::Within(node, Arc::new(KeySet::Items(vec![item])))],
            Constant::Nothing => vec![Atom::Never],
            Constant::Null | Constant::No(_) => Vec::new(),
        }
    }
}

/// `node` is one of the set; an empty set lets no row pass.
pub(crate) fn within(node: NodeId, set: Arc<KeySet>) -> Vec<Atom> {
    let never = set.is_empty();
    let mut atoms = vec![Atom::Within(node, set)];
    if never {
        atoms.push(Atom::Never);
    }
    atoms
}
