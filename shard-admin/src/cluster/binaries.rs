//! Where the Postgres server binaries of this machine are.

use crate::cluster::error::ClusterError;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Logical replication with row filters, which moving data needs, came with this version.
const MAJOR_MIN: u32 = 15;

/// Folders that hold one folder for each installed version, and what follows the version: Debian's, then Red Hat's.
const VERSIONED: [(&str, &str, &str); 2] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
];

/// A folder with `postgres`, `initdb` and `pg_basebackup` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgBinaries {
    pub dir: PathBuf,
    /// The major version: 15, 16, ..
    pub major: u32,
}

impl PgBinaries {
    /// `SHARDGATE_PG_BIN` if it is set, then the newest version that the system's packages have installed, then PATH.
    pub fn find() -> Result<PgBinaries, ClusterError> {
        let chosen = std::env::var_os("SHARDGATE_PG_BIN").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let candidates: Vec<PathBuf> = match chosen {
            Some(dir) => vec![dir],
            None => installed_versions()
                .into_iter()
                .chain(std::env::split_paths(&path))
                .collect(),
        };
        let Some(dir) = candidates.iter().find(|dir| is_complete(dir)) else {
            let mut searched: Vec<String> =
                candidates.iter().map(|c| c.display().to_string()).collect();
            searched.insert(0, "/usr/lib/postgresql/*/bin".to_owned());
            return Err(ClusterError::NoBinaries { searched });
        };
        let major = major_version(&dir.join("postgres"))?;
        if major < MAJOR_MIN {
            return Err(ClusterError::OldBinaries {
                dir: dir.clone(),
                found: major,
                wanted: MAJOR_MIN,
            });
        }
        Ok(PgBinaries {
            dir: dir.clone(),
            major,
        })
    }

    /// The full path of one of the binaries.
    pub fn path(&self, tool: &str) -> PathBuf {
        self.dir.join(tool)
    }
}

fn is_complete(dir: &Path) -> bool {
    ["postgres", "initdb", "pg_basebackup"]
        .iter()
        .all(|tool| dir.join(tool).is_file())
}

/// Newest first.
fn installed_versions() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix, leaf) in VERSIONED {
        // A missing folder only means that the packages of that system are not here.
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let version = name
                .to_str()
                .and_then(|n| n.strip_prefix(prefix))
                .and_then(|v| v.parse().ok());
            if let Some(version) = version {
                found.push((version, entry.path().join(leaf)));
            }
        }
    }
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

fn major_version(postgres: &Path) -> Result<u32, ClusterError> {
    let tool = format!("\"{} --version\"", postgres.display());
    let output = Command::new(postgres)
        .arg("--version")
        .output()
        .map_err(ClusterError::io(format!("run {tool}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    parse_major(&text).ok_or(ClusterError::Tool { tool, output: text })
}

/// `postgres (PostgreSQL) 15.20 (Debian 15.20-1)`, `postgres (PostgreSQL) 18beta1`
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split_whitespace().nth(2)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let check =
            |text: &str, expect: Option<u32>| assert_eq!(parse_major(text), expect, "{text}");
        check(
            "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n",
            Some(15),
        );
        check("postgres (PostgreSQL) 18beta1\n", Some(18));
        check("postgres (PostgreSQL) devel\n", None);
        check("", None);
    }
}
