//! The switch: the keys of a move change hands, in three epochs.
//!
//! *hold*: routers make statements for the keys wait, and say when nothing of them is under way; the gate of the shard
//! that loses them is closed, and the other one has received everything. *moved*: the map has changed; whoever does not
//! say that it knows is cut off, and the gate of the shard that gains them is opened. Then statements go on. Until
//! *moved* is committed everything can be undone, and is when the time is over; afterwards it only goes forward. Both is
//! done by whoever takes the lease over when this program has died.

use crate::connect::Backend;
use crate::error::{CatalogError, PgError};
use crate::moves::drive::{Drive, Side, durable};
use crate::moves::step::Step;
use crate::moves::verify::{self, Limits, Sides, Subject, Witness};
use crate::moves::{gates, map, routers, streams};
use crate::quote::literal;
use futures_util::future::try_join;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tracing::{info, warn};

/// How long transactions that have passed the gate are waited for at a time: those that come meanwhile wait behind.
const GATE_LOCK_MS: u64 = 300;
/// A stream may be that far behind when a switch begins.
const LAG_WAIT: Duration = Duration::from_secs(60);
/// How often what has changed is looked at again before statements wait, at most.
const WITNESS_ROUNDS: u32 = 3;
/// Little is left if reading it was that quick, and it was that few rows.
const WITNESS_QUICK: Duration = Duration::from_millis(50);
const WITNESS_FEW: usize = 500;
/// How long the standbys of the home shard are waited for, so that the new map is not lost with the primary.
const STANDBYS_WAIT: Duration = Duration::from_secs(5);
/// How long routers are waited for before they are cut off, after the map has changed.
const MOVED_WAIT: Duration = Duration::from_millis(1_500);

/// Carries out a whole switch, from the step before it: verified or reversed, or switched for the way back.
///
/// # Errors
/// 55006 if it was undone: the message says what was waited for. It can be tried again.
pub(crate) async fn run(drive: &mut Drive<'_>, backwards: bool) -> Result<(), CatalogError> {
    refuse_other_timeline(drive, backwards).await?;
    follows(drive, backwards).await?;
    let witness = compare(drive, backwards).await?;
    let mut changed = verify::Changed::default();
    arm(drive, backwards).await?;
    if let Some(witness) = &witness {
        catch_up_witness(drive, backwards, witness, &mut changed).await?;
    }
    // Before anybody waits: a host that is down takes its time.
    let standbys = standbys(drive).await;
    drive.pass("move-hold");
    let begun = Instant::now();
    let deadline =
        begun + Duration::from_millis(u64::try_from(drive.row.pause_ms_max).unwrap_or_default());
    let set = format!(", reversing = {backwards}");
    let held = drive
        .set_step_in_epoch(Step::Hold, &set, async |_, _| Ok(()))
        .await?;
    drive.row.reversing = backwards;
    drive.pass("move-held");
    let lost = match give_up(drive, held, deadline, witness.as_ref(), changed).await {
        Ok(()) => change_map(drive).await,
        Err(error) => Err(error),
    };
    if let Err(error) = lost {
        // The commit may have happened although its answer was lost.
        drive.read_again().await?;
        if drive.row.step == Step::Hold {
            undo(drive).await?;
            return Err(error);
        }
        warn!(%error, "the map has changed; the move goes on");
    }
    finish_with(drive, Some(begun), &standbys).await
}

/// The standbys of both shards.
async fn standbys(drive: &Drive<'_>) -> Vec<Backend> {
    let mut all = drive.source.standbys().await;
    all.extend(drive.target.standbys().await);
    all
}

/// What has begun on another timeline may have lost what was copied, or the stream itself.
async fn refuse_other_timeline(drive: &Drive<'_>, backwards: bool) -> Result<(), CatalogError> {
    let (losing, _) = drive.direction(backwards);
    let then = if backwards {
        drive.row.target_timeline
    } else {
        drive.row.source_timeline
    };
    let now = timeline(losing).await?;
    if now == then || then == 0 {
        return Ok(());
    }
    let hint = if backwards {
        "The way back is lost. Complete this move, and start another one back."
    } else {
        "Cancel this move, and start it again."
    };
    Err(PgError::new(
        "55000",
        format!("{} has failed over since the move began", losing.row.whom()),
    )
    .detail(format!(
        "It was on timeline {then} and is on {now}: what the other shard has followed may have been lost there."
    ))
    .hint(hint)
    .into())
}

