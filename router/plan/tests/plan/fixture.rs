//! The catalog of the tests, and `check`.
//!
//! Four shards, s1 is home. Tables:
//! hash by int8: `users(id)`, `orders(user_id)`, `payments(user_id)`, `tiny(id int4)`, `serials(user_id)`,
//! `odd(user_id)`; by text: `names(code varchar(5))`, `tags(tag text)`; by uuid: `docs(id)`; by bytea: `blobs(h)`;
//! by timestamptz: `stamps(at)`; range by date: `events(day)`; list by text: `sites(region)`;
//! reference: `countries`; home: `notes`, `other.users`, `counted` and `policed` (whose trigger and policy call
//! `count_users`), `fleeting` (unlogged). `count_users()` and `row_count(row)` read `users`.

use shardgate_plan::snapshot::*;
use shardgate_plan::{Compiled, Context, Decision, Param, Refusal, compile, compile_text};
use shardgate_shard_map::{Key, KeyType, Method, ShardId, ShardMap};
use shardgate_sql::lift::{analyze_lifted, lift};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub const INT2: u32 = 21;
pub const INT4: u32 = 23;
pub const INT8: u32 = 20;
pub const TEXT: u32 = 25;
pub const VARCHAR: u32 = 1043;
pub const BPCHAR: u32 = 1042;
pub const NUMERIC: u32 = 1700;
pub const FLOAT8: u32 = 701;
pub const UUID: u32 = 2950;
pub const BYTEA: u32 = 17;
pub const DATE: u32 = 1082;
pub const TIMESTAMP: u32 = 1114;
pub const TIMESTAMPTZ: u32 = 1184;
pub const INT8_ARRAY: u32 = 1016;

pub struct Fixture {
    pub snapshot: Snapshot,
    pub declared: Vec<u32>,
    pub search_path: Option<Vec<String>>,
    pub user: String,
    pub temporary: HashSet<String>,
    pub transform_null_equals: bool,
}

pub fn column(name: &str, ty: u32) -> Column {
    Column {
        name: name.into(),
        ty,
        modifier: -1,
        not_null: false,
        default: ColumnDefault::None,
        deterministic: true,
    }
}

fn table(name: &str, placement: Placement, columns: &[(&str, u32)]) -> Relation {
    Relation {
        oid: 0,
        schema: "public".into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns: columns.iter().map(|(name, ty)| column(name, *ty)).collect(),
        placement,
        runs_code: None,
        code_read: None,
        inherits: false,
        view: None,
        row_security: false,
        blind_code: None,
        blind_read: None,
        unlogged: false,
        everywhere: false,
    }
}

fn by(distribution: u32, key: usize) -> Placement {
    Placement::Distributed {
        distribution: DistributionId(distribution),
        key,
    }
}

fn hash(key_type: KeyType) -> ShardMap {
    let owners = (0..1024_u16)
        .map(|bucket| ShardId(bucket % 4 + 1))
        .collect();
    ShardMap {
        key_type,
        method: Method::Hash { owners },
        pins: HashMap::new(),
    }
}

const HASHED: &[(u32, KeyType)] = &[
    (1, KeyType::Int8),
    (2, KeyType::Text),
    (3, KeyType::Uuid),
    (4, KeyType::Bytea),
    (5, KeyType::Timestamptz),
    (9, KeyType::Int8),
];

fn distributions() -> HashMap<DistributionId, Distribution> {
    let mut maps: Vec<(u32, ShardMap)> = HASHED.iter().map(|(id, ty)| (*id, hash(*ty))).collect();
    let days = |y: i32| Key::Date((y - 2000) * 365 + (y - 2000) / 4 + 1);
    maps.push((
        6,
        ShardMap {
            key_type: KeyType::Date,
            // 2025-01-01 and 2026-01-01: s1 | s2 | s3.
            method: Method::Range {
                bounds: vec![days(2025), days(2026)],
                owners: vec![ShardId(1), ShardId(2), ShardId(3)],
            },
            pins: HashMap::new(),
        },
    ));
    let values =
        [("eu", 2), ("us", 3)].map(|(region, shard)| (Key::Text(region.into()), ShardId(shard)));
    maps.push((
        7,
        ShardMap {
            key_type: KeyType::Text,
            method: Method::List {
                values: values.into_iter().collect(),
                default: None,
            },
            pins: HashMap::new(),
        },
    ));
    let distribution = |(id, map)| {
        (
            DistributionId(id),
            Distribution {
                id: DistributionId(id),
                name: format!("d{id}"),
                map,
            },
        )
    };
    maps.into_iter().map(distribution).collect()
}

