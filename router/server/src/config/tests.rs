//! What is read and what is said, as tables.

use super::*;

const MINIMAL: &str = "[[database]]\nname = \"app\"\nhome = [{ host = \"127.0.0.1\" }]\n";

fn read(text: &str, variables: &[(&str, &str)]) -> Report {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let variables: Vec<_> = variables.iter().map(own).collect();
    parse("router.toml", text, &variables)
}

/// The text of a correct file with `more` in front.
fn with(more: &str) -> String {
    format!("{more}\n{MINIMAL}")
}

fn correct(text: &str, variables: &[(&str, &str)]) -> Config {
    let report = read(text, variables);
    assert!(report.findings.is_empty(), "{}", report.findings);
    report.config.unwrap()
}

/// Exactly these findings, as they are printed.
fn check(text: &str, variables: &[(&str, &str)], expect: &str) {
    let report = read(text, variables);
    let expect = expect.trim_start_matches('\n');
    assert_eq!(report.findings.to_string(), expect);
    assert_eq!(report.config.is_none(), report.findings.has_errors());
}

/// `severity line:column message` of each finding.
fn in_short(text: &str, variables: &[(&str, &str)], expect: &[&str]) {
    let report = read(text, variables);
    let show = |f: &Finding| {
        let severity = match f.severity {
            Severity::Error => "E",
            Severity::Warning => "W",
        };
        let place = match &f.place {
            Place::Text(p) => format!("{}:{}+{}", p.line, p.column, p.width),
            Place::Variable(name) => name.clone(),
            Place::Whole => "-".to_owned(),
        };
        format!("{severity} {place} {}", f.message)
    };
    let found: Vec<_> = report.findings.list.iter().map(show).collect();
    assert_eq!(found, expect, "{text}");
}

#[test]
fn defaults() {
    let config = correct(MINIMAL, &[]);
    let (listen, pool, limits) = (&config.listen, &config.pool, &config.limits);
    assert_eq!((listen.host.as_str(), listen.port), ("127.0.0.1", 6432));
    assert_eq!(listen.max_client_conn, 10_000);
    assert_eq!(config.http, None);
    assert_eq!(config.auth.method, AuthMethod::ScramSha256);
    assert_eq!(
        config.database.home,
        [HostPort {
            host: "127.0.0.1".into(),
            port: 5432
        }]
    );
    assert_eq!(config.database.admin_user, "postgres");
    assert_eq!(config.database.admin_password, None);
    assert_eq!(
        (pool.size, pool.query_wait_timeout),
        (20, Duration::from_secs(120))
    );
    assert_eq!(pool.server_idle_timeout, Some(Duration::from_secs(600)));
    assert_eq!(
        (limits.message_bytes, limits.client_idle_timeout),
        (67_108_864, None)
    );
    assert_eq!(config.replicas.role, Role::Auto);
    assert_eq!(config.replicas.probe_interval, Duration::from_millis(50));
    assert_eq!(config.admin.users, ["postgres"]);
    assert_eq!(config.router.state_dir, None);
}

