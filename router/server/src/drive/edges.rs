//! Edges of statements on several shards, where a router may have been told to die or to stop.

use super::slots::Place;
use crate::stops::Stops;
use bytes::{Buf, BytesMut};
use shardgate_session::Step;

impl Stops {
    /// Looks for a chosen edge among steps that are about to be carried out.
    ///
    /// What belongs before the edge is written first: the buffers of all slots, but of those that stand before an edge of
    /// their own from here on. So a router can die with one PREPARE sent and the next one not.
    pub(super) fn look(&self, steps: &[Step], buffers: &mut [BytesMut], places: &[Place]) {
        for (number, step) in steps.iter().enumerate() {
            let Step::Edge { edge, .. } = step else {
                continue;
            };
            let Some(how) = self.reached(edge.name()) else {
                continue;
            };
            let later = steps.get(number..).unwrap_or_default();
            for (index, (buffer, place)) in buffers.iter_mut().zip(places).enumerate() {
                let withheld = later.iter().any(
                    |step| matches!(step, Step::Edge { slot, .. } if usize::from(slot.0) == index),
                );
                if let (false, Place::Attached(attached)) = (withheld, place) {
                    write_now(&attached.link.stream, buffer);
                }
            }
            how.carry_out(edge.name());
        }
    }
}

/// Writes what the socket takes at once, which is all of a few short statements.
fn write_now(stream: &tokio::net::TcpStream, buffer: &mut BytesMut) {
    while !buffer.is_empty() {
        match stream.try_write(buffer) {
            Ok(count) if count > 0 => buffer.advance(count),
            Ok(_) | Err(_) => return,
        }
    }
}