fn tables() -> Vec<Relation> {
    let mut tables = vec![
        table(
            "users",
            by(1, 0),
            &[
                ("id", INT8),
                ("name", TEXT),
                ("email", VARCHAR),
                ("age", INT4),
                ("x", FLOAT8),
            ],
        ),
        table(
            "orders",
            by(1, 1),
            &[
                ("id", INT8),
                ("user_id", INT8),
                ("total", NUMERIC),
                ("status", TEXT),
                ("p", INT8),
            ],
        ),
        table(
            "payments",
            by(1, 0),
            &[("user_id", INT8), ("amount", NUMERIC), ("order_id", INT8)],
        ),
        table("tiny", by(1, 0), &[("id", INT4), ("v", TEXT)]),
        table(
            "serials",
            by(1, 1),
            &[("id", INT8), ("user_id", INT8), ("v", TEXT)],
        ),
        table("odd", by(1, 0), &[("user_id", INT8), ("v", TEXT)]),
        table("names", by(2, 0), &[("code", VARCHAR), ("v", TEXT)]),
        table(
            "tags",
            by(2, 0),
            &[("tag", TEXT), ("v", TEXT), ("c", BPCHAR)],
        ),
        table("docs", by(3, 0), &[("id", UUID), ("body", TEXT)]),
        table("blobs", by(4, 0), &[("h", BYTEA), ("v", TEXT)]),
        table(
            "stamps",
            by(5, 0),
            &[("at", TIMESTAMPTZ), ("plain", TIMESTAMP), ("v", TEXT)],
        ),
        table(
            "events",
            by(6, 0),
            &[("day", DATE), ("kind", TEXT), ("n", INT4)],
        ),
        table("sites", by(7, 1), &[("id", INT8), ("region", TEXT)]),
        table("far", by(9, 0), &[("id", INT8), ("v", TEXT)]),
        table(
            "countries",
            Placement::Reference,
            &[("id", INT4), ("code", TEXT), ("user_id", INT8)],
        ),
        table(
            "notes",
            Placement::Home,
            &[("id", INT4), ("body", TEXT), ("user_id", INT8)],
        ),
        table("coded", by(1, 0), &[("id", INT8)]),
        table("secured", by(1, 0), &[("id", INT8)]),
        table("parent", by(1, 0), &[("id", INT8)]),
        table("fuzzy", by(2, 0), &[("tag", TEXT)]),
        table("home_coded", Placement::Home, &[("id", INT8)]),
        table("users_seq", Placement::Home, &[]),
        table("some_index", Placement::Home, &[]),
        table("users_name_idx", by(1, 0), &[]),
        table("countries_idx", Placement::Reference, &[]),
        table("counted", Placement::Home, &[("id", INT8)]),
        table("policed", Placement::Home, &[("id", INT8)]),
        table("fleeting", Placement::Home, &[("id", INT8)]),
    ];
    for table in &mut tables {
        match table.name.as_str() {
            "names" => table.columns[0].modifier = 9,
            "serials" => table.columns[0].default = ColumnDefault::Sequence,
            "odd" => table.columns[1].default = ColumnDefault::Other,
            "coded" | "home_coded" => table.runs_code = Some("trigger t calls f".into()),
            "secured" => table.row_security = true,
            "parent" => table.inherits = true,
            "fuzzy" => table.columns[0].deterministic = false,
            "some_index" | "users_name_idx" | "countries_idx" => {
                table.kind = RelationKind::Index;
                table.columns.clear();
            }
            "counted" => table.blind_code = Some("trigger \"t\" calls count_users".into()),
            "policed" => {
                table.row_security = true;
                table.runs_code = Some("row security policies".into());
                table.blind_code = Some("policy \"p\" calls count_users".into());
                table.blind_read = table.blind_code.clone();
            }
            "fleeting" => table.unlogged = true,
            "users_seq" => table.kind = RelationKind::Sequence,
            _ => {}
        }
    }
    let elsewhere = table("users", Placement::Home, &[("id", INT8)]);
    tables.push(Relation {
        schema: "other".into(),
        ..elsewhere
    });
    tables
}