#[test]
fn every_setting_can_be_written() {
    let text = r#"
        [listen]
        host = "*"
        port = 6433
        max_client_conn = 50
        client_login_timeout = "5s"
        [http]
        host = "::1"
        port = 9000
        [router]
        name = "demo"
        state_dir = "state"
        id = 0
        worker_threads = 3
        worker_full_percent = 50
        log = "warn,shardgate=debug"
        [auth]
        method = "scram-sha-256"
        [[database]]
        name = "app"
        home = [{ host = "a.example", port = 1 }, { host = "::1" }]
        admin_user = "router"
        admin_password = "p w"
        [pool]
        size = 5
        query_wait_timeout = 10
        server_idle_timeout = 0
        server_lifetime = "0s"
        server_connect_timeout = "1500ms"
        [limits]
        message_bytes = "1MiB"
        client_buffer_bytes = "8kB"
        server_buffer_bytes = 8192
        prepared_statements = 7
        server_prepared_statements = 8
        plan_cache_bytes = "1GB"
        gather_rows = 11
        gather_bytes = "2MiB"
        gather_bytes_total = "3MiB"
        client_write_timeout = "1min"
        client_idle_timeout = "1h"
        idle_transaction_timeout = 30
        drain_timeout = 0
        cancel_wait_timeout = "100ms"
        held_clients = 9
        hold_timeout = "2s"
        hold_grace = 0
        [replicas]
        role = "primary"
        lag_bytes_max = "16MB"
        lag_ms_max = 0
        probe_interval = 100
        [catalog]
        poll_interval = "500ms"
        [admin]
        users = ["ann", "bob"]
    "#;
    let c = correct(text, &[]);
    assert_eq!(c.listen.host, "*");
    assert_eq!(
        c.http,
        Some(Http {
            host: "::1".into(),
            port: 9000
        })
    );
    assert_eq!(c.router.state_dir, Some(PathBuf::from("state")));
    assert_eq!(
        (
            c.router.id,
            c.router.worker_threads,
            c.router.worker_full_percent
        ),
        (0, 3, 50)
    );
    assert_eq!(
        c.database.home[1],
        HostPort {
            host: "::1".into(),
            port: 5432
        }
    );
    assert_eq!(
        c.database.admin_password.as_ref().map(Secret::expose),
        Some("p w")
    );
    assert_eq!(c.pool.query_wait_timeout, Duration::from_secs(10));
    assert_eq!(
        (c.pool.server_idle_timeout, c.pool.server_lifetime),
        (None, None)
    );
    assert_eq!(c.pool.server_connect_timeout, Duration::from_millis(1500));
    assert_eq!(
        (c.limits.message_bytes, c.limits.plan_cache_bytes),
        (1 << 20, 1 << 30)
    );
    assert_eq!(
        (
            c.limits.gather_rows,
            c.limits.gather_bytes,
            c.limits.gather_bytes_total
        ),
        (11, 2 << 20, 3 << 20)
    );
    assert_eq!(
        c.limits.client_idle_timeout,
        Some(Duration::from_secs(3600))
    );
    assert_eq!(c.limits.drain_timeout, Duration::ZERO);
    assert_eq!(
        (
            c.limits.held_clients,
            c.limits.hold_timeout,
            c.limits.hold_grace
        ),
        (9, Duration::from_secs(2), Duration::ZERO)
    );
    assert_eq!(
        (c.replicas.lag_bytes_max, c.replicas.lag_ms_max),
        (Some(1 << 24), None)
    );
    assert_eq!(c.replicas.probe_interval, Duration::from_millis(100));
    assert_eq!(c.admin.users, ["ann", "bob"]);
    // Whatever can be read can be shown, and no password is.
    assert_eq!(c.settings.len(), 45);
    let shown = format!("{:?} {c:?}", c.settings);
    assert!(!shown.contains("p w"), "{shown}");
}

