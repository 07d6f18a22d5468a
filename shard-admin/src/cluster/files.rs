//! Directories and log files: who may enter them, what their end says.

use crate::cluster::account::Account;
use crate::cluster::error::ClusterError;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How much of a log's end is read for an error message, in bytes.
const TAIL_BYTES: u64 = 4_096;
const TAIL_LINES: usize = 12;

/// The longest path of a Unix socket that every system allows, without the closing zero (macOS has 104, Linux 108).
const SOCKET_PATH_MAX: usize = 103;

/// The last lines of a log file; empty if it cannot be read.
pub fn log_tail(log: &Path) -> String {
    let text = log_since(log, 0);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(TAIL_LINES)..)
        .unwrap_or_default()
        .join("\n")
}

/// Checks that `account` may enter `dir`, which exists, and all the folders above it.
pub fn reachable_by(account: &Account, dir: &Path) -> Result<(), ClusterError> {
    let Some((uid, gid)) = account.change() else {
        return Ok(());
    };
    let dir = dir
        .canonicalize()
        .map_err(ClusterError::io(format!("open {}", dir.display())))?;
    for folder in dir.ancestors() {
        let meta = folder
            .metadata()
            .map_err(ClusterError::io(format!("look at {}", folder.display())))?;
        let bit = match (meta.uid() == uid, meta.gid() == gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        if meta.mode() & bit == 0 {
            return Err(ClusterError::Unreachable {
                dir: dir.clone(),
                blocked: folder.to_owned(),
                account: account.name.clone(),
            });
        }
    }
    Ok(())
}

/// Makes a folder (and those above it) that any account may enter, whatever the umask; one that exists is left alone.
pub(crate) fn make_dir(dir: &Path) -> Result<(), ClusterError> {
    if dir.is_dir() {
        return Ok(());
    }
    let failed = |source| ClusterError::Io {
        what: format!("create the directory {}", dir.display()),
        source,
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(failed)
}

/// The length of a file in bytes; 0 if there is none.
pub(crate) fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}

/// What was written to a log after its first `from` bytes, at most its last 4 kB.
pub(crate) fn log_since(log: &Path, from: u64) -> String {
    read_from(log, from.max(length(log).saturating_sub(TAIL_BYTES)))
}

fn read_from(log: &Path, from: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // The log only explains an error that is reported anyway.
    read().unwrap_or_default()
}

/// Opens a log to append to, for both output streams of a server.
pub(crate) fn open_log(path: &Path) -> Result<(File, File), ClusterError> {
    let open = OpenOptions::new().create(true).append(true).open(path);
    let file = open.map_err(ClusterError::io(format!("open the log {}", path.display())))?;
    let second = file
        .try_clone()
        .map_err(ClusterError::io(format!("open the log {}", path.display())))?;
    Ok((file, second))
}

/// The folder for a server's Unix socket: its data directory, or None where the path would be too long.
pub(crate) fn socket_dir(data: &Path, port: u16) -> Option<PathBuf> {
    let socket = data.join(format!(".s.PGSQL.{port}"));
    (socket.as_os_str().len() <= SOCKET_PATH_MAX).then(|| data.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
        std::fs::write(&log, lines.join("\n")).unwrap();
        let tail = log_tail(&log);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert_eq!(tail.lines().last(), Some("line 999"));
        assert_eq!(log_tail(&dir.path().join("none")), "");
    }

    #[test]
    fn long_paths_have_no_socket() {
        assert!(socket_dir(Path::new("/tmp/x"), 5432).is_some());
        assert!(socket_dir(Path::new(&format!("/tmp/{}", "x".repeat(90))), 5432).is_none());
    }
}
