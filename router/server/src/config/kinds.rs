//! The kinds of values that a setting can have, and how each is read from TOML and from an environment variable.
//!
//! In the file a value has its TOML type: `"6432"` is not a number. A variable is text always, so its number is parsed.

use super::Secret;
use std::ops::{Range, RangeInclusive};
use toml::de::DeValue;

/// What is wrong with a value. `span` is a part of the value, None is all of it.
#[derive(Debug)]
pub(super) struct Wrong {
    pub message: String,
    pub help: Option<String>,
    pub span: Option<Range<usize>>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Vec<Self> {
        vec![Wrong {
            message: message.into(),
            help: None,
            span: None,
        }]
    }

    pub(super) fn helped(message: impl Into<String>, help: impl Into<String>) -> Vec<Self> {
        vec![Wrong {
            message: message.into(),
            help: Some(help.into()),
            span: None,
        }]
    }

    pub(super) fn at(span: Range<usize>, wrong: Vec<Self>) -> Vec<Self> {
        let place = |w: Wrong| Wrong {
            span: w.span.or(Some(span.clone())),
            ..w
        };
        wrong.into_iter().map(place).collect()
    }
}

/// A kind of value.
pub(super) trait Kind {
    type Value: Clone;
    fn toml(&self, value: &DeValue<'_>) -> Result<Self::Value, Vec<Wrong>>;
    fn variable(&self, text: &str) -> Result<Self::Value, Vec<Wrong>>;
    /// The value as SHOW CONFIG shows it.
    fn show(&self, value: &Self::Value) -> String;
    fn secret(&self) -> bool {
        false
    }
}

pub(super) fn wrong_type(expected: &str, value: &DeValue<'_>) -> Vec<Wrong> {
    Wrong::new(format!(
        "expected {expected}, found {}",
        with_article(value.type_str())
    ))
}

fn with_article(name: &str) -> String {
    match name.starts_with(['a', 'e', 'i', 'o']) {
        true => format!("an {name}"),
        false => format!("a {name}"),
    }
}

/// A non-empty text without control characters.
pub(super) struct Text;

impl Kind for Text {
    type Value = String;

    fn toml(&self, value: &DeValue<'_>) -> Result<String, Vec<Wrong>> {
        let text = value
            .as_str()
            .ok_or_else(|| wrong_type("a string", value))?;
        self.variable(text)
    }

