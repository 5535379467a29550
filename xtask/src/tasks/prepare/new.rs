//! `new`: a first environment.yaml, commented, that is valid as it is. On a terminal it asks for
//! what an example would be wrong about.

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

/// What is asked, in this order.
const QUESTIONS: [Question; 5] = [
    Question::Registry,
    Question::Project,
    Question::ExternalAddress,
    Question::Host,
    Question::User,
];

/// The environment that comes with every workspace. A deploy to it reaches no cluster.
const DEMO: &str = "demo";

pub(crate) fn run(app: &App<'_>, arguments: &NewArgs) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let release = match &arguments.release {
        Some(text) => Some(super::release(text)?),
        None => None,
    };
    if name == DEMO {
        return Err(Failure::NameOfDemo);
    }
    if release::set::exists(&app.workspace, name) {
        return Err(Failure::NameOfSet(name.clone()));
    }
    // A name that cannot be one, and one that exists, are found before anything is asked.
    let text = release::new::scaffold(&app.workspace, name, release.as_ref(), |question| {
        arguments.answer(question)
    })?;
    if let Some(release) = &release {
        known(app, release)?;
    }
    let directory = app.workspace.environment(name);
    let path = directory.join("environment.yaml");
    let shown = app.workspace.shown(&path).to_owned();
    let failed = |source| {
        // Only a folder without files is removed: the one that was made above all.
        let _ = std::fs::remove_dir(&directory);
        Failure::io("write", &shown, source)
    };
    let asks = asks(app, arguments) && !path.exists();
    let text = match asks {
        true => asked(app, name)?,
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
        // Half of it would be in the way of the next try; if that fails as well, the first error
        // says enough.
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

/// Refuses a release that is neither in the table nor locked.
fn known(app: &App<'_>, release: &Version) -> Result<(), Failure> {
    match release::new::is_known(&app.workspace, release) {
        true => Ok(()),
        false => Err(Failure::UnknownRelease(format!("v{release}"))),
    }
}

/// Returns whether an operator is there to be asked, and has answered nothing on the command line.
fn asks(app: &App<'_>, arguments: &NewArgs) -> bool {
    let is_answered = arguments.release.is_some()
        || QUESTIONS
            .iter()
            .any(|question| arguments.answer(*question).is_some());
    !arguments.defaults && !is_answered && std::io::stdin().is_terminal() && app.ui.draws()
}

/// Asks, and returns the text of the file.
fn asked(app: &App<'_>, name: &str) -> Result<String, Failure> {
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
                .and_then(|release| known(app, &release))
                .map_err(folded)
        })
        .interact_text()?;
    let release = super::release(&release)?;
    let mut answers = Vec::new();
    for question in QUESTIONS {
        let answer: String = Input::new()
            .with_prompt(question.to_string())
            .default(question.example(name))
            .validate_with(|answer: &String| question.check(answer).map_err(folded))
            .interact_text()?;
        answers.push((question, answer));
    }
    let text = release::new::scaffold(&app.workspace, name, Some(&release), |question| {
        let mut answers = answers.iter();
        answers.find_map(|(asked, answer)| (*asked == question).then(|| answer.clone()))
    })?;
    Ok(text)
}

/// Returns a message, wrapped to fit behind the label that the prompt writes before it.
fn folded(error: impl std::fmt::Display) -> String {
    const LABEL: &str = "error: ";
    let text = Columns::of_messages().fold(&format!("{LABEL}{error}"));
    text[LABEL.len()..].to_owned()
}
