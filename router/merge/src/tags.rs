//! The command tag of a statement that several shards have run, each on its own rows.
//!
//! Rows of INSERT, UPDATE, DELETE and MERGE are added up. Tags without a count (DDL, SET, LOCK ..) must be equal. Other
//! counts are refused: how many rows a merged SELECT has, only the merge of its rows knows.

use shardgate_wire::PgError;

/// Why tags have no common one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("no shard has sent a command tag")]
    None,
    #[error("shards have answered \"{0}\" and \"{1}\" to one statement")]
    Different(String, String),
    /// Not known, or of a form that cannot be added up.
    #[error("the command tags \"{0}\" of several shards cannot be added up")]
    NotAdditive(String),
    #[error("the row counts of several shards exceed 64 bits")]
    Overflow,
}

impl TagError {
    /// XX000: the shards did something else than the plan says.
    pub fn to_error(&self) -> PgError {
        PgError::error("XX000", self.to_string())
    }
}

impl From<TagError> for PgError {
    fn from(error: TagError) -> Self {
        error.to_error()
    }
}

/// A tag, taken apart.
enum Tag<'a> {
    /// All before the number (`UPDATE`, `INSERT 0`), and the number.
    Rows(&'a str, u64),
    /// No number at the end.
    Plain(&'a str),
}

/// The one tag for the tags of all shards.
pub fn combine<'a>(tags: impl IntoIterator<Item = &'a str>) -> Result<String, TagError> {
    let mut tags = tags.into_iter();
    let first = tags.next().ok_or(TagError::None)?;
    let different = |other: &str| TagError::Different(first.to_owned(), other.to_owned());
    match read(first)? {
        Tag::Plain(word) => match tags.find(|other| *other != word) {
            Some(other) => Err(different(other)),
            None => Ok(word.to_owned()),
        },
        Tag::Rows(command, rows) => {
            let mut sum = rows;
            for other in tags {
                match read(other)? {
                    Tag::Rows(same, rows) if same == command => {
                        sum = sum.checked_add(rows).ok_or(TagError::Overflow)?;
                    }
                    Tag::Rows(..) | Tag::Plain(_) => return Err(different(other)),
                }
            }
            Ok(format!("{command} {sum}"))
        }
    }
}

fn read(tag: &str) -> Result<Tag<'_>, TagError> {
    let not_additive = || TagError::NotAdditive(tag.to_owned());
    let (command, last) = tag.rsplit_once(' ').unwrap_or(("", tag));
    if last.is_empty() {
        return Err(not_additive());
    }
    if !last.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Tag::Plain(tag));
    }
    match command {
        "INSERT 0" | "UPDATE" | "DELETE" | "MERGE" => {
            let rows = last.parse().map_err(|_| TagError::Overflow)?;
            Ok(Tag::Rows(command, rows))
        }
        _count_of_another_kind => Err(not_additive()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tags separated by `|`.
    fn check(tags: &str, expect: Result<&str, &str>) {
        let got = combine(tags.split('|')).map_err(|error| error.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), expect, "{tags}");
    }

    #[test]
    fn counts_are_added() {
        check("UPDATE 0", Ok("UPDATE 0"));
        check("UPDATE 2|UPDATE 0|UPDATE 40", Ok("UPDATE 42"));
        check("DELETE 1|DELETE 1", Ok("DELETE 2"));
        check("MERGE 1|MERGE 3", Ok("MERGE 4"));
        check("INSERT 0 3|INSERT 0 4", Ok("INSERT 0 7"));
        check(
            "UPDATE 18446744073709551614|UPDATE 1",
            Ok("UPDATE 18446744073709551615"),
        );
    }

    #[test]
    fn words_are_equal() {
        check("CREATE TABLE", Ok("CREATE TABLE"));
        check("CREATE TABLE|CREATE TABLE|CREATE TABLE", Ok("CREATE TABLE"));
        check("SET|SET", Ok("SET"));
        check(
            "CREATE TABLE|DROP TABLE",
            Err("shards have answered \"CREATE TABLE\" and \"DROP TABLE\" to one statement"),
        );
        check(
            "COMMIT|COMMIT|ROLLBACK",
            Err("shards have answered \"COMMIT\" and \"ROLLBACK\" to one statement"),
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let different = "shards have answered \"UPDATE 1\" and \"DELETE 1\" to one statement";
        check("UPDATE 1|DELETE 1", Err(different));
        check(
            "UPDATE 1|UPDATE",
            Err("shards have answered \"UPDATE 1\" and \"UPDATE\" to one statement"),
        );
        check(
            "UPDATE|UPDATE 1",
            Err("shards have answered \"UPDATE\" and \"UPDATE 1\" to one statement"),
        );
        let overflow = Err("the row counts of several shards exceed 64 bits");
        check("UPDATE 18446744073709551615|UPDATE 1", overflow);
        check("UPDATE 18446744073709551616", overflow);
        for tag in [
            "SELECT 1",
            "INSERT 17 1",
            "COPY 3",
            "FETCH 1",
            "MOVE 2",
            "",
            "UPDATE ",
        ] {
            let message =
                format!("the command tags \"{tag}\" of several shards cannot be added up");
            check(&format!("{tag}|{tag}"), Err(&message));
        }
        assert_eq!(combine([]), Err(TagError::None));
    }

    #[test]
    fn the_client_is_told_of_an_internal_error() {
        let error = TagError::Overflow.to_error();
        assert!(error.sqlstate == "XX000");
    }
}
