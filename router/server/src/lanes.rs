//! The threads that serve clients: each has a runtime of its own, and a client stays on the one that it was given to.
//!
//! With one runtime over all cores, a readiness event is seen on one thread and the task is polled on another, which costs
//! a wake-up of a thread for nearly every statement (ADR 0007). A connection to a server belongs to the lane on
//! which its socket is registered; when a client of another lane takes it from the pool, it is registered there.
//!
//! A thread that always finds work costs less per statement than two that sleep in between, so clients are kept on as few
//! lanes as can carry them: a lane that is nearly out of time hands some of its clients to the one that has most, and two
//! that have little to do become one. A client moves between two of its transactions.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Which lane a task runs on, or a socket is registered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane(usize);

/// The runtime of the process's other tasks. It serves no clients when there are lanes.
pub const MAIN: Lane = Lane(usize::MAX);

/// Hands clients to lanes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Lanes {
    lanes: Arc<[Arc<Served>]>,
    /// A lane that is busier hands clients to another.
    full: Permille,
}

/// Thousandths of a thread's time.
type Permille = u32;

struct Served {
    runtime: Handle,
    /// The file in which the kernel counts the thread's time, if there is one.
    time: Option<PathBuf>,
    clients: AtomicUsize,
    /// Thousandths of the last stretch of time that the thread was running.
    busy: AtomicU32,
    /// So many clients are to leave, for the lane `heir`.
    leaving: AtomicUsize,
    heir: AtomicUsize,
}

/// The lanes' threads. Dropping it ends them without waiting.
pub struct Threads {
    ends: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// Counts a client on its lane while it lives.
struct Counted(Arc<Served>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts so many threads, each with a runtime. `full_percent`: from which share of its time on a lane hands clients to
/// another.
///
/// # Errors
/// A thread or a runtime could not be made.
pub fn start(count: usize, full_percent: u8) -> io::Result<(Lanes, Threads)> {
    let mut lanes = Vec::with_capacity(count);
    let mut threads = Threads {
        ends: Vec::with_capacity(count),
        threads: Vec::with_capacity(count),
    };
    for number in 0..count {
        let (tell, told) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("lane {number}"))
            .spawn(move || serve(&tell, ended))?;
        threads.ends.push(end);
        threads.threads.push(thread);
        let (runtime, time) = told
            .recv()
            .map_err(|_| io::Error::other("a thread has ended at its start"))??;
        lanes.push(Arc::new(Served {
            runtime,
            time,
            clients: AtomicUsize::new(0),
            busy: AtomicU32::new(0),
            leaving: AtomicUsize::new(0),
            heir: AtomicUsize::new(0),
        }));
    }
    let lanes = Lanes {
        lanes: lanes.into(),
        full: Permille::from(full_percent) * 10,
    };
    Ok((lanes, threads))
}

/// The life of a lane's thread.
fn serve(tell: &mpsc::Sender<io::Result<(Handle, Option<PathBuf>)>>, ended: oneshot::Receiver<()>) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Who started the thread waits for it.
            let _ = tell.send(Err(error));
            return;
        }
    };
    let own = std::fs::read_link("/proc/thread-self");
    let time = own.map(|own| PathBuf::from("/proc").join(own).join("schedstat"));
    let _ = tell.send(Ok((runtime.handle().clone(), time.ok())));
    // The end is told, or the one who would tell it is gone; both mean the same.
    let _ = runtime.block_on(ended);
}

