//! What strangers send before they have proven who they are.

use crate::{ANSWER, Random, connect, message, messages, send, startup, until, until_closed};
use anyhow::{Context, Result, ensure};
use shardgate_tests::Running;
use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

pub fn random_bytes(running: &Running) -> Result<()> {
    let mut random = Random::seeded()?;
    for round in 0..150 {
        let mut stream = connect(running)?;
        let length = 1 + random.below(if round % 10 == 0 { 60_000 } else { 200 });
        let mut bytes = random.bytes(length);
        // Half of them begin as a start-up message of this length would, a few as a start-up message.
        if round % 2 == 0 && length >= 8 {
            let stated = [length as u32, random.below(20_000) as u32, 8][random.below(3)];
            bytes[..4].copy_from_slice(&stated.to_be_bytes());
            if round % 4 == 0 {
                bytes[4..8].copy_from_slice(&196_608u32.to_be_bytes());
            }
        }
        send(&mut stream, &bytes)?;
        let _closed = stream.shutdown(Shutdown::Write);
        let answer = until_closed(&mut stream).with_context(|| format!("round {round}"))?;
        only_errors(&answer).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// Nothing at all, the refusal of encryption, or one error.
fn only_errors(answer: &[u8]) -> Result<()> {
    let rest = match answer {
        [b'N', rest @ ..] if !matches!(rest, [0, 0, ..]) => rest,
        other => other,
    };
    let list = messages(rest);
    let fine = list.iter().all(|(tag, _)| matches!(tag, b'E' | b'v')) && list.len() <= 2;
    ensure!(
        fine,
        "the router said {:?}",
        answer.escape_ascii().to_string()
    );
    Ok(())
}

pub fn malformed(running: &Running) -> Result<()> {
    let good = startup(&[("user", "postgres"), ("database", "app")]);
    let request = |code: u32| [8u32.to_be_bytes(), code.to_be_bytes()].concat();
    let with_length = |length: u32, rest: &[u8]| [&length.to_be_bytes()[..], rest].concat();
    let version = 196_608u32.to_be_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("length 0", with_length(0, &[])),
        ("length 3", with_length(3, &[0; 3])),
        ("length 4", with_length(4, &[])),
        ("length 7", with_length(7, &[0, 3, 0])),
        ("a negative length", with_length(0xffff_fff0, &version)),
        ("a length of 2 GiB", with_length(0x7fff_ffff, &version)),
        (
            "a start-up message of 10001 bytes",
            with_length(10_001, &[&version[..], &[b'a'; 9_993]].concat()),
        ),
        (
            "no end",
            with_length(16, &[&version[..], b"user\0abc"].concat()),
        ),
        ("no user", startup(&[("database", "app")])),
        (
            "two users",
            startup(&[("user", "postgres"), ("user", "app"), ("database", "app")]),
        ),
        (
            "a long user",
            startup(&[("user", &"u".repeat(64)), ("database", "app")]),
        ),
        (
            "another database",
            startup(&[("user", "postgres"), ("database", "elsewhere")]),
        ),
        (
            "replication",
            startup(&[
                ("user", "postgres"),
                ("database", "app"),
                ("replication", "database"),
            ]),
        ),
        (
            "options of the postmaster",
            startup(&[
                ("user", "postgres"),
                ("database", "app"),
                ("options", "-W 60"),
            ]),
        ),
        ("protocol 2", with_length(8, &131_072u32.to_be_bytes())),
        (
            "protocol 4",
            with_length(9, &[&262_144u32.to_be_bytes()[..], &[0]].concat()),
        ),
        (
            "TLS twice",
            [request(80_877_103), request(80_877_103)].concat(),
        ),
        (
            "bytes behind the request of TLS",
            [request(80_877_103), good.clone()].concat(),
        ),
        (
            "a short cancel",
            with_length(12, &[&80_877_102u32.to_be_bytes()[..], &[1; 4]].concat()),
        ),
        (
            "a cancel of nobody",
            with_length(16, &[&80_877_102u32.to_be_bytes()[..], &[1; 8]].concat()),
        ),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        (
            "a query without a start-up message",
            message(b'Q', b"select 1\0"),
        ),
    ];
    for (name, bytes) in &cases {
        let mut stream = connect(running)?;
        send(&mut stream, bytes)?;
        let answer = until_closed(&mut stream).with_context(|| (*name).to_owned())?;
        ensure!(
            !messages(&answer).iter().any(|(tag, _)| *tag == b'Z'),
            "{name}: let in"
        );
        ensure!(
            !answer.windows(8).any(|bytes| bytes == b"panicked"),
            "{name}: {answer:?}"
        );
    }
    println!("{} malformed openings closed", cases.len());
    truncated(running, &good)
}

/// Every beginning of a good start-up message, and then the end of the connection.
fn truncated(running: &Running, good: &[u8]) -> Result<()> {
    for length in 0..good.len() {
        let mut stream = connect(running)?;
        send(&mut stream, &good[..length])?;
        stream.shutdown(Shutdown::Write)?;
        let answer = until_closed(&mut stream).with_context(|| format!("{length} bytes"))?;
        only_errors(&answer)?;
    }
    Ok(())
}

/// 300 MB from strangers: the router closes long before.
pub fn floods(running: &Running) -> Result<()> {
    let announced = [&0x7fff_fff0u32.to_be_bytes()[..], &196_608u32.to_be_bytes()].concat();
    let encryption = [8u32.to_be_bytes(), 80_877_103u32.to_be_bytes()].concat();
    let openings: [(&str, Vec<u8>); 3] = [
        ("zeros", Vec::new()),
        ("a long start-up message", announced),
        ("behind the request of TLS", encryption),
    ];
    for (name, opening) in openings {
        let mut stream = connect(running)?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        let start = Instant::now();
        let mut sent = 0u64;
        let mut taken = stream.write_all(&opening);
        let block = vec![0u8; 1 << 20];
        while taken.is_ok() && sent < 300 << 20 {
            taken = stream.write_all(&block);
            sent += 1 << 20;
        }
        println!(
            "{name}: closed after {} MB and {:?}",
            sent >> 20,
            start.elapsed()
        );
        ensure!(taken.is_err(), "{name}: 300 MB were taken");
    }
    Ok(())
}

/// Connections that send a byte now and then are closed when the time to log in is over.
pub fn slow_loris(running: &Running) -> Result<()> {
    let good = startup(&[
        ("user", "postgres"),
        ("database", "app"),
        ("application_name", &"a".repeat(2000)),
    ]);
    let start = Instant::now();
    let mut streams = (0..40)
        .map(|_| connect(running))
        .collect::<Result<Vec<_>>>()?;
    let mut silent = (0..40)
        .map(|_| connect(running))
        .collect::<Result<Vec<_>>>()?;
    let mut position = 0;
    let mut alive = vec![true; streams.len()];
    while alive.iter().any(|alive| *alive) {
        ensure!(start.elapsed() < ANSWER, "slow clients are not closed");
        for (stream, alive) in streams.iter_mut().zip(&mut alive) {
            *alive = *alive && stream.write_all(&good[position..=position]).is_ok();
        }
        position += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("slow clients closed after {:?}", start.elapsed());
    for stream in &mut silent {
        let (_, closed) = until(stream, |_| false)?;
        ensure!(closed, "a silent client is not closed");
    }
    Ok(())
}
