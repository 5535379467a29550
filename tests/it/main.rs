//! The integration tests: one program, a file for each verb, `resume` for uploads that end early, and `tidy` for the rules of the repository.
//!
//! Tests that need Docker or skopeo are shown as ignored, with the reason, where those are missing; `build.rs` looks.
//! Under `CI` they run and fail instead.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod apply;
mod carry;
mod command_line;
mod deploy;
mod fetch;
mod inspect;
mod list;
mod lock;
mod mkectl;
mod new;
mod operation;
mod plan;
mod push;
mod rehearse;
mod render;
mod resume;
mod show;
mod store;
mod tidy;
mod verify;

/// The command under test.
const AIRLOCK: &str = env!("CARGO_BIN_EXE_xtask-under-test");

/// The program that plays mkectl.
const FAKE_MKECTL: &str = env!("CARGO_BIN_EXE_fake-mkectl");
