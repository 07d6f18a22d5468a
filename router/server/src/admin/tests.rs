//! The console's grammar, its protocol, and its rows.

use super::columns::columns;
use super::command::{Command, View, parse};
use super::console::Next;
use super::show::{Cell, rows};
use super::*;
use bytes::BytesMut;
use shardgate_catalog::moves::MoveStatus;
use shardgate_plan::snapshot::{
    Distribution, DistributionId, Epoch, Host, Placement, Relation, RelationKind, Shard, Snapshot,
};
use shardgate_shard_map::{Key, KeyType, Method, ShardId, ShardMap};
use shardgate_wire::frontend::put;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A process with two clients.
struct Fake {
    snapshot: Arc<Snapshot>,
    killed: Mutex<Vec<u32>>,
}

impl Source for Fake {
    fn clients(&self) -> Vec<ClientView> {
        let client = |pid: u32, pinned: Option<&str>| ClientView {
            pid,
            user: "ann".into(),
            database: "app".into(),
            state: "idle".into(),
            application_name: "evil\u{1b}[2J".into(),
            addr: Some("[::ffff:10.0.0.7]:4711".parse().unwrap()),
            local_addr: None,
            connect_time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_210_096),
            request_time: SystemTime::UNIX_EPOCH,
            wait: Duration::from_micros(2_500_001),
            shards: vec!["s1".into(), "s2".into()],
            pinned: pinned.map(Into::into),
        };
        vec![client(9, Some("temporary table")), client(7, None)]
    }

    fn pools(&self) -> Vec<PoolView> {
        vec![PoolView {
            database: "app".into(),
            user: "ann".into(),
            shard: "s1".into(),
            host: "h".into(),
            port: 5432,
            role: "primary",
            pool_size: 20,
            cl_active: 1,
            cl_waiting: 2,
            sv_active: 3,
            sv_idle: 4,
            sv_login: 5,
            maxwait: Duration::from_millis(1500),
        }]
    }

    fn servers(&self) -> Vec<ServerView> {
        Vec::new()
    }

    fn catalog(&self) -> CatalogView {
        CatalogView {
            connected: true,
            epoch: 4,
            ..CatalogView::default()
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }
    fn moves(&self) -> Pin<Box<dyn Future<Output = Result<Vec<MoveStatus>, PgError>> + Send + '_>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn accepting(&self) -> bool {
        true
    }

    fn kill(&self, pid: u32) -> bool {
        self.killed.lock().unwrap().push(pid);
        pid == 7
    }

    fn reload(&self) -> Result<(), PgError> {
        Err(PgError::error("F0000", "the file is wrong"))
    }
}

fn snapshot() -> Snapshot {
    let shard = |id: u16| Shard {
        id: ShardId(id),
        name: format!("s{id}"),
        weight: 1,
        hosts: vec![Host {
            host: "127.0.0.1".into(),
            port: 1,
        }],
    };
    let [one, two] = [ShardId(1), ShardId(2)];
    let methods = [
        Method::Hash {
            owners: vec![one, one, two, one],
        },
        Method::Range {
            bounds: vec![Key::Int(-5), Key::Int(100)],
            owners: vec![one, two, one],
        },
        Method::List {
            values: HashMap::from([(Key::Int(2), two), (Key::Int(1), one)]),
            default: Some(two),
        },
    ];
    let mut distributions = HashMap::new();
    for (id, method) in (1..).zip(methods) {
        let pins = match id {
            1 => HashMap::from([(Key::Int(77), two)]),
            _others => HashMap::new(),
        };
        let map = ShardMap {
            key_type: KeyType::Int8,
            method,
            pins,
        };
        let id = DistributionId(id);
        let name = format!("d{}", id.0);
        distributions.insert(id, Distribution { id, name, map });
    }
    let relation = |name: &str, kind, placement| {
        let relation = Relation {
            oid: 1,
            schema: "public".into(),
            name: name.into(),
            kind,
            columns: Vec::new(),
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
        };
        (name.to_owned(), Arc::new(relation))
    };
    let spread = Placement::Distributed {
        distribution: DistributionId(1),
        key: 0,
    };
    let public = HashMap::from([
        relation("b", RelationKind::Table, spread),
        relation("a", RelationKind::PartitionedTable, Placement::Reference),
        relation("v", RelationKind::View, Placement::Home),
    ]);
    Snapshot {
        epoch: Epoch {
            number: 4,
            id: [0xab; 16],
            parent: [0; 16],
        },
        database: "app".into(),
        home: one,
        shards: vec![shard(1), shard(2)],
        distributions,
        relations: HashMap::from([("public".to_owned(), public)]),
        functions: HashMap::new(),
        operators: Vec::new(),
        types: Default::default(),
        search_paths: HashMap::new(),
        schemas: Default::default(),
        blind_functions: Default::default(),
        blind_of_row: Default::default(),
        blind_operators: Default::default(),
        blind_cast: None,
        blind_event: None,
        catalog_functions: Default::default(),
        opaque_operators: Default::default(),
        serializable: Default::default(),
        logins: Default::default(),
        casts: Default::default(),
        cast_code: None,
        event_code: None,
        moves: Vec::new(),
        floors: HashMap::new(),
    }
}

