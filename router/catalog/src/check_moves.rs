//! What moves have left: streams, gates and rows on shards that no move under way accounts for, and moves that nobody
//! drives.

use crate::check::Finding;
use crate::connect::Backend;
use crate::error::CatalogError;
use crate::quote::{ident, qualified};
use crate::shard::ShardRow;
use shardgate_plan::snapshot::{Placement, Snapshot};
use std::collections::BTreeSet;

const LEFT: &str = "No move needs it any more. Drop it by hand: subscriptions first, with slot_name = NONE if the other \
    server is gone, then slots and publications; triggers and their functions last.";

/// Moves on the home shard: those that wait for somebody.
pub(crate) async fn of_home(home: &Backend) -> Result<Vec<Finding>, CatalogError> {
    let rows = home
        .query(
            "SELECT id, step, paused, error, coalesce(lease > now(), false) FROM shardgate.move \
             WHERE step NOT IN ('completed', 'cancelled') ORDER BY id",
            &[],
        )
        .await
        .map_err(|error| home.err(&error))?;
    let mut findings = Vec::new();
    for row in &rows {
        let (id, step): (i64, String) = (row.get(0), row.get(1));
        let (paused, error, driven): (bool, Option<String>, bool) =
            (row.get(2), row.get(3), row.get(4));
        let object = format!("move {id}");
        if let Some(why) = error {
            let hint = "See \"shard-admin move status\"; when the cause is gone, \"shard-admin move resume\" goes on.";
            findings.push(Finding::warning(
                "move_failed",
                object,
                format!("it has failed in step {step}: {why}"),
                hint,
            ));
            continue;
        }
        if driven || paused {
            continue;
        }
        match step.as_str() {
            "hold" | "moved" => {
                let hint = "Statements for its keys wait. A router ends this state within seconds; if none does, run \
                    \"shard-admin move resume\".";
                let message = format!("nobody drives it, and it is in step {step}");
                findings.push(Finding::error("move_held", object, message, hint));
            }
            // These are where a move may rest.
            "verified" | "switched" | "reversed" => {}
            _ => {
                let hint = "Go on with \"shard-admin move resume\", or end it with \"shard-admin move cancel\".";
                let message = format!("nobody drives it, and it is in step {step}");
                findings.push(Finding::warning("move_stopped", object, message, hint));
            }
        }
    }
    Ok(findings)
}

/// Objects of moves on one shard that belong to none that is under way.
pub(crate) async fn of_shard(
    backend: &Backend,
    row: &ShardRow,
    cluster: &str,
    snapshot: &Snapshot,
) -> Result<Vec<Finding>, CatalogError> {
    let under_way: BTreeSet<i64> = snapshot.moves.iter().map(|one| one.id).collect();
    let ours: String = cluster.chars().filter(|c| *c != '-').take(8).collect();
    let rows = backend
        .query(
            "SELECT what, name, substring(name FROM '^shardgate_' || $1 || '_m([0-9]+)_') FROM ( \
                 SELECT 'replication slot', slot_name::text FROM pg_replication_slots \
                     WHERE database = current_database() AND NOT temporary \
                 UNION ALL SELECT 'subscription', subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid \
                     WHERE d.datname = current_database() \
                 UNION ALL SELECT 'publication', pubname::text FROM pg_publication) AS o (what, name) \
             WHERE name LIKE 'shardgate\\_' || $1 || '\\_m%' \
             UNION ALL SELECT DISTINCT 'gate trigger on ' || g.tgrelid::regclass::text, g.tgname::text, \
                 substring(encode(g.tgargs, 'escape') FROM '^[0-9]+') FROM pg_trigger g \
                 WHERE g.tgname LIKE '~shardgate\\_gate\\_%' AND NOT g.tgisinternal \
             UNION ALL SELECT 'gate', 'of move ' || move_id, move_id::text FROM shardgate.gate \
             ORDER BY 1, 2",
            &[&ours],
        )
        .await
        .map_err(|error| backend.err(&error))?;
    let mut findings = Vec::new();
    for found in &rows {
        let (what, name): (String, String) = (found.get(0), found.get(1));
        let id: Option<i64> = found
            .get::<_, Option<String>>(2)
            .and_then(|id| id.parse().ok());
        if id.is_none_or(|id| !under_way.contains(&id)) {
            let object = format!("{what} {name} on shard {}", row.name);
            findings.push(Finding::error(
                "move_left",
                object,
                "it is left of a move that is over",
                LEFT,
            ));
        }
    }
    let fence = backend
        .query_opt("SELECT fence FROM shardgate.identity", &[])
        .await
        .map_err(|error| backend.err(&error))?;
    let fence: i64 = fence.map(|row| row.get(0)).unwrap_or_default();
    if u64::try_from(fence).is_ok_and(|fence| fence > snapshot.epoch.number) {
        findings.push(Finding::error(
            "fence_ahead",
            format!("shard {}", row.name),
            format!("its fence is epoch {fence}, and the newest epoch is {}", snapshot.epoch.number),
            "Routers do not use the shard. The home shard has lost history: compare the shards before anything else.",
        ));
    }
    Ok(findings)
}

/// Rows that lie on a shard which does not own them, whatever has brought them there. It reads every distributed table.
pub(crate) async fn misplaced(
    backend: &Backend,
    row: &ShardRow,
    snapshot: &Snapshot,
) -> Result<Vec<Finding>, CatalogError> {
    let shard = row.shard_id();
    let mut findings = Vec::new();
    let mut relations: Vec<_> = snapshot
        .relations
        .values()
        .flat_map(|all| all.values())
        .collect();
    relations.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    for relation in relations {
        let Placement::Distributed { distribution, key } = &relation.placement else {
            continue;
        };
        let (Some(known), Some(column)) = (
            snapshot.distributions.get(distribution),
            relation.columns.get(*key),
        ) else {
            continue;
        };
        let column = ident(&column.name);
        let mut elsewhere = format!("({}) IS NOT TRUE", known.map.ownership_sql(&column, shard));
        // Both shards of a move may have its rows.
        for one in snapshot
            .moves
            .iter()
            .filter(|one| one.distribution == *distribution && one.shards.contains(&shard))
        {
            elsewhere.push_str(&format!(
                " AND ({}) IS NOT TRUE",
                one.parts.predicate_sql(&column, &known.map)
            ));
        }
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {elsewhere}",
            qualified(&relation.schema, &relation.name)
        );
        let counted = backend
            .query_one(&sql, &[])
            .await
            .map_err(|error| backend.err(&error))?;
        let count: i64 = counted.get(0);
        if count > 0 {
            let object = format!(
                "table {}.{} on shard {}",
                relation.schema, relation.name, row.name
            );
            let hint = "They are a copy that a move has left, or came past the guard. Compare them with the shard that owns \
                them, and delete them here.";
            findings.push(Finding::error(
                "misplaced",
                object,
                format!("{count} rows belong to other shards"),
                hint,
            ));
        }
    }
    Ok(findings)
}
