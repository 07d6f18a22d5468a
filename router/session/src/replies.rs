//! The servers' messages: each is judged by the queue of owed replies, and passed on, swallowed or counted.

use crate::api::{Output, Slot};
use crate::owed::{Entry, Kind, Origin, Passed, Purpose, Verdict};
use crate::place::Place;
use crate::session::{Phase, Session, Wait};
use crate::transaction::Transaction;
use bytes::{Buf, BytesMut};
use shardgate_wire::backend::{ErrorFields, command_tag, parameter_status, ready_status};
use shardgate_wire::frame::{Frame, peek};
use shardgate_wire::{Limits, PgError, TxStatus};

/// A row longer than this is passed on in parts.
const WHOLE_ROW_MAX: usize = 32 * 1024;

impl Session {
    /// Takes what the slot's server has sent; an incomplete message stays in `input`.
    pub fn on_backend(&mut self, slot: Slot, input: &mut BytesMut, out: &mut Output) {
        while self.phase != Phase::Over {
            self.put_made(slot, out);
            if self.place(slot).is_none_or(|place| place.backend.is_none()) {
                break;
            }
            if self.pass_on(slot, input, out) {
                return;
            }
            if self.pass_plain(slot, input, out) {
                continue;
            }
            let frame = match peek(input, &self.options.common.backend_limits) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => {
                    self.doubt(slot, &error.to_string(), out);
                    break;
                }
            };
            if matches!(frame.tag, b'D' | b'd') && self.rows_are_the_clients(slot) {
                self.query_begins(slot);
                if self.pass_rows(slot, input, out) {
                    continue;
                }
                return;
            }
            let Some(bytes) = input.get(..frame.len) else {
                return;
            };
            self.backend_message(slot, frame, bytes, out);
            input.advance(frame.len);
        }
        input.clear();
    }

    /// Made replies whose turn has come.
    fn put_made(&mut self, slot: Slot, out: &mut Output) {
        while let Some(bytes) = self
            .place_mut(slot)
            .and_then(|place| place.backend.as_mut())
            .and_then(|backend| backend.owed.take_made())
        {
            self.say_made(&bytes, out);
        }
        if self.batch.flush_due && self.batch.slot == Some(slot) {
            self.speak(out);
            self.batch.flush_due = self.place(slot).is_some_and(|place| !place.owed_is_empty());
        }
        if self.wait == Wait::Drain(slot)
            && self.place(slot).is_some_and(|place| place.owed_is_empty())
        {
            self.drained(slot, out);
        }
    }

    /// The rest of a long row. True: all input was taken and more is to come.
    fn pass_on(&mut self, slot: Slot, input: &mut BytesMut, out: &mut Output) -> bool {
        let Some(place) = self.place_mut(slot) else {
            return true;
        };
        if place.passing == 0 {
            return false;
        }
        let length = place.passing.min(input.len());
        place.passing -= length;
        let more = place.passing > 0;
        self.say(input.get(..length).unwrap_or_default(), out);
        input.advance(length);
        more
    }

    /// Passes on, in one piece, the whole messages at the beginning of the input that mean nothing to the session but that
    /// one more reply has come. False: there are none.
    fn pass_plain(&mut self, slot: Slot, input: &mut BytesMut, out: &mut Output) -> bool {
        let Some(place) = self
            .places
            .get_mut(usize::from(slot.0))
            .and_then(Option::as_mut)
        else {
            return false;
        };
        let Some(backend) = place.backend.as_mut() else {
            return false;
        };
        let mut end = 0;
        while let Some(rest) = input.get(end..)
            && let Ok(Some(frame)) = peek(rest, &self.options.common.backend_limits)
            && rest.len() >= frame.len
            && let Some(passed) = backend.owed.pass(frame.tag)
        {
            end += frame.len;
            if frame.tag == b'D' {
                end = rows_end(input, end, &self.options.common.backend_limits);
            }
            if passed == Passed::Run {
                place.pin_pending = false;
            }
        }
        if end == 0 {
            return false;
        }
        self.say(input.get(..end).unwrap_or_default(), out);
        input.advance(end);
        true
    }

    fn rows_are_the_clients(&self, slot: Slot) -> bool {
        let head = self
            .place(slot)
            .and_then(|place| place.backend.as_ref())
            .and_then(|backend| backend.owed.head());
        head.is_some_and(|entry| {
            entry.origin == Origin::Client
                && matches!(entry.kind, Kind::Query | Kind::Execute { .. })
        })
    }

    /// Passes a run of rows on as it lies in the buffer. False: the next one is incomplete and short, wait for its end.
    fn pass_rows(&mut self, slot: Slot, input: &mut BytesMut, out: &mut Output) -> bool {
        let in_query = self
            .place(slot)
            .and_then(|place| place.backend.as_ref())
            .and_then(|backend| backend.owed.head())
            .is_some_and(|entry| entry.kind == Kind::Query);
        let mut end = 0;
        let mut part = 0;
        while let Some(rest) = input.get(end..) {
            match peek(rest, &self.options.common.backend_limits) {
                Ok(Some(frame)) if frame.tag == b'D' || (frame.tag == b'd' && in_query) => {
                    if rest.len() >= frame.len {
                        end += frame.len;
                    } else {
                        if frame.len > WHOLE_ROW_MAX {
                            part = frame.len - rest.len();
                            end = input.len();
                        }
                        break;
                    }
                }
                Ok(_) | Err(_) => break,
            }
        }
        if end == 0 {
            // Not a legal message here, or not whole yet.
            if let Ok(Some(frame)) = peek(input, &self.options.common.backend_limits)
                && frame.tag == b'd'
                && !in_query
            {
                self.doubt(slot, "CopyData without COPY", out);
                return true;
            }
            return false;
        }
        self.say(input.get(..end).unwrap_or_default(), out);
        input.advance(end);
        if let Some(place) = self.place_mut(slot) {
            place.passing = part;
        }
        true
    }

    fn backend_message(&mut self, slot: Slot, frame: Frame, bytes: &[u8], out: &mut Output) {
        let body = bytes.get(5..).unwrap_or_default();
        match frame.tag {
            b'N' => {
                self.query_begins(slot);
                if self.head_is_the_clients(slot)
                    || self.is_home_of_several(slot)
                    || self.is_part_of_spread(slot)
                {
                    self.forward(bytes, out);
                }
                return;
            }
            b'S' => {
                let mine = self.head_is_the_clients(slot);
                if let (Ok((name, value)), Some(place)) =
                    (parameter_status(body), self.place_mut(slot))
                {
                    let (name, value) = (name.to_string(), value.to_string());
                    place.params_changed |= mine;
                    if let Some(backend) = place.backend.as_mut() {
                        backend.params.insert(name, value);
                    }
                }
                return;
            }
            // Nobody listens through the router.
            b'A' => return,
            b'E' if ErrorFields::parse(body).is_ok_and(|fields| fields.is_fatal()) => {
                self.backend_fatal(slot, bytes, out);
                return;
            }
            _ => {}
        }
        let status = if frame.tag == b'Z' {
            match ready_status(body) {
                Ok(status) => Some(status),
                Err(error) => {
                    self.doubt(slot, &error.to_string(), out);
                    return;
                }
            }
        } else {
            None
        };
        let Some(backend) = self
            .place_mut(slot)
            .and_then(|place| place.backend.as_mut())
        else {
            return;
        };
        match backend.owed.judge(frame.tag, status) {
            Verdict::Part(Origin::Client) => {
                if frame.tag == b't' {
                    self.remember_shape(slot, None, bytes);
                }
                self.query_begins(slot);
                self.forward(bytes, out);
                if frame.tag == b'G' {
                    self.end_if_gone(out);
                }
            }
            Verdict::Part(Origin::Router(purpose)) => {
                self.router_part(slot, &purpose, frame.tag, bytes, out)
            }
            Verdict::Last(entry) => self.entry_done(slot, &entry, frame.tag, bytes, status, out),
            Verdict::Error { entry, skipped } => {
                self.entry_failed(slot, &entry, &skipped, bytes, out)
            }
            Verdict::ErrorPart(entry) => self.query_failed(slot, &entry, bytes, out),
            Verdict::Doubt => {
                self.doubt(
                    slot,
                    &format!("unexpected message '{}'", frame.tag.escape_ascii()),
                    out,
                );
            }
        }
    }

    /// The server has begun to carry out a Query, so that a pin that was made for it has its reason. Only a Query whose
    /// first reply is an error of its syntax has run no part.
    fn query_begins(&mut self, slot: Slot) {
        if let Some(place) = self.place_mut(slot)
            && place
                .backend
                .as_ref()
                .and_then(|backend| backend.owed.head())
                .is_some_and(|entry| entry.kind == Kind::Query && entry.origin == Origin::Client)
        {
            place.pin_pending = false;
        }
    }

    fn head_is_the_clients(&self, slot: Slot) -> bool {
        self.place(slot)
            .and_then(|place| place.backend.as_ref())
            .and_then(|backend| backend.owed.head())
            .is_some_and(|entry| entry.origin == Origin::Client)
    }

    /// Of a statement on several shards the notices are told once.
    fn is_home_of_several(&self, slot: Slot) -> bool {
        let home = |place: &Place| {
            place.shard == self.snapshot.home
                && place
                    .backend
                    .as_ref()
                    .and_then(|backend| backend.owed.head())
                    .is_some_and(|entry| entry.origin == Origin::Router(Purpose::Several))
        };
        self.place(slot).is_some_and(home)
    }

    /// The server carries out its part of a write over several shards.
    fn is_part_of_spread(&self, slot: Slot) -> bool {
        let head = self
            .place(slot)
            .and_then(|place| place.backend.as_ref())
            .and_then(|backend| backend.owed.head());
        head.is_some_and(|entry| {
            entry.origin == Origin::Router(Purpose::Spread)
                && matches!(entry.kind, Kind::Execute { .. })
        })
    }

    pub(crate) fn forward(&mut self, bytes: &[u8], out: &mut Output) {
        self.say(bytes, out);
    }

    /// ParameterDescription comes first, then RowDescription or NoData.
    fn remember_shape(&mut self, slot: Slot, entry: Option<&Entry>, bytes: &[u8]) {
        let frame = bytes::Bytes::copy_from_slice(bytes);
        match entry {
            None => {
                let head = self
                    .place(slot)
                    .and_then(|place| place.backend.as_ref())
                    .and_then(|backend| backend.owed.head());
                let Some((name, id)) =
                    head.and_then(|entry| Some((entry.name.clone()?, entry.statement)))
                else {
                    return;
                };
                if let Some(statement) = self
                    .statements
                    .get_mut(&name)
                    .filter(|statement| Some(statement.id) == id)
                {
                    statement.told.get_or_insert_default().parameters = frame;
                }
            }
            Some(entry) => {
                let epoch = self.snapshot.epoch.id;
                let Some(name) = &entry.name else { return };
                let id = entry.statement;
                if let Some(statement) = self
                    .statements
                    .get_mut(name)
                    .filter(|statement| Some(statement.id) == id)
                {
                    statement.told.get_or_insert_default().result = frame;
                    statement.confirmed = Some(epoch);
                }
            }
        }
    }

    fn router_part(
        &mut self,
        slot: Slot,
        purpose: &Purpose,
        tag: u8,
        bytes: &[u8],
        out: &mut Output,
    ) {
        let body = bytes.get(5..).unwrap_or_default();
        match purpose {
            Purpose::ReadBack => {
                if tag == b'D' {
                    self.read_row(body);
                } else if tag == b'C' {
                    self.read_tag();
                }
            }
            Purpose::Gather => {
                if tag == b'D' {
                    self.gather_row(slot, body, out);
                }
            }
            Purpose::Spread => self.spread_part(slot, tag, bytes, out),
            Purpose::Several => {
                if tag == b'C'
                    && let Ok(tag) = command_tag(body)
                {
                    self.several_tag(slot, tag);
                }
            }
            Purpose::Verify => {
                if tag == b't'
                    && let Some(shape) = self.verified.as_mut()
                {
                    shape.parameters = bytes::Bytes::copy_from_slice(bytes);
                }
            }
            Purpose::Prelude
            | Purpose::Parse
            | Purpose::Poison
            | Purpose::Finish
            | Purpose::Columns => {}
        }
    }

    fn entry_done(
        &mut self,
        slot: Slot,
        entry: &Entry,
        tag: u8,
        bytes: &[u8],
        status: Option<TxStatus>,
        out: &mut Output,
    ) {
        if let Some(place) = self.place_mut(slot) {
            place.pin_pending &= !entry.pins;
            if let Some(status) = status {
                place.status = status;
                // The end of a query of the router's own before the client's message says nothing about that.
                let of_client = entry.kind == Kind::Sync || entry.origin == Origin::Client;
                if of_client && std::mem::take(&mut place.pin_pending) {
                    place.pinned = None;
                }
            }
        }
        if entry.gathered && entry.kind == Kind::Bind {
            // From here on home sees what it saw when it took the rows.
            self.gather_epoch = None;
        }
        match (&entry.origin, status) {
            (Origin::Client, Some(status)) => {
                if entry.kind == Kind::Query {
                    self.drop_unnamed_portal();
                }
                self.server_ready(slot, status, out);
            }
            (Origin::Client, None) => {
                // A Bind follows the Parse of an unnamed one, so that it does not help to know it.
                if entry.kind == Kind::Parse
                    && let Some(name) = entry.name.as_ref().filter(|name| !name.is_empty())
                    && let Some(statement) = self
                        .statements
                        .get(name)
                        .filter(|statement| Some(statement.id) == entry.statement)
                {
                    let key = statement.key(self.snapshot.epoch.id);
                    self.planner.note_parsed(key, self.current_role());
                }
                if entry.kind == Kind::DescribeStatement && matches!(tag, b'T' | b'n') {
                    self.remember_shape(slot, Some(entry), bytes);
                }
                self.forward(bytes, out);
            }
            (Origin::Router(Purpose::ReadBack), Some(_)) => self.settle_answered(out),
            (Origin::Router(Purpose::Finish), Some(_)) => {
                if self.settling.is_some() {
                    self.settle_answered(out);
                } else {
                    // The part of a pipeline that had no effect has ended; what comes next may go elsewhere.
                    self.batch.slot = None;
                }
            }
            (Origin::Router(Purpose::Several), Some(status)) => {
                self.several_ready(slot, status, out)
            }
            (Origin::Router(Purpose::Spread), status) => {
                self.spread_reply(slot, entry.kind, bytes, status, out);
            }
            (Origin::Router(Purpose::Gather), status) => {
                self.gather_reply(slot, entry.kind, bytes, status, out);
            }
            (Origin::Router(Purpose::Columns), None) => {
                if entry.kind == Kind::DescribeStatement {
                    self.columns_at_home(bytes);
                }
            }
            (Origin::Router(Purpose::Poison), Some(TxStatus::Idle | TxStatus::InTransaction)) => {
                self.doubt(slot, "a transaction that was to fail did not", out);
            }
            (Origin::Router(Purpose::Verify), None) => {
                if let Some(shape) = self.verified.as_mut() {
                    shape.result = bytes::Bytes::copy_from_slice(bytes);
                }
            }
            (Origin::Router(_), _) => {}
        }
    }

    /// An error in the extended protocol: the server skips to the next Sync.
    fn entry_failed(
        &mut self,
        slot: Slot,
        entry: &Entry,
        skipped: &[Entry],
        bytes: &[u8],
        out: &mut Output,
    ) {
        if let Some(backend) = self
            .place_mut(slot)
            .and_then(|place| place.backend.as_mut())
        {
            for number in std::iter::once(entry)
                .chain(skipped)
                .filter_map(|entry| entry.number)
            {
                backend.forget(number);
            }
        }
        if let Some(place) = self.place_mut(slot) {
            // What was to be discarded was not.
            place.own_sequences &= !skipped
                .iter()
                .any(|entry| entry.origin == Origin::Router(Purpose::Prelude));
            // A Parse without a number is of the unnamed statement.
            let parses = |entry: &Entry| entry.kind == Kind::Parse && entry.number.is_none();
            if parses(entry) || skipped.iter().any(parses) {
                place.unnamed = None;
            }
            place.pin_pending &= !entry.pins;
        }
        self.verified = None;
        // The changes are in the order of the messages, and all behind the first one that was skipped were skipped too.
        if let Some(change) = skipped.iter().find_map(|entry| entry.change) {
            self.statements.undo(change);
        }
        match &entry.origin {
            Origin::Router(Purpose::Poison) => {}
            Origin::Router(Purpose::Gather) => self.gather_error(read_error(bytes), out),
            Origin::Router(Purpose::Spread) => self.spread_error(slot, bytes),
            Origin::Router(Purpose::Columns) => {
                self.columns_failed(slot, read_error(bytes), out);
            }
            Origin::Router(
                Purpose::Prelude | Purpose::ReadBack | Purpose::Finish | Purpose::Several,
            ) => {
                self.prelude_failed(slot, bytes, out);
            }
            Origin::Client | Origin::Router(Purpose::Parse | Purpose::Verify) => {
                self.deeds.failed = true;
                if let Transaction::Virtual(block) = &mut self.transaction {
                    block.failed = true;
                }
                self.counts.errors_relayed += 1;
                match self.positions.as_ref().filter(|_| entry.gathered) {
                    Some(positions) => {
                        let told = positions.of_client(bytes);
                        self.forward(&told, out);
                    }
                    None => self.forward(bytes, out),
                }
                self.speak(out);
                if entry.kind == Kind::Parse
                    && let Some(name) = &entry.name
                {
                    // Only the client's own Parse failed it; a repeated one leaves the client's statement as it is.
                    if entry.origin == Origin::Client {
                        if let Some(change) = entry.change {
                            self.statements.undo(change);
                        }
                        // The unnamed one is gone before the new text is looked at.
                        if name.is_empty() {
                            self.statements.remove(name);
                        }
                    }
                }
                if !self.batch.synced {
                    self.skip_to_sync();
                }
            }
        }
    }

    fn query_failed(&mut self, slot: Slot, entry: &Entry, bytes: &[u8], out: &mut Output) {
        match &entry.origin {
            Origin::Client => {
                let body = bytes.get(5..).unwrap_or_default();
                if !ErrorFields::parse(body).is_ok_and(|fields| fields.is_of_sent_syntax()) {
                    self.query_begins(slot);
                }
                self.deeds.failed = true;
                self.counts.errors_relayed += 1;
                self.forward(bytes, out);
            }
            Origin::Router(Purpose::Several) => self.several_error(slot, bytes),
            Origin::Router(Purpose::Spread) => self.spread_error(slot, bytes),
            // An error at the Sync behind rows that were read, as of a deferred trigger: nothing has any.
            Origin::Router(Purpose::Gather) => self.gather_error(read_error(bytes), out),
            Origin::Router(
                Purpose::Finish
                | Purpose::Poison
                | Purpose::Parse
                | Purpose::Verify
                | Purpose::Columns,
            ) => {}
            Origin::Router(Purpose::Prelude | Purpose::ReadBack) => {
                self.prelude_failed(slot, bytes, out)
            }
        }
    }

    /// What the router itself sent for the client failed: the backend is in a state that the client does not know of.
    fn prelude_failed(&mut self, slot: Slot, bytes: &[u8], out: &mut Output) {
        let error = read_error(bytes);
        self.close_place(slot, out);
        self.fatal(&error, out);
    }

    /// FATAL: the server ends the connection, and nothing that it owes will come.
    fn backend_fatal(&mut self, slot: Slot, bytes: &[u8], out: &mut Output) {
        if self.several.is_some() {
            let why = read_error(bytes).message;
            if self.several_lost(slot, &why, out) {
                return;
            }
        }
        if self.spreading.is_some() {
            let why = read_error(bytes).message;
            if self.spread_lost(slot, &why, out) {
                return;
            }
        }
        if self.gathering.is_some() {
            let why = read_error(bytes).message;
            if self.gather_lost(slot, &why, out) {
                return;
            }
        }
        let needed = self.joined_slot() == Some(slot) || self.settles_on(slot);
        let Some(place) = self.place_mut(slot) else {
            return;
        };
        let concerned =
            !place.owed_is_empty() || place.pinned.is_some() || needed || place.unsynced;
        place.fatal = true;
        if concerned {
            self.forward(bytes, out);
            self.speak(out);
            self.close_place(slot, out);
            self.end(out);
        } else {
            self.close_place(slot, out);
        }
    }

    /// A message that cannot be: whose it is nobody knows, so nobody gets it.
    fn doubt(&mut self, slot: Slot, what: &str, out: &mut Output) {
        let error = PgError::error("08P01", "protocol violation by the server")
            .detail(what.to_string())
            .hint("The connection to the server was closed.");
        if let Some(place) = self.place_mut(slot) {
            place.fatal = true;
        }
        self.close_place(slot, out);
        self.fatal(&error, out);
    }

    /// All that the slot's backend owed has come, and something waited for it.
    fn drained(&mut self, slot: Slot, out: &mut Output) {
        self.wait = Wait::Nothing;
        if self.phase == Phase::Starting {
            self.finish_start(slot, out);
        } else if self.batch.slot.is_none() {
            self.release(slot, out);
        }
        self.end_if_gone(out);
    }
}

/// Where the run of whole rows ends that begins at `end`. Behind a row another one is always as legal.
fn rows_end(input: &[u8], mut end: usize, limits: &Limits) -> usize {
    while let Some(rest) = input.get(end..)
        && let Ok(Some(frame)) = peek(rest, limits)
        && frame.tag == b'D'
        && rest.len() >= frame.len
    {
        end += frame.len;
    }
    end
}

/// The error in a whole ErrorResponse.
fn read_error(bytes: &[u8]) -> PgError {
    ErrorFields::parse(bytes.get(5..).unwrap_or_default())
        .map(|fields| fields.to_error())
        .unwrap_or_else(|_| PgError::error("XX000", "the server's error could not be read"))
}