    fn variable(&self, text: &str) -> Result<String, Vec<Wrong>> {
        if text.is_empty() {
            return Err(Wrong::new("the text must not be empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(Wrong::new("the text must not have control characters"));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

/// A host name, an address, or (where `any` is set) `*`.
pub(super) struct HostName {
    pub any: bool,
}

impl Kind for HostName {
    type Value = String;

    fn toml(&self, value: &DeValue<'_>) -> Result<String, Vec<Wrong>> {
        let text = value
            .as_str()
            .ok_or_else(|| wrong_type("a string", value))?;
        self.variable(text)
    }

    fn variable(&self, text: &str) -> Result<String, Vec<Wrong>> {
        if self.any && text == "*" || text.parse::<std::net::IpAddr>().is_ok() {
            return Ok(text.to_owned());
        }
        if text.parse::<std::net::SocketAddr>().is_ok() {
            return Err(Wrong::helped(
                format!("`{text}` has a port in it"),
                "the port is a setting of its own: `port`",
            ));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if text.is_empty() || text.len() > 253 || !text.chars().all(fits) {
            return Err(Wrong::new(format!(
                "`{}` is neither a host name nor an address",
                text.escape_debug()
            )));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

/// A password.
pub(super) struct Password;

impl Kind for Password {
    type Value = Secret;

    fn toml(&self, value: &DeValue<'_>) -> Result<Secret, Vec<Wrong>> {
        Text.toml(value).map(Secret::new)
    }

    fn variable(&self, text: &str) -> Result<Secret, Vec<Wrong>> {
        Text.variable(text).map(Secret::new)
    }

    fn show(&self, _value: &Secret) -> String {
        "********".to_owned()
    }

    fn secret(&self) -> bool {
        true
    }
}

/// A whole number within a range.
pub(super) struct Integer(pub RangeInclusive<u64>);

impl Integer {
    pub(super) fn check(&self, value: i128) -> Result<u64, Vec<Wrong>> {
        let (min, max) = (self.0.start(), self.0.end());
        u64::try_from(value)
            .ok()
            .filter(|v| self.0.contains(v))
            .ok_or_else(|| {
                Wrong::new(format!(
                    "{value} is out of range, it must be {min} to {max}"
                ))
            })
    }
}

impl Kind for Integer {
    type Value = u64;

    fn toml(&self, value: &DeValue<'_>) -> Result<u64, Vec<Wrong>> {
        let quoted = |text: &str| text.parse::<i128>().is_ok();
        match value {
            DeValue::Integer(_) => self.check(integer(value)?),
            DeValue::String(text) if quoted(text) => Err(Wrong::helped(
                "expected an integer, found a string",
                format!("write it without the quotes: {text}"),
            )),
            other => Err(wrong_type("an integer", other)),
        }
    }

    fn variable(&self, text: &str) -> Result<u64, Vec<Wrong>> {
        let value = text
            .trim()
            .parse::<i128>()
            .map_err(|_| Wrong::new("expected an integer"))?;
        self.check(value)
    }

    fn show(&self, value: &u64) -> String {
        value.to_string()
    }
}

/// The integer as it was written; one that no 128 bits hold is as wrong as any other that is out of range.
pub(super) fn integer(value: &DeValue<'_>) -> Result<i128, Vec<Wrong>> {
    let integer = value
        .as_integer()
        .ok_or_else(|| wrong_type("an integer", value))?;
    i128::from_str_radix(integer.as_str(), integer.radix())
        .map_err(|_| Wrong::new("the number is out of range"))
}

/// One word of a few.
pub(super) struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn toml(&self, value: &DeValue<'_>) -> Result<T, Vec<Wrong>> {
        let text = value
            .as_str()
            .ok_or_else(|| wrong_type("a string", value))?;
        self.variable(text)
    }

    fn variable(&self, text: &str) -> Result<T, Vec<Wrong>> {
        let found = self.0.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<_> = self.0.iter().map(|(n, _)| format!("\"{n}\"")).collect();
            Wrong::new(format!(
                "\"{}\" is not one of {}",
                text.escape_debug(),
                all.join(", ")
            ))
        })
    }

    fn show(&self, value: &T) -> String {
        let found = self.0.iter().find(|(_, v)| v == value);
        found.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }
}

/// A list of names without duplicates.
pub(super) struct Names;

impl Kind for Names {
    type Value = Vec<String>;

    fn toml(&self, value: &DeValue<'_>) -> Result<Vec<String>, Vec<Wrong>> {
        let items = value
            .as_array()
            .ok_or_else(|| wrong_type("an array of strings", value))?;
        let mut names: Vec<String> = Vec::new();
        let mut wrong = Vec::new();
        for item in items.iter() {
            match Text.toml(item.get_ref()) {
                Ok(name) if names.contains(&name) => wrong.extend(Wrong::at(
                    item.span(),
                    Wrong::new(format!("duplicate entry \"{name}\"")),
                )),
                Ok(name) => names.push(name),
                Err(list) => wrong.extend(Wrong::at(item.span(), list)),
            }
        }
        if wrong.is_empty() {
            Ok(names)
        } else {
            Err(wrong)
        }
    }

    fn variable(&self, text: &str) -> Result<Vec<String>, Vec<Wrong>> {
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',').filter(|_| !text.is_empty()) {
            let name = Text.variable(name.trim())?;
            if names.contains(&name) {
                return Err(Wrong::new(format!("duplicate entry \"{name}\"")));
            }
            names.push(name);
        }
        Ok(names)
    }

    fn show(&self, value: &Vec<String>) -> String {
        value.join(",")
    }
}
