//! Errors on a distributed table: a plain database says what is expected.

use super::Case;

/// Made in both databases; the router's is then distributed.
pub const TABLE: &str =
    "create table seq_u (id int8 primary key, v text not null, n int4 default 1 check (n > 0))";

pub const DISTRIBUTE: &str = "select create_distributed_table('seq_u', 'id')";

/// What every case finds, statement by statement.
pub const RESET: &[&str] = &[
    "truncate seq_u",
    "insert into seq_u values (1,'one')",
    "insert into seq_u values (2,'two')",
    "insert into seq_u values (3,'three')",
    "insert into seq_u values (4,'four')",
];

pub const SPREAD: &[Case] = &[
    (
        "read by key",
        &[
            "Q select * from seq_u where id = 1",
            "Q select v from seq_u where id = 2",
        ],
    ),
    (
        "a duplicate key",
        &[
            "Q insert into seq_u values (1,'x')",
            "Q insert into seq_u values (2,'x')",
        ],
    ),
    (
        "a NULL that may not be",
        &[
            "Q insert into seq_u values (10,null)",
            "Q update seq_u set v = null where id = 1",
        ],
    ),
    (
        "a check",
        &[
            "Q insert into seq_u values (10,'x',0)",
            "Q update seq_u set n = -1 where id = 2",
        ],
    ),
    (
        "a key of the wrong form",
        &[
            "Q select * from seq_u where id = 'x'",
            "Q insert into seq_u values ('x','y')",
        ],
    ),
    (
        "a key of the wrong form, extended",
        &[
            "P s|select v from seq_u where id = $1|",
            "B |s|x",
            "E |0",
            "S",
            "B |s|99999999999999999999",
            "E |0",
            "S",
            "r B 'p' 00 's' 00 0001 0001 0001 00000003 000001 0000",
            "S",
            "r B 'p' 00 's' 00 0001 0002 0001 00000001 '1' 0000",
            "S",
            "B |s|1",
            "E |0",
            "S",
        ],
    ),
    (
        "a key out of range",
        &["Q select * from seq_u where id = 99999999999999999999"],
    ),
    (
        "an unknown column",
        &[
            "Q select nope from seq_u where id = 1",
            "Q update seq_u set nope = 1 where id = 1",
        ],
    ),
    (
        "an unknown column, extended",
        &[
            "P s|select nope from seq_u where id = $1|",
            "B |s|1",
            "E |0",
            "S",
        ],
    ),
    (
        "a value of the wrong type",
        &[
            "Q update seq_u set n = 'x' where id = 2",
            "Q insert into seq_u values (10,'x','y')",
        ],
    ),
    (
        "division by zero",
        &[
            "Q select 1/(id - 1) from seq_u where id = 1",
            "Q select 1/(id - 2) from seq_u where id = 2",
        ],
    ),
    (
        "too few values",
        &[
            "Q insert into seq_u (id, v) values (10)",
            "Q insert into seq_u values (10,'a',1,2)",
        ],
    ),
    (
        "an error in a block",
        &[
            "Q begin",
            "Q insert into seq_u values (10,'a')",
            "Q insert into seq_u values (10,'b')",
            "Q select * from seq_u where id = 1",
            "Q commit",
            "Q select * from seq_u where id = 10",
        ],
    ),
    (
        "too few parameters",
        &[
            "P s|select v from seq_u where id = $1|",
            "B |s",
            "E |0",
            "S",
            "B |s|1,2",
            "S",
            "B |s|1",
            "E |0",
            "S",
        ],
    ),
    (
        "a malformed Bind",
        &[
            "P s|select v from seq_u where id = $1|",
            "r B 00 's' 00 0000 ffff 0000",
            "S",
            "B |s|3",
            "E |0",
            "S",
        ],
    ),
    (
        "a bad Parse, and gone",
        &["P s|select nope from seq_u where id = $1|", "X"],
    ),
    (
        "a Bind that fails, and gone",
        &["P s|select v from seq_u where id = $1|", "B |s|x", "X"],
    ),
    (
        "a pipeline that fails",
        &[
            "P i|insert into seq_u values ($1,$2)|",
            "B |i|10,a",
            "E |0",
            "B |i|10,b",
            "E |0",
            "B |i|10,c",
            "E |0",
            "S",
            "Q select count(*) from seq_u where id = 10",
        ],
    ),
    (
        "no such table",
        &[
            "Q select * from seq_v where id = 1",
            "P s|select * from seq_v where id = $1|",
            "S",
        ],
    ),
    (
        "a syntax error",
        &[
            "Q select * from seq_u where id = 1 and",
            "Q selec * from seq_u where id = 1",
            "Q select 1",
        ],
    ),
    (
        "a syntax error in a block",
        &[
            "Q begin",
            "Q select v from seq_u where id = 1",
            "Q selec from seq_u",
            "Q select 1",
            "Q commit",
        ],
    ),
    (
        "a syntax error in a waiting block",
        &["Q begin", "Q selec from seq_u", "Q select 1", "Q rollback"],
    ),
    (
        "a syntax error, extended",
        &[
            "P s|selec * from seq_u|",
            "B |s",
            "E |0",
            "S",
            "P s|select v from seq_u where id = $1|",
            "B |s|2",
            "E |0",
            "S",
        ],
    ),
    (
        "a syntax error in a pipeline",
        &[
            "P i|insert into seq_u values ($1,'x')|",
            "B |i|10",
            "E |0",
            "P s|select * from seq_u where|",
            "B |s",
            "E |0",
            "S",
            "Q select count(*) from seq_u where id = 10",
        ],
    ),
    (
        "a syntax error, and gone",
        &["P s|selec * from seq_u|", "X"],
    ),
    (
        "a change of the schema that fails",
        &[
            "Q   alter table seq_u add column v text",
            "Q alter table seq_u add column w no_such_type",
            "Q create index on seq_u (nope)",
            "Q alter table seq_u add column w int; ",
            "Q alter table seq_u drop column w",
            "Q alter table if exists seq_nope add column w int",
            "Q drop index nope",
        ],
    ),
    (
        "a change of the schema that fails, extended",
        &[
            "P |  alter table seq_u add column w no_such_type|",
            "B |",
            "E |0",
            "S",
            "P |alter table seq_u drop column if exists nope|",
            "B |",
            "E |0",
            "S",
            "Q select 1",
        ],
    ),
];
