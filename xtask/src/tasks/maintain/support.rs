//! `support`: one archive with what a colleague asks for first.

use std::process::ExitCode;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use release::event::Event;
use release::plan::Purpose;
use release::report::support::Support;
use release::workspace::{Output, check_writable};
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::ui::{Detail, Ui};

/// How long the plan may take. A registry that does not answer is known to the preflight.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn run(app: &App<'_>, name: &str, out: Option<&Utf8Path>) -> Result<ExitCode, Failure> {
    let folder = app.workspace.environment(name);
    if let Some(out) = out {
        if out.exists() {
            return Err(Failure::Exists(out.to_owned()));
        }
        check_writable(out)?;
    }
    let facts = app.workspace.overlay_releases().map_err(Failure::from);
    let mut support = match facts.and_then(|_| app.environment(name)) {
        Ok(environment) => of(app, &environment)?,
        // Without its folder there is nothing to send.
        Err(failure) if !folder.is_dir() => return Err(failure),
        Err(failure) => {
            let warning = format!("{name} is not valid, see problems.json in the archive");
            app.context().reporter.report(Event::Warning(warning));
            let mut support = Support::default();
            support.add("problems.json", pretty(&failure.value()));
            support
        }
    };
    let now = (app.tool.now)();
    let versions = json!({
        "airlock": env!("AIRLOCK_VERSION"),
        "environment": name,
        "system": std::env::consts::OS,
        "machine": std::env::consts::ARCH,
        "written": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    support.add("versions.json", pretty(&versions));
    let path = out.map_or_else(|| default(&folder, now), Utf8Path::to_owned);
    let entries = support.write(&path)?;
    let shown = app.workspace.shown(&path);
    let text = format!(
        "{name}: wrote {shown}, which contains {}\nThe secrets of this run are masked. Review the archive before you send it.\n",
        entries.join(", ")
    );
    let value = json!({ "environment": name, "archive": shown, "entries": entries });
    app.ui.result(&text, &value)?;
    Ok(ExitCode::SUCCESS)
}

/// Collects everything of an environment. What fails is in the archive as the error that it is.
fn of(app: &App<'_>, environment: &Environment) -> Result<Support, Failure> {
    let name = &environment.name;
    let (unserved, preflight, plan) = until_interrupted(app, async {
        let served = release::rehearse::serve_for_reading(&app.workspace, environment).await;
        let (unserved, _registry) = match served {
            Ok(registry) => (None, registry),
            Err(error) => (Some(Failure::from(error)), None),
        };
        let output = Output::below(&app.workspace.environment(name));
        let context = app.context();
        let preflight = crate::tasks::inspect::preflight::checked(app, environment).await;
        let plan = release::plan::plan(&context, environment.clone(), output, Purpose::Deploy);
        let plan = tokio::time::timeout(PATIENCE, plan).await;
        Ok((unserved, preflight, plan))
    })?;
    // After both, which read the secrets that are to be masked.
    let mut support = Support::of_files(&app.context(), environment);
    if let Some(failure) = unserved {
        support.add("rehearsal.json", pretty(&failure.value()));
    }
    let merged = environment::yaml::emit_with_origins(&environment.merged);
    support.add("environment.txt", merged);
    let preflight = preflight.unwrap_or_else(|failure| failure.value());
    support.add("preflight.json", pretty(&preflight));
    match plan {
        Ok(Ok(plan)) => {
            let summary = plan.summary(&app.workspace);
            support.add("plan.txt", Ui::plan_text(&summary, Detail::Full));
        }
        Ok(Err(error)) => support.add("plan.json", pretty(&Failure::from(error).value())),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            support.add("plan.txt", format!("no plan within {seconds} s\n"));
        }
    }
    Ok(support)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn default(folder: &Utf8Path, now: jiff::Timestamp) -> Utf8PathBuf {
    let stamp = now.strftime("%Y-%m-%dT%H-%M-%SZ");
    folder.join(format!("logs/support-{stamp}.tar.gz"))
}
