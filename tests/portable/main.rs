//! Builds the program for old systems. It is a test of its own, because a build takes minutes and
//! all processors.

use camino::Utf8PathBuf;
use programs::Variables;
use programs::portable::{Build, Glibc, OLDEST_GLIBC};

#[test]
#[cfg_attr(
    without_zigbuild,
    ignore = "cargo zigbuild is not installed: pip install cargo-zigbuild ziglang"
)]
#[expect(
    clippy::disallowed_methods,
    reason = "cargo is found by the environment of the test"
)]
fn a_portable_program_runs_on_glibc_2_17_and_needs_no_workspace_to_start() {
    let variables = Variables::for_cargo(std::env::vars_os());
    let workspace = support::sandbox::repository();
    // The versions of symbols do not depend on the profile, and this one takes half as long.
    let build = Build {
        workspace: &workspace,
        package: "xtask",
        profile: "dev",
        is_offline: false,
    };
    let built = build.run(&variables).unwrap();
    assert!(Glibc::needed_by(&built).unwrap() <= Some(OLDEST_GLIBC));

    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    let airlock = folder.join("airlock");
    std::fs::copy(&built, &airlock).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new("./airlock");
        command.args(arguments).current_dir(&folder).env_clear();
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (is_fine, text) = run(&["--version"]);
    assert!(is_fine && text.contains("0.1.0"), "{text}");
    assert!(run(&["--help"]).0);
    let (is_fine, text) = run(&["list"]);
    assert!(!is_fine && text.contains("no workspace found"), "{text}");
    // It finds the workspace by the folder, and names itself in hints.
    std::fs::create_dir(folder.join("environments")).unwrap();
    let (is_fine, text) = run(&["list"]);
    assert!(is_fine && text.contains("`./airlock new NAME`"), "{text}");
    assert!(!text.contains("cargo"), "{text}");
}
