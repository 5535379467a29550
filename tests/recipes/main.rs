//! Follows the recipe "Add an MKE release" of CONTRIBUTING.md in a copy of the crates that it
//! touches, and the first step of "Add a task of your own". It is a test of its own, because it
//! builds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use support::sandbox::repository;

/// What `cargo test -p mke` checks of a release, whichever releases exist.
const CHECKS: &[&str] = &[
    "every_fact_has_a_certainty_and_sources_that_fit_it",
    "keys::tests",
    "no_release_of_the_table_contradicts_itself",
    "the_committed_schema_is_the_one_that_is_made",
    "the_committed_page_is_the_one_that_is_made",
];

/// A key of `mke4.yaml` that the new release adds.
const KEY: &str = "      - { key: k0rdent.addedBy422, type: boolean, since: 4.2.2, certainty: documented, source: [K0RDENT-CAPI] }\n";

/// Prints what the program knows of the new release.
const SHOW: &str = r#"//! Shows the release that was added.
fn main() {
    let release = mke::Release::of(&"4.2.2".parse().unwrap()).unwrap();
    let latest = mke::releases().pop();
    println!("{} {} {}", release.is_known(), latest == Some(release.clone()), release.bundle_file("arm64"));
}
"#;

#[test]
fn a_release_is_added_as_the_recipe_says() {
    let copy = Copy::new();
    // Step 1 and 2. A fact without a source that fits its certainty is found.
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
    copy.check().unwrap();

    // Step 4. The schema and the page are found to be stale until step 5.
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
        let made = copy.cargo(&["run", "--package", "mke", "--example", example]);
        copy.write(file, &made.unwrap());
        assert!(copy.read(file).contains("addedBy422"), "{file}");
    }
    copy.check().unwrap();

    copy.write("crates/mke/examples/show.rs", SHOW);
    let shown = copy.cargo(&["run", "--package", "mke", "--example", "show"]);
    assert_eq!(shown.unwrap(), "true true mke_bundle_v4.2.2_arm64.tar.gz\n");
}

#[test]
fn a_team_takes_the_place_of_the_example_in_the_workspace() {
    let copy = Copy(Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("recipe-of-team"));
    let _ = std::fs::remove_dir_all(&copy.0);
    for path in ["Cargo.toml", "Cargo.lock", "crates", "xtask", "tests"] {
        copy.take(path);
    }
    let (from, to) = (copy.0.join("tests/team"), copy.0.join("team"));
    run(command("cp").args(["-a", from.as_str(), to.as_str()])).unwrap();
    let manifest = copy.read("Cargo.toml");
    copy.write(
        "Cargo.toml",
        &manifest.replacen("\"tests/team\"", "\"team\"", 1),
    );
    let known = copy.cargo(&["pkgid", "--locked", "team"]);
    assert!(known.unwrap().contains("/recipe-of-team/team#"));
}

/// The crate `mke` and what it uses, in a folder that stays the same, so cargo builds little again.
struct Copy(Utf8PathBuf);

impl Copy {
    fn new() -> Self {
        let copy = Self(Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("recipe"));
        let _ = std::fs::remove_dir_all(&copy.0);
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

    /// Copies a file or a folder of the repository, with the times of its files.
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

    /// Returns everything that cargo printed, if a check fails.
    fn check(&self) -> Result<String, String> {
        let test = ["test", "--package", "mke", "--lib", "--"];
        self.cargo(&[&test[..], CHECKS].concat())
    }

    fn cargo(&self, arguments: &[&str]) -> Result<String, String> {
        let target = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut cargo = command(env!("CARGO"));
        cargo.env("CARGO_TARGET_DIR", target).current_dir(&self.0);
        run(cargo.arg("--offline").args(arguments))
    }
}

#[expect(clippy::disallowed_methods, reason = "cargo builds the copy")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// Returns the standard output of a program that succeeds; otherwise everything that it printed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    match output.status.success() {
        true => Ok(stdout),
        false => Err(stdout + &String::from_utf8_lossy(&output.stderr)),
    }
}
