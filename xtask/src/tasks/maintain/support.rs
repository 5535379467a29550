//! `support`: writes an archive about an environment for a colleague.

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
use crate::cli::SupportArgs;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::ui::{Detail, Ui};

/// Time limit for the plan. The preflight reports a registry that does not answer.
const PLAN_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn run(app: &App<'_>, arguments: &SupportArgs) -> Result<ExitCode, Failure> {
    let (name, out) = (&arguments.environment, arguments.out.as_deref());
    let folder = app.workspace.environment(name);
    if let Some(out) = out {
        if out.exists() {
            return Err(Failure::Exists(out.to_owned()));
        }
        check_writable(out)?;
    }
    let facts = app.workspace.overlay_releases().map_err(Failure::from);
    let mut support = match facts.and_then(|_| app.environment(name)) {
        Ok(environment) => collect(app, &environment)?,
        // Without its folder, nothing can be collected.
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
    let path = out.map_or_else(|| default_path(&folder, now), Utf8Path::to_owned);
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

/// Collects the entries of the archive. An entry that cannot be computed contains the error.
fn collect(app: &App<'_>, environment: &Environment) -> Result<Support, Failure> {
    let name = &environment.name;
    let (unserved, preflight, plan) = until_interrupted(app, async {
        let served = release::rehearse::serve_for_reading(&app.workspace, environment).await;
        let (unserved, _registry) = match served {
            Ok(registry) => (None, registry),
            Err(error) => (Some(Failure::from(error)), None),
        };
        let output = Output::below(&app.workspace.environment(name));
        let context = app.context();
        let preflight =
            crate::tasks::inspect::preflight::json_without_nodes(app, environment).await;
        let plan = release::plan::plan(&context, environment.clone(), output, Purpose::Deploy);
        let plan = tokio::time::timeout(PLAN_TIMEOUT, plan).await;
        Ok((unserved, preflight, plan))
    })?;
    // After preflight and plan: both read secrets, which the masker then knows.
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
            let seconds = PLAN_TIMEOUT.as_secs();
            support.add("plan.txt", format!("no plan within {seconds} s\n"));
        }
    }
    Ok(support)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn default_path(folder: &Utf8Path, now: jiff::Timestamp) -> Utf8PathBuf {
    let stamp = now.strftime("%Y-%m-%dT%H-%M-%SZ");
    folder.join(format!("logs/support-{stamp}.tar.gz"))
}
