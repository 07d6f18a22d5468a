//! The dozen statements of the counts.

/// One statement, as text with literals and, where drivers would, with parameters.
pub struct Statement {
    pub name: &'static str,
    /// `{}` is a number that differs each time.
    literal: &'static str,
    /// `$1` is that number.
    pub parameter: &'static str,
    /// The server's tag.
    pub tag: &'static str,
    /// It returns rows.
    pub rows: bool,
}

impl Statement {
    pub fn text(&self, number: u32) -> String {
        self.literal.replace("{}", &number.to_string())
    }
}

const fn reads(name: &'static str, literal: &'static str, parameter: &'static str) -> Statement {
    Statement {
        name,
        literal,
        parameter,
        tag: "SELECT 1",
        rows: true,
    }
}

const fn writes(
    name: &'static str,
    literal: &'static str,
    parameter: &'static str,
    tag: &'static str,
) -> Statement {
    Statement {
        name,
        literal,
        parameter,
        tag,
        rows: false,
    }
}

pub const ALL: [Statement; 12] = [
    reads(
        "point_select",
        "SELECT abalance FROM accounts WHERE aid = {}",
        "SELECT abalance FROM accounts WHERE aid = $1",
    ),
    reads(
        "home_select",
        "SELECT abalance FROM accounts_home WHERE aid = {}",
        "SELECT abalance FROM accounts_home WHERE aid = $1",
    ),
    writes(
        "update",
        "UPDATE accounts SET abalance = abalance + -17 WHERE aid = {}",
        "UPDATE accounts SET abalance = abalance + -17 WHERE aid = $1",
        "UPDATE 1",
    ),
    writes(
        "insert",
        "INSERT INTO history (aid, delta) VALUES ({}, 17)",
        "INSERT INTO history (aid, delta) VALUES ($1, 17)",
        "INSERT 0 1",
    ),
    writes(
        "upsert",
        "INSERT INTO accounts (aid, abalance, filler) VALUES ({}, 1, 'it''s') \
         ON CONFLICT (aid) DO UPDATE SET abalance = excluded.abalance",
        "INSERT INTO accounts (aid, abalance, filler) VALUES ($1, 1, 'it''s') \
         ON CONFLICT (aid) DO UPDATE SET abalance = excluded.abalance",
        "INSERT 0 1",
    ),
    writes(
        "delete",
        "DELETE FROM history WHERE aid = {} AND delta < 0",
        "DELETE FROM history WHERE aid = $1 AND delta < 0",
        "DELETE 1",
    ),
    reads(
        "join",
        "SELECT a.abalance, h.delta FROM accounts a JOIN history h ON h.aid = a.aid WHERE a.aid = {} \
         ORDER BY h.delta DESC LIMIT 10",
        "SELECT a.abalance, h.delta FROM accounts a JOIN history h ON h.aid = a.aid WHERE a.aid = $1 \
         ORDER BY h.delta DESC LIMIT 10",
    ),
    reads(
        "aggregate",
        "SELECT count(*), max(delta) FROM history WHERE aid = {} AND delta BETWEEN 10 AND 20",
        "SELECT count(*), max(delta) FROM history WHERE aid = $1 AND delta BETWEEN 10 AND 20",
    ),
    reads(
        "with",
        "WITH last AS (SELECT delta FROM history WHERE aid = {}) SELECT sum(delta) FROM last",
        "WITH last AS (SELECT delta FROM history WHERE aid = $1) SELECT sum(delta) FROM last",
    ),
    reads(
        "for_update",
        "SELECT abalance FROM accounts WHERE aid = {} FOR UPDATE",
        "SELECT abalance FROM accounts WHERE aid = $1 FOR UPDATE",
    ),
    writes(
        "home_insert",
        "INSERT INTO notes (id, body) VALUES ({}, 'a note of some length, with a quote: it''s short')",
        "INSERT INTO notes (id, body) VALUES ($1, 'a note of some length, with a quote: it''s short')",
        "INSERT 0 1",
    ),
    reads(
        "home_report",
        "SELECT n.id, lower(n.body) FROM notes n LEFT JOIN accounts_home a ON a.aid = n.id \
         WHERE n.id > {} AND a.abalance IS NOT NULL ORDER BY 1 LIMIT 20 OFFSET 40",
        "SELECT n.id, lower(n.body) FROM notes n LEFT JOIN accounts_home a ON a.aid = n.id \
         WHERE n.id > $1 AND a.abalance IS NOT NULL ORDER BY 1 LIMIT 20 OFFSET 40",
    ),
];
