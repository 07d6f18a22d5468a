//! The stages of a write over several shards, and what each sends.

use super::{Member, Spreading, Stage};
use crate::api::{Output, Slot, Step};
use crate::owed::{Entry, Kind, Purpose};
use crate::place::Place;
use crate::session::{Session, cancelled};
use crate::settings::quote_literal;
use bytes::BytesMut;
use shardgate_plan::{Returns, SpreadPart};
use shardgate_wire::PgError;
use shardgate_wire::frontend::put;

/// The isolation and the time of home's transaction: the time in a form that no setting reads otherwise.
const LOOK: &str = "SELECT pg_catalog.current_setting('transaction_isolation'), \
    pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'";
/// Whether the transaction has written (rules of visibility do not matter for that), and could be prepared.
const ASK: &str = "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL, \
    pg_catalog.current_setting('max_prepared_transactions') <> '0'";
/// The decision must be as durable as 'on' makes it, and stays so if it is to be more.
const DURABLE: &str = "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
    WHERE pg_catalog.current_setting('synchronous_commit') <> 'remote_apply'";

/// What a member is sent.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Query(String),
    /// The client's own statement, which is only parsed; with `true` it is bound and described too.
    Original(bool),
    /// Its part; of an INSERT no more than the first rows of the whole.
    Part(Option<usize>),
}

impl Session {
    /// All connections are there: home begins.
    pub(super) fn spread_check(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        spreading.stage = Stage::Checking;
        // Who knows how many columns there are can ask for one more.
        let describes = spreading.execution.is_simple()
            || matches!(spreading.spread.returns, Returns::ByKey(_));
        let texts = vec![
            Said::Query("BEGIN".to_owned()),
            Said::Original(describes),
            Said::Query(LOOK.to_owned()),
        ];
        self.spread_say(|index, _| index == 0, |_| texts.clone(), out);
    }

    /// All answers of the stage are in: what comes next.
    pub(super) fn spread_next(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        match spreading.stage {
            Stage::Attaching(_) => {}
            Stage::Checking if spreading.has_failed() => self.spread_failed(out),
            Stage::Checking => self.spread_run(0, out),
            Stage::Running(index) => self.spread_run(index + 1, out),
            Stage::Searching(index) => self.spread_search_on(index, out),
            Stage::Preparing if spreading.has_failed() => self.spread_failed(out),
            Stage::Finishing => self.spread_finished(out),
            Stage::Preparing => self.spread_decide(out),
            Stage::Deciding => self.spread_decided(out),
            Stage::Committing => {
                // Not everywhere yet: the decision stands, and the client is told when it is in force.
                if spreading.participants().all(Member::has_committed) {
                    self.spread_end(Ok(()), out);
                } else {
                    self.spread_resolve(out);
                }
            }
            Stage::RollingBack => {
                let unsure =
                    spreading.preparing && spreading.participants().any(Member::may_be_prepared);
                if unsure {
                    return self.spread_resolve(out);
                }
                let error = spreading.error.take().unwrap_or_else(cancelled);
                self.spread_end(Err(error), out);
            }
            Stage::Resolving => {}
        }
    }

    /// The part of the member with this index, or of the next one that has any.
    fn spread_run(&mut self, from: usize, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        // Another part of an INSERT may fail for an earlier row, so the others run all the same.
        let failed = spreading
            .members
            .iter()
            .any(|member| member.failed.is_some());
        if spreading.error.is_some() || (failed && spreading.spread.rows.is_empty()) {
            return self.spread_failed(out);
        }
        let next = spreading
            .members
            .iter()
            .enumerate()
            .skip(from)
            .find(|(_, member)| member.part)
            .map(|(index, _)| index);
        let Some(index) = next else {
            return match failed {
                true => self.spread_failed(out),
                false => self.spread_ran(out),
            };
        };
        spreading.stage = Stage::Running(index);
        let mut texts = vec![Said::Part(None), Said::Query(ASK.to_owned())];
        if let Some(table) = &spreading.spread.copies {
            texts.insert(0, Said::Query(lock(table)));
        }
        if index > 0 {
            texts.insert(0, Said::Query("BEGIN".to_owned()));
        }
        self.spread_say(|at, _| at == index, |_| texts.clone(), out);
    }