pub(crate) async fn timeline(side: &Side) -> Result<i64, CatalogError> {
    let row = side
        .backend
        .query_one(
            "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)",
            &[],
        )
        .await
        .map_err(|error| side.backend.err(&error))?;
    Ok(i64::from_str_radix(&row.get::<_, String>(0), 16).unwrap_or_default())
}

/// The shard that gains the keys must have almost everything before anybody waits for the rest.
async fn follows(drive: &Drive<'_>, backwards: bool) -> Result<(), CatalogError> {
    let (losing, gaining) = drive.direction(backwards);
    let running = streams::there(&gaining.backend, &streams::prefix(drive, backwards)).await?;
    let mark = streams::send_mark(&losing.backend, &running).await?;
    if streams::mark_arrives(&gaining.backend, &running, mark, LAG_WAIT).await? {
        return Ok(());
    }
    Err(drive
        .refuse("55006", format!("{} does not follow", gaining.row.whom()))
        .hint("See its log for what the stream waits for, then try again.")
        .into())
}

/// Makes the stream that is to run after the switch. Making a slot waits for running transactions, so it is done before
/// anybody waits.
async fn arm(drive: &Drive<'_>, backwards: bool) -> Result<(), CatalogError> {
    if drive.tables.is_empty() {
        return Ok(());
    }
    let (losing, gaining) = drive.direction(backwards);
    streams::remove_all(gaining, losing, &streams::prefix(drive, !backwards)).await?;
    let stream = streams::opposite(drive, backwards);
    streams::publish(drive, gaining, &stream).await?;
    streams::subscribe(drive, gaining, losing, &stream).await?;
    drive.pass("move-armed");
    Ok(())
}

/// Looks again at what has changed since the comparison began, until little is left for the moment in which statements
/// wait. `changed` has what was not looked at.
async fn catch_up_witness(
    drive: &Drive<'_>,
    backwards: bool,
    witness: &Witness,
    changed: &mut verify::Changed,
) -> Result<(), CatalogError> {
    let (losing, gaining) = drive.direction(backwards);
    let slots = streams::there(&gaining.backend, &streams::prefix(drive, backwards)).await?;
    let sides = Sides {
        source: &losing.backend,
        target: &gaining.backend,
        slots: &slots,
    };
    let subjects = subjects(drive);
    for _ in 0..WITNESS_ROUNDS {
        // A slot is read from the last place at which the server wrote down which transactions ran: without a new one,
        // that is seconds of the log each time.
        streams::note_running(&losing.backend, &format!("{}_n", drive.prefix)).await;
        let begun = Instant::now();
        witness.drain(sides, &subjects, changed).await?;
        let took = begun.elapsed();
        // A row that changes again and again is left to the next look.
        let limits = Limits {
            rounds_max: 2,
            ..Limits::default()
        };
        let report = verify::verify_changed(sides, &subjects, changed, false, &limits).await?;
        refuse_differences(drive, &report)?;
        // A row that has changed while it was looked at comes again.
        let few = changed.len() < WITNESS_FEW;
        *changed = verify::Changed::default();
        if took < WITNESS_QUICK && few {
            break;
        }
    }
    // From here on what has changed is read from this place.
    streams::note_running(&losing.backend, &format!("{}_n", drive.prefix)).await;
    witness.drain(sides, &subjects, changed).await
}

/// What is compared: the rows of the parts in each table.
pub(crate) fn subjects(drive: &Drive<'_>) -> Vec<Subject> {
    drive
        .tables
        .iter()
        .map(|table| Subject {
            schema: table.schema.clone(),
            name: table.name.clone(),
            key: table.key.clone(),
            predicate: drive.predicate(table, &drive.parts),
        })
        .collect()
}

