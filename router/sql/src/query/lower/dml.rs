//! INSERT, UPDATE, DELETE.

use super::{Lower, Lowered, ident, label, parts, unsupported};
use crate::facts::{
    Alias, Assignment, Body, Delete, FromItem, Insert, InsertSource, OnConflict, Query, Relation,
    Update,
};
use crate::query::normalise::OTHER_TARGET;
use sqlparser::ast::{
    self, AssignmentTarget, ConflictTarget, FromTable, ObjectName, OnConflictAction, OnInsert,
    TableAliasWithoutColumns, TableObject, TableWithJoins, UpdateTableFromKind,
};

impl Lower<'_> {
    pub(super) fn insert(&mut self, insert: ast::Insert) -> Lowered<Insert> {
        let ast::Insert {
            insert_token: _,
            optimizer_hints: _,
            or,
            ignore,
            into,
            table,
            table_alias,
            columns,
            overwrite,
            source,
            assignments,
            partitioned,
            after_columns,
            has_table_keyword,
            on,
            returning,
            output,
            replace_into,
            priority,
            insert_alias,
            settings,
            format_clause,
            multi_table_insert_type,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause,
        } = insert;
        let foreign = or.is_some()
            || ignore
            || !into
            || overwrite
            || !assignments.is_empty()
            || partitioned.is_some()
            || !after_columns.is_empty()
            || has_table_keyword
            || output.is_some()
            || replace_into
            || priority.is_some()
            || insert_alias.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || multi_table_insert_type.is_some()
            || !multi_table_into_clauses.is_empty()
            || !multi_table_when_clauses.is_empty()
            || multi_table_else_clause.is_some();
        if foreign {
            return unsupported("an INSERT clause of another dialect");
        }
        let TableObject::TableName(object) = table else {
            return unsupported("the target of INSERT");
        };
        let mut target = self.relation(object)?;
        if let Some(TableAliasWithoutColumns { explicit: _, alias }) = table_alias {
            target.alias = Some(Alias {
                name: ident(alias)?,
                columns: Vec::new(),
            });
        }
        let columns = columns
            .into_iter()
            .map(|c| self.single(c))
            .collect::<Lowered<_>>()?;
        let source = match source {
            None => InsertSource::DefaultValues,
            Some(query) => insert_source(self.query(query)?),
        };
        let on_conflict = on.map(|on| self.on_conflict(on)).transpose()?;
        let returning = self.items(returning.unwrap_or_default())?;
        Ok(Insert {
            target,
            columns,
            source,
            overriding: self.overriding,
            on_conflict,
            returning,
        })
    }

    fn on_conflict(&mut self, on: OnInsert) -> Lowered<OnConflict> {
        let on = match on {
            OnInsert::OnConflict(on) => on,
            OnInsert::DuplicateKeyUpdate(_) => return unsupported("ON DUPLICATE KEY"),
            // The parser may come to know more of these.
            _ => return unsupported("an ON clause"),
        };
        let (columns, other_target) = match on.conflict_target {
            None => (Vec::new(), false),
            Some(ConflictTarget::OnConstraint(_)) => (Vec::new(), true),
            Some(ConflictTarget::Columns(columns)) => {
                let columns = columns
                    .into_iter()
                    .map(ident)
                    .collect::<Lowered<Vec<_>>>()?;
                if columns.iter().any(|c| c == OTHER_TARGET) {
                    (Vec::new(), true)
                } else {
                    (columns, false)
                }
            }
        };
        let update = match on.action {
            OnConflictAction::DoNothing => None,
            OnConflictAction::DoUpdate(update) => Some((
                self.assignments(update.assignments)?,
                self.optional_expr(update.selection)?,
            )),
        };
        Ok(OnConflict {
            columns,
            other_target,
            update,
        })
    }

    fn assignments(&mut self, assignments: Vec<ast::Assignment>) -> Lowered<Vec<Assignment>> {
        let mut result = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let columns = match assignment.target {
                AssignmentTarget::ColumnName(column) => vec![assigned(column)?],
                AssignmentTarget::Tuple(columns) => {
                    columns.into_iter().map(assigned).collect::<Lowered<_>>()?
                }
            };
            result.push(Assignment {
                columns,
                value: self.expr(assignment.value)?,
            });
        }
        Ok(result)
    }

    pub(super) fn update(&mut self, update: ast::Update) -> Lowered<Update> {
        let ast::Update {
            update_token: _,
            optimizer_hints: _,
            table,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
        } = update;
        if output.is_some() || or.is_some() || !order_by.is_empty() || limit.is_some() {
            return unsupported("an UPDATE clause of another dialect");
        }
        let target = self.target(table)?;
        let from = match from {
            None => Vec::new(),
            Some(UpdateTableFromKind::AfterSet(list)) => self.sources(list)?,
            Some(UpdateTableFromKind::BeforeSet(_)) => return unsupported("FROM before SET"),
        };
        Ok(Update {
            target,
            assignments: self.assignments(assignments)?,
            from,
            filter: self.optional_expr(selection)?,
            returning: self.items(returning.unwrap_or_default())?,
        })
    }

    pub(super) fn delete(&mut self, delete: ast::Delete) -> Lowered<Delete> {
        let ast::Delete {
            delete_token: _,
            optimizer_hints: _,
            tables,
            from,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
        } = delete;
        if !tables.is_empty() || output.is_some() || !order_by.is_empty() || limit.is_some() {
            return unsupported("a DELETE clause of another dialect");
        }
        let FromTable::WithFromKeyword(mut list) = from else {
            return unsupported("DELETE without FROM");
        };
        let (Some(table), None) = (list.pop(), list.pop()) else {
            return unsupported("DELETE from several tables");
        };
        Ok(Delete {
            target: self.target(table)?,
            using: self.sources(using.unwrap_or_default())?,
            filter: self.optional_expr(selection)?,
            returning: self.items(returning.unwrap_or_default())?,
        })
    }

    /// The one relation that an UPDATE or DELETE changes.
    fn target(&mut self, table: TableWithJoins) -> Lowered<Relation> {
        let mut items = self.sources(vec![table])?;
        match (items.pop(), items.pop()) {
            (Some(FromItem::Relation(relation)), None) if !relation.sample => Ok(relation),
            (_, _) => unsupported("the target of the statement"),
        }
    }
}

/// `a = ..`, and `a.field = ..`, which changes the column a.
fn assigned(column: ObjectName) -> Lowered<String> {
    let first = parts(column)?.into_iter().next().ok_or("a name is empty")?;
    label(first)
}

/// A VALUES list of its own is told from a query, since its rows can be taken apart.
fn insert_source(query: Query) -> InsertSource {
    let bare = query.ctes.is_empty()
        && query.order_by.is_empty()
        && query.limit.is_none()
        && query.offset.is_none()
        && !query.locking;
    match query {
        Query {
            body: Body::Values(rows),
            ..
        } if bare => InsertSource::Values(rows),
        query => InsertSource::Query(Box::new(query)),
    }
}
