//! The rules against real servers: a primary and a streaming replica of its own, on loopback, gone with the test.

use super::*;
use shardgate_plan::snapshot::{Epoch, Host, Shard as CatalogShard};
use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use tokio_postgres::{Client, NoTls};

pub(crate) const SHARD: ShardId = ShardId(3);

/// The server's programs: where `SHARDGATE_PG_BIN` says, else the newest version under Debian's folder, else in PATH.
fn binary(program: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("SHARDGATE_PG_BIN") {
        return Path::new(&folder).join(program);
    }
    let version = |path: PathBuf| -> Option<(u32, PathBuf)> {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        let program = path.join("bin").join(program);
        program.exists().then_some((number, program))
    };
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let newest = installed
        .filter_map(|entry| version(entry.ok()?.path()))
        .max();
    newest.map_or_else(|| PathBuf::from(program), |(_, path)| path)
}

/// A command that runs as a role that Postgres starts under.
pub(crate) fn command(program: &str) -> Command {
    let path = binary(program);
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout == b"0\n" {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
            .arg(path);
        command
    } else {
        Command::new(path)
    }
}

pub(crate) fn run(command: &mut Command) {
    let output = command.current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// One server, which ends when it is dropped.
pub(crate) struct Server {
    data: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start(data: PathBuf, port: u16) -> Self {
        let mut server = Server {
            data,
            port,
            process: None,
        };
        server.restart();
        server
    }

    fn restart(&mut self) {
        assert!(self.process.is_none());
        let child = command("postgres")
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string(), "-k", "", "-h", "127.0.0.1"])
            .args([
                "-c",
                "fsync=off",
                "-c",
                "max_connections=30",
                "-c",
                "wal_level=replica",
            ])
            .args(["-c", "wal_writer_delay=200ms", "-c", "shared_buffers=16MB"])
            .current_dir("/")
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(child.unwrap());
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut child) = self.process.take() {
            let killed = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            killed.unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn host(&self) -> Host {
        Host {
            host: "127.0.0.1".to_owned(),
            port: self.port,
        }
    }

    /// Waits until the server takes connections.
    pub(crate) async fn client(&self) -> Client {
        let text = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            self.port
        );
        for _ in 0..600 {
            if let Ok((client, connection)) = tokio_postgres::connect(&text, NoTls).await {
                tokio::spawn(connection);
                return client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server on port {} does not start", self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("-QUIT");
    }
}

/// A folder that belongs to the role of the servers.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout == b"0\n" {
        run(Command::new("chown")
            .arg("postgres:postgres")
            .arg(folder.path()));
    }
    folder
}

async fn pair(folder: &Path) -> (Server, Server) {
    let (first, second) = (folder.join("first"), folder.join("second"));
    run(command("initdb").arg("-D").arg(&first).args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-N",
        "--locale=C",
    ]));
    let primary = Server::start(first, free_port());
    primary.client().await;
    let port = primary.port.to_string();
    run(command("pg_basebackup")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "-D",
        ])
        .arg(&second));
    let replica = Server::start(second, free_port());
    replica.client().await;
    (primary, replica)
}

pub(crate) fn snapshot(hosts: Vec<Host>) -> Arc<Snapshot> {
    let shard = CatalogShard {
        id: SHARD,
        name: "s".to_owned(),
        weight: 1,
        hosts,
    };
    Arc::new(Snapshot {
        epoch: Epoch {
            number: 1,
            id: [1; 16],
            parent: [0; 16],
        },
        database: "postgres".to_owned(),
        home: SHARD,
        shards: vec![shard],
        distributions: HashMap::default(),
        relations: HashMap::default(),
        functions: HashMap::default(),
        operators: Vec::new(),
        types: Default::default(),
        search_paths: HashMap::default(),
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
    })
}

pub(crate) fn options() -> Options {
    Options {
        user: "postgres".to_owned(),
        password: None,
        application_name: "shardgate health test".to_owned(),
        connect_timeout: Duration::from_secs(5),
        probe_interval: Duration::from_millis(20),
        idle_interval: Duration::from_millis(200),
        probe_timeout: Duration::from_secs(10),
        sample_interval: Duration::from_millis(10),
        lag_bytes_max: None,
        lag_max: None,
    }
}

/// Asks again until there is an answer; what it waits for has no event of its own.
async fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn role(health: &Health, server: &Server) -> &'static str {
    let servers = health.servers();
    servers
        .iter()
        .find(|s| s.port == server.port)
        .unwrap()
        .role
        .as_str()
}