#[test]
fn variables_override() {
    let text = with("[listen]\nport = 7000");
    let c = correct(
        &text,
        &[
            ("SHARDGATE__LISTEN__PORT", "6433"),
            ("SHARDGATE__HTTP__PORT", "9000"),
            ("SHARDGATE__POOL__QUERY_WAIT_TIMEOUT", "7"),
            ("SHARDGATE__LIMITS__MESSAGE_BYTES", "1MiB"),
            ("SHARDGATE__AUTH__METHOD", "trust"),
            ("SHARDGATE__ADMIN__USERS", "ann, bob"),
            ("SHARDGATE__DATABASE__HOME", "a:1,b,[::1]:2,[::1]"),
            ("SHARDGATE__DATABASE__ADMIN_PASSWORD", "secret"),
            ("PATH", "/bin"),
        ],
    );
    assert_eq!(c.listen.port, 6433);
    assert_eq!(
        c.http,
        Some(Http {
            host: "127.0.0.1".into(),
            port: 9000
        })
    );
    assert_eq!(c.pool.query_wait_timeout, Duration::from_secs(7));
    assert_eq!(
        (c.limits.message_bytes, c.auth.method),
        (1 << 20, AuthMethod::Trust)
    );
    assert_eq!(c.admin.users, ["ann", "bob"]);
    let home: Vec<_> = c
        .database
        .home
        .iter()
        .map(|h| (h.host.as_str(), h.port))
        .collect();
    assert_eq!(home, [("a", 1), ("b", 5432), ("::1", 2), ("::1", 5432)]);
    let of = |name: &str| c.settings.iter().find(|s| s.name == name).unwrap().clone();
    let port = of("listen.port");
    assert_eq!(
        (port.value.as_str(), port.default.as_str()),
        ("6433", "6432")
    );
    assert_eq!(port.origin.to_string(), "SHARDGATE__LISTEN__PORT");
    assert_eq!(of("database.name").origin, Origin::File { line: 4 });
    assert_eq!(of("database.home").value, "a:1,b:5432,[::1]:2,[::1]:5432");
    assert_eq!(of("database.admin_password").value, "********");
    assert_eq!(of("pool.size").origin, Origin::Default);
    // A whole configuration out of variables.
    let all = [
        ("SHARDGATE__DATABASE__NAME", "app"),
        ("SHARDGATE__DATABASE__HOME", "a"),
    ];
    assert_eq!(correct("", &all).database.name, "app");
}

#[test]
fn wrong_variables_are_named() {
    check(
        MINIMAL,
        &[
            ("SHARDGATE__LISTEN__PORT", "many"),
            ("SHARDGATE__LISTEN__PROT", "1"),
            ("SHARDGATE__DATABASE__ADMIN_PASSWORD", ""),
        ],
        "
error: database.admin_password: the text must not be empty
 --> environment variable SHARDGATE__DATABASE__ADMIN_PASSWORD

error: listen.port: expected an integer
 --> environment variable SHARDGATE__LISTEN__PORT

error: this variable overrides no setting
 --> environment variable SHARDGATE__LISTEN__PROT
  = help: did you mean `SHARDGATE__LISTEN__PORT`?

",
    );
    let one = |name, value, expect: &str| in_short(MINIMAL, &[(name, value)], &[expect]);
    one(
        "SHARDGATE__LISTEN__PORT",
        "0",
        "E SHARDGATE__LISTEN__PORT listen.port: 0 is out of range, it must be 1 to 65535",
    );
    one(
        "SHARDGATE__DATABASE__HOME",
        "a,a:5432",
        "E SHARDGATE__DATABASE__HOME database.home: duplicate server a:5432",
    );
    one(
        "SHARDGATE__DATABASE__HOME",
        "[::1",
        "E SHARDGATE__DATABASE__HOME database.home: `]` is missing after the address",
    );
    one(
        "SHARDGATE__LISTEN",
        "x",
        "E SHARDGATE__LISTEN this variable overrides no setting",
    );
    one(
        "SHARDGATE__ADMIN__USERS",
        "a,a",
        "E SHARDGATE__ADMIN__USERS admin.users: duplicate entry \"a\"",
    );
    // A wrong value in the file is told even where a variable overrides it.
    let text = with("[listen]\nport = \"x\"");
    in_short(
        &text,
        &[("SHARDGATE__LISTEN__PORT", "1")],
        &["E 2:8+3 listen.port: expected an integer, found a string"],
    );
}