/// Compares both shards while applications write, and keeps a witness of what changes from then on.
pub(crate) async fn compare(
    drive: &Drive<'_>,
    backwards: bool,
) -> Result<Option<Witness>, CatalogError> {
    if drive.tables.is_empty() {
        return Ok(None);
    }
    let (losing, gaining) = drive.direction(backwards);
    let slots = streams::there(&gaining.backend, &streams::prefix(drive, backwards)).await?;
    let sides = Sides {
        source: &losing.backend,
        target: &gaining.backend,
        slots: &slots,
    };
    let name = format!("{}_w", drive.prefix);
    streams::drop_slots(&losing.backend, &name).await?;
    losing.backend.run("SET statement_timeout = '60s'").await?;
    let opened = Witness::open(&losing.backend, &name, &slots, true).await;
    losing.backend.run("SET statement_timeout = 0").await?;
    let witness = opened?;
    let report = verify::verify(sides, &subjects(drive), &Limits::default()).await?;
    refuse_differences(drive, &report)?;
    Ok(Some(witness))
}

fn refuse_differences(drive: &Drive<'_>, report: &verify::Report) -> Result<(), CatalogError> {
    if report.is_equal() {
        return Ok(());
    }
    let named: Vec<String> = report
        .differences()
        .take(5)
        .map(ToString::to_string)
        .collect();
    Err(drive
        .refuse("XX001", "the rows on both shards are not the same".to_owned())
        .detail(named.join("; "))
        .hint("Nothing was switched. Find out who writes on the other shard; cancel the move and start it again.")
        .into())
}

/// The losing shard gives the keys up: nothing is under way, its gate is closed, and the other shard has everything.
async fn give_up(
    drive: &Drive<'_>,
    held: i64,
    deadline: Instant,
    witness: Option<&Witness>,
    changed: verify::Changed,
) -> Result<(), CatalogError> {
    let (losing, gaining) = drive.direction(drive.row.reversing);
    let undone = |what: String| {
        CatalogError::from(
            drive
                .refuse("55006", format!("the switch was undone: {what}"))
                .detail(format!(
                    "Statements were held back for {} ms.",
                    drive.row.pause_ms_max
                ))
                .hint("Try again, or let it hold statements back for longer."),
        )
    };
    if let Some(behind) = routers::drained(drive.home, held, deadline).await? {
        return Err(undone(format!(
            "transactions that use the keys are still open in router {}",
            behind.join(", ")
        )));
    }
    drive.pass("move-drained");
    let running = streams::there(
        &gaining.backend,
        &streams::prefix(drive, drive.row.reversing),
    )
    .await?;
    let mark = streams::new_mark(&losing.backend).await?;
    close_gate(drive, losing, &running, mark, deadline)
        .await
        .map_err(
            |error| match error.is_state(&SqlState::LOCK_NOT_AVAILABLE) {
                true => undone(format!(
                    "a transaction that has written such rows is still open on {}",
                    losing.row.whom()
                )),
                false => error,
            },
        )?;
    drive.pass("move-gate-closed");
    let left = deadline.saturating_duration_since(Instant::now());
    if !streams::mark_arrives(&gaining.backend, &running, mark, left).await? {
        return Err(undone(format!(
            "{} has not received all changes",
            gaining.row.whom()
        )));
    }
    drive.pass("move-passed");
    let look = async {
        match witness {
            Some(witness) => look_again(drive, witness, changed, &running).await,
            None => Ok(()),
        }
    };
    let stop = streams::disable(&losing.backend, &gaining.backend, &running);
    try_join(look, stop).await?;
    drive.pass("move-stopped");
    advance_opposite(drive, losing, gaining).await?;
    drive.pass("move-advanced");
    if Instant::now() >= deadline {
        return Err(undone("it has taken too long".to_owned()));
    }
    Ok(())
}

async fn close_gate(
    drive: &Drive<'_>,
    losing: &Side,
    running: &[String],
    mark: i64,
    deadline: Instant,
) -> Result<(), CatalogError> {
    let mut wait_ms = 5;
    loop {
        let closed = gates::close(drive, losing, running, mark, GATE_LOCK_MS).await;
        match closed {
            Err(error)
                if error.is_state(&SqlState::LOCK_NOT_AVAILABLE) && Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                wait_ms = (wait_ms * 2).min(100);
            }
            other => return other,
        }
    }
}

