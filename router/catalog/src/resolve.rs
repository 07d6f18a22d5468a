//! A table's name as a role writes it -> the relation, and whether that role may change it.
//!
//! Names are resolved by Postgres under the search_path of the session that asks.

use crate::distribute::Caller;
use crate::error::{CatalogError, PgError};
use crate::load_code;
use crate::quote::{ident, literal};
use crate::search_path;
use tokio_postgres::Transaction;

pub(crate) struct Relation {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// relkind
    pub kind: String,
    /// Its owner's id.
    owner: u32,
}

impl Relation {
    pub(crate) fn display(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Finds a relation that the caller's role, if there is one, must own.
///
/// # Errors
/// 42P01, 42602 for the name; 42704 for the role; 42501 if the role does not own the relation.
pub(crate) async fn owned(
    tx: &Transaction<'_>,
    whom: &str,
    name: &str,
    caller: &Caller,
) -> Result<Relation, CatalogError> {
    let found = visible(tx, whom, name, caller).await?;
    if let Some(role) = &caller.role {
        require_owner(tx, whom, &found, role).await?;
    }
    Ok(found)
}

/// Finds a relation as the caller sees it.
///
/// # Errors
/// 42P01, 42602 for the name.
pub(crate) async fn visible(
    tx: &Transaction<'_>,
    whom: &str,
    name: &str,
    caller: &Caller,
) -> Result<Relation, CatalogError> {
    let err = |error| CatalogError::of(whom, &error);
    let path = path_of(tx, caller).await.map_err(err)?;
    tx.batch_execute(&format!("SET LOCAL search_path = {path}"))
        .await
        .map_err(err)?;
    let row = tx
        .query_one("SELECT to_regclass($1)::oid", &[&name])
        .await
        .map_err(err)?;
    tx.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp")
        .await
        .map_err(err)?;
    let Some(oid) = row.get::<_, Option<u32>>(0) else {
        return Err(PgError::new("42P01", format!("relation \"{name}\" does not exist")).into());
    };
    let row = tx
        .query_one(
            "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relowner FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1",
            &[&oid],
        )
        .await
        .map_err(err)?;
    Ok(Relation {
        oid,
        schema: row.get(0),
        name: row.get(1),
        kind: row.get(2),
        owner: row.get(3),
    })
}

async fn require_owner(
    tx: &Transaction<'_>,
    whom: &str,
    found: &Relation,
    role: &str,
) -> Result<(), CatalogError> {
    let row = tx
        .query_opt("SELECT rolsuper OR pg_has_role(oid, $2::oid, 'USAGE') FROM pg_roles WHERE rolname = $1", &[&role, &found.owner])
        .await
        .map_err(|error| CatalogError::of(whom, &error))?;
    match row.map(|row| row.get::<_, bool>(0)) {
        None => Err(PgError::new("42704", format!("role \"{role}\" does not exist")).into()),
        Some(true) => Ok(()),
        Some(false) => {
            Err(PgError::new("42501", format!("must be owner of table {}", found.name)).into())
        }
    }
}

/// The search_path as a list of SQL; `$user` stands for the role that asks and not for ours.
async fn path_of(tx: &Transaction<'_>, caller: &Caller) -> Result<String, tokio_postgres::Error> {
    let role = match &caller.role {
        Some(role) => role.clone(),
        None => tx.query_one("SELECT session_user::text", &[]).await?.get(0),
    };
    let items = match &caller.search_path {
        Some(items) => items.clone(),
        None => {
            let (settings, server) = load_code::path_settings(tx).await?;
            let mut paths = search_path::defaults(&settings, &server);
            paths
                .remove(&Some(role.clone()))
                .or_else(|| paths.remove(&None))
                .unwrap_or_default()
        }
    };
    if items.is_empty() {
        return Ok(literal(""));
    }
    let list: Vec<String> = items
        .iter()
        .map(|item| ident(if item == "$user" { &role } else { item }))
        .collect();
    Ok(list.join(", "))
}
