//! Follows recipes of CONTRIBUTING.md in copies of the crates that they change: "Add an MKE
//! release", "Add a command", "Add an error", and the first step of "Add a task of your own". This
//! test binary is separate because it runs cargo.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use programs::Variables;
use support::Arguments;
use support::sandbox::repository;

/// The tests of `cargo test -p mke` that check a release, whichever releases exist.
const CHECK: &str = "test --package mke --lib -- \
                     every_fact_has_a_certainty_and_sources_that_fit_it \
                     keys::tests \
                     no_release_of_the_table_contradicts_itself \
                     the_committed_schema_is_up_to_date \
                     the_committed_page_is_up_to_date";

/// The entry of a key of `mke4.yaml` that the new release adds.
const KEY: &str = "      - { key: k0rdent.addedBy422, type: boolean, since: 4.2.2, certainty: documented, source: [K0RDENT-CAPI] }\n";

/// An example that prints facts of the new release.
const SHOW: &str = r#"//! Shows the release that was added.
fn main() {
    let release = mke::Release::of(&"4.2.2".parse().unwrap()).unwrap();
    let latest = mke::releases().pop();
    println!("{} {} {}", release.is_known(), latest == Some(release.clone()), release.bundle_file("arm64"));
}
"#;

#[test]
fn a_release_is_added_as_the_recipe_says() {
    let copy = Copy::of_mke();
    // Steps 1 and 2. The tests find a fact whose source does not fit its certainty.
    let table = copy.read("crates/mke/src/releases.yaml");
    let (_, row) = table.rsplit_once("  - version: ").unwrap();
    let row = row.split("    faults:\n").next().unwrap();
    let row = format!("  - version: {}", row.replace("4.2.1\n", "4.2.2\n"));
    let first = row.replacen(
        "inferred, source: [DOCS-421]",
        "documented, source: [LAB3]",
        1,
    );
    assert_ne!(first, row);
    copy.write("crates/mke/src/releases.yaml", &(table.clone() + &first));
    let failed = copy.check().unwrap_err();
    assert!(failed.contains("test result: FAILED"), "{failed}");
    assert!(failed.contains("releases[8].bundle"), "{failed}");
    copy.write("crates/mke/src/releases.yaml", &(table + &row));
    let passed = copy.check().unwrap();
    for name in CHECK.split(' ').skip(5) {
        assert!(passed.contains(name), "no test is called {name}: {passed}");
    }

    // Step 4. The tests find that the schema and the page are stale until step 5.
    let keys = copy.read("crates/mke/src/keys.yaml");
    copy.write("crates/mke/src/keys.yaml", &(keys + KEY));
    let failed = copy.check().unwrap_err();
    for stale in [
        "environment.schema.json is stale",
        "environment.md is stale",
    ] {
        assert!(failed.contains(stale), "{failed}");
    }
    for (example, file) in [
        ("schema", "environments/environment.schema.json"),
        ("reference", "docs/environment.md"),
    ] {
        let made = copy.cargo(&format!("run --package mke --example {example}"));
        copy.write(file, &made.unwrap());
        assert!(copy.read(file).contains("addedBy422"), "{file}");
    }
    copy.check().unwrap();

    copy.write("crates/mke/examples/show.rs", SHOW);
    let shown = copy.cargo("run --package mke --example show");
    assert_eq!(shown.unwrap(), "true true mke_bundle_v4.2.2_arm64.tar.gz\n");
}

/// The step of a new command, with an error of its own. `KINDS` is replaced by the arms of `kind`.
const STEP: &str = r#"//! Greets an environment.

use crate::Kind;

/// Why an environment is not greeted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The environment's name is empty.
    #[error("the name is empty")]
    Nameless,
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {KINDS}
    }
}

/// Returns the greeting of an environment.
///
/// # Errors
/// [`Error::Nameless`] if the name is empty.
pub fn greet(name: &str) -> Result<String, crate::Error> {
    if name.is_empty() {
        return Err(Error::Nameless.into());
    }
    Ok(format!("Hello, {name}\n"))
}
"#;

/// The file of the command.
const TASK: &str = r#"//! `greet`: a greeting.

use std::process::ExitCode;

use crate::app::App;
use crate::failure::Failure;

pub(crate) fn run(app: &App<'_>) -> Result<ExitCode, Failure> {
    let greeting = release::report::greet::greet("lab")?;
    app.ui.result(&greeting, &greeting)?;
    Ok(ExitCode::SUCCESS)
}
"#;

