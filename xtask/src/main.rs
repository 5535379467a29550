//! The program. Everything is in the library, because tests run the same.

fn main() -> std::process::ExitCode {
    xtask::main()
}
