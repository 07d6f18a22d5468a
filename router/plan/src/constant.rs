//! Constants as keys: literals, parameters, and casts of these.
//!
//! In a comparison a constant is read in the key's type; in an assignment it also goes through the assignment cast.

use crate::keyset::{Item, KeySet, NullMeans, ParamItem};
use crate::operators::family_types;
use crate::resolve::Resolver;
use crate::value::{self, Family, Integral, Parsed, family};
use shardgate_shard_map::{Key, KeyType};
use shardgate_sql::facts::{Expr, Literal, TypeName};
use std::sync::Arc;

/// What an expression says as a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    Item(Item),
    /// The literal NULL.
    Null,
    /// No key of the type equals it: `5.5` beside an integer.
    Nothing,
    /// It does not bind; the text says why, as the end of a sentence.
    No(String),
}

/// How a constant meets a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    /// `key = constant`
    Alone,
    /// One of a list, whose common type may be wider than the key's.
    InList,
    /// `column = constant` in INSERT and SET: the column's modifier.
    Assigned(i32),
}

/// The number of the text type `unknown`, which drivers send for "not declared".
const UNKNOWN_OID: u32 = 705;

impl Resolver<'_> {
    /// `expr` as a key of type `ty`.
    pub(crate) fn constant(&self, expr: &Expr, ty: KeyType, meets: Meets) -> Constant {
        let constant = match expr {
            Expr::Literal(literal) => self.literal(literal, ty, meets),
            Expr::Param(number) => self.parameter(*number, ty, meets),
            Expr::Cast { expr, ty: cast } => self.cast(expr, cast, ty),
            Expr::Collate { .. } => no("it has an explicit collation"),
            _ => no("it is not a constant, a parameter, or a cast of one"),
        };
        match (constant, meets) {
            (Constant::Item(item), Meets::Assigned(modifier)) => assign(item, ty, modifier),
            // A list that fails to be read as the key's type may be read as another.
            (Constant::Item(Item::Fails), Meets::InList) => {
                no("a value of the list is not of the column's type")
            }
            (constant, Meets::Alone | Meets::InList | Meets::Assigned(_)) => constant,
        }
    }

    fn literal(&self, literal: &Literal, ty: KeyType, meets: Meets) -> Constant {
        match (literal, family(ty)) {
            (Literal::Null, _) if self.context.transform_null_equals && meets == Meets::Alone => {
                no("transform_null_equals turns = NULL into IS NULL")
            }
            (Literal::Null, _) => Constant::Null,
            (Literal::String(text), _) => parsed(value::from_text(ty, text)),
            (Literal::Number(number), Family::Int) => match (value::integral(number), meets) {
                (Integral::Is(key), _) => Constant::Item(Item::Key(Key::Int(key))),
                (Integral::Not, Meets::Alone | Meets::InList) => Constant::Nothing,
                (Integral::Not, Meets::Assigned(_)) => no("it is rounded on assignment"),
                (Integral::Unknown, _) => no("only Postgres can read the number"),
            },
            (Literal::Number(number), Family::Text) if matches!(meets, Meets::Assigned(_)) => {
                self.number_as_text(number)
            }
            (Literal::Number(_), _) => no("it is a number and the column is not"),
            (Literal::Bool(_) | Literal::Other(_), _) => {
                no("it is of another type than the column")
            }
        }
    }

    fn parameter(&self, number: u16, ty: KeyType, meets: Meets) -> Constant {
        let null = match meets {
            Meets::Alone | Meets::InList => NullMeans::Nothing,
            Meets::Assigned(_) => NullMeans::Error,
        };
        match self.declared(number) {
            None => param(number, ty, null, true),
            Some(oid) => match value::parameter_type(oid) {
                Some((declared, false)) if family(declared) == family(ty) => {
                    param(number, declared, null, false)
                }
                Some(_) | None => no(&format!(
                    "${number} is declared with another type than the column's"
                )),
            },
        }
    }

    /// The type that the client declared for `$number`.
    pub(crate) fn declared(&self, number: u16) -> Option<u32> {
        let oid = self
            .context
            .declared
            .get(usize::from(number).checked_sub(1)?)?;
        (*oid != 0 && *oid != UNKNOWN_OID).then_some(*oid)
    }

    /// The key type that a type's name means.
    pub(crate) fn named_type(&self, name: &TypeName) -> Option<KeyType> {
        match name.name.schema.as_deref() {
            Some("pg_catalog") => KeyType::from_name(&name.name.name),
            Some(_) => None,
            // pg_catalog is searched first, unless the path says otherwise.
            None if self.snapshot.types.contains(&name.name.name) => None,
            None => KeyType::from_name(&name.name.name),
        }
    }

    fn cast(&self, inner: &Expr, cast: &TypeName, ty: KeyType) -> Constant {
        let numeric = cast.name.name == "numeric" && cast.modifiers.is_empty() && !cast.array;
        if numeric && family(ty) == Family::Int && !self.snapshot.types.contains("numeric") {
            return match inner {
                Expr::Literal(Literal::Number(number)) => {
                    self.literal(&Literal::Number(number.clone()), ty, Meets::Alone)
                }
                _ => no("it is cast to numeric"),
            };
        }
        let Some(to) = self
            .named_type(cast)
            .filter(|to| !cast.array && family(*to) == family(ty))
        else {
            return no("it is cast to another type than the column's");
        };
        let constant = match inner {
            Expr::Literal(Literal::String(text)) => match value::from_text(to, text) {
                Parsed::Key(key) => parsed(value::assigned(key, to, -1)),
                other => parsed(other),
            },
            Expr::Literal(Literal::Number(number)) => match family(to) {
                Family::Text => self.number_as_text(number),
                Family::Int
                | Family::Uuid
                | Family::Bytea
                | Family::Date
                | Family::Timestamp
                | Family::Timestamptz => number_cast(number, to),
            },
            Expr::Literal(Literal::Null) => Constant::Null,
            Expr::Literal(Literal::Bool(_) | Literal::Other(_)) => {
                no("it is cast from another type")
            }
            Expr::Param(number) => self.parameter(*number, to, Meets::Alone),
            Expr::Cast { expr, ty: cast } => self.cast(expr, cast, to),
            _ => no("it is not a constant, a parameter, or a cast of one"),
        };
        match (constant, cast.modifiers.as_slice()) {
            // What equals no key in its own type may be rounded to one by this cast.
            (Constant::Nothing, _) => no("the cast may change the value"),
            (constant, []) => constant,
            (Constant::Item(Item::Key(Key::Text(text))), [limit])
                if usize::try_from(*limit).is_ok_and(|limit| text.chars().count() <= limit) =>
            {
                Constant::Item(Item::Key(Key::Text(text)))
            }
            (Constant::Null, _) => Constant::Null,
            _ => no("the cast has a modifier that may change the value"),
        }
    }

    /// A number that is converted to text: its digits, unless the user has made a cast for that.
    fn number_as_text(&self, number: &str) -> Constant {
        let casts = &self.snapshot.casts;
        if casts.iter().any(|(from, to)| {
            family_types(Family::Int).contains(from) && family_types(Family::Text).contains(to)
        }) {
            return no("a cast from numbers to text was created here");
        }
        match value::plain_integer(number) {
            Some(key) => Constant::Item(Item::Key(Key::Text(key.to_string().into()))),
            None => no("it is a number that is converted to text"),
        }
    }

    /// A constant of a type of its own, as in a select list: its type and value.
    pub(crate) fn typed_constant(&self, expr: &Expr) -> Option<(KeyType, Item)> {
        match expr {
            Expr::Literal(Literal::Number(number)) => {
                let key = value::plain_integer(number)?;
                let ty = if i32::try_from(key).is_ok() {
                    KeyType::Int4
                } else {
                    KeyType::Int8
                };
                Some((ty, Item::Key(Key::Int(key))))
            }
            Expr::Literal(Literal::String(text)) => {
                Some((KeyType::Text, Item::Key(Key::Text(text.as_str().into()))))
            }
            Expr::Cast { ty: cast, .. } if !cast.array => {
                let ty = self.named_type(cast)?;
                match self.constant(expr, ty, Meets::Alone) {
                    Constant::Item(item) => Some((ty, item)),
                    Constant::Null | Constant::Nothing | Constant::No(_) => None,
                }
            }
            _ => None,
        }
    }
}

