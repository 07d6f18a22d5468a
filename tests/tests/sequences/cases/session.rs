//! Settings, cursors, COPY, and what ends a session.

use super::Case;

pub const CASES: &[Case] = &[
    (
        "set and show",
        &[
            "Q set work_mem = '5MB'",
            "Q show work_mem",
            "Q reset work_mem",
            "Q show work_mem",
        ],
    ),
    (
        "set is reported",
        &[
            "Q set application_name = 'seq'",
            "Q set DateStyle = 'German'",
            "Q select date '2024-05-06'",
            "Q reset DateStyle",
            "Q reset application_name",
        ],
    ),
    (
        "set in a transaction that rolls back",
        &[
            "Q begin",
            "Q set application_name = 'seq2'",
            "Q select 1",
            "Q rollback",
            "Q show application_name",
        ],
    ),
    (
        "set in a transaction that commits",
        &[
            "Q begin",
            "Q set application_name = 'seq3'",
            "Q select 1",
            "Q commit",
            "Q show application_name",
            "Q reset application_name",
        ],
    ),
    (
        "set local",
        &[
            "Q begin",
            "Q set local work_mem = '6MB'",
            "Q show work_mem",
            "Q commit",
            "Q show work_mem",
        ],
    ),
    (
        "set local outside of a transaction",
        &["Q set local work_mem = '6MB'", "Q show work_mem"],
    ),
    (
        "set of an unknown name",
        &["Q set no_such_setting = 1", "Q select 1"],
    ),
    (
        "set of a bad value",
        &["Q set work_mem = 'many'", "Q select 1"],
    ),
    (
        "set by the extended protocol",
        &[
            "P |set work_mem = '7MB'|",
            "B |",
            "E |0",
            "S",
            "Q show work_mem",
            "Q reset work_mem",
        ],
    ),
    (
        "set and select in one query",
        &[
            "Q set work_mem = '8MB'; select 1",
            "Q show work_mem",
            "Q reset work_mem",
        ],
    ),
    (
        "set and error in one query",
        &["Q set work_mem = '8MB'; select 1/0", "Q show work_mem"],
    ),
    (
        "set transaction",
        &[
            "Q begin",
            "Q set transaction read only",
            "Q insert into seq_t values (10,'a')",
            "Q rollback",
        ],
    ),
    ("notice", &["Q do $$ begin raise notice 'hello'; end $$"]),
    (
        "raise with detail and hint",
        &[
            "Q do $$ begin raise exception 'no' using detail = 'd', hint = 'h', errcode = '22023'; end $$",
        ],
    ),
    (
        "cursor",
        &[
            "Q begin",
            "Q declare c cursor for select id from seq_t order by id",
            "Q fetch 2 from c",
            "Q move 1 in c",
            "Q fetch all from c",
            "Q close c",
            "Q commit",
        ],
    ),
    (
        "a cursor by the extended protocol",
        &[
            "Q begin",
            "Q declare c cursor for select id from seq_t order by id",
            "D P c",
            "E c|2",
            "S",
            "Q commit",
        ],
    ),
    (
        "deallocate",
        &[
            "P s|select 1|",
            "S",
            "Q deallocate s",
            "B |s",
            "E |0",
            "S",
            "Q deallocate s",
            "Q deallocate all",
        ],
    ),
    (
        "discard all",
        &["Q set work_mem = '9MB'", "Q discard all", "Q show work_mem"],
    ),
    (
        "discard all in a transaction",
        &["Q begin", "Q select 1", "Q discard all", "Q rollback"],
    ),
    (
        "copy in",
        &[
            "Q copy seq_t from stdin",
            "d 10\\ta",
            "d 11\\tb",
            "c",
            "Q select count(*) from seq_t where id>=10",
        ],
    ),
    (
        "copy in that fails in the data",
        &["Q copy seq_t from stdin", "d x\\ta", "c", "Q select 1"],
    ),
    (
        "copy in that the client gives up",
        &[
            "Q copy seq_t from stdin",
            "d 10\\ta",
            "f enough",
            "Q select count(*) from seq_t where id=10",
        ],
    ),
    (
        "copy in with a late duplicate",
        &[
            "Q copy seq_t from stdin",
            "d 1\\ta",
            "c",
            "Q select count(*) from seq_t",
        ],
    ),
    (
        "copy out",
        &["Q copy (select id, v from seq_t order by id) to stdout"],
    ),
    ("copy data without a copy", &["d 10\\ta", "c", "Q select 1"]),
    (
        "deferred constraint fails at commit",
        &[
            "Q begin",
            "Q insert into seq_d values (1, 99)",
            "Q commit",
            "Q select count(*) from seq_d",
        ],
    ),
    (
        "deferred constraint fails at sync",
        &[
            "P |insert into seq_d values (1, 99)|",
            "B |",
            "E |0",
            "S",
            "Q select count(*) from seq_d",
        ],
    ),
    ("vacuum", &["Q vacuum seq_t"]),
    (
        "vacuum in a transaction",
        &["Q begin", "Q vacuum seq_t", "Q rollback"],
    ),
    ("explain", &["Q explain (costs off) select 1"]),
    (
        "terminate after a query",
        &["Q insert into seq_t values (12,'x')", "X"],
    ),
    (
        "terminate without sync",
        &["P |insert into seq_t values (13,'x')|", "B |", "E |0", "X"],
    ),
];
