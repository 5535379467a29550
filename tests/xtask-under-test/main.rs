//! `cargo xtask`, as the integration tests run it.

fn main() -> std::process::ExitCode {
    xtask::main()
}
