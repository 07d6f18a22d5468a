//! Sizes that a client chooses: announced, asked for, or never read.

use crate::{logged_in, message, messages, send, still_well, until};
use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

/// Messages just under the limit whose bodies do not come: no memory is set aside for them.
pub fn announced_and_never_sent(running: &Running) -> Result<()> {
    let mut streams = Vec::new();
    for tag in [b'Q', b'P', b'B', b'd'] {
        for _ in 0..10 {
            let mut stream = logged_in(running)?;
            send(
                &mut stream,
                &[&[tag][..], &60_000_000u32.to_be_bytes(), b"select"].concat(),
            )?;
            streams.push(stream);
        }
    }
    still_well(running)
}

/// Results of hundreds of megabytes for clients that never read.
pub fn results_never_read(running: &Running) -> Result<()> {
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = logged_in(running)?;
        send(
            &mut stream,
            &message(
                b'Q',
                b"select repeat('x', 10000) from generate_series(1, 20000)\0",
            ),
        )?;
        streams.push(stream);
    }
    // Each of them has begun to answer.
    let mut begun = Vec::new();
    for stream in &mut streams {
        let (bytes, _) = until(stream, |bytes| !bytes.is_empty())?;
        ensure!(!bytes.is_empty(), "no answer");
        begun.push(bytes);
    }
    still_well(running)?;
    // One is read to its end after all, and is complete. What came first may end within a message.
    let mut stream = streams.pop().context("a stream")?;
    let (mut bytes, mut rows) = (begun.pop().context("its beginning")?, 0);
    let start = Instant::now();
    loop {
        let (more, closed) = until(&mut stream, |more| !more.is_empty())?;
        bytes.extend(more);
        let list = messages(&bytes);
        let used: usize = list.iter().map(|(_, body)| body.len() + 5).sum();
        bytes.drain(..used);
        rows += list.iter().filter(|(tag, _)| *tag == b'D').count();
        if list.iter().any(|(tag, _)| *tag == b'Z') {
            break;
        }
        ensure!(
            !closed && start.elapsed() < Duration::from_secs(60),
            "the result stops after {rows} rows"
        );
    }
    ensure!(rows == 20_000, "{rows} rows");
    Ok(())
}

/// Pipelines of up to 64 MB whose answers are never read: the router stops reading, or closes; it does not store them.
pub fn pipelines_never_read(running: &Running) -> Result<()> {
    let part = [
        message(b'P', b"\0select repeat('y', 1000)\0\0\0"),
        message(b'B', b"\0\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', &[]),
    ]
    .concat();
    let block = part.repeat((64 << 10) / part.len());
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = logged_in(running)?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        let mut sent = 0;
        while sent < 64 << 20 {
            match stream.write(&block) {
                Ok(count) => sent += count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => return Err(error).context("the router closed a pipeline"),
            }
        }
        println!("a pipeline that is not read: {} MB were taken", sent >> 20);
        ensure!(
            sent < 64 << 20,
            "64 MB of a pipeline were taken while nothing was read"
        );
        streams.push(stream);
    }
    still_well(running)
}

/// Values of several megabytes pass in both directions.
pub fn large_values_pass(running: &Running) -> Result<()> {
    let sql = format!(
        "SELECT md5('{0}') = md5('{0}'), length('{0}');",
        "z".repeat(8 << 20)
    );
    ensure!(running.psql(&sql) == "t|8388608", "a large statement");
    let length = running
        .psql("SELECT length(repeat('x', 30000000) || 'y'), repeat('w', 3000000);")
        .len();
    ensure!(
        length == 3_000_000 + 1 + "30000001".len(),
        "a large value: {length}"
    );
    Ok(())
}