impl Threads {
    /// Ends all lanes with their clients, and waits for that, but no longer than the limit.
    pub fn end(mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.ends.clear();
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        for thread in self.threads.drain(..) {
            // It has finished; a panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Lanes {
    /// Runs a new client on the first lane that has time for it. Without lanes it runs on the caller's runtime.
    pub fn spawn<F>(&self, client: impl FnOnce(Lane) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let busy = |lane: &Arc<Served>| lane.busy.load(Ordering::Relaxed);
        // Where less than a third of what a lane can carry is left, no more are added.
        let has_time = |lane: &Arc<Served>| busy(lane) < self.full * 2 / 3;
        let least = || {
            let lanes = self.lanes.iter().enumerate();
            lanes
                .min_by_key(|(_, lane)| busy(lane))
                .map(|(number, _)| number)
        };
        let lane = match self.lanes.iter().position(has_time).or_else(least) {
            Some(number) => Lane(number),
            None => MAIN,
        };
        self.spawn_on(lane, client(lane));
    }

    /// Runs a client on this lane.
    pub fn spawn_on(&self, lane: Lane, client: impl Future<Output = ()> + Send + 'static) {
        let Some(served) = self.lanes.get(lane.0) else {
            tokio::spawn(client);
            return;
        };
        served.clients.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(served));
        served.runtime.spawn(async move {
            client.await;
            drop(counted);
        });
    }

    /// Whether clients of the lane are to leave it. Cheap: asked whenever one of them comes to rest.
    pub fn sheds(&self, lane: Lane) -> bool {
        self.lanes
            .get(lane.0)
            .is_some_and(|served| served.leaving.load(Ordering::Relaxed) > 0)
    }

    /// Where one client of the lane, which can move now, is to go.
    pub fn leave(&self, lane: Lane) -> Option<Lane> {
        let served = self.lanes.get(lane.0)?;
        let left = served
            .leaving
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        left.ok().map(|_| Lane(served.heir.load(Ordering::Relaxed)))
    }

    /// Measures how busy the lanes were since the last call, and says who is to move.
    pub fn balance(&self, before: &mut Measured) {
        let elapsed = before.at.elapsed();
        before.at = Instant::now();
        before.times.resize(self.lanes.len(), Duration::ZERO);
        for (lane, before) in self.lanes.iter().zip(&mut before.times) {
            let time = lane.running();
            let share = time.saturating_sub(*before).as_micros() * 1000;
            *before = time;
            let share = share / elapsed.as_micros().max(1);
            lane.busy
                .store(u32::try_from(share).unwrap_or(u32::MAX), Ordering::Relaxed);
            lane.leaving.store(0, Ordering::Relaxed);
        }
        let loads: Vec<Load> = self
            .lanes
            .iter()
            .map(|lane| Load {
                busy: lane.busy.load(Ordering::Relaxed),
                clients: lane.clients.load(Ordering::Relaxed),
            })
            .collect();
        if let Some(change) = decide(&loads, self.full)
            && let Some(lane) = self.lanes.get(change.from)
        {
            lane.heir.store(change.to, Ordering::Relaxed);
            lane.leaving.store(change.clients, Ordering::Relaxed);
        }
    }
}

impl Served {
    /// Processor time of the thread so far; where the kernel does not say it, the time in which it was not asleep.
    fn running(&self) -> Duration {
        let text = self.time.as_ref().map(std::fs::read_to_string);
        let nanos = match &text {
            Some(Ok(text)) => text.split(' ').next().and_then(|word| word.parse().ok()),
            Some(Err(_)) | None => None,
        };
        nanos.map_or_else(
            || self.runtime.metrics().worker_total_busy_duration(0),
            Duration::from_nanos,
        )
    }
}

/// What was measured last.
pub struct Measured {
    at: Instant,
    times: Vec<Duration>,
}

impl Default for Measured {
    fn default() -> Self {
        Measured {
            at: Instant::now(),
            times: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Load {
    busy: Permille,
    clients: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Change {
    from: usize,
    to: usize,
    clients: usize,
}

/// Who hands clients to whom. A lane is full at `full`; two that are not half full together become one, and what has just
/// been split is far from that, so that nothing swings.
fn decide(loads: &[Load], full: Permille) -> Option<Change> {
    let numbered = || loads.iter().enumerate();
    let (hot, most) = numbered().max_by_key(|(_, load)| load.busy)?;
    let (cold, least) = numbered().min_by_key(|(_, load)| load.busy)?;
    if most.busy >= full && most.clients > 1 && least.busy + full / 3 <= most.busy {
        // Half of the difference, as a part of what the lane does now.
        let share = u64::from(most.busy - least.busy) * most.clients as u64;
        let clients = share / (2 * u64::from(most.busy));
        return Some(Change {
            from: hot,
            to: cold,
            clients: usize::try_from(clients).unwrap_or(1).max(1),
        });
    }
    let (last, load) = numbered().rfind(|(_, load)| load.clients > 0)?;
    let fits = |other: &Load| other.clients > 0 && other.busy + load.busy < full / 2;
    let (to, _) = numbered().find(|(number, other)| *number < last && fits(other))?;
    Some(Change {
        from: last,
        to,
        clients: load.clients,
    })
}

/// Takes a socket out of the runtime that it is registered with and registers it with the caller's.
///
/// # Errors
/// The socket cannot be registered; it is closed then.
pub fn move_here(stream: TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(stream.into_std()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn clients_are_kept_together_while_a_lane_can_carry_them() {
        let check = |loads: &[(u32, usize)], expect: Option<(usize, usize, usize)>| {
            let loads: Vec<Load> = loads
                .iter()
                .map(|(busy, clients)| Load {
                    busy: *busy,
                    clients: *clients,
                })
                .collect();
            let expect = expect.map(|(from, to, clients)| Change { from, to, clients });
            assert_eq!(decide(&loads, 850), expect, "{loads:?}");
        };
        check(&[], None);
        check(&[(990, 10)], None);
        check(&[(500, 10), (0, 0)], None);
        check(&[(840, 10), (0, 0)], None);
        check(&[(900, 10), (0, 0)], Some((0, 1, 5)));
        check(&[(900, 1), (0, 0)], None);
        check(&[(1000, 10), (400, 3), (800, 9)], Some((0, 1, 3)));
        check(&[(900, 100), (700, 80)], None);
        // What has just been split stays so.
        check(&[(450, 5), (450, 5)], None);
        check(&[(150, 5), (200, 5)], Some((1, 0, 5)));
        check(&[(300, 5), (0, 0), (50, 2)], Some((2, 0, 2)));
        check(&[(0, 0), (50, 2)], None);
    }

    #[test]
    fn a_thread_that_works_is_busy() {
        let (lanes, threads) = start(2, 85).unwrap();
        let mut measured = Measured::default();
        lanes.balance(&mut measured);
        let until = Instant::now() + Duration::from_millis(300);
        lanes.spawn_on(Lane(1), async move { while Instant::now() < until {} });
        while Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        lanes.balance(&mut measured);
        let busy = |number: usize| lanes.lanes[number].busy.load(Ordering::Relaxed);
        assert!(busy(1) > busy(0) + 50, "{} and {}", busy(0), busy(1));
        threads.end(Duration::from_secs(10));
    }

    #[test]
    fn clients_are_served_where_they_are_put() {
        let (lanes, threads) = start(2, 85).unwrap();
        let main = Builder::new_current_thread().enable_all().build().unwrap();
        main.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            let mut peers = Vec::new();
            for number in 0..4 {
                let lane = Lane(number % 2);
                peers.push(TcpStream::connect(address).await.unwrap());
                let (stream, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                lanes.spawn_on(lane, async move {
                    let mut stream = move_here(stream).unwrap();
                    tell.send(lane).unwrap();
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    stream.write_all(&byte).await.unwrap();
                });
            }
            let mut seen = [0; 2];
            for peer in &mut peers {
                let Lane(number) = told.recv().await.unwrap();
                seen[number] += 1;
                peer.write_all(b"x").await.unwrap();
                let mut byte = [0];
                peer.read_exact(&mut byte).await.unwrap();
                assert_eq!(&byte, b"x");
            }
            assert_eq!(seen, [2, 2]);
        });
        threads.end(Duration::from_secs(10));
    }
}
