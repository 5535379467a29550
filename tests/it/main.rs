//! The integration tests: one program, a file for each verb, `approval` for the questions before a plan, `diagnosis` for the log,
//! `carry` for reading and pushing at the same time, `concurrency` for several commands on one environment, `fleet` for many of both, `resume`, `faults` and `interrupted`
//! for what goes wrong on the way, `referees` for programs of other authors that pull what was pushed, `terminal` for the width of what is shown, and `tidy` for the rules of the repository.
//!
//! Tests that need other programs are shown as ignored, with the reason, where those are missing; `build.rs` looks.
//! Under `CI` they run and fail instead.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod apply;
mod approval;
mod bench;
mod carry;
mod check;
mod ci;
mod cluster;
mod command_line;
mod completion;
mod concurrency;
mod configuration;
mod defaults;
mod deploy;
mod diagnosis;
mod diff;
mod drift;
mod faults;
mod fetch;
mod files;
mod fleet;
mod gallery;
mod inspect;
mod interrupted;
mod learn;
mod list;
mod lock;
mod machines;
mod man;
mod migrate;
mod mkectl;
mod mutations;
mod new;
mod offline;
mod operation;
mod pack;
mod partial;
mod plan;
mod preflight;
mod promote;
mod prune;
mod push;
mod receipt;
mod redaction;
mod referees;
mod refused;
mod rehearse;
mod releases;
mod render;
mod report;
mod resume;
mod returned;
mod show;
mod signed;
mod snapshot;
mod status;
mod store;
mod support;
mod team;
mod terminal;
mod tidy;
mod unpack;
mod upgrade;
mod verify;

/// The command under test.
const AIRLOCK: &str = env!("CARGO_BIN_EXE_xtask-under-test");

/// The command with a team's own task.
const TEAM: &str = env!("CARGO_BIN_EXE_team-under-test");

/// The benchmark.
const BENCH: &str = env!("CARGO_BIN_EXE_bench-under-test");

/// The program that plays mkectl.
const FAKE_MKECTL: &str = env!("CARGO_BIN_EXE_fake-mkectl");