#[test]
fn findings_show_the_place() {
    check(
        &with("[pool]\nmax_sise = 20\n\tsizze = 3"),
        &[],
        "
error: unknown key `max_sise` in [pool]
 --> router.toml:2:1
  |
2 | max_sise = 20
  | ^^^^^^^^
  = help: the keys here are size, query_wait_timeout, server_idle_timeout, server_lifetime, server_connect_timeout

error: unknown key `sizze` in [pool]
 --> router.toml:3:2
  |
3 |  sizze = 3
  |  ^^^^^
  = help: did you mean `size`?

",
    );
    check(
        &with("[listen]\nport = \"6432\"\nhost = 'dä'\n"),
        &[],
        "
error: listen.port: expected an integer, found a string
 --> router.toml:2:8
  |
2 | port = \"6432\"
  |        ^^^^^^
  = help: write it without the quotes: 6432

error: listen.host: `dä` is neither a host name nor an address
 --> router.toml:3:8
  |
3 | host = 'dä'
  |        ^^^^

",
    );
    // Nine lines above, so that the line number has two digits; and the line of a password is not shown.
    check(
        &format!("{}{MINIMAL}admin_password = 1234\n", "\n".repeat(9)),
        &[],
        "
error: database.admin_password: expected a string, found an integer
  --> router.toml:13:18

",
    );
    check(
        "",
        &[],
        "
error: no [[database]] is configured
 --> router.toml
  = help: add [[database]] with name = \"..\" and home = [{ host = \"..\", port = 5432 }]

",
    );
}

#[test]
fn values_of_the_wrong_kind() {
    let check = |section: &str, line: &str, expect: &str| {
        in_short(&with(&format!("[{section}]\n{line}")), &[], &[expect]);
    };
    check(
        "listen",
        "port = 70000",
        "E 2:8+5 listen.port: 70000 is out of range, it must be 1 to 65535",
    );
    check(
        "listen",
        "port = -1",
        "E 2:8+2 listen.port: -1 is out of range, it must be 1 to 65535",
    );
    check(
        "listen",
        "port = 1.0",
        "E 2:8+3 listen.port: expected an integer, found a float",
    );
    check(
        "listen",
        "port = 0x1_0000",
        "E 2:8+8 listen.port: 65536 is out of range, it must be 1 to 65535",
    );
    check(
        "listen",
        "port = [1]",
        "E 2:8+3 listen.port: expected an integer, found an array",
    );
    check(
        "listen",
        "host = 1",
        "E 2:8+1 listen.host: expected a string, found an integer",
    );
    check(
        "listen",
        "host = \"\"",
        "E 2:8+2 listen.host: `` is neither a host name nor an address",
    );
    check(
        "listen",
        "host = \"1.2.3.4:5\"",
        "E 2:8+11 listen.host: `1.2.3.4:5` has a port in it",
    );
    check(
        "router",
        "name = \"a\\u0007\"",
        "E 2:8+9 router.name: the text must not have control characters",
    );
    check(
        "router",
        "id = 1024",
        "E 2:6+4 router.id: 1024 is out of range, it must be 0 to 1023",
    );
    check(
        "router",
        "log = \"a==b\"",
        "E 2:7+6 router.log is no log filter: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
    );
    check(
        "auth",
        "method = \"md5\"",
        "E 2:10+5 auth.method: \"md5\" is not one of \"trust\", \"scram-sha-256\"",
    );
    check(
        "auth",
        "method = true",
        "E 2:10+4 auth.method: expected a string, found a boolean",
    );
    check(
        "pool",
        "server_lifetime = \"60\"",
        "E 2:19+4 pool.server_lifetime: the duration \"60\" has no unit",
    );
    check(
        "pool",
        "server_lifetime = \"5m\"",
        "E 2:19+4 pool.server_lifetime: unknown unit `m`",
    );
    check(
        "pool",
        "server_lifetime = \"soon\"",
        "E 2:19+6 pool.server_lifetime: `soon` is not a duration",
    );
    check(
        "pool",
        "server_lifetime = \"2d\"",
        "E 2:19+4 pool.server_lifetime: 172800s is out of range, it must be 1ms to 86400s or 0",
    );
    check(
        "pool",
        "query_wait_timeout = 0",
        "E 2:22+1 pool.query_wait_timeout: 0 is out of range, it must be 1ms to 86400s",
    );
    check(
        "pool",
        "query_wait_timeout = -1",
        "E 2:22+2 pool.query_wait_timeout: -1 is out of range, it must be 1ms to 86400s",
    );
    check(
        "pool",
        "query_wait_timeout = 9223372036854775807",
        "E 2:22+19 pool.query_wait_timeout: 9223372036854775807 is out of range, it must be 1ms to 86400s",
    );
    check(
        "pool",
        "query_wait_timeout = 1e3",
        "E 2:22+3 pool.query_wait_timeout: expected a duration (a number of seconds, or text like \"60s\"), found a float",
    );
    check(
        "replicas",
        "probe_interval = true",
        "E 2:18+4 replicas.probe_interval: expected a duration (a number of milliseconds, or text like \"60s\"), found a boolean",
    );
    check(
        "limits",
        "message_bytes = 1",
        "E 2:17+1 limits.message_bytes: 1 is out of range, it must be 65536 to 1073741823",
    );
    check(
        "limits",
        "message_bytes = \"1GiB\"",
        "E 2:17+6 limits.message_bytes: 1073741824 is out of range, it must be 65536 to 1073741823",
    );
    check(
        "limits",
        "message_bytes = \"1KB\"",
        "E 2:17+5 limits.message_bytes: unknown unit `KB`",
    );
    check(
        "limits",
        "message_bytes = false",
        "E 2:17+5 limits.message_bytes: expected a size (a number of bytes, or text like \"64MiB\"), found a boolean",
    );
    check(
        "admin",
        "users = \"ann\"",
        "E 2:9+5 admin.users: expected an array of strings, found a string",
    );
    check(
        "admin",
        "users = [\"ann\", 1]",
        "E 2:17+1 admin.users: expected a string, found an integer",
    );
    check(
        "admin",
        "users = [\"ann\", \"ann\"]",
        "E 2:17+5 admin.users: duplicate entry \"ann\"",
    );
}

