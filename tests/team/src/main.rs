//! The command line of a team: everything that `cargo xtask` does, and the team's own tasks.

mod announce;

fn main() -> std::process::ExitCode {
    xtask::main_with(&[&announce::Announce])
}
