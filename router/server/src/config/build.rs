//! Which settings there are: their sections, kinds, defaults and limits, and the checks over several of them.

use super::finding::{Finding, Place, Position};
use super::hosts::Hosts;
use super::kinds::{Choice, HostName, Integer, Names, Password, Text};
use super::quantities::{Size, Span, Unit};
use super::reader::{Reader, Section};
use super::{
    Admin, Auth, AuthMethod, Catalog, Config, Database, Http, Limits, Listen, Pool, Replicas, Role,
    Router,
};
use std::time::Duration;
use toml::de::DeTable;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PORTS: Integer = Integer(1..=65535);
const DAY: Duration = Duration::from_secs(86_400);

/// A duration that must be there: 1 ms to a day, plain numbers are seconds.
const WAIT: Span = Span {
    unit: Unit::Second,
    min: Duration::from_millis(1),
    max: DAY,
    zero: false,
};

/// The same, where 0 is "never" or "at once".
const WAIT_OR_NEVER: Span = Span { zero: true, ..WAIT };

const MILLISECONDS: Span = Span {
    unit: Unit::Millisecond,
    min: Duration::from_millis(5),
    max: Duration::from_secs(60),
    zero: false,
};

const LAG: Span = Span {
    unit: Unit::Millisecond,
    min: Duration::from_millis(1),
    max: DAY,
    zero: true,
};

/// The parts that can be built in spite of findings; the config is None if a part is missing.
pub(super) fn build(text: &str, variables: &[(String, String)]) -> (Option<Config>, Vec<Finding>) {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let mut syntax: Vec<Finding> = syntax
        .iter()
        .map(|error| syntax_finding(text, error))
        .collect();
    syntax.sort_by_key(Finding::rank);
    // What the parser made of broken text would only give findings that vanish with the first one.
    if syntax
        .iter()
        .any(|f| !f.message.starts_with("duplicate key"))
    {
        return (None, syntax);
    }
    let mut reader = Reader::new(text, root.get_ref(), variables);
    reader.findings = syntax;
    let mut config = read_all(&mut reader);
    reader.finish();
    if let Some(config) = &mut config {
        config.settings = reader.settings;
    }
    (config, reader.findings)
}

fn syntax_finding(text: &str, error: &toml::de::Error) -> Finding {
    let place = match error.span() {
        Some(span) => Place::Text(Position::of(text, span, false)),
        None => Place::Whole,
    };
    Finding::error(place, error.message())
}

fn read_all(reader: &mut Reader<'_>) -> Option<Config> {
    let listen = listen(reader);
    let http = http(reader, &listen);
    let router = router(reader);
    let auth = auth(reader, &listen);
    let database = database(reader);
    let pool = pool(reader);
    let limits = limits(reader);
    let replicas = replicas(reader);
    let catalog = catalog(reader);
    let admin = admin(reader);
    Some(Config {
        listen,
        http: http?,
        router,
        auth,
        database: database?,
        pool,
        limits,
        replicas,
        catalog,
        admin,
        settings: Vec::new(),
    })
}

fn listen(reader: &mut Reader<'_>) -> Listen {
    let mut s = reader.section("listen");
    let listen = Listen {
        host: s.read("host", &HostName { any: true }, "127.0.0.1".to_owned()),
        port: port(s.read("port", &PORTS, 6432)),
        max_client_conn: count(&mut s, "max_client_conn", 1..=1_000_000, 10_000),
        client_login_timeout: s.read("client_login_timeout", &WAIT, Duration::from_secs(60)),
    };
    s.finish();
    listen
}

/// The outer None: there is a section, and it is wrong.
fn http(reader: &mut Reader<'_>, listen: &Listen) -> Option<Option<Http>> {
    let asked = reader.has("http");
    let mut s = reader.section("http");
    if !asked {
        s.read_optional("host", &HostName { any: true });
        s.read_optional("port", &PORTS);
        s.finish();
        return Some(None);
    }
    let host = s.read("host", &HostName { any: true }, "127.0.0.1".to_owned());
    let number = s.read_required("port", &PORTS).map(port);
    let same_host = host == listen.host || host == "*" || listen.host == "*";
    if number == Some(listen.port) && same_host {
        let place = s.place("port");
        let message = format!("port {} is that of [listen] already", listen.port);
        s.refuse(place, message);
    }
    s.finish();
    number.map(|port| Some(Http { host, port }))
}

