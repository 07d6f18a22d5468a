//! May a table be distributed? Every refusal says the reason and the way out.
//!
//! What holds on one Postgres and could not hold per shard is refused: constraints without the key, references to rows
//! of other shards, code that would run on a shard where its tables are not. Pure but for one look at the functions
//! that the table's expressions call.

use crate::error::{CatalogError, PgError};
use crate::expression::NEXTVAL;
use crate::function_class::is_tame;
use crate::key_text;
use crate::raw::{RawExpression, RawSystemFunction, RawTable};
use crate::table::{Table, TableColumn};
use crate::table_foreign_keys;
use std::collections::{BTreeSet, HashMap};
use tokio_postgres::Transaction;

/// What the table is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Distributed { distribution: u32, key: i16 },
    Reference,
}

/// Checks that need neither the distribution nor other tables: run before anything is looked up for it.
pub(crate) fn check_kind(table: &Table) -> Result<(), PgError> {
    let name = table.display();
    let wrong = |what: &str| {
        Err(PgError::new(
            "42809",
            format!("{what} \"{name}\" cannot be distributed"),
        ))
    };
    match table.kind.as_str() {
        "r" => {}
        "p" => {
            return Err(unsupported(
                format!("table \"{name}\" is partitioned"),
                "Distribute a table that is not partitioned.",
            ));
        }
        "v" => return wrong("view"),
        "m" => return wrong("materialized view"),
        "f" => return wrong("foreign table"),
        "S" => return wrong("sequence"),
        _ => return wrong("relation"),
    }
    if matches!(
        table.schema.as_str(),
        "shardgate" | "pg_catalog" | "information_schema"
    ) {
        return wrong("system table");
    }
    match table.persistence.as_str() {
        "p" => {}
        "u" => {
            return Err(unsupported(
                format!("table \"{name}\" is unlogged"),
                "ALTER TABLE .. SET LOGGED first.",
            ));
        }
        _ => return wrong("temporary table"),
    }
    if table.inherits {
        return Err(unsupported(
            format!("table \"{name}\" takes part in inheritance or is a partition"),
            "Detach it (ALTER TABLE .. NO INHERIT, DETACH PARTITION) first.",
        ));
    }
    if table.typed {
        return Err(unsupported(
            format!("table \"{name}\" is of a composite type"),
            "ALTER TABLE .. NOT OF first.",
        ));
    }
    if table.access_method != "heap" {
        return Err(unsupported(
            format!(
                "table \"{name}\" uses the access method {}",
                table.access_method
            ),
            "ALTER TABLE .. SET ACCESS METHOD heap first.",
        ));
    }
    Ok(())
}

/// The key column must exist and be of a type whose hash and order we reproduce.
pub(crate) fn check_key<'a>(table: &'a Table, column: &str) -> Result<&'a TableColumn, PgError> {
    let name = table.display();
    let found = table
        .columns
        .iter()
        .find(|c| !c.dropped && c.name == column);
    let Some(key) = found else {
        return Err(PgError::new(
            "42703",
            format!("column \"{column}\" of relation \"{name}\" does not exist"),
        ));
    };
    if key
        .type_name
        .as_deref()
        .and_then(key_text::key_type)
        .is_none()
    {
        return Err(crate::distribution::key_type_refused(&key.type_sql));
    }
    if !key.deterministic {
        return Err(unsupported(
            format!("column \"{column}\" has a collation that is not deterministic"),
            "Equal values that differ in their bytes would lie on different shards: choose another column or collation.",
        ));
    }
    if key.generated {
        return Err(unsupported(
            format!("column \"{column}\" is a generated column"),
            "Its value is not in the statement, so no shard can be chosen: choose another column.",
        ));
    }
    Ok(key)
}

/// Everything else.
pub(crate) async fn check_table(
    tx: &Transaction<'_>,
    whom: &str,
    table: &Table,
    target: Target,
    others: &[RawTable],
) -> Result<(), CatalogError> {
    check_code(table)?;
    check_columns(table)?;
    if let Target::Distributed { key, .. } = target {
        check_unique(table, key)?;
    }
    table_foreign_keys::check(table, target, others)?;
    check_expressions(tx, whom, table).await
}

fn check_code(table: &Table) -> Result<(), PgError> {
    let name = table.display();
    if let Some((what, which)) = table.code.first() {
        return Err(unsupported(
            format!("table \"{name}\" has the {what} \"{which}\""),
            "It would run on each shard, where other tables are missing: drop it first.",
        ));
    }
    if table.row_security {
        return Err(unsupported(
            format!("table \"{name}\" has row security enabled"),
            "ALTER TABLE .. DISABLE ROW LEVEL SECURITY first.",
        ));
    }
    if let Some(view) = table.materialized_views.first() {
        return Err(unsupported(
            format!("materialized view {view} reads table \"{name}\""),
            "It would be refreshed from the home shard's rows alone: drop it first.",
        ));
    }
    Ok(())
}