#[test]
fn a_command_with_an_error_is_added_as_the_recipes_say() {
    let copy = Copy::whole("recipe-of-command");
    let as_list = |line: &str| line.replace("List", "Greet").replace("list", "greet");
    // "Add a command", steps 1 to 3, and "Add an error", steps 1 and 3.
    copy.add("xtask/src", "^    List,$", |line| {
        format!("    /// Greet an environment\n{}", as_list(line))
    });
    copy.add("xtask/src", "^  list  ", as_list);
    copy.add("xtask/src/tasks.rs", "pub.* mod list;$", as_list);
    copy.write("xtask/src/tasks/inspect/greet.rs", TASK);
    copy.add("crates/release/src/report.rs", "pub mod list;$", as_list);
    let errors = "crates/release/src/error.rs";
    copy.add(errors, "^    Helm\\(", |_| {
        "    /// No greeting.\n    #[error(transparent)]\n    Greet(#[from] crate::report::greet::Error),"
            .to_owned()
    });
    let step = "crates/release/src/report/greet.rs";
    copy.write(step, &STEP.replace("KINDS", ""));
    // Without step 2 of "Add an error", both variants lack a kind. `xtask` is checked in place of
    // `release` alone, so the dependencies of both are checked once, with the same features.
    let check = "check --package xtask";
    let failed = copy.cargo(check).unwrap_err();
    assert_eq!(failed.matches("error[E0004]").count(), 2, "{failed}");
    for file in [step, errors] {
        assert!(failed.contains(&format!("--> {file}:")), "{failed}");
    }
    copy.write(
        step,
        &STEP.replace("KINDS", " Self::Nameless => Kind::Workspace "),
    );
    copy.add(errors, "Self::Helm\\(error\\) =>", |line| {
        line.replace("Helm", "Greet")
    });

    // Without step 4 of "Add a command", no code runs the command.
    let failed = copy.cargo(check).unwrap_err();
    assert!(failed.contains("::Greet` not covered"), "{failed}");
    copy.add("xtask/src/tasks.rs", "list::run\\(app\\),$", as_list);
    copy.cargo(check).unwrap();
}

#[test]
fn a_team_takes_the_place_of_the_example_in_the_workspace() {
    let copy = Copy::whole("recipe-of-team");
    let (from, to) = (copy.0.join("tests/team"), copy.0.join("team"));
    run(command("cp").args(["-a", from.as_str(), to.as_str()])).unwrap();
    let manifest = copy.read("Cargo.toml");
    copy.write(
        "Cargo.toml",
        &manifest.replacen("\"tests/team\"", "\"team\"", 1),
    );
    let known = copy.cargo("pkgid --locked team");
    assert!(known.unwrap().contains("/recipe-of-team/team#"));
}

/// A copy of crates. Its path is the same in each run, so cargo rebuilds only changed crates.
struct Copy(Utf8PathBuf);

impl Copy {
    fn empty(name: &str) -> Self {
        let folder = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    /// Copies all files that cargo reads.
    fn whole(name: &str) -> Self {
        let copy = Self::empty(name);
        for path in ["Cargo.toml", "Cargo.lock", "crates", "xtask", "tests"] {
            copy.take(path);
        }
        copy
    }

    /// Copies the crate `mke` and the crates that it depends on.
    fn of_mke() -> Self {
        let copy = Self::empty("recipe");
        for name in ["environment", "files", "mke", "redaction"] {
            copy.take(&format!("crates/{name}"));
        }
        for file in [
            "Cargo.lock",
            "docs/environment.md",
            "environments/environment.schema.json",
        ] {
            copy.take(file);
        }
        let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
        let members =
            |line: &&str| !line.starts_with("members") && !line.starts_with("default-members");
        let manifest: Vec<&str> = manifest.lines().filter(members).collect();
        let manifest = manifest.join("\n");
        let members = "[workspace]\nmembers = [\"crates/*\"]";
        copy.write("Cargo.toml", &manifest.replacen("[workspace]", members, 1));
        copy
    }

    /// Copies a file or folder of the repository. Modification times stay the same, since cargo
    /// compares them.
    fn take(&self, path: &str) {
        let (from, to) = (repository().join(path), self.0.join(path));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let copied = run(command("cp").args(["-a", from.as_str(), to.as_str()]));
        copied.unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.join(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.0.join(path), text).unwrap();
    }

    /// Finds the only line below `path` that matches `pattern`, and inserts `new` of that line
    /// after it.
    fn add(&self, path: &str, pattern: &str, new: impl Fn(&str) -> String) {
        let grep = ["-rHnE", "--include=*.rs", pattern, path];
        let found = run(command("grep").current_dir(&self.0).args(grep)).unwrap();
        let mut lines = found.lines();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            panic!("expected one line: {found}");
        };
        let [file, number, line] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
            panic!("unexpected output of grep: {line}");
        };
        let text = self.read(file);
        let mut lines: Vec<&str> = text.lines().collect();
        let added = new(line);
        lines.insert(number.parse().unwrap(), &added);
        self.write(file, &(lines.join("\n") + "\n"));
    }

    /// Runs the tests of releases.
    fn check(&self) -> Result<String, String> {
        self.cargo(CHECK)
    }

    /// Runs cargo in the copy, with the target folder of this repository: the crates that both
    /// depend on are built once.
    fn cargo(&self, arguments: impl Arguments) -> Result<String, String> {
        let target = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        // Test runners set variables such as `CARGO_PKG_NAME` and `OUT_DIR`. If they reached cargo,
        // it would rebuild `ring`, whose build script depends on them, and every crate above.
        let variables = Variables::for_cargo(std::env::vars_os());
        let mut cargo = command(env!("CARGO"));
        cargo
            .env_clear()
            .envs(variables.iter())
            .env_remove("OUT_DIR")
            .env("CARGO_TARGET_DIR", target)
            // Cargo disables it under `CI`, but each recipe builds its crates several times.
            .env("CARGO_INCREMENTAL", "1")
            .current_dir(&self.0)
            .arg("--offline")
            .args(arguments.words());
        run(&mut cargo)
    }
}

#[expect(clippy::disallowed_methods, reason = "cargo builds the copy")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// Runs a program.
///
/// # Errors
/// The program fails; the error is its standard output and standard error.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    match output.status.success() {
        true => Ok(stdout),
        false => Err(stdout + &String::from_utf8_lossy(&output.stderr)),
    }
}
