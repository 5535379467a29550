//! Hints for errors of mkectl and the cluster.

use camino::Utf8Path;
use release::cluster::in_progress::InvalidNote;
use release::cluster::{BackupError, BackupFailure, Error};
use release::cluster::{consent, existing, migrate, run, upgrade};
use release::event::Step;
use release::kubeconfig::NamedBy;
use release::transfer::program;
use release::{MkectlError, kubeconfig, rehearse};

use crate::advice::{self, here};

/// The hint for a cluster that does not answer.
const CHECK_CLUSTER: &str = "check that the cluster is up, and that `kubeconfig:` in environment.yaml, KUBECONFIG, or otherwise \
                             ~/.mke/mke.kubeconf leads to it";

pub(super) fn mkectl(error: &MkectlError) -> Vec<String> {
    let hint = match error {
        MkectlError::Missing { .. } => {
            "correct the path after `mkectl:` in environment.yaml, or remove the key to use a downloaded mkectl".to_owned()
        }
        MkectlError::NotFound { .. } => {
            "install the release's mkectl on PATH, or name it in the environment: `mkectl: ./path/to/mkectl`".to_owned()
        }
        MkectlError::Limit { .. } => {
            "raise the limits of this shell or container: `ulimit -u`, `ulimit -n`, pids.max".to_owned()
        }
        MkectlError::NotExecutable { path } if path.is_dir() => {
            format!("name the program in the folder: {path}/mkectl")
        }
        MkectlError::NotExecutable { path } => format!("chmod +x {path}"),
        MkectlError::NoInterpreter { program, .. } => format!(
            "run `file {program}`, which names the interpreter or loader, and install it; or use the mkectl build for this system"
        ),
        MkectlError::WrongPlatform { .. } => {
            "use the mkectl build for this operating system and processor".to_owned()
        }
        MkectlError::Failed { output, .. } if output.to_ascii_lowercase().contains("kubeconfig") => {
            "set `kubeconfig` in environment.yaml, or KUBECONFIG".to_owned()
        }
        MkectlError::Failed { command, .. } | MkectlError::TimedOut { command, .. } if command.contains(" config get") => {
            CHECK_CLUSTER.to_owned()
        }
        MkectlError::NoVersion { .. } | MkectlError::Failed { .. } | MkectlError::TimedOut { .. } => {
            "check that this is the mkectl of MKE 4; name a different one in the environment: `mkectl: ./path/to/mkectl`"
                .to_owned()
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn program(error: &program::Error) -> Vec<String> {
    let hint = match error {
        program::Error::NoOldMkectl { release } => {
            let first = here(
                format!("`cargo xtask fetch {release}` downloads it if {release} is locked"),
                format!("copy `mkectl` and `mkectl.tar.gz` to {}/", program::folder(release)),
            );
            let new = here("fetched", "there");
            format!(
                "{first}; or put it on PATH, with the new one {new} or named in the environment: `mkectl: ./path/to/mkectl`"
            )
        }
        program::Error::Missing { release, is_locked, .. } => {
            advice::mkectl(release, Some(*is_locked))
        }
        program::Error::Version { wanted, .. } => format!("install mkectl {wanted}: each mkectl serves one release"),
        program::Error::NoPullFlags { .. } => {
            "let nodes pull without credentials and remove `credentialsSecretName`; if nodes get the pull credentials by other means, write \
             `accept: [pull-secret]`"
                .to_owned()
        }
        program::Error::Refused { folder, .. } => {
            here(
                format!("delete {folder} and run `cargo xtask fetch` again, or copy it again"),
                format!("delete {folder} and copy it again"),
            )
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn run(error: &run::Error) -> Vec<String> {
    let hint = match error {
        run::Error::Running { note, .. } => {
            format!("wait until it ends; if the process is not mkectl, delete {note}")
        }
        run::Error::Failed {
            environment,
            step: Step::Backup,
            log,
            ..
        } => {
            return vec![
                format!("its output is in {log}"),
                without_backup(environment),
            ];
        }
        run::Error::Failed { log, .. }
        | run::Error::Interrupted { log, .. }
        | run::Error::Contradicted { log, .. } => {
            format!("its output is in {log}")
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn invalid_run_note(note: &InvalidNote) -> Vec<String> {
    let logs = note.path.parent().unwrap_or(Utf8Path::new("."));
    let environment = logs
        .parent()
        .and_then(Utf8Path::file_name)
        .unwrap_or_default();
    vec![
        format!(
            "check with `pgrep -a mkectl` that none is running, read the newest log in {logs}, then delete {}",
            note.path
        ),
        format!("then run mkectl again: `cargo xtask apply {environment}`"),
    ]
}

pub(super) fn existing(error: &existing::Error) -> Vec<String> {
    let hint = match error {
        existing::Error::Contradiction { is_meant: false, .. } => {
            "unset KUBECONFIG, or name the kubeconfig of this cluster as `kubeconfig:` in environment.yaml; without both mkectl uses \
             ~/.mke/mke.kubeconf"
                .to_owned()
        }
        existing::Error::Contradiction { is_meant: true, .. } => {
            "the cluster was changed without Airlock, or the receipt is outdated: find out which, and restore the correct receipt"
                .to_owned()
        }
        existing::Error::Silent { .. } | existing::Error::Unconfirmed { .. } => CHECK_CLUSTER.to_owned(),
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn upgrade(error: &upgrade::Error) -> Vec<String> {
    match error {
        upgrade::Error::NoReleaseMatrix { .. } => vec![
            "take the vendor's release-matrix.json, unmodified, and name it in the environment: `release-matrix: ./release-matrix.json`".to_owned(),
        ],
        _ => Vec::new(),
    }
}

pub(super) fn migrate(error: &migrate::Error) -> Vec<String> {
    let hint = match error {
        migrate::Error::NoMke3 { environment } => format!(
            "describe the cluster in environment.yaml: `mke3: {{ version: 3.8.2, credentials: {{ env: NAME }} }}`; if there is none, run \
             `cargo xtask deploy {environment}`"
        ),
        migrate::Error::StaleKubeconfig { path } => {
            format!("if it is not needed, move it: mv {path} {path}.before")
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn consent(error: &consent::Error) -> Vec<String> {
    match error {
        consent::Error::VisibleSecrets { .. } => vec![
            "on a machine without other users, answer `yes`, or add `--allow-visible-secrets` for runs without a terminal".to_owned(),
        ],
        _ => Vec::new(),
    }
}

pub(super) fn cluster(error: &Error) -> Vec<String> {
    let hint = match error {
        Error::NoChecks { environment, .. } => {
            format!("check the machines with `cargo xtask preflight {environment} --nodes`")
        }
        Error::Protected { .. } => {
            "to reset it, remove `protected` from environment.yaml in a reviewed change".to_owned()
        }
        Error::Backup(failure) => return backup_hints(failure),
        Error::NoArchive {
            environment,
            folder,
            ..
        } => {
            format!("name an archive of {environment}; they are written to {folder}/")
        }
        Error::Unapplied {
            environment,
            revision,
            ..
        } => {
            let source = revision.as_ref().map_or_else(String::new, |revision| {
                format!(" --overlay --source {revision}")
            });
            return vec![
                format!(
                    "restore what was applied: `git restore{source} environments/{environment} ':!environments/{environment}/receipt.yaml'`"
                ),
                format!(
                    "if the change is meant, deploy it first: `cargo xtask deploy {environment}`"
                ),
            ];
        }
        Error::NoMatchingMkectl { version, .. } => format!(
            "copy it to {}/, or name it in the environment: `mkectl: ./path/to/mkectl`",
            program::folder(version)
        ),
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn rehearse(error: &rehearse::Error) -> Vec<String> {
    let hint = match error {
        rehearse::Error::Registry {
            source: release::EmbeddedError::Directory { path, .. },
            ..
        } => {
            format!("make {path} a writable folder")
        }
        rehearse::Error::Registry { .. } => advice::ADDRESS_IN_USE.to_owned(),
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn kubeconfig(error: &kubeconfig::Error) -> Vec<String> {
    let hint = match error {
        kubeconfig::Error::OtherCluster { kubeconfig, .. } => {
            let path = &kubeconfig.path;
            match kubeconfig.named_by {
                NamedBy::Variable => "unset KUBECONFIG, or name the kubeconfig of this environment as `kubeconfig:` in environment.yaml".to_owned(),
                NamedBy::Default => format!(
                    "if the file belongs to another environment, move it and name it there as `kubeconfig:` in environment.yaml: mv {path} FILE"
                ),
                _ => format!("correct `kubeconfig:` in environment.yaml: {path} leads to that cluster"),
            }
        }
        kubeconfig::Error::Missing {
            environment,
            kubeconfig,
        } => format!(
            "write it with `cargo xtask cluster kubeconfig {environment} --output {}`, or correct what names it",
            kubeconfig.path
        ),
        _ => CHECK_CLUSTER.to_owned(),
    };
    vec![hint]
}

fn backup_hints(failure: &BackupFailure) -> Vec<String> {
    let environment = &failure.environment;
    let mut hints = vec![match failure.problem {
        BackupError::Unsupported { .. } => format!(
            "keep its backup by other means, `cargo xtask mkectl {environment} -- backup create --name NAME` for example"
        ),
        _ => format!("find the cause in the newest log in environments/{environment}/logs/"),
    }];
    if failure.is_before_upgrade {
        hints.push(without_backup(environment));
    }
    hints
}

fn without_backup(environment: &str) -> String {
    format!(
        "`cargo xtask deploy {environment} --without-backup REASON` upgrades without a backup, and the receipt records the reason"
    )
}
