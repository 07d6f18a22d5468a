//! Simple queries and transaction blocks.

use super::Case;

pub const CASES: &[Case] = &[
    ("simple select", &["Q select 1 as a, 'x'::text as b"]),
    ("simple error", &["Q select 1/0"]),
    ("syntax error", &["Q selec 1"]),
    ("empty query", &["Q "]),
    ("only a comment", &["Q -- nothing", "Q /* nothing */ ;"]),
    ("two statements", &["Q select 1; select 2"]),
    (
        "two statements, the second fails",
        &[
            "Q insert into seq_t values (10,'a'); select 1/0",
            "Q select count(*) from seq_t where id = 10",
        ],
    ),
    (
        "a syntax error in the last statement runs nothing",
        &[
            "Q insert into seq_t values (10,'a'); selec",
            "Q select count(*) from seq_t where id = 10",
        ],
    ),
    (
        "insert, update, delete tags",
        &[
            "Q insert into seq_t values (10,'a'),(11,'b')",
            "Q update seq_t set v='z' where id >= 10",
            "Q delete from seq_t where id >= 10",
        ],
    ),
    (
        "returning",
        &["Q insert into seq_t values (10,'a') returning id, v"],
    ),
    (
        "transaction",
        &[
            "Q begin",
            "Q insert into seq_t values (10,'a')",
            "Q commit",
            "Q select count(*) from seq_t where id = 10",
        ],
    ),
    (
        "transaction rolled back",
        &[
            "Q begin",
            "Q insert into seq_t values (10,'a')",
            "Q rollback",
            "Q select count(*) from seq_t where id = 10",
        ],
    ),
    ("empty transaction", &["Q begin", "Q commit"]),
    (
        "start transaction",
        &[
            "Q start transaction isolation level repeatable read read only",
            "Q select 1",
            "Q commit",
        ],
    ),
    ("commit without a transaction", &["Q commit", "Q rollback"]),
    (
        "begin twice",
        &["Q begin", "Q begin", "Q select 1", "Q begin", "Q commit"],
    ),
    (
        "a failed transaction",
        &[
            "Q begin",
            "Q select 1",
            "Q select 1/0",
            "Q select 2",
            "Q commit",
            "Q select 3",
        ],
    ),
    (
        "a failed transaction without a statement before",
        &["Q begin", "Q select 1/0", "Q select 2", "Q rollback"],
    ),
    (
        "savepoints",
        &[
            "Q begin",
            "Q insert into seq_t values (10,'a')",
            "Q savepoint s",
            "Q select 1/0",
            "Q rollback to s",
            "Q select count(*) from seq_t where id=10",
            "Q release s",
            "Q commit",
        ],
    ),
    (
        "savepoint first",
        &[
            "Q begin",
            "Q savepoint s",
            "Q insert into seq_t values (10,'a')",
            "Q rollback to s",
            "Q commit",
            "Q select count(*) from seq_t where id=10",
        ],
    ),
    (
        "commit and chain",
        &[
            "Q begin",
            "Q select 1",
            "Q commit and chain",
            "Q select 2",
            "Q rollback",
        ],
    ),
    (
        "commit and chain of an empty block",
        &["Q begin", "Q commit and chain", "Q rollback"],
    ),
    (
        "begin within a query",
        &["Q begin; select 1", "Q select 2", "Q commit"],
    ),
    (
        "begin, error, rollback in one query",
        &["Q begin; select 1/0; rollback", "Q select 1", "Q rollback"],
    ),
    (
        "commit within a query",
        &[
            "Q insert into seq_t values (10,'a'); commit; select 1/0",
            "Q select count(*) from seq_t where id=10",
        ],
    ),
    (
        "many statements",
        &[
            "Q select 1; select 2; select 3; insert into seq_t values (20,'q'); select count(*) from seq_t",
        ],
    ),
    (
        "binary-looking text",
        &["Q select E'a\\nb\\t\\\\', '''', $$x'y$$, U&'\\0041'"],
    ),
];
