//! `bench`: measures a push on this machine, side by side with the vendor's loop and with what no push can go below.
//!
//! Everything is measured in one run and in turns, on a bundle made for it and on a `docker-registry` of its own.
//! Other programs are started here: they are what ours is measured against.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring other programs means starting them"
)]

mod contenders;
mod measure;
mod registry;
mod report;
mod scratch;

use std::process::ExitCode;

use camino::Utf8Path;
use indicatif::DecimalBytes;
use release::bench::Shape;
use serde_json::json;

use crate::app::App;
use crate::cli::{BenchArgs, BenchPartCommand, Contender};
use crate::failure::Failure;
use contenders::Bench;
use report::{Report, Row};
use scratch::Scratch;

pub(crate) fn run(app: &App<'_>, arguments: &BenchArgs) -> Result<ExitCode, Failure> {
    registry::installed()?;
    let shape = Shape {
        size: arguments.size,
        archives: arguments.archives.into(),
        platforms: arguments.platforms.into(),
    };
    let scratch = Scratch::new(app, shape)?;
    let held = scratch.prepare(app)?;
    let bundle_bytes = size_of(&scratch.bundle())?;
    let wanted =
        |contender: &Contender| arguments.only.is_empty() || arguments.only.contains(contender);
    let contenders: Vec<Contender> = Contender::ALL.into_iter().filter(wanted).collect();
    let mut rows: Vec<Row> = contenders
        .iter()
        .map(|&contender| Row::new(contender))
        .collect();
    let mut bench = Bench::new(app, &scratch, &held);
    for round in 1..=arguments.rounds {
        if round > 1 {
            scratch.clear_away()?;
        }
        for row in &mut rows {
            if let Some(program) = contenders::missing(row.contender) {
                row.missing = Some(program);
                continue;
            }
            app.ui.note(&format!(
                "{:>9} round {round} of {}: {}",
                "bench",
                arguments.rounds,
                row.contender.title()
            ));
            row.rounds.push(bench.measure(row.contender)?);
        }
    }
    let report = Report {
        bundle_bytes,
        unique_bytes: held.unique_bytes,
        blobs: held.blobs.len(),
        artifacts: held.artifacts,
        cores: contenders::cores(),
        at_once: contenders::at_once(),
        platforms: scratch.shape().platforms,
        rows,
    };
    if arguments.keep {
        scratch.forget_away()?;
    } else {
        scratch.remove()?;
    }
    app.ui.result(&report.text(), &report.value())?;
    Ok(ExitCode::SUCCESS)
}

/// Does what must not happen in the measuring process: a child's peak memory is that of its parent if that is more.
pub(crate) fn part(app: &App<'_>, command: &BenchPartCommand) -> Result<ExitCode, Failure> {
    match command {
        BenchPartCommand::Make {
            file,
            size,
            archives,
            platforms,
        } => {
            let shape = Shape {
                size: *size,
                archives: usize::from(*archives),
                platforms: usize::from(*platforms),
            };
            release::bench::make(file, &shape)?;
            let bytes = size_of(file)?;
            app.ui.result(
                &format!("{}\n", DecimalBytes(bytes)),
                &json!({"bytes": bytes}),
            )?;
        }
        BenchPartCommand::Inflate { file } => {
            let bytes = release::bench::inflate_and_hash(file)?;
            app.ui.result(
                &format!("{}\n", DecimalBytes(bytes)),
                &json!({"bytes": bytes}),
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn size_of(path: &Utf8Path) -> Result<u64, Failure> {
    let metadata = std::fs::metadata(path);
    let metadata = metadata.map_err(|source| Failure::io("read", path, source))?;
    Ok(metadata.len())
}
