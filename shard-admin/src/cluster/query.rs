//! One statement on one server, blocking: for the few questions that starting and waiting need, and for tests.

use crate::cluster::error::ClusterError;
use std::time::Duration;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// Rows of text values; None is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// How long one connection with its statement may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `sql` by the simple protocol on a connection of its own. `url` is a libpq URL.
///
/// The work is done on a thread with its own runtime, so this may be called from async code as well (which it blocks).
pub fn query(url: &str, sql: &str) -> Result<Rows, ClusterError> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClusterError::io("start a runtime"))?;
        runtime.block_on(run(url, sql))
    };
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

async fn run(url: &str, sql: &str) -> Result<Rows, ClusterError> {
    let config: tokio_postgres::Config = url
        .parse()
        .map_err(|source| ClusterError::Sql { port: 0, source })?;
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let failed = |source| ClusterError::Sql { port, source };
    let work = async {
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        let ask = client.simple_query(sql);
        tokio::pin!(connection);
        tokio::select! {
            answer = ask => answer.map_err(failed),
            // The statement's own error tells more, so the end of the connection is reported only if it comes first.
            end = &mut connection => match end {
                Ok(()) => Ok(Vec::new()),
                Err(source) => Err(failed(source)),
            },
        }
    };
    let answer =
        tokio::time::timeout(DEADLINE, work)
            .await
            .map_err(|_| ClusterError::Timeout {
                what: format!("an answer of the server on port {port}"),
                seconds: DEADLINE.as_secs(),
                last: None,
            })??;
    Ok(answer.iter().filter_map(row_of).collect())
}

fn row_of(message: &SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    Some(
        (0..row.len())
            .map(|i| row.get(i).map(str::to_owned))
            .collect(),
    )
}
