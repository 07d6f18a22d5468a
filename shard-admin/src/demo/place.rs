//! The directory of a demo: where it is, what lies in it, and that one command at a time changes it.

use crate::cluster::{Account, reachable_by};
use crate::failure::Failure;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The default for an ordinary user, in the current directory.
const DEFAULT: &str = ".demo";
/// The default for root where `postgres` cannot enter the current directory, as below root's own home.
const DEFAULT_FOR_ROOT: &str = "/var/lib/shardgate/demo";

/// `.demo` in the current directory; for root, `/var/lib/shardgate/demo` if the account `postgres`, which must own the
/// servers' files, cannot enter the current directory.
pub fn default_dir() -> Result<PathBuf, Failure> {
    let current = std::env::current_dir().map_err(Failure::io("find the current directory"))?;
    let own = current.join(DEFAULT);
    // Without an account there is nothing to check here; starting a server will say what is missing.
    let enterable =
        Account::find().map_or(true, |account| reachable_by(&account, &current).is_ok());
    Ok(if enterable || own.exists() {
        own
    } else {
        PathBuf::from(DEFAULT_FOR_ROOT)
    })
}

/// The directory of a demo.
#[derive(Clone, Debug)]
pub struct Place {
    pub dir: PathBuf,
}

impl Place {
    /// `dir`, or the default.
    pub fn new(dir: Option<PathBuf>) -> Result<Place, Failure> {
        let dir = match dir {
            Some(dir) => dir,
            None => default_dir()?,
        };
        let dir =
            std::path::absolute(&dir).map_err(Failure::io(format!("find {}", dir.display())))?;
        Ok(Place { dir })
    }

    pub fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    pub fn router_dir(&self) -> PathBuf {
        self.dir.join("router")
    }

    fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Keeps other commands from changing the demo while the value lives. The directory must exist.
    pub fn lock(&self) -> Result<File, Failure> {
        let path = self.lock_file();
        let open = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = open.map_err(Failure::io(format!("open {}", path.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::new("another command is changing the demo")
                    .detail(format!("It holds the lock on {}.", path.display()))
                    .hint("Wait until it has ended."))
            }
            Err(TryLockError::Error(source)) => {
                Err(Failure::io(format!("lock {}", path.display()))(source))
            }
        }
    }

    /// Refuses a directory that holds something else.
    pub fn require_empty(&self) -> Result<(), Failure> {
        let entries = std::fs::read_dir(&self.dir)
            .map_err(Failure::io(format!("read {}", self.dir.display())))?;
        let stranger = entries
            .flatten()
            .find(|entry| entry.path() != self.lock_file());
        match stranger {
            None => Ok(()),
            Some(entry) => Err(Failure::new(format!(
                "the directory {} is in use",
                self.dir.display()
            ))
            .detail(format!(
                "It is no demo and contains {}.",
                entry.file_name().display()
            ))
            .hint("Choose an empty or a new directory with --dir.")),
        }
    }

    /// Removes what a demo of these shards has made. What else is in the directory stays.
    pub fn clear(&self, shards: &[String]) -> Result<(), Failure> {
        let folders = shards
            .iter()
            .map(|name| self.dir.join(name))
            .chain([self.router_dir()]);
        for folder in folders {
            ignore_missing(std::fs::remove_dir_all(&folder), &folder)?;
        }
        for file in [self.state_file(), self.lock_file()] {
            ignore_missing(std::fs::remove_file(&file), &file)?;
        }
        Ok(())
    }

    /// As [`Place::clear`], then the directory itself, unless something else is in it. True if it is gone.
    pub fn remove(&self, shards: &[String]) -> Result<bool, Failure> {
        self.clear(shards)?;
        Ok(std::fs::remove_dir(&self.dir).is_ok())
    }
}

fn ignore_missing(result: std::io::Result<()>, path: &Path) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::io(format!("remove {}", path.display()))(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_files_are_respected() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(Some(dir.path().join("demo"))).unwrap();
        std::fs::create_dir(&place.dir).unwrap();
        let lock = place.lock().unwrap();
        place.require_empty().unwrap();
        assert!(
            place
                .lock()
                .unwrap_err()
                .message
                .contains("another command")
        );
        drop(lock);
        std::fs::write(place.dir.join("letter"), "dear").unwrap();
        assert!(
            place
                .require_empty()
                .unwrap_err()
                .detail
                .unwrap()
                .contains("letter")
        );
        std::fs::create_dir(place.dir.join("s1")).unwrap();
        assert!(!place.remove(&["s1".to_owned(), "s2".to_owned()]).unwrap());
        assert!(place.dir.join("letter").exists());
        std::fs::remove_file(place.dir.join("letter")).unwrap();
        assert!(place.remove(&[]).unwrap());
        assert!(!place.dir.exists());
    }
}
