//! Expressions that give the same value on every shard, whatever server computes them and when.
//!
//! DDL on several shards computes its values on each of them. So they may depend on the row and on constants alone: not on
//! the time, on chance, on sequences, nor on settings that could differ from server to server (time zone, date style,
//! locale). What is not known to be so is not steady; it is no list of what is forbidden.

use crate::conversions::{CLOCK, Class, TYPES, class_of_oid, converts, is_zone, iso};
use crate::snapshot::{Oid, Relation, Snapshot};
use shardgate_sql::facts::{Expr, Function, Literal, Name, TypeName};

/// Functions of pg_catalog from numbers and text to what stands here; all are immutable.
#[rustfmt::skip]
const FUNCTIONS: &[(&str, Class)] = &[
    ("abs", Class::Number), ("ceil", Class::Number), ("ceiling", Class::Number), ("floor", Class::Number),
    ("round", Class::Number), ("trunc", Class::Number), ("sign", Class::Number), ("mod", Class::Number), ("div", Class::Number),
    ("length", Class::Number), ("char_length", Class::Number), ("octet_length", Class::Number), ("strpos", Class::Number),
    ("btrim", Class::Text), ("ltrim", Class::Text), ("rtrim", Class::Text), ("lower", Class::Text), ("upper", Class::Text),
    ("left", Class::Text), ("right", Class::Text), ("lpad", Class::Text), ("rpad", Class::Text), ("replace", Class::Text),
    ("regexp_replace", Class::Text), ("split_part", Class::Text), ("substr", Class::Text), ("substring", Class::Text),
    ("translate", Class::Text), ("reverse", Class::Text), ("repeat", Class::Text), ("md5", Class::Text),
    ("to_timestamp", Class::TimestampTz),
];

pub(crate) struct Steady<'p> {
    pub snapshot: &'p Snapshot,
    /// Whose columns may be named.
    pub relation: Option<&'p Relation>,
}

