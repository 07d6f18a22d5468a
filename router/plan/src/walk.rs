//! The walk over every expression of a statement: functions, operators, casts, names and uses of parameters are
//! noted, subqueries are resolved. Nothing is skipped.

use crate::ir::Scoped;
use crate::operators::is_comparison;
use crate::resolve::{Resolved, Resolver};
use crate::scope::{Lookup, Scope};
use crate::value::{self};
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Expr, Function, Literal, Name, Quantifier, TypeName};
use std::rc::Rc;

type Sink<'s> = &'s mut Vec<Scoped>;

impl<'a> Resolver<'a> {
    pub(crate) fn walk_all(
        &mut self,
        list: &'a [Expr],
        scope: &Rc<Scope<'a>>,
        sink: Sink<'_>,
    ) -> Resolved<()> {
        list.iter()
            .try_for_each(|expr| self.walk(expr, scope, sink))
    }

    pub(crate) fn walk(
        &mut self,
        expr: &'a Expr,
        scope: &Rc<Scope<'a>>,
        sink: Sink<'_>,
    ) -> Resolved<()> {
        // A chain of operators leans to the left and may be long; it is followed in a loop.
        let mut expr = expr;
        loop {
            match expr {
                Expr::Binary {
                    op,
                    schema,
                    left,
                    right,
                } if !self.typed_pair(op, left, right, scope) => {
                    let ty = self
                        .column_type(left, scope)
                        .or_else(|| self.column_type(right, scope));
                    self.note_operator(op, schema.as_deref(), ty);
                    self.operator_schema(schema.as_deref());
                    self.walk(right, scope, sink)?;
                    expr = left;
                }
                other => return self.deeper(|this| this.walk_one(other, scope, sink)),
            }
        }
    }

    fn walk_one(&mut self, expr: &'a Expr, scope: &Rc<Scope<'a>>, sink: Sink<'_>) -> Resolved<()> {
        match expr {
            Expr::Column {
                schema,
                table,
                column,
            } => {
                self.seen.word(column);
                for word in schema.iter().chain(table) {
                    self.seen.word(word);
                }
                if let (Some(_), Some(table)) = (schema, table) {
                    self.seen.qualified.insert(table.clone());
                }
                if table.is_some() {
                    self.note_aggregate_of_row(expr, column, scope);
                }
                Ok(())
            }
            Expr::Literal(_) | Expr::Default => Ok(()),
            Expr::Param(number) => {
                self.uses.other(*number);
                Ok(())
            }
            Expr::Cast { expr, ty } => self.walk_cast(expr, ty, scope, sink),
            Expr::And(list) | Expr::Or(list) | Expr::Row(list) | Expr::Array(list) => {
                self.walk_all(list, scope, sink)
            }
            Expr::Not(inner) | Expr::IsNull { expr: inner, .. } => self.walk(inner, scope, sink),
            Expr::Binary {
                op,
                schema,
                left,
                right,
            } => {
                self.note_operator(op, schema.as_deref(), self.column_type(left, scope));
                self.operator_schema(schema.as_deref());
                self.walk_pair(op, left, right, scope, sink)
            }
            Expr::Unary { op, expr } => {
                self.note_operator(op, None, None);
                self.walk(expr, scope, sink)
            }
            Expr::IsDistinct { left, right, .. } => {
                let ty = self
                    .column_type(left, scope)
                    .or_else(|| self.column_type(right, scope));
                self.note_operator("=", None, ty);
                self.walk_pair("=", left, right, scope, sink)
            }
            Expr::InList { expr, list, .. } => self.walk_list(expr, list, scope, sink),
            Expr::InSubquery { expr, query, .. } => {
                self.note_operator("=", None, self.column_type(expr, scope));
                self.walk(expr, scope, sink)?;
                sink.push(self.query(query, scope, &[])?);
                Ok(())
            }
            Expr::Quantified {
                op,
                schema,
                left,
                right,
                ..
            } => {
                self.note_operator(op, schema.as_deref(), self.column_type(left, scope));
                self.operator_schema(schema.as_deref());
                self.walk(left, scope, sink)?;
                match right {
                    Quantifier::Array(array) => self.walk_array(op, left, array, scope, sink),
                    Quantifier::Subquery(query) => {
                        sink.push(self.query(query, scope, &[])?);
                        Ok(())
                    }
                }
            }
            Expr::Between {
                expr, low, high, ..
            } => {
                for (op, bound) in [(">=", low), ("<=", high)] {
                    self.note_operator(op, None, self.column_type(expr, scope));
                    self.walk_pair(op, expr, bound, scope, sink)?;
                }
                Ok(())
            }
            Expr::Exists { query, .. } | Expr::Subquery(query) => {
                sink.push(self.query(query, scope, &[])?);
                Ok(())
            }
            Expr::Collate { expr, collation } => {
                self.seen.name(collation);
                self.walk(expr, scope, sink)
            }
            Expr::Function(function) => self.walk_function(function, scope, sink),
            Expr::Case {
                operand,
                whens,
                otherwise,
            } => {
                if operand.is_some() {
                    self.note_operator("=", None, None);
                }
                let conditions = whens.iter().flat_map(|(when, then)| [when, then]);
                let children = operand.iter().map(AsRef::as_ref).chain(conditions);
                children
                    .chain(otherwise.iter().map(AsRef::as_ref))
                    .try_for_each(|e| self.walk(e, scope, sink))
            }
            Expr::Other { what, children } => {
                if *what == "nullif" {
                    self.note_operator("=", None, None);
                }
                self.note_aggregate_of_field(what, children, scope);
                self.walk_all(children, scope, sink)
            }
            Expr::Opaque(opaque) => {
                let unbound = self.opaque(opaque, scope, sink)?;
                sink.extend(unbound);
                Ok(())
            }
        }
    }

