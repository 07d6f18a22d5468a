//! `shard-admin demo start|status|stop|destroy`.

use crate::cli::Shared;
use crate::demo::{self, Demo, EndSignals, Place, Sample, StartOptions, State};
use crate::failure::Failure;
use crate::output::{Format, Report};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start shards with replicas and a router, and say how to connect; Ctrl-C ends all
    Start(Start),
    /// Show what runs
    Status(Where),
    /// End all processes and keep the data
    Stop(Where),
    /// End all processes and remove the data
    Destroy(Where),
}

#[derive(Debug, Args)]
pub struct Where {
    /// The demo's directory [default: .demo, or /var/lib/shardgate/demo for root where "postgres" cannot enter the
    /// current directory]
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    place: Where,
    /// Shards [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=16))]
    shards: Option<u16>,
    /// Streaming replicas of each shard [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=5))]
    replicas: Option<u16>,
    /// The router's port for clients [default: 6432]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The router's port for metrics and health [default: 6480 if it is free]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    http_port: Option<u16>,
    /// What is loaded into a new demo
    #[arg(long, value_enum, default_value_t)]
    sample: Sample,
    /// Let the servers flush to disk; without it, a crash of the machine may lose the data
    #[arg(long)]
    fsync: bool,
    /// Return when it is ready, and leave it running
    #[arg(long)]
    detach: bool,
}

pub async fn run(shared: &Shared, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Start(options) => start(shared, options).await,
        Verb::Status(place) => {
            let place = Place::new(place.dir)?;
            let state = State::require(&place)?;
            Report::new(
                demo::status_text(&place, &state),
                demo::json(&place, &state),
            )
            .print(shared.output);
            Ok(())
        }
        Verb::Stop(place) => {
            let place = Place::new(place.dir)?;
            let dir = place.dir.display().to_string();
            let ended = blocking(move || demo::stop(&place)).await?;
            let text = match ended {
                0 => format!("Nothing of the demo in {dir} was running."),
                n => format!("Ended {n} processes. The data stays in {dir}."),
            };
            Report::new(text, json!({ "dir": dir, "ended": ended })).print(shared.output);
            Ok(())
        }
        Verb::Destroy(place) => {
            let place = Place::new(place.dir)?;
            let dir = place.dir.display().to_string();
            let gone = blocking(move || demo::destroy(&place)).await?;
            let text = match gone {
                true => format!("Removed {dir}."),
                false => format!("Removed the demo. {dir} stays, for it contains other files."),
            };
            Report::new(text, json!({ "dir": dir, "removed": gone })).print(shared.output);
            Ok(())
        }
    }
}

async fn start(shared: &Shared, args: Start) -> Result<(), Failure> {
    let place = Place::new(args.place.dir)?;
    let options = StartOptions {
        shards: args.shards,
        replicas: args.replicas,
        port: args.port,
        http_port: args.http_port,
        sample: args.sample,
        fsync: args.fsync,
        detach: args.detach,
    };
    let mut signals = EndSignals::listen()?;
    let say = speaker(shared.output);
    say(&format!("Starting in {} ..", place.dir.display()));
    let demo = start_unless_signalled(&place, &options, &mut signals).await?;
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "shard-admin".to_owned());
    let text = demo::guide(&place, &demo.state, &options, demo.new, &program);
    Report::new(text, demo::json(&place, &demo.state)).print(shared.output);
    if options.detach {
        demo.detach();
        return Ok(());
    }
    demo::run_until_signal(demo, &mut signals, &say).await
}

/// A signal while it is starting ends what has been started, and removes a demo that was to be new.
async fn start_unless_signalled(
    place: &Place,
    options: &StartOptions,
    signals: &mut EndSignals,
) -> Result<Demo, Failure> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let (place, options, flag) = (place.clone(), options.clone(), Arc::clone(&cancelled));
    let mut starting = std::pin::pin!(blocking(move || demo::start(&place, &options, &flag)));
    tokio::select! {
        result = &mut starting => return result,
        () = signals.next() => cancelled.store(true, Ordering::Relaxed),
    }
    match starting.await {
        // It came to its end before it saw the flag.
        Ok(demo) => blocking(move || demo.end())
            .await
            .and(Err(Failure::new("interrupted"))),
        Err(failure) => Err(failure),
    }
}

/// Progress is for people; the standard output of `--output json` holds the document alone.
fn speaker(format: Format) -> impl Fn(&str) {
    move |line| match format {
        Format::Table => Report::new(line, json!(null)).print(Format::Table),
        Format::Json => eprintln!("{line}"),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => {
            Err(Failure::new("an internal error has ended the command").detail(panic.to_string()))
        }
    }
}
