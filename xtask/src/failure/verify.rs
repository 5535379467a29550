//! Hints for `verify` and `prune`.

use camino::Utf8Path;
use release::shared_state::Conflict;
use release::{prune, verify};

use super::plan;

pub(super) fn verify(error: &verify::Error) -> Vec<String> {
    let hint = match error {
        verify::Error::NotConfirmed {
            environment,
            findings,
            ..
        } if findings.iter().any(|finding| finding.kind.is_damage()) => {
            return damage(environment);
        }
        verify::Error::NotConfirmed {
            environment,
            findings,
            ..
        } if verify::is_below_right_tags(findings) => format!(
            "the registry lost blobs of existing tags, and a push trusts tags: \
             `cargo xtask verify {environment} --repair` restores them"
        ),
        verify::Error::NotConfirmed { environment, .. } => format!(
            "`cargo xtask push {environment}` pushes missing and different tags; `cargo xtask verify {environment} --repair` restores what is below tags too"
        ),
        verify::Error::NotRepaired { environment, .. } => return damage(environment),
        verify::Error::NoPulls { path, .. } => format!(
            "write it again: `cargo xtask render {}`",
            path.parent()
                .and_then(Utf8Path::file_name)
                .unwrap_or("ENVIRONMENT")
        ),
        verify::Error::PullsElsewhere { environment, .. } => format!(
            "Airlock pushes only to the environment's own registry; if the file is outdated, `cargo xtask render {environment}` writes it again"
        ),
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn prune(error: &prune::Error) -> Vec<String> {
    let hint = match error {
        prune::Error::LockUnknown { .. } => "lock it, or restore its lock: without it the artifacts to keep are unknown".to_owned(),
        prune::Error::RecordedLockUnknown { reference, release, .. } => format!(
            "run `git pull`, or restore the lock of {release}: without it the artifacts to keep are unknown; if that cluster no longer exists, \
             remove {reference} with the registry's own tools"
        ),
        prune::Error::SharedState(Conflict::Invalid { .. }) => {
            "remove it from the registry if Airlock did not write it".to_owned()
        }
        prune::Error::SharedState(
            conflict @ (Conflict::Unfinished { environment, .. }
            | Conflict::InUse { environment, .. }
            | Conflict::Differs { environment, .. }
            | Conflict::Overtaken { environment }),
        ) => {
            let take_over = format!("run `cargo xtask deploy {environment} --take-over` first");
            return plan::conflict(conflict, &take_over);
        }
        prune::Error::OtherEnvironment { path, planned, .. } => {
            format!("`cargo xtask prune {planned} --plan {path}`, or name a plan of this environment")
        }
        prune::Error::Refused { environment, path, .. } => format!(
            "nothing was removed; compute and review a new plan: `cargo xtask prune {environment} --out {path}`"
        ),
        prune::Error::RemovesNothing { .. } => {
            "for registry:2, set REGISTRY_STORAGE_DELETE_ENABLED=true; for other registries, ask the administrator, or remove there what the plan names"
                .to_owned()
        }
        prune::Error::NotRemoved { .. } => "run it again with the same plan: what is gone is left out".to_owned(),
        _ => return Vec::new(),
    };
    vec![hint]
}

/// Returns the hints for a registry that serves different bytes than were pushed under a digest.
fn damage(environment: &str) -> Vec<String> {
    vec![
        "before you delete anything, read a named digest from the registry without the proxy before it: if its bytes are right there, \
         correct the proxy; if the answers have a Content-Encoding, turn off the compression of blobs"
            .to_owned(),
        "if its bytes are wrong there, too, the registry's storage is damaged, and the registry keeps the damaged bytes when the right ones are sent again. Delete the named \
         digests there (registry:2: the folders docker/registry/v2/blobs/sha256/XX/DIGEST; other registries: delete the repositories and \
         run garbage collection)"
            .to_owned(),
        format!("then restore them: `cargo xtask verify {environment} --full --repair`"),
    ]
}
