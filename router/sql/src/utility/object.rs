//! Kinds of database objects: how they are spelled, and where they live.

use crate::cursor::Cursor;

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Relations: where the relation is.
    Relation,
    /// Triggers, policies, rules: with the relation named behind ON.
    OnRelation,
    /// Known to every shard.
    Everywhere,
    /// On the home shard alone.
    Home,
}

/// One kind of object, with Postgres's command tags for it.
#[derive(Clone, Copy)]
pub(super) struct Object {
    words: &'static [&'static str],
    pub(super) create: &'static str,
    pub(super) alter: &'static str,
    pub(super) drop: &'static str,
    pub(super) class: Class,
}

macro_rules! object {
    ($words:expr, $tag:literal, $class:ident) => {
        Object {
            words: &$words,
            create: concat!("CREATE ", $tag),
            alter: concat!("ALTER ", $tag),
            drop: concat!("DROP ", $tag),
            class: Class::$class,
        }
    };
}

/// Longer spellings come before those that they begin with.
const OBJECTS: &[Object] = &[
    object!(["access", "method"], "ACCESS METHOD", Everywhere),
    object!(["aggregate"], "AGGREGATE", Everywhere),
    object!(["cast"], "CAST", Everywhere),
    object!(["collation"], "COLLATION", Everywhere),
    object!(["conversion"], "CONVERSION", Everywhere),
    object!(["database"], "DATABASE", Home),
    object!(["domain"], "DOMAIN", Everywhere),
    object!(["event", "trigger"], "EVENT TRIGGER", Everywhere),
    object!(["extension"], "EXTENSION", Everywhere),
    object!(["foreign", "data", "wrapper"], "FOREIGN DATA WRAPPER", Home),
    object!(["foreign", "table"], "FOREIGN TABLE", Relation),
    object!(["function"], "FUNCTION", Everywhere),
    object!(["group"], "ROLE", Everywhere),
    object!(["index"], "INDEX", Relation),
    object!(["language"], "LANGUAGE", Everywhere),
    object!(["large", "object"], "LARGE OBJECT", Home),
    object!(["materialized", "view"], "MATERIALIZED VIEW", Relation),
    object!(["operator", "class"], "OPERATOR CLASS", Everywhere),
    object!(["operator", "family"], "OPERATOR FAMILY", Everywhere),
    object!(["operator"], "OPERATOR", Everywhere),
    object!(["policy"], "POLICY", OnRelation),
    object!(["procedural", "language"], "LANGUAGE", Everywhere),
    object!(["procedure"], "PROCEDURE", Everywhere),
    object!(["publication"], "PUBLICATION", Home),
    object!(["role"], "ROLE", Everywhere),
    object!(["routine"], "ROUTINE", Everywhere),
    object!(["rule"], "RULE", OnRelation),
    object!(["schema"], "SCHEMA", Everywhere),
    object!(["sequence"], "SEQUENCE", Relation),
    object!(["server"], "SERVER", Home),
    object!(["statistics"], "STATISTICS", Everywhere),
    object!(["subscription"], "SUBSCRIPTION", Home),
    object!(["system"], "SYSTEM", Home),
    object!(["table"], "TABLE", Relation),
    object!(["tablespace"], "TABLESPACE", Home),
    object!(
        ["text", "search", "configuration"],
        "TEXT SEARCH CONFIGURATION",
        Everywhere
    ),
    object!(
        ["text", "search", "dictionary"],
        "TEXT SEARCH DICTIONARY",
        Everywhere
    ),
    object!(
        ["text", "search", "parser"],
        "TEXT SEARCH PARSER",
        Everywhere
    ),
    object!(
        ["text", "search", "template"],
        "TEXT SEARCH TEMPLATE",
        Everywhere
    ),
    object!(["transform"], "TRANSFORM", Everywhere),
    object!(["trigger"], "TRIGGER", OnRelation),
    object!(["type"], "TYPE", Everywhere),
    object!(["user", "mapping"], "USER MAPPING", Home),
    object!(["user"], "ROLE", Everywhere),
    object!(["view"], "VIEW", Relation),
];

/// Steps over the words of a kind of object.
pub(super) fn accept(cursor: &mut Cursor<'_>) -> Option<Object> {
    OBJECTS
        .iter()
        .find(|object| cursor.accept(object.words))
        .copied()
}
