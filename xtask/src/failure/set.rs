//! Hints for sets.

use std::collections::BTreeSet;

use release::preflight::RegistryFault;
use release::report::images::HelmError as ValuesError;
use release::set::{Error, HelmError, Moved, SetError, SetProblem};
use release::{ReadError, RegistryError};

use super::registry_error;
use crate::advice;

/// Returns the hints for a set that cannot be locked or fetched.
pub(super) fn hints(error: &Error) -> Vec<String> {
    let hint = match error {
        Error::Invalid(error) => {
            let mut known = BTreeSet::new();
            let hints = error.problems.iter().filter_map(of_entry);
            return hints.filter(|one| known.insert(*one)).map(str::to_owned).collect();
        }
        Error::Missing { name, known, .. } => match known.as_slice() {
            [] => format!("write bundles/{name}.set.yaml; docs/sets.md has an example"),
            known => format!("sets of this workspace: {}", known.join(", ")),
        },
        Error::NameOfEnvironment { .. } => "rename the set's file and its lock".to_owned(),
        Error::NotLocked { set, .. } => {
            format!("on a machine with internet: `cargo xtask lock {set}`, and commit the lock")
        }
        Error::Outdated { set, .. } => {
            format!("run `cargo xtask lock {set}`, and commit the lock")
        }
        Error::Entry {
            matching, known, ..
        } => match matching.as_slice() {
            [] => format!("name one of: {}", known.join(", ")),
            matching => format!("name one of: {}", matching.join(", ")),
        },
        Error::Moved { set, moved } => return moved_hints(set, moved),
        Error::Collision { one, other, origin: Some(origin), .. } => format!(
            "lock both as they are upstream now: `cargo xtask lock {one} --update {origin}`, then `cargo xtask lock {other} --update {origin}`"
        ),
        Error::Collision { .. } => {
            "give one of them a different place with `as:` in the set's file".to_owned()
        }
        Error::Overlap { .. } => {
            "give one of them a different place with `as:`, or list it in a set of its own".to_owned()
        }
        Error::BundleCollision { one, other, .. } => format!(
            "lock both as they are upstream now: `cargo xtask lock {one} --replace`, then `cargo xtask lock {other} --replace`"
        ),
        Error::Key { .. } => "save the vendor's public key there, and commit it".to_owned(),
        Error::Bundle { source: ReadError::NothingUsed { .. }, .. } => {
            "if its name is the reason, change `as:` or `strip:` of the bundle in the set's file".to_owned()
        }
        Error::Bundle { path, .. } => format!(
            "compare the SHA-256 of {path} with the vendor's: if they are equal, ask the vendor about the archive; if they differ, delete \
             {path} and lock again"
        ),
        Error::KeyForm { .. } => "download the key again: it begins with `-----BEGIN PUBLIC KEY-----`".to_owned(),
        Error::SignatureForm { .. } => "name the URL of the signature as `signature:`; it is the file that `cosign sign-blob` writes".to_owned(),
        Error::Signature { path, .. } => format!(
            "check that the key is the vendor's; if it is, do not use this file: delete {path} and its .sig, and lock again"
        ),
        Error::BundleSha256 { path, .. } => {
            format!("compare the SHA-256 with the vendor's; to download it again, delete {path}")
        }
        Error::Contradiction { path, .. } => {
            advice::lock_broken(path.as_str())
        }
        Error::Unfetched { .. } => {
            "on a machine with internet: `cargo xtask fetch SET`; blobs that the registry has are not needed here".to_owned()
        }
        Error::Chart { source: HelmError::NoChart { .. } | HelmError::NoVersion { .. }, .. } => {
            "check `name` and `version` in the set's file: the version must be exact".to_owned()
        }
        Error::Ca { .. } => {
            "name the PEM file of the CA that signed the host's certificate, relative to the set's file".to_owned()
        }
        Error::Platform { .. } => "name platforms that the image has, or none for all".to_owned(),
        Error::ListedAs { .. } => "move it to the other list of the set's file: `images` or `charts`".to_owned(),
        Error::Download { source: RegistryError::DigestMismatch { .. }, .. } => {
            "if the file was changed on purpose, correct it in the set's file and lock again; otherwise ask who published it".to_owned()
        }
        Error::Registry { reference, host, source } | Error::Download { url: reference, host, source } => match advice::fault(source) {
            Some(RegistryFault::NameNotResolved | RegistryFault::NotReached) => {
                "run it on a machine with internet, or name a `mirror` for this host in the set's file".to_owned()
            }
            Some(RegistryFault::NoProject) if reference.ends_with(".sig") => {
                "name the URL of the signature as `signature:`, or copy it to bundles/ under the bundle's name with `.sig`".to_owned()
            }
            Some(RegistryFault::LoginRefused) => {
                format!("check the user and the password, and log in again: `skopeo login {host}`")
            }
            Some(RegistryFault::NoCredentials) => format!(
                "log in with `skopeo login {host}`, or correct the reference: some registries ask for a login if the repository does not exist"
            ),
            Some(RegistryFault::NoProject) if matches!(error, Error::Download { .. }) => {
                "check the URL in the set's file: its server has no such file".to_owned()
            }
            Some(RegistryFault::NoProject) => {
                "check the reference in the set's file, or in the list of `--images`: its registry has no such repository, tag or digest".to_owned()
            }
            Some(RegistryFault::NotAllowed) => {
                format!("let the account read this from {host}, or correct the reference: some registries refuse what does not exist")
            }
            Some(RegistryFault::UnknownAuthority | RegistryFault::OtherAuthority | RegistryFault::RequiresTls) => {
                format!("name the CA that signed its certificate in the set's file: `registries: {{ '{host}': {{ ca: FILE }} }}`; a CA that is named there already did not sign it")
            }
            Some(RegistryFault::WrongName | RegistryFault::Redirected) => {
                "use the host's own name in the set's file, or name it as a `mirror` there".to_owned()
            }
            _ => return registry_error::hints(source),
        },
        Error::Unlisted { .. }
        | Error::Name { .. }
        | Error::Content { .. }
        | Error::Chart { .. }
        | Error::Shape { .. }
        | Error::History { .. }
        | Error::Line { .. }
        | Error::From { .. }
        | Error::NoReferences { .. }
        | Error::Credentials { .. } => return Vec::new(),
    };
    vec![hint]
}

