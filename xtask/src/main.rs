//! The program; everything is in the library, so that tests can run the same.

fn main() -> std::process::ExitCode {
    xtask::main()
}
