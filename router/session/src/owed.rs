//! The replies that one backend still owes, in order, with what each may look like.
//!
//! A count of ReadyForQuery is not enough to know whose reply a message is: an error in the extended protocol makes the
//! server skip everything up to the next Sync, a Query included. So every message that was sent has an entry, and every
//! message that comes must be allowed by the entry at the head. What is not allowed is doubt, and doubt closes the backend.

use crate::statements::Change;
use bytes::Bytes;
use shardgate_wire::backend::TxStatus;
use std::collections::VecDeque;

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Parse,
    Bind,
    DescribeStatement,
    DescribePortal,
    Execute {
        limited: bool,
    },
    Close,
    Sync,
    Query,
    /// A message of the extended protocol that can only fail.
    Provoked,
}

/// Whose reply it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The client's: it is passed on.
    Client,
    /// Ours: it is swallowed, and an error of it means what the purpose says.
    Router(Purpose),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Settings of the client, BEGIN and what was said in the transaction before: an error closes the backend.
    Prelude,
    /// A Parse that the client believes done: an error is the answer of the Bind behind it.
    Parse,
    /// Describe behind a repeated Parse, to compare the result's shape with what the client was told.
    Verify,
    /// Values of settings and names of temporary objects.
    ReadBack,
    /// Makes the server's transaction fail as the client's did; the error is expected.
    Poison,
    /// Ends a part of a pipeline, or a transaction, that the client knows nothing of.
    Finish,
    /// A step of a statement that runs on several shards.
    Several,
    /// A step of a write over several shards.
    Spread,
    /// Reads a shard's rows for a statement that home runs over them.
    Gather,
    /// Asks home for the columns of the tables of such a statement.
    Columns,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub kind: Kind,
    pub origin: Origin,
    /// For a Parse: the number in the router's name of the statement, so that a failed one is forgotten.
    pub number: Option<u64>,
    /// The client's statement that the entry speaks of: its name, and its id, since the name may be another's by now.
    pub name: Option<Bytes>,
    pub statement: Option<u64>,
    /// What the client's message has changed already, which is undone if the server skips it.
    pub change: Option<Change>,
    /// It is the Execute for which the connection was pinned.
    pub pins: bool,
    /// An error of it counts characters in the text over gathered rows.
    pub gathered: bool,
    /// DescribeStatement: ParameterDescription has come.
    described: bool,
}

impl Entry {
    pub fn client(kind: Kind) -> Entry {
        Entry {
            kind,
            origin: Origin::Client,
            number: None,
            name: None,
            statement: None,
            change: None,
            pins: false,
            gathered: false,
            described: false,
        }
    }

    pub fn router(kind: Kind, purpose: Purpose) -> Entry {
        Entry {
            kind,
            origin: Origin::Router(purpose),
            number: None,
            name: None,
            statement: None,
            change: None,
            pins: false,
            gathered: false,
            described: false,
        }
    }

    pub fn gathered(mut self) -> Entry {
        self.gathered = true;
        self
    }

    pub fn number(mut self, number: u64) -> Entry {
        self.number = Some(number);
        self
    }

    pub fn named(mut self, name: Bytes) -> Entry {
        self.name = Some(name);
        self
    }

    pub fn changing(mut self, change: Option<Change>) -> Entry {
        self.change = change;
        self
    }

    pub fn pinning(mut self, pins: bool) -> Entry {
        self.pins = pins;
        self
    }

    pub fn of(mut self, statement: u64) -> Entry {
        self.statement = Some(statement);
        self
    }
}

impl Entry {
    /// Whether the message is the last reply to the entry; None: it is no legal reply.
    fn takes(&mut self, tag: u8) -> Option<bool> {
        let last = match self.kind {
            Kind::Parse => tag == b'1',
            Kind::Bind => tag == b'2',
            Kind::Close => tag == b'3',
            Kind::Sync => tag == b'Z',
            Kind::DescribePortal => matches!(tag, b'T' | b'n'),
            // It can only fail.
            Kind::Provoked => false,
            Kind::DescribeStatement => {
                if tag == b't' && !self.described {
                    self.described = true;
                    return Some(false);
                }
                self.described && matches!(tag, b'T' | b'n')
            }
            Kind::Execute { limited } => match tag {
                b'D' => return Some(false),
                b's' => limited,
                other => matches!(other, b'C' | b'I'),
            },
            Kind::Query => match tag {
                b'T' | b'D' | b'C' | b'I' | b'G' | b'H' | b'd' | b'c' => return Some(false),
                other => other == b'Z',
            },
        };
        last.then_some(true)
    }
}

#[derive(Debug)]
enum Item {
    Reply(Entry),
    /// A reply that the router makes itself; its turn is behind what stands before it. With what is undone if it is
    /// skipped.
    Made(Bytes, Option<Change>),
}

#[derive(Debug, Default)]
pub(crate) struct Owed {
    queue: VecDeque<Item>,
    /// COPY FROM STDIN is under way: the server reads CopyData.
    pub copy_in: bool,
}