    fn walk_function(
        &mut self,
        function: &'a Function,
        scope: &Rc<Scope<'a>>,
        sink: Sink<'_>,
    ) -> Resolved<()> {
        self.seen.function(&function.name);
        self.note_aggregate(function, scope);
        for name in function.arg_names.iter().flatten() {
            self.seen.word(name);
        }
        self.walk_all(&function.args, scope, sink)?;
        self.walk_all(&function.extra, scope, sink)?;
        function
            .over
            .iter()
            .try_for_each(|window| self.walk_all(window, scope, sink))
    }

    fn walk_cast(
        &mut self,
        expr: &'a Expr,
        ty: &'a TypeName,
        scope: &Rc<Scope<'a>>,
        sink: Sink<'_>,
    ) -> Resolved<()> {
        self.seen.name(&ty.name);
        self.seen
            .in_schema("type", &ty.name.name, ty.name.schema.as_deref());
        let builtin = match ty.name.schema.as_deref() {
            Some("pg_catalog") => true,
            Some(_) => false,
            None => !self.snapshot.types.contains(&ty.name.name),
        };
        if !builtin {
            self.seen
                .user_type
                .get_or_insert_with(|| ty.name.name.clone());
        }
        if ty.name.name.starts_with("reg") || ["oid", "oidvector"].contains(&ty.name.name.as_str())
        {
            self.seen
                .catalog_type
                .get_or_insert_with(|| ty.name.name.clone());
        }
        match (expr, self.named_type(ty)) {
            (Expr::Param(number), Some(key_type)) => {
                self.uses.typed(*number, key_type, ty.array);
                Ok(())
            }
            (Expr::Array(elements), Some(key_type)) if ty.array => elements
                .iter()
                .try_for_each(|element| self.walk_assigned(element, Some(key_type), scope, sink)),
            _ => self.walk(expr, scope, sink),
        }
    }

    /// An expression that is assigned to a column of this type, or cast to it: a bare parameter takes the type.
    pub(crate) fn walk_assigned(
        &mut self,
        expr: &'a Expr,
        ty: Option<KeyType>,
        scope: &Rc<Scope<'a>>,
        sink: Sink<'_>,
    ) -> Resolved<()> {
        match (expr, ty) {
            (Expr::Param(number), Some(ty)) => {
                self.uses.typed(*number, ty, false);
                Ok(())
            }
            _ => self.walk(expr, scope, sink),
        }
    }

    /// The key type of a plain column.
    pub(crate) fn column_type(&self, expr: &Expr, scope: &Scope<'a>) -> Option<KeyType> {
        match self.column(expr, scope) {
            Some(Lookup::Node(node)) => self.ty(node),
            Some(Lookup::Opaque) | None => None,
        }
    }

