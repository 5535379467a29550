//! Hints for `unpack`, and the list of pieces that cannot be used.

use release::courier::unpack::Error;
use release::courier::{Fault, GitError, MediumError, SIGNERS, SignatureError};

/// Maximum number of pieces that are listed.
const SHOWN: usize = 10;

pub(super) fn hints(error: &Error) -> Vec<String> {
    let hint = match error {
        Error::Damaged {
            replacement,
            missing_volumes,
            unreadable_volumes,
            is_first,
            ..
        } => {
            if !unreadable_volumes.is_empty() {
                return vec![
                    "make the folders of all volumes readable for this user, then unpack again"
                        .to_owned(),
                ];
            }
            return match missing_volumes.is_empty() {
                true if *is_first => vec![
                    format!(
                        "on the other side, make a replacement with the options of the medium, such as --volume and --sign: `{replacement}`"
                    ),
                    "then unpack the replacement first: `cargo xtask unpack REPLACEMENT`, then `cargo xtask unpack MEDIUM`".to_owned(),
                ],
                true => vec![format!(
                    "on the other side, make a replacement with the options of the medium, such as --volume and --sign: `{replacement}`; \
                     then unpack it here"
                )],
                false if !*is_first => vec![
                    "unpack the missing volumes, together or one after the other: `cargo xtask unpack DIR...`".to_owned(),
                    "if a volume is lost, pack the medium again on the other side".to_owned(),
                ],
                false => vec![
                    "connect the disks of all volumes and name their folders: `cargo xtask unpack DIR DIR...`".to_owned(),
                    "if a volume is lost, pack the medium again on the other side".to_owned(),
                ],
            };
        }
        Error::Medium(MediumError::Signature(SignatureError::Missing)) => {
            "ask for a signed medium, or accept this one with `--allow-unsigned`"
        }
        Error::Medium(MediumError::Signature(SignatureError::Unknown { signer })) => {
            let line = signer.allowed_signers_line("courier").unwrap_or_default();
            return vec![
                "do not use the medium before its sender confirms the key".to_owned(),
                format!(
                    "to accept the key, append a line to {SIGNERS} and commit it: `{}`",
                    line.trim_end()
                ),
            ];
        }
        Error::Medium(MediumError::Signature(_)) | Error::Fingerprint { .. } => {
            "do not use the medium; ask its sender"
        }
        Error::Medium(MediumError::NoFolder { .. }) => {
            "check the path, and that the disk is mounted"
        }
        Error::Medium(MediumError::NotFound { .. }) => {
            "name the folder that has manifest.yaml, or the folder of a volume"
        }
        Error::Medium(MediumError::File { .. }) => {
            "name the medium's folder; a tar stream is read from standard input: `cargo xtask unpack - < FILE`"
        }
        Error::Medium(MediumError::NoMedium) => {
            "send what `pack --out -` wrote, decompressed; `--out DIR` writes a folder, which is unpacked by its name"
        }
        Error::Medium(MediumError::OtherPack { .. }) => "unpack one pack after the other",
        Error::Medium(MediumError::Stream { action: "read", .. }) => {
            "send the stream again: what was received is kept"
        }
        Error::Medium(MediumError::Piece { .. }) => {
            "send the stream again: what was received is kept"
        }
        Error::Declined { fingerprint, .. } => {
            return vec![format!(
                "compare the fingerprint with the sender's, then add `--fingerprint {fingerprint}`"
            )];
        }
        Error::InUse { .. } => "wait until that command ends, then unpack again",
        Error::NotEmpty { .. } => "name a workspace or a new folder with `-C DIR`",
        Error::Inside { .. } => "name a folder on this machine's disk with `-C DIR`",
        Error::NoRoom { .. } => "free some space, or name a folder on a larger disk with `-C DIR`",
        Error::NoRepository { .. } => {
            "name the workspace with `-C DIR`, or unpack a complete medium first"
        }
        Error::Git { source } if let Some(hint) = super::pack::untrusted(source) => {
            return vec![hint];
        }
        Error::Git { source } if let Some(lock) = source.lock() => {
            return vec![format!(
                "a git that was killed may have left it: if no other git is running, delete {lock}"
            )];
        }
        Error::Git {
            source: GitError::NotInstalled,
        } => "install git; it keeps the workspace's history",
        Error::Branch { exists: false, .. } => {
            "name the workspace or a new folder with `-C DIR`: this repository does not have the branch"
        }
        Error::Branch { branch, .. } => {
            return vec![format!("check it out: `git switch {branch}`")];
        }
        Error::Lacks { .. } => "unpack the media before this one first, in their order",
        Error::Rewritten { .. } => "do not use the medium; ask its sender why history changed",
        Error::Diverged { .. } => {
            "merge here, then unpack again: `git merge refs/airlock/incoming`"
        }
        Error::Conflict { .. } => {
            "merge by hand: `git merge refs/airlock/incoming`, then unpack again"
        }
        Error::LocalChanges { .. } => "commit them or move them away, then unpack again",
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}

/// Returns the pieces that cannot be used, one line each. A missing or unreadable volume is one
/// line.
pub(crate) fn pieces(error: &Error) -> String {
    let Error::Damaged {
        pieces,
        missing_volumes,
        unreadable_volumes,
        ..
    } = error
    else {
        return String::new();
    };
    let mut text = String::new();
    for (volumes, fault) in [
        (missing_volumes, Fault::Missing),
        (unreadable_volumes, Fault::Unreadable),
    ] {
        for volume in volumes {
            let count = pieces.iter().filter(|(piece, _)| piece.volume == *volume);
            let count = environment::count(count.count(), "piece");
            text.push_str(&format!("  volume {volume} is {fault}, with {count}\n"));
        }
    }
    let rest: Vec<_> = pieces
        .iter()
        .filter(|(piece, fault)| match fault {
            Fault::Missing => !missing_volumes.contains(&piece.volume),
            Fault::Unreadable => !unreadable_volumes.contains(&piece.volume),
            Fault::CutOff | Fault::Damaged => true,
        })
        .collect();
    for (piece, fault) in rest.iter().take(SHOWN) {
        let name = &piece.sha256[..12];
        text.push_str(&format!(
            "  piece {name} of volume {} is {fault}\n",
            piece.volume
        ));
    }
    if rest.len() > SHOWN {
        text.push_str(&format!("  and {} more\n", rest.len() - SHOWN));
    }
    text
}
