//! What one session has written and seen on each shard, so that it never misses its own commit and never goes back in
//! time when it reads from a replica.
//!
//! A mark is a tick of the health module's clock, taken after the acknowledgement has come in. A replica may serve the
//! session when it has replayed a sample of the primary's position that was begun after the tick. No write waits for
//! any of this: the sample is taken in the background, and until then the primary serves.

use crate::health::{EndpointId, Health, ShardMarks};
use shardgate_shard_map::ShardId;

/// The marks of one session; shards that it has not used have none.
#[derive(Debug, Default)]
pub struct Marks {
    shards: Vec<(ShardId, ShardMarks)>,
}

/// What a finished transaction or statement was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Not proven to be read-only.
    Wrote,
    /// A read that was routed with regard to the marks, so all that was seen before is seen there as well.
    Read,
    /// A read of a replica that was asked for by hand, whatever the session had seen.
    ReadAnyway,
}

impl Marks {
    /// All zero for a shard that was not used yet.
    pub fn of(&self, shard: ShardId) -> ShardMarks {
        self.shards
            .iter()
            .find(|(id, _)| *id == shard)
            .map(|(_, marks)| *marks)
            .unwrap_or_default()
    }

    /// Notes a deed on `endpoint`. To be called when its last reply has arrived and before the client is told.
    pub fn settled(&mut self, shard: ShardId, endpoint: EndpointId, deed: Deed, health: &Health) {
        let tick = health.tick();
        note(self.entry(shard), endpoint, deed, tick);
        health.need_sample(shard, tick);
    }

    fn entry(&mut self, shard: ShardId) -> &mut ShardMarks {
        let at = match self.shards.iter().position(|(id, _)| *id == shard) {
            Some(at) => at,
            None => {
                self.shards.push((shard, ShardMarks::default()));
                self.shards.len() - 1
            }
        };
        &mut self.shards[at].1
    }
}

fn note(marks: &mut ShardMarks, endpoint: EndpointId, deed: Deed, tick: u64) {
    match deed {
        // What a transaction wrote it may have read as well.
        Deed::Wrote => {
            *marks = ShardMarks {
                write: tick,
                read: tick,
                read_on: Some(endpoint),
            }
        }
        Deed::Read => {
            *marks = ShardMarks {
                read: tick,
                read_on: Some(endpoint),
                ..*marks
            }
        }
        // The replica may be behind what was seen elsewhere, so it gets no privilege.
        Deed::ReadAnyway => {
            *marks = ShardMarks {
                read: tick,
                read_on: None,
                ..*marks
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deed_raises_what_it_must() {
        let (a, b) = (EndpointId(1), EndpointId(2));
        let mut marks = ShardMarks::default();
        let mut check = |endpoint, deed, tick, expect: (u64, u64, Option<EndpointId>)| {
            note(&mut marks, endpoint, deed, tick);
            assert_eq!((marks.write, marks.read, marks.read_on), expect);
        };
        check(a, Deed::Read, 1, (0, 1, Some(a)));
        check(a, Deed::Wrote, 2, (2, 2, Some(a)));
        check(b, Deed::Read, 3, (2, 3, Some(b)));
        check(a, Deed::ReadAnyway, 4, (2, 4, None));
        check(b, Deed::Read, 5, (2, 5, Some(b)));
    }

    #[test]
    fn shards_have_marks_of_their_own() {
        let mut marks = Marks::default();
        marks.entry(ShardId(2)).write = 7;
        assert_eq!(marks.of(ShardId(2)).write, 7);
        assert_eq!(marks.of(ShardId(1)), ShardMarks::default());
    }
}
