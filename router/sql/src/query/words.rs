//! Which unquoted words the parser is told to be keywords.
//!
//! The parser knows the keywords of a dozen dialects. A word that means nothing in a Postgres query is given to it as a
//! plain identifier, so that no foreign grammar can be entered (`t FORMAT x`, `QUALIFY`, `TOP 5`, `a MEMBER OF b`).
//! Some words are keywords only next to certain others, which is checked here too.

use sqlparser::keywords::Keyword;

/// What stands around a word, folded; empty where there is no unquoted word.
pub(super) struct Around<'a> {
    pub(super) before: &'a str,
    pub(super) after: &'a str,
    pub(super) after_next: &'a str,
    /// The token before is `(` or `)`, or there is none.
    pub(super) paren_before: bool,
    /// The token behind is `(`.
    pub(super) paren_after: bool,
}

/// Words that are keywords wherever they stand, sorted. Reserved words, and words of type names.
const ALWAYS: &[(&str, Keyword)] = &[
    ("all", Keyword::ALL),
    ("and", Keyword::AND),
    ("any", Keyword::ANY),
    ("array", Keyword::ARRAY),
    ("as", Keyword::AS),
    ("asc", Keyword::ASC),
    ("between", Keyword::BETWEEN),
    ("bigint", Keyword::BIGINT),
    ("bit", Keyword::BIT),
    ("boolean", Keyword::BOOLEAN),
    ("both", Keyword::BOTH),
    ("case", Keyword::CASE),
    ("cast", Keyword::CAST),
    ("char", Keyword::CHAR),
    ("character", Keyword::CHARACTER),
    ("collate", Keyword::COLLATE),
    ("constraint", Keyword::CONSTRAINT),
    ("cross", Keyword::CROSS),
    ("dec", Keyword::DEC),
    ("decimal", Keyword::DECIMAL),
    ("default", Keyword::DEFAULT),
    ("desc", Keyword::DESC),
    ("distinct", Keyword::DISTINCT),
    ("do", Keyword::DO),
    ("double", Keyword::DOUBLE),
    ("else", Keyword::ELSE),
    ("end", Keyword::END),
    ("escape", Keyword::ESCAPE),
    ("except", Keyword::EXCEPT),
    ("exists", Keyword::EXISTS),
    ("false", Keyword::FALSE),
    ("fetch", Keyword::FETCH),
    ("float", Keyword::FLOAT),
    ("for", Keyword::FOR),
    ("from", Keyword::FROM),
    ("full", Keyword::FULL),
    ("group", Keyword::GROUP),
    ("having", Keyword::HAVING),
    ("ilike", Keyword::ILIKE),
    ("in", Keyword::IN),
    ("inner", Keyword::INNER),
    ("int", Keyword::INT),
    ("integer", Keyword::INTEGER),
    ("intersect", Keyword::INTERSECT),
    ("into", Keyword::INTO),
    ("is", Keyword::IS),
    ("join", Keyword::JOIN),
    ("lateral", Keyword::LATERAL),
    ("leading", Keyword::LEADING),
    ("left", Keyword::LEFT),
    ("like", Keyword::LIKE),
    ("limit", Keyword::LIMIT),
    ("natural", Keyword::NATURAL),
    ("not", Keyword::NOT),
    ("null", Keyword::NULL),
    ("numeric", Keyword::NUMERIC),
    ("offset", Keyword::OFFSET),
    ("on", Keyword::ON),
    ("only", Keyword::ONLY),
    ("or", Keyword::OR),
    ("order", Keyword::ORDER),
    ("outer", Keyword::OUTER),
    ("over", Keyword::OVER),
    ("placing", Keyword::PLACING),
    ("precision", Keyword::PRECISION),
    ("range", Keyword::RANGE),
    ("real", Keyword::REAL),
    ("returning", Keyword::RETURNING),
    ("right", Keyword::RIGHT),
    ("row", Keyword::ROW),
    ("rows", Keyword::ROWS),
    ("select", Keyword::SELECT),
    ("similar", Keyword::SIMILAR),
    ("smallint", Keyword::SMALLINT),
    ("some", Keyword::SOME),
    ("table", Keyword::TABLE),
    ("tablesample", Keyword::TABLESAMPLE),
    ("then", Keyword::THEN),
    ("time", Keyword::TIME),
    ("timestamp", Keyword::TIMESTAMP),
    ("to", Keyword::TO),
    ("trailing", Keyword::TRAILING),
    ("true", Keyword::TRUE),
    ("union", Keyword::UNION),
    ("using", Keyword::USING),
    ("varchar", Keyword::VARCHAR),
    ("varying", Keyword::VARYING),
    ("when", Keyword::WHEN),
    ("where", Keyword::WHERE),
    ("window", Keyword::WINDOW),
    ("with", Keyword::WITH),
    ("without", Keyword::WITHOUT),
];

