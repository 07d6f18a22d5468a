//! The unique indexes and constraints that a DDL statement adds, read from its tokens.
//!
//! A list of plain columns is understood; anything else (expressions, EXCLUDE, USING INDEX) is told to be there.

use shardgate_sql::lexer::{Kind, Token, lex};

/// One unique index or constraint: its columns; None: it is not a plain list of columns.
pub(crate) type Unique = Option<Vec<String>>;

/// All that CREATE INDEX or ALTER TABLE adds. None: the text cannot be read.
pub(crate) fn added(text: &str) -> Option<Vec<Unique>> {
    let tokens = lex(text).ok()?;
    let reader = Reader {
        text,
        tokens: &tokens,
    };
    if reader.word(0, "create") {
        return Some(if reader.word(1, "unique") {
            vec![reader.index()]
        } else {
            Vec::new()
        });
    }
    Some(reader.constraints())
}

/// The tokens of a statement.
pub(crate) struct Reader<'t> {
    pub(crate) text: &'t str,
    pub(crate) tokens: &'t [Token],
}

impl Reader<'_> {
    pub(crate) fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    pub(crate) fn word(&self, at: usize, word: &str) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|token| token.is_word(self.text, word))
    }

    pub(crate) fn name(&self, at: usize) -> Option<String> {
        self.tokens
            .get(at)
            .filter(|token| token.kind.is_name())?
            .name(self.text)
    }

    /// CREATE UNIQUE INDEX .. ON table [USING method] (columns).
    fn index(&self) -> Unique {
        let open = (0..self.tokens.len()).find(|at| self.kind(*at) == Some(Kind::LParen))?;
        self.columns(open)
    }

    /// UNIQUE, PRIMARY KEY and EXCLUDE outside of parentheses.
    fn constraints(&self) -> Vec<Unique> {
        let mut found = Vec::new();
        let mut depth = 0_usize;
        let mut added: Option<String> = None;
        for at in 0..self.tokens.len() {
            match self.kind(at) {
                Some(Kind::LParen) => depth += 1,
                Some(Kind::RParen) => depth = depth.saturating_sub(1),
                Some(_) | None => {}
            }
            if depth > 0 {
                continue;
            }
            if self.word(at, "add") {
                added = self.added_column(at + 1);
            }
            let behind = match (
                self.word(at, "unique"),
                self.word(at, "primary"),
                self.word(at, "exclude"),
            ) {
                (true, _, _) => at + 1 + self.nulls_clause(at + 1),
                (_, true, _) => at + 2,
                (_, _, true) => {
                    found.push(None);
                    continue;
                }
                (false, false, false) => continue,
            };
            found.push(match self.kind(behind) {
                Some(Kind::LParen) => self.columns(behind),
                _ if self.word(behind, "using") => None,
                Some(_) | None => added.clone().map(|column| vec![column]),
            });
        }
        found
    }

    /// `ADD [COLUMN] [IF NOT EXISTS] name`
    pub(crate) fn added_column(&self, mut at: usize) -> Option<String> {
        at += usize::from(self.word(at, "column"));
        if self.word(at, "if") {
            at += 3;
        }
        self.name(at)
    }

    /// The length of `NULLS [NOT] DISTINCT`.
    fn nulls_clause(&self, at: usize) -> usize {
        if !self.word(at, "nulls") {
            return 0;
        }
        2 + usize::from(self.word(at + 1, "not"))
    }

    /// `(a, b DESC NULLS LAST)` from its opening parenthesis.
    pub(crate) fn columns(&self, open: usize) -> Unique {
        let mut columns = Vec::new();
        let mut at = open + 1;
        loop {
            columns.push(self.name(at)?);
            at += 1;
            for words in [&["asc", "desc"][..], &["nulls"], &["first", "last"]] {
                at += usize::from(words.iter().any(|word| self.word(at, word)));
            }
            match self.kind(at)? {
                Kind::Comma => at += 1,
                Kind::RParen => return Some(columns),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::added;

    fn check(text: &str, expect: &[Option<&[&str]>]) {
        let expect: Vec<Option<Vec<String>>> = expect
            .iter()
            .map(|one| one.map(|list| list.iter().map(|c| (*c).to_owned()).collect()))
            .collect();
        assert_eq!(added(text), Some(expect), "{text}");
    }

    #[test]
    fn indexes_and_constraints() {
        check("CREATE INDEX i ON t (a)", &[]);
        check(
            "CREATE UNIQUE INDEX i ON t (a, \"B\" DESC NULLS LAST)",
            &[Some(&["a", "B"])],
        );
        check(
            "CREATE UNIQUE INDEX CONCURRENTLY ON s.t USING btree (a)",
            &[Some(&["a"])],
        );
        check("CREATE UNIQUE INDEX i ON t ((a % 2))", &[None]);
        check("CREATE UNIQUE INDEX i ON t (lower(a))", &[None]);
        check("CREATE UNIQUE INDEX i ON t (a COLLATE \"C\")", &[None]);
        check("ALTER TABLE t ADD COLUMN x int", &[]);
        check("ALTER TABLE t ADD COLUMN x int UNIQUE", &[Some(&["x"])]);
        check(
            "ALTER TABLE t ADD x int PRIMARY KEY, ADD COLUMN IF NOT EXISTS y int UNIQUE",
            &[Some(&["x"]), Some(&["y"])],
        );
        check(
            "ALTER TABLE t ADD CONSTRAINT c UNIQUE NULLS NOT DISTINCT (a, b)",
            &[Some(&["a", "b"])],
        );
        check("ALTER TABLE t ADD PRIMARY KEY (a)", &[Some(&["a"])]);
        check(
            "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i",
            &[None],
        );
        check("ALTER TABLE t ADD EXCLUDE USING gist (a WITH =)", &[None]);
        check("ALTER TABLE t ADD COLUMN \"unique\" int", &[]);
    }
}
