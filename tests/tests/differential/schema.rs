//! The schema and the rows that both sides begin with.

/// On both sides, as it is.
pub const TABLES: &str = "
create table users (id bigint primary key, name text, city text, age int);
create table orders (user_id bigint not null, id bigint not null, amount int, status text, primary key (user_id, id));
create table tags (label text primary key, note text, weight int);
create table levels (level int primary key, title text, points int);
create table countries (id int primary key, code text, name text);
create table notes (id int primary key, user_id int, body text)";

/// Through the router only.
pub const DISTRIBUTE: &[&str] = &[
    "select create_distributed_table('users', 'id')",
    "select create_distributed_table('orders', 'user_id', colocate_with => 'users')",
    "select create_distributed_table('tags', 'label')",
    "select create_distributed_table('levels', 'level', 'range', bounds => array['3', '6', '9'])",
    "select create_reference_table('countries')",
];

/// On both sides, once the tables are distributed.
pub const LATER: &str = "alter table orders add constraint orders_user foreign key (user_id) references users (id) on delete cascade";

/// Rows of the distributed and home tables, one statement a row.
pub fn rows() -> Vec<String> {
    let mut rows = Vec::new();
    for id in 0..12 {
        let city = if id % 3 == 0 {
            "null".to_string()
        } else {
            format!("'c{}'", id % 4)
        };
        rows.push(format!(
            "insert into users values ({id}, 'u{id}', {city}, {})",
            if id % 5 == 0 {
                "null".to_string()
            } else {
                (id % 7).to_string()
            }
        ));
        for order in 0..id % 4 {
            rows.push(format!(
                "insert into orders values ({id}, {order}, {}, 't{}')",
                (id * order) % 11,
                order % 2
            ));
        }
        rows.push(format!(
            "insert into levels values ({id}, 't{}', {})",
            id % 3,
            id * 2
        ));
        rows.push(format!(
            "insert into notes values ({id}, {}, 'n{}')",
            12 - id,
            id % 5
        ));
    }
    for n in 0..6 {
        rows.push(format!(
            "insert into tags values ('t{n}', {}, {n})",
            if n == 2 {
                "null".to_string()
            } else {
                format!("'t{}'", 5 - n)
            }
        ));
    }
    rows
}

/// Rows of the reference table.
pub fn reference_rows() -> Vec<String> {
    (0..4)
        .map(|n| format!("insert into countries values ({n}, 't{n}', 'n{n}')"))
        .collect()
}

pub const ALL_TABLES: &[&str] = &["users", "orders", "tags", "levels", "countries", "notes"];
