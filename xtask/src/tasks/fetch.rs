//! `fetch`: a locked bundle, brought here and checked.

use std::process::ExitCode;

use serde_json::json;

use crate::app::App;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, what: &str) -> Result<ExitCode, Failure> {
    let (release, environment) = match super::release(what) {
        Ok(release) => (release, None),
        Err(_) => match app.environment(what) {
            Ok(environment) => (environment.release, Some(environment.name)),
            Err(Failure::Release(release::Error::Environment(environment::Error::Unknown {
                nearest: None,
                ..
            }))) => {
                return Err(Failure::NeitherEnvironmentNorRelease(what.to_owned()));
            }
            Err(failure) => return Err(failure),
        },
    };
    let locked = release::fetch::locked(&app.workspace, &release)?;
    until_interrupted(app, async {
        let context = app.context();
        release::carry::bring(&context, &locked.lock).await?;
        release::program::fetch(&context, &locked.lock).await?;
        if let Some(environment) = &environment {
            release::program::fetch_earlier(&context, environment, &release).await?;
        }
        release::defaults::restore(&context, &release)?;
        Ok(())
    })?;
    let artifacts = locked.lock.artifacts.len();
    app.ui.result(
        &format!(
            "v{release} is here and is what its lock says: {}\n",
            super::count(artifacts, "artifact")
        ),
        &json!({ "release": format!("v{release}"), "artifacts": artifacts }),
    )?;
    Ok(ExitCode::SUCCESS)
}
