//! Whatever comes to the port: an error or a close, bounded memory, and the next client is served as ever.

mod after_login;
mod before_login;
mod scram;
mod sizes;

use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long the router may take to answer or close.
const ANSWER: Duration = Duration::from_secs(10);

fn router_for_strangers() -> Running {
    Running::start_with(1, 0, |builder| {
        builder.router_setting("listen.client_login_timeout", "2s")
    })
}

#[test]
fn garbage_before_login_is_closed() -> Result<()> {
    let running = router_for_strangers();
    let memory = Memory::of(&running)?;
    before_login::random_bytes(&running)?;
    before_login::malformed(&running)?;
    before_login::floods(&running)?;
    before_login::slow_loris(&running)?;
    still_well(&running)?;
    memory.has_not_grown_by(&running, 64 << 20)
}

#[test]
fn garbage_after_login_is_an_error_or_a_close() -> Result<()> {
    let running = Running::start(1, 0);
    let memory = Memory::of(&running)?;
    after_login::malformed(&running)?;
    after_login::mutated(&running)?;
    still_well(&running)?;
    memory.has_not_grown_by(&running, 64 << 20)
}

#[test]
fn memory_is_bounded_whatever_is_asked() -> Result<()> {
    let running = Running::start(1, 0);
    let memory = Memory::of(&running)?;
    sizes::announced_and_never_sent(&running)?;
    sizes::results_never_read(&running)?;
    sizes::pipelines_never_read(&running)?;
    memory.has_not_grown_by(&running, 128 << 20)?;
    sizes::large_values_pass(&running)?;
    still_well(&running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scram_passes_through() -> Result<()> {
    tokio::time::timeout(Duration::from_secs(60), scram::all())
        .await
        .context("in time")?
}

/// The highest memory of the router so far, in bytes (`VmHWM`).
struct Memory {
    peak: u64,
}

impl Memory {
    fn of(running: &Running) -> Result<Memory> {
        // One ordinary client first, so that its share is not counted as growth.
        still_well(running)?;
        let path = format!("/proc/{}/status", running.router.pid);
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .context("no VmHWM")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(Memory {
            peak: kilobytes << 10,
        })
    }

    fn has_not_grown_by(&self, running: &Running, limit: u64) -> Result<()> {
        let now = Memory::of(running)?.peak;
        println!(
            "peak memory: {} MB before, {} MB after",
            self.peak >> 20,
            now >> 20
        );
        ensure!(now <= self.peak + limit, "the router took {} MB", now >> 20);
        Ok(())
    }
}

/// The router lives, says that it is ready, and serves.
fn still_well(running: &Running) -> Result<()> {
    ensure!(
        running.router.is_running(),
        "the router has ended: {}",
        tail(running)
    );
    ensure!(
        running.psql("SELECT 6 * 7") == "42",
        "the router does not serve"
    );
    let log = std::fs::read_to_string(&running.router.log)?;
    ensure!(
        !log.contains("panicked"),
        "a panic in the log: {}",
        tail(running)
    );
    Ok(())
}

fn tail(running: &Running) -> String {
    let log = std::fs::read_to_string(&running.router.log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn connect(running: &Running) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", running.router.port))?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Writes as far as the other side takes it.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    match stream.write_all(bytes) {
        Ok(()) => Ok(()),
        Err(error) if is_close(error.kind()) => Ok(()),
        Err(error) => Err(error).context("the router neither reads nor closes"),
    }
}

fn is_close(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

/// Everything until the connection is closed. Fails if it is not, in time.
fn until_closed(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let (bytes, closed) = until(stream, |_| false)?;
    ensure!(
        closed,
        "the connection is not closed within {ANSWER:?}; it said {:?}",
        bytes.escape_ascii().to_string()
    );
    Ok(bytes)
}

/// Reads until `enough`, the close (true), or the end of the time.
fn until(stream: &mut TcpStream, enough: impl Fn(&[u8]) -> bool) -> Result<(Vec<u8>, bool)> {
    let start = Instant::now();
    let mut bytes = Vec::new();
    let mut chunk = [0; 65536];
    while start.elapsed() < ANSWER {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok((bytes, true)),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if is_close(error.kind()) => return Ok((bytes, true)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        if enough(&bytes) {
            return Ok((bytes, false));
        }
    }
    Ok((bytes, false))
}

/// The messages of a stream of bytes, as type and body; what is left at the end is dropped.
fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut list = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some(body) = length.checked_sub(4).and_then(|length| rest.get(..length)) else {
            break;
        };
        list.push((head[0], body.to_vec()));
        bytes = &rest[body.len()..];
    }
    list
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn startup(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608u32.to_be_bytes().to_vec();
    for (name, value) in pairs {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&length.to_be_bytes()[..], &body].concat()
}

/// A stream that has logged in by trust.
fn logged_in(running: &Running) -> Result<TcpStream> {
    let mut stream = connect(running)?;
    send(
        &mut stream,
        &startup(&[("user", "postgres"), ("database", running.database())]),
    )?;
    let (bytes, closed) = until(&mut stream, |bytes| {
        messages(bytes).last().is_some_and(|(tag, _)| *tag == b'Z')
    })?;
    ensure!(
        !closed && !bytes.is_empty(),
        "no login: {:?}",
        bytes.escape_ascii().to_string()
    );
    Ok(stream)
}

/// splitmix64; the seed is printed by who makes it.
struct Random(u64);

impl Random {
    fn seeded() -> Result<Random> {
        let seed = match std::env::var("SEED") {
            Ok(text) => text.parse().context("SEED")?,
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)?
                .subsec_nanos()
                .into(),
        };
        println!("SEED={seed}");
        Ok(Random(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % (bound.max(1) as u64)) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
