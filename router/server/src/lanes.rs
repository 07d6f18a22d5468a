//! The threads that serve clients: each has a runtime of its own, and a client stays on the one that it was given to.
//!
//! With one runtime over all cores, a readiness event is seen on one thread and the task is polled on another, which costs
//! a wake-up of a thread for nearly every statement (ADR 0007). A connection to a server belongs to the lane on
//! which its socket is registered; when a client of another lane takes it from the pool, it is registered there.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
}

struct Served {
    runtime: Handle,
    clients: AtomicUsize,
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

/// Starts so many threads, each with a runtime.
///
/// # Errors
/// A thread or a runtime could not be made.
pub fn start(count: usize) -> io::Result<(Lanes, Threads)> {
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
        let runtime = told
            .recv()
            .map_err(|_| io::Error::other("a thread has ended at its start"))??;
        lanes.push(Arc::new(Served {
            runtime,
            clients: AtomicUsize::new(0),
        }));
    }
    let lanes = Lanes {
        lanes: lanes.into(),
    };
    Ok((lanes, threads))
}

/// The life of a lane's thread.
fn serve(tell: &mpsc::Sender<io::Result<Handle>>, ended: oneshot::Receiver<()>) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Who started the thread waits for it.
            let _ = tell.send(Err(error));
            return;
        }
    };
    let _ = tell.send(Ok(runtime.handle().clone()));
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
    /// Runs a client on the lane that has the fewest. Without lanes it runs on the caller's runtime.
    pub fn spawn<F>(&self, client: impl FnOnce(Lane) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lanes = self.lanes.iter().enumerate();
        let Some((number, lane)) =
            lanes.min_by_key(|(_, lane)| lane.clients.load(Ordering::Relaxed))
        else {
            tokio::spawn(client(MAIN));
            return;
        };
        lane.clients.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(lane));
        let client = client(Lane(number));
        lane.runtime.spawn(async move {
            client.await;
            drop(counted);
        });
    }
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
    fn clients_are_spread_and_sockets_move() {
        let (lanes, threads) = start(2).unwrap();
        let main = Builder::new_current_thread().enable_all().build().unwrap();
        main.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            let mut peers = Vec::new();
            for _ in 0..4 {
                peers.push(TcpStream::connect(address).await.unwrap());
                let (stream, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                lanes.spawn(|lane| async move {
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
