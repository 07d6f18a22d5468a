//! Random writes that concern several shards: INSERT of several rows, with parameters and without, and UPDATE and DELETE
//! that no key binds.

use crate::generator::{Generator, Scope};

/// One statement.
pub struct Write {
    pub shape: &'static str,
    pub sql: String,
    /// For `$1`, `$2`, ..
    pub params: Vec<Value>,
    /// Its rows have one order, and of several errors one is the first.
    pub ordered: bool,
}

/// A value of a column.
#[derive(Clone, Debug)]
pub enum Value {
    Number(Option<i64>),
    Text(Option<String>),
    /// SQL that computes one; no parameter.
    Computed(String),
}

impl Value {
    fn literal(&self) -> String {
        match self {
            Value::Number(None) | Value::Text(None) => "NULL".to_owned(),
            Value::Number(Some(number)) => number.to_string(),
            Value::Text(Some(text)) => format!("'{text}'"),
            Value::Computed(sql) => sql.clone(),
        }
    }
}

struct Table {
    name: &'static str,
    columns: &'static [Column],
    /// What a row can conflict with.
    unique: &'static str,
}

struct Column {
    name: &'static str,
    number: bool,
    key: bool,
}

const fn column(name: &'static str, number: bool, key: bool) -> Column {
    Column { name, number, key }
}

const TABLES: &[Table] = &[
    Table {
        name: "users",
        columns: &[
            column("id", true, true),
            column("name", false, false),
            column("city", false, false),
            column("age", true, false),
        ],
        unique: "id",
    },
    Table {
        name: "orders",
        columns: &[
            column("user_id", true, true),
            column("id", true, true),
            column("amount", true, false),
            column("status", false, false),
        ],
        unique: "user_id, id",
    },
    Table {
        name: "tags",
        columns: &[
            column("label", false, true),
            column("note", false, false),
            column("weight", true, false),
        ],
        unique: "label",
    },
    Table {
        name: "levels",
        columns: &[
            column("level", true, true),
            column("title", false, false),
            column("points", true, false),
        ],
        unique: "level",
    },
    Table {
        name: "countries",
        columns: &[
            column("id", true, true),
            column("code", false, false),
            column("name", false, false),
        ],
        unique: "id",
    },
];

pub fn write(generator: &mut Generator) -> Write {
    match generator.random.below(20) {
        0..=10 => insert(generator),
        11..=16 => update(generator),
        _ => delete(generator),
    }
}

fn value(generator: &mut Generator, column: &Column) -> Value {
    let n = generator.random.below(16) as i64;
    if column.key {
        // Mostly keys; sometimes NULL, which is an error.
        let null = generator.random.chance(2);
        return match column.number {
            true => Value::Number((!null).then_some(n)),
            false => Value::Text((!null).then(|| format!("t{n}"))),
        };
    }
    match (column.number, generator.random.below(12)) {
        (true, 0) => Value::Computed(format!("{n} / (8 - {n})")),
        (true, 1) => Value::Computed("(SELECT max(id) FROM countries)".to_owned()),
        (true, 2) => Value::Computed("DEFAULT".to_owned()),
        (true, 3) => Value::Number(None),
        (true, 4) => Value::Computed(format!("abs(-{n}) + 1")),
        (true, _) => Value::Number(Some(n * 3)),
        (false, 0) => Value::Computed(format!("upper('x{n}')")),
        (false, 1) => Value::Computed("DEFAULT".to_owned()),
        (false, 2) => Value::Text(None),
        (false, 3) => Value::Text(Some("now".to_owned())),
        (false, _) => Value::Text(Some(format!("w{n}"))),
    }
}

