//! `man`: writes a page for each command, which mandoc formats without a warning.

use std::process::Command;

use support::{Sandbox, Text as _};

use crate::AIRLOCK;

/// Makes the pages and returns their paths below the workspace.
fn pages(sandbox: &Sandbox) -> Vec<String> {
    sandbox.run("man --out man").success();
    let entries = sandbox.path("man").read_dir_utf8().unwrap();
    let mut pages: Vec<String> = entries
        .map(|entry| format!("man/{}", entry.unwrap().file_name()))
        .collect();
    pages.sort();
    pages
}

#[test]
fn each_command_except_hidden_ones_has_a_page() {
    let sandbox = Sandbox::new(AIRLOCK);
    let pages = pages(&sandbox);
    for page in [
        "airlock.1",
        "airlock-deploy.1",
        "airlock-cluster-backup.1",
        "airlock-store-gc.1",
    ] {
        assert!(pages.contains(&format!("man/{page}")), "{pages:?}");
    }
    assert!(
        !pages.iter().any(|page| page.contains("rehearsal-mkectl")),
        "{pages:?}"
    );
    let deploy = sandbox.read("man/airlock-deploy.1");
    deploy.has("airlock deploy").has("\\-\\-yes");
    deploy.lacks("cargo xtask").lacks("EXTRA");
    deploy.has(".SH EXAMPLES\n").has("airlock deploy lab");
}

#[cfg_attr(without_mandoc, ignore = "mandoc is needed")]
#[test]
fn pages_are_formatted_without_a_warning() {
    let sandbox = Sandbox::new(AIRLOCK);
    let pages = pages(&sandbox);
    assert!(pages.len() > 30, "{pages:?}");
    #[expect(clippy::disallowed_methods, reason = "tests start mandoc")]
    let mut command = Command::new("mandoc");
    let output = command
        .args(["-Tlint", "-Wwarning"])
        .args(&pages)
        .current_dir(sandbox.path(""))
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && found.is_empty(), "{found}");
}
