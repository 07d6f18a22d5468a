//! Where in the client's text an error of the statement over gathered rows is: the server counts in the text that it was
//! sent.

use bytes::{BufMut, BytesMut};
use shardgate_plan::Gather;
use std::ops::Range;
use std::sync::Arc;

/// The statement whose errors are to speak of the client's text.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    pub gather: Arc<Gather>,
    /// The client's whole text, and the statement in it.
    pub text: Arc<str>,
    pub piece: Range<usize>,
}

impl Positions {
    /// The ErrorResponse with its position (field P) in the client's text, or without one if what is meant is not the
    /// client's. All other fields stay as they are.
    pub fn of_client(&self, frame: &[u8]) -> BytesMut {
        let mut made = BytesMut::with_capacity(frame.len());
        made.put_u8(b'E');
        made.put_i32(0);
        let mut rest = frame.get(5..).unwrap_or_default();
        while let Some((code, behind)) = rest.split_first() {
            if *code == 0 {
                break;
            }
            let Some(end) = behind.iter().position(|byte| *byte == 0) else {
                break;
            };
            let (text, next) = behind.split_at(end);
            rest = next.get(1..).unwrap_or_default();
            if *code == b'P' {
                if let Some(position) = self.moved(text) {
                    made.put_u8(b'P');
                    made.extend_from_slice(position.to_string().as_bytes());
                    made.put_u8(0);
                }
            } else {
                made.put_u8(*code);
                made.extend_from_slice(text);
                made.put_u8(0);
            }
        }
        made.put_u8(0);
        let length = i32::try_from(made.len() - 1).unwrap_or(i32::MAX);
        if let Some(word) = made.get_mut(1..5) {
            word.copy_from_slice(&length.to_be_bytes());
        }
        made
    }

    fn moved(&self, position: &[u8]) -> Option<usize> {
        let position = std::str::from_utf8(position).ok()?.parse().ok()?;
        let statement = self.text.get(self.piece.clone())?;
        let before = self.text.get(..self.piece.start)?.chars().count();
        Some(before + self.gather.client_position(position, statement)?)
    }
}
