//! The integration tests, one program. Each group of the help is a folder: it has a file for each
//! command, and files for what several of its commands share, such as `faults` for pushes that
//! fail. Beside the folders are tests of all commands: `terminal` for the width of what is shown,
//! `concurrency` for several commands on one environment, `fleet` for many of both, `referees` for
//! programs of other authors that pull what was pushed, and `tidy` for the rules of the repository.
//!
//! Tests that need other programs are shown as ignored, with the reason, where those are missing;
//! `build.rs` looks. Under `CI` they run and fail instead.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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
    mod signed;
    mod push;
    mod carry;
    mod partial;
    mod faults;
    mod interrupted;
    mod resume;
    mod refused;
    mod apply;
    pub(super) mod operation;
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
