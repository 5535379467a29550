//! Hints for `lock`, `learn`, `push`, `store gc` and connections to registries.

use indicatif::DecimalBytes;
use release::NotReady;
use release::preflight::RegistryFault;
use release::transfer::{connect, learn, lock, push, store};

use super::{pack, registry_error};
use crate::advice::{self, here};

pub(super) fn lock(error: &lock::Error) -> Vec<String> {
    let hint = match error {
        lock::Error::WrongRelease { .. } => {
            "lock it as the release that it contains; to insist on this one, add `--force-release`".to_owned()
        }
        lock::Error::Differs { difference: lock::Difference::BesideBundle, .. } => {
            "check the URL and the mkectl on PATH; `--diff` shows all lines, `--replace` writes the new lock".to_owned()
        }
        lock::Error::Differs { difference: lock::Difference::Registry, .. } => {
            "`--diff` shows all lines, `--replace` writes the new lock; review it before you commit it".to_owned()
        }
        lock::Error::Differs { .. } => {
            "keep the committed lock, which was reviewed, unless the vendor confirms that the bundle was replaced; `--diff` shows all lines, `--replace` writes the new lock".to_owned()
        }
        lock::Error::VendorChecksum { path, .. } => {
            let what = here("download", "copy");
            format!("replace {path} by a new {what}; if the checksum still differs, ask the vendor")
        }
        lock::Error::NotSha256 { .. } => {
            "copy all 64 digits of the checksum, or name a checksum file with `--checksum FILE`".to_owned()
        }
        lock::Error::Checksum { .. } => {
            "no lock was written: check the checksum's file or URL, or compare the bundle by other means and lock it with `--bundle FILE`"
                .to_owned()
        }
        lock::Error::Incomplete { release, .. } => format!(
            "check that the bundle is complete and mkectl is that of {release}; push what is missing to the registry by other means, or \
             write `accept: [incomplete-lock]` if the cluster does not need it"
        ),
        lock::Error::UrlWithCredentials { .. } => {
            "download the bundle by other means, then give the file with `--bundle FILE` and the URL without credentials".to_owned()
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn learn(error: &learn::Error) -> Vec<String> {
    let hint = match error {
        learn::Error::Nothing { release, .. } => {
            format!("name them: `cargo xtask learn {release} --bundle FILE --mkectl FILE`; one of the two is enough")
        }
        learn::Error::NoArchives { .. } => {
            "name a bundle of the vendor's: a gzip'd tar with one OCI archive for each image and chart".to_owned()
        }
        learn::Error::OtherBundle { .. } => {
            "name the release that the bundle contains; to insist on this one, add `--force-release`".to_owned()
        }
        learn::Error::OtherMkectl { .. } => {
            "name the mkectl of the release that you want to learn".to_owned()
        }
    };
    vec![hint]
}

pub(super) fn not_ready(error: &NotReady) -> Vec<String> {
    let hint = match error {
        NotReady::Unwritable { .. } => "make it writable; nothing was sent".to_owned(),
        NotReady::NoRoom { .. } => advice::DISK_FULL.to_owned(),
    };
    vec![hint]
}

pub(super) fn connect(error: &connect::Error) -> Vec<String> {
    let hint = match error {
        connect::Error::Registry { source, .. } => return registry_error::hints(source),
        connect::Error::PullRefused { source, .. } => {
            let fault = match RegistryFault::of_login(source) {
                RegistryFault::LoginRefused => RegistryFault::PullRefused,
                _ => RegistryFault::NotAnonymous,
            };
            advice::registry(fault).to_owned()
        }
        connect::Error::Credentials { .. } => advice::CREDENTIALS.to_owned(),
        connect::Error::Mke3Credentials { .. } => {
            "set the variables that mke3.credentials names".to_owned()
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn push(error: &push::Error) -> Vec<String> {
    let hint = match error {
        push::Error::Failed { failed, .. } => {
            let mut sources = failed.iter().map(|(_, source)| source);
            let hints = sources.clone().flat_map(|one| registry_error::hints(one));
            let mut hints = super::without_repeats(hints.collect());
            let again = match sources.all(|one| registry_error::is_final(one)) {
                true => "then run it again",
                false => "run it again",
            };
            hints.push(format!(
                "{again}: pushed artifacts stay, and the next run resumes"
            ));
            return hints;
        }
        push::Error::Stopped { sent, .. } => format!(
            "run it again to resume: the {} that were sent are not sent again",
            DecimalBytes(sent.uploaded_bytes)
        ),
        _ => return Vec::new(),
    };
    vec![hint]
}

pub(super) fn store(error: &store::Error) -> Vec<String> {
    let hint = match error {
        store::Error::GitRefused { source } => pack::untrusted(source).unwrap_or_else(|| {
            "nothing was removed; make `git status` work in the workspace".to_owned()
        }),
        store::Error::LocksMissing { locks } => {
            let locks = locks.join(" ");
            format!(
                "nothing was removed; to keep the blobs: `git restore {locks}`; to drop them: `git rm {locks}`, and commit"
            )
        }
        _ => return Vec::new(),
    };
    vec![hint]
}