fn router(reader: &mut Reader<'_>) -> Router {
    let mut s = reader.section("router");
    let state_dir = s.read_optional("state_dir", &Text);
    let router = Router {
        name: s.read("name", &Text, "shardgate".to_owned()),
        state_dir: state_dir.map(Into::into),
        id: u16::try_from(s.read("id", &Integer(0..=1023), 1)).unwrap_or(u16::MAX),
        worker_threads: count(&mut s, "worker_threads", 0..=1024, 0),
        worker_full_percent: u8::try_from(s.read("worker_full_percent", &Integer(1..=100), 85))
            .unwrap_or(100),
        log: s.read("log", &Text, "info".to_owned()),
    };
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&router.log) {
        let place = s.place("log");
        s.refuse(place, format!("router.log is no log filter: {error}"));
    }
    s.finish();
    router
}

fn auth(reader: &mut Reader<'_>, listen: &Listen) -> Auth {
    const METHODS: Choice<AuthMethod> = Choice(&[
        ("trust", AuthMethod::Trust),
        ("scram-sha-256", AuthMethod::ScramSha256),
    ]);
    let mut s = reader.section("auth");
    let method = s.read("method", &METHODS, AuthMethod::ScramSha256);
    if method == AuthMethod::Trust && !is_loopback(&listen.host) {
        let message = "auth.method = \"trust\" lets everybody in who can reach the port";
        let help = "use \"scram-sha-256\", or listen on 127.0.0.1";
        let finding = Finding::warning(s.place("method"), message);
        s.add(finding.with_help(Some(help.to_owned())));
    }
    s.finish();
    Auth { method }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|a| a.is_loopback())
}

fn database(reader: &mut Reader<'_>) -> Option<Database> {
    let asked = reader.has("database");
    let mut s = reader.only_of("database");
    if !asked {
        let help =
            "add [[database]] with name = \"..\" and home = [{ host = \"..\", port = 5432 }]";
        let finding = Finding::error(Place::Whole, "no [[database]] is configured");
        s.add(finding.with_help(Some(help.to_owned())));
        return None;
    }
    let name = s.read_required("name", &Text);
    let home = s.read_required("home", &Hosts);
    let admin_user = s.read("admin_user", &Text, "postgres".to_owned());
    let admin_password = s.read_optional("admin_password", &Password);
    if name.as_deref() == Some(super::ADMIN_DATABASE) {
        let place = s.place("name");
        let message = format!(
            "the name \"{}\" is that of the admin console",
            super::ADMIN_DATABASE
        );
        s.refuse(place, message);
    }
    s.finish();
    Some(Database {
        name: name?,
        home: home?,
        admin_user,
        admin_password,
    })
}