const CONFIG: &str = "[[database]]\nname = \"app\"\nhome = [{ host = \"h\" }]\nadmin_password = \"x\"\n[admin]\nusers = [\"ann\"]\n";

fn config(more: &str) -> Config {
    let report = crate::config::parse("f", &format!("{CONFIG}{more}"), &[]);
    report.config.unwrap()
}

/// To be called within a runtime: the health check runs, against a port where nobody answers.
fn world() -> (Context, Arc<Fake>) {
    let config = Arc::new(config(""));
    let snapshot = Arc::new(snapshot());
    let (_, snapshots) = tokio::sync::watch::channel(snapshot.clone());
    let options = crate::health::Options::from_config(&config);
    let (health, _) = Health::start(options, snapshots);
    let source = Arc::new(Fake {
        snapshot,
        killed: Mutex::default(),
    });
    let context = Context {
        config,
        source: source.clone(),
        health,
        metrics: Arc::default(),
        started: SystemTime::UNIX_EPOCH,
        moves: Vec::new(),
    };
    (context, source)
}

#[test]
fn grammar() {
    let check = |text: &str, expect: &[Command]| {
        assert_eq!(parse(text).as_deref(), Ok(expect), "{text:?}");
    };
    check("SHOW POOLS", &[Command::Show(View::Pools)]);
    check(" show\n pools ; ", &[Command::Show(View::Pools)]);
    check(
        "/* a /* b */ c */ SHOW -- x;y\nHELP",
        &[Command::Show(View::Help)],
    );
    check("SHOW", &[Command::Show(View::Help)]);
    check("", &[]);
    check(" ;; -- nothing", &[]);
    check(
        "SHOW EPOCH;KILL 7",
        &[Command::Show(View::Epoch), Command::Kill(7)],
    );
    check("reload", &[Command::Reload]);
    check("SET extra_float_digits = 3", &[Command::Set]);
    check("SET SESSION application_name='x'", &[Command::Set]);
    for (view, name, _) in View::ALL {
        check(&format!("SHOW {name}"), &[Command::Show(view)]);
    }
}

#[test]
fn what_is_refused() {
    let check = |text: &str, sqlstate: &str, message: &str, hint: Option<&str>| {
        let error = parse(text).unwrap_err();
        assert_eq!(error.sqlstate.as_str(), sqlstate, "{text:?}");
        assert_eq!(
            (error.message.as_str(), error.hint.as_deref()),
            (message, hint)
        );
    };
    let help = Some("Use SHOW HELP.");
    let pid = Some("The number is the column \"pid\" of SHOW CLIENTS.");
    check("SELECT 1", "42601", "unknown command \"SELECT 1\"", help);
    check("SHOW POOL", "42601", "unknown command \"SHOW POOL\"", help);
    check(
        "SHOW POOLS x",
        "42601",
        "unknown command \"SHOW POOLS x\"",
        help,
    );
    check("a\u{1b}[2J", "42601", "unknown command \"a?[2J\"", help);
    check("SHOW POOLS; x", "42601", "unknown command \"x\"", help);
    check("/* x", "42601", "unterminated /* comment", None);
    check("/", "42601", "unknown command \"/\"", help);
    check("KILL", "42601", "KILL takes the number of a client", pid);
    check("KILL -1", "22023", "KILL takes the number of a client", pid);
    check(
        "KILL app",
        "22023",
        "KILL takes the number of a client",
        pid,
    );
    check(
        "PAUSE app",
        "0A000",
        "PAUSE is not supported",
        Some("SHOW HELP lists the commands."),
    );
    check(
        "SET shardgate.shard = 's2'",
        "0A000",
        "settings cannot be changed here",
        Some("Change the configuration file, then use RELOAD."),
    );
}