/// What a message from the server is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A reply to the head entry, which stays.
    Part(Origin),
    /// The last reply to an entry, which was removed.
    Last(Entry),
    /// An error in the extended protocol; the entry was removed, and behind it all up to the next Sync (`skipped`).
    Error { entry: Entry, skipped: Vec<Entry> },
    /// An error that belongs to a Query or a Sync: ReadyForQuery follows.
    ErrorPart(Entry),
    /// Not a legal reply.
    Doubt,
}

/// What a message says that is passed on without another look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// A Query was begun, or the Execute is done for which the connection was pinned: the pin has its reason.
    Run,
    Other,
}

impl Owed {
    /// As `judge`, for the messages in which the session has no part: replies to the client that end nothing but their own
    /// entry. None, and nothing is changed: `judge` is to be asked.
    pub fn pass(&mut self, tag: u8) -> Option<Passed> {
        let Some(Item::Reply(head)) = self.queue.front() else {
            return None;
        };
        if head.origin != Origin::Client || self.copy_in {
            return None;
        }
        let (last, passed) = match head.kind {
            Kind::Query => match tag {
                b'T' | b'D' | b'C' | b'I' => (false, Passed::Run),
                _ => return None,
            },
            Kind::Execute { .. } => match tag {
                b'D' => (false, Passed::Other),
                b'C' | b'I' if head.pins => (true, Passed::Run),
                b'C' | b'I' => (true, Passed::Other),
                _ => return None,
            },
            // That home has taken gathered rows is noted.
            Kind::Bind if tag == b'2' && !head.gathered => (true, Passed::Other),
            Kind::Close if tag == b'3' => (true, Passed::Other),
            Kind::DescribePortal if matches!(tag, b'T' | b'n') => (true, Passed::Other),
            // That a named statement was parsed is remembered.
            Kind::Parse if tag == b'1' && head.name.as_ref().is_none_or(Bytes::is_empty) => {
                (true, Passed::Other)
            }
            Kind::Parse
            | Kind::Bind
            | Kind::Close
            | Kind::DescribePortal
            | Kind::DescribeStatement
            | Kind::Sync
            | Kind::Provoked => return None,
        };
        if last {
            self.queue.pop_front();
        }
        Some(passed)
    }

    pub fn push(&mut self, entry: Entry) {
        self.queue.push_back(Item::Reply(entry));
    }

    /// Queues a made reply; returns it back when nothing stands before it.
    pub fn push_made(&mut self, bytes: Bytes, change: Option<Change>) -> Option<Bytes> {
        if self.queue.is_empty() {
            return Some(bytes);
        }
        self.queue.push_back(Item::Made(bytes, change));
        None
    }