fn pool(reader: &mut Reader<'_>) -> Pool {
    let mut s = reader.section("pool");
    let pool = Pool {
        size: count(&mut s, "size", 1..=10_000, 20),
        query_wait_timeout: s.read("query_wait_timeout", &WAIT, Duration::from_secs(120)),
        server_idle_timeout: or_never(&mut s, "server_idle_timeout", 600),
        server_lifetime: or_never(&mut s, "server_lifetime", 3600),
        server_connect_timeout: s.read("server_connect_timeout", &WAIT, Duration::from_secs(15)),
    };
    s.finish();
    pool
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    let mut s = reader.section("limits");
    let limits = Limits {
        message_bytes: size(&mut s, "message_bytes", 64 * KIB..=GIB - 1, 64 * MIB),
        client_buffer_bytes: size(&mut s, "client_buffer_bytes", 4 * KIB..=64 * MIB, 64 * KIB),
        server_buffer_bytes: size(&mut s, "server_buffer_bytes", 4 * KIB..=64 * MIB, 256 * KIB),
        prepared_statements: count(&mut s, "prepared_statements", 1..=1_000_000, 1000),
        server_prepared_statements: count(&mut s, "server_prepared_statements", 1..=100_000, 500),
        plan_cache_bytes: size(&mut s, "plan_cache_bytes", MIB..=64 * GIB, 64 * MIB),
        gather_rows: s.read("gather_rows", &Integer(1..=1_000_000_000), 1_000_000),
        gather_bytes: size(&mut s, "gather_bytes", KIB..=GIB - 32 * MIB, 64 * MIB),
        gather_bytes_total: size(&mut s, "gather_bytes_total", KIB..=1 << 40, 256 * MIB),
        client_write_timeout: s.read("client_write_timeout", &WAIT, Duration::from_secs(60)),
        client_idle_timeout: or_never(&mut s, "client_idle_timeout", 0),
        idle_transaction_timeout: or_never(&mut s, "idle_transaction_timeout", 0),
        drain_timeout: s.read("drain_timeout", &WAIT_OR_NEVER, Duration::from_secs(30)),
        cancel_wait_timeout: s.read("cancel_wait_timeout", &WAIT, Duration::from_secs(5)),
        held_clients: count(&mut s, "held_clients", 1..=1_000_000, 10_000),
        hold_timeout: s.read("hold_timeout", &WAIT, Duration::from_secs(30)),
        hold_grace: s.read("hold_grace", &WAIT_OR_NEVER, Duration::from_millis(500)),
    };
    s.finish();
    limits
}

fn replicas(reader: &mut Reader<'_>) -> Replicas {
    const ROLES: Choice<Role> = Choice(&[
        ("auto", Role::Auto),
        ("primary", Role::Primary),
        ("replica", Role::Replica),
    ]);
    const LAG_BYTES: Size = Size {
        range: 1..=1 << 50,
        zero: true,
    };
    let mut s = reader.section("replicas");
    let lag_bytes_max = s.read("lag_bytes_max", &LAG_BYTES, 64 * MIB);
    let lag_ms_max = s.read("lag_ms_max", &LAG, Duration::from_secs(10));
    let replicas = Replicas {
        role: s.read("role", &ROLES, Role::Auto),
        lag_bytes_max: (lag_bytes_max > 0).then_some(lag_bytes_max),
        lag_ms_max: (!lag_ms_max.is_zero()).then_some(lag_ms_max),
        probe_interval: s.read("probe_interval", &MILLISECONDS, Duration::from_millis(50)),
    };
    s.finish();
    replicas
}

fn catalog(reader: &mut Reader<'_>) -> Catalog {
    let mut s = reader.section("catalog");
    let poll_interval = s.read("poll_interval", &WAIT, Duration::from_secs(2));
    s.finish();
    Catalog { poll_interval }
}

fn admin(reader: &mut Reader<'_>) -> Admin {
    let mut s = reader.section("admin");
    let users = s.read("users", &Names, vec!["postgres".to_owned()]);
    s.finish();
    Admin { users }
}

fn port(number: u64) -> u16 {
    u16::try_from(number).expect("the range of a port was checked")
}

fn count(
    s: &mut Section<'_, '_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u64>,
    default: u64,
) -> usize {
    usize::try_from(s.read(key, &Integer(range), default)).unwrap_or(usize::MAX)
}

fn size(
    s: &mut Section<'_, '_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u64>,
    default: u64,
) -> usize {
    let kind = Size { range, zero: false };
    usize::try_from(s.read(key, &kind, default)).unwrap_or(usize::MAX)
}

/// A duration in seconds where 0 is "never".
fn or_never(s: &mut Section<'_, '_>, key: &'static str, default_s: u64) -> Option<Duration> {
    let value = s.read(key, &WAIT_OR_NEVER, Duration::from_secs(default_s));
    (!value.is_zero()).then_some(value)
}
