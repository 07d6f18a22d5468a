//! The foreign keys that ALTER TABLE adds, read from its tokens: which column refers to which.

use crate::unique::Reader;
use shardgate_sql::facts::Name;
use shardgate_sql::lexer::{Kind, lex};

/// One foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// None: they could not be read.
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) table: Name,
    /// None: those of the other table's primary key.
    pub(crate) referenced: Option<Vec<String>>,
}

impl Reference {
    /// It pairs the column `own` with the column `other` of the other table, which is a part of all its unique keys.
    pub(crate) fn pairs(&self, own: &str, other: &str) -> bool {
        let Some(columns) = &self.columns else {
            return false;
        };
        match (&self.referenced, columns.as_slice()) {
            (Some(referenced), _) => {
                let mut pairs = columns.iter().zip(referenced);
                columns.len() == referenced.len() && pairs.any(|(a, b)| a == own && b == other)
            }
            // A primary key of one column that contains `other` is that column.
            (None, [only]) => only == own,
            (None, _) => false,
        }
    }
}

/// Every REFERENCES of the text. None: the text cannot be read.
pub(crate) fn added(text: &str) -> Option<Vec<Reference>> {
    let tokens = lex(text).ok()?;
    let reader = Reader {
        text,
        tokens: &tokens,
    };
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut column: Option<String> = None;
    let mut columns: Option<Vec<String>> = None;
    for at in 0..tokens.len() {
        match reader.kind(at) {
            Some(Kind::LParen) => depth += 1,
            Some(Kind::RParen) => depth = depth.saturating_sub(1),
            Some(_) | None => {}
        }
        // `ADD (..)` is no form of Postgres's, so what is added stands outside of parentheses.
        if depth > 0 {
            continue;
        }
        if reader.word(at, "add") {
            column = reader.added_column(at + 1);
            columns = None;
        }
        if reader.word(at, "foreign") && reader.word(at + 1, "key") {
            columns = reader.columns(at + 2);
            column = None;
        }
        if reader.word(at, "references") {
            let (table, behind) = table(&reader, at + 1)?;
            let referenced = match reader.kind(behind) {
                Some(Kind::LParen) => Some(reader.columns(behind)?),
                Some(_) | None => None,
            };
            let one = column.clone().map(|column| vec![column]);
            found.push(Reference {
                columns: columns.take().or(one),
                table,
                referenced,
            });
        }
    }
    Some(found)
}

/// `[schema.]table`, and where the text goes on.
fn table(reader: &Reader<'_>, at: usize) -> Option<(Name, usize)> {
    let first = reader.name(at)?;
    if reader.kind(at + 1) == Some(Kind::Dot) {
        let name = Name {
            schema: Some(first),
            name: reader.name(at + 2)?,
        };
        // A database's name before them is not modelled.
        return (reader.kind(at + 3) != Some(Kind::Dot)).then_some((name, at + 3));
    }
    let name = Name {
        schema: None,
        name: first,
    };
    Some((name, at + 1))
}

#[cfg(test)]
mod tests {
    use super::added;

    #[test]
    fn pairs() {
        let check = |text: &str, pairs: &[bool]| {
            let text = format!("ALTER TABLE t {text}");
            let found = added(&text).expect(&text);
            let found: Vec<bool> = found.iter().map(|r| r.pairs("a", "k")).collect();
            assert_eq!(found, pairs, "{text}");
        };
        check("ADD FOREIGN KEY (a) REFERENCES o (k)", &[true]);
        check("ADD FOREIGN KEY (a) REFERENCES s.o", &[true]);
        check("ADD FOREIGN KEY (b) REFERENCES o (k)", &[false]);
        check("ADD FOREIGN KEY (a) REFERENCES o (x)", &[false]);
        check(
            "ADD CONSTRAINT c FOREIGN KEY (b, a) REFERENCES o (x, k) ON DELETE CASCADE",
            &[true],
        );
        check("ADD FOREIGN KEY (b, a) REFERENCES o (k, x)", &[false]);
        check("ADD FOREIGN KEY (b, a) REFERENCES o", &[false]);
        check("ADD COLUMN a int REFERENCES o (k)", &[true]);
        check("ADD a numeric(10, 2) REFERENCES o", &[true]);
        check("ADD COLUMN x int REFERENCES o (k)", &[false]);
        check(
            "ADD COLUMN \"references\" int, ADD FOREIGN KEY (a) REFERENCES o (k), ADD b int REFERENCES o",
            &[true, false],
        );
        check("DROP CONSTRAINT c", &[]);
    }
}