    /// The made replies whose turn has come.
    pub fn take_made(&mut self) -> Option<Bytes> {
        match self.queue.front() {
            Some(Item::Made(..)) => match self.queue.pop_front() {
                Some(Item::Made(bytes, _)) => Some(bytes),
                Some(Item::Reply(_)) | None => None,
            },
            Some(Item::Reply(_)) | None => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn head(&self) -> Option<&Entry> {
        match self.queue.front() {
            Some(Item::Reply(entry)) => Some(entry),
            Some(Item::Made(..)) | None => None,
        }
    }

    /// Whether some reply to the client is still to come from the server.
    pub fn owes_client(&self) -> bool {
        self.queue.iter().any(|item| match item {
            Item::Reply(entry) => entry.origin == Origin::Client,
            Item::Made(..) => true,
        })
    }

    /// Whether the server still has to say what the client's statement needs before it can be sent.
    pub fn owes_description(&self) -> bool {
        self.queue.iter().any(|item| match item {
            Item::Reply(entry) => matches!(
                entry.origin,
                Origin::Router(Purpose::Columns | Purpose::Verify)
            ),
            Item::Made(..) => false,
        })
    }

    /// As `owes_client`, and the server is not at a Query of the router's own, whose ReadyForQuery is sent at once. Replies
    /// in a pipeline are sent late, so there the head does not say where the server is.
    pub fn runs_client(&self) -> bool {
        let at_own_query = self
            .head()
            .is_some_and(|head| head.kind == Kind::Query && head.origin != Origin::Client);
        !at_own_query && self.owes_client()
    }

    /// Judges one message (not N, S or A, which may come at any time). `status` is that of a ReadyForQuery.
    pub fn judge(&mut self, tag: u8, _status: Option<TxStatus>) -> Verdict {
        let Some(Item::Reply(head)) = self.queue.front_mut() else {
            return Verdict::Doubt;
        };
        let kind = head.kind;
        if tag == b'E' {
            return self.judge_error(kind);
        }
        let Some(last) = head.takes(tag) else {
            return Verdict::Doubt;
        };
        if kind == Kind::Query && tag == b'G' {
            self.copy_in = true;
        }
        if tag == b'C' || tag == b'Z' {
            self.copy_in = false;
        }
        if last {
            match self.queue.pop_front() {
                Some(Item::Reply(entry)) => Verdict::Last(entry),
                Some(Item::Made(..)) | None => Verdict::Doubt,
            }
        } else {
            match self.queue.front() {
                Some(Item::Reply(entry)) => Verdict::Part(entry.origin.clone()),
                Some(Item::Made(..)) | None => Verdict::Doubt,
            }
        }
    }

    fn judge_error(&mut self, kind: Kind) -> Verdict {
        self.copy_in = false;
        if matches!(kind, Kind::Query | Kind::Sync) {
            return match self.queue.front() {
                Some(Item::Reply(entry)) => Verdict::ErrorPart(entry.clone()),
                Some(Item::Made(..)) | None => Verdict::Doubt,
            };
        }
        let Some(Item::Reply(entry)) = self.queue.pop_front() else {
            return Verdict::Doubt;
        };
        let mut skipped = Vec::new();
        while let Some(item) = self.queue.front() {
            if matches!(
                item,
                Item::Reply(Entry {
                    kind: Kind::Sync,
                    ..
                })
            ) {
                break;
            }
            match self.queue.pop_front() {
                Some(Item::Reply(entry)) => skipped.push(entry),
                Some(Item::Made(_, change)) if change.is_some() => {
                    skipped.push(Entry::client(Kind::Parse).changing(change));
                }
                Some(Item::Made(..)) | None => {}
            }
        }
        Verdict::Error { entry, skipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(kinds: &[Kind]) -> Owed {
        let mut owed = Owed::default();
        for kind in kinds {
            owed.push(Entry::client(*kind));
        }
        owed
    }

    fn run(kinds: &[Kind], tags: &str) -> bool {
        let mut owed = owed(kinds);
        tags.bytes()
            .all(|tag| owed.judge(tag, None) != Verdict::Doubt)
            && owed.is_empty()
    }

    #[test]
    fn legal_sequences() {
        use Kind::*;
        let execute = Execute { limited: false };
        assert!(run(
            &[Parse, Bind, DescribePortal, execute, Sync],
            "12TDDCZ"
        ));
        assert!(run(&[Parse, DescribeStatement, Sync], "1tTZ"));
        assert!(run(&[Parse, DescribeStatement, Sync], "1tEZ"));
        assert!(run(&[Query], "TDCCIZ"));
        assert!(run(&[Query], "GCZ"));
        assert!(run(&[Parse, Bind, execute, Sync], "EZ"));
        assert!(run(&[Bind, execute, Sync, Bind, execute, Sync], "EZ2CZ"));
        assert!(run(&[Sync], "EZ"));
        assert!(run(&[Execute { limited: true }, Sync], "DsZ"));
    }

    #[test]
    fn doubtful_sequences() {
        use Kind::*;
        assert!(!run(&[Parse], "2"));
        assert!(!run(&[Execute { limited: false }], "s"));
        assert!(!run(&[DescribeStatement], "T"));
        assert!(!run(&[], "Z"));
        assert!(
            !run(&[Parse, Query], "EZ"),
            "the Query is skipped: its Z never comes"
        );
    }

    #[test]
    fn what_is_passed_is_judged_alike() {
        use Kind::*;
        let all = [
            Parse,
            Bind,
            DescribePortal,
            DescribeStatement,
            Execute { limited: false },
            Execute { limited: true },
            Close,
            Sync,
            Query,
            Provoked,
        ];
        let mut passed = 0;
        for kind in all {
            for tag in 0..=255u8 {
                let mut quick = owed(&[kind, Sync]);
                let mut slow = owed(&[kind, Sync]);
                if quick.pass(tag).is_none() {
                    assert_eq!(quick.queue.len(), 2, "{kind:?} {tag}");
                    continue;
                }
                passed += 1;
                let rest = match slow.judge(tag, None) {
                    Verdict::Part(Origin::Client) => 2,
                    Verdict::Last(entry) if entry.origin == Origin::Client => 1,
                    other => panic!("{kind:?} {tag}: {other:?}"),
                };
                assert_eq!((quick.queue.len(), slow.queue.len()), (rest, rest));
                assert_eq!(quick.copy_in, slow.copy_in);
            }
        }
        assert_eq!(passed, 15);
    }

    #[test]
    fn made_replies_keep_their_place_and_are_skipped_with_the_rest() {
        let mut queue = owed(&[Kind::Parse]);
        assert_eq!(queue.push_made(Bytes::from_static(b"x"), None), None);
        assert_eq!(queue.take_made(), None);
        assert!(matches!(queue.judge(b'1', None), Verdict::Last(_)));
        assert_eq!(queue.take_made(), Some(Bytes::from_static(b"x")));
        let mut queue = owed(&[Kind::Parse]);
        queue.push_made(Bytes::from_static(b"x"), None);
        queue.push(Entry::client(Kind::Sync));
        assert!(matches!(queue.judge(b'E', None), Verdict::Error { .. }));
        assert_eq!(queue.take_made(), None);
        assert_eq!(queue.head().map(|entry| entry.kind), Some(Kind::Sync));
    }
}
