//! SELECT: target lists, INTO, GROUP BY, windows.

use super::{Lower, Lowered, label, name, unsupported};
use crate::facts::{Distinct, Expr, GroupBy, Item, Name, Select};
use crate::query::normalise::NO_ALIAS;
use sqlparser::ast::{
    self, Expr as Sp, GroupByExpr, NamedWindowDefinition, NamedWindowExpr, SelectFlavor,
    SelectInto, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};

impl Lower<'_> {
    pub(super) fn select(&mut self, select: Box<ast::Select>) -> Lowered<Select> {
        let ast::Select {
            select_token: _,
            optimizer_hints: _,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = *select;
        let foreign = select_modifiers.is_some_and(|m| m.is_any_set())
            || top.is_some()
            || exclude.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !connect_by.is_empty()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || qualify.is_some()
            || value_table_mode.is_some()
            || flavor != SelectFlavor::Standard;
        if foreign {
            return unsupported("a SELECT clause of another dialect");
        }
        let distinct = match distinct {
            None | Some(ast::Distinct::All) => Distinct::No,
            Some(ast::Distinct::Distinct) => Distinct::All,
            Some(ast::Distinct::On(exprs)) => Distinct::On(self.exprs(exprs)?),
        };
        Ok(Select {
            distinct,
            items: self.items(projection)?,
            into: into.map(|i| self.target_of_into(i)).transpose()?,
            from: self.sources(from)?,
            filter: self.optional_expr(selection)?,
            group_by: self.group_by(group_by)?,
            having: self.optional_expr(having)?,
            windows: self.windows(named_window)?,
        })
    }

    pub(super) fn items(&mut self, items: Vec<SelectItem>) -> Lowered<Vec<Item>> {
        let mut result = Vec::with_capacity(items.len());
        for item in items {
            result.push(self.item(item)?);
        }
        Ok(result)
    }

    fn item(&mut self, item: SelectItem) -> Lowered<Item> {
        match item {
            SelectItem::UnnamedExpr(Sp::QualifiedWildcard(object, _)) => {
                Ok(Item::QualifiedStar(name(object)?))
            }
            SelectItem::UnnamedExpr(expr) => Ok(Item::Expr {
                expr: self.expr(expr)?,
                alias: None,
            }),
            SelectItem::ExprWithAlias { expr, alias } => {
                let alias = label(alias)?;
                let alias = Some(alias).filter(|a| a != NO_ALIAS);
                Ok(Item::Expr {
                    expr: self.expr(expr)?,
                    alias,
                })
            }
            SelectItem::ExprWithAliases { .. } => unsupported("several aliases of one item"),
            SelectItem::QualifiedWildcard(kind, options) => {
                plain_star(options)?;
                match kind {
                    SelectItemQualifiedWildcardKind::ObjectName(object) => {
                        Ok(Item::QualifiedStar(name(object)?))
                    }
                    SelectItemQualifiedWildcardKind::Expr(row) => Ok(Item::Expr {
                        expr: self.composite_star(row)?,
                        alias: None,
                    }),
                }
            }
            SelectItem::Wildcard(options) => {
                plain_star(options)?;
                Ok(Item::Star)
            }
        }
    }

    /// A temporary target is in the schema pg_temp.
    fn target_of_into(&mut self, into: SelectInto) -> Lowered<Name> {
        let SelectInto {
            temporary,
            unlogged: _,
            table: _,
            mut targets,
        } = into;
        let target = match (targets.pop(), targets.pop()) {
            (Some(Sp::Identifier(only)), None) => super::to_name(vec![only])?,
            (Some(Sp::CompoundIdentifier(parts)), None) => super::to_name(parts)?,
            (_, _) => return unsupported("the target of INTO"),
        };
        match (temporary, target.schema) {
            (true, None) => Ok(Name {
                schema: Some("pg_temp".to_owned()),
                name: target.name,
            }),
            (_, schema) => Ok(Name {
                schema,
                name: target.name,
            }),
        }
    }

    fn group_by(&mut self, group_by: GroupByExpr) -> Lowered<GroupBy> {
        match group_by {
            GroupByExpr::All(_) => unsupported("GROUP BY ALL"),
            GroupByExpr::Expressions(exprs, modifiers) => {
                if !modifiers.is_empty() {
                    return unsupported("a modifier of GROUP BY");
                }
                if exprs.is_empty() {
                    return Ok(GroupBy::None);
                }
                let sets = exprs.iter().any(|e| {
                    let empty = matches!(e, Sp::Tuple(items) if items.is_empty());
                    empty || matches!(e, Sp::GroupingSets(_) | Sp::Cube(_) | Sp::Rollup(_))
                });
                let exprs = self.exprs(exprs)?;
                Ok(if sets {
                    GroupBy::Sets(exprs)
                } else {
                    GroupBy::Exprs(exprs)
                })
            }
        }
    }

    fn windows(&mut self, windows: Vec<NamedWindowDefinition>) -> Lowered<Vec<Expr>> {
        let mut exprs = Vec::new();
        for NamedWindowDefinition(_, window) in windows {
            match window {
                NamedWindowExpr::NamedWindow(_) => {
                    return unsupported("a window that is another's name");
                }
                NamedWindowExpr::WindowSpec(spec) => exprs.extend(self.window_spec(spec)?),
            }
        }
        Ok(exprs)
    }
}

fn plain_star(options: WildcardAdditionalOptions) -> Lowered<()> {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    let plain = opt_ilike.is_none()
        && opt_exclude.is_none()
        && opt_except.is_none()
        && opt_replace.is_none()
        && opt_rename.is_none()
        && opt_alias.is_none();
    if plain {
        Ok(())
    } else {
        unsupported("a clause behind *")
    }
}
