//! Function calls, and which of them are grammar.

use super::expr::other;
use super::{Lower, Lowered, label, parts, to_name, unsupported};
use crate::facts::{Expr, Function, Name};
use sqlparser::ast::{
    DuplicateTreatment, Expr as Sp, Function as Call, FunctionArg, FunctionArgExpr,
    FunctionArgOperator, FunctionArgumentClause, FunctionArguments, OrderByExpr, WindowFrame,
    WindowFrameBound, WindowSpec, WindowType,
};

/// Words that are values of their own, with or without a precision behind them. They never mean a user's function.
pub(super) fn keyword_value(word: &str) -> Option<&'static str> {
    Some(match word {
        "current_catalog" => "current_catalog",
        "current_date" => "current_date",
        "current_role" => "current_role",
        "current_schema" => "current_schema",
        "current_time" => "current_time",
        "current_timestamp" => "current_timestamp",
        "current_user" => "current_user",
        "localtime" => "localtime",
        "localtimestamp" => "localtimestamp",
        "session_user" => "session_user",
        "user" => "user",
        _ => return None,
    })
}

/// Names that are grammar when they are called without a schema or quotes.
fn grammar_call(word: &str) -> Option<&'static str> {
    Some(match word {
        "coalesce" => "coalesce",
        "greatest" => "greatest",
        "grouping" => "grouping",
        "least" => "least",
        "normalize" => "normalize",
        "nullif" => "nullif",
        "treat" => "treat",
        "xmlconcat" | "xmlelement" | "xmlexists" | "xmlforest" | "xmlparse" | "xmlpi"
        | "xmlroot" | "xmlserialize" => "xml",
        _ => return None,
    })
}

/// An ordinary call of an unqualified function.
pub(super) fn bare_call(name: &str, args: Vec<Expr>) -> Expr {
    let name = Name {
        schema: None,
        name: name.to_owned(),
    };
    let empty = Vec::new();
    let call = Function {
        name,
        args,
        arg_names: empty,
        extra: Vec::new(),
        distinct: false,
        over: None,
        star: false,
    };
    Expr::Function(Box::new(call))
}