/// Returns the hints for references that differ upstream: one for those that moved, one for those
/// that were removed.
pub(crate) fn moved_hints(set: &str, moved: &[Moved]) -> Vec<String> {
    let (changed, removed): (Vec<_>, Vec<_>) = moved.iter().partition(|one| one.now.is_some());
    let names = |these: &[&Moved], between: &str| {
        let names = these.iter().map(|one| one.reference.as_str());
        (!these.is_empty()).then(|| names.collect::<Vec<_>>().join(between))
    };
    let changed = names(&changed, " --update ").map(|names| {
        format!(
            "to take what upstream has now: `cargo xtask lock {set} --update {names}`; to keep what is locked, do nothing"
        )
    });
    let removed = names(&removed, " and ").map(|names| {
        format!(
            "keep the lock, or remove {names} from bundles/{set}.set.yaml and run `cargo xtask lock {set}`"
        )
    });
    changed.into_iter().chain(removed).collect()
}

/// Returns the hint for an invalid entry of a set's file.
fn of_entry(problem: &SetProblem) -> Option<&'static str> {
    match problem {
        SetProblem::Collision { .. } => Some("give one of them a different place with `as:`"),
        SetProblem::Reserved { .. } | SetProblem::Place { .. } => {
            Some("give it a different place with `as:`")
        }
        SetProblem::Twice { .. } => Some("remove one of the entries"),
        SetProblem::AliasTwice { .. } => Some("remove it from `aliases`"),
        SetProblem::NotAnImage { .. } => Some("list it under `charts`"),
        SetProblem::SameFile { .. } => Some("name the URL of a copy with a different file name"),
        _ => None,
    }
}

/// Returns the errors of a set's entries, one line each.
pub(crate) fn entry_errors(error: &Error) -> Vec<String> {
    match error {
        Error::Invalid(SetError { path, problems }) if problems.len() > 1 => problems
            .iter()
            .map(|problem| format!("{path}: {}", release::chain(problem)))
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns the hints for a chart without values for Helm.
pub(super) fn hints_of_chart(error: &ValuesError) -> Vec<String> {
    match error {
        ValuesError::Name {
            matching, known, ..
        } => {
            let names = if matching.is_empty() { known } else { matching };
            match names.is_empty() {
                true => Vec::new(),
                false => vec![format!("name one of: {}", names.join(", "))],
            }
        }
        ValuesError::Unfetched { environment, .. } => {
            vec![format!(
                "on a machine with internet: `cargo xtask fetch {environment}`; the values are the same there"
            )]
        }
        ValuesError::Unreadable { .. } => Vec::new(),
    }
}