fn insert(generator: &mut Generator) -> Write {
    let table = generator.random.pick(TABLES);
    let mut columns: Vec<&Column> = table.columns.iter().collect();
    let listed = generator.random.chance(75);
    if listed {
        columns.retain(|column| column.key || generator.random.chance(70));
        let turn = generator.random.below(columns.len());
        columns.rotate_left(turn);
    } else {
        let width = 1 + generator.random.below(columns.len());
        columns.truncate(width.max(columns.iter().filter(|column| column.key).count()));
    }
    let with_params = generator.random.chance(40);
    let mut params = Vec::new();
    let mut rows = Vec::new();
    for _ in 0..2 + generator.random.below(7) {
        let mut items = Vec::new();
        for column in &columns {
            let value = value(generator, column);
            let is_param = with_params && generator.random.chance(80);
            items.push(match (&value, is_param) {
                (Value::Number(_) | Value::Text(_), true) => {
                    params.push(value);
                    format!("${}", params.len())
                }
                _ => value.literal(),
            });
        }
        rows.push(format!("({})", items.join(", ")));
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let list = match listed {
        true => format!(" ({})", names.join(", ")),
        false => String::new(),
    };
    let plain: Vec<&&Column> = columns.iter().filter(|column| !column.key).collect();
    let conflict = match (generator.random.below(7), plain.first()) {
        (0, _) => " ON CONFLICT DO NOTHING".to_owned(),
        (1, _) => format!(" ON CONFLICT ({}) DO NOTHING", table.unique),
        (2 | 3, Some(column)) => format!(
            " ON CONFLICT ({}) DO UPDATE SET {name} = excluded.{name}",
            table.unique,
            name = column.name
        ),
        (4, Some(column)) => format!(
            " ON CONFLICT ({}) DO UPDATE SET {name} = excluded.{name} WHERE {}.{name} IS DISTINCT FROM excluded.{name}",
            table.unique,
            table.name,
            name = column.name
        ),
        _ => String::new(),
    };
    let returnings = [
        "".to_owned(),
        "".to_owned(),
        " RETURNING *".to_owned(),
        format!(" RETURNING {}", table.unique),
        format!(" RETURNING {} IS NULL AS n, 7, {}", names[0], names[0]),
    ];
    let returning = generator.random.pick(&returnings).clone();
    let sql = format!(
        "INSERT INTO {}{list} VALUES {}{conflict}{returning}",
        table.name,
        rows.join(", ")
    );
    Write {
        shape: if with_params {
            "insert with parameters"
        } else {
            "insert"
        },
        sql,
        params,
        ordered: true,
    }
}

/// The table with the alias t.
fn scope(table: &Table) -> Scope {
    let names = |number: bool| {
        let columns = table
            .columns
            .iter()
            .filter(|column| column.number == number);
        columns.map(|column| format!("t.{}", column.name)).collect()
    };
    Scope::of(names(true), names(false))
}

/// WHERE for the table t: often of few rows, for the tables are not to be emptied.
fn filter(generator: &mut Generator, table: &Table) -> String {
    let scope = scope(table);
    let key = table.columns[0].name;
    let part = match (table.columns[0].number, generator.random.below(5)) {
        (true, 0) => format!("t.{key} % 5 = {}", generator.random.below(5)),
        (true, 1) => format!(
            "t.{key} IN ({}, {}, {})",
            generator.random.below(16),
            generator.random.below(16),
            generator.random.below(16)
        ),
        (true, 2) => {
            let low = generator.random.below(14);
            format!("t.{key} BETWEEN {low} AND {}", low + 3)
        }
        (false, 0 | 1) => format!("t.{key} < 't{}'", generator.random.below(5)),
        _ => generator.predicate(std::slice::from_ref(&scope), &[], 1),
    };
    if generator.random.chance(40) {
        format!("{part} AND {}", generator.predicate(&[scope], &[], 1))
    } else {
        part
    }
}

/// FROM or USING, and what joins it by AND.
fn source(generator: &mut Generator, table: &Table) -> Option<(&'static str, String)> {
    let key = table.columns[0].name;
    let joined = match (table.name, generator.random.below(6)) {
        ("users", 0) => ("orders o", "o.user_id = t.id".to_owned()),
        ("orders", 0) => ("users o", "o.id = t.user_id".to_owned()),
        ("users", 1) => (
            "(SELECT user_id, max(id) AS m FROM orders GROUP BY user_id) o",
            "o.user_id = t.id AND o.m < 3".to_owned(),
        ),
        ("orders", 1) => (
            "users o LEFT JOIN orders p ON p.user_id = o.id AND p.amount > 4",
            "o.id = t.user_id AND p.id IS NULL".to_owned(),
        ),
        (_, 2) if table.columns[0].number => ("countries o", format!("o.id = t.{key}")),
        // Not joined by the key: this must be refused.
        ("users", 3) => ("orders o", "o.amount = t.age".to_owned()),
        _ => return None,
    };
    Some(joined)
}

fn update(generator: &mut Generator) -> Write {
    let table = generator.random.pick(TABLES);
    let columns: Vec<&Column> = table.columns.iter().filter(|column| !column.key).collect();
    let column = *generator.random.pick(&columns);
    let n = generator.random.below(9);
    let assigned = match (column.number, table.name, generator.random.below(6)) {
        (true, _, 0) => format!("{0} = t.{0} + {n}", column.name),
        (true, _, 1) => format!("{} = {n} / (t.{} - 7)", column.name, column.name),
        (true, "users", 2) => {
            "age = (SELECT count(*) FROM orders s WHERE s.user_id = t.id)".to_owned()
        }
        (true, _, 3) => format!("{} = (SELECT max(id) FROM countries)", column.name),
        (true, _, 4) => format!("{} = DEFAULT", column.name),
        (true, _, _) => format!("{} = {n}", column.name),
        (false, _, 0) => format!("{0} = t.{0} || 'x'", column.name),
        (false, _, _) => format!("{} = 'now{n}'", column.name),
    };
    let (from, join) = match source(generator, table) {
        Some((from, join)) => (format!(" FROM {from}"), format!("{join} AND ")),
        None => (String::new(), String::new()),
    };
    let returning = generator
        .random
        .pick(&[
            "",
            " RETURNING t.*",
            &format!(" RETURNING t.{}", column.name),
        ])
        .to_string();
    Write {
        shape: if from.is_empty() {
            "update"
        } else {
            "update from"
        },
        sql: format!(
            "UPDATE {} t SET {assigned}{from} WHERE {join}{}{returning}",
            table.name,
            filter(generator, table)
        ),
        params: Vec::new(),
        ordered: false,
    }
}

fn delete(generator: &mut Generator) -> Write {
    let table = generator.random.pick(TABLES);
    let (using, join) = match source(generator, table) {
        Some((from, join)) => (format!(" USING {from}"), format!("{join} AND ")),
        None => (String::new(), String::new()),
    };
    let returning = *generator.random.pick(&["", " RETURNING t.*"]);
    Write {
        shape: if using.is_empty() {
            "delete"
        } else {
            "delete using"
        },
        sql: format!(
            "DELETE FROM {} t{using} WHERE {join}{}{returning}",
            table.name,
            filter(generator, table)
        ),
        params: Vec::new(),
        ordered: false,
    }
}