/// Compares the rows that have changed since both shards were compared.
async fn look_again(
    drive: &Drive<'_>,
    witness: &Witness,
    mut changed: verify::Changed,
    running: &[String],
) -> Result<(), CatalogError> {
    let (losing, gaining) = drive.direction(drive.row.reversing);
    let sides = Sides {
        source: &losing.backend,
        target: &gaining.backend,
        slots: running,
    };
    let subjects = subjects(drive);
    witness.drain(sides, &subjects, &mut changed).await?;
    let report =
        verify::verify_changed(sides, &subjects, &changed, true, &Limits::default()).await?;
    refuse_differences(drive, &report)
}

/// What has come to the gaining shard must not go back through the stream that begins now: it begins behind that. The
/// subscription says from where it wants to read, so nobody waits until the slot has been read up to there.
async fn advance_opposite(
    drive: &Drive<'_>,
    losing: &Side,
    gaining: &Side,
) -> Result<(), CatalogError> {
    if drive.tables.is_empty() {
        return Ok(());
    }
    let name = streams::opposite(drive, drive.row.reversing).name;
    let noted = format!(
        "UPDATE shardgate.gate SET attempt = greatest(attempt, {}) WHERE move_id = {}",
        drive.lease.attempt,
        drive.id()
    );
    // The commit flushes the log, those of the stream's transactions as well: the place must not lie before them.
    gaining.backend.run(&noted).await?;
    let row = gaining
        .backend
        .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
        .await
        .map_err(|error| gaining.backend.err(&error))?;
    // The commit makes what was said before it outlive a crash.
    losing
        .backend
        .run(&format!(
            "BEGIN; SELECT pg_replication_origin_advance('pg_' || oid, {}) FROM pg_subscription WHERE subname = {}; \
             {noted}; COMMIT",
            literal(&row.get::<_, String>(0)),
            literal(&name)
        ))
        .await
}

/// The keys get their new owner. From here it only goes forward.
async fn change_map(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    drive.pass("move-map");
    let (_, gaining) = drive.direction(drive.row.reversing);
    let place = gaining
        .backend
        .query_one("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint", &[])
        .await
        .map_err(|error| gaining.backend.err(&error))?;
    let lsn: i64 = place.get(0);
    let timeline = timeline(gaining).await?;
    let (id, distribution, owner) = (drive.id(), drive.row.distribution, gaining.row.id);
    let new = drive
        .parts
        .assigned(&drive.map, gaining.id())
        .map_err(|error| drive.refuse("55000", error.to_string()))?;
    let written = new.clone();
    drive
        .set_step_in_epoch(Step::Moved, ", since = $4, settled = false", async |tx, _| {
            map::write_owner(tx, id, distribution, &written, owner).await?;
            tx.execute(
                "UPDATE shardgate.shard SET floor_timeline = $2, floor_lsn = '0/0'::pg_lsn + $3::int8::numeric WHERE id = $1",
                &[&owner, &timeline, &lsn],
            )
            .await?;
            Ok(())
        })
        .await?;
    drive.row.since = drive.row.step_epoch;
    drive.map = new;
    drive.pass("move-map-changed");
    Ok(())
}

/// Goes forward from the step *moved*, in which somebody else has left it.
pub(crate) async fn finish(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    let standbys = standbys(drive).await;
    finish_with(drive, None, &standbys).await
}