impl Steady<'_> {
    /// What a type is, of arrays what their elements are.
    pub(crate) fn class_of(&self, ty: &TypeName) -> Class {
        let name = ty.name.name.as_str();
        let system = match ty.name.schema.as_deref() {
            Some(schema) => schema == "pg_catalog",
            None => !self.snapshot.types.contains(name),
        };
        let is =
            |(_, names): &&(Class, &[(&str, Oid)])| names.iter().any(|(known, _)| *known == name);
        TYPES
            .iter()
            .find(is)
            .filter(|_| system)
            .map_or(Class::Other, |(class, _)| *class)
    }

    /// The expression can be stored in a column of the type, and is the same everywhere.
    pub(crate) fn fits(&self, expr: &Expr, ty: Option<&TypeName>) -> bool {
        match (expr, ty) {
            (Expr::Literal(Literal::Null), _) => true,
            (Expr::Literal(Literal::String(text)), Some(ty)) => self.reads_alike(text, ty),
            (Expr::Array(list), Some(ty)) if ty.array => {
                list.iter().all(|expr| self.fits(expr, Some(&element(ty))))
            }
            (_, Some(ty)) => match self.class(expr) {
                // `'{..}'::int[]` and the like: a cast to the very type.
                Some(Class::Other) => is_cast_to(expr, ty),
                Some(from) => !ty.array && converts(from, self.class_of(ty)),
                None => false,
            },
            (_, None) => false,
        }
    }

    /// As `fits`, for a column whose type is known by its number.
    pub(crate) fn fits_oid(&self, expr: &Expr, oid: Oid) -> bool {
        let named = TYPES
            .iter()
            .flat_map(|(_, names)| *names)
            .find(|(_, number)| *number == oid);
        match named {
            Some((name, _)) => {
                let ty = TypeName {
                    name: Name {
                        schema: Some("pg_catalog".to_owned()),
                        name: (*name).to_owned(),
                    },
                    modifiers: Vec::new(),
                    array: false,
                };
                self.fits(expr, Some(&ty))
            }
            None => matches!(expr, Expr::Literal(Literal::Null)),
        }
    }

    /// It is the same everywhere, whatever type it is stored in: a number, a truth value, NULL, or a string that neither
    /// the clock nor a setting could read.
    pub(crate) fn fits_any(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Literal(Literal::String(text)) => {
                let text = text.to_ascii_lowercase();
                !text.contains(|c: char| c.is_ascii_digit())
                    && !CLOCK.iter().any(|word| text.contains(word))
            }
            Expr::Literal(_) => true,
            _ => matches!(
                self.class(expr),
                Some(
                    Class::Number
                        | Class::Float
                        | Class::Bool
                        | Class::Text
                        | Class::Uuid
                        | Class::Json
                        | Class::Bytes
                        | Class::Plain
                )
            ),
        }
    }

    /// The class of a steady expression; None if it is not known to be steady.
    fn class(&self, expr: &Expr) -> Option<Class> {
        match expr {
            Expr::Column {
                schema,
                table,
                column,
            } => {
                let relation = self.relation?;
                let own =
                    schema.is_none() && table.as_ref().is_none_or(|table| *table == relation.name);
                let found = relation
                    .columns
                    .iter()
                    .find(|known| known.name == *column)?;
                let class = class_of_oid(found.ty);
                (own && class != Class::Other).then_some(class)
            }
            Expr::Literal(Literal::Null | Literal::String(_)) => Some(Class::Open),
            Expr::Literal(Literal::Number(_)) => Some(Class::Number),
            Expr::Literal(Literal::Bool(_)) => Some(Class::Bool),
            Expr::Literal(Literal::Other(_)) => Some(Class::Bytes),
            Expr::Cast { expr, ty } => self.cast(expr, ty),
            Expr::And(list) | Expr::Or(list) => self.all(list).map(|()| Class::Bool),
            Expr::Not(expr) | Expr::IsNull { expr, .. } => self.class(expr).map(|_| Class::Bool),
            Expr::Unary { op, expr } => {
                let class = self.class(expr)?;
                let known = matches!(op.as_str(), "-" | "+") && is_numeric(class);
                (known && !self.is_users(op)).then_some(class)
            }
            Expr::Binary {
                op,
                schema: None,
                left,
                right,
            } => self.binary(op, left, right),
            Expr::InList { expr, list, .. } => {
                let mut all = vec![self.class(expr)?];
                for item in list {
                    all.push(self.class(item)?);
                }
                (is_comparable(&all) && !self.is_users("=")).then_some(Class::Bool)
            }
            Expr::Case {
                operand,
                whens,
                otherwise,
            } => self.case(operand.as_deref(), whens, otherwise.as_deref()),
            Expr::Function(function) => self.call(function),
            Expr::Other { what, children } => self.syntax(what, children),
            Expr::Param(_)
            | Expr::Default
            | Expr::Binary { .. }
            | Expr::IsDistinct { .. }
            | Expr::InSubquery { .. }
            | Expr::Quantified { .. }
            | Expr::Between { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            | Expr::Row(_)
            | Expr::Array(_)
            | Expr::Collate { .. }
            | Expr::Opaque(_) => None,
        }
    }

    fn all(&self, list: &[Expr]) -> Option<()> {
        list.iter()
            .all(|expr| self.class(expr).is_some())
            .then_some(())
    }

    fn is_users(&self, op: &str) -> bool {
        self.snapshot.operators.iter().any(|known| known.name == op)
    }

    fn cast(&self, expr: &Expr, ty: &TypeName) -> Option<Class> {
        let to = self.class_of(ty);
        if let Expr::Literal(Literal::String(text)) = expr {
            let class = if ty.array { Class::Other } else { to };
            return self.reads_alike(text, ty).then_some(class);
        }
        let from = self.class(expr)?;
        let explicit = matches!(
            (from, to),
            (
                Class::Text,
                Class::Number | Class::Float | Class::Bool | Class::Uuid | Class::Json
            ) | (Class::Number, Class::Bool)
                | (Class::Bool, Class::Number)
        );
        (!ty.array && to != Class::Other && (explicit || converts(from, to))).then_some(to)
    }

    fn binary(&self, op: &str, left: &Expr, right: &Expr) -> Option<Class> {
        let (left, right) = (self.class(left)?, self.class(right)?);
        if self.is_users(op) {
            return None;
        }
        match op {
            "+" | "-" | "*" | "/" | "%" if is_numeric(left) && is_numeric(right) => {
                let float = left == Class::Float || right == Class::Float;
                Some(if float { Class::Float } else { Class::Number })
            }
            "||" => {
                let text = |class| matches!(class, Class::Text | Class::Open);
                let some = left == Class::Text || right == Class::Text;
                (some && text(left) && text(right)).then_some(Class::Text)
            }
            "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=" => {
                is_comparable(&[left, right]).then_some(Class::Bool)
            }
            _ => None,
        }
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        whens: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> Option<Class> {
        let mut compared = Vec::new();
        if let Some(operand) = operand {
            compared.push(self.class(operand)?);
            if self.is_users("=") {
                return None;
            }
        }
        let mut results = Vec::new();
        for (when, then) in whens {
            let when = self.class(when)?;
            if operand.is_some() {
                compared.push(when);
            }
            results.push(self.class(then)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.class(otherwise)?);
        }
        (compared.is_empty() || is_comparable(&compared)).then_some(())?;
        one_class(&results)
    }

    fn call(&self, function: &Function) -> Option<Class> {
        let name = function.name.name.as_str();
        let system = match function.name.schema.as_deref() {
            Some(schema) => schema == "pg_catalog",
            None => !self.snapshot.functions.contains_key(name),
        };
        let plain = system
            && function.extra.is_empty()
            && function.over.is_none()
            && !function.distinct
            && !function.star;
        let (_, class) = FUNCTIONS.iter().find(|(known, _)| *known == name)?;
        let fits = |expr: &Expr| {
            let class = self.class(expr);
            let text = matches!(class, Some(Class::Number | Class::Text | Class::Open));
            // A string constant may be a time for to_timestamp's other form, which has two arguments.
            text && (name != "to_timestamp" || class == Some(Class::Number))
        };
        (plain && function.args.iter().all(fits)).then_some(*class)
    }

    fn syntax(&self, what: &str, children: &[Expr]) -> Option<Class> {
        match (what, children) {
            ("at time zone", [value, Expr::Literal(Literal::String(_))]) => {
                match self.class(value)? {
                    Class::Timestamp => Some(Class::TimestampTz),
                    Class::TimestampTz => Some(Class::Timestamp),
                    _ => None,
                }
            }
            ("coalesce", _) => {
                let classes: Option<Vec<Class>> =
                    children.iter().map(|child| self.class(child)).collect();
                one_class(&classes?)
            }
            ("trim" | "substring", _) => {
                let fits = |child| {
                    matches!(
                        self.class(child),
                        Some(Class::Text | Class::Number | Class::Open)
                    )
                };
                children.iter().all(fits).then_some(Class::Text)
            }
            _ => None,
        }
    }

    /// A string means the same as a value of the type on every server.
    fn reads_alike(&self, text: &str, ty: &TypeName) -> bool {
        let class = self.class_of(ty);
        if ty.array {
            // Of an array only the elements' type says how it is read.
            return matches!(
                class,
                Class::Number | Class::Float | Class::Bool | Class::Text | Class::Uuid
            ) || (class != Class::Other && text.trim() == "{}");
        }
        let text = text.trim().to_ascii_lowercase();
        let always = matches!(text.as_str(), "infinity" | "-infinity");
        match class {
            Class::Number
            | Class::Float
            | Class::Bool
            | Class::Text
            | Class::Uuid
            | Class::Json
            | Class::Bytes
            | Class::Plain => true,
            Class::Date | Class::Timestamp => always || iso(&text) == Some(""),
            Class::TimestampTz => always || text == "epoch" || iso(&text).is_some_and(is_zone),
            Class::Time => text
                .chars()
                .all(|c| c.is_ascii_digit() || c == ':' || c == '.'),
            Class::TimeTz => false,
            Class::Interval => !text.contains('-'),
            // An enum, as a rule; what is read from the clock or by a setting is written otherwise.
            Class::Other => {
                self.snapshot.types.contains(&ty.name.name)
                    && !text.starts_with(|c: char| c.is_ascii_digit() || "+-{(".contains(c))
                    && !CLOCK.iter().any(|word| text.contains(word))
            }
            Class::Open => false,
        }
    }
}

fn is_numeric(class: Class) -> bool {
    matches!(class, Class::Number | Class::Float)
}

/// They are compared without a conversion that depends on a setting.
fn is_comparable(classes: &[Class]) -> bool {
    let simple = |class: &Class| {
        matches!(
            class,
            Class::Open | Class::Number | Class::Float | Class::Bool | Class::Text | Class::Uuid
        )
    };
    classes.iter().all(simple) && one_class(classes).is_some()
}

/// The class of all but the open ones, if it is one.
fn one_class(classes: &[Class]) -> Option<Class> {
    let mut known = classes.iter().filter(|class| **class != Class::Open);
    let first = known.next().copied().unwrap_or(Class::Text);
    let same = |class: &&Class| **class == first || (is_numeric(**class) && is_numeric(first));
    let simple = !matches!(
        first,
        Class::Date
            | Class::Time
            | Class::TimeTz
            | Class::Timestamp
            | Class::TimestampTz
            | Class::Interval
    );
    let open = classes.contains(&Class::Open);
    let all: Vec<&Class> = known.collect();
    // A string beside a time would be read as one.
    (all.iter().all(same) && (simple || !open)).then_some(first)
}

fn element(ty: &TypeName) -> TypeName {
    TypeName {
        array: false,
        ..ty.clone()
    }
}

/// `'..'::type`, of the type itself.
fn is_cast_to(expr: &Expr, ty: &TypeName) -> bool {
    matches!(expr, Expr::Cast { ty: cast, .. } if cast.name == ty.name && cast.array == ty.array)
}
