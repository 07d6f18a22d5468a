//! A server as far as the session's script needs one: it answers each message at once, with fixed bytes.

use bytes::BytesMut;
use shardgate_wire::backend::put as reply;
use shardgate_wire::{Limits, TxStatus, frame};

const INT8: u32 = 20;

/// The answers to one statement.
pub struct Server {
    /// What a Query is answered with, ReadyForQuery left out.
    answer: BytesMut,
    /// What an Execute is answered with.
    executed: BytesMut,
    described: BytesMut,
    limits: Limits,
}

impl Server {
    /// `rows` rows of one column, or none and no description.
    pub fn new(tag: &str, rows: Option<u32>) -> Server {
        let (mut described, mut executed) = (BytesMut::new(), BytesMut::new());
        match rows {
            None => reply::no_data(&mut described),
            Some(rows) => {
                let column = reply::ColumnDesc {
                    name: "abalance",
                    type_oid: INT8,
                    size: 8,
                };
                reply::row_description(&mut described, &[column]);
                for _ in 0..rows {
                    reply::data_row(&mut executed, &[Some(b"0")]);
                }
            }
        }
        reply::command_complete(&mut executed, tag);
        let mut answer = BytesMut::new();
        if rows.is_some() {
            answer.extend_from_slice(&described);
        }
        answer.extend_from_slice(&executed);
        Server {
            answer,
            executed,
            described,
            limits: Limits::frontend(1 << 20),
        }
    }

    /// Takes all messages out of `input` and writes the answers.
    ///
    /// `status` is the transaction's, for a Query that is BEGIN or COMMIT changes it.
    pub fn answer(&self, input: &mut BytesMut, status: &mut TxStatus, output: &mut BytesMut) {
        let mut rest: &[u8] = input;
        while let Some(frame) = frame::peek(rest, &self.limits).expect("messages") {
            let (message, behind) = rest.split_at(frame.len);
            match frame.tag {
                b'Q' => self.query(message, status, output),
                b'P' => reply::parse_complete(output),
                b'B' => reply::bind_complete(output),
                b'C' => reply::close_complete(output),
                b'D' => {
                    if message.get(5) == Some(&b'S') {
                        reply::parameter_description(output, &[INT8]);
                    }
                    output.extend_from_slice(&self.described);
                }
                b'E' => output.extend_from_slice(&self.executed),
                b'S' => reply::ready(output, *status),
                other => panic!("the server got a message of type {}", char::from(other)),
            }
            rest = behind;
        }
        input.clear();
    }

    fn query(&self, message: &[u8], status: &mut TxStatus, output: &mut BytesMut) {
        match message.get(5..).unwrap_or_default() {
            b"BEGIN\0" => {
                *status = TxStatus::InTransaction;
                reply::command_complete(output, "BEGIN");
            }
            b"COMMIT\0" => {
                *status = TxStatus::Idle;
                reply::command_complete(output, "COMMIT");
            }
            _ => output.extend_from_slice(&self.answer),
        }
        reply::ready(output, *status);
    }
}
