//! The integration tests, as one program. Each group of the help is a folder. It has a file for
//! each command, and files about a subject of several commands, such as `faults` for pushes that
//! fail. The files outside of the folders are about all commands: `terminal` for the width of
//! output, `concurrency` for several commands on one environment, `fleet` for many commands and
//! environments, `referees` for programs of other authors that pull pushed artifacts, and `tidy`
//! for the rules of the repository.
//!
//! If a program that a test needs is missing, the test is ignored with the reason; `build.rs`
//! detects the programs. Under `CI` the test runs and fails instead.

#![expect(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod inspect {
    mod list;
    mod show;
    mod inspect;
    mod images;
    mod plan;
    mod snapshot;
    mod diff;
    mod releases;
    mod status;
    mod report;
    pub(super) mod preflight;
}

mod prepare {
    mod new;
    mod check;
    mod configuration;
    mod gallery;
    mod mutations;
    mod lock;
    mod learn;
    mod sets;
    mod fetch;
    mod pack;
    mod unpack;
    mod returned;
    mod drift;
    mod render;
    mod defaults;
    mod promote;
    mod rehearse;
}

mod deploy {
    pub(super) mod deploy;
    mod approval;
    mod saved_plan;
    mod push;
    mod transfer;
    mod partial;
    mod faults;
    mod interrupted;
    mod resume;
    mod refused;
    mod apply;
    pub(super) mod mkectl;
    pub(super) mod upgrade;
    mod migrate;
}

mod maintain {
    mod verify;
    mod store;
    mod receipt;
    mod cluster;
    mod mkectl;
    mod prune;
    mod support;
    mod completion;
    mod man;
    mod ci;
}

mod command_line;
mod terminal;
mod machines;
mod offline;
mod files;
mod redaction;
mod diagnosis;
mod concurrency;
mod fleet;
mod referees;
mod team;
mod bench;
mod tidy;

/// The command under test.
const AIRLOCK: &str = env!("CARGO_BIN_EXE_xtask-under-test");

/// The command with a team's own task.
const TEAM: &str = env!("CARGO_BIN_EXE_team-under-test");

/// The benchmark.
const BENCH: &str = env!("CARGO_BIN_EXE_bench-under-test");

/// The program that plays mkectl.
const FAKE_MKECTL: &str = env!("CARGO_BIN_EXE_fake-mkectl");
