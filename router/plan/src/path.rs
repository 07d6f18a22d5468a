//! Which relation a name means: search_path, temporary relations, the system's schemas.

use crate::decision::Context;
use crate::snapshot::{Relation, Snapshot};
use shardgate_sql::facts::Name;
use std::sync::Arc;

/// The schemas that unqualified names are looked up in, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchPath {
    schemas: Vec<String>,
    /// `pg_temp` was written into the path; else it comes first.
    temporary_listed: bool,
}

/// What a relation's name means.
#[derive(Clone, Debug)]
pub(crate) enum Target<'a> {
    Known(&'a Arc<Relation>),
    Temporary,
    /// pg_catalog, information_schema, pg_toast.
    System,
    /// No such relation in the snapshot.
    Unknown,
    /// pg_catalog may have one of that name, and the snapshot has another.
    Ambiguous(&'a Arc<Relation>),
}

impl SearchPath {
    /// The session's path, else the role's default, else Postgres's.
    pub(crate) fn effective(snapshot: &Snapshot, context: &Context<'_>) -> SearchPath {
        let default = snapshot
            .search_paths
            .get(&Some(context.user.to_owned()))
            .or_else(|| snapshot.search_paths.get(&None))
            .map(Vec::as_slice);
        let standard = ["$user".to_owned(), "public".to_owned()];
        let items = context.search_path.or(default).unwrap_or(&standard);
        let mut path = SearchPath {
            schemas: Vec::new(),
            temporary_listed: false,
        };
        for item in items {
            match item.as_str() {
                "$user" if snapshot.schemas.contains(context.user) => {
                    path.schemas.push(context.user.to_owned())
                }
                "$user" => {}
                "pg_temp" => {
                    path.temporary_listed = true;
                    path.schemas.push(item.clone());
                }
                _ => path.schemas.push(item.clone()),
            }
        }
        path
    }

    /// As inside of a view's body, which qualifies every name.
    pub(crate) fn empty() -> SearchPath {
        SearchPath {
            schemas: Vec::new(),
            temporary_listed: true,
        }
    }

    /// The relation that `name` means.
    pub(crate) fn relation<'a>(
        &self,
        name: &Name,
        snapshot: &'a Snapshot,
        context: &Context<'_>,
    ) -> Target<'a> {
        match name.schema.as_deref() {
            Some(schema) if is_temporary(schema) => Target::Temporary,
            Some(schema) if is_system(schema) => Target::System,
            Some(schema) => snapshot
                .relation(schema, &name.name)
                .map_or(Target::Unknown, Target::Known),
            None => self.unqualified(&name.name, snapshot, context),
        }
    }

    /// A relation that is created by this name is a temporary one: the first schema of the path that exists takes it.
    pub(crate) fn makes_temporary(&self, name: &Name, snapshot: &Snapshot) -> bool {
        match name.schema.as_deref() {
            Some(schema) => is_temporary(schema),
            None => self.creates_temporary(snapshot),
        }
    }

    /// The same for a name without a schema.
    pub(crate) fn creates_temporary(&self, snapshot: &Snapshot) -> bool {
        let exists = |schema: &&String| {
            is_temporary(schema) || is_system(schema) || snapshot.schemas.contains(*schema)
        };
        self.schemas
            .iter()
            .find(exists)
            .is_some_and(|schema| is_temporary(schema))
    }

    fn unqualified<'a>(
        &self,
        name: &str,
        snapshot: &'a Snapshot,
        context: &Context<'_>,
    ) -> Target<'a> {
        if !self.temporary_listed && context.temporary.contains(name) {
            return Target::Temporary;
        }
        let found = self
            .schemas
            .iter()
            .find_map(|schema| match schema.as_str() {
                "pg_temp" => context
                    .temporary
                    .contains(name)
                    .then_some(Target::Temporary),
                "pg_catalog" => name.starts_with("pg_").then_some(Target::System),
                "information_schema" => None,
                other => snapshot.relation(other, name).map(Target::Known),
            });
        // All relations of pg_catalog are named pg_.., and it comes first unless the path says otherwise.
        let catalog_listed = self.schemas.iter().any(|schema| schema == "pg_catalog");
        match found {
            Some(Target::Known(relation)) if name.starts_with("pg_") && !catalog_listed => {
                Target::Ambiguous(relation)
            }
            Some(found) => found,
            None if name.starts_with("pg_") => Target::System,
            None => Target::Unknown,
        }
    }
}

/// The session's own temporary schema, by either name; nobody can reach another session's.
pub(crate) fn is_temporary(schema: &str) -> bool {
    schema == "pg_temp" || schema.starts_with("pg_temp_")
}

fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "pg_toast")
        || schema.starts_with("pg_toast_temp")
}
