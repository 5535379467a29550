//! The integration tests: one program, a file for each verb, and `tidy` for the rules of the repository.
//!
//! Tests that need Docker or skopeo are shown as ignored, with the reason, where those are missing; `build.rs` looks.
//! Under `CI` they run and fail instead.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod tidy;
