//! The SQL functions that the router answers itself: `create_distributed_table(..)` and its kin.
//!
//! Argument names are those that users of Citus know, and ours. What the functions do is in `distribute`.

use crate::connect::Backend;
use crate::distribute::{Caller, DistributeRequest, distribute_table, reference_table};
use crate::error::{CatalogError, PgError};
use crate::two_phase::Watch;
use crate::undistribute::undistribute_table;
use shardgate_plan::{Argument, Call, CallName};
use tokio_postgres::Config;

/// Parameters of `create_distributed_table`, in order, each with the names that it may be given by.
const DISTRIBUTE: &[&[&str]] = &[
    &["table_name", "table", "relation"],
    &["distribution_column", "column"],
    &["distribution_type", "method"],
    &["colocate_with"],
    &["shard_count", "buckets"],
    &["bounds"],
    &["values"],
    &["default_shard"],
];

const ONE_TABLE: &[&[&str]] = &[&["table_name", "table", "relation"]];

/// Runs a function for a client's role, which must own the table, with the role's default search_path. Returns when the
/// new epoch is committed; parameters must have been replaced by their values.
///
/// # Errors
/// 42883 and 22023 for arguments; else those of the operation.
pub async fn call(config: &Config, call: &Call, role: &str) -> Result<(), CatalogError> {
    call_in(
        config,
        call,
        &Caller {
            role: Some(role.to_owned()),
            search_path: None,
        },
        None,
    )
    .await
}

/// The same with the session's own search_path. `watch` is told the edges of the change.
pub async fn call_in(
    config: &Config,
    call: &Call,
    caller: &Caller,
    watch: Option<Watch>,
) -> Result<(), CatalogError> {
    // The arguments are read before anybody is connected to.
    let operation = Operation::read(call, caller)?;
    let home = Backend::primary(config, "the home shard").await?;
    let mut home = home.watched(watch);
    match operation {
        Operation::Distribute(request) => distribute_table(&mut home, &request).await,
        Operation::Reference(relation) => reference_table(&mut home, &relation, caller).await,
        Operation::Undistribute(relation) => undistribute_table(&mut home, &relation, caller).await,
    }
}

#[derive(Debug)]
enum Operation {
    Distribute(Box<DistributeRequest>),
    Reference(String),
    Undistribute(String),
}

impl Operation {
    fn read(call: &Call, caller: &Caller) -> Result<Operation, PgError> {
        match call.function {
            CallName::CreateDistributedTable => {
                let mut args = Args::read(call, DISTRIBUTE)?;
                Ok(Operation::Distribute(Box::new(DistributeRequest {
                    relation: args.required(0)?,
                    column: args.required(1)?,
                    method: args.text(2)?,
                    colocate_with: args.text(3)?,
                    distribution: None,
                    buckets: args.number(4)?,
                    bounds: args.list(5)?,
                    values: args
                        .list(6)?
                        .map(|values| values.into_iter().map(|value| (value, None)).collect()),
                    default_shard: args.text(7)?,
                    role: caller.clone(),
                })))
            }
            CallName::CreateReferenceTable => Ok(Operation::Reference(
                Args::read(call, ONE_TABLE)?.required(0)?,
            )),
            CallName::UndistributeTable => Ok(Operation::Undistribute(
                Args::read(call, ONE_TABLE)?.required(0)?,
            )),
            CallName::BackendPid => Err(PgError::new(
                "0A000",
                "pg_backend_pid() is not a function of the catalog",
            )),
        }
    }
}

/// Arguments by their position in the parameter list; absent ones are None, as NULL is.
struct Args<'a> {
    function: String,
    names: &'static [&'static [&'static str]],
    values: Vec<Option<&'a Argument>>,
}