/// Views: name, columns, body as `pg_get_viewdef` prints it under an empty path; none: not understood.
const VIEWS: &[(&str, &[&str], Option<&str>)] = &[
    (
        "active",
        &["id", "name"],
        Some(" SELECT u.id,\n    u.name\n   FROM public.users u\n  WHERE (u.age > 18);"),
    ),
    (
        "totals",
        &["user_id", "sum"],
        Some(
            " SELECT orders.user_id, sum(orders.total) AS sum FROM public.orders GROUP BY orders.user_id;",
        ),
    ),
    (
        "everyone",
        &["n"],
        Some(" SELECT count(*) AS n FROM public.users;"),
    ),
    (
        "first_ten",
        &["id"],
        Some(" SELECT users.id FROM public.users LIMIT 10;"),
    ),
    (
        "user_orders",
        &["id", "oid"],
        Some(
            " SELECT u.id, o.id AS oid FROM (public.users u JOIN public.orders o ON ((o.user_id = u.id)));",
        ),
    ),
    (
        "nested",
        &["key"],
        Some(" SELECT active.id AS key FROM public.active;"),
    ),
    (
        "mixed",
        &["id"],
        Some(" SELECT n.id FROM (public.notes n JOIN public.users u ON ((u.id = n.user_id)));"),
    ),
    (
        "note_view",
        &["id", "body"],
        Some(" SELECT notes.id, notes.body FROM public.notes;"),
    ),
    (
        "country_view",
        &["code"],
        Some(" SELECT countries.code FROM public.countries;"),
    ),
    ("blind", &["id"], None),
    (
        "counting",
        &["n"],
        Some(" SELECT public.count_users() AS n FROM public.notes;"),
    ),
];