#[test]
fn sections_of_the_wrong_kind() {
    in_short(
        &with("pool = 3"),
        &[],
        &["E 1:8+1 expected a table [pool], found integer"],
    );
    in_short(
        &with("[poll]\nx = 1"),
        &[],
        &["E 1:2+4 unknown section `poll`"],
    );
    in_short(
        &with("[[pool]]"),
        &[],
        &["E 1:1+8 expected a table [pool], found array"],
    );
    in_short(
        &with("[http]"),
        &[],
        &["E 1:1+6 the key `port` is missing in [http]"],
    );
    in_short(
        "[database]\nname = \"a\"",
        &[],
        &[
            "E 1:1+10 expected tables [[database]], found table",
            "E 1:1+10 the key `name` is missing in [database]",
            "E 1:1+10 the key `home` is missing in [database]",
        ],
    );
    in_short(
        "database = []",
        &[],
        &[
            "E 1:12+2 expected tables [[database]], found an array without tables",
            "E 1:12+2 the key `name` is missing in [database]",
            "E 1:12+2 the key `home` is missing in [database]",
        ],
    );
    in_short(
        &format!("{MINIMAL}{MINIMAL}[[database]]"),
        &[],
        &[
            "E 4:1+12 more than one [[database]] is not supported",
            "E 7:1+12 more than one [[database]] is not supported",
        ],
    );
}

#[test]
fn servers() {
    let check = |home: &str, expect: &[&str]| {
        in_short(
            &format!("[[database]]\nname = \"a\"\nhome = {home}"),
            &[],
            expect,
        );
    };
    check(
        "[]",
        &["E 3:8+2 database.home: at least one server must be named"],
    );
    check(
        "\"a\"",
        &["E 3:8+3 database.home: expected an array of { host, port }, found a string"],
    );
    check(
        "[\"a\"]",
        &["E 3:9+3 database.home: expected a table { host, port }, found a string"],
    );
    check(
        "[{ port = 1 }]",
        &["E 3:9+12 database.home: the key `host` is missing"],
    );
    check(
        "[{ host = \"a\" }, { host = \"a\", port = 5432 }]",
        &["E 3:25+27 database.home: duplicate server a:5432"],
    );
    check(
        "[{ host = 1, port = 0, x = 1 }]",
        &[
            "E 3:18+1 database.home: expected a string, found an integer",
            "E 3:28+1 database.home: 0 is out of range, it must be 1 to 65535",
            "E 3:31+1 database.home: unknown key `x`",
        ],
    );
}