#[test]
fn who_is_admitted() {
    let near = Some("127.0.0.1:1".parse().unwrap());
    let mapped = Some("[::ffff:127.0.0.1]:1".parse().unwrap());
    let far = Some("10.0.0.1:1".parse().unwrap());
    let scram = config("");
    let trust = config("[auth]\nmethod = \"trust\"\n");
    assert_eq!(admit(&scram, "ann", far), Ok(()));
    assert!(admit(&scram, "bob", near).is_err());
    assert_eq!(admit(&trust, "ann", near), Ok(()));
    assert_eq!(admit(&trust, "ann", mapped), Ok(()));
    assert_eq!(admit(&trust, "ann", None), Ok(()));
    let refused = admit(&trust, "ann", far).unwrap_err();
    assert_eq!(refused.sqlstate.as_str(), "42501");
    assert!(refused.ends_session());
}

/// Rows as one line of text each.
fn lines(view: View, context: &Context) -> Vec<String> {
    let show = |cell: &Cell| match cell {
        Cell::Null => "-".to_owned(),
        Cell::Text(text) => text.clone(),
        Cell::Int(number) => number.to_string(),
        Cell::Bool(value) => value.to_string(),
    };
    let line = |row: &Vec<Cell>| row.iter().map(show).collect::<Vec<_>>().join("|");
    rows(view, context).iter().map(line).collect()
}

#[tokio::test]
async fn views() {
    let (context, _) = world();
    for (view, name, _) in View::ALL {
        for row in rows(view, &context) {
            assert_eq!(row.len(), columns(view).len(), "{name}");
        }
    }
    let check = |view: View, expect: &[&str]| assert_eq!(lines(view, &context), expect);
    check(
        View::Map,
        &[
            "d1|hash|buckets|0|1|s1",
            "d1|hash|buckets|2|2|s2",
            "d1|hash|buckets|3|3|s1",
            "d1|hash|pin|77|-|s2",
            "d2|range|range|-|-5|s1",
            "d2|range|range|-5|100|s2",
            "d2|range|range|100|-|s1",
            "d3|list|value|1|-|s1",
            "d3|list|value|2|-|s2",
            "d3|list|default|-|-|s2",
        ],
    );
    check(
        View::Distributions,
        &[
            "1|d1|hash|int8|4|1|2|1",
            "2|d2|range|int8|3|0|2|0",
            "3|d3|list|int8|3|0|2|0",
        ],
    );
    check(
        View::Tables,
        &["public|a|reference|-|-", "public|b|distributed|d1|-"],
    );
    check(
        View::Clients,
        &[
            "C|ann|app|idle|10.0.0.7|4711|unix|0|2024-02-29 12:34:56 UTC|2000-01-01 00:00:00 UTC|2|500001|evil?[2J|7|s1,s2|-",
            "C|ann|app|idle|10.0.0.7|4711|unix|0|2024-02-29 12:34:56 UTC|2000-01-01 00:00:00 UTC|2|500001|evil?[2J|9|s1,s2|temporary table",
        ],
    );
    check(
        View::Pools,
        &["app|ann|1|2|3|4|5|1|500000|transaction|20|s1|h|5432|primary"],
    );
    check(
        View::Epoch,
        &[
            "4|abababab-abab-abab-abab-abababababab|00000000-0000-0000-0000-000000000000|app|true|-|false|-|-",
        ],
    );
    let version = format!("Shardgate {}", env!("CARGO_PKG_VERSION"));
    check(View::Version, &[&version]);
    assert!(
        lines(View::Config, &context)
            .contains(&"database.admin_password|********||no|file, line 4".to_owned())
    );
    assert_eq!(lines(View::Help, &context).len(), 17);
    assert_eq!(lines(View::Shards, &context).len(), 2);
}

