//! One client that reads a large answer at a bounded rate: what the proxy holds of it meanwhile.

use crate::client::Client;
use crate::end::End;
use crate::figures::Figures;
use crate::targets::Target;
use crate::usage::{self, Cpu};
use anyhow::Result;
use bytes::BytesMut;
use shardgate_wire::Limits;
use shardgate_wire::frontend::put;
use std::time::{Duration, Instant};

/// The client reads so many bytes in a second; a server makes many times more.
pub const BYTES_PER_SECOND: u64 = 100_000_000;
/// Rows of about 1000 bytes.
const ROWS_PER_MEGABYTE: u64 = 1000;
pub fn run(target: &mut Target, megabytes: u32, end: &End) -> Result<Figures> {
    let limits = Limits::backend();
    target.restart()?;
    let mut client = Client::connect(target.port, target.database, &limits)?;
    client.query("SELECT count(*) FROM accounts_home", &limits)?;
    let processes = target.processes();
    usage::reset_peak(&processes);
    let (before, cpu) = (usage::resident(&processes)?, Cpu::of(&processes));
    let rows = u64::from(megabytes) * ROWS_PER_MEGABYTE;
    let sql = format!(
        "SELECT repeat(filler, 12) FROM accounts_home, generate_series(1, 1000) LIMIT {rows}"
    );
    let mut message = BytesMut::new();
    put::query(&mut message, sql.as_bytes());
    client.send(&message)?;
    let start = Instant::now();
    let mut bytes = 0u64;
    loop {
        bytes += u64::try_from(client.read()?)?;
        if client.drop_messages(b'Z', &limits)? {
            break;
        }
        end.check()?;
        let due = Duration::from_micros(bytes * 1_000_000 / BYTES_PER_SECOND);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let read = bytes as f64 / 1e6;
    Ok(Figures {
        per_second: Some(read / start.elapsed().as_secs_f64()),
        cpu_us: (!processes.is_empty())
            .then(|| Cpu::of(&processes).since(&cpu) as f64 / 1000.0 / read),
        peak_bytes: Some(usage::peak(&processes)? as f64).filter(|peak| *peak > 0.0),
        over_idle_bytes: (!processes.is_empty())
            .then(|| usage::peak(&processes).map(|peak| peak as f64 - before as f64))
            .transpose()?,
        ..Figures::default()
    })
}
