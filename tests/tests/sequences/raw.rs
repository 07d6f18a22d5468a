//! A client that speaks the protocol byte by byte: scripts of messages in, the server's messages out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One message from the server, as text that can be compared.
pub type Reply = String;

pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Text that the end of a script asks for, so that the reader knows that all earlier replies are in.
const END: &str = "end of the script";

impl RawClient {
    pub fn connect(port: u16, user: &str, database: &str) -> RawClient {
        RawClient::connect_with(port, user, database, &[])
    }

    /// With settings in the start-up packet.
    pub fn connect_with(
        port: u16,
        user: &str,
        database: &str,
        settings: &[(&str, &str)],
    ) -> RawClient {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a valid timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut client = RawClient {
            stream,
            buffer: Vec::new(),
        };
        let mut body = 196_608u32.to_be_bytes().to_vec();
        let pairs = [("user", user), ("database", database)];
        for (name, value) in pairs.iter().chain(settings) {
            for text in [name, value] {
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
        }
        body.push(0);
        let mut packet = u32::try_from(body.len() + 4)
            .expect("short")
            .to_be_bytes()
            .to_vec();
        packet.extend(body);
        client.stream.write_all(&packet).expect("the server reads");
        loop {
            match client.message() {
                Some((b'Z', _)) => return client,
                Some((b'E', body)) => panic!("login failed: {}", error_text(&body)),
                Some(_) => {}
                None => panic!("the server closed the connection at login"),
            }
        }
    }

    /// Sends the script in one write and leaves.
    #[allow(
        dead_code,
        reason = "one of the two test programs that use this file needs it"
    )]
    pub fn send(mut self, script: &[&str]) {
        let bytes: Vec<u8> = script.iter().flat_map(|line| encode(line)).collect();
        self.stream.write_all(&bytes).expect("the server reads");
    }

    /// Sends the script in one write and reads all replies, up to the end of the connection if it comes.
    pub fn run(&mut self, script: &[&str]) -> Vec<Reply> {
        let mut bytes = Vec::new();
        for line in script {
            bytes.extend(encode(line));
        }
        let closes = script.last().is_some_and(|line| *line == "X");
        if !closes {
            // A Sync first: after an error in the extended protocol the probe would be skipped.
            bytes.extend(encode("S"));
            bytes.extend(encode(&format!("Q select '{END}'")));
        }
        self.stream.write_all(&bytes).expect("the server reads");
        let mut replies = Vec::new();
        let mut ended = false;
        while let Some((tag, body)) = self.message() {
            let text = describe(tag, &body);
            ended |= text.contains(END);
            replies.push(text);
            if ended && tag == b'Z' {
                return replies;
            }
        }
        replies.push("EOF".to_string());
        replies
    }

    /// Sends one Query and reads its replies, with nothing behind it.
    #[allow(
        dead_code,
        reason = "one of the two test programs that use this file needs it"
    )]
    pub fn run_alone(&mut self, query: &str) -> Vec<Reply> {
        self.stream
            .write_all(&encode(query))
            .expect("the server reads");
        let mut replies = Vec::new();
        while let Some((tag, body)) = self.message() {
            replies.push(describe(tag, &body));
            if tag == b'Z' {
                break;
            }
        }
        replies
    }

    /// Sends the script in one write and reads until so many ReadyForQuery have come, or the connection ends.
    #[allow(
        dead_code,
        reason = "one of the two test programs that use this file needs it"
    )]
    pub fn run_to(&mut self, script: &[&str], ready: usize) -> Vec<Reply> {
        let bytes: Vec<u8> = script.iter().flat_map(|line| encode(line)).collect();
        self.stream.write_all(&bytes).expect("the server reads");
        let mut replies = Vec::new();
        let mut seen = 0;
        while seen < ready {
            let Some((tag, body)) = self.message() else {
                replies.push("EOF".to_string());
                break;
            };
            seen += usize::from(tag == b'Z');
            replies.push(describe(tag, &body));
        }
        replies
    }

    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if self.buffer.len() >= 5 {
                let length =
                    u32::from_be_bytes(self.buffer[1..5].try_into().expect("four bytes")) as usize;
                if self.buffer.len() > length {
                    let rest = self.buffer.split_off(length + 1);
                    let message = std::mem::replace(&mut self.buffer, rest);
                    return Some((message[0], message[5..].to_vec()));
                }
            }
            let mut chunk = [0; 8192];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply within the time limit: {error}"),
            }
        }
    }
}

