//! Which account the servers run as: ours, or `postgres` when we are root, because Postgres refuses to run as root.

use crate::cluster::error::ClusterError;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The account that server processes and their files belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    /// User and group to change to; None when the servers run as ourselves.
    change: Option<(u32, u32)>,
}

impl Account {
    pub fn find() -> Result<Account, ClusterError> {
        if id(&["-u"])? != "0" {
            return Ok(Account {
                name: id(&["-un"])?,
                change: None,
            });
        }
        let number = |flag| -> Result<u32, ClusterError> {
            let text = id(&[flag, "postgres"])?;
            text.parse().map_err(|_| ClusterError::NoAccount {
                cause: format!("\"id {flag} postgres\" said {text}"),
            })
        };
        Ok(Account {
            name: "postgres".to_owned(),
            change: Some((number("-u")?, number("-g")?)),
        })
    }

    /// Makes `command` run as this account. The standard library drops root's supplementary groups with it.
    pub fn apply(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.change {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file or directory to this account.
    pub fn own(&self, path: &Path) -> Result<(), ClusterError> {
        let Some((uid, gid)) = self.change else {
            return Ok(());
        };
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(ClusterError::io(format!(
            "give {} to {}",
            path.display(),
            self.name
        )))
    }

    /// The user and group to which we change; None when the servers run as ourselves.
    pub fn change(&self) -> Option<(u32, u32)> {
        self.change
    }
}

/// Asks `id`, because the account may live in LDAP as well as in `/etc/passwd`.
fn id(args: &[&str]) -> Result<String, ClusterError> {
    let output = Command::new("id")
        .args(args)
        .output()
        .map_err(ClusterError::io("run \"id\""))?;
    if !output.status.success() {
        let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ClusterError::NoAccount { cause });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
