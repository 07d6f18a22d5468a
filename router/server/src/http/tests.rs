//! The pages over a socket.

use super::*;
use crate::admin::{CatalogView, ClientView, PoolView, ServerView};
use crate::metrics::{Metrics, Scrape, registry};
use shardgate_catalog::moves::MoveStatus;
use shardgate_plan::snapshot::{Epoch, Host, Shard, Snapshot};
use shardgate_shard_map::ShardId;
use shardgate_wire::PgError;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Process {
    accepting: AtomicBool,
    snapshot: Arc<Snapshot>,
}

impl Source for Process {
    fn clients(&self) -> Vec<ClientView> {
        Vec::new()
    }
    fn pools(&self) -> Vec<PoolView> {
        vec![PoolView {
            database: "app".into(),
            user: "a\"b".into(),
            shard: "s1".into(),
            host: "h".into(),
            port: 1,
            role: "primary",
            pool_size: 1,
            cl_active: 0,
            cl_waiting: 7,
            sv_active: 1,
            sv_idle: 0,
            sv_login: 0,
            maxwait: Duration::ZERO,
        }]
    }
    fn servers(&self) -> Vec<ServerView> {
        Vec::new()
    }
    fn catalog(&self) -> CatalogView {
        CatalogView {
            epoch: 12,
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
        self.accepting.load(Ordering::SeqCst)
    }
    fn kill(&self, _pid: u32) -> bool {
        false
    }
    fn reload(&self) -> Result<(), PgError> {
        Ok(())
    }
}

/// A process whose home shard's only server is a port where nobody answers.
fn snapshot(port: u16) -> Snapshot {
    let host = Host {
        host: "127.0.0.1".into(),
        port,
    };
    Snapshot {
        epoch: Epoch {
            number: 12,
            id: [1; 16],
            parent: [0; 16],
        },
        database: "app".into(),
        home: ShardId(1),
        shards: vec![Shard {
            id: ShardId(1),
            name: "s1".into(),
            weight: 1,
            hosts: vec![host],
        }],
        distributions: HashMap::new(),
        relations: HashMap::new(),
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

struct World {
    process: Arc<Process>,
    metrics: Arc<Metrics>,
    pages: Arc<Pages>,
    address: std::net::SocketAddr,
    _monitor: crate::health::Monitor,
}

async fn world() -> World {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let snapshot = Arc::new(snapshot(closed.local_addr().unwrap().port()));
    drop(closed);
    let text = "[[database]]\nname = \"app\"\nhome = [{ host = \"h\" }]\n";
    let config = crate::config::parse("f", text, &[]).config.unwrap();
    let (_, snapshots) = tokio::sync::watch::channel(snapshot.clone());
    let options = crate::health::Options::from_config(&config);
    let (health, monitor) = Health::start(options, snapshots);
    let process = Arc::new(Process {
        accepting: AtomicBool::new(false),
        snapshot,
    });
    let metrics = Arc::new(Metrics::default());
    let registry = registry(Scrape {
        metrics: metrics.clone(),
        health: health.clone(),
        source: process.clone(),
    });
    let pages = Arc::new(Pages {
        registry,
        health,
        source: process.clone(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, pages.clone()));
    World {
        process,
        metrics,
        pages,
        address,
        _monitor: monitor,
    }
}

async fn ask(world: &World, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

async fn get(world: &World, path: &str) -> (String, String) {
    ask(world, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[tokio::test]
async fn pages() {
    let world = world().await;
    let (head, body) = get(&world, "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "ok\n");
    let (head, _) = get(&world, "/").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let (head, _) = ask(
        &world,
        "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(
        head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD"),
        "{head}"
    );
    let (head, body) = ask(&world, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body.is_empty(),
        "{head}"
    );
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    let (head, _) = ask(&world, &long).await;
    assert!(head.starts_with("HTTP/1.1 4"), "{head}");
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let world = world().await;
    let (head, body) = get(&world, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(body, "not ready: no clients are accepted\n");
    world.process.accepting.store(true, Ordering::SeqCst);
    let (head, body) = get(&world, "/readyz").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(
        body.starts_with("not ready: the home shard has no primary: "),
        "{body}"
    );
}

#[tokio::test]
async fn metrics_in_text() {
    let world = world().await;
    world.metrics.queries.add(3);
    world.metrics.wait_time.observe(Duration::from_micros(100));
    world.metrics.wait_time.observe(Duration::from_micros(101));
    world.metrics.wait_time.observe(Duration::from_secs(600));
    let (head, body) = get(&world, "/metrics").await;
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    for line in [
        "# TYPE shardgate_queries counter",
        "shardgate_queries_total 3",
        "# TYPE shardgate_wait_seconds histogram",
        "shardgate_wait_seconds_count 3",
        "shardgate_wait_seconds_bucket{le=\"0.0001\"} 1",
        "shardgate_wait_seconds_bucket{le=\"0.00025\"} 2",
        "shardgate_wait_seconds_bucket{le=\"60.0\"} 2",
        "shardgate_wait_seconds_bucket{le=\"+Inf\"} 3",
        "shardgate_wait_seconds_sum 600.000201",
        "shardgate_catalog_epoch 12",
        "shardgate_pool_waiting{shard=\"s1\",host=\"h:1\",user=\"a\\\"b\"} 7",
    ] {
        assert!(
            body.lines().any(|l| l == line),
            "{line} is missing in\n{body}"
        );
    }
    assert!(body.ends_with("# EOF\n"));
    assert!(
        world
            .pages
            .answer(&Method::GET, "/metrics")
            .status()
            .is_success()
    );
}
