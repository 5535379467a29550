//! The program. Its code is in the library, because a team's package and tests use it too.

fn main() -> std::process::ExitCode {
    xtask::main()
}