/// The messages of a buffer: type bytes, with the interesting part of some.
fn replies(mut out: &[u8]) -> String {
    let mut all = Vec::new();
    while let [tag, a, b, c, d, rest @ ..] = out {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap() - 4;
        let (body, next) = rest.split_at(length);
        let text = String::from_utf8_lossy(body);
        all.push(match tag {
            b'C' => format!("C {}", text.trim_end_matches('\0')),
            b'E' => {
                let state = text.split('\0').find(|f| f.starts_with('C')).unwrap();
                format!("E {}", &state[1..])
            }
            b'D' => format!("D{}", u16::from_be_bytes([body[0], body[1]])),
            other => char::from(*other).to_string(),
        });
        out = next;
    }
    assert!(out.is_empty());
    all.join(" ")
}

#[tokio::test]
async fn simple_queries() {
    let (context, source) = world();
    let check = |sql: &str, expect: &str| {
        let mut console = Console::new(context.clone());
        let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
        put::query(&mut input, sql.as_bytes());
        assert_eq!(console.consume(&mut input, &mut out), Next::Go);
        assert!(input.is_empty());
        assert_eq!(replies(&out), expect, "{sql}");
    };
    check("SHOW VERSION", "T D1 C SHOW Z");
    check("SHOW VERSION; SHOW POOLS", "T D1 C SHOW T D15 C SHOW Z");
    check("SHOW SERVERS", "T C SHOW Z");
    check("", "I Z");
    check("SELECT 1", "E 42601 Z");
    check("KILL 7", "C KILL Z");
    check("KILL 8; SHOW VERSION", "E 42704 Z");
    check("RELOAD", "E F0000 Z");
    check("SET application_name = 'x'", "C SET Z");
    assert_eq!(*source.killed.lock().unwrap(), [7, 8]);
}