/// Writes, marks, and reads where the marks allow; returns how many of the reads went to the replica.
async fn write_and_read(
    health: &Health,
    primary: &Server,
    replica: &Server,
    session: i32,
    asynchronous: bool,
) -> usize {
    let (writer, reader) = (primary.client().await, replica.client().await);
    if asynchronous {
        writer
            .batch_execute("SET synchronous_commit = off")
            .await
            .unwrap();
    }
    let mut on_replica = 0;
    let mut marks = ShardMarks::default();
    for n in 0..150 {
        let update = "UPDATE seen SET n = $2 WHERE session = $1";
        writer.execute(update, &[&session, &n]).await.unwrap();
        marks.write = health.tick();
        health.need_sample(SHARD, marks.write);
        let patience = Instant::now() + Duration::from_millis(60);
        let endpoint = loop {
            match health.replica(SHARD, &marks, None) {
                Some(endpoint) => break Some(endpoint),
                None if Instant::now() > patience => break None,
                None => tokio::task::yield_now().await,
            }
        };
        let Some(endpoint) = endpoint else { continue };
        assert_eq!(endpoint.port, replica.port);
        let read = "SELECT n FROM seen WHERE session = $1";
        let row = reader.query_one(read, &[&session]).await.unwrap();
        assert_eq!(
            row.get::<_, i32>(0),
            n,
            "session {session} missed its own write"
        );
        marks.read = health.tick();
        marks.read_on = Some(endpoint.id);
        on_replica += 1;
    }
    on_replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_never_miss_a_write_and_an_old_primary_is_fenced() {
    let folder = folder();
    let (mut primary, mut replica) = pair(folder.path()).await;
    let admin = primary.client().await;
    admin
        .batch_execute(
            "CREATE TABLE seen (session int PRIMARY KEY, n int NOT NULL) WITH (fillfactor = 50); \
             INSERT INTO seen SELECT i, -1 FROM generate_series(0, 3) i",
        )
        .await
        .unwrap();
    let (sender, snapshots) = watch::channel(snapshot(vec![replica.host(), primary.host()]));
    let (health, monitor) = Health::start(options(), snapshots);
    let deadline = Instant::now() + Duration::from_secs(60);
    let first = health.wait_primary(SHARD, deadline).await.unwrap();
    assert_eq!(first.port, primary.port);
    until("the replica is usable", || health.any_replica(SHARD, None)).await;

    sessions_with_random_pauses(&health, &primary, &replica).await;
    paused_replica_is_left_out(&health, &primary, &replica).await;
    crash_of_one_process_makes_another_endpoint(&health, &replica).await;
    fail_over(&health, &mut primary, &mut replica, &first).await;
    shards_come_and_go(&health, &sender, &primary, &replica).await;
    monitor.stop().await;
}

async fn sessions_with_random_pauses(health: &Health, primary: &Server, replica: &Server) {
    let done = Arc::new(AtomicBool::new(false));
    let control = replica.client().await;
    let stop = done.clone();
    let pauses = tokio::spawn(async move {
        let mut lengths = [1_u64, 30, 5, 80, 2, 15].into_iter().cycle();
        while !stop.load(Ordering::SeqCst) {
            control
                .batch_execute("SELECT pg_wal_replay_pause()")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(lengths.next().unwrap_or(1))).await;
            control
                .batch_execute("SELECT pg_wal_replay_resume()")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(lengths.next().unwrap_or(1))).await;
        }
    });
    let session = |n: i32| write_and_read(health, primary, replica, n, n % 2 == 1);
    let (a, b, c, d) = tokio::join!(session(0), session(1), session(2), session(3));
    done.store(true, Ordering::SeqCst);
    pauses.await.unwrap();
    assert!(
        a > 0 && b > 0 && c > 0 && d > 0,
        "reads on the replica: {a} {b} {c} {d}"
    );
}

async fn paused_replica_is_left_out(health: &Health, primary: &Server, replica: &Server) {
    let (writer, control) = (primary.client().await, replica.client().await);
    control
        .batch_execute("SELECT pg_wal_replay_pause()")
        .await
        .unwrap();
    until_paused(&control).await;
    writer
        .batch_execute("UPDATE seen SET n = 1000 WHERE session = 0")
        .await
        .unwrap();
    let marks = ShardMarks {
        write: health.tick(),
        ..ShardMarks::default()
    };
    health.need_sample(SHARD, marks.write);
    let shard = health.shard(SHARD).unwrap();
    // Once a second tick has been sampled too, the first one has had its chance.
    for _ in 0..2 {
        let tick = health.tick();
        health.need_sample(SHARD, tick);
        until("a sample", || (shard.sampled() >= tick).then_some(())).await;
        assert_eq!(health.replica(SHARD, &marks, None), None);
    }
    assert!(
        health.any_replica(SHARD, None).is_some(),
        "without marks it may still answer"
    );
    control
        .batch_execute("SELECT pg_wal_replay_resume()")
        .await
        .unwrap();
    until("the replica catches up", || {
        health.replica(SHARD, &marks, None)
    })
    .await;
    let row = control
        .query_one("SELECT n FROM seen WHERE session = 0", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 1000);
}