pub fn snapshot() -> Snapshot {
    let mut relations: HashMap<String, HashMap<String, Arc<Relation>>> = HashMap::new();
    let views = VIEWS.iter().map(|(name, columns, body)| {
        let columns: Vec<(&str, u32)> = columns.iter().map(|name| (*name, 0)).collect();
        let view =
            body.map(|body| Arc::new(shardgate_sql::analyze_view(body).expect("a view's body")));
        // Those over tables that every shard has.
        let everywhere = body.is_some_and(|body| !body.contains("notes"));
        Relation {
            kind: RelationKind::View,
            view,
            everywhere,
            ..table(name, Placement::Home, &columns)
        }
    });
    for relation in tables().into_iter().chain(views) {
        relations
            .entry(relation.schema.clone())
            .or_default()
            .insert(relation.name.clone(), Arc::new(relation));
    }
    let shard = |id: u16| Shard {
        id: ShardId(id),
        name: format!("s{id}"),
        weight: 1,
        hosts: Vec::new(),
    };
    Snapshot {
        epoch: Epoch {
            number: 1,
            id: [1; 16],
            parent: [0; 16],
        },
        database: "app".into(),
        home: ShardId(1),
        shards: (1..=4).map(shard).collect(),
        distributions: distributions(),
        relations,
        functions: [
            ("tax", FunctionClass::Pure),
            ("clean_fn", FunctionClass::Clean),
            ("opaque_fn", FunctionClass::Opaque),
            ("count_users", FunctionClass::Clean),
            ("row_count", FunctionClass::Clean),
        ]
        .map(|(name, class)| (name.to_owned(), class))
        .into(),
        operators: Vec::new(),
        types: HashSet::from(["mood".to_owned()]),
        search_paths: HashMap::new(),
        schemas: ["public", "other"].map(str::to_owned).into(),
        blind_functions: ["count_users", "row_count"]
            .map(|name| (name.to_owned(), "its text reads users".to_owned()))
            .into(),
        blind_of_row: HashSet::from(["row_count".to_owned()]),
        blind_operators: Default::default(),
        blind_cast: None,
        blind_event: None,
        catalog_functions: HashSet::new(),
        opaque_operators: HashSet::new(),
        serializable: HashSet::new(),
        logins: HashMap::new(),
        casts: HashSet::new(),
        cast_code: None,
        event_code: None,
        moves: Vec::new(),
        floors: HashMap::new(),
    }
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture {
            snapshot: snapshot(),
            declared: Vec::new(),
            search_path: None,
            user: "app".into(),
            temporary: HashSet::new(),
            transform_null_equals: false,
        }
    }

    pub fn with(change: impl FnOnce(&mut Fixture)) -> Fixture {
        let mut fixture = Fixture::new();
        change(&mut fixture);
        fixture
    }

    pub fn compile(&self, sql: &str) -> Compiled {
        let context = Context {
            user: &self.user,
            search_path: self.search_path.as_deref(),
            declared: &self.declared,
            temporary: &self.temporary,
            transform_null_equals: self.transform_null_equals,
        };
        compile_text(&shardgate_sql::analyze(sql), sql, &self.snapshot, &context)
    }

    /// What one shard can do with it: where rows would be gathered, the refusal for which they are.
    /// `sql` with its keys filled in; see `fill`.
    pub fn decide(&self, sql: &str, params: &[Option<&str>]) -> Decision {
        let filled: Vec<Option<String>> = params.iter().map(|param| param.map(fill)).collect();
        let bytes: Vec<Param<'_>> = filled
            .iter()
            .map(|value| Param {
                binary: false,
                value: value.as_deref().map(str::as_bytes),
            })
            .collect();
        let sql = fill(sql);
        let compiled = self.compile(&sql);
        let decision = by_one_shard(compiled.decide(&bytes, &self.snapshot));
        self.agrees_lifted(&sql, &compiled, &decision);
        decision
    }

    /// With its constants lifted out a statement may be refused, but never goes elsewhere than by itself.
    fn agrees_lifted(&self, sql: &str, own: &Compiled, own_decision: &Decision) {
        let Some(shape) = lift(sql) else { return };
        let Some(facts) = analyze_lifted(sql, &shape) else {
            return;
        };
        let declared: Vec<u32> = shape.literals.iter().map(|l| l.class.oid()).collect();
        let context = Context {
            user: &self.user,
            search_path: self.search_path.as_deref(),
            declared: &declared,
            temporary: &self.temporary,
            transform_null_equals: self.transform_null_equals,
        };
        let lifted = compile(&facts, &self.snapshot, &context);
        let values: Vec<_> = shape.literals.iter().map(|l| l.value(sql)).collect();
        let params: Vec<Param<'_>> = values
            .iter()
            .map(|value| Param {
                binary: false,
                value: Some(value.as_bytes()),
            })
            .collect();
        let decision = lifted.decide(&params, &self.snapshot);
        // What the router carries out itself is never lifted.
        if matches!(decision, Decision::Refused(_) | Decision::Call(_)) {
            return;
        }
        assert_eq!(&decision, own_decision, "lifted: {sql}");
        assert_eq!(
            lifted.moving(&params, &self.snapshot),
            own.moving(&[], &self.snapshot),
            "lifted: {sql}"
        );
        assert_eq!(lifted.traits, own.traits, "lifted: {sql}");
    }

    pub fn binary(&self, sql: &str, params: &[&[u8]]) -> Decision {
        let params: Vec<Param<'_>> = params
            .iter()
            .map(|bytes| Param {
                binary: true,
                value: Some(bytes),
            })
            .collect();
        by_one_shard(self.compile(&fill(sql)).decide(&params, &self.snapshot))
    }

    /// `expect`: `a`, `b`, `c` (the shard of that key), `s1`.. (a shard), `any`, `all`, `call`, `refused`,
    /// `refused: text` (in message, detail or hint), `SQLSTATE`.
    pub fn check(&self, sql: &str, params: &[Option<&str>], expect: &str) {
        let decision = self.decide(sql, params);
        assert!(
            matches(&decision, expect),
            "{sql}\n  expected {expect}, got {decision:?}"
        );
    }
}