/// Words that are keywords in one place only.
fn sometimes(word: &str, a: &Around<'_>) -> Option<Keyword> {
    let (keyword, holds) = match word {
        "at" => (Keyword::AT, a.after == "time" && a.after_next == "zone"),
        "bernoulli" => (Keyword::BERNOULLI, a.before == "tablesample"),
        "by" => (
            Keyword::BY,
            matches!(a.before, "order" | "group" | "partition"),
        ),
        "conflict" => (Keyword::CONFLICT, a.before == "on"),
        "cube" => (Keyword::CUBE, a.paren_after),
        "current" => (Keyword::CURRENT, a.after == "row"),
        "delete" => (Keyword::DELETE, a.paren_before),
        "extract" => (Keyword::EXTRACT, a.paren_after),
        "filter" => (Keyword::FILTER, a.paren_after),
        "first" => (Keyword::FIRST, matches!(a.before, "nulls" | "fetch")),
        "following" => (Keyword::FOLLOWING, true),
        "grouping" => (Keyword::GROUPING, a.after == "sets"),
        "groups" => (Keyword::GROUPS, a.after == "between" || !a.paren_after),
        "insert" => (Keyword::INSERT, a.paren_before),
        "last" => (Keyword::LAST, a.before == "nulls"),
        "materialized" => (Keyword::MATERIALIZED, matches!(a.before, "as" | "not")),
        "next" => (Keyword::NEXT, a.before == "fetch"),
        "normalized" => (Keyword::NORMALIZED, true),
        "nothing" => (Keyword::NOTHING, a.before == "do"),
        "nulls" => (Keyword::NULLS, matches!(a.after, "first" | "last")),
        "operator" => (Keyword::OPERATOR, a.paren_after),
        "ordinality" => (Keyword::ORDINALITY, a.before == "with"),
        "overlaps" => (Keyword::OVERLAPS, true),
        "overlay" => (Keyword::OVERLAY, a.paren_after),
        "partition" => (Keyword::PARTITION, a.after == "by"),
        "position" => (Keyword::POSITION, a.paren_after),
        "preceding" => (Keyword::PRECEDING, true),
        "recursive" => (Keyword::RECURSIVE, a.before == "with"),
        "repeatable" => (Keyword::REPEATABLE, a.paren_after),
        "rollup" => (Keyword::ROLLUP, a.paren_after),
        "set" => (Keyword::SET, true),
        "sets" => (Keyword::SETS, a.before == "grouping"),
        "share" => (Keyword::SHARE, a.before == "for"),
        "substring" => (Keyword::SUBSTRING, a.paren_after),
        "system" => (Keyword::SYSTEM, a.before == "tablesample"),
        "temp" => (Keyword::TEMP, a.before == "into"),
        "temporary" => (Keyword::TEMPORARY, a.before == "into"),
        "ties" => (Keyword::TIES, a.before == "with"),
        "trim" => (Keyword::TRIM, a.paren_after),
        "unbounded" => (
            Keyword::UNBOUNDED,
            matches!(a.after, "preceding" | "following"),
        ),
        "unknown" => (Keyword::UNKNOWN, matches!(a.before, "is" | "not")),
        "unlogged" => (Keyword::UNLOGGED, a.before == "into"),
        "update" => (
            Keyword::UPDATE,
            a.paren_before || matches!(a.before, "do" | "for"),
        ),
        "values" => (Keyword::VALUES, a.paren_after || a.before == "default"),
        "within" => (Keyword::WITHIN, a.after == "group"),
        "zone" => (Keyword::ZONE, a.before == "time"),
        _ => return None,
    };
    holds.then_some(keyword)
}

/// The keyword that the parser shall see for a folded word.
pub(super) fn keyword(word: &str, around: &Around<'_>) -> Keyword {
    match ALWAYS.binary_search_by_key(&word, |(name, _)| name) {
        Ok(index) => ALWAYS
            .get(index)
            .map_or(Keyword::NoKeyword, |(_, keyword)| *keyword),
        Err(_) => sometimes(word, around).unwrap_or(Keyword::NoKeyword),
    }
}

/// An unreserved word behind which a string constant is the grammar's, and not a constant of a type of that name.
pub(super) fn may_precede_string(word: &str) -> bool {
    matches!(
        word,
        "between"
            | "binary"
            | "by"
            | "content"
            | "document"
            | "escape"
            | "first"
            | "groups"
            | "ilike"
            | "is"
            | "like"
            | "name"
            | "next"
            | "notnull"
            | "overlaps"
            | "passing"
            | "precision"
            | "range"
            | "row"
            | "rows"
            | "similar"
            | "uescape"
            | "value"
            | "values"
            | "varying"
            | "zone"
    )
}

#[cfg(test)]
mod tests {
    use super::ALWAYS;

    #[test]
    fn list_is_sorted() {
        assert!(ALWAYS.is_sorted_by_key(|(name, _)| *name));
    }
}
