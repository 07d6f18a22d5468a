//! COPY into a home table, and out of it: millions of bytes per second, and what the proxy uses for each million.

use crate::client::Client;
use crate::end::End;
use crate::figures::{Figures, quantile};
use crate::servers;
use crate::targets::Target;
use crate::usage::{self, Cpu};
use anyhow::Result;
use bytes::{BufMut, BytesMut};
use shard_admin::cluster::Node;
use shardgate_wire::Limits;
use shardgate_wire::frontend::put;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// One COPY, in bytes.
const COPY_BYTES: usize = 10_000_000;
/// What psql puts into one CopyData message, about.
const MESSAGE_BYTES: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// COPY after COPY for some seconds. `home` is emptied before each, past the proxy.
pub fn run(
    target: &Target,
    home: &Node,
    direction: Direction,
    seconds: u32,
    end: &End,
) -> Result<Figures> {
    let limits = Limits::backend();
    let (messages, bytes) = payload();
    let mut client = Client::connect(target.port, target.database, &limits)?;
    let empty = || servers::on(home, target.database, "TRUNCATE copied").map(|_| ());
    empty()?;
    copy_in(&mut client, &messages, &limits)?;
    let processes = target.processes();
    usage::reset_peak(&processes);
    let cpu = Cpu::of(&processes);
    let limit = Duration::from_secs(u64::from(seconds));
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < limit || times.len() < 3 {
        end.check()?;
        if direction == Direction::In {
            empty()?;
        }
        let begin = Instant::now();
        match direction {
            Direction::In => copy_in(&mut client, &messages, &limits)?,
            Direction::Out => client.query("COPY copied TO STDOUT", &limits)?,
        }
        times.push(u64::try_from(begin.elapsed().as_micros())?);
    }
    figures(&processes, &cpu, times, bytes)
}

fn copy_in(client: &mut Client, messages: &[u8], limits: &Limits) -> Result<()> {
    let mut begin = BytesMut::new();
    put::query(&mut begin, b"COPY copied FROM STDIN");
    client.send(&begin)?;
    client.until(b'G', limits)?;
    client.send(messages)?;
    client.until(b'Z', limits)
}

/// CopyData messages that end with whole rows, and CopyDone; the bytes of the rows.
fn payload() -> (Vec<u8>, usize) {
    let filler = "x".repeat(90);
    let (mut messages, mut rows, mut bytes) = (BytesMut::new(), String::new(), 0);
    let mut flush = |rows: &mut String, messages: &mut BytesMut| {
        messages.put_u8(b'd');
        let length = u32::try_from(rows.len() + 4).expect("some kilobytes");
        messages.put_u32(length);
        messages.extend_from_slice(rows.as_bytes());
        bytes += rows.len();
        rows.clear();
        bytes
    };
    let mut number = 0;
    loop {
        let _infallible = writeln!(rows, "{number}\t{filler}");
        number += 1;
        if rows.len() > MESSAGE_BYTES && flush(&mut rows, &mut messages) >= COPY_BYTES {
            break;
        }
    }
    messages.put_u8(b'c');
    messages.put_u32(4);
    (messages.to_vec(), bytes)
}
fn figures(
    processes: &[shard_admin::cluster::ProcessId],
    before: &Cpu,
    mut times: Vec<u64>,
    bytes: usize,
) -> Result<Figures> {
    let used = Cpu::of(processes).since(before) as f64 / 1000.0;
    let megabytes = times.len() as f64 * bytes as f64 / 1e6;
    let seconds = times.iter().sum::<u64>() as f64 / 1e6;
    times.sort_unstable();
    Ok(Figures {
        per_second: Some(megabytes / seconds),
        p50_us: quantile(&times, 0.5),
        p99_us: quantile(&times, 0.99),
        cpu_us: (!processes.is_empty()).then_some(used / megabytes),
        peak_bytes: Some(usage::peak(processes)? as f64).filter(|peak| *peak > 0.0),
        ..Figures::default()
    })
}
