//! `store`: reports the contents of the store by release; `store gc` removes blobs that no lock
//! names.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use release::transfer::store::{Amount, Garbage, Report};
use serde_json::json;

use crate::app::App;
use crate::cli::StoreCommand;
use crate::failure::Failure;
use crate::ui::table;

/// Number of blobs that are listed; the rest is counted.
const SHOWN: usize = 10;

pub(crate) fn run(app: &App<'_>, command: Option<&StoreCommand>) -> Result<ExitCode, Failure> {
    if let Some(StoreCommand::Gc { dry_run }) = command {
        return collect_garbage(app, *dry_run);
    }
    let report = release::transfer::store::report(&app.workspace)?;
    for lock in release::transfer::store::missing_locks(&app.context()) {
        app.ui.note(&missing_lock(&lock));
    }
    app.ui.result(&report_text(&report), &report)?;
    Ok(ExitCode::SUCCESS)
}

fn collect_garbage(app: &App<'_>, dry_run: bool) -> Result<ExitCode, Failure> {
    let context = app.context();
    let missing = release::transfer::store::missing_locks(&context);
    let garbage = if dry_run {
        release::transfer::store::garbage(&app.workspace)?
    } else {
        release::transfer::store::collect(&context, &|garbage| {
            if !garbage.is_empty() {
                app.ui.note(garbage_text(garbage, &[]).trim_end());
            }
        })?
    };
    let removed = !dry_run && !garbage.is_empty();
    let amount = match garbage.blobs.len() {
        0 => super::count(garbage.artifacts.len(), "name"),
        blobs => format!(
            "{} of {}",
            super::count(blobs, "blob"),
            DecimalBytes(garbage.bytes)
        ),
    };
    let names_only = match garbage.blobs.is_empty() {
        true => "; all blobs belong to other locks",
        false => "",
    };
    let text = if garbage.is_empty() {
        "Nothing to remove: every blob in the store belongs to a lock.\n".to_owned()
    } else if dry_run {
        format!(
            "{}\n{amount} would be removed{names_only}. Nothing was removed.\n",
            garbage_text(&garbage, &missing)
        )
    } else {
        format!("{amount} removed{names_only}\n")
    };
    app.ui.result(
        &text,
        &json!({ "removed": removed, "garbage": garbage, "missing-locks": missing }),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn report_text(report: &Report) -> String {
    let mut text = String::new();
    if report.releases.is_empty() {
        text.push_str(crate::advice::no_locks());
    } else {
        let bytes = |amount: &Amount| DecimalBytes(amount.bytes).to_string();
        text.push_str(&table(
            &[
                "release or set",
                "arch",
                "blobs",
                "stored",
                "missing",
                "shared",
                "unique",
            ],
            &["blobs", "stored", "missing", "shared", "unique"],
            report
                .releases
                .iter()
                .map(|row| {
                    vec![
                        row.release.clone(),
                        row.arch.clone(),
                        row.held.blobs.to_string(),
                        bytes(&row.held),
                        bytes(&row.missing),
                        bytes(&row.shared),
                        bytes(&row.frees),
                    ]
                })
                .collect(),
        ));
    }
    text.push_str(&format!(
        "\n{}: {}, {}; {} are shared by several releases\n",
        report.path,
        super::count(report.blobs, "blob"),
        DecimalBytes(report.bytes),
        DecimalBytes(report.shared_bytes),
    ));
    if !report.releases.is_empty() {
        text.push_str(
            "To free the unique bytes of a release that no environment requires, delete its lock, commit that, then run `cargo xtask store gc`.\n",
        );
    }
    if report.unnamed.blobs > 0 {
        text.push_str(&format!(
            "No lock names {}, {}: `cargo xtask store gc` removes them.\n",
            super::count(report.unnamed.blobs, "blob"),
            DecimalBytes(report.unnamed.bytes),
        ));
    }
    text
}

fn garbage_text(garbage: &Garbage, missing: &[String]) -> String {
    let mut text = String::new();
    for lock in missing {
        text.push_str(&missing_lock(lock));
        text.push('\n');
    }
    text.push_str("No lock in bundles/ names these:\n");
    for artifact in &garbage.artifacts {
        text.push_str(&format!("  {artifact}\n"));
    }
    for blob in garbage.blobs.iter().take(SHOWN) {
        text.push_str(&format!(
            "  {} of {}\n",
            blob.digest,
            DecimalBytes(blob.bytes)
        ));
    }
    let rest = garbage.blobs.iter().skip(SHOWN);
    let more = rest.clone().count();
    if more > 0 {
        let bytes = rest.map(|blob| blob.bytes).sum();
        text.push_str(&format!(
            "  and {} of {}\n",
            super::count(more, "smaller blob"),
            DecimalBytes(bytes)
        ));
    }
    text
}

/// Returns the advice for a committed lock that is missing from the working tree.
fn missing_lock(lock: &str) -> String {
    format!(
        "{lock} is committed, but missing from the working tree: `git restore {lock}` restores it"
    )
}

#[cfg(test)]
mod tests {
    use release::transfer::store::{Blob, Row};

    use super::*;

    fn amount(blobs: usize, bytes: u64) -> Amount {
        Amount { blobs, bytes }
    }

    #[test]
    fn report_lists_releases_and_totals() {
        let mut report = Report {
            path: "bundles/store".into(),
            blobs: 12,
            bytes: 5_000_000,
            shared_bytes: 1_500_000,
            releases: vec![Row {
                release: "v4.1.5".to_owned(),
                arch: "amd64".to_owned(),
                held: amount(9, 4_000_000),
                missing: amount(1, 20_000),
                shared: amount(2, 1_500_000),
                frees: amount(7, 2_500_000),
            }],
            unnamed: amount(1, 1_000_000),
        };
        assert_eq!(
            report_text(&report),
            "\
RELEASE OR SET  ARCH   BLOBS   STORED   MISSING   SHARED   UNIQUE
v4.1.5          amd64      9  4.00 MB  20.00 kB  1.50 MB  2.50 MB

bundles/store: 12 blobs, 5.00 MB; 1.50 MB are shared by several releases
To free the unique bytes of a release that no environment requires, delete its lock, commit that, then run `cargo xtask store gc`.
No lock names 1 blob, 1.00 MB: `cargo xtask store gc` removes them.
"
        );
        report.releases.clear();
        report.unnamed = Amount::default();
        assert_eq!(
            report_text(&report),
            "\
No release is locked. Lock one with `cargo xtask lock v4.1.5`.

bundles/store: 12 blobs, 5.00 MB; 1.50 MB are shared by several releases
"
        );
    }

    #[test]
    fn garbage_lists_ten_blobs_and_counts_the_rest() {
        let blobs: Vec<Blob> = (0..12)
            .map(|number| Blob {
                digest: format!("sha256:{number:02}"),
                bytes: 2_000_000 - number * 100_000,
            })
            .collect();
        let garbage = Garbage {
            artifacts: vec!["pause:v1".to_owned()],
            bytes: blobs.iter().map(|blob| blob.bytes).sum(),
            blobs,
        };
        assert_eq!(
            garbage_text(&garbage, &[]),
            "\
No lock in bundles/ names these:
  pause:v1
  sha256:00 of 2.00 MB
  sha256:01 of 1.90 MB
  sha256:02 of 1.80 MB
  sha256:03 of 1.70 MB
  sha256:04 of 1.60 MB
  sha256:05 of 1.50 MB
  sha256:06 of 1.40 MB
  sha256:07 of 1.30 MB
  sha256:08 of 1.20 MB
  sha256:09 of 1.10 MB
  and 2 smaller blobs of 1.90 MB
"
        );
    }
}