    /// What a plain column means; None: the expression is none.
    pub(crate) fn column(&self, expr: &Expr, scope: &Scope<'a>) -> Option<Lookup> {
        let Expr::Column {
            schema,
            table,
            column,
        } = expr
        else {
            return None;
        };
        Some(scope.column(schema.as_deref(), table.as_deref(), column))
    }

    /// The two sides give a parameter among them its type, so they are walked as a pair.
    fn typed_pair(&self, op: &str, left: &Expr, right: &Expr, scope: &Scope<'a>) -> bool {
        let rows = matches!((left, right), (Expr::Row(_), Expr::Row(_)));
        let params = matches!(left, Expr::Param(_)) || matches!(right, Expr::Param(_));
        let column = self
            .column_type(left, scope)
            .or_else(|| self.column_type(right, scope));
        is_comparison(op) && (rows || (params && column.is_some()))
    }

    fn walk_pair(
        &mut self,
        op: &str,
        left: &'a Expr,
        right: &'a Expr,
        scope: &Rc<Scope<'a>>,
        sink: Sink<'_>,
    ) -> Resolved<()> {
        if let (Expr::Row(lefts), Expr::Row(rights)) = (left, right)
            && lefts.len() == rights.len()
        {
            let mut pairs = lefts.iter().zip(rights);
            return pairs
                .try_for_each(|(left, right)| self.walk_pair(op, left, right, scope, sink));
        }
        for (side, other) in [(left, right), (right, left)] {
            let ty = self
                .column_type(other, scope)
                .filter(|ty| self.operator_is_builtin(op, None, Some(*ty)));
            self.walk_assigned(side, ty, scope, sink)?;
        }
        Ok(())
    }

    /// `e IN (list)`. The elements take the column's type if none of them asks for a wider kind of type.
    fn walk_list(
        &mut self,
        expr: &'a Expr,
        list: &'a [Expr],
        scope: &Rc<Scope<'a>>,
        sink: Sink<'_>,
    ) -> Resolved<()> {
        let columns = expr_columns(expr);
        for (i, column) in columns.iter().enumerate() {
            let ty = self.column_type(column, scope);
            self.note_operator("=", None, ty);
            let elements: Vec<&'a Expr> = list
                .iter()
                .filter_map(|e| element(e, i, columns.len()))
                .collect();
            let ty = ty.filter(|ty| {
                elements.iter().all(|e| self.leaves_type(e, *ty)) && self.equality_is_builtin(*ty)
            });
            for element in elements {
                self.walk_assigned(element, ty, scope, sink)?;
            }
        }
        if list.iter().any(|e| {
            columns.len() > 1 && !matches!(e, Expr::Row(row) if row.len() == columns.len())
        }) {
            self.walk_all(list, scope, sink)?;
        }
        self.walk(expr, scope, sink)
    }

    fn walk_array(
        &mut self,
        op: &str,
        left: &'a Expr,
        array: &'a Expr,
        scope: &Rc<Scope<'a>>,
        sink: Sink<'_>,
    ) -> Resolved<()> {
        let ty = self
            .column_type(left, scope)
            .filter(|ty| self.operator_is_builtin(op, None, Some(*ty)));
        match (array, ty) {
            (Expr::Param(number), Some(ty)) if is_comparison(op) => {
                self.uses.typed(*number, ty, true);
                Ok(())
            }
            _ => self.walk(array, scope, sink),
        }
    }

    fn operator_schema(&mut self, schema: Option<&str>) {
        if let Some(schema) = schema {
            self.seen.word(schema);
        }
    }
}

/// The left side of IN: one expression, or those of a row.
pub(crate) fn expr_columns(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Row(list) => list.iter().collect(),
        one => vec![one],
    }
}

/// The part of a list's element that meets the column at `index`.
pub(crate) fn element(element: &Expr, index: usize, columns: usize) -> Option<&Expr> {
    match element {
        Expr::Row(row) if columns > 1 => row.get(index).filter(|_| row.len() == columns),
        one => (columns == 1).then_some(one),
    }
}

/// A number that Postgres types as numeric, which would make the whole list numeric.
pub(crate) fn is_fractional(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(Literal::Number(number)) if value::plain_integer(number).is_none())
}

/// The name belongs to a key type's conversion function, as in `int4(x)`.
pub(crate) fn is_type_function(name: &Name) -> bool {
    KeyType::from_name(&name.name).is_some()
}