async fn until_paused(control: &Client) {
    for _ in 0..2000 {
        let row = control
            .query_one("SELECT pg_get_wal_replay_pause_state()", &[])
            .await
            .unwrap();
        if row.get::<_, &str>(0) == "paused" {
            return;
        }
    }
    panic!("the replay does not pause");
}

/// A crash of one backend throws the standby back to its last restart point, with the same postmaster.
async fn crash_of_one_process_makes_another_endpoint(health: &Health, replica: &Server) {
    let before = until("the replica", || health.any_replica(SHARD, None)).await;
    let victim = replica.client().await;
    let row = victim
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap();
    let pid: i32 = row.get(0);
    run(Command::new("kill").args(["-KILL", &pid.to_string()]));
    let after = until("the replica is back", || {
        health
            .any_replica(SHARD, None)
            .filter(|r| r.id != before.id)
    })
    .await;
    assert_eq!(after.port, replica.port);
    let marks = ShardMarks {
        read: health.tick(),
        read_on: Some(before.id),
        ..ShardMarks::default()
    };
    assert_ne!(
        health.replica(SHARD, &marks, None).map(|e| e.id),
        Some(before.id)
    );
}

async fn fail_over(health: &Health, primary: &mut Server, replica: &mut Server, first: &Endpoint) {
    let writer = primary.client().await;
    writer
        .batch_execute("UPDATE seen SET n = 2000")
        .await
        .unwrap();
    let marks = ShardMarks {
        write: health.tick(),
        ..ShardMarks::default()
    };
    health.need_sample(SHARD, marks.write);
    until("the replica has it", || health.replica(SHARD, &marks, None)).await;
    primary.end("-QUIT");
    until("the loss is seen", || {
        health.primary(SHARD).is_none().then_some(())
    })
    .await;
    assert!(!health.is_current(first));
    let soon = Instant::now() + Duration::from_millis(50);
    let refused = health.wait_primary(SHARD, soon).await.unwrap_err();
    assert!(
        refused.reason.contains(&format!(":{}", primary.port)),
        "{refused}"
    );
    let waiting = {
        let health = health.clone();
        let deadline = Instant::now() + Duration::from_secs(60);
        tokio::spawn(async move { health.wait_primary(SHARD, deadline).await })
    };
    let control = replica.client().await;
    control.batch_execute("SELECT pg_promote()").await.unwrap();
    let second = waiting.await.unwrap().unwrap();
    assert_eq!(second.port, replica.port);
    // The old primary comes back as it was: it must never be used again.
    primary.restart();
    primary.client().await;
    until("it is fenced", || {
        (role(health, primary) == "fenced").then_some(())
    })
    .await;
    for _ in 0..100 {
        assert_eq!(health.primary(SHARD).as_ref(), Some(&second));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(health.replica(SHARD, &ShardMarks::default(), None), None);
    // A restart of the primary makes another endpoint of it.
    replica.end("-INT");
    until("the loss is seen", || {
        health.primary(SHARD).is_none().then_some(())
    })
    .await;
    replica.restart();
    let deadline = Instant::now() + Duration::from_secs(60);
    let third = health.wait_primary(SHARD, deadline).await.unwrap();
    assert_eq!(third.port, replica.port);
    assert_ne!(third.id, second.id);
}

async fn shards_come_and_go(
    health: &Health,
    sender: &watch::Sender<Arc<Snapshot>>,
    old: &Server,
    new: &Server,
) {
    let before = health.primary(SHARD).unwrap();
    sender.send(snapshot(vec![new.host()])).unwrap();
    until("the host is gone", || {
        (health.servers().len() == 1).then_some(())
    })
    .await;
    assert_eq!(health.primary(SHARD), Some(before));
    // Whoever takes the new primary out of the catalog says that its claim is void.
    sender.send(snapshot(vec![old.host()])).unwrap();
    let shown = until("the other host is the primary", || {
        health.primary(SHARD).filter(|p| p.port == old.port)
    })
    .await;
    assert_eq!(shown.host.as_ref(), "127.0.0.1");
    let mut none = (*snapshot(Vec::new())).clone();
    none.shards.clear();
    sender.send(Arc::new(none)).unwrap();
    until("the shard is gone", || {
        health.servers().is_empty().then_some(())
    })
    .await;
    let soon = Instant::now() + Duration::from_secs(5);
    assert!(health.wait_primary(SHARD, soon).await.is_err());
}
