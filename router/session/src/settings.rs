//! The settings of one client: what it asked for, and what a backend needs to be told before it serves the client.
//!
//! Values are the server's own canonical form, read back after the client's SET had succeeded; they are replayed with
//! `set_config`, never spliced as SQL that the client wrote.

use crate::backend::Backend;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Which servers a session's statements prefer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Proven reads go to replicas, all else to primaries.
    Auto,
    Primary,
    Replica,
}

impl Role {
    pub fn parse(text: &str) -> Option<Role> {
        match text.to_ascii_lowercase().as_str() {
            "auto" | "default" => Some(Role::Auto),
            "primary" => Some(Role::Primary),
            "replica" => Some(Role::Replica),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Role::Auto => "auto",
            Role::Primary => "primary",
            Role::Replica => "replica",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Settings {
    /// What the client sent at start-up: RESET returns to these values.
    pub startup: Arc<BTreeMap<String, String>>,
    /// Session values outside of transactions. These three are one map while nothing is set.
    wanted: Arc<BTreeMap<String, String>>,
    /// Values inside of the open transaction where they differ or may differ.
    pub overlay: BTreeMap<String, String>,
    /// Custom settings that this client has ever set, also with SET LOCAL.
    pub custom: BTreeSet<String>,
    /// Names in the session's pg_temp.
    temporary: HashSet<String>,
    pub role: Role,
    /// `SET shardgate.shard`.
    pub shard: Option<String>,
    /// `SET shardgate.pin`: the session keeps the connections that it uses.
    pub pin: bool,
    hash: u64,
    /// Both with the open transaction's values.
    in_force: Arc<BTreeMap<String, String>>,
    in_force_hash: u64,
    search_path: Option<Vec<String>>,
    /// SET ROLE.
    current_role: Option<String>,
    transform_null_equals: bool,
    /// `default_transaction_isolation`, if the session has set it.
    default_isolation: Option<String>,
    generation: u64,
}

impl Settings {
    pub fn new(startup: BTreeMap<String, String>, role: Role) -> Settings {
        let startup = Arc::new(startup);
        let mut settings = Settings {
            wanted: startup.clone(),
            startup,
            overlay: BTreeMap::new(),
            custom: BTreeSet::new(),
            temporary: HashSet::new(),
            role,
            shard: None,
            pin: false,
            hash: 0,
            in_force: Arc::default(),
            in_force_hash: 0,
            search_path: None,
            current_role: None,
            transform_null_equals: false,
            default_isolation: None,
            generation: 0,
        };
        settings.changed();
        settings
    }

    /// To be called after `wanted` or `overlay` was changed.
    pub fn changed(&mut self) {
        self.generation += 1;
        self.hash = hash(&self.wanted);
        if self.overlay.is_empty() {
            self.in_force = self.wanted.clone();
            self.in_force_hash = self.hash;
        } else {
            let mut all = self.wanted.as_ref().clone();
            all.extend(self.overlay.clone());
            self.in_force_hash = hash(&all);
            self.in_force = Arc::new(all);
        }
        self.search_path = self.value("search_path").map(split_list);
        self.current_role = match self.value("role") {
            None | Some("none" | "") => None,
            Some(role) => Some(role.to_string()),
        };
        self.transform_null_equals = self.value("transform_null_equals") == Some("on");
        self.default_isolation = self
            .value("default_transaction_isolation")
            .map(str::to_string);
    }

    /// Takes `map` for the start-up settings and for those in force, if they are equal to it: sessions that were begun
    /// alike share one map, and are seen to be alike at a glance.
    pub fn share(&mut self, map: &Arc<BTreeMap<String, String>>) {
        if self.startup == *map {
            self.startup = map.clone();
        }
        if self.wanted == *map {
            self.wanted = map.clone();
        }
        if self.in_force == *map {
            self.in_force = map.clone();
        }
    }

    pub fn default_isolation(&self) -> Option<&str> {
        self.default_isolation.as_deref()
    }

    /// Another one whenever what a text means in the session may have changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn set_temporary(&mut self, names: HashSet<String>) {
        self.temporary = names;
        self.generation += 1;
    }

    pub fn temporary(&self) -> &HashSet<String> {
        &self.temporary
    }

    /// The role of SET ROLE; None: the login role.
    pub fn current_role(&self) -> Option<&str> {
        self.current_role.as_deref()
    }

    pub fn transform_null_equals(&self) -> bool {
        self.transform_null_equals
    }

    /// To be followed by `changed`.
    pub fn wanted_mut(&mut self) -> &mut BTreeMap<String, String> {
        Arc::make_mut(&mut self.wanted)
    }

    pub fn wanted(&self) -> &BTreeMap<String, String> {
        &self.wanted
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.overlay
            .get(name)
            .or_else(|| self.wanted.get(name))
            .map(String::as_str)
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// A hash of all that can change what a text means when it is parsed.
    pub fn parse_hash(&self) -> u64 {
        self.in_force_hash
    }

    /// All values in force, those of the open transaction included.
    pub fn in_force(&self) -> Arc<BTreeMap<String, String>> {
        self.in_force.clone()
    }

    /// The very map of `in_force`.
    pub fn are_in_force(&self, settings: &Arc<BTreeMap<String, String>>) -> bool {
        Arc::ptr_eq(&self.in_force, settings)
    }

    pub fn search_path(&self) -> Option<&[String]> {
        self.search_path.as_deref()
    }

    /// SQL that turns the backend's settings into the client's, and notes it in the backend; None if nothing differs.
    pub fn prepare_backend(&self, backend: &mut Backend) -> Option<String> {
        if backend.applied.are(&self.wanted) {
            return None;
        }
        let applied = backend.applied.settings();
        let resets: Vec<String> = applied
            .keys()
            .filter(|n| !self.wanted.contains_key(*n))
            .cloned()
            .collect();
        let mut sql = String::new();
        for name in &resets {
            sql.push_str("RESET ");
            sql.push_str(&quote_name(name));
            sql.push(';');
        }
        let mut first = true;
        for (name, value) in self.wanted.iter() {
            if backend.applied.settings().get(name) == Some(value) {
                continue;
            }
            sql.push_str(if first {
                "SELECT pg_catalog.set_config("
            } else {
                ", pg_catalog.set_config("
            });
            first = false;
            sql.push_str(&quote_literal(name));
            sql.push_str(", ");
            sql.push_str(&quote_literal(value));
            sql.push_str(", false)");
            if name.contains('.') {
                backend.custom_names.insert(name.clone());
            }
        }
        backend.applied.set(&self.wanted, self.hash);
        Some(sql)
    }

    /// Back to the values of start-up, as RESET ALL does: the role stays.
    pub fn reset_all(&mut self) {
        let role = self.wanted_mut().remove("role");
        self.wanted = self.startup.clone();
        if let Some(role) = role {
            self.wanted_mut().insert("role".to_string(), role);
        }
        self.changed();
    }

    /// Back to the value of start-up.
    pub fn reset(&mut self, name: &str) {
        if let Some(value) = self.startup.get(name).cloned() {
            self.wanted_mut().insert(name.to_string(), value);
            self.changed();
        }
    }
}

/// SQL that turns the settings `from` into `to`: values that only `from` has are left to the server's defaults.
pub(crate) fn set_all(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> String {
    let mut calls = Vec::new();
    for (name, value) in to {
        if from.get(name) != Some(value) {
            calls.push(format!(
                "pg_catalog.set_config({}, {}, false)",
                quote_literal(name),
                quote_literal(value)
            ));
        }
    }
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        let name = quote_literal(name);
        calls.push(format!(
            "pg_catalog.set_config({name}, (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = {name}), false)"
        ));
    }
    format!("SELECT {}", calls.join(", "))
}

/// A hash of a set of settings; equal sets have equal hashes.
pub fn hash(settings: &BTreeMap<String, String>) -> u64 {
    if settings.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    settings.hash(&mut hasher);
    hasher.finish()
}

/// A string literal that reads the same whatever `standard_conforming_strings` says.
pub(crate) fn quote_literal(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// A setting's name for RESET: each part of a dotted name quoted alone.
pub(crate) fn quote_name(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    parts.join(".")
}

/// Takes a list setting (search_path) apart: names separated by commas, quoted or folded to lower case.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.peek().is_some_and(|c| c.is_whitespace() || *c == ',') {
            chars.next();
        }
        let Some(&first) = chars.peek() else {
            return items;
        };
        let mut item = String::new();
        if first == '"' {
            chars.next();
            while let Some(c) = chars.next() {
                if c != '"' {
                    item.push(c);
                } else if chars.peek() == Some(&'"') {
                    chars.next();
                    item.push('"');
                } else {
                    break;
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                item.extend(c.to_lowercase());
            }
            item.truncate(item.trim_end().len());
        }
        items.push(item);
    }
}

/// The name under which Postgres knows a setting: lower case, with the spellings that differ.
pub(crate) fn canonical_name(name: &str) -> String {
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart_as_postgres_does() {
        assert_eq!(split_list("\"$user\", public"), ["$user", "public"]);
        assert_eq!(split_list("A, \"B c\",\"d\"\"e\""), ["a", "B c", "d\"e"]);
        assert_eq!(split_list(""), Vec::<String>::new());
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        assert_eq!(quote_literal("a'b"), "'a''b'");
        assert_eq!(quote_literal("a\\'b"), " E'a\\\\''b'");
    }

    #[test]
    fn a_backend_is_told_only_the_difference() {
        let startup = BTreeMap::from([
            ("a".to_string(), "1".to_string()),
            ("x.y".to_string(), "2".to_string()),
        ]);
        let settings = Settings::new(startup, Role::Auto);
        let mut backend = Backend::default();
        backend.applied.change(|settings| {
            settings.insert("b".into(), "9".into());
            settings.insert("a".into(), "1".into());
        });
        let sql = settings.prepare_backend(&mut backend);
        assert_eq!(
            sql.as_deref(),
            Some("RESET \"b\";SELECT pg_catalog.set_config('x.y', '2', false)")
        );
        assert!(backend.custom_names.contains("x.y"));
        assert_eq!(settings.prepare_backend(&mut backend), None);
    }
}
