//! `shard-admin status`: the epoch, every server with its role, the routers.

use crate::check::survey::{self, Answer, Server, Survey, SurveyedShard};
use crate::cli::Shared;
use crate::cli::connect::host_text;
use crate::failure::Failure;
use crate::output::{Report, table};
use serde_json::{Value, json};
use shardgate_catalog::{Backend, RawSnapshot};

/// A router as it has registered itself.
struct Router {
    name: String,
    id: String,
    epoch: i64,
    /// Seconds since its last sign of life.
    seen_seconds: f64,
}

pub async fn run(shared: &Shared) -> Result<(), Failure> {
    let (home, raw, snapshot) = shared.snapshot().await?;
    let survey = survey::survey(home.config(), &raw, &snapshot).await?;
    let routers = routers(&home).await?;
    report(&home, &raw, &survey, &routers).print(shared.output);
    Ok(())
}

async fn routers(home: &Backend) -> Result<Vec<Router>, Failure> {
    let rows = home
        .query(
            "SELECT name, id, epoch, extract(epoch FROM clock_timestamp() - heartbeat)::float8 \
             FROM shardgate.router ORDER BY name, id",
            &[],
        )
        .await?;
    let router = |row: &tokio_postgres::Row| Router {
        name: row.get(0),
        id: row.get(1),
        epoch: row.get(2),
        seen_seconds: row.get(3),
    };
    Ok(rows.iter().map(router).collect())
}

fn report(home: &Backend, raw: &RawSnapshot, survey: &Survey, routers: &[Router]) -> Report {
    let servers = survey
        .shards
        .iter()
        .flat_map(|shard| shard.servers.iter().map(move |server| (shard, server)));
    let rows = servers.map(|(shard, server)| {
        let name = if shard.home {
            format!("{} (home)", shard.name)
        } else {
            shard.name.clone()
        };
        let (role, version, lag) = described(shard, server);
        [name, host_text(&server.host), role, version, lag]
    });
    let servers = table(&["shard", "server", "role", "version", "lag"], rows);
    let rows = routers.iter().map(|router| {
        [
            router.name.clone(),
            router.id.clone(),
            router.epoch.to_string(),
            format!("{:.0} s ago", router.seen_seconds),
        ]
    });
    let routers_text = match routers {
        [] => "No router has registered itself.".to_owned(),
        _ => table(&["router", "id", "epoch", "seen"], rows),
    };
    let text = format!(
        "Cluster {}, epoch {}, database {} on {}\n\n{servers}\n\n{routers_text}",
        raw.cluster,
        raw.epoch.number,
        raw.database,
        home.host()
    );
    let document = json!({
        "cluster": raw.cluster,
        "epoch": raw.epoch.number,
        "database": raw.database,
        "shards": survey.shards.iter().map(shard_json).collect::<Vec<_>>(),
        "routers": routers.iter().map(router_json).collect::<Vec<_>>(),
    });
    Report::new(text, document)
}

/// Role, version, lag.
fn described(shard: &SurveyedShard, server: &Server) -> (String, String, String) {
    match &server.answer {
        Err(why) => (format!("down: {why}"), String::new(), String::new()),
        Ok(answer) => {
            let role = if answer.standby { "replica" } else { "primary" };
            let lag = shard
                .lag_bytes(answer)
                .map_or(String::new(), |lag| format!("{lag} bytes"));
            (role.to_owned(), version(answer).to_owned(), lag)
        }
    }
}

/// `15.18` of `15.18 (Debian 15.18-1)`.
fn version(answer: &Answer) -> &str {
    answer
        .setting("server_version")
        .split_whitespace()
        .next()
        .unwrap_or_default()
}

fn shard_json(shard: &SurveyedShard) -> Value {
    let servers: Vec<Value> = shard
        .servers
        .iter()
        .map(|server| match &server.answer {
            Err(why) => json!({ "server": host_text(&server.host), "role": "down", "error": why }),
            Ok(answer) => json!({
                "server": host_text(&server.host),
                "role": if answer.standby { "replica" } else { "primary" },
                "version": version(answer),
                "lag_bytes": shard.lag_bytes(answer),
            }),
        })
        .collect();
    json!({ "name": shard.name, "home": shard.home, "servers": servers })
}

fn router_json(router: &Router) -> Value {
    json!({ "name": router.name, "id": router.id, "epoch": router.epoch, "seen_seconds": router.seen_seconds })
}
