//! Random statements over the schema of `schema.rs`. They are valid SQL, most of the time; whether the router can prove
//! their route is for it to say.

/// A small generator of pseudo-random numbers (splitmix64): the seed alone decides what is made.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

struct Table {
    name: &'static str,
    key: Option<&'static str>,
    /// Integer columns, the key included where it is one.
    numbers: &'static [&'static str],
    texts: &'static [&'static str],
}

const TABLES: &[Table] = &[
    Table {
        name: "users",
        key: Some("id"),
        numbers: &["id", "age"],
        texts: &["name", "city"],
    },
    Table {
        name: "orders",
        key: Some("user_id"),
        numbers: &["user_id", "id", "amount"],
        texts: &["status"],
    },
    Table {
        name: "tags",
        key: Some("label"),
        numbers: &["weight"],
        texts: &["label", "note"],
    },
    Table {
        name: "levels",
        key: Some("level"),
        numbers: &["level", "points"],
        texts: &["title"],
    },
    Table {
        name: "countries",
        key: None,
        numbers: &["id"],
        texts: &["code", "name"],
    },
    Table {
        name: "notes",
        key: None,
        numbers: &["id", "user_id"],
        texts: &["body"],
    },
];

/// A relation in scope: its columns, qualified.
#[derive(Clone)]
pub struct Scope {
    pub numbers: Vec<String>,
    pub texts: Vec<String>,
    /// Qualified key column, with whether it is a number.
    key: Option<(String, bool)>,
}

impl Scope {
    /// Columns without a key among them.
    pub fn of(numbers: Vec<String>, texts: Vec<String>) -> Scope {
        Scope {
            numbers,
            texts,
            key: None,
        }
    }
}

