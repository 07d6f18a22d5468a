//! Other people's clients as child processes, each with a deadline: psql, pgbench, psycopg, node-postgres.
//!
//! `tests/setup.sh` installs them. A missing one is an error that says so, never a skipped test.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A client that has ended by itself.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The standard output, if the client says that all went well.
    pub fn success(self) -> Result<String> {
        ensure!(
            self.status.success(),
            "{}\nstdout: {}\nstderr: {}",
            self.status,
            self.stdout,
            self.stderr
        );
        Ok(self.stdout)
    }
}

/// Runs a command with `input` on its standard input. One that does not end in time is killed, and that is an error.
pub fn run(command: &mut Command, input: &str, deadline: Duration) -> Result<Finished> {
    let what = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("cannot run {what}; \"bash tests/setup.sh all\" installs what the tests need")
        })?;
    let (mut stdin, input) = (child.stdin.take().context("no stdin")?, input.to_owned());
    let writer = std::thread::spawn(move || {
        // A client that does not read its input to the end says so by its status.
        let _closed = stdin.write_all(input.as_bytes());
    });
    let stdout = reader(child.stdout.take().context("no stdout")?);
    let stderr = reader(child.stderr.take().context("no stderr")?);
    let start = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if start.elapsed() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    writer.join().ok();
    let (stdout, stderr) = (text(stdout)?, text(stderr)?);
    match status {
        Some(status) => Ok(Finished {
            status,
            stdout,
            stderr,
        }),
        None => bail!(
            "{what} did not end within {} s\nstdout: {stdout}\nstderr: {stderr}",
            deadline.as_secs()
        ),
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<std::io::Result<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    })
}

fn text(reader: JoinHandle<std::io::Result<Vec<u8>>>) -> Result<String> {
    let bytes = reader
        .join()
        .ok()
        .context("reading a client's output panicked")??;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// psql with a script on its standard input: unaligned rows without headings, and it stops at the first error.
pub fn psql(url: &str, script: &str) -> Result<Finished> {
    let mut command = Command::new("psql");
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "-v",
        "ON_ERROR_STOP=1",
        url,
    ]);
    run(&mut command, script, Duration::from_secs(120))
}

/// pgbench with the arguments before the URL.
pub fn pgbench(url: &str, arguments: &[&str], deadline: Duration) -> Result<Finished> {
    run(
        Command::new("pgbench").args(arguments).arg(url),
        "",
        deadline,
    )
}

/// A Python script on standard input, with psycopg 3; the arguments are `sys.argv[1:]`.
pub fn python(script: &str, arguments: &[&str]) -> Result<Finished> {
    let mut command = Command::new(drivers_dir().join("python/bin/python"));
    run(
        command.arg("-").args(arguments),
        script,
        Duration::from_secs(120),
    )
}

/// A Python script as a process of its own, for a client that works until it is told to stop. Arguments and pipes are the
/// caller's.
pub fn python_command(script: &str) -> Command {
    let mut command = Command::new(drivers_dir().join("python/bin/python"));
    command.arg("-c").arg(script);
    command
}

/// A JavaScript program on standard input, with the `pg` package; the arguments are `process.argv.slice(2)`.
pub fn node(script: &str, arguments: &[&str]) -> Result<Finished> {
    let mut command = Command::new("node");
    command.env("NODE_PATH", drivers_dir().join("node/node_modules"));
    run(
        command.arg("-").args(arguments),
        script,
        Duration::from_secs(120),
    )
}

/// Our own administration binary, as `cargo build --workspace --bins` has made it.
pub fn shard_admin(arguments: &[&str]) -> Result<Finished> {
    run(
        Command::new(shard_admin_binary()?).args(arguments),
        "",
        Duration::from_secs(120),
    )
}

/// Where it is: beside the folder of the test binaries.
pub fn shard_admin_binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("shard-admin"))
        .find(|path| path.is_file());
    found.context("shard-admin is not built: run \"cargo build --workspace --bins\"")
}

fn drivers_dir() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).join("target/test-drivers")
}