/// Encodes one line of a script:
/// `Q sql`, `P name|sql|oid oid`, `B portal|statement|value,value` (text; `NULL`), `D S name`, `D P name`,
/// `E portal|max`, `C S name`, `C P name`, `H`, `S`, `X`, `d text` (a line of COPY data), `c`, `f reason`, and
/// `r T parts`: a message of type T whose body is the parts one after another, each `'text'` (a quote doubled) or hex.
pub fn encode(line: &str) -> Vec<u8> {
    if let Some(rest) = line.strip_prefix("r ") {
        let (tag, parts) = rest.split_at(1);
        return framed(tag, raw_body(parts));
    }
    let (tag, rest) = line.split_at(1);
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let mut body = Vec::new();
    let string = |body: &mut Vec<u8>, text: &str| {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    };
    match tag {
        "Q" => string(&mut body, rest),
        "P" => {
            let mut parts = rest.split('|');
            string(&mut body, parts.next().unwrap_or(""));
            string(&mut body, parts.next().unwrap_or(""));
            let types: Vec<u32> = parts
                .next()
                .unwrap_or("")
                .split_whitespace()
                .map(|oid| oid.parse().expect("an oid"))
                .collect();
            body.extend((types.len() as u16).to_be_bytes());
            for oid in types {
                body.extend(oid.to_be_bytes());
            }
        }
        "B" => {
            let mut parts = rest.split('|');
            string(&mut body, parts.next().unwrap_or(""));
            string(&mut body, parts.next().unwrap_or(""));
            body.extend(0u16.to_be_bytes());
            let values: Vec<&str> = parts
                .next()
                .map(|list| list.split(',').collect())
                .unwrap_or_default();
            body.extend((values.len() as u16).to_be_bytes());
            for value in values {
                if value == "NULL" {
                    body.extend((-1i32).to_be_bytes());
                } else {
                    body.extend((value.len() as i32).to_be_bytes());
                    body.extend_from_slice(value.as_bytes());
                }
            }
            body.extend(0u16.to_be_bytes());
        }
        "D" | "C" => {
            let (kind, name) = rest.split_at(1);
            body.extend_from_slice(kind.as_bytes());
            string(&mut body, name.trim_start());
        }
        "E" => {
            let mut parts = rest.split('|');
            string(&mut body, parts.next().unwrap_or(""));
            let max: i32 = parts
                .next()
                .unwrap_or("0")
                .parse()
                .expect("a number of rows");
            body.extend(max.to_be_bytes());
        }
        "d" => {
            body.extend_from_slice(rest.replace("\\t", "\t").as_bytes());
            body.push(b'\n');
        }
        "f" => string(&mut body, rest),
        "H" | "S" | "X" | "c" => {}
        other => panic!("unknown message {other:?} in a script"),
    }
    framed(tag, body)
}

fn framed(tag: &str, body: Vec<u8>) -> Vec<u8> {
    let mut message = tag.as_bytes().to_vec();
    message.extend(u32::try_from(body.len() + 4).expect("short").to_be_bytes());
    message.extend(body);
    message
}

fn raw_body(parts: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut rest = parts.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let mut end = 0;
            while quoted[end..].starts_with("''") || !quoted[end..].starts_with('\'') {
                end += if quoted[end..].starts_with("''") {
                    2
                } else {
                    1
                };
            }
            body.extend(quoted[..end].replace("''", "'").bytes());
            rest = quoted[end + 1..].trim_start();
        } else {
            let (hex, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            for at in (0..hex.len()).step_by(2) {
                body.push(u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits"));
            }
            rest = behind.trim_start();
        }
    }
    body
}

/// Errors and notices with all their fields in the order sent, so that equal texts are equal bytes.
fn describe(tag: u8, body: &[u8]) -> Reply {
    let tag_text = char::from(tag);
    match tag {
        b'E' | b'N' => format!("{tag_text} {}", error_text(body)),
        b'Z' => format!("Z {}", char::from(body[0])),
        _ => format!("{tag_text} {}", body.escape_ascii()),
    }
}

fn error_text(body: &[u8]) -> String {
    let fields: Vec<String> = body
        .split(|byte| *byte == 0)
        .filter(|field| !field.is_empty())
        .map(|field| field.escape_ascii().to_string())
        .collect();
    fields.join(" | ")
}