pub struct Generator {
    pub random: Random,
    /// Keys that most predicates use, so that bindings meet.
    keys: Vec<i64>,
    labels: Vec<String>,
    aliases: usize,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let mut random = Random::new(seed);
        let keys = (0..2).map(|_| random.below(12) as i64).collect();
        let labels = (0..2).map(|_| format!("t{}", random.below(6))).collect();
        Generator {
            random,
            keys,
            labels,
            aliases: 0,
        }
    }

    /// One statement: mostly SELECT, sometimes a write.
    pub fn statement(&mut self) -> String {
        self.aliases = 0;
        match self.random.below(10) {
            0 => self.update(),
            1 => self.delete(),
            2 => self.insert(),
            3 => self.with_ctes(),
            4 => self.set_operation(),
            _ => self.select(2, &[], false),
        }
    }

    fn number(&mut self) -> i64 {
        if self.random.chance(80) {
            *self.random.pick(&self.keys.clone())
        } else {
            self.random.below(15) as i64
        }
    }

    fn number_text(&mut self) -> String {
        let n = self.number();
        match self.random.below(9) {
            0 => format!("'{n}'"),
            1 => format!("{n}::int8"),
            2 => format!("{n}.0"),
            3 => format!("'{n}'::int4"),
            4 => format!("({n})"),
            5 => format!("{n}.5"),
            _ => n.to_string(),
        }
    }

    fn label(&mut self) -> String {
        let label = self.random.pick(&self.labels.clone()).clone();
        match self.random.below(6) {
            0 => format!("'{label}'::text"),
            1 => format!("'{label}'::varchar"),
            2 => format!("'{label} '"),
            _ => format!("'{label}'"),
        }
    }

    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("a{}", self.aliases)
    }

    fn pick_item(&mut self, depth: usize) -> (String, Scope) {
        if depth > 0 && self.random.chance(15) {
            let alias = self.alias();
            let inner = self.derived(depth - 1);
            let scope = Scope {
                numbers: vec![format!("{alias}.x")],
                texts: Vec::new(),
                key: Some((format!("{alias}.x"), true)),
            };
            return (format!("({inner}) {alias}"), scope);
        }
        let table = if self.random.chance(70) {
            &TABLES[self.random.below(2)]
        } else {
            self.random.pick(TABLES)
        };
        // Sometimes the table's own name stays, so that unqualified names are met too.
        let alias = self.alias();
        let qualify = |list: &[&str]| {
            list.iter()
                .map(|column| format!("{alias}.{column}"))
                .collect::<Vec<_>>()
        };
        let scope = Scope {
            numbers: qualify(table.numbers),
            texts: qualify(table.texts),
            key: table
                .key
                .map(|key| (format!("{alias}.{key}"), table.numbers.contains(&key))),
        };
        (format!("{} {alias}", table.name), scope)
    }

    /// A subquery with the one column `x`.
    pub fn derived(&mut self, depth: usize) -> String {
        let (from, scopes) = self.from(depth);
        let column = self.pick_number(&scopes);
        let filter = self.filter(&scopes, &[], depth);
        match self.random.below(7) {
            0 => format!("SELECT {column} AS x FROM {from}{filter} GROUP BY {column}"),
            1 => format!("SELECT DISTINCT {column} AS x FROM {from}{filter}"),
            2 => format!("SELECT max({column}) AS x FROM {from}{filter}"),
            3 => format!("SELECT {column} AS x FROM {from}{filter} ORDER BY 1 LIMIT 3"),
            4 => format!("SELECT count(*) AS x FROM {from}{filter}"),
            _ => format!("SELECT {column} AS x FROM {from}{filter}"),
        }
    }

    pub fn from(&mut self, depth: usize) -> (String, Vec<Scope>) {
        let (mut text, scope) = self.pick_item(depth);
        let mut scopes = vec![scope];
        while scopes.len() < 3 && self.random.chance(35) {
            let (item, scope) = self.pick_item(depth);
            scopes.push(scope);
            if self.random.chance(15) {
                text = format!("{text} CROSS JOIN {item}");
                continue;
            }
            let kind = *self
                .random
                .pick(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let on = self.join_condition(&scopes, depth);
            text = format!("{text} {kind} {item} ON {on}");
        }
        (text, scopes)
    }

    fn join_condition(&mut self, scopes: &[Scope], depth: usize) -> String {
        let last = &scopes[scopes.len() - 1];
        let other = self.random.pick(&scopes[..scopes.len() - 1]).clone();
        let base = match (&last.key, &other.key) {
            (Some((a, true)), Some((b, true))) if self.random.chance(75) => format!("{a} = {b}"),
            _ => format!(
                "{} = {}",
                self.random.pick(&last.numbers.clone()),
                self.random.pick(&other.numbers.clone())
            ),
        };
        // FULL JOIN needs a hash- or merge-joinable condition, so the first one is an equality and others are joined by AND.
        if self.random.chance(25) {
            format!(
                "{base} AND {}",
                self.predicate(scopes, &[], depth.min(1).saturating_sub(1))
            )
        } else {
            base
        }
    }

    pub fn pick_number(&mut self, scopes: &[Scope]) -> String {
        let scope = self.random.pick(scopes).clone();
        self.random.pick(&scope.numbers).clone()
    }

    pub fn filter(&mut self, scopes: &[Scope], outer: &[Scope], depth: usize) -> String {
        if self.random.chance(8) {
            return String::new();
        }
        let mut parts = Vec::new();
        // Often each relation is bound, for otherwise nearly all would be refused.
        let bind_all = self.random.chance(65);
        for scope in scopes {
            if (bind_all || self.random.chance(25))
                && let Some((key, number)) = &scope.key
            {
                let constant = if *number {
                    self.keys[0].to_string()
                } else {
                    format!("'{}'", self.labels[0])
                };
                parts.push(format!("{key} = {constant}"));
            }
        }
        for _ in 0..self.random.below(3) {
            parts.push(self.predicate(scopes, outer, depth));
        }
        if parts.is_empty() {
            return String::new();
        }
        let glue = if self.random.chance(12) {
            " OR "
        } else {
            " AND "
        };
        format!(" WHERE {}", parts.join(glue))
    }

    pub fn predicate(&mut self, scopes: &[Scope], outer: &[Scope], depth: usize) -> String {
        let scope = if !outer.is_empty() && self.random.chance(20) {
            self.random.pick(outer).clone()
        } else {
            self.random.pick(scopes).clone()
        };
        let column = match &scope.key {
            Some((key, true)) if self.random.chance(60) => key.clone(),
            _ => self.random.pick(&scope.numbers).clone(),
        };
        match self.random.below(if depth > 0 { 17 } else { 13 }) {
            0..=2 => format!("{column} = {}", self.number_text()),
            3 => format!("{} = {column}", self.number_text()),
            4 => format!(
                "{column} IN ({}, {})",
                self.number_text(),
                self.number_text()
            ),
            5 => format!(
                "({column} = {} OR {column} = {})",
                self.number_text(),
                self.number_text()
            ),
            6 => format!(
                "{column} = ANY(ARRAY[{}, {}])",
                self.number(),
                self.number()
            ),
            7 => format!("NOT ({column} = {})", self.number_text()),
            8 => format!("({column} = {} OR {column} IS NULL)", self.number_text()),
            9 => format!(
                "({}, {column}) = ({}, {})",
                self.random.pick(&scope.numbers.clone()),
                self.number(),
                self.number()
            ),
            10 => {
                let other = self.pick_number(scopes);
                format!("{column} = {other}")
            }
            11 => match scope.texts.first() {
                Some(_) => format!(
                    "{} = {}",
                    self.random.pick(&scope.texts.clone()),
                    self.label()
                ),
                None => format!("{column} BETWEEN {} AND {}", self.number(), self.number()),
            },
            12 => format!(
                "CASE WHEN {column} = {} THEN true ELSE {column} > 5 END",
                self.number_text()
            ),
            13 => {
                let inner = self.correlated(scopes, depth - 1);
                format!(
                    "{}EXISTS ({inner})",
                    if self.random.chance(40) { "NOT " } else { "" }
                )
            }
            14 => {
                let inner = self.derived(depth - 1);
                format!(
                    "{column} {}IN ({inner})",
                    if self.random.chance(30) { "NOT " } else { "" }
                )
            }
            15 => {
                let (from, inner) = self.from(0);
                let value = self.pick_number(&inner);
                let filter = self.filter(&inner, scopes, 0);
                format!("{column} >= (SELECT coalesce(max({value}), 0) FROM {from}{filter})")
            }
            _ => format!("{column} IS NOT DISTINCT FROM {}", self.number_text()),
        }
    }

    fn correlated(&mut self, outer: &[Scope], depth: usize) -> String {
        let (from, scopes) = self.from(depth);
        let inner = &scopes[0];
        let outside = self.random.pick(outer).clone();
        let mut filter = self.filter(&scopes, outer, depth);
        if self.random.chance(70) {
            let left = inner
                .key
                .as_ref()
                .filter(|(_, number)| *number)
                .map_or_else(|| inner.numbers[0].clone(), |(key, _)| key.clone());
            let right = outside
                .key
                .as_ref()
                .filter(|(_, number)| *number)
                .map_or_else(|| outside.numbers[0].clone(), |(key, _)| key.clone());
            let word = if filter.is_empty() { " WHERE" } else { " AND" };
            // An OR in the filter must not swallow the correlation.
            if let Some(rest) = filter.strip_prefix(" WHERE ") {
                filter = format!(" WHERE ({rest})");
            }
            filter = format!("{filter}{word} {left} = {right}");
        }
        format!("SELECT 1 FROM {from}{filter}")
    }

    pub fn select(&mut self, depth: usize, outer: &[Scope], one_column: bool) -> String {
        let (from, scopes) = self.from(depth);
        let filter = self.filter(&scopes, outer, depth);
        if one_column {
            let column = self.pick_number(&scopes);
            return format!("SELECT {column} AS x FROM {from}{filter}");
        }
        let mut columns: Vec<String> = (0..1 + self.random.below(3))
            .map(|_| self.pick_number(&scopes))
            .collect();
        if self.random.chance(30) {
            let scope = self.random.pick(&scopes).clone();
            columns.extend(scope.texts.first().cloned());
        }
        match self.random.below(10) {
            0 => {
                let value = self.pick_number(&scopes);
                format!("SELECT count(*), sum({value}), max({value}) FROM {from}{filter}")
            }
            1 => {
                let group = columns[0].clone();
                let value = self.pick_number(&scopes);
                let having = if self.random.chance(30) {
                    " HAVING count(*) > 1"
                } else {
                    ""
                };
                format!(
                    "SELECT {group}, count(*), sum({value}) FROM {from}{filter} GROUP BY {group}{having}"
                )
            }
            2 => format!("SELECT DISTINCT {} FROM {from}{filter}", columns.join(", ")),
            3 => {
                let order: Vec<String> = (1..=columns.len()).map(|n| n.to_string()).collect();
                format!(
                    "SELECT {} FROM {from}{filter} ORDER BY {} LIMIT {}",
                    columns.join(", "),
                    order.join(", "),
                    self.random.below(5)
                )
            }
            4 => {
                let value = self.pick_number(&scopes);
                let n = self.number();
                format!(
                    "SELECT count(*) FILTER (WHERE {value} = {n}), sum(CASE WHEN {value} = {n} THEN 1 ELSE 0 END) FROM {from}{filter}"
                )
            }
            5 => {
                let value = self.pick_number(&scopes);
                format!(
                    "SELECT {}, sum({value}) OVER (PARTITION BY {}) FROM {from}{filter}",
                    columns[0], columns[0]
                )
            }
            6 if depth > 0 => {
                let (inner, inner_scopes) = self.from(0);
                let value = self.pick_number(&inner_scopes);
                let inner_filter = self.filter(&inner_scopes, &scopes, 0);
                format!(
                    "SELECT {}, (SELECT max({value}) FROM {inner}{inner_filter}) FROM {from}{filter}",
                    columns[0]
                )
            }
            _ => format!("SELECT {} FROM {from}{filter}", columns.join(", ")),
        }
    }

    fn set_operation(&mut self) -> String {
        let word = *self
            .random
            .pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
        let left = self.select(1, &[], true);
        let right = self.select(1, &[], true);
        if self.random.chance(40) {
            let key = self.keys[0];
            return format!("SELECT * FROM ({left} {word} {right}) u WHERE x = {key}");
        }
        format!("{left} {word} {right}")
    }

    fn with_ctes(&mut self) -> String {
        let cte = self.derived(1);
        let key = self.keys[0];
        match self.random.below(6) {
            0 => format!("WITH c AS ({cte}) SELECT x FROM c WHERE x = {key}"),
            1 => format!(
                "WITH c AS ({cte}) SELECT u.name, c.x FROM users u JOIN c ON c.x = u.id WHERE u.id = {key}"
            ),
            2 => format!(
                "WITH c AS ({cte}) SELECT a.x FROM c a JOIN c b ON a.x = b.x WHERE a.x = {key}"
            ),
            3 => format!("WITH users AS ({cte}) SELECT x FROM users"),
            4 => format!(
                "WITH c AS (SELECT * FROM users WHERE id = {key}) SELECT count(*) FROM c, orders o WHERE o.user_id = c.id"
            ),
            _ => format!(
                "WITH RECURSIVE r(n) AS (SELECT id FROM users WHERE id = {key} UNION SELECT r.n + 1 FROM r WHERE r.n < {key} + 2) SELECT n FROM r"
            ),
        }
    }

    fn table_and_scope(&mut self) -> (&'static Table, Scope) {
        let table = &TABLES[self.random.below(5)];
        let qualify = |list: &[&str]| {
            list.iter()
                .map(|column| format!("t.{column}"))
                .collect::<Vec<_>>()
        };
        let scope = Scope {
            numbers: qualify(table.numbers),
            texts: qualify(table.texts),
            key: table
                .key
                .map(|key| (format!("t.{key}"), table.numbers.contains(&key))),
        };
        (table, scope)
    }

    fn update(&mut self) -> String {
        let (table, scope) = self.table_and_scope();
        let scopes = [scope];
        let column = table.numbers.last().expect("each table has one");
        let filter = self.filter(&scopes, &[], 1);
        let value = self.random.below(100);
        if self.random.chance(20) {
            let key = self.keys[0];
            return format!(
                "UPDATE {} t SET {column} = t.{column} + 1 FROM users u WHERE u.id = t.{} AND u.id = {key}",
                table.name, table.numbers[0]
            );
        }
        format!("UPDATE {} t SET {column} = {value}{filter}", table.name)
    }

    fn delete(&mut self) -> String {
        let (table, scope) = self.table_and_scope();
        let filter = self.filter(&[scope], &[], 1);
        format!("DELETE FROM {} t{filter}", table.name)
    }

    fn insert(&mut self) -> String {
        let n = self.number();
        let other = self.random.below(1000);
        match self.random.below(9) {
            0 => format!(
                "INSERT INTO users (id, name, age) VALUES ({n}, 'new', {other}) ON CONFLICT (id) DO UPDATE SET age = excluded.age"
            ),
            1 => format!("INSERT INTO users (name, id) VALUES ('x', {n}) ON CONFLICT DO NOTHING"),
            2 => format!(
                "INSERT INTO orders (user_id, id, amount) VALUES ({n}, {other}, 5), ({n}, {other} + 1, 6) ON CONFLICT DO NOTHING"
            ),
            3 => format!(
                "INSERT INTO orders (user_id, id, amount) SELECT u.id, {other} + 2000, u.age FROM users u WHERE u.id = {n} ON CONFLICT DO NOTHING"
            ),
            4 => format!(
                "INSERT INTO orders (user_id, id, amount) SELECT {n}, {other} + 4000, 1 FROM users u WHERE u.id = {n} ON CONFLICT DO NOTHING"
            ),
            5 => format!(
                "INSERT INTO tags (label, weight) VALUES ({}, {other}) ON CONFLICT (label) DO UPDATE SET weight = excluded.weight",
                self.label()
            ),
            6 => format!(
                "INSERT INTO levels (level, points) VALUES ({}, {other}) ON CONFLICT DO NOTHING",
                self.number_text()
            ),
            7 => format!(
                "INSERT INTO users (id, name) VALUES ({n}, 'a'), ({}, 'b') ON CONFLICT DO NOTHING",
                self.number()
            ),
            _ => format!(
                "INSERT INTO notes (id, user_id, body) VALUES ({other}, {n}, 'n') ON CONFLICT DO NOTHING"
            ),
        }
    }
}
