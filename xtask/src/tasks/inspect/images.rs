//! `images`: maps upstream references to those of the registry, in the form of a consumer.

use std::process::ExitCode;

use serde_json::json;

use crate::app::App;
use crate::cli::{ImagesArgs, ImagesForm};
use crate::failure::Failure;

pub(crate) fn run(app: &App<'_>, arguments: &ImagesArgs) -> Result<ExitCode, Failure> {
    let environment = app.environment(&arguments.environment)?;
    let images = release::report::images::images(&app.workspace, &environment)?;
    if arguments.chart.is_some() && arguments.form != Some(ImagesForm::Helm) {
        return Err(Failure::ChartWithoutHelm);
    }
    let form = match arguments.form {
        None => {
            let text: String = (images.artifacts.iter())
                .map(|one| format!("{} {}@{}\n", one.upstream, one.mirrored, one.digest))
                .collect();
            app.ui.result(&text, &images)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(ImagesForm::Kustomize) => images.kustomize(),
        Some(ImagesForm::Containerd) => images.containerd(),
        Some(ImagesForm::Cyclonedx) => images.cyclone_dx(),
        Some(ImagesForm::Idms) => images.digest_mirrors(),
        Some(ImagesForm::Helm) => {
            let chart = arguments.chart.as_deref().unwrap_or_default();
            release::report::images::helm(&app.workspace, &environment, chart)?
        }
    };
    app.ui.document(
        &form,
        &json!({ "environment": images.environment, "text": form }),
    )?;
    Ok(ExitCode::SUCCESS)
}
