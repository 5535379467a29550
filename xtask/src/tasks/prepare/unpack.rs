//! `unpack`: verifies a medium and imports it into the workspace.

use std::process::ExitCode;

use camino::Utf8Path;
use indicatif::DecimalBytes;
use release::cluster::consent::Refused;
use release::courier::SIGNERS;
use release::courier::unpack::{From, HistoryUpdate, Trust, Unpacked};

use crate::app::App;
use crate::called;
use crate::cli::UnpackArgs;
use crate::consent::ask_for;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, arguments: &UnpackArgs) -> Result<ExitCode, Failure> {
    let trust = Trust {
        fingerprint: arguments.fingerprint.as_deref(),
        allow_unsigned: arguments.allow_unsigned,
        confirm: &confirm,
    };
    let is_stream = arguments.folders == ["-"];
    let unpacked = until_interrupted(app, async {
        tokio::task::block_in_place(|| {
            let mut input = std::io::stdin();
            let from = match is_stream {
                true => From::Stream(&mut input),
                false => From::Folders(&arguments.folders),
            };
            Ok(release::courier::unpack::unpack(
                &app.context(),
                from,
                &trust,
            )?)
        })
    })?;
    // A document is not wrapped: the operator copies lines of it.
    app.ui.document(&text(&unpacked), &unpacked)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the operator whether the key's fingerprint is the sender's.
fn confirm(algorithm: &str, fingerprint: &str) -> Result<(), Refused> {
    let question = format!(
        "\nThe medium is signed by this key, which the workspace does not list:\n  {algorithm} {fingerprint}\n\
         Compare it with the fingerprint from the other side. Type `yes` to accept it: "
    );
    ask_for(&question, "yes", &|| false)
}

fn text(unpacked: &Unpacked) -> String {
    let mut text = format!("pack {} is unpacked\n", &unpacked.pack[..12]);
    let mut line = |what: &str, value: &str| text.push_str(&format!("  {what:<10}  {value}\n"));
    line("signed by", unpacked.signer.as_deref().unwrap_or("no key"));
    if let Some(moved) = &unpacked.repository {
        line("repository", &repository(moved));
    }
    if let Some(path) = &unpacked.program {
        line("program", path.as_str());
    }
    for path in &unpacked.mkectl {
        line("mkectl", path.as_str());
    }
    if let Some(path) = &unpacked.sources {
        line("sources", path.as_str());
    }
    if unpacked.blobs + unpacked.kept > 0 {
        line(
            "store",
            &format!(
                "{} of {} added, {} known",
                super::count(unpacked.blobs, "blob"),
                DecimalBytes(unpacked.bytes),
                unpacked.kept
            ),
        );
    }
    if unpacked.assumed > 0 {
        let assumed = super::count(unpacked.assumed, "more blob");
        line(
            "",
            &format!("{assumed} must be in the registry; `plan` checks that"),
        );
    }
    for path in &unpacked.returned {
        line("returned", path.as_str());
    }
    for part in &unpacked.lacking {
        line("lacking", part);
    }
    if unpacked.is_return && !(unpacked.returned.is_empty() && unpacked.environments.is_empty()) {
        text.push_str("Next:\n");
        if !unpacked.returned.is_empty() {
            text.push_str("  git add environments && git commit\n");
        }
        for environment in &unpacked.environments {
            let command = called::command();
            text.push_str(&format!("  {command} pack {environment} --out DIR\n"));
        }
    } else if !unpacked.is_return
        && !unpacked.environments.is_empty()
        && unpacked.lacking.is_empty()
    {
        text.push_str("Next:\n");
        let here = Utf8Path::new(".").canonicalize_utf8().ok();
        if here.as_deref() != unpacked.workspace.canonicalize_utf8().ok().as_deref() {
            text.push_str(&format!("  cd {}\n", unpacked.workspace));
        }
        let program = match &unpacked.program {
            Some(path) => format!("./{path}"),
            None => called::program(),
        };
        for environment in &unpacked.environments {
            text.push_str(&format!("  {program} plan {environment}\n"));
            text.push_str(&format!("  {program} deploy {environment}\n"));
        }
    }
    if let Some(line) = &unpacked.signer_line {
        text.push_str(&format!(
            "To accept this key in future, commit this line in {SIGNERS}:\n  {}\n",
            line.trim_end()
        ));
    }
    text
}

fn repository(moved: &HistoryUpdate) -> String {
    let at = format!("{} at {}", moved.branch, &moved.to[..12]);
    match moved.commits {
        0 => format!("{at}, nothing new"),
        commits => format!("{at}, {} new", super::count(commits, "commit")),
    }
}