    /// Every part has been carried out without an error.
    fn spread_ran(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        if let Err(error) = spreading.complete() {
            spreading.error = Some(error);
            return self.spread_roll_back(out);
        }
        let writers = spreading
            .members
            .iter()
            .filter(|member| member.wrote)
            .count();
        if writers < 2 {
            spreading.stage = Stage::Finishing;
            spreading.committing = true;
            return self.spread_say(|_, _| true, |_| vec![Said::Query("COMMIT".to_owned())], out);
        }
        let unable = spreading.participants().find(|member| !member.can_prepare);
        if let Some(member) = unable {
            spreading.error = Some(
                PgError::error("55000", format!("shard \"{}\" cannot prepare transactions", member.name))
                    .detail("The statement writes several shards, and all of them must commit or none; max_prepared_transactions is 0 there.")
                    .hint("Set max_prepared_transactions there to at least max_connections, and restart it."),
            );
            return self.spread_roll_back(out);
        }
        spreading.stage = Stage::Preparing;
        spreading.preparing = true;
        let text = |member: &Member| {
            // Who has not written has nothing to prepare.
            vec![Said::Query(match member.wrote {
                true => format!("PREPARE TRANSACTION {}", member.gid),
                false => "COMMIT".to_owned(),
            })]
        };
        self.spread_say(|index, _| index > 0, text, out);
    }

    /// Every shard has answered PREPARE TRANSACTION without an error.
    fn spread_decide(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        // The tag decides: in a transaction that had failed the command rolls back without an error.
        if spreading.participants().any(|member| !member.prepared) {
            spreading.error = Some(PgError::error(
                "40000",
                "the transaction could not be prepared on every shard",
            ));
            return self.spread_roll_back(out);
        }
        spreading.stage = Stage::Deciding;
        let texts = vec![
            Said::Query(DURABLE.to_owned()),
            Said::Query(format!(
                "SELECT shardgate.decide({})",
                quote_literal(&spreading.gid)
            )),
            Said::Query("COMMIT".to_owned()),
        ];
        self.spread_say(|index, _| index == 0, |_| texts.clone(), out);
    }

    /// The tag of home's COMMIT says which way it went; without an answer nobody knows but the decision row.
    fn spread_decided(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        let Some(home) = spreading.members.first() else {
            return;
        };
        if home.tag == "COMMIT" {
            spreading.error = None;
            spreading.said = None;
            spreading.stage = Stage::Committing;
            let text =
                |member: &Member| vec![Said::Query(format!("COMMIT PREPARED {}", member.gid))];
            self.spread_say(|index, member| index > 0 && member.wrote, text, out);
        } else if home.lost {
            self.spread_resolve(out);
        } else {
            spreading.take_failure();
            spreading
                .error
                .get_or_insert(PgError::error("40000", "the home shard did not commit"));
            self.spread_roll_back(out);
        }
    }

    /// Something went wrong before anything was decided: what of it is the answer.
    pub(super) fn spread_failed(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        let running = matches!(spreading.stage, Stage::Running(_));
        if spreading.error.is_none()
            && running
            && let Some(search) = spreading.begin_search()
        {
            spreading.search = Some(search);
            return self.spread_probe(out);
        }
        spreading.take_failure();
        self.spread_roll_back(out);
    }

    /// Nothing is decided: takes back what was done and what was prepared.
    pub(super) fn spread_roll_back(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        spreading.stage = Stage::RollingBack;
        let open = |_: usize, member: &Member| {
            member.prepared || member.status != shardgate_wire::TxStatus::Idle
        };
        let text = |member: &Member| {
            vec![Said::Query(match member.prepared {
                true => format!("ROLLBACK PREPARED {}", member.gid),
                false => "ROLLBACK".to_owned(),
            })]
        };
        self.spread_say(open, text, out);
    }