impl<'a> Args<'a> {
    fn read(call: &'a Call, names: &'static [&'static [&'static str]]) -> Result<Self, PgError> {
        let function = call.column.clone();
        let mut values: Vec<Option<&Argument>> = vec![None; names.len()];
        for (position, (name, argument)) in call.args.iter().enumerate() {
            let index = match name {
                None => Some(position).filter(|index| *index < names.len()),
                Some(name) => names
                    .iter()
                    .position(|known| known.contains(&name.as_str())),
            };
            let Some(slot) = index.and_then(|index| values.get_mut(index)) else {
                let what = name
                    .as_ref()
                    .map_or("that many arguments".to_owned(), |name| {
                        format!("an argument \"{name}\"")
                    });
                let known: Vec<&str> = names
                    .iter()
                    .filter_map(|known| known.last().copied())
                    .collect();
                return Err(
                    PgError::new("42883", format!("function {function} has not {what}"))
                        .hint(format!("Its arguments are {}.", known.join(", "))),
                );
            };
            if slot.replace(argument).is_some() {
                return Err(PgError::new(
                    "42601",
                    format!("an argument of function {function} is given twice"),
                ));
            }
        }
        Ok(Args {
            function,
            names,
            values,
        })
    }

    fn name(&self, index: usize) -> &'static str {
        self.names
            .get(index)
            .and_then(|known| known.last())
            .copied()
            .unwrap_or("?")
    }

    fn wrong(&self, index: usize, what: &str) -> PgError {
        PgError::new(
            "22023",
            format!(
                "argument \"{}\" of function {} {what}",
                self.name(index),
                self.function
            ),
        )
    }

    fn text(&mut self, index: usize) -> Result<Option<String>, PgError> {
        match self.values.get(index).copied().flatten() {
            None => Ok(None),
            Some(Argument::Text(text)) => Ok(text.clone()),
            Some(Argument::List(_)) => Err(self.wrong(index, "is not an array")),
            Some(Argument::Param(number)) => {
                Err(self.wrong(index, &format!("has no value for ${number}")))
            }
        }
    }

    fn required(&mut self, index: usize) -> Result<String, PgError> {
        self.text(index)?
            .ok_or_else(|| self.wrong(index, "must be given and not be NULL"))
    }

    fn number(&mut self, index: usize) -> Result<Option<u32>, PgError> {
        let Some(text) = self.text(index)? else {
            return Ok(None);
        };
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| self.wrong(index, &format!("is no number: \"{text}\"")))
    }

    /// A list, or a single text, which counts as a list of one unless it is an array literal.
    fn list(&mut self, index: usize) -> Result<Option<Vec<String>>, PgError> {
        match self.values.get(index).copied().flatten() {
            Some(Argument::List(list)) => Ok(Some(list.clone())),
            Some(Argument::Text(_) | Argument::Param(_)) | None => match self.text(index)? {
                None => Ok(None),
                Some(text) => array(&text)
                    .map(Some)
                    .ok_or_else(|| self.wrong(index, &format!("is no array: \"{text}\""))),
            },
        }
    }
}

/// A one-dimensional array literal without NULLs: `{a,"b c"}`. Postgres's manual, 8.15.6, says how it is quoted.
fn array(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut out = Vec::new();
    let mut chars = inner.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            // Only an empty array ends here: after a comma an item must follow.
            return out.is_empty().then_some(out);
        }
        let mut item = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => item.push(chars.next()?),
                    other => item.push(other),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                match c {
                    '\\' => item.push(chars.next()?),
                    '{' | '}' | '"' => return None,
                    other => item.push(other),
                }
            }
            item.truncate(item.trim_end().len());
            if item.is_empty() || item.eq_ignore_ascii_case("null") {
                return None;
            }
        }
        out.push(item);
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        match chars.next() {
            None => return Some(out),
            Some(',') if chars.peek().is_some() => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals() {
        let check = |text: &str, expect: Option<&[&str]>| {
            let got = array(text);
            assert_eq!(
                got.as_ref()
                    .map(|v| v.iter().map(String::as_str).collect::<Vec<_>>())
                    .as_deref(),
                expect,
                "{text}"
            );
        };
        check("{}", Some(&[]));
        check("{a, b c ,\"d,\\\"e\"}", Some(&["a", "b c", "d,\"e"]));
        check("{2020-01-01}", Some(&["2020-01-01"]));
        check("{a,}", None);
        check("{a,NULL}", None);
        check("{{a}}", None);
        check("a", None);
        check("{\"a", None);
    }

    #[test]
    fn arguments_by_position_and_name() {
        let text = |text: &str| Argument::Text(Some(text.to_owned()));
        let read = |args: Vec<(Option<&str>, Argument)>| {
            let args = args
                .into_iter()
                .map(|(name, value)| (name.map(str::to_owned), value))
                .collect();
            let call = Call {
                function: CallName::CreateDistributedTable,
                column: "create_distributed_table".to_owned(),
                args,
            };
            match Operation::read(&call, &Caller::default()) {
                Ok(Operation::Distribute(request)) => Ok(request),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.sqlstate),
            }
        };
        let request = read(vec![
            (None, text("t")),
            (None, text("k")),
            (Some("shard_count"), text("8")),
            (Some("bounds"), Argument::List(vec!["1".to_owned()])),
        ])
        .unwrap();
        assert_eq!(
            (
                request.relation.as_str(),
                request.column.as_str(),
                request.buckets
            ),
            ("t", "k", Some(8))
        );
        assert_eq!(request.bounds, Some(vec!["1".to_owned()]));
        assert_eq!(read(vec![(None, text("t"))]).unwrap_err(), "22023");
        assert_eq!(
            read(vec![(None, text("t")), (Some("table_name"), text("t"))]).unwrap_err(),
            "42601"
        );
        assert_eq!(
            read(vec![(None, text("t")), (Some("nope"), text("t"))]).unwrap_err(),
            "42883"
        );
        assert_eq!(
            read(vec![(None, text("t")), (None, Argument::Param(1))]).unwrap_err(),
            "22023"
        );
        assert_eq!(
            read(vec![
                (None, text("t")),
                (None, text("k")),
                (Some("buckets"), text("x"))
            ])
            .unwrap_err(),
            "22023"
        );
    }
}