impl Lower<'_> {
    pub(super) fn function(&mut self, call: Call) -> Lowered<Expr> {
        let Call {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            within_group,
            filter,
            null_treatment,
            over,
        } = call;
        if uses_odbc_syntax
            || !matches!(parameters, FunctionArguments::None)
            || null_treatment.is_some()
        {
            return unsupported("a call of another dialect");
        }
        let parts = parts(name)?;
        let word = match parts.as_slice() {
            [only] if only.quote_style.is_none() => only.value.clone(),
            [] | [_] | [..] => String::new(),
        };
        let list = match args {
            FunctionArguments::List(list) => list,
            FunctionArguments::Subquery(query) if word == "array" => {
                // An array, unlike a subquery in parentheses, is one value wherever it stands.
                let query = Expr::Subquery(self.boxed_query(query)?);
                return Ok(other("array", vec![query]));
            }
            FunctionArguments::Subquery(_) => return unsupported("a query as an argument"),
            FunctionArguments::None => return unsupported("a call without parentheses"),
        };
        let distinct = match list.duplicate_treatment {
            Some(DuplicateTreatment::Distinct) => true,
            Some(DuplicateTreatment::All) | None => false,
        };
        let mut extra = Vec::new();
        for clause in list.clauses {
            self.clause(clause, &mut extra)?;
        }
        extra.extend(self.order(within_group)?);
        extra.extend(self.optional_boxed(filter)?);
        let over = over.map(|window| self.window(window)).transpose()?;
        let (args, arg_names, star) = self.args(list.args)?;
        let plain =
            extra.is_empty() && over.is_none() && !distinct && !star && arg_names.is_empty();
        if word == "row" && plain {
            return Ok(Expr::Row(args));
        }
        // `current_schema()` with parentheses is an ordinary call; the others take a precision.
        let special =
            grammar_call(&word).or_else(|| keyword_value(&word).filter(|w| *w != "current_schema"));
        if let (Some(what), true) = (special, plain) {
            return Ok(other(what, args));
        }
        let name = to_name(parts)?;
        Ok(Expr::Function(Box::new(Function {
            name,
            args,
            arg_names,
            extra,
            distinct,
            over,
            star,
        })))
    }

    /// The arguments of a call: values, names (empty if no argument is named), and whether it is `f(*)`.
    pub(super) fn args(
        &mut self,
        list: Vec<FunctionArg>,
    ) -> Lowered<(Vec<Expr>, Vec<Option<String>>, bool)> {
        let (mut args, mut names, mut star) = (Vec::new(), Vec::new(), false);
        let count = list.len();
        for arg in list {
            let (name, value) = match arg {
                FunctionArg::Unnamed(value) => (None, value),
                FunctionArg::Named {
                    name,
                    arg,
                    operator,
                } => {
                    named(operator)?;
                    (Some(label(name)?), arg)
                }
                FunctionArg::ExprNamed {
                    name: Sp::Identifier(name),
                    arg,
                    operator,
                } => {
                    named(operator)?;
                    (Some(label(name)?), arg)
                }
                FunctionArg::ExprNamed { .. } => return unsupported("a named argument"),
            };
            match value {
                FunctionArgExpr::Expr(value) => args.push(self.expr(value)?),
                FunctionArgExpr::QualifiedWildcard(row) => {
                    super::name(row)?;
                    args.push(other("whole row", Vec::new()));
                }
                FunctionArgExpr::Wildcard if count == 1 => {
                    star = true;
                    continue;
                }
                FunctionArgExpr::Wildcard | FunctionArgExpr::WildcardWithOptions(_) => {
                    return unsupported("* among arguments");
                }
            }
            names.push(name);
        }
        if names.iter().all(Option::is_none) {
            names.clear();
        }
        Ok((args, names, star))
    }

    fn clause(&mut self, clause: FunctionArgumentClause, extra: &mut Vec<Expr>) -> Lowered<()> {
        match clause {
            FunctionArgumentClause::OrderBy(order) => {
                extra.extend(self.order(order)?);
                Ok(())
            }
            FunctionArgumentClause::JsonNullClause(_)
            | FunctionArgumentClause::JsonReturningClause(_) => Ok(()),
            FunctionArgumentClause::IgnoreOrRespectNulls(_)
            | FunctionArgumentClause::Where(_)
            | FunctionArgumentClause::Limit(_)
            | FunctionArgumentClause::OnOverflow(_)
            | FunctionArgumentClause::Having(_)
            | FunctionArgumentClause::Separator(_) => unsupported("a clause of a call"),
        }
    }

    /// The expressions of an ORDER BY list.
    pub(super) fn order(&mut self, order: Vec<OrderByExpr>) -> Lowered<Vec<Expr>> {
        let mut exprs = Vec::with_capacity(order.len());
        for item in order {
            if item.with_fill.is_some() {
                return unsupported("WITH FILL");
            }
            exprs.push(self.expr(item.expr)?);
        }
        Ok(exprs)
    }

    fn window(&mut self, window: WindowType) -> Lowered<Vec<Expr>> {
        match window {
            WindowType::NamedWindow(name) => {
                label(name)?;
                Ok(Vec::new())
            }
            WindowType::WindowSpec(spec) => self.window_spec(spec),
        }
    }

    pub(super) fn window_spec(&mut self, spec: WindowSpec) -> Lowered<Vec<Expr>> {
        let WindowSpec {
            window_name,
            partition_by,
            order_by,
            window_frame,
        } = spec;
        window_name.map(label).transpose()?;
        let mut exprs = self.exprs(partition_by)?;
        exprs.extend(self.order(order_by)?);
        if let Some(WindowFrame {
            units: _,
            start_bound,
            end_bound,
        }) = window_frame
        {
            self.frame_bound(start_bound, &mut exprs)?;
            if let Some(bound) = end_bound {
                self.frame_bound(bound, &mut exprs)?;
            }
        }
        Ok(exprs)
    }

    fn frame_bound(&mut self, bound: WindowFrameBound, exprs: &mut Vec<Expr>) -> Lowered<()> {
        match bound {
            WindowFrameBound::CurrentRow => {}
            WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance) => {
                exprs.extend(self.optional_boxed(distance)?);
            }
        }
        Ok(())
    }
}

/// Only `=>` and `:=` name arguments in Postgres.
fn named(operator: FunctionArgOperator) -> Lowered<()> {
    match operator {
        FunctionArgOperator::RightArrow | FunctionArgOperator::Assignment => Ok(()),
        FunctionArgOperator::Equals
        | FunctionArgOperator::Colon
        | FunctionArgOperator::Value
        | FunctionArgOperator::Space => unsupported("a named argument"),
    }
}
