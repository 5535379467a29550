//! `START.txt`: instructions for the operator on the other side.

use std::collections::BTreeSet;

use semver::Version;

use super::Options;

/// Returns the text for a medium. It contains no time, so the same medium has the same text.
pub(super) fn text(
    environments: &[String],
    releases: &BTreeSet<Version>,
    glibc: Option<&str>,
    options: &Options,
) -> String {
    let releases: Vec<String> = releases
        .iter()
        .map(|release| format!("v{release}"))
        .collect();
    let names = environments.join(" ");
    let unsigned = unsigned(options);
    let mut text = format!(
        "\
This is an Airlock medium with {} for: {names}.

1. Connect this disk to a machine at the site that reaches the registry.
   Open a terminal and change to the folder with this file.

2. Unpack. DIR is the folder for the workspace; it may exist already.

   ./airlock unpack . -C DIR{unsigned}

   If the system does not start programs from this disk, copy it first:

   cp airlock /tmp/airlock
   chmod +x /tmp/airlock
   /tmp/airlock unpack . -C DIR{unsigned}

   If there are several disks, name the folder of each:

   ./airlock unpack . /media/disk2 -C DIR{unsigned}
",
        releases.join(", ")
    );
    text.push_str(match options.sign {
        Some(_) => {
            "
   Compare the fingerprint that it shows with the one that you were told.
"
        }
        None => {
            "
   The medium is not signed: be sure where it comes from.
"
        }
    });
    text.push_str(
        "
3. Log in to the registry, or set the variables that push-credentials names.
   Test it, read the plan, and deploy. Commit the receipt.

   cd DIR
   export AIRLOCK_OFFLINE=1
   skopeo login REGISTRY
",
    );
    for name in environments {
        text.push_str(&format!(
            "   ./airlock preflight {name} --nodes\n   ./airlock plan {name}\n   ./airlock deploy {name}\n   \
             git add environments/{name}\n   git commit -m \"Deploy {name}\"\n"
        ));
    }
    text.push_str(
        "
4. Return what the site reports: receipts, logs, and what its registry has.
   BACK is a new folder on a disk that travels back.

",
    );
    text.push_str(&format!("   ./airlock pack {names} --return --out BACK\n"));
    if let Some(glibc) = glibc {
        text.push_str(&format!(
            "\nThe program needs Linux with glibc {glibc} or later: `ldd --version` shows it.\n"
        ));
    }
    for_every_editor(&text)
}

/// Returns the text for a medium that replaces pieces of an earlier one and has no program.
pub(super) fn of_replacement(environments: &[String], options: &Options) -> String {
    let names = environments.join(" ");
    let unsigned = unsigned(options);
    for_every_editor(&format!(
        "\
This replaces damaged pieces of an Airlock medium for: {names}.
It has no program. DIR is the folder with this file.

1. If the earlier medium made a workspace, unpack this one there.

   ./airlock unpack DIR{unsigned}

2. If it did not, unpack this one, then the earlier one. MEDIUM is its folder,
   which has the program. WORKSPACE is the folder for the workspace.

   MEDIUM/airlock unpack DIR -C WORKSPACE{unsigned}
   MEDIUM/airlock unpack MEDIUM -C WORKSPACE{unsigned}
"
    ))
}

/// Returns the text for a medium that a site returns.
pub(super) fn of_return(environments: &[String], options: &Options) -> String {
    let names = environments.join(" ");
    let unsigned = unsigned(options);
    for_every_editor(&format!(
        "\
This is what a site returns for: {names}.
It has receipts, logs, and what the registry has. Secrets are masked.

1. Connect this disk to the machine with the workspace that media are packed in.

2. In that workspace, unpack and commit. DIR is the folder with this file.

   cargo xtask unpack DIR{unsigned}
   git add environments
   git commit -m \"Return of {names}\"

3. The next medium has only what the site lacks.

   cargo xtask pack {names} --out DISK
"
    ))
}

fn unsigned(options: &Options) -> &'static str {
    match options.sign {
        Some(_) => "",
        None => " --allow-unsigned",
    }
}

/// Converts line ends to CRLF, which all editors support.
fn for_every_editor(text: &str) -> String {
    text.replace('\n', "\r\n")
}
