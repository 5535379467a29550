//! `new`: writes a commented, valid environment.yaml. On a terminal, asks for the values that each
//! site must change.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use dialoguer::Input;
use environment::Question;
use release::workspace::DEFAULT_ARCH;
use semver::Version;
use serde_json::json;

use crate::app::App;
use crate::cli::NewArgs;
use crate::failure::Failure;
use crate::ui::Columns;

/// The questions, in this order.
const QUESTIONS: [Question; 5] = [
    Question::Registry,
    Question::Project,
    Question::ExternalAddress,
    Question::Host,
    Question::User,
];

/// Name of the demo environment in every workspace. A deploy to it reaches no cluster.
const DEMO: &str = "demo";

pub(crate) fn run(app: &App<'_>, arguments: &NewArgs) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let release = arguments
        .release
        .as_deref()
        .map(super::release)
        .transpose()?;
    if name == DEMO {
        return Err(Failure::NameOfDemo);
    }
    if release::set::exists(&app.workspace, name) {
        return Err(Failure::NameOfSet(name.clone()));
    }
    // Computed first, so an invalid name is refused before the questions.
    let text = release::new::scaffold(&app.workspace, name, release.as_ref(), |question| {
        arguments.answer(question)
    })?;
    if let Some(release) = &release {
        require_known(app, release)?;
    }
    let directory = app.workspace.environment(name);
    let path = directory.join("environment.yaml");
    let shown = app.workspace.shown(&path).to_owned();
    let failed = |source| {
        // This removes an empty folder only.
        let _ = std::fs::remove_dir(&directory);
        Failure::io("write", &shown, source)
    };
    let asks = asks(app, arguments) && !path.exists();
    let text = match asks {
        true => ask(app, name)?,
        false => text,
    };
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let mut file = match std::fs::File::create_new(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::Exists(shown));
        }
        Err(error) => return Err(failed(error)),
    };
    if let Err(error) = file.write_all(text.as_bytes()) {
        // An incomplete file would block the next run. An error of the removal is ignored, because
        // the first error is reported.
        let _ = std::fs::remove_file(&path);
        return Err(failed(error));
    }
    let release = text.lines().find_map(|line| line.strip_prefix("release: "));
    let release = release.unwrap_or_default();
    let has = |question| asks || arguments.answer(question).is_some();
    let edit = match (has(Question::Registry), has(Question::Host)) {
        (true, true) => "add further hosts",
        (true, false) => "fill in the hosts",
        (false, true) => "fill in the registry, and add further hosts",
        (false, false) => "fill in the registry and the hosts",
    };
    let mut done = format!(
        "wrote {shown} for {release}: {edit}, then `cargo xtask check {name}` and `cargo xtask render {name}`\n"
    );
    if !app.workspace.lock(release, DEFAULT_ARCH).exists() {
        done.push_str(&format!(
            "{release} is not locked yet: `cargo xtask lock {release}`\n"
        ));
    }
    app.ui
        .result(&done, &json!({ "path": shown, "release": release }))?;
    Ok(ExitCode::SUCCESS)
}

impl NewArgs {
    fn answer(&self, question: Question) -> Option<String> {
        match question {
            Question::Registry => self.registry.clone(),
            Question::Project => self.project.clone(),
            Question::ExternalAddress => self.external_address.clone(),
            Question::Host => self.host.clone(),
            Question::User => self.user.clone(),
        }
    }
}

/// Checks that a release has recorded facts or a lock.
///
/// # Errors
/// [`Failure::UnknownRelease`] otherwise.
fn require_known(app: &App<'_>, release: &Version) -> Result<(), Failure> {
    match release::new::is_known(&app.workspace, release) {
        true => Ok(()),
        false => Err(Failure::UnknownRelease(format!("v{release}"))),
    }
}

/// Returns whether to ask questions: on a terminal, if no option answers one.
fn asks(app: &App<'_>, arguments: &NewArgs) -> bool {
    let is_answered = arguments.release.is_some()
        || QUESTIONS
            .iter()
            .any(|question| arguments.answer(*question).is_some());
    !arguments.defaults && !is_answered && std::io::stdin().is_terminal() && app.ui.draws()
}

/// Asks the questions, and returns the text of the file.
fn ask(app: &App<'_>, name: &str) -> Result<String, Failure> {
    let (locked, others) = release::new::releases(&app.workspace);
    for (what, releases) in [("locked", locked), ("not locked yet", others)] {
        let names: Vec<String> = releases.iter().map(|it| format!("v{it}")).collect();
        if !names.is_empty() {
            app.ui.note(&format!("{what}: {}", names.join(", ")));
        }
    }
    let default = format!("v{}", release::new::default_release(&app.workspace));
    let release: String = Input::new()
        .with_prompt("release")
        .default(default)
        .validate_with(|answer: &String| {
            super::release(answer)
                .and_then(|release| require_known(app, &release))
                .map_err(wrapped)
        })
        .interact_text()?;
    let release = super::release(&release)?;
    let mut answers = Vec::new();
    for question in QUESTIONS {
        let answer: String = Input::new()
            .with_prompt(question.to_string())
            .default(question.example(name))
            .validate_with(|answer: &String| question.check(answer).map_err(wrapped))
            .interact_text()?;
        answers.push((question, answer));
    }
    let text = release::new::scaffold(&app.workspace, name, Some(&release), |question| {
        let mut answers = answers.iter();
        answers.find_map(|(asked, answer)| (*asked == question).then(|| answer.clone()))
    })?;
    Ok(text)
}

/// Returns a message, wrapped to fit after the label that the prompt adds.
fn wrapped(error: impl std::fmt::Display) -> String {
    const LABEL: &str = "error: ";
    let text = Columns::of_messages().fold(&format!("{LABEL}{error}"));
    text[LABEL.len()..].to_owned()
}
