//! A backend's place in a session: what is attached in a slot, and the transaction state seen through it.

use crate::backend::Backend;
use crate::owed::{Entry, Kind, Purpose};
use crate::statements::Change;
use bytes::{Bytes, BytesMut};
use shardgate_shard_map::ShardId;
use shardgate_wire::backend::TxStatus;
use shardgate_wire::frontend::put;

#[derive(Debug)]
pub(crate) struct Place {
    pub shard: ShardId,
    /// None: the checkout was not answered yet.
    pub backend: Option<Box<Backend>>,
    /// Why the session must keep this very connection.
    pub pinned: Option<String>,
    /// The pin was made for an Execute that has not begun: if it is skipped, there is no reason for the pin.
    pub pin_pending: bool,
    pub cancel_pending: bool,
    /// Transaction status of the last ReadyForQuery.
    pub status: TxStatus,
    /// Extended messages were sent since the last Sync.
    pub unsynced: bool,
    /// The client's settings were compared with the backend's since the attachment or the last transaction.
    pub prepared: bool,
    /// Id of the client's statement that is the backend's unnamed one.
    pub unnamed: Option<u64>,
    /// A statement (S) or portal (P) that stands under the client's own name, for an error that names it. It is closed
    /// before the client's next message.
    pub borrowed: Option<(u8, Bytes)>,
    /// What `currval` and `lastval` answer here was drawn by this session: all else was discarded before.
    pub own_sequences: bool,
    /// Bytes of a row that are still to be passed on.
    pub passing: usize,
    /// A FATAL error of the server was passed on or noted.
    pub fatal: bool,
    /// Reports of changed settings came while the client's statement ran.
    pub params_changed: bool,
}

impl Place {
    pub fn new(shard: ShardId) -> Place {
        Place {
            shard,
            backend: None,
            pinned: None,
            pin_pending: false,
            cancel_pending: false,
            status: TxStatus::Idle,
            unsynced: false,
            prepared: false,
            unnamed: None,
            borrowed: None,
            own_sequences: false,
            passing: 0,
            fatal: false,
            params_changed: false,
        }
    }

    /// The next client could have it.
    pub fn is_clean(&self) -> bool {
        self.is_quiet() && self.pinned.is_none()
    }

    /// Nothing is owed, nothing half read, no transaction, no cancel request on its way.
    pub fn is_quiet(&self) -> bool {
        self.backend
            .as_ref()
            .is_some_and(|backend| backend.owed.is_empty())
            && self.status == TxStatus::Idle
            && !self.unsynced
            && self.passing == 0
            && !self.cancel_pending
            && self.borrowed.is_none()
            && !self.fatal
    }

    pub fn is_standby(&self) -> bool {
        self.backend.as_ref().is_some_and(|backend| backend.standby)
    }

    pub fn owed_is_empty(&self) -> bool {
        self.backend
            .as_ref()
            .is_none_or(|backend| backend.owed.is_empty())
    }

    /// Sends a simple query of the router's own.
    pub fn query(&mut self, sql: &str, purpose: Purpose, out: &mut BytesMut) {
        if let Some(backend) = self.backend.as_mut() {
            put::query(out, sql.as_bytes());
            backend.owed.push(Entry::router(Kind::Query, purpose));
            self.unnamed = None;
        }
    }

    /// Runs a statement of the router's own within a pipeline of the client.
    pub fn execute(&mut self, sql: &str, purpose: &Purpose, out: &mut BytesMut) {
        if let Some(backend) = self.backend.as_mut() {
            put::parse(out, b"", sql.as_bytes(), &[]);
            put::bind_text(out, b"", b"", &[]);
            put::execute(out, b"", 0);
            for kind in [Kind::Parse, Kind::Bind, Kind::Execute { limited: false }] {
                backend.owed.push(Entry::router(kind, purpose.clone()));
            }
            self.unnamed = None;
            self.unsynced = true;
        }
    }

    /// As `execute`, by names that leave the client's unnamed statement as it is.
    pub fn execute_named(&mut self, sql: &str, purpose: &Purpose, out: &mut BytesMut) {
        const NAME: &[u8] = b"sg_settings";
        if let Some(backend) = self.backend.as_mut() {
            put::parse(out, NAME, sql.as_bytes(), &[]);
            put::bind_text(out, NAME, NAME, &[]);
            put::execute(out, NAME, 0);
            put::close(out, b'S', NAME);
            put::close(out, b'P', NAME);
            for kind in [
                Kind::Parse,
                Kind::Bind,
                Kind::Execute { limited: false },
                Kind::Close,
                Kind::Close,
            ] {
                backend.owed.push(Entry::router(kind, purpose.clone()));
            }
            self.unsynced = true;
        }
    }

    /// Discards what other clients have drawn from sequences here, so that the session sees its own alone.
    pub fn claim_sequences(&mut self, out: &mut BytesMut) {
        const DISCARD: &str = "DISCARD SEQUENCES";
        let drawn = self.backend.as_ref().is_some_and(|backend| backend.drawn);
        if self.own_sequences {
            return;
        }
        self.own_sequences = true;
        if drawn && self.unsynced {
            self.execute_named(DISCARD, &Purpose::Prelude, out);
        } else if drawn {
            self.query(DISCARD, Purpose::Prelude, out);
        }
    }

    /// The server gets no more data of a COPY.
    pub fn stop_copy(&mut self) {
        if let Some(backend) = self.backend.as_mut() {
            backend.owed.copy_in = false;
        }
    }

    pub fn push(&mut self, entry: Entry) {
        if let Some(backend) = self.backend.as_mut() {
            backend.owed.push(entry);
        }
    }

    /// Closes what stands under a client's name. True: an answer follows.
    pub fn close_borrowed(&mut self, out: &mut BytesMut) -> bool {
        let Some((kind, name)) = self.borrowed.take() else {
            return false;
        };
        put::close(out, kind, &name);
        put::sync(out);
        self.push(Entry::router(Kind::Close, Purpose::Finish));
        self.push(Entry::router(Kind::Sync, Purpose::Finish));
        true
    }

    /// Makes the server's transaction (explicit, or that of the pipeline) fail, as the client was told that it did.
    pub fn poison(&mut self, out: &mut BytesMut) {
        put::bind_text(out, b"", b"shardgate_fails", &[]);
        self.push(Entry::router(Kind::Bind, Purpose::Poison));
        self.unsynced = true;
    }

    /// Puts a reply that the router makes behind the replies that are owed; gives it back if none is.
    pub fn made(&mut self, bytes: Bytes, change: Option<Change>) -> Option<Bytes> {
        match self.backend.as_mut() {
            Some(backend) => backend.owed.push_made(bytes, change),
            None => Some(bytes),
        }
    }
}