#[tokio::test]
async fn extended_queries() {
    let (context, _) = world();
    type Script<'a> = &'a dyn Fn(&mut BytesMut);
    let check = |script: Script<'_>, expect: &str, next: Next| {
        let mut console = Console::new(context.clone());
        let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
        script(&mut input);
        assert_eq!(console.consume(&mut input, &mut out), next);
        assert_eq!(replies(&out), expect);
    };
    let parse =
        |input: &mut BytesMut, name: &[u8], sql: &str| put::parse(input, name, sql.as_bytes(), &[]);
    let run = |input: &mut BytesMut, name: &[u8], rows: i32| {
        put::bind_text(input, b"", name, &[]);
        put::describe(input, b'P', b"");
        put::execute(input, b"", rows);
    };
    check(
        &|i| {
            parse(i, b"", "SHOW VERSION");
            put::describe(i, b'S', b"");
            run(i, b"", 0);
            put::sync(i);
        },
        "1 t T 2 T D1 C SHOW Z",
        Next::Go,
    );
    check(
        &|i| {
            parse(i, b"", "");
            run(i, b"", 0);
            put::sync(i);
        },
        "1 2 n I Z",
        Next::Go,
    );
    check(
        &|i| {
            parse(i, b"", "KILL 7");
            run(i, b"", 0);
            put::sync(i);
        },
        "1 2 n C KILL Z",
        Next::Go,
    );
    // Rows in pieces.
    check(
        &|i| {
            parse(i, b"s", "SHOW CLIENTS");
            run(i, b"s", 1);
            put::execute(i, b"", 1);
            put::execute(i, b"", 0);
            put::sync(i);
        },
        "1 2 T D16 s D16 C SHOW C SHOW Z",
        Next::Go,
    );
    // An error skips up to Sync, simple queries as well.
    check(
        &|i| {
            parse(i, b"", "SELECT 1");
            run(i, b"", 0);
            put::query(i, b"SHOW VERSION");
            put::sync(i);
            put::query(i, b"");
        },
        "E 42601 Z I Z",
        Next::Go,
    );
    check(
        &|i| {
            parse(i, b"", "SHOW A; SHOW B");
            put::sync(i);
        },
        "E 42601 Z",
        Next::Go,
    );
    check(
        &|i| {
            parse(i, b"", "SHOW HELP; SHOW HELP");
            put::sync(i);
        },
        "E 42601 Z",
        Next::Go,
    );
    check(
        &|i| {
            put::parse(i, b"", b"SHOW HELP", &[25]);
            put::sync(i);
        },
        "E 0A000 Z",
        Next::Go,
    );
    check(
        &|i| {
            parse(i, b"", "SHOW HELP");
            put::bind_text(i, b"", b"", &[None]);
            put::sync(i);
        },
        "1 E 08P01 Z",
        Next::Go,
    );
    check(
        &|i| {
            put::bind_text(i, b"", b"no", &[]);
            put::sync(i);
        },
        "E 26000 Z",
        Next::Go,
    );
    check(
        &|i| {
            put::execute(i, b"no", 0);
            put::sync(i);
        },
        "E 34000 Z",
        Next::Go,
    );
    check(
        &|i| {
            parse(i, b"s", "SHOW HELP");
            parse(i, b"s", "SHOW HELP");
            put::sync(i);
        },
        "1 E 42P05 Z",
        Next::Go,
    );
    check(
        &|i| {
            parse(i, b"s", "");
            put::close(i, b'S', b"s");
            put::bind_text(i, b"", b"s", &[]);
            put::sync(i);
        },
        "1 3 E 26000 Z",
        Next::Go,
    );
    // A portal ends with the transaction that it is in.
    check(
        &|i| {
            parse(i, b"", "");
            put::bind_text(i, b"p", b"", &[]);
            put::sync(i);
            put::execute(i, b"p", 0);
            put::sync(i);
        },
        "1 2 Z E 34000 Z",
        Next::Go,
    );
    check(
        &|i| {
            for n in 0..65_u8 {
                parse(i, &[b'a', n + 1], "");
            }
        },
        &format!("{}E 54000", "1 ".repeat(64)),
        Next::Go,
    );
    check(
        &|i| {
            put::terminate(i);
            put::query(i, b"");
        },
        "",
        Next::End,
    );
    check(
        &|i| i.extend_from_slice(b"Q\x7f\xff\xff\xff"),
        "E 08P01",
        Next::End,
    );
    check(
        &|i| i.extend_from_slice(b"Q\x00\x00\x00\x05x"),
        "E 08P01 Z",
        Next::Go,
    );
    check(
        &|i| i.extend_from_slice(b"Q\x00\x00\x00\x06\xff\x00"),
        "E 22021 Z",
        Next::Go,
    );
    check(
        &|i| i.extend_from_slice(b"p\x00\x00\x00\x04"),
        "E 08P01",
        Next::End,
    );
    check(
        &|i| i.extend_from_slice(b"F\x00\x00\x00\x04"),
        "E 08P01",
        Next::End,
    );
    // Half a message stays.
    check(
        &|i| i.extend_from_slice(b"Q\x00\x00\x00\x06x"),
        "",
        Next::Go,
    );
}

#[tokio::test]
async fn numbers_in_binary() {
    let (context, _) = world();
    let mut console = Console::new(context);
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    put::parse(&mut input, b"", b"SHOW EPOCH", &[]);
    // No parameters, and one format for all columns: binary.
    put::bind_with(&mut input, b"", b"", &[0, 0, 0, 0, 0, 1, 0, 1]);
    put::execute(&mut input, b"", 0);
    console.consume(&mut input, &mut out);
    assert_eq!(replies(&out), "1 2 D9 C SHOW");
    let row: &[u8] = &out[5 + 5 + 5 + 2..];
    assert_eq!(&row[..12], [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4]);
    assert_eq!(console.consume(&mut BytesMut::new(), &mut out), Next::Go);
    // A wrong number of formats.
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    put::bind_with(&mut input, b"", b"", &[0, 0, 0, 0, 0, 2, 0, 1, 0, 1]);
    console.consume(&mut input, &mut out);
    assert_eq!(replies(&out), "E 08P01");
}

#[tokio::test]
async fn a_whole_connection() {
    let (context, _) = world();
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let mut input = BytesMut::new();
    put::query(&mut input, b"SHOW VERSION");
    // What came right behind the login is not lost.
    let leftover = input.split_to(3);
    let serving = tokio::spawn(Console::new(context).serve(server, leftover, 42, &[1, 2, 3, 4]));
    client.write_all(&input).await.unwrap();
    let mut last = BytesMut::new();
    put::terminate(&mut last);
    client.write_all(&last).await.unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(replies(&got), "S S S S S S S K Z T D1 C SHOW Z");
    serving.await.unwrap().unwrap();
}
