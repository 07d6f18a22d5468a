//! What a client that has logged in may send wrongly.

use crate::{Random, logged_in, message, messages, send, until};
use anyhow::{Context, Result, bail, ensure};
use shardgate_tests::Running;
use std::net::Shutdown;

/// An error comes, or a close; when the connection stays, a query behind a Sync is answered.
fn error_or_close(running: &Running, name: &str, bytes: &[u8]) -> Result<()> {
    let mut stream = logged_in(running)?;
    send(&mut stream, bytes)?;
    send(&mut stream, &message(b'S', &[]))?;
    send(&mut stream, &message(b'Q', b"select 'still here'\0"))?;
    stream.shutdown(Shutdown::Write).ok();
    let (answer, closed) = until(&mut stream, |_| false)?;
    ensure!(closed, "{name}: neither an answer nor a close");
    let list = messages(&answer);
    let error = list.iter().any(|(tag, _)| *tag == b'E');
    let goes_on = answer.windows(10).any(|bytes| bytes == b"still here");
    ensure!(
        error || goes_on || list.is_empty(),
        "{name}: {:?}",
        answer.escape_ascii().to_string()
    );
    let known = list
        .iter()
        .all(|(tag, _)| b"123tTnDCsIGHdcENSAZ".contains(tag));
    ensure!(
        known,
        "{name}: an unknown reply in {:?}",
        answer.escape_ascii().to_string()
    );
    Ok(())
}

pub fn malformed(running: &Running) -> Result<()> {
    let stated =
        |tag: u8, length: u32, rest: &[u8]| [&[tag][..], &length.to_be_bytes(), rest].concat();
    let cases: Vec<(String, Vec<u8>)> = [
        ("length 0", stated(b'Q', 0, &[])),
        ("length 3", stated(b'Q', 3, &[])),
        (
            "a negative length",
            stated(b'Q', 0xffff_ffff, b"select 1\0"),
        ),
        ("the lowest length", stated(b'P', 0x8000_0000, &[])),
        ("a length of 2 GiB", stated(b'Q', 0x7fff_ffff, b"select")),
        (
            "a length of 2 GiB for COPY data",
            stated(b'd', 0x7fff_fffe, b"1\n"),
        ),
        ("an empty password", message(b'p', &[])),
        ("a password of length 0", stated(b'p', 0, &[])),
        ("a query without its end", message(b'Q', b"select 1")),
        (
            "a query with a residue",
            message(b'Q', b"select 1\0residue"),
        ),
        ("an empty query message", message(b'Q', &[])),
        (
            "a query of bytes that are no text",
            message(b'Q', b"select '\xff\xfe\xc0'\0"),
        ),
        ("a zero in a query", message(b'Q', b"select '\0'\0")),
        ("a Sync with a body", message(b'S', b"body")),
        ("a Flush with a body", message(b'H', b"body")),
        ("a Parse without a count", message(b'P', b"\0select 1\0")),
        (
            "a Parse with a wrong count",
            message(b'P', b"\0select 1\0\xff\xff"),
        ),
        (
            "a Parse with a residue",
            message(b'P', b"\0select 1\0\0\0more"),
        ),
        ("an empty Parse", message(b'P', &[])),
        ("a Bind of nothing", message(b'B', &[])),
        ("a Bind with 65535 formats", message(b'B', b"\0\0\xff\xff")),
        (
            "a Bind with a negative length",
            message(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        ),
        (
            "a Bind with a length beyond its end",
            message(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xffabc\0\0"),
        ),
        (
            "a Bind with an unknown format",
            message(b'B', b"\0\0\0\x01\0\x07\0\0\0\0"),
        ),
        ("a Describe of nothing", message(b'D', &[])),
        ("a Describe of an unknown kind", message(b'D', b"X\0")),
        ("a Close of an unknown kind", message(b'C', b"\xff\0")),
        ("an Execute without a count", message(b'E', b"\0")),
        (
            "an Execute with a negative count",
            message(b'E', b"\0\xff\xff\xff\xff"),
        ),
        ("an Execute of 20 kB", message(b'E', &[b'a'; 20_000])),
        (
            "a function call",
            message(b'F', b"\0\0\x04\x35\0\0\0\0\0\0"),
        ),
        ("a function call of nothing", message(b'F', &[])),
        (
            "COPY data out of place",
            [
                message(b'd', b"1\n"),
                message(b'c', &[]),
                message(b'f', b"no\0"),
            ]
            .concat(),
        ),
        ("a COPY failure without an end", message(b'f', b"no")),
        ("a message of a server", message(b'Z', b"I")),
        (
            "a second start-up message",
            crate::startup(&[("user", "postgres")]),
        ),
    ]
    .into_iter()
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .chain(
        (0..=255u8)
            .filter(|tag| !b"PBDECHSQFdcfX".contains(tag))
            .map(|tag| (format!("type {tag}"), message(tag, b"body"))),
    )
    .collect();
    for (name, bytes) in &cases {
        error_or_close(running, name, bytes).with_context(|| name.clone())?;
    }
    println!("{} malformed messages: an error, or a close", cases.len());
    Ok(())
}

/// A good stream of messages with a few bytes changed.
pub fn mutated(running: &Running) -> Result<()> {
    let good = [
        message(b'Q', b"select 1\0"),
        message(b'P', b"s\0select $1::int8 + 1\0\0\x01\0\0\0\x14"),
        message(
            b'B',
            b"p\0s\0\0\x01\0\x01\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x05\0\0",
        ),
        message(b'D', b"Pp\0"),
        message(b'E', b"p\0\0\0\0\0"),
        message(b'C', b"Ss\0"),
        message(b'S', &[]),
        message(b'Q', b"begin; select 2; commit\0"),
        message(b'Q', b"set application_name = 'x'\0"),
    ]
    .concat();
    let mut random = Random::seeded()?;
    for round in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next().to_le_bytes()[0];
        }
        if round % 3 == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        let mut stream = logged_in(running)?;
        send(&mut stream, &bytes)?;
        stream.shutdown(Shutdown::Write).ok();
        let (answer, closed) = until(&mut stream, |_| false)?;
        if !closed {
            bail!(
                "round {round}: not closed, {:?} for {:?}",
                answer.escape_ascii().to_string(),
                bytes.escape_ascii().to_string()
            );
        }
    }
    println!("300 mutated streams ended");
    Ok(())
}
