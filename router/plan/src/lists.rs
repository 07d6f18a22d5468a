//! IN lists and arrays as sets of keys.

use crate::atoms::within;
use crate::constant::{Constant, Meets};
use crate::ir::Atom;
use crate::keyset::{Item, KeySet, NullMeans, ParamItem};
use crate::resolve::Resolver;
use crate::scope::Scope;
use crate::value::{self, Family, Parsed, family};
use crate::walk::{element, expr_columns, is_fractional};
use shardgate_shard_map::KeyType;
use shardgate_sql::facts::{Expr, Literal, TypeName};
use std::sync::Arc;

impl<'a> Resolver<'a> {
    pub(crate) fn in_list(&mut self, expr: &Expr, list: &[Expr], scope: &Scope<'a>) -> Vec<Atom> {
        let columns = expr_columns(expr);
        let mut atoms = Vec::new();
        for (i, column) in columns.iter().enumerate() {
            let Some((node, ty)) = self.typed_node(column, scope) else {
                continue;
            };
            let elements: Option<Vec<&Expr>> =
                list.iter().map(|e| element(e, i, columns.len())).collect();
            let set = match elements {
                Some(elements) if self.equality_is_builtin(ty) => self.list_set(&elements, ty),
                Some(_) => Err("its = may be a user's operator".to_owned()),
                None => Err("the rows of IN differ in length".to_owned()),
            };
            match set {
                Ok(set) => atoms.extend(within(node, set)),
                Err(why) => self.note(node, &format!("its IN list does not bind: {why}")),
            }
        }
        atoms
    }

    pub(crate) fn list_set(&self, elements: &[&Expr], ty: KeyType) -> Result<Arc<KeySet>, String> {
        // A numeric among them makes the list numeric, and '5.0' would be read as one.
        let untyped = |e: &&Expr| matches!(e, Expr::Literal(Literal::String(_)) | Expr::Param(_));
        if elements.iter().any(untyped) && !elements.iter().all(|e| self.leaves_type(e, ty)) {
            return Err("it mixes other types with constants of unknown type".to_owned());
        }
        let meets = if elements.len() == 1 {
            Meets::Alone
        } else {
            Meets::InList
        };
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            match self.constant(element, ty, meets) {
                Constant::Item(item) => items.push(item),
                Constant::Null | Constant::Nothing => {}
                Constant::No(why) => return Err(why),
            }
        }
        Ok(Arc::new(KeySet::Items(items)))
    }

    /// Beside a column of type `ty` and this element, the common type of a list is one of the column's family: a
    /// constant of unknown type takes that type.
    pub(crate) fn leaves_type(&self, element: &Expr, ty: KeyType) -> bool {
        match element {
            Expr::Literal(Literal::String(_) | Literal::Null) => true,
            Expr::Literal(Literal::Number(_)) => {
                family(ty) == Family::Int && !is_fractional(element)
            }
            Expr::Literal(Literal::Bool(_) | Literal::Other(_)) => false,
            Expr::Param(number) => self.declared(*number).is_none_or(|oid| {
                value::parameter_type(oid)
                    .is_some_and(|(declared, array)| !array && family(declared) == family(ty))
            }),
            Expr::Cast { ty: cast, .. } if !cast.array => self
                .named_type(cast)
                .is_some_and(|to| family(to) == family(ty)),
            _ => false,
        }
    }

    /// `column = ANY (array)`
    pub(crate) fn any_of(
        &mut self,
        left: &Expr,
        array: &Expr,
        schema: Option<&str>,
        scope: &Scope<'a>,
    ) -> Vec<Atom> {
        let Some((node, ty)) = self.typed_node(left, scope) else {
            return Vec::new();
        };
        if !self.operator_is_builtin("=", schema, Some(ty)) {
            return Vec::new();
        }
        match self.array_set(array, ty) {
            Ok(set) => within(node, set),
            Err(why) => {
                self.note(node, &format!("its ANY (array) does not bind: {why}"));
                Vec::new()
            }
        }
    }

    pub(crate) fn array_set(&self, array: &Expr, ty: KeyType) -> Result<Arc<KeySet>, String> {
        let other = || "the array is of another type, or no constant".to_owned();
        match array {
            Expr::Literal(Literal::String(text)) => literal_array(text, ty),
            Expr::Literal(Literal::Null) => Ok(Arc::new(KeySet::empty())),
            Expr::Param(number) => self.array_param(*number, ty).ok_or_else(other),
            Expr::Array(elements) => {
                // Without a cast the elements decide the type: strings make it text.
                let fits = |e: &&Expr| match e {
                    Expr::Literal(Literal::Number(_)) => {
                        family(ty) == Family::Int && !is_fractional(e)
                    }
                    Expr::Literal(Literal::String(_)) => family(ty) == Family::Text,
                    Expr::Cast { .. } => true,
                    _ => false,
                };
                if !elements.iter().all(|e| fits(&e)) {
                    return Err(other());
                }
                self.list_set(&elements.iter().collect::<Vec<_>>(), ty)
            }
            Expr::Cast { expr, ty: cast } if cast.array && cast.modifiers.is_empty() => {
                let to = self
                    .named_type(cast)
                    .filter(|to| family(*to) == family(ty))
                    .ok_or_else(other)?;
                match expr.as_ref() {
                    Expr::Literal(Literal::String(text)) => literal_array(text, to),
                    Expr::Param(number) => self.array_param(*number, to).ok_or_else(other),
                    // Each element is cast by itself.
                    Expr::Array(elements) => {
                        let element = TypeName {
                            array: false,
                            ..cast.clone()
                        };
                        let cast = |expr: &Expr| Expr::Cast {
                            expr: Box::new(expr.clone()),
                            ty: element.clone(),
                        };
                        let elements: Vec<Expr> = elements.iter().map(cast).collect();
                        self.list_set(&elements.iter().collect::<Vec<_>>(), ty)
                    }
                    _ => Err(other()),
                }
            }
            _ => Err(other()),
        }
    }

    pub(crate) fn array_param(&self, number: u16, ty: KeyType) -> Option<Arc<KeySet>> {
        let (ty, inferred) = match self.declared(number) {
            None => (ty, true),
            Some(oid) => match value::parameter_type(oid)? {
                (declared, true) if family(declared) == family(ty) => (declared, false),
                _ => return None,
            },
        };
        let null = NullMeans::Nothing;
        let param = ParamItem {
            number,
            ty,
            array: true,
            null,
            assigned: None,
            inferred,
        };
        Some(Arc::new(KeySet::Items(vec![Item::Param(param)])))
    }
}

fn literal_array(text: &str, ty: KeyType) -> Result<Arc<KeySet>, String> {
    let unreadable = || "only Postgres can read the array".to_owned();
    let elements = value::elements_from_text(text).ok_or_else(unreadable)?;
    let mut items = Vec::with_capacity(elements.len());
    for element in elements.into_iter().flatten() {
        match value::from_text(ty, &element) {
            Parsed::Key(key) => items.push(Item::Key(key)),
            Parsed::Fails | Parsed::Unknown => return Err(unreadable()),
        }
    }
    Ok(Arc::new(KeySet::Items(items)))
}