    /// Sends the chosen members what they have to do, if their connections live; with none to send to the next stage
    /// follows at once.
    pub(super) fn spread_say(
        &mut self,
        choose: impl Fn(usize, &Member) -> bool,
        texts: impl Fn(&Member) -> Vec<Said>,
        out: &mut Output,
    ) {
        let Some(mut spreading) = self.spreading.take() else {
            return;
        };
        let edges = spreading.stage.edges();
        let mut waits = false;
        for index in 0..spreading.members.len() {
            let Some(member) = spreading.members.get_mut(index) else {
                continue;
            };
            let Some(slot) = member
                .slot
                .filter(|_| !member.lost && choose(index, member))
            else {
                continue;
            };
            let list = texts(member);
            member.pending = list.len();
            member.tag.clear();
            waits = true;
            if let Some((before, _)) = edges {
                out.steps.push(Step::Edge { edge: before, slot });
            }
            for said in list {
                self.spread_put(&spreading, index, slot, &said, out);
            }
        }
        self.spreading = Some(spreading);
        if !waits {
            self.spread_next(out);
        }
    }

    fn spread_put(
        &mut self,
        spreading: &Spreading,
        index: usize,
        slot: Slot,
        said: &Said,
        out: &mut Output,
    ) {
        let Some((place, buffer)) = self.reach(slot, out) else {
            return;
        };
        let execution = &spreading.execution;
        match said {
            Said::Query(text) => place.query(text, Purpose::Spread, buffer),
            Said::Original(describes) => {
                put::parse(buffer, b"", execution.text.as_bytes(), &execution.types);
                owe(place, Kind::Parse);
                if *describes {
                    match execution.bound() {
                        Some(bind) => put::bind_with(buffer, b"", b"", bind.rest),
                        None => put::bind_text(buffer, b"", b"", &[]),
                    }
                    put::describe(buffer, b'P', b"");
                    owe(place, Kind::Bind);
                    owe(place, Kind::DescribePortal);
                }
                put::sync(buffer);
                owe(place, Kind::Sync);
                place.unnamed = None;
            }
            Said::Part(first) => {
                let member = spreading.members.get(index).map(|member| member.shard);
                if let Some(part) = member.and_then(|shard| spreading.spread.part(shard)) {
                    spreading.put_part(part, *first, buffer);
                    for kind in [
                        Kind::Parse,
                        Kind::Bind,
                        Kind::Execute { limited: false },
                        Kind::Sync,
                    ] {
                        owe(place, kind);
                    }
                    place.unnamed = None;
                }
            }
        }
    }
}

/// The class of the locks of reference tables, and the lock of one: until the end of the transaction, prepared or not.
fn lock(table: &str) -> String {
    const CLASS: i32 = 1_397_178_711;
    let name = quote_literal(table);
    format!("SELECT pg_catalog.pg_advisory_xact_lock({CLASS}, pg_catalog.hashtext({name}))")
}

fn owe(place: &mut Place, kind: Kind) {
    place.push(Entry::router(kind, Purpose::Spread));
}

impl Spreading {
    /// Parse, Bind, Execute and Sync of a part. Parameters that it does not mention are of type text there, and NULL.
    fn put_part(&self, part: &SpreadPart, first: Option<usize>, buffer: &mut BytesMut) {
        const TEXT: u32 = 25;
        let text = match first {
            Some(count) => self
                .spread
                .part_of_first(part, count, &self.now)
                .unwrap_or_default(),
            None => self.spread.part_text(part, &self.now),
        };
        let bind = self.execution.bound();
        let params = part.params(first.unwrap_or(usize::MAX));
        let mentioned = |number: u16| {
            params
                .as_ref()
                .is_none_or(|params| params.contains(&number))
        };
        let count = bind.as_ref().map_or(0, |bind| bind.count());
        let types: Vec<u32> = (1..=count)
            .map(|number| {
                let declared = self.execution.types.get(usize::from(number - 1)).copied();
                match mentioned(number) {
                    true => declared.unwrap_or(0),
                    false => TEXT,
                }
            })
            .collect();
        put::parse(buffer, b"", text.as_bytes(), &types);
        match bind {
            Some(bind) => {
                let params: Vec<(bool, Option<&[u8]>)> = (1_u16..)
                    .zip(bind.params())
                    .map(|(number, param)| match mentioned(number) {
                        true => (param.binary, param.value),
                        false => (false, None),
                    })
                    .collect();
                put::bind(buffer, &params, &self.result_formats(Some(&bind)));
            }
            None => put::bind(buffer, &[], &self.result_formats(None)),
        }
        put::execute(buffer, b"", 0);
        put::sync(buffer);
    }
}
