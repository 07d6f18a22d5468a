//! A table's definition as the statements that make it on another shard.
//!
//! Definitions come from Postgres's own deparser, with all names qualified. Dropped columns are made and dropped again,
//! so that column numbers agree on all shards. What draws from a sequence raises an error on the other shards: one
//! sequence, on the home shard, numbers the rows of all.

use crate::expression::NEXTVAL;
use crate::quote::{ident, literal, qualified};
use crate::table::{Grant, Table, TableColumn};

/// The statements, in order. Foreign keys are among them: the tables that they refer to must be there.
pub(crate) fn create(table: &Table) -> Vec<String> {
    let name = qualified(&table.schema, &table.name);
    let mut out = Vec::new();
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let options = if table.options.is_empty() {
        String::new()
    } else {
        let list: Vec<String> = table
            .options
            .iter()
            .map(|option| storage_option(option))
            .collect();
        format!(" WITH ({})", list.join(", "))
    };
    out.push(format!(
        "CREATE TABLE {name} ({}){options}",
        columns.join(", ")
    ));
    for dropped in table.columns.iter().filter(|column| column.dropped) {
        out.push(format!(
            "ALTER TABLE {name} DROP COLUMN {}",
            ident(&dropped.name)
        ));
    }
    for column in table.columns.iter().filter(|column| !column.dropped) {
        if let Some(storage) = column.storage.as_deref().and_then(storage_word) {
            out.push(format!(
                "ALTER TABLE {name} ALTER COLUMN {} SET STORAGE {storage}",
                ident(&column.name)
            ));
        }
    }
    for constraint in &table.constraints {
        out.push(format!(
            "ALTER TABLE {name} ADD CONSTRAINT {} {}",
            ident(&constraint.name),
            constraint.definition
        ));
    }
    out.extend(
        table
            .indexes
            .iter()
            .filter(|index| !index.of_constraint)
            .map(|index| index.definition.clone()),
    );
    out.extend(foreign_keys(table));
    out.extend(table.statistics.iter().cloned());
    out.extend(replica_identity(table, &name));
    out.push(format!(
        "ALTER TABLE {name} OWNER TO {}",
        ident(&table.owner)
    ));
    out.extend(grants(table, &name));
    out
}

/// The foreign keys of the table, for when the tables that they refer to are there.
pub(crate) fn foreign_keys(table: &Table) -> Vec<String> {
    let name = qualified(&table.schema, &table.name);
    let outgoing = table.foreign_keys.iter().filter(|key| key.outgoing);
    outgoing
        .map(|key| {
            let (key, how) = (ident(&key.name), &key.definition);
            format!("ALTER TABLE {name} ADD CONSTRAINT {key} {how}")
        })
        .collect()
}

fn column(column: &TableColumn) -> String {
    if column.dropped {
        return format!("{} int", ident(&column.name));
    }
    let mut text = format!("{} {}", ident(&column.name), column.type_sql);
    if let Some(method) = compression(&column.compression) {
        text.push_str(&format!(" COMPRESSION {method}"));
    }
    if let Some(collation) = &column.collation {
        text.push_str(&format!(" COLLATE {collation}"));
    }
    match &column.default_sql {
        Some(expression) if column.generated => {
            text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED"))
        }
        Some(_) if column.default.functions.contains(&NEXTVAL) => {
            text.push_str(&drawn_on_home(column))
        }
        Some(expression) => text.push_str(&format!(" DEFAULT {expression}")),
        None if !column.identity.is_empty() => text.push_str(&drawn_on_home(column)),
        None => {}
    }
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    text
}

/// A default that raises an error: see `local.sql`.
fn drawn_on_home(column: &TableColumn) -> String {
    format!(
        " DEFAULT shardgate.drawn_on_home(NULL::{})",
        column.type_sql
    )
}

/// `name=value` of reloptions.
fn storage_option(option: &str) -> String {
    match option.split_once('=') {
        Some((name, value)) => format!("{} = {}", ident(name), literal(value)),
        None => ident(option),
    }
}

fn storage_word(storage: &str) -> Option<&'static str> {
    match storage {
        "p" => Some("PLAIN"),
        "e" => Some("EXTERNAL"),
        "x" => Some("EXTENDED"),
        "m" => Some("MAIN"),
        _ => None,
    }
}

fn compression(method: &str) -> Option<&'static str> {
    match method {
        "p" => Some("pglz"),
        "l" => Some("lz4"),
        _ => None,
    }
}

fn replica_identity(table: &Table, name: &str) -> Option<String> {
    let how = match table.replica_identity.as_str() {
        "f" => "FULL".to_owned(),
        "n" => "NOTHING".to_owned(),
        "i" => format!(
            "USING INDEX {}",
            ident(
                &table
                    .indexes
                    .iter()
                    .find(|index| index.replica_identity)?
                    .name
            )
        ),
        _ => return None,
    };
    Some(format!("ALTER TABLE {name} REPLICA IDENTITY {how}"))
}

fn grants(table: &Table, name: &str) -> Vec<String> {
    let mut out = Vec::new();
    if table.has_acl {
        // What the shard's default privileges or the owner's own would add is taken away first.
        out.push(format!(
            "REVOKE ALL ON TABLE {name} FROM PUBLIC, {}",
            ident(&table.owner)
        ));
    }
    out.extend(
        table
            .grants
            .iter()
            .map(|grant| grant_on(grant, &format!("TABLE {name}"))),
    );
    out
}

/// The table's schema: made if it is missing, with the privileges that the home shard's has.
pub(crate) fn schema(table: &Table) -> Vec<String> {
    let name = ident(&table.schema);
    let mut out = vec![format!(
        "CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {}",
        ident(&table.schema_owner)
    )];
    out.extend(
        table
            .schema_grants
            .iter()
            .map(|grant| grant_on(grant, &format!("SCHEMA {name}"))),
    );
    out
}

fn grant_on(grant: &Grant, object: &str) -> String {
    let to = grant.grantee.as_deref().map_or("PUBLIC".to_owned(), ident);
    let columns = grant
        .column
        .as_deref()
        .map_or(String::new(), |column| format!(" ({})", ident(column)));
    let option = if grant.grantable {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    format!(
        "GRANT {}{columns} ON {object} TO {to}{option}",
        grant.privilege
    )
}
