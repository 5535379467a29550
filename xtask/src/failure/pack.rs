//! Hints for `pack`.

use release::courier::pack::{Error, ZIGBUILD};
use release::courier::{GitError, MediumError};

use crate::called::is_inside;

pub(super) fn hints(error: &Error) -> Vec<String> {
    let hint = match error {
        Error::Git { source } if let Some(hint) = untrusted(source) => return vec![hint],
        Error::Git { .. } => "keep the workspace in git: `git init`, and commit it",
        Error::Subfolder { .. } => {
            "keep the workspace in a repository of its own, whose root it is: a medium carries the whole history"
        }
        Error::Uncommitted { .. } => "commit them, then pack again",
        Error::InUse { .. } => "wait until that command ends, then pack again",
        Error::ShallowClone => "run `git fetch --unshallow`, which completes the history",
        Error::Sign { .. } => {
            "check the key and its passphrase; for a key of an agent, name its public half"
        }
        Error::Portable {
            source: release::MkectlError::NotFound { name, .. },
        } if name == ZIGBUILD => match is_inside() {
            true => {
                "install it from a mirror of PyPI, `pip install cargo-zigbuild ziglang`; or name a program that was built elsewhere \
                 with `--program FILE`"
            }
            false => {
                "run `pip install cargo-zigbuild ziglang`, or name a program with `--program FILE`"
            }
        },
        Error::NothingToReturn => {
            "deploy first, or name an environment whose registry can be reached: `cargo xtask pack NAME --return --out DIR`"
        }
        Error::Secret { .. } => {
            return vec![
                "replace the secret by a reference such as `{ $env: NAME }`; if a commit has it, rewrite the commit with `git rebase`, \
                 the first one with `git rebase --root`; then pack again"
                    .to_owned(),
                "if the password is a common word, which files contain anyway, choose a different one".to_owned(),
            ];
        }
        Error::Folder { .. } => "name a folder outside the workspace, such as that of a disk",
        Error::NoRoom { .. } => {
            "free some space, or pack to a larger disk; with `--volume SIZE`, copy each folder of volumes/ from there to a disk of its own"
        }
        Error::Have { .. } => {
            "name the file of `cargo xtask snapshot`, or manifest.yaml of a medium"
        }
        Error::OtherEnvironment { .. } => "name a file of an environment that is packed",
        Error::UnknownPiece { .. } => {
            "give the options of the damaged medium again, --volume above all; the names are in the output of `unpack`. \
             Pieces of the history change with every commit: replace them by `--only history`"
        }
        Error::Medium { source } => match source {
            MediumError::Occupied { .. } => "name an empty folder, or delete the old medium first",
            MediumError::Foreign { .. } => "name an empty folder",
            MediumError::Changed { .. } => {
                "delete that file and pack again: it is read from its bundle or registry"
            }
            MediumError::SmallVolume { needed, .. } => {
                let mib = needed.div_ceil(1 << 20);
                return vec![format!("write `--volume {mib}MiB` or more")];
            }
            source if source.is_full() => "free some space and pack again: the run resumes",
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}

/// Returns the hint for a repository that git refuses because it has a different owner.
pub(super) fn untrusted(error: &GitError) -> Option<String> {
    match error {
        GitError::Owner { repository } => Some(format!(
            "trust it: `git config --global --add safe.directory {repository}`; or make yourself its owner with `chown -R`"
        )),
        _ => None,
    }
}
