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
            Some("pg_temp") => Target::Temporary,
            Some(schema) if is_system(schema) => Target::System,
            Some(schema) => snapshot
                .relation(schema, &name.name)
                .map_or(Target::Unknown, Target::Known),
            None => self.unqualified(&name.name, snapshot, context),
        }
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

fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "pg_toast")
        || schema.starts_with("pg_toast_temp")
}
