//! `new`: a first environment.yaml, commented, that is valid as it is.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::app::App;
use crate::failure::Failure;

/// The environment that comes with every workspace. A deploy to it reaches no cluster.
const DEMO: &str = "demo";

pub(crate) fn run(app: &App<'_>, name: &str, release: Option<&str>) -> Result<ExitCode, Failure> {
    let release = match release {
        Some(text) => Some(super::release(text)?),
        None => None,
    };
    if name == DEMO {
        return Err(Failure::NameOfDemo);
    }
    let text = release::new::scaffold(&app.workspace, name, release.as_ref())?;
    if let Some(release) = &release
        && !release::new::is_known(&app.workspace, release)
    {
        return Err(Failure::UnknownRelease(format!("v{release}")));
    }
    let directory = app.workspace.environment(name);
    let path = directory.join("environment.yaml");
    let shown = app.workspace.shown(&path).to_owned();
    let failed = |source| Failure::io("write", &shown, source);
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let mut file = match std::fs::File::create_new(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::Exists(shown));
        }
        Err(error) => return Err(failed(error)),
    };
    if let Err(error) = file.write_all(text.as_bytes()) {
        // Half of it would be in the way of the next try; if that fails as well, the first error says enough.
        let _ = std::fs::remove_file(&path);
        return Err(failed(error));
    }
    app.ui.result(
        &format!(
            "wrote {shown}: fill in the registry and the hosts, then `cargo xtask render {name}`\n"
        ),
        &json!({ "path": shown }),
    )?;
    Ok(ExitCode::SUCCESS)
}
