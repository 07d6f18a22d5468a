//! A small blocking client of the protocol, for the cases that pgbench has no load for.

use crate::servers::USER;
use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use shardgate_wire::backend::ErrorFields;
use shardgate_wire::frontend::put;
use shardgate_wire::{Limits, frame};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// How long nothing may come.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What is read at once.
const CHUNK: usize = 64 * 1024;

/// A logged-in connection; trust only.
pub struct Client {
    stream: TcpStream,
    input: BytesMut,
}

impl Client {
    pub fn connect(port: u16, database: &str, limits: &Limits) -> Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let mut client = Client {
            stream,
            input: BytesMut::new(),
        };
        let mut startup = BytesMut::new();
        put::startup(&mut startup, &[("user", USER), ("database", database)]);
        client.send(&startup)?;
        client.until(b'Z', limits)?;
        Ok(client)
    }

    /// A simple query and all of its answer.
    pub fn query(&mut self, sql: &str, limits: &Limits) -> Result<()> {
        let mut message = BytesMut::new();
        put::query(&mut message, sql.as_bytes());
        self.send(&message)?;
        self.until(b'Z', limits)
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("write to the proxy")
    }

    /// Reads and drops messages up to one of this type.
    ///
    /// # Errors
    /// An ErrorResponse, with its text; the end of the connection.
    pub fn until(&mut self, tag: u8, limits: &Limits) -> Result<()> {
        loop {
            if self.drop_messages(tag, limits)? {
                // An idle connection keeps no buffer, for there may be ten thousand.
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                return Ok(());
            }
            self.read()?;
        }
    }

    /// Reads what has come, at most 64 KiB; the number of bytes.
    pub fn read(&mut self) -> Result<usize> {
        let begin = self.input.len();
        self.input.resize(begin + CHUNK, 0);
        let room = self.input.get_mut(begin..).unwrap_or_default();
        let read = loop {
            match self.stream.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let read = read.context("read from the proxy")?;
        self.input.truncate(begin + read);
        if read == 0 {
            bail!("the proxy has closed the connection");
        }
        Ok(read)
    }

    /// Drops the whole messages that are there; true after one of this type, where it stops.
    pub fn drop_messages(&mut self, tag: u8, limits: &Limits) -> Result<bool> {
        while let Some(message) = frame::peek(&self.input, limits)? {
            if self.input.len() < message.len {
                break;
            }
            if message.tag == b'E' {
                let body = self.input.get(5..message.len).unwrap_or_default();
                let text = ErrorFields::parse(body)?.message();
                bail!("the proxy answered: {}", text.unwrap_or_default());
            }
            self.input.advance(message.len);
            if message.tag == tag {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
