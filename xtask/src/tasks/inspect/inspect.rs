//! `inspect`: lists the contents of a bundle or a set.

use std::process::ExitCode;

use camino::Utf8Path;
use indicatif::DecimalBytes;
use release::report::inspect::{of_file, of_lock};

use crate::app::App;
use crate::cli::{ImagesArgs, ImagesForm};
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::ui::{Format, table};

pub(crate) fn run(app: &App<'_>, what: &str, format: Format) -> Result<ExitCode, Failure> {
    if format == Format::Cyclonedx {
        let arguments = ImagesArgs {
            environment: what.to_owned(),
            form: Some(ImagesForm::Cyclonedx),
            chart: None,
        };
        return super::images::run(app, &arguments);
    }
    let inspection = match super::release(what) {
        Ok(release) => of_lock(&release::locked::read(&app.workspace, &release)?.lock),
        Err(_) if release::set::exists(&app.workspace, what) => {
            of_lock(&release::locked::read_set(&app.workspace, what)?.lock)
        }
        // A YAML file is a set's or a lock's, not a bundle. Those are named without their suffix.
        Err(_) if what.ends_with(".yaml") || !Utf8Path::new(what).is_file() => {
            super::refuse_environment(app, what)?;
            return Err(Failure::NeitherReleaseNorFile(redaction::without_login(
                what,
            )));
        }
        Err(_) => until_interrupted(app, async {
            Ok(of_file(&app.context(), Utf8Path::new(what)).await?)
        })?,
    };
    let mut text = table(
        &["artifact", "kind", "platforms", "size", "shared", "digest"],
        &["size", "shared"],
        inspection
            .artifacts
            .iter()
            .map(|row| {
                vec![
                    row.name.clone(),
                    row.kind.clone(),
                    row.platforms.join(" "),
                    DecimalBytes(row.bytes).to_string(),
                    DecimalBytes(row.shared_bytes).to_string(),
                    crate::tasks::short_digest(&row.digest),
                ]
            })
            .collect(),
    );
    for row in inspection
        .artifacts
        .iter()
        .filter(|row| row.external_layers > 0)
    {
        text.push_str(&format!(
            "\n{}: {} not in the bundle; nodes download external layers from the URLs in the manifest\n",
            row.name,
            super::count(row.external_layers, "external layer"),
        ));
    }
    let of = match (&inspection.set, &inspection.from, &inspection.bundle) {
        (Some(set), ..) => format!("set {set}"),
        (None, Some(from), _) => format!("{what} from {from}, not the vendor's bundle"),
        (None, None, bundle) => format!(
            "{}: {}, SHA-256 {}",
            bundle.as_deref().unwrap_or_default(),
            DecimalBytes(inspection.size.unwrap_or_default()),
            inspection.sha256.as_deref().unwrap_or_default(),
        ),
    };
    text.push_str(&format!(
        "\n{of}\n{}, {} of them unique\n",
        super::count(inspection.artifacts.len(), "artifact")
            + &format!(" of {}", DecimalBytes(inspection.total_bytes)),
        DecimalBytes(inspection.unique_bytes),
    ));
    for bundle in &inspection.bundles {
        text.push_str(&format!(
            "from {}: {}, SHA-256 {}{}\n",
            bundle.url,
            DecimalBytes(bundle.size),
            bundle.sha256,
            if bundle.key.is_some() {
                ", signature verified"
            } else {
                ""
            },
        ));
        for skipped in &bundle.skipped {
            text.push_str(&format!(
                "  not carried: {}: {}\n",
                skipped.archive, skipped.reason
            ));
        }
    }
    if !inspection.forced_release.is_empty() {
        text.push_str(&format!(
            "locked with --force-release, although {}\n",
            inspection.forced_release.join("; ")
        ));
    }
    app.ui.result(&text, &inspection)?;
    Ok(ExitCode::SUCCESS)
}
