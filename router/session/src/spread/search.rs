//! Which error of several shards is the one that Postgres would say.
//!
//! Rows of an INSERT are written in the order of VALUES, and the first one that fails is the error; foreign keys are
//! checked behind all rows. When one part alone has failed, its error is that one. When several have, the first rows are
//! tried again, in transactions that are rolled back: the smallest number of them with which a part fails shows the row.

use super::run::Said;
use super::{Failure, Spreading, Stage};
use crate::api::Output;
use crate::session::Session;

/// The search for the first row that fails.
#[derive(Debug)]
pub(super) struct Search {
    /// Members whose parts have failed in the same phase.
    members: Vec<usize>,
    behind_rows: bool,
    /// With so many first rows nothing fails.
    low: usize,
    /// With so many one fails: the answer so far.
    high: usize,
    answer: Failure,
    /// How many are tried now.
    tried: usize,
}

impl Spreading {
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some() || self.members.iter().any(|member| member.failed.is_some())
    }

    /// Makes the error of a shard the answer, if there is none yet.
    pub(super) fn take_failure(&mut self) {
        if self.error.is_some() {
            return;
        }
        let found = self.search.take().map(|search| search.answer);
        // What was checked behind the rows of one shard would have come behind the rows of another.
        let mut failures = self
            .members
            .iter()
            .filter_map(|member| member.failed.as_ref());
        let first = failures.clone().find(|failure| !failure.is_behind_rows());
        let failure = found.or_else(|| first.or_else(|| failures.next()).cloned());
        if let Some(Failure { error, frame }) = failure {
            self.error = Some(error);
            self.said = Some(frame);
        }
    }

    /// None: it is known which error is the first.
    pub(super) fn begin_search(&self) -> Option<Search> {
        let failed = |behind_rows: bool| -> Vec<usize> {
            let members = self.members.iter().enumerate();
            let of_phase = |failure: &Failure| failure.is_behind_rows() == behind_rows;
            members
                .filter(|(_, member)| member.failed.as_ref().is_some_and(of_phase))
                .map(|(index, _)| index)
                .collect()
        };
        let behind_rows = failed(false).is_empty();
        let members = failed(behind_rows);
        if members.len() < 2 || self.spread.rows.is_empty() {
            return None;
        }
        let high = self.spread.rows.len();
        let owner = self.owner(high);
        let chosen = members.iter().copied().find(|index| Some(*index) == owner);
        let member = self.members.get(chosen.or(members.first().copied())?)?;
        Some(Search {
            members,
            behind_rows,
            low: 0,
            high,
            answer: member.failed.clone()?,
            tried: 0,
        })
    }

    /// The member that has the last of the first `count` rows.
    fn owner(&self, count: usize) -> Option<usize> {
        let part = self.spread.rows.get(count.checked_sub(1)?)?;
        let shard = self.spread.parts.get(*part)?.shard;
        self.members.iter().position(|member| member.shard == shard)
    }

    /// What the shards said of the rows that were tried.
    fn learn(&mut self) {
        let owner = self
            .search
            .as_ref()
            .and_then(|search| self.owner(search.tried));
        let Some(search) = self.search.as_mut() else {
            return;
        };
        let failed = |index: &usize| {
            let failure = self.members.get(*index)?.failed.clone()?;
            (failure.is_behind_rows() == search.behind_rows).then_some((*index, failure))
        };
        let failures: Vec<(usize, Failure)> = search.members.iter().filter_map(failed).collect();
        let of_owner = failures.iter().find(|(index, _)| Some(*index) == owner);
        match of_owner.or(failures.first()) {
            Some((_, failure)) => {
                search.answer = failure.clone();
                search.high = search.tried;
            }
            None => search.low = search.tried,
        }
    }
}

impl Session {
    /// Tries half of the rows between those of which it is known whether they fail; or ends the search.
    pub(super) fn spread_probe(&mut self, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        let Some(search) = spreading.search.as_mut() else {
            return;
        };
        if search.high - search.low <= 1 {
            spreading.take_failure();
            return self.spread_roll_back(out);
        }
        search.tried = search.low + (search.high - search.low) / 2;
        for member in &mut spreading.members {
            member.failed = None;
        }
        self.spread_try(0, out);
    }

    /// All answers of the member with this index are in.
    pub(super) fn spread_search_on(&mut self, index: usize, out: &mut Output) {
        match self.spreading.as_ref().is_some_and(|s| s.error.is_some()) {
            true => self.spread_roll_back(out),
            false => self.spread_try(index + 1, out),
        }
    }

    /// The next member, from this index on, that has some of the rows that are tried; else what is known then.
    fn spread_try(&mut self, from: usize, out: &mut Output) {
        let Some(spreading) = self.spreading.as_mut() else {
            return;
        };
        let Some(search) = spreading.search.as_ref() else {
            return;
        };
        let tried = search.tried;
        let has_rows = |index: usize| {
            let shard = spreading.members.get(index).map(|member| member.shard);
            let part = shard.and_then(|shard| spreading.spread.part(shard));
            part.and_then(|part| spreading.spread.part_of_first(part, tried, ""))
                .is_some()
        };
        let next = search
            .members
            .iter()
            .copied()
            .find(|index| *index >= from && has_rows(*index));
        let Some(index) = next else {
            spreading.learn();
            return self.spread_probe(out);
        };
        spreading.stage = Stage::Searching(index);
        let texts = vec![
            Said::Query("ROLLBACK".to_owned()),
            Said::Query("BEGIN".to_owned()),
            Said::Part(Some(tried)),
        ];
        self.spread_say(|at, _| at == index, |_| texts.clone(), out);
    }
}
