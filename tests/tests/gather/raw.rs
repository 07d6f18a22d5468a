//! A client that sees every message. What differs between any two servers is left out of what it shows: object ids of
//! tables, and where in a server's source an error was raised.

use bytes::{Buf, BytesMut};
use shardgate_wire::backend::{data_row, parameter_description, row_description};
use shardgate_wire::frame::{Limits, peek};
use shardgate_wire::frontend::put;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Object ids from here on are those of a database's own objects (FirstNormalObjectId).
const OWN_OBJECTS: u32 = 16384;

#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    input: BytesMut,
    pub pid: u32,
    pub secret: Vec<u8>,
}

impl Raw {
    pub async fn connect(port: u16, database: &str, user: &str) -> Raw {
        let mut stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("a connection");
        let mut out = BytesMut::new();
        put::startup(&mut out, &[("user", user), ("database", database)]);
        stream.write_all(&out).await.expect("the start-up is sent");
        let mut raw = Raw {
            stream,
            input: BytesMut::new(),
            pid: 0,
            secret: Vec::new(),
        };
        loop {
            let (tag, body) = raw.message().await;
            match tag {
                b'K' => {
                    raw.pid = u32::from_be_bytes(body[..4].try_into().expect("four bytes"));
                    raw.secret = body[4..].to_vec();
                }
                b'Z' => return raw,
                b'E' => panic!("no login: {}", show(b'E', &body)),
                _ => {}
            }
        }
    }

    /// The next message: its tag and body.
    pub async fn message(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Ok(Some(frame)) = peek(&self.input, &Limits::backend())
                && self.input.len() >= frame.len
            {
                let body = self.input[5..frame.len].to_vec();
                self.input.advance(frame.len);
                return (frame.tag, body);
            }
            let read = self
                .stream
                .read_buf(&mut self.input)
                .await
                .expect("a server");
            assert!(read > 0, "the server has closed the connection");
        }
    }

    /// The next message as a line.
    pub async fn message_shown(&mut self) -> String {
        let (tag, body) = self.message().await;
        show(tag, &body)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// Everything up to ReadyForQuery, as lines.
    pub async fn answer(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let (tag, body) = self.message().await;
            // Notices and reports of settings may come at any time.
            if !matches!(tag, b'N' | b'S' | b'A') {
                lines.push(show(tag, &body));
            }
            if tag == b'Z' {
                return lines;
            }
        }
    }

    pub async fn query(&mut self, sql: &str) -> Vec<String> {
        let mut out = BytesMut::new();
        put::query(&mut out, sql.as_bytes());
        self.send(&out).await;
        self.answer().await
    }

    /// Parse, Bind, Describe of the portal, Execute and Sync in one piece. `params`: in text.
    pub async fn extended(
        &mut self,
        sql: &str,
        params: &[Option<&str>],
        binary: bool,
    ) -> Vec<String> {
        let mut out = BytesMut::new();
        put::parse(&mut out, b"", sql.as_bytes(), &[]);
        bind(&mut out, "", "", params, binary);
        put::describe(&mut out, b'P', b"");
        put::execute(&mut out, b"", 0);
        put::sync(&mut out);
        self.send(&out).await;
        self.answer().await
    }
}

/// A Bind with parameters in text.
pub fn bind(
    out: &mut BytesMut,
    portal: &str,
    statement: &str,
    params: &[Option<&str>],
    binary: bool,
) {
    let mut made = BytesMut::new();
    let values: Vec<Option<&[u8]>> = params.iter().map(|p| p.map(str::as_bytes)).collect();
    put::bind_text(&mut made, portal.as_bytes(), statement.as_bytes(), &values);
    if binary {
        // The list of result formats at the end is empty.
        made.truncate(made.len() - 2);
        made.extend_from_slice(&[0, 1, 0, 1]);
        let length = u32::try_from(made.len() - 1).expect("a short message");
        made[1..5].copy_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(&made);
}

/// The lines with their rows in an order of its own.
pub fn sorted(mut lines: Vec<String>) -> Vec<String> {
    let mut rows: Vec<String> = lines
        .iter()
        .filter(|l| l.starts_with("D "))
        .cloned()
        .collect();
    rows.sort();
    let mut rows = rows.into_iter();
    for line in lines.iter_mut().filter(|l| l.starts_with("D ")) {
        *line = rows.next().expect("as many rows");
    }
    lines
}

fn ty(oid: u32) -> String {
    if oid < OWN_OBJECTS {
        oid.to_string()
    } else {
        "own".to_owned()
    }
}

/// One message as a line.
fn show(tag: u8, body: &[u8]) -> String {
    let letter = char::from(tag);
    match tag {
        b'T' => {
            let fields = row_description(body).expect("a description");
            let columns: Vec<String> = fields
                .iter()
                .map(|field| {
                    let name = String::from_utf8_lossy(field.name);
                    let ty = ty(field.type_oid);
                    let (size, modifier, format) = (field.size, field.modifier, field.format);
                    format!("{name}:{ty}:{size}:{modifier}:{format}")
                })
                .collect();
            format!("T {}", columns.join(" "))
        }
        b'D' => {
            let values: Vec<String> = data_row(body)
                .expect("a row")
                .map(|value| match value {
                    None => "NULL".to_owned(),
                    Some(value) => format!("'{}'", value.escape_ascii()),
                })
                .collect();
            format!("D {}", values.join(" "))
        }
        b't' => {
            let types = parameter_description(body).expect("types");
            let types: Vec<String> = types.iter().map(|oid| ty(*oid)).collect();
            format!("t {}", types.join(" "))
        }
        b'E' => {
            let fields = error_fields(body);
            let parts: Vec<String> = "SCMDHP"
                .chars()
                .filter_map(|code| Some(format!("{code}={}", fields.get(&code)?)))
                .collect();
            format!("E {}", parts.join(" "))
        }
        _ => format!("{letter} {}", body.escape_ascii()),
    }
}

pub fn error_fields(body: &[u8]) -> BTreeMap<char, String> {
    body.split(|byte| *byte == 0)
        .filter_map(|field| {
            let (code, text) = field.split_first()?;
            Some((
                char::from(*code),
                String::from_utf8_lossy(text).into_owned(),
            ))
        })
        .collect()
}
