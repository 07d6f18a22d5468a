//! The engine of moves as a process of its own, which can be killed: this test binary, started with a verb.

use anyhow::{Context, Result, bail};
use shardgate_catalog::Backend;
use shardgate_catalog::moves::{self, MoveOptions, MoveSpec, PartsSpec, Step};
use std::process::Command;

/// A command that carries out a verb, with the words that `shard-admin move` takes.
pub fn command(home: &str, arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", "engine::process", "--ignored", "--nocapture"])
        .env("SOAK_HOME", home)
        .env("SOAK_VERB", arguments.join(" "));
    Ok(command)
}

#[tokio::test]
#[ignore = "started by other tests"]
async fn process() -> Result<()> {
    let url = std::env::var("SOAK_HOME").context("SOAK_HOME")?;
    let verb = std::env::var("SOAK_VERB").context("SOAK_VERB")?;
    let words: Vec<&str> = verb.split(' ').collect();
    let mut home = Backend::primary(&url.parse()?, "the home shard").await?;
    let (id, until) = match words.as_slice() {
        [
            "start",
            "--distribution",
            distribution,
            "--buckets",
            buckets,
            "--to",
            to,
        ] => {
            let spec = MoveSpec {
                distribution: (*distribution).to_owned(),
                parts: PartsSpec::Buckets(runs(buckets)?),
                to: (*to).to_owned(),
                options: MoveOptions::default(),
            };
            (moves::start(&mut home, &spec).await?, Step::Verified)
        }
        ["pause", id] => {
            moves::pause(&home, id.parse()?).await?;
            return Ok(());
        }
        ["resume", id] => {
            moves::unpause(&home, id.parse()?).await?;
            (id.parse()?, Step::Verified)
        }
        ["switch", id] => (id.parse()?, Step::Switched),
        ["reverse", id] => (id.parse()?, Step::Reversed),
        ["complete", id] => (id.parse()?, Step::Completed),
        ["cancel", id] => (id.parse()?, Step::Cancelled),
        _ => bail!("{verb}?"),
    };
    let status = moves::advance(&mut home, id, until).await?;
    println!("{}", serde_json::to_string(&status)?);
    Ok(())
}

fn runs(text: &str) -> Result<Vec<(u32, u32)>> {
    text.split(',')
        .map(|run| {
            let (first, last) = run.split_once('-').context("a run")?;
            Ok((first.parse()?, last.parse()?))
        })
        .collect()
}