fn check_columns(table: &Table) -> Result<(), PgError> {
    for column in table.columns.iter().filter(|column| !column.dropped) {
        let name = format!("column \"{}\"", column.name);
        if column.type_name.is_none() {
            return Err(unsupported(
                format!(
                    "{name} is of the type {}, which is not built in",
                    column.type_sql
                ),
                "Such types have another number on each shard; use a built-in type.",
            ));
        }
        if column.user_collation {
            return Err(unsupported(
                format!("{name} has a collation that is not built in"),
                "Use a collation of pg_catalog, which every shard has.",
            ));
        }
        if column.identity == "a" {
            return Err(unsupported(
                format!("{name} is GENERATED ALWAYS AS IDENTITY"),
                "ALTER TABLE .. ALTER COLUMN .. SET GENERATED BY DEFAULT first.",
            ));
        }
    }
    Ok(())
}

/// Two rows with equal values in a unique constraint must meet on one shard.
fn check_unique(table: &Table, key: i16) -> Result<(), PgError> {
    let key_name = table
        .column(key)
        .map(|column| column.name.clone())
        .unwrap_or_default();
    let refuse = |what: String| {
        Err(PgError::new(
            "0A000",
            format!("{what} does not contain the sharding key \"{key_name}\""),
        )
        .detail("A shard can only see to it that values are unique among its own rows.")
        .hint(format!(
            "Add \"{key_name}\" to it, or distribute the table by one of its columns."
        )))
    };
    for constraint in &table.constraints {
        let what = match constraint.kind.as_str() {
            "p" => "primary key",
            "u" => "unique constraint",
            "x" => "exclusion constraint",
            _ => continue,
        };
        // An exclusion constraint has the key only if it compares it by equality.
        let by_equality =
            constraint.kind != "x" || excludes_by_equality(&constraint.definition, &key_name);
        if !constraint.columns.contains(&key) || !by_equality {
            return refuse(format!("{what} \"{}\"", constraint.name));
        }
    }
    for index in table
        .indexes
        .iter()
        .filter(|index| index.unique && !index.of_constraint)
    {
        if !index.columns.contains(&key) {
            return refuse(format!("unique index \"{}\"", index.name));
        }
    }
    Ok(())
}

fn excludes_by_equality(definition: &str, key: &str) -> bool {
    let plain = format!("{key} WITH =");
    let quoted = format!("{} WITH =", crate::quote::ident(key));
    [plain, quoted].iter().any(|part| {
        definition.contains(&format!("({part},"))
            || definition.contains(&format!("({part})"))
            || definition.contains(&format!(", {part},"))
            || definition.contains(&format!(", {part})"))
    })
}

/// Expressions run on each shard: they may call only functions that every shard has and that mean the same there.
async fn check_expressions(
    tx: &Transaction<'_>,
    whom: &str,
    table: &Table,
) -> Result<(), CatalogError> {
    let mut all: Vec<(String, &RawExpression)> = Vec::new();
    for column in table.columns.iter().filter(|column| !column.dropped) {
        all.push((
            format!("the default of column \"{}\"", column.name),
            &column.default,
        ));
    }
    for constraint in &table.constraints {
        all.push((
            format!("constraint \"{}\"", constraint.name),
            &constraint.expression,
        ));
    }
    for index in &table.indexes {
        all.push((format!("index \"{}\"", index.name), &index.expression));
    }
    let ids: BTreeSet<u32> = all
        .iter()
        .flat_map(|(_, expression)| expression.functions.iter().copied())
        .collect();
    let ids: Vec<u32> = ids.into_iter().collect();
    let rows = tx
        .query(
            "SELECT oid, oid::regproc::text, pronamespace = 'pg_catalog'::regnamespace, proname::text, provolatile::text \
             FROM pg_proc WHERE oid = ANY($1)",
            &[&ids],
        )
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    let refused: HashMap<u32, String> = rows
        .iter()
        .filter_map(|row| {
            let function = RawSystemFunction {
                oid: row.get(0),
                name: row.get(3),
                volatility: row.get::<_, String>(4).chars().next().unwrap_or('v'),
            };
            let fine = row.get::<_, bool>(2) && (is_tame(&function) || function.oid == NEXTVAL);
            (!fine).then(|| (function.oid, row.get(1)))
        })
        .collect();
    for (what, expression) in all {
        if let Some(function) = expression.functions.iter().find_map(|id| refused.get(id)) {
            return Err(unsupported(
                format!("{what} calls {function}"),
                "Only built-in functions that read no table and leave nothing behind mean the same on every shard.",
            )
            .into());
        }
        if expression.strange
            || expression
                .types
                .iter()
                .any(|ty| *ty >= crate::fingerprint::FIRST_USER_OID)
        {
            return Err(unsupported(
                format!("{what} is not understood"),
                "Use built-in functions and types alone.",
            )
            .into());
        }
    }
    Ok(())
}

fn unsupported(message: String, hint: &str) -> PgError {
    PgError::new("0A000", message).hint(hint)
}
