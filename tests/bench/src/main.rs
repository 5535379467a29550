//! `bench`: measures a push on this machine, side by side with the vendor's loop and with what no
//! push can go below.
//!
//! Everything is measured in one run and in turns, on a bundle made for it and on a
//! `docker-registry` of its own. Other programs are started here: they are what ours is measured
//! against.

#![expect(
    clippy::disallowed_methods,
    reason = "measuring other programs means starting them"
)]

mod arguments;
mod bundle;
mod contenders;
mod distance;
mod failure;
mod measure;
mod peers;
mod registry;
mod report;
mod scratch;

use std::error::Error;
use std::process::ExitCode;

use camino::Utf8Path;
use clap::{ArgMatches, Args as _, Command, FromArgMatches as _, Subcommand as _, ValueEnum as _};
use indicatif::DecimalBytes;
use release::Context;
use serde_json::json;
use xtask::Output;

use crate::arguments::{BenchArgs, Contender, PartCommand};
use crate::contenders::Bench;
use crate::failure::Failure;
use crate::report::{Report, Row};
use crate::scratch::Scratch;

fn main() -> ExitCode {
    xtask::main_with(&[&Push, &Part])
}

/// Measures.
struct Push;

impl xtask::Task for Push {
    fn command(&self) -> Command {
        BenchArgs::augment_args(Command::new("bench").about("Measure a push on this machine"))
            .long_about(
                "Measure a push on this machine, beside the vendor's loop and the floors\n\n\
                 Makes a bundle, starts a `docker-registry`, and measures in turns. Other programs take part if they are \
                 installed. With --rtt, --rate or --loss, a proxy plays the distance to the registry. \
                 Everything is below bundles/bench/, three to four times the size of the bundle, and removed at the end.",
            )
    }

    fn run(
        &self,
        context: &Context<'_>,
        output: &Output<'_>,
        arguments: &ArgMatches,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(run(
            context,
            output,
            &BenchArgs::from_arg_matches(arguments)?,
        )?)
    }
}

/// Does what must not happen in the measuring process: a child's peak memory is that of its parent
/// if that is more.
struct Part;

impl xtask::Task for Part {
    fn command(&self) -> Command {
        PartCommand::augment_subcommands(
            Command::new("bench-part").about("Do a part of `bench` in a process of its own"),
        )
    }

    fn run(
        &self,
        _: &Context<'_>,
        output: &Output<'_>,
        arguments: &ArgMatches,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let bytes = match PartCommand::from_arg_matches(arguments)? {
            PartCommand::Make { file, shape } => {
                bundle::make(&file, &shape.shape())?;
                size_of(&file)?
            }
            PartCommand::Inflate { file } => bundle::inflate_and_hash(&file)?,
            PartCommand::Proxy {
                listen,
                to,
                distance,
            } => {
                distance::play(listen, to, distance)?;
                0
            }
        };
        output.result(
            &format!("{}\n", DecimalBytes(bytes)),
            &json!({ "bytes": bytes }),
        )
    }
}

fn run(context: &Context<'_>, output: &Output<'_>, arguments: &BenchArgs) -> Result<(), Failure> {
    registry::installed()?;
    let against = arguments.against.as_deref().map(|program| {
        let absolute = program.canonicalize_utf8();
        absolute.map_err(|source| Failure::io("find", program, source))
    });
    let against = against.transpose()?;
    let scratch = Scratch::new(context, arguments.shape.shape())?;
    let held = scratch.prepare(output)?;
    let bundle_bytes = size_of(&scratch.bundle())?;
    let wanted = |contender: &Contender| {
        (arguments.only.is_empty() || arguments.only.contains(contender))
            && (against.is_some() || !contender.is_base())
            && (*contender != Contender::Near || !arguments.distance.is_loopback())
    };
    let contenders = Contender::value_variants().iter().copied();
    let mut rows: Vec<Row> = contenders.filter(wanted).map(Row::new).collect();
    let mut bench = Bench::new(
        output,
        &scratch,
        &held,
        arguments.distance,
        against.as_deref(),
    );
    for round in 1..=arguments.rounds {
        if round > 1 {
            scratch.make_room()?;
        }
        for row in &mut rows {
            if let Some(program) = contenders::missing(row.contender) {
                row.missing = Some(program);
                continue;
            }
            if row.failed.is_some() {
                continue;
            }
            output.note(&format!(
                "{:>9} round {round} of {}: {}",
                "bench",
                arguments.rounds,
                row.contender.title()
            ));
            match bench.measure(row.contender) {
                Ok(cost) => row.rounds.push(cost),
                // A program of others that fails does not keep the rest from being measured.
                Err(Failure::Measured {
                    status, last_lines, ..
                }) if peers::script(row.contender).is_some() => {
                    output.note(&last_lines);
                    row.failed = Some(status);
                }
                Err(failure) => return Err(failure),
            }
        }
    }
    let report = Report {
        distance: arguments.distance,
        bundle_bytes,
        unique_bytes: held.unique_bytes,
        blobs: held.blobs.len(),
        artifacts: held.artifacts,
        cores: contenders::cores(),
        at_once: contenders::at_once(),
        shape: scratch.shape().clone(),
        rows,
    };
    if arguments.keep {
        scratch.forget_away()?;
    } else {
        scratch.remove()?;
    }
    output
        .result(&report.text(), &report.value())
        .map_err(Failure::Output)
}

fn size_of(path: &Utf8Path) -> Result<u64, Failure> {
    let metadata = std::fs::metadata(path);
    let metadata = metadata.map_err(|source| Failure::io("read", path, source))?;
    Ok(metadata.len())
}