#[test]
fn what_does_not_fit_together() {
    in_short(
        &with("[http]\nport = 6432"),
        &[],
        &["E 2:8+4 port 6432 is that of [listen] already"],
    );
    in_short(
        &with("[http]\nhost = \"*\"\nport = 6432"),
        &[],
        &["E 3:8+4 port 6432 is that of [listen] already"],
    );
    in_short(&with("[http]\nhost = \"127.0.0.2\"\nport = 6432"), &[], &[]);
    let trust = "[auth]\nmethod = \"trust\"\n[listen]\nhost = ";
    let warning = "W 2:10+7 auth.method = \"trust\" lets everybody in who can reach the port";
    in_short(&with(&format!("{trust}\"0.0.0.0\"")), &[], &[warning]);
    in_short(&with(&format!("{trust}\"::1\"")), &[], &[]);
    let text = MINIMAL.replace("app", "shardgate");
    in_short(
        &text,
        &[],
        &["E 2:8+11 the name \"shardgate\" is that of the admin console"],
    );
}

#[test]
fn broken_toml() {
    let syntax = |text: &str| {
        let report = read(text, &[]);
        assert!(report.findings.has_errors() && report.config.is_none());
        report
            .findings
            .list
            .iter()
            .map(|f| match &f.place {
                Place::Text(p) => (p.line, p.column),
                Place::Variable(_) | Place::Whole => (0, 0),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(syntax("[listen\nport = 1"), [(1, 8)]);
    assert_eq!(
        syntax("[listen]\nport = \n[pool]\nsize = = 3"),
        [(2, 8), (4, 8), (4, 10)]
    );
    // A duplicate leaves the rest readable.
    in_short(
        &with("[pool]\nsize = 1\nsize = 2\nx = 1"),
        &[],
        &["E 3:1+4 duplicate key", "E 4:1+1 unknown key `x` in [pool]"],
    );
    in_short(&with("[pool]\n[pool]"), &[], &["E 2:2+4 duplicate key"]);
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    let outcome = |variables: Vec<(std::ffi::OsString, std::ffi::OsString)>| {
        let outcome = crate::check::check(&path, variables);
        (
            outcome.exit_code,
            outcome.text.replace(&path.display().to_string(), "FILE"),
        )
    };
    let missing = "error: could not open the configuration file: No such file or directory (os error 2)\n --> FILE\n\nconfiguration is wrong: 1 error\n";
    assert_eq!(outcome(vec![]), (1, missing.to_owned()));
    std::fs::write(&path, b"[pool]\n\xff").unwrap();
    let bytes = "error: line 2 is not UTF-8\n --> FILE\n\nconfiguration is wrong: 1 error\n";
    assert_eq!(outcome(vec![]), (1, bytes.to_owned()));
    std::fs::write(&path, with("[router]\nstate_dir = \"state\"")).unwrap();
    assert_eq!(
        outcome(vec![]),
        (0, "configuration is correct\n".to_owned())
    );
    let config = load(&path, Vec::new()).config.unwrap();
    assert_eq!(config.router.state_dir, Some(folder.path().join("state")));
    let odd = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
    let said = outcome(vec![("SHARDGATE__ROUTER__NAME".into(), odd)]);
    assert_eq!(said, (1, "error: the value is not UTF-8\n --> environment variable SHARDGATE__ROUTER__NAME\n\nconfiguration is wrong: 1 error\n".to_owned()));
    std::fs::write(
        &path,
        with("[auth]\nmethod = \"trust\"\n[listen]\nhost = \"*\"\n[x]"),
    )
    .unwrap();
    let said = outcome(vec![]);
    assert!(
        said.1
            .ends_with("configuration is wrong: 1 error, 1 warning\n"),
        "{}",
        said.1
    );
    std::fs::write(
        &path,
        with("[auth]\nmethod = \"trust\"\n[listen]\nhost = \"*\""),
    )
    .unwrap();
    let said = outcome(vec![]);
    assert!(
        said.0 == 0 && said.1.ends_with("configuration is correct, 1 warning\n"),
        "{}",
        said.1
    );
}