/// Integer keys: `{a}` and `{b}` lie on s2, `{c}` on s3, `{h}` on home.
pub fn fill(text: &str) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let map = hash(KeyType::Int8);
    let on =
        |shard: u16| (1_i64..).filter(move |key| map.route(&Key::Int(*key)) == Ok(ShardId(shard)));
    let two: Vec<i64> = on(2).take(2).collect();
    let map = hash(KeyType::Int8);
    let first = |shard: u16| {
        (1_i64..)
            .find(|key| map.route(&Key::Int(*key)) == Ok(ShardId(shard)))
            .expect("a key")
    };
    text.replace("{a}", &two[0].to_string())
        .replace("{b}", &two[1].to_string())
        .replace("{c}", &first(3).to_string())
        .replace("{h}", &first(1).to_string())
}

pub fn key(name: &str) -> i64 {
    fill(&format!("{{{name}}}")).parse().expect("a key")
}

/// The shard of a text key in a hash distribution.
pub fn text_shard(text: &str) -> ShardId {
    hash(KeyType::Text)
        .route(&Key::Text(text.into()))
        .expect("a shard")
}

/// Without gathering.
pub fn by_one_shard(decision: Decision) -> Decision {
    match decision {
        Decision::Gather(_, refusal) => Decision::Refused(refusal),
        other => other,
    }
}

fn matches(decision: &Decision, expect: &str) -> bool {
    match (decision, expect) {
        (Decision::Shard(shard), "a" | "b") => *shard == ShardId(2),
        (Decision::Shard(shard), "c") => *shard == ShardId(3),
        (Decision::Shard(shard), "home" | "h") => *shard == ShardId(1),
        (Decision::Shard(shard), name) => format!("s{}", shard.0) == name,
        (Decision::Any, "any") | (Decision::AllShards, "all") | (Decision::Call(_), "call") => true,
        (Decision::Refused(_), "refused") => true,
        (Decision::Refused(refusal), text) => match text.strip_prefix("refused: ") {
            Some(text) => says(refusal, text),
            None => refusal.sqlstate == text,
        },
        (Decision::Any | Decision::AllShards | Decision::Gather(..) | Decision::Call(_), _) => {
            false
        }
    }
}

fn says(refusal: &Refusal, text: &str) -> bool {
    let parts = [
        Some(&refusal.message),
        refusal.detail.as_ref(),
        refusal.hint.as_ref(),
    ];
    parts.into_iter().flatten().any(|part| part.contains(text))
}

/// Lines of `statement => expectation`.
pub fn check_lines(lines: &str) {
    check_lines_with(&Fixture::new(), lines);
}

pub fn check_lines_with(fixture: &Fixture, lines: &str) {
    let mut count = 0;
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (sql, expect) = line
            .rsplit_once(" => ")
            .unwrap_or_else(|| panic!("no expectation: {line}"));
        let params = vec![Some("{a}"); usize::from(shardgate_sql::analyze(&fill(sql)).params)];
        fixture.check(sql.trim(), &params, expect.trim());
        count += 1;
    }
    assert!(count > 0, "no cases");
}

/// Statements that must be refused, one a line.
pub fn refused(lines: &str) {
    let fixture = Fixture::new();
    let mut wrong = Vec::new();
    for sql in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let params = vec![Some("{a}"); usize::from(shardgate_sql::analyze(&fill(sql)).params)];
        let decision = fixture.decide(sql, &params);
        if !matches!(decision, Decision::Refused(_)) {
            wrong.push(format!("{sql}\n    {decision:?}"));
        }
    }
    assert!(wrong.is_empty(), "not refused:\n  {}", wrong.join("\n  "));
}
