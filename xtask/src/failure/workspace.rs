//! Hints for files of the workspace: environments, locks, bundles, the store and receipts.

use release::links::Link;
use release::{ArchiveError, LockError, ReadError, StoreError};
use release::{disk, receipt, workspace};
use semver::Version;

use crate::advice::{self, here};

pub(super) fn environment(error: &environment::Error) -> Vec<String> {
    let hint = match error {
        environment::Error::Unknown {
            nearest: Some(nearest),
            ..
        } => {
            format!("did you mean `{nearest}`? `cargo xtask list` shows them all")
        }
        environment::Error::Unknown { .. } => {
            "`cargo xtask list` shows the environments; `cargo xtask new NAME` creates one"
                .to_owned()
        }
        environment::Error::Name { name, .. } => match meant(name) {
            Some(_)
                if name
                    .strip_prefix('v')
                    .is_some_and(|version| Version::parse(version).is_ok()) =>
            {
                "this is a release; `cargo xtask list` shows the environments with their releases"
                    .to_owned()
            }
            Some(meant) => format!("did you mean `{meant}`?"),
            None => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn invalid_lock(error: &LockError) -> Vec<String> {
    let hint = match error {
        LockError::Conflict { path, .. } => advice::conflict(path),
        LockError::Contradiction { path, .. } | LockError::Syntax { path, .. } => {
            let name = path.file_name().unwrap_or_default();
            let name = name.strip_suffix(".lock.yaml").unwrap_or(name);
            let release = name.rsplit_once('-').map(|(release, _)| release);
            let release =
                release.filter(|one| one.starts_with('v') && Version::parse(&one[1..]).is_ok());
            format!(
                "{}; or delete it and run `cargo xtask lock {}`",
                advice::lock_broken(path.as_str()),
                release.unwrap_or(name)
            )
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn workspace(error: &workspace::Error) -> Vec<String> {
    let hint = match error {
        workspace::Error::NotLocked {
            nearest: Some(nearest),
            ..
        } => {
            format!("did you mean `{nearest}`?")
        }
        workspace::Error::NotLocked { release, .. } => advice::not_locked(release),
        workspace::Error::NoFolder { .. } => {
            "create the folder, or name a different file".to_owned()
        }
        workspace::Error::Defaults { release, .. } => format!(
            "restore the committed file, or lock again on a machine that has mkectl {release}: `cargo xtask lock {release} --replace`"
        ),
        workspace::Error::NoDefaults { path, release } => format!(
            "commit it where the release was locked: `git add {path}`; or put mkectl {release} on PATH and run `cargo xtask fetch {release}`, which \
             writes it"
        ),
        workspace::Error::NotRegular { kind, .. } => match kind.option() {
            Some(option) => {
                format!(
                    "name a regular file; without `{option}`, the result goes to standard output"
                )
            }
            None => "name a regular file".to_owned(),
        },
        workspace::Error::Committed { instead, .. } => {
            format!("name a file outside of the repository, or {instead}, which .gitignore lists")
        }
        workspace::Error::DifferentKind { .. } | workspace::Error::Reserved { .. } => {
            "name a different file".to_owned()
        }
        workspace::Error::Observations { path, .. } => {
            format!("edit {path}, or delete it and run `cargo xtask learn` again")
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn disk(error: &disk::Error) -> Vec<String> {
    let hint = match error {
        disk::Error::Full(_) => {
            return vec![
                advice::DISK_FULL.to_owned(),
                "then run the command again: it resumes".to_owned(),
            ];
        }
        disk::Error::BundleSize { path, .. } => advice::bundle_differs(Some(path)),
        disk::Error::Bundle {
            source:
                ReadError::Name { .. }
                | ReadError::Archive {
                    source: ArchiveError::Roots { .. } | ArchiveError::NoLayout { .. },
                    ..
                },
            path,
            release,
        } => format!(
            "run `cargo xtask learn {} --bundle {path}`: it records how such archives are read, and `lock` follows it",
            release.as_deref().unwrap_or("RELEASE")
        ),
        disk::Error::Bundle { path, .. } if path.starts_with("bundles") => {
            advice::bundle_differs(Some(path))
        }
        disk::Error::Bundle { path, .. } => {
            let again = here("download or copy", "copy");
            format!(
                "check that {path} is the complete and unchanged bundle of the vendor; {again} it again"
            )
        }
        disk::Error::Store {
            source: StoreError::Corrupt { path, .. },
            ..
        } => {
            let restore = here(
                "run `cargo xtask fetch`, which restores it",
                "unpack its medium again",
            );
            format!("delete {path}, then {restore}")
        }
        disk::Error::Store {
            source: StoreError::InUse { .. },
            ..
        } => "run it again after the other command ends".to_owned(),
        disk::Error::StoreLost { .. } => {
            "run it again: the missing blob is looked for again".to_owned()
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn link(link: &Link) -> Vec<String> {
    let hint = match link {
        Link::Refused { path, .. } => format!(
            "move {path} away; to keep data on another disk, only bundles/, bundles/store/, environments/ and an environment's folder \
             may be symbolic links"
        ),
        Link::Dangling { path, target } => {
            format!("mount the disk with {target}, create the folder, or replace the link {path}")
        }
    };
    vec![hint]
}

pub(super) fn receipt(error: &receipt::Error) -> Vec<String> {
    let hint = match error {
        receipt::Error::Version { .. } => advice::NEWER_AIRLOCK.to_owned(),
        receipt::Error::Conflict { path } => advice::conflict(path),
        receipt::Error::File { .. } => {
            "restore the committed file: it records what the cluster runs".to_owned()
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

/// Returns the name that the operator probably meant, if `name` is:
///
/// - a path to the folder: `environments/lab/` for `lab`
/// - a name with capitals: `Lab` for `lab`
/// - a release without its `v`: `4.1.5` for `v4.1.5`
pub(super) fn meant(name: &str) -> Option<String> {
    let last = name.trim_end_matches('/').rsplit('/').next()?;
    let meant = last.to_lowercase();
    if meant.split('.').count() == 3 && meant.split('.').all(|part| part.parse::<u64>().is_ok()) {
        return Some(format!("v{meant}"));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (meant != name && !meant.is_empty() && meant.chars().all(fits)).then_some(meant)
}
