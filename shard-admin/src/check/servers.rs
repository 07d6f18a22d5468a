//! Judges what the servers say of themselves: roles, versions, settings, identity.

use crate::check::Finding;
use crate::check::survey::{Answer, Survey, SurveyedShard};
use shardgate_catalog::RawSnapshot;

/// Row filters of publications, with which data is moved, came with this version.
const MAJOR_MIN: u32 = 15;
/// Fewer places for prepared transactions than this are used up by a handful of clients.
const PREPARED_MIN: u32 = 20;
/// A replica that is further behind than this is of little use for reads, and loses more in a failover; bytes of WAL.
const LAG_BYTES_MAX: u64 = 64 << 20;

pub fn judge(survey: &Survey, raw: &RawSnapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for shard in &survey.shards {
        roles(shard, &mut findings);
        for (server, answer) in shard.answers() {
            let place = shard.place(server);
            software(&place, answer, &mut findings);
            identity(&place, shard, answer, raw, &mut findings);
            if !answer.standby {
                settings(&place, shard, answer, &mut findings);
            }
            if let Some(lag) = shard.lag_bytes(answer).filter(|lag| *lag > LAG_BYTES_MAX) {
                findings.push(Finding::warning(
                    &place,
                    format!("the replica is {} MB of WAL behind its primary", lag >> 20),
                    "Routers leave it out until it has caught up. See pg_stat_replication on the primary.",
                ));
            }
        }
    }
    versions(survey, &mut findings);
    login_roles(survey, &mut findings);
    findings
}

fn roles(shard: &SurveyedShard, findings: &mut Vec<Finding>) {
    for server in &shard.servers {
        if let Err(why) = &server.answer {
            findings.push(Finding::warning(
                &shard.place(server),
                format!("the server cannot be reached: {why}"),
                "Start it, or correct its address with \"shard-admin shard set-hosts\".",
            ));
        }
    }
    match shard.primaries().count() {
        0 => findings.push(Finding::error(
            &shard.name,
            "no server of the shard is a primary",
            "Start the primary or promote a replica; writes wait until then.",
        )),
        1 => {}
        n => findings.push(Finding::error(
            &shard.name,
            format!("{n} servers of the shard say that they are primaries"),
            "Stop the one that was failed over from: routers use the newest timeline.",
        )),
    }
}

fn software(place: &str, answer: &Answer, findings: &mut Vec<Finding>) {
    if answer.major() < MAJOR_MIN {
        findings.push(Finding::error(
            place,
            format!(
                "the server runs PostgreSQL {}",
                answer.setting("server_version")
            ),
            format!("Upgrade it to PostgreSQL {MAJOR_MIN} or later."),
        ));
    }
    if answer.setting("server_encoding") != "UTF8" {
        findings.push(Finding::error(
            place,
            format!(
                "the database's encoding is {}",
                answer.setting("server_encoding")
            ),
            "Keys are hashed as UTF8: create the database anew with that encoding.",
        ));
    }
}

fn identity(
    place: &str,
    shard: &SurveyedShard,
    answer: &Answer,
    raw: &RawSnapshot,
    findings: &mut Vec<Finding>,
) {
    let Some((cluster, id)) = &answer.identity else {
        // A replica that is only behind will know it later; one of a primary that does not know is told with that.
        if answer.standby {
            return;
        }
        findings.push(Finding::error(
            place,
            "the server does not know that it is a shard",
            "Its database was replaced or restored. Compare its data with a backup before anything writes to it.",
        ));
        return;
    };
    if *cluster != raw.cluster || u16::try_from(*id) != Ok(shard.id) {
        findings.push(Finding::error(
            place,
            format!("the server says that it is shard {id} of cluster {cluster}"),
            "The address in the catalog belongs to another shard: see \"shard-admin shard set-hosts\".",
        ));
    }
}

fn settings(place: &str, shard: &SurveyedShard, answer: &Answer, findings: &mut Vec<Finding>) {
    match answer.number("max_prepared_transactions") {
        0 => findings.push(Finding::error(
            place,
            "max_prepared_transactions is 0",
            "Changes on several shards commit in two phases: set it to 200 and restart the server.",
        )),
        n if n < PREPARED_MIN => findings.push(Finding::warning(
            place,
            format!("max_prepared_transactions is {n}"),
            "Changes on several shards commit in two phases: set it to 200 and restart the server.",
        )),
        _ => {}
    }
    if answer.setting("wal_level") != "logical" {
        findings.push(Finding::warning(
            place,
            format!("wal_level is {}", answer.setting("wal_level")),
            "Moving data between shards is logical replication: set it to logical and restart the server.",
        ));
    }
    for name in ["fsync", "full_page_writes"] {
        if answer.setting(name) == "off" {
            findings.push(Finding::warning(
                place,
                format!("{name} is off: a crash of the machine may lose or break the data"),
                format!("Set {name} to on."),
            ));
        }
    }
    if answer.old_prepared > 0 {
        findings.push(Finding::warning(
            place,
            format!(
                "{} prepared transactions are older than five minutes",
                answer.old_prepared
            ),
            "They hold locks and keep vacuum from its work: see pg_prepared_xacts.",
        ));
    }
    if shard.servers.len() > 1 && answer.setting("synchronous_standby_names").is_empty() {
        findings.push(Finding::warning(
            place,
            "all replicas are asynchronous: a failover may lose the last commits",
            "Set synchronous_standby_names if the shard can fail over.",
        ));
    }
}

fn versions(survey: &Survey, findings: &mut Vec<Finding>) {
    let home = survey.shards.iter().find(|shard| shard.home);
    let Some((_, home)) = home.and_then(|shard| shard.primaries().next()) else {
        return;
    };
    for shard in &survey.shards {
        for (server, answer) in shard
            .primaries()
            .filter(|(_, answer)| answer.major() != home.major())
        {
            findings.push(Finding::error(
                &shard.place(server),
                format!(
                    "it runs PostgreSQL {}, the home shard {}",
                    answer.major(),
                    home.major()
                ),
                "All shards must run the same major version.",
            ));
        }
    }
}

/// Routers log in to a shard as the client's role, so each login role of the home shard must exist everywhere.
fn login_roles(survey: &Survey, findings: &mut Vec<Finding>) {
    let home = survey.shards.iter().find(|shard| shard.home);
    let Some((_, home)) = home.and_then(|shard| shard.primaries().next()) else {
        return;
    };
    for shard in survey.shards.iter().filter(|shard| !shard.home) {
        let Some((_, answer)) = shard.primaries().next() else {
            continue;
        };
        for (role, password) in &home.roles {
            match answer.roles.get(role) {
                None => findings.push(Finding::error(
                    &shard.name,
                    format!("role \"{role}\" does not exist there, or may not log in"),
                    format!("Create it as on the home shard, with the same password: CREATE ROLE \"{role}\" LOGIN .."),
                )),
                Some(there) if there != password => findings.push(Finding::warning(
                    &shard.name,
                    format!("role \"{role}\" has another password there, or the same with another salt"),
                    "With scram-sha-256 both must be equal: pg_dumpall --roles-only copies them from the home shard.",
                )),
                Some(_) => {}
            }
        }
    }
}