/// The expression is a literal or a parameter, cast or not.
pub(crate) fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(_) | Expr::Param(_) => true,
        Expr::Cast { expr, .. } => is_constant(expr),
        _ => false,
    }
}

impl Constant {
    /// As a set for a comparison; the error says why it does not bind.
    pub(crate) fn into_set(self) -> Result<Arc<KeySet>, String> {
        match self {
            Constant::Item(item) => Ok(Arc::new(KeySet::Items(vec![item]))),
            Constant::Null | Constant::Nothing => Ok(Arc::new(KeySet::empty())),
            Constant::No(why) => Err(why),
        }
    }
}

fn no(why: &str) -> Constant {
    Constant::No(why.to_owned())
}

fn parsed(parsed: Parsed) -> Constant {
    match parsed {
        Parsed::Key(key) => Constant::Item(Item::Key(key)),
        Parsed::Fails => Constant::Item(Item::Fails),
        Parsed::Unknown => no("only Postgres can read its form"),
    }
}

fn param(number: u16, ty: KeyType, null: NullMeans, inferred: bool) -> Constant {
    Constant::Item(Item::Param(ParamItem {
        number,
        ty,
        array: false,
        null,
        assigned: None,
        inferred,
    }))
}

/// A number constant cast to an integer or a text type. What is out of range fails only when it is evaluated.
fn number_cast(number: &str, to: KeyType) -> Constant {
    match family(to) {
        Family::Int => {
            let key = match value::integral(number) {
                Integral::Is(key) => value::assigned(Key::Int(key), to, -1),
                Integral::Not | Integral::Unknown => Parsed::Unknown,
            };
            match key {
                Parsed::Key(key) => Constant::Item(Item::Key(key)),
                Parsed::Fails | Parsed::Unknown => {
                    no("it is not a value of the type that it is cast to")
                }
            }
        }
        Family::Text
        | Family::Uuid
        | Family::Bytea
        | Family::Date
        | Family::Timestamp
        | Family::Timestamptz => no("it is a number and the column is not"),
    }
}

/// The assignment cast.
fn assign(item: Item, ty: KeyType, modifier: i32) -> Constant {
    match item {
        Item::Key(key) => match value::assigned(key, ty, modifier) {
            Parsed::Unknown => no("the column's length or precision changes it on assignment"),
            other => parsed(other),
        },
        Item::Fails => Constant::Item(Item::Fails),
        Item::Null => Constant::Item(Item::Null),
        Item::Param(param) => Constant::Item(Item::Param(ParamItem {
            assigned: Some((ty, modifier)),
            null: NullMeans::Error,
            ..param
        })),
    }
}
