//! That nothing is left behind: no server of a deployment lives on after it.

use shard_admin::cluster::ProcessId;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a deployment runs in its directory.
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_basebackup", "shardgate"];

/// Fails if a server of the deployment or the demo in `dir` still lives after a grace of ten seconds.
pub fn assert_no_process_in(dir: &Path) {
    let until = Instant::now() + Duration::from_secs(10);
    let left = ProcessId::working_in(dir, &PROGRAMS);
    for process in &left {
        let ended = process.wait_end(until.saturating_duration_since(Instant::now()));
        assert!(
            ended,
            "process {} in {} is left",
            process.pid,
            dir.display()
        );
    }
}
