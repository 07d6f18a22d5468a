//! The last snapshot on disk, for a router that starts while the home shard is down.
//!
//! Written atomically (a file beside it, fsync, rename, fsync of the directory), so a crash leaves the old or the new
//! one. One header line holds the format's version, the length and a SHA-256; a file that does not match is refused.

use crate::error::CatalogError;
use crate::raw::RawSnapshot;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The first word of the header and the version of the format.
const MAGIC: &str = "shardgate-snapshot 4";
/// A larger file is not read: no catalog comes near it.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Writes the snapshot. Blocking: call it from a blocking thread.
pub fn save(path: &Path, raw: &RawSnapshot) -> Result<(), CatalogError> {
    let body = serde_json::to_vec(raw).map_err(|error| wrong(path, &error.to_string()))?;
    write(path, &body).map_err(|error| wrong(path, &error.to_string()))
}

/// Reads it; None if there is no file.
///
/// # Errors
/// `StateFile` for a damaged file, one of another version, or one that cannot be read.
pub fn read(path: &Path) -> Result<Option<RawSnapshot>, CatalogError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(path, &error.to_string())),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => return Err(wrong(path, "it is too large")),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| wrong(path, &error.to_string()))?;
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| wrong(path, "it has no header"))?;
    let (header, body) = bytes.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let header = std::str::from_utf8(header).map_err(|_| wrong(path, "its header is not text"))?;
    if !header.starts_with(MAGIC) {
        return Err(wrong(
            path,
            "it is no snapshot of this version of Shardgate",
        ));
    }
    if header != header_of(body) {
        return Err(wrong(
            path,
            "its checksum does not match: it is damaged or cut off",
        ));
    }
    serde_json::from_slice(body)
        .map(Some)
        .map_err(|error| wrong(path, &error.to_string()))
}

fn write(path: &Path, body: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("the path has no file name"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(beside);
    // It holds the secret that keys mock salts: nobody else may read it.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(header_of(body).as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.write_all(body))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that matters is the first one; the file that is left over is overwritten next time.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(&directory)?.sync_all()
}

fn header_of(body: &[u8]) -> String {
    let hex: String = Sha256::digest(body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{MAGIC} {} {hex}", body.len())
}

fn wrong(path: &Path, why: &str) -> CatalogError {
    CatalogError::StateFile {
        path: path.display().to_string(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"{}").unwrap();
        // The envelope is right and the content is no snapshot.
        assert!(matches!(read(&path), Err(CatalogError::StateFile { .. })));
        let good = fs::read(&path).unwrap();
        for damage in [
            &good[..good.len() - 1],
            b"",
            b"\n",
            b"shardgate-snapshot 1 2 x\n{}",
        ] {
            fs::write(&path, damage).unwrap();
            let error = read(&path).unwrap_err();
            assert_eq!(error.sqlstate(), "58030", "{error}");
        }
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing but the file itself is left");
    }
}