/// Goes forward from the step *moved*. `begun` is when statements began to wait, if this program knows.
async fn finish_with(
    drive: &mut Drive<'_>,
    begun: Option<Instant>,
    standbys: &[Backend],
) -> Result<(), CatalogError> {
    let epoch = drive.row.since;
    let (losing, gaining) = drive.direction(drive.row.reversing);
    for side in [losing, gaining] {
        routers::raise_fence(&side.backend, epoch).await?;
    }
    drive.pass("move-fenced");
    let behind = routers::drained(drive.home, epoch, Instant::now() + MOVED_WAIT).await?;
    if let Some(behind) = &behind {
        warn!(routers = behind.join(", "), epoch, "routers are cut off");
    }
    for side in [losing, gaining] {
        let ended = routers::cut_off(drive.home, &side.backend, epoch).await?;
        if ended > 0 {
            info!(
                ended,
                shard = side.row.name,
                "connections of outdated routers were ended"
            );
        }
    }
    for standby in standbys {
        // One that has failed meanwhile answers nobody.
        if let Err(error) = routers::cut_off(drive.home, standby, epoch).await {
            warn!(%error, "outdated routers were not cut off from a standby");
        }
    }
    home_standbys(drive).await?;
    gates::open(drive, gaining).await?;
    drive.pass("move-gate-opened");
    let step = if drive.row.reversing {
        Step::Reversed
    } else {
        Step::Switched
    };
    let pause = begun.map(|begun| i32::try_from(begun.elapsed().as_millis()).unwrap_or(i32::MAX));
    let set = match pause {
        Some(pause) => format!(", pause_ms = {pause}"),
        None => String::new(),
    };
    drive
        .set_step_in_epoch(step, &set, async |_, _| Ok(()))
        .await?;
    drive.row.settled = false;
    drive.pass("move-switched");
    settle(drive).await
}

/// The new map must not be lost with the home shard's primary: then the keys would have two owners.
async fn home_standbys(drive: &Drive<'_>) -> Result<(), CatalogError> {
    let until = Instant::now() + STANDBYS_WAIT;
    let row = drive
        .home
        .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
        .await
        .map_err(|error| drive.home.err(&error))?;
    let place: String = row.get(0);
    loop {
        let row = drive
            .home
            .query_one(
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn < $1::text::pg_lsn \
                 AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active)",
                &[&place],
            )
            .await
            .map_err(|error| drive.home.err(&error))?;
        let behind: i64 = row.get(0);
        if behind == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            warn!(
                behind,
                "standbys of the home shard do not have the new map yet"
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

/// After a switch: the stream back runs, and nothing is left of the one before. Nobody waits for it.
pub(crate) async fn settle(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    if drive.row.settled {
        return Ok(());
    }
    let backwards = drive.row.reversing;
    let (losing, gaining) = drive.direction(backwards);
    if !drive.tables.is_empty() {
        // First those that must not run together with the new one.
        streams::remove_all(losing, gaining, &streams::prefix(drive, backwards)).await?;
        let back = streams::there(&losing.backend, &streams::prefix(drive, !backwards)).await?;
        streams::enable(&losing.backend, &back).await?;
        drive.pass("move-settle-enabled");
    }
    let changed = drive
        .home
        .execute(
            "UPDATE shardgate.move SET settled = true WHERE id = $1 AND attempt = $2",
            &[&drive.id(), &drive.lease.attempt],
        )
        .await
        .map_err(|error| drive.home.err(&error))?;
    if changed == 0 {
        return Err(crate::moves::lease::Lease::lost(drive.id()));
    }
    drive.row.settled = true;
    drive.pass("move-settled");
    Ok(())
}

/// Takes back what the step *hold* has done: the keys stay where they are, and statements go on.
pub(crate) async fn undo(drive: &mut Drive<'_>) -> Result<(), CatalogError> {
    drive.pass("move-undo");
    let backwards = drive.row.reversing;
    let (losing, gaining) = drive.direction(backwards);
    durable(&losing.backend).await?;
    gates::open(drive, losing).await?;
    drive.pass("move-undo-opened");
    let running = streams::there(&gaining.backend, &streams::prefix(drive, backwards)).await?;
    streams::enable(&gaining.backend, &running).await?;
    // The slot of the stream that was made for afterwards must not keep the log.
    streams::remove_all(gaining, losing, &streams::prefix(drive, !backwards)).await?;
    let step = if backwards {
        Step::Switched
    } else if drive.row.since > 0 {
        Step::Reversed
    } else {
        Step::Verified
    };
    // In the steps after a switch the column says where the last one went.
    let set = format!(", reversing = {}", step == Step::Reversed);
    drive
        .set_step_in_epoch(step, &set, async |_, _| Ok(()))
        .await?;
    drive.row.reversing = step == Step::Reversed;
    drive.pass("move-undone");
    Ok(())
}
