//! A client that leaves (X) behind each kind of message that the router holds back or answers itself.

use super::Case;

pub const CASES: &[Case] = &[
    ("a bad Parse, and gone", &["P bad|selec|", "X"]),
    ("a Parse, and gone", &["P s|select 1|", "X"]),
    (
        "a Parse that was known, and gone",
        &["P s|select 1|", "S", "P t|select 1|", "X"],
    ),
    ("a Describe, and gone", &["P s|select 1|", "D S s", "X"]),
    (
        "a bad Parse and a Describe, and gone",
        &["P s|selec|", "D S s", "X"],
    ),
    (
        "a good Parse and a bad one, and gone",
        &["P s|select 1|", "D S s", "P t|selec|", "X"],
    ),
    (
        "an unknown table, and gone",
        &["P s|select 1|", "P t|select * from seq_missing|", "X"],
    ),
    ("a Bind, and gone", &["P s|select 1|", "B |s", "X"]),
    (
        "a Bind that fails, and gone",
        &["P s|select $1::int4|", "B |s|x", "X"],
    ),
    ("a Bind of nothing, and gone", &["B |nope", "X"]),
    (
        "a Bind with too few values, and gone",
        &["P s|select $1::int4|", "B |s", "X"],
    ),
    ("an Execute of nothing, and gone", &["E nope|0", "X"]),
    ("a Describe of nothing, and gone", &["D S nope", "X"]),
    ("a Describe of no portal, and gone", &["D P nope", "X"]),
    (
        "a duplicate, and gone",
        &["P s|select 1|", "P s|select 2|", "X"],
    ),
    ("a Close, and gone", &["P s|select 1|", "C S s", "X"]),
    (
        "a bad Parse and a Flush, and gone",
        &["P s|selec|", "H", "X"],
    ),
    (
        "a bad Parse and a Sync, and gone",
        &["P s|selec|", "S", "X"],
    ),
    (
        "a bad Parse behind a Sync, and gone",
        &["P s|select 1|", "B |s", "E |0", "S", "P t|selec|", "X"],
    ),
    (
        "a bad Parse in a block, and gone",
        &["Q begin", "P s|selec|", "X"],
    ),
    (
        "a bad Parse in a block with work, and gone",
        &["Q begin", "Q select 1", "P s|selec|", "X"],
    ),
    (
        "an Execute that fails, and gone",
        &[
            "P |insert into seq_t values (10,'a')|",
            "B |",
            "E |0",
            "P |select 1/0|",
            "B |",
            "E |0",
            "X",
        ],
    ),
    (
        "a bad Parse behind work, and gone",
        &[
            "P |insert into seq_t values (10,'a')|",
            "B |",
            "E |0",
            "P |selec|",
            "X",
        ],
    ),
    (
        "several statements in Parse, and gone",
        &["P |select 1; select 2|", "X"],
    ),
    (
        "a malformed Bind, and gone",
        &["P |select 1|", "r B 00 00 ffff", "X"],
    ),
    (
        "begin and a bad Parse, and gone",
        &["P |begin|", "B |", "E |0", "P |selec|", "X"],
    ),
    (
        "what is skipped, and gone",
        &["P s|selec|", "P t|select 1|", "B |t", "E |0", "X"],
    ),
    (
        "a failed block, and gone",
        &["Q begin", "Q select 1/0", "P |select 1|", "X"],
    ),
];
