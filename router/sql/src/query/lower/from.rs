//! FROM lists, joins, relations and aliases.

use super::types::column_names;
use super::{Lower, Lowered, ident, parts, to_name, unsupported};
use crate::facts::{Alias, Expr, FromItem, Function, Join, JoinCondition, JoinKind, Relation};
use sqlparser::ast::{
    JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableFunctionArgs,
    TableSample, TableSampleKind, TableWithJoins,
};

impl Lower<'_> {
    pub(super) fn sources(&mut self, list: Vec<TableWithJoins>) -> Lowered<Vec<FromItem>> {
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            items.push(self.joined(Box::new(item))?);
        }
        Ok(items)
    }

    /// One entry of a FROM list. Joins lean to the left.
    fn joined(&mut self, item: Box<TableWithJoins>) -> Lowered<FromItem> {
        self.enter()?;
        let TableWithJoins { relation, joins } = *item;
        let mut left = self.factor(Box::new(relation))?;
        for (levels, join) in joins.into_iter().enumerate() {
            if join.global {
                return unsupported("GLOBAL JOIN");
            }
            if self.depth + levels >= super::DEPTH_MAX {
                return Err(super::too_deep());
            }
            let right = self.factor(Box::new(join.relation))?;
            let (kind, condition) = self.join(join.join_operator)?;
            left = FromItem::Join(Box::new(Join {
                left,
                right,
                kind,
                condition,
                alias: None,
            }));
        }
        self.leave();
        Ok(left)
    }

    fn join(&mut self, operator: JoinOperator) -> Lowered<(JoinKind, JoinCondition)> {
        let (kind, constraint) = match operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
            JoinOperator::FullOuter(c) => (JoinKind::Full, c),
            JoinOperator::CrossJoin(JoinConstraint::None) => {
                return Ok((JoinKind::Cross, JoinCondition::None));
            }
            JoinOperator::CrossJoin(_)
            | JoinOperator::Semi(_)
            | JoinOperator::LeftSemi(_)
            | JoinOperator::RightSemi(_)
            | JoinOperator::Anti(_)
            | JoinOperator::LeftAnti(_)
            | JoinOperator::RightAnti(_)
            | JoinOperator::CrossApply
            | JoinOperator::OuterApply
            | JoinOperator::AsOf { .. }
            | JoinOperator::StraightJoin(_)
            | JoinOperator::ArrayJoin
            | JoinOperator::LeftArrayJoin
            | JoinOperator::InnerArrayJoin => return unsupported("a join of another dialect"),
        };
        let condition = match constraint {
            JoinConstraint::On(expr) => JoinCondition::On(self.expr(expr)?),
            JoinConstraint::Using(columns) => JoinCondition::Using(
                columns
                    .into_iter()
                    .map(|c| self.single(c))
                    .collect::<Lowered<_>>()?,
            ),
            JoinConstraint::Natural => JoinCondition::Natural,
            JoinConstraint::None => return unsupported("a join without a condition"),
        };
        Ok((kind, condition))
    }

    /// A name of one part.
    pub(super) fn single(&self, object: ObjectName) -> Lowered<String> {
        let mut parts = parts(object)?;
        match (parts.pop(), parts.pop()) {
            (Some(only), None) => ident(only),
            (_, _) => unsupported("a qualified name"),
        }
    }

    fn factor(&mut self, factor: Box<TableFactor>) -> Lowered<FromItem> {
        match &*factor {
            TableFactor::Table { .. } => self.table(factor),
            TableFactor::Derived { .. } => self.derived(factor),
            TableFactor::Function { .. } => self.lateral_call(factor),
            TableFactor::NestedJoin { .. } => self.nested_join(factor),
            TableFactor::TableFunction { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::UnpivotExpr { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => unsupported("an entry of FROM"),
        }
    }

    fn table(&mut self, factor: Box<TableFactor>) -> Lowered<FromItem> {
        let TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } = *factor
        else {
            return unsupported("a table");
        };
        let foreign = !with_hints.is_empty() || version.is_some() || !partitions.is_empty();
        if foreign || json_path.is_some() || !index_hints.is_empty() {
            return unsupported("a table clause of another dialect");
        }
        match args {
            Some(args) => self.call_in_from(name, args, alias, sample.is_some()),
            None if with_ordinality => unsupported("WITH ORDINALITY behind a table"),
            None => {
                let alias = alias.map(to_alias).transpose()?;
                let sample = self.sample(sample)?;
                Ok(FromItem::Relation(Relation {
                    alias,
                    sample,
                    ..self.relation(name)?
                }))
            }
        }
    }

    fn derived(&mut self, factor: Box<TableFactor>) -> Lowered<FromItem> {
        let TableFactor::Derived {
            lateral,
            subquery,
            alias,
            sample: None,
        } = *factor
        else {
            return unsupported("a sample of a subquery");
        };
        let query = self.boxed_query(subquery)?;
        Ok(FromItem::Derived {
            query,
            alias: alias.map(to_alias).transpose()?,
            lateral,
        })
    }

    fn lateral_call(&mut self, factor: Box<TableFactor>) -> Lowered<FromItem> {
        let TableFactor::Function {
            lateral: _,
            name,
            args,
            with_ordinality: _,
            alias,
        } = *factor
        else {
            return unsupported("a call in FROM");
        };
        self.call_in_from(
            name,
            TableFunctionArgs {
                args,
                settings: None,
            },
            alias,
            false,
        )
    }

    fn nested_join(&mut self, factor: Box<TableFactor>) -> Lowered<FromItem> {
        let TableFactor::NestedJoin {
            table_with_joins,
            alias,
        } = *factor
        else {
            return unsupported("a join in parentheses");
        };
        let inner = self.joined(table_with_joins)?;
        match (alias.map(to_alias).transpose()?, inner) {
            (None, inner) => Ok(inner),
            (Some(alias), FromItem::Join(join)) if join.alias.is_none() => {
                Ok(FromItem::Join(Box::new(Join {
                    alias: Some(alias),
                    ..*join
                })))
            }
            (Some(_), _) => unsupported("an alias of parentheses"),
        }
    }

    fn call_in_from(
        &mut self,
        name: ObjectName,
        args: TableFunctionArgs,
        alias: Option<TableAlias>,
        sampled: bool,
    ) -> Lowered<FromItem> {
        if sampled || args.settings.is_some() {
            return unsupported("a table function with clauses");
        }
        let parts = parts(name)?;
        let word = match parts.as_slice() {
            [only] if only.quote_style.is_none() => only.value.as_str(),
            [] | [_] | [..] => "",
        };
        if matches!(word, "xmltable" | "json_table" | "rows") {
            return unsupported("a table function with its own grammar");
        }
        let name = to_name(parts)?;
        let (args, arg_names, star) = self.args(args.args)?;
        let call = Function {
            name,
            args,
            arg_names,
            extra: Vec::new(),
            distinct: false,
            over: None,
            star,
        };
        let calls = vec![Expr::Function(Box::new(call))];
        Ok(FromItem::Function {
            calls,
            alias: alias.map(to_alias).transpose()?,
        })
    }

    /// TABLESAMPLE with constants; anything else in it would be lost.
    fn sample(&mut self, sample: Option<TableSampleKind>) -> Lowered<bool> {
        let sample = match sample {
            None => return Ok(false),
            Some(
                TableSampleKind::BeforeTableAlias(sample)
                | TableSampleKind::AfterTableAlias(sample),
            ) => *sample,
        };
        let TableSample {
            modifier: _,
            name: _,
            quantity,
            seed: _,
            bucket,
            offset,
        } = sample;
        if bucket.is_some() || offset.is_some() {
            return unsupported("a sample of another dialect");
        }
        if let Some(quantity) = quantity {
            let value = self.expr(quantity.value)?;
            if !matches!(value, Expr::Literal(_) | Expr::Param(_)) {
                return unsupported("an expression in TABLESAMPLE");
            }
        }
        Ok(true)
    }

    /// A relation without its alias.
    pub(super) fn relation(&mut self, object: ObjectName) -> Lowered<Relation> {
        let parts = parts(object)?;
        let place = parts.first().and_then(Self::place);
        let noted = place.and_then(|place| self.only.iter().position(|only| *only == place));
        let only = noted.map(|index| self.only.swap_remove(index)).is_some();
        let span = self.span(&parts);
        Ok(Relation {
            name: to_name(parts)?,
            alias: None,
            only,
            sample: false,
            span,
        })
    }
}

fn to_alias(alias: TableAlias) -> Lowered<Alias> {
    let TableAlias {
        explicit: _,
        name,
        columns,
        at,
    } = alias;
    if at.is_some() {
        return unsupported("an alias of another dialect");
    }
    Ok(Alias {
        name: ident(name)?,
        columns: column_names(columns)?,
    })
}
