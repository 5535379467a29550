//! `ci`: runs the checks of this workspace's CI.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo runs in the foreground, with the terminal"
)]

use std::process::ExitCode;

use clap::ValueEnum as _;
use xshell::Shell;

use crate::app::App;
use crate::cli::CiStep;
use crate::failure::Failure;

impl CiStep {
    fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lint => "lint",
            Self::Docs => "docs",
            Self::Test => "test",
        }
    }

    /// Returns the arguments of cargo.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Format => &["fmt", "--all", "--check"],
            Self::Lint => &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
            Self::Docs => &["doc", "--workspace", "--no-deps"],
            Self::Test => &["test", "--workspace"],
        }
    }
}

pub(crate) fn run(app: &App<'_>, steps: &[CiStep]) -> Result<ExitCode, Failure> {
    let steps = match steps {
        [] => CiStep::value_variants(),
        steps => steps,
    };
    let root = app.workspace.root();
    let shell =
        Shell::new().map_err(|source| Failure::io("enter", root, std::io::Error::other(source)))?;
    shell.change_dir(root);
    for step in steps {
        let arguments = step.arguments();
        let command = format!("cargo {}", arguments.join(" "));
        app.ui.note(&format!("== {}: {command}", step.name()));
        let cargo = xshell::cmd!(shell, "cargo {arguments...}").quiet();
        let cargo = match step {
            CiStep::Docs => cargo.env("RUSTDOCFLAGS", "-D warnings"),
            _ => cargo,
        };
        cargo.run().map_err(|source| Failure::CiStep {
            step: step.name(),
            source,
        })?;
    }
    Ok(ExitCode::SUCCESS)
}
