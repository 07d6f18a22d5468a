//! Type names.

use super::{Lower, Lowered, label, name, unsupported};
use crate::facts::{Name, TypeName};
use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

/// A type that SQL spells in its own way. It always means the one of pg_catalog.
fn builtin(name: &str, modifiers: Vec<i64>) -> TypeName {
    let name = Name {
        schema: Some("pg_catalog".to_owned()),
        name: name.to_owned(),
    };
    TypeName {
        name,
        modifiers,
        array: false,
    }
}

fn number(value: u64) -> Lowered<i64> {
    i64::try_from(value).map_err(|_| "a type modifier is too large".to_owned())
}

fn optional(value: Option<u64>) -> Lowered<Vec<i64>> {
    value.map(number).into_iter().collect()
}

fn exact(info: ExactNumberInfo) -> Lowered<Vec<i64>> {
    Ok(match info {
        ExactNumberInfo::None => Vec::new(),
        ExactNumberInfo::Precision(p) => vec![number(p)?],
        ExactNumberInfo::PrecisionAndScale(p, s) => vec![number(p)?, s],
    })
}

/// `char` without a length is `char(1)`; `varchar` without one is unlimited.
fn length(length: Option<CharacterLength>, default: Option<i64>) -> Lowered<Vec<i64>> {
    match length {
        None => Ok(default.into_iter().collect()),
        Some(CharacterLength::IntegerLength { length, unit: None }) => Ok(vec![number(length)?]),
        Some(CharacterLength::IntegerLength { unit: Some(_), .. } | CharacterLength::Max) => {
            unsupported("a unit of a length")
        }
    }
}

fn zoned(base: &str, precision: Option<u64>, zone: TimezoneInfo) -> Lowered<TypeName> {
    let modifiers = optional(precision)?;
    match zone {
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => Ok(builtin(base, modifiers)),
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => {
            Ok(builtin(&format!("{base}tz"), modifiers))
        }
    }
}

impl Lower<'_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    pub(super) fn data_type(&mut self, ty: DataType) -> Lowered<TypeName> {
        Ok(match ty {
            DataType::Int(None) | DataType::Integer(None) => builtin("int4", Vec::new()),
            DataType::SmallInt(None) => builtin("int2", Vec::new()),
            DataType::BigInt(None) => builtin("int8", Vec::new()),
            DataType::Real => builtin("float4", Vec::new()),
            DataType::DoublePrecision => builtin("float8", Vec::new()),
            DataType::Float(ExactNumberInfo::None) => builtin("float8", Vec::new()),
            DataType::Float(ExactNumberInfo::Precision(p)) => {
                builtin(if p < 25 { "float4" } else { "float8" }, Vec::new())
            }
            DataType::Boolean => builtin("bool", Vec::new()),
            DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => {
                builtin("numeric", exact(info)?)
            }
            DataType::Character(n) | DataType::Char(n) => builtin("bpchar", length(n, Some(1))?),
            DataType::CharacterVarying(n) | DataType::CharVarying(n) | DataType::Varchar(n) => {
                builtin("varchar", length(n, None)?)
            }
            DataType::Bit(n) => builtin("bit", optional(n.or(Some(1)))?),
            DataType::BitVarying(n) => builtin("varbit", optional(n)?),
            DataType::Time(precision, zone) => zoned("time", precision, zone)?,
            DataType::Timestamp(precision, zone) => zoned("timestamp", precision, zone)?,
            DataType::Custom(object, modifiers) => {
                // A modifier that is no number (geometry(Point, 4326)) keeps its place.
                let modifiers = modifiers.iter().map(|m| m.parse().unwrap_or(-1)).collect();
                TypeName {
                    name: name(object)?,
                    modifiers,
                    array: false,
                }
            }
            DataType::Array(
                ArrayElemTypeDef::SquareBracket(inner, _) | ArrayElemTypeDef::Qualified(inner, _),
            ) => {
                self.enter()?;
                let inner = self.data_type(*inner)?;
                self.leave();
                TypeName {
                    array: true,
                    ..inner
                }
            }
            // All other words are given to the parser as plain names and arrive as `Custom`.
            _ => return unsupported("a type"),
        })
    }
}

/// The columns of an alias, of which only the names matter here.
pub(super) fn column_names(
    columns: Vec<sqlparser::ast::TableAliasColumnDef>,
) -> Lowered<Vec<String>> {
    columns.into_iter().map(|c| label(c.name)).collect()
}
