//! Locks the bundles of sets: downloads, verifies and reads them, and compares their locks with
//! upstream.

use bundle::set::{BundleItem, check_folder, file_name};
use bundle::{
    Artifact, Contents, LARGEST_SIGNATURE, Lock, PublicKey, Rules, SetBundle, Signature, Source,
    Store,
};
use camino::{Utf8Path, Utf8PathBuf};

use super::upstream::Upstreams;
use crate::event::{Event, Step};
use crate::observe::BundleObserver;
use crate::set::{self, Error, Loaded, Moved, SetError, SetProblem};
use crate::transfer::fetch;
use crate::transfer::read::{self as read_bundle, report_start, warn_of_unused};
use crate::{Context, Workspace, disk};

/// Maximum number of skipped members that are reported one by one. The lock names all.
const MOST_NAMED: usize = 50;

/// Result of locking a bundle.
pub(super) struct Locked {
    pub(super) bundle: SetBundle,
    pub(super) artifacts: Vec<Artifact>,
    /// How the bundle moved since it was locked, if it did.
    pub(super) moved: Option<Moved>,
    /// Whether `bundle` is the moved one.
    pub(super) updated: bool,
}

/// Locks a bundle: keeps its entry in `before`, or reads it again. With `asks`, a kept entry is
/// compared with upstream. Only a verified bundle reaches the store.
///
/// # Errors
/// The bundle is not available, differs from its checksum or signature, or is not valid.
pub(super) async fn lock(
    context: &Context<'_>,
    (loaded, item): (&Loaded, &BundleItem),
    upstreams: &Upstreams<'_>,
    before: &Lock,
    (may_move, asks): (bool, bool),
    store: &Store,
) -> Result<Locked, crate::Error> {
    let key = key(context.workspace, item)?;
    let sha256 = key.as_ref().map(PublicKey::sha256);
    let known = before.bundles.iter().find(|one| one.is_of(item));
    let listed = known.filter(|known| item.accepts(&known.sha256));
    let moved = match listed {
        // An offline run contacts no upstream server.
        Some(known) if asks && !context.offline => {
            let moved = moved(upstreams, item, key.as_ref(), known).await;
            match may_move {
                true => moved?,
                false => upstreams.if_reached(item.url.to_string(), moved)?,
            }
        }
        _ => None,
    };
    // Without a checksum or a key, only a download shows whether the bundle changed. A local bundle
    // is read again, since a lock may have been edited.
    let here = std::fs::metadata(context.workspace.bundle(file_name(&item.url)));
    let is_certain = |known: &SetBundle| {
        let is_here = here.as_ref().is_ok_and(|found| found.len() == known.size);
        let is_expected = item.sha256.is_some() || key.is_some() && known.key == sha256;
        moved.is_none() && is_expected && !is_here
    };
    if let Some(known) = listed.filter(|known| !may_move || is_certain(known)) {
        let mut bundle = known.clone();
        if let Some(key) = key.as_ref().filter(|_| bundle.key != sha256) {
            let signature = signature(context, upstreams, item, false).await?;
            let path = context.workspace.bundle(known.file());
            verify(context, item, key, &signature, (&path, &known.sha256))?;
        }
        bundle.key = sha256;
        let artifacts = before.artifacts.iter().filter(|one| known.has(one));
        return Ok(Locked {
            bundle,
            artifacts: artifacts.cloned().collect(),
            moved,
            updated: false,
        });
    }
    // The local file may be the earlier version, so it is downloaded again. In an offline run, it
    // is the file that the operator copied.
    let is_expected = item.sha256.is_some() || key.is_some();
    let is_other = moved.is_some() || known.is_some() && (listed.is_none() || !is_expected);
    let again = is_other && !context.offline;
    let of = (loaded, item);
    let (bundle, artifacts) = read(context, of, key.as_ref(), upstreams, again, store).await?;
    let moved = known.filter(|known| known.sha256 != bundle.sha256);
    let moved = moved.map(|known| Moved {
        reference: item.url.to_string(),
        locked: format!("sha256:{}", known.sha256),
        now: Some(format!("sha256:{}", bundle.sha256)),
    });
    Ok(Locked {
        bundle,
        artifacts,
        moved,
        updated: true,
    })
}

/// Returns a difference between the lock of a bundle and its key, if there is one.
///
/// # Errors
/// [`Error::Key`] or [`Error::KeyForm`] if the key cannot be read.
pub(super) fn difference(
    workspace: &Workspace,
    item: &BundleItem,
    lock: &Lock,
) -> Result<Option<String>, crate::Error> {
    let sha256 = key(workspace, item)?.map(|key| key.sha256());
    let known = lock.bundles.iter().find(|one| one.is_of(item));
    let differs = known.is_some_and(|known| known.key.is_some() && known.key != sha256);
    Ok(differs.then(|| format!("the key of {} was changed after it was locked", item.url)))
}

/// Returns how a locked bundle moved upstream, if that shows without a download: its size differs,
/// or its signature is of a different file. A bundle whose checksum the set lists does not move.
///
/// # Errors
/// The server cannot be used.
pub(super) async fn moved(
    upstreams: &Upstreams<'_>,
    item: &BundleItem,
    key: Option<&PublicKey>,
    known: &SetBundle,
) -> Result<Option<Moved>, crate::Error> {
    if item.sha256.is_some() {
        return Ok(None);
    }
    let moved = |locked: String, now: Option<String>| {
        Some(Moved {
            reference: item.url.to_string(),
            locked,
            now,
        })
    };
    let sha256 = format!("sha256:{}", known.sha256);
    match upstreams.file(&item.url)?.size().await {
        Ok(Some(size)) if size != known.size => {
            let of = |size: u64| format!("a file of {size} bytes");
            return Ok(moved(of(known.size), Some(of(size))));
        }
        Ok(_) => {}
        Err(crate::Error::Set(Error::Download {
            source: registry::Error::NotFound { .. },
            ..
        })) => return Ok(moved(sha256, None)),
        Err(error) => return Err(error),
    }
    let Some(key) = key.filter(|key| known.key.as_ref() == Some(&key.sha256())) else {
        return Ok(None);
    };
    let signature = upstream_signature(upstreams, item).await?;
    Ok(match key.verify(&known.sha256, &signature) {
        Ok(()) => None,
        Err(_) => moved(sha256, Some("signed as a different file".to_owned())),
    })
}

/// Reads the public key of a bundle, if the set names one.
///
/// # Errors
/// [`Error::Key`] or [`Error::KeyForm`] if it cannot be read.
pub(super) fn key(
    workspace: &Workspace,
    item: &BundleItem,
) -> Result<Option<PublicKey>, crate::Error> {
    let Some(file) = &item.key else {
        return Ok(None);
    };
    let path = workspace.bundles().join(file);
    let shown = || workspace.shown(&path).to_owned();
    let text = files::read_text(&path).map_err(|source| Error::Key {
        path: shown(),
        source,
    })?;
    let key = text.parse().map_err(|source| Error::KeyForm {
        path: shown(),
        source,
    })?;
    Ok(Some(key))
}

/// Downloads a bundle unless it is in `bundles/`, verifies it, and reads it into the store. With
/// `again`, it is always downloaded.
async fn read(
    context: &Context<'_>,
    (loaded, item): (&Loaded, &BundleItem),
    key: Option<&PublicKey>,
    upstreams: &Upstreams<'_>,
    again: bool,
    store: &Store,
) -> Result<(SetBundle, Vec<Artifact>), crate::Error> {
    let workspace = context.workspace;
    // Checked before gigabytes are downloaded.
    refuse_same_file(workspace, loaded, item)?;
    let signature = match key {
        Some(_) => Some(signature(context, upstreams, item, again).await?),
        None => None,
    };
    let place = workspace.bundle(file_name(&item.url));
    // The local file stays until the new one is verified. A bundle with a checksum needs no second
    // file.
    let path = match again && item.sha256.is_none() && place.exists() {
        true => workspace.bundle(&format!("unverified-{}", file_name(&item.url))),
        false => place.clone(),
    };
    let sha256 = match path.exists() && !again {
        true => hash(context, &path)?,
        false => download(context, upstreams, item, &path).await?,
    };
    if let Some(expected) = item.sha256.as_ref().filter(|_| !item.accepts(&sha256)) {
        return Err(Error::BundleSha256 {
            path: workspace.shown(&path).to_owned(),
            expected: expected.digest().to_owned(),
            found: sha256,
        }
        .into());
    }
    match (key, &signature) {
        (Some(key), Some(signature)) => verify(context, item, key, signature, (&path, &sha256))?,
        _ if item.sha256.is_some() => {}
        _ => context.reporter.report(Event::Warning(format!(
            "{} has no `sha256` and no `key` in the set; the downloaded file is trusted. Its SHA-256 is {sha256}; compare it with what the vendor publishes",
            item.url
        ))),
    }
    let rules = Rules {
        of_set: Some(item.names()),
        ..Rules::default()
    };
    report_start(context, &path);
    let contents = read_bundle::read(context, &path, store, &rules).map_err(without_learn_hint)?;
    if contents.sha256 != sha256 {
        return Err(Error::BundleSha256 {
            path: workspace.shown(&path).to_owned(),
            expected: sha256,
            found: contents.sha256,
        }
        .into());
    }
    if path != place {
        std::fs::rename(&path, &place)
            .map_err(|source| crate::Error::io("rename", &path, source))?;
    }
    report(context, &place, &contents);
    let source = Source::of_bundle(item.url.as_str());
    let mut artifacts = contents.artifacts;
    for artifact in &mut artifacts {
        let url = item.url.as_str();
        check_folder(&artifact.repository, url, &artifact.reference())
            .map_err(|problem| Error::Invalid(SetError::new(&loaded.path, problem)))?;
        artifact.source = Some(source.clone());
    }
    let bundle = SetBundle {
        url: item.url.to_string(),
        size: contents.size,
        sha256,
        key: key.map(PublicKey::sha256),
        place: item.place.clone(),
        strip: item.strip,
        skipped: contents.skipped,
    };
    Ok((bundle, artifacts))
}

/// Refuses a bundle with the same file name as the bundle of a different URL.
fn refuse_same_file(
    workspace: &Workspace,
    loaded: &Loaded,
    item: &BundleItem,
) -> Result<(), crate::Error> {
    let file = file_name(&item.url);
    for name in set::names(workspace)? {
        // An invalid set is reported when it is locked itself.
        let Ok(other) = set::load(workspace, &name) else {
            continue;
        };
        let mut bundles = other.set.bundles.iter();
        let is_same = |one: &&BundleItem| one.url != item.url && file_name(&one.url) == file;
        if let Some(one) = bundles.find(is_same) {
            let problem = SetProblem::SameFile {
                one: one.url.to_string(),
                other: item.url.to_string(),
                file: file.to_owned(),
            };
            return Err(Error::Invalid(SetError::new(&loaded.path, problem)).into());
        }
    }
    Ok(())
}

/// Returns the SHA-256 of a local bundle.
fn hash(context: &Context<'_>, path: &Utf8Path) -> Result<String, crate::Error> {
    let observer = BundleObserver::new(context, Step::Verify);
    report_start(context, path);
    let hashed = tokio::task::block_in_place(|| bundle::hash_file(path, &observer));
    let (_, sha256) = hashed.map_err(|source| crate::Error::read(path, source))?;
    Ok(sha256)
}

/// Converts the error for an invalid bundle. The original one suggests `learn`, which is only for
/// bundles of releases.
fn without_learn_hint(error: crate::Error) -> crate::Error {
    match error {
        crate::Error::Disk(disk::Error::Bundle { path, source, .. }) => {
            Error::Bundle { path, source }.into()
        }
        error => error,
    }
}

/// Downloads a bundle. Returns its SHA-256.
async fn download(
    context: &Context<'_>,
    upstreams: &Upstreams<'_>,
    item: &BundleItem,
    path: &Utf8Path,
) -> Result<String, crate::Error> {
    let shown = context.workspace.shown(path);
    fetch::refuse_offline(context, item.url.as_str(), shown)?;
    let from = upstreams.file(&item.url)?.place()?;
    let sha256 = item.sha256.as_ref().map(|digest| digest.digest());
    let retry = bundle::Retry::default();
    let downloaded = fetch::download(context, from, path, sha256, retry).await?;
    Ok(downloaded.sha256)
}

/// Returns the signature of a bundle, from the file beside it or from its server. With `again`,
/// always from its server.
async fn signature(
    context: &Context<'_>,
    upstreams: &Upstreams<'_>,
    item: &BundleItem,
    again: bool,
) -> Result<Signature, crate::Error> {
    let file = format!("{}.sig", file_name(&item.url));
    let path = context.workspace.bundle(&file);
    let shown = context.workspace.shown(&path);
    if again || !path.exists() {
        fetch::refuse_offline(context, item.signature_url().as_str(), shown)?;
        return upstream_signature(upstreams, item).await;
    }
    let bytes = files::read(&path).map_err(|source| crate::Error::read(&path, source))?;
    let signature = Signature::parse(&bytes).map_err(|source| Error::SignatureForm {
        what: shown.to_string(),
        source,
    })?;
    Ok(signature)
}

/// Downloads the signature of a bundle.
async fn upstream_signature(
    upstreams: &Upstreams<'_>,
    item: &BundleItem,
) -> Result<Signature, crate::Error> {
    let url = item.signature_url();
    let bytes = upstreams.file(&url)?.read(LARGEST_SIGNATURE).await?;
    let signature = Signature::parse(&bytes).map_err(|source| Error::SignatureForm {
        what: url.to_string(),
        source,
    })?;
    Ok(signature)
}

/// Verifies the signature of a bundle, and reports success.
fn verify(
    context: &Context<'_>,
    item: &BundleItem,
    key: &PublicKey,
    signature: &Signature,
    (path, sha256): (&Utf8Path, &str),
) -> Result<(), crate::Error> {
    let workspace = context.workspace;
    let path = workspace.shown(path).to_owned();
    let file = workspace
        .bundles()
        .join(item.key.iter().collect::<Utf8PathBuf>());
    let of = workspace.shown(&file).to_owned();
    match key.verify(sha256, signature) {
        Ok(()) => context.reporter.report(Event::Finished {
            step: Step::Verify,
            what: format!("{path} is signed with {of}"),
        }),
        Err(source) => {
            return Err(Error::Signature {
                path,
                key: of,
                source,
            }
            .into());
        }
    }
    Ok(())
}

/// Warns of the members of a bundle that are not used.
fn report(context: &Context<'_>, path: &Utf8Path, contents: &Contents) {
    let file = path.file_name().unwrap_or(path.as_str());
    let warn = |text: String| context.reporter.report(Event::Warning(text));
    for skipped in contents.skipped.iter().take(MOST_NAMED) {
        warn(format!(
            "{} in {file} is not carried: {}",
            skipped.archive, skipped.reason
        ));
    }
    let more = contents.skipped.len().saturating_sub(MOST_NAMED) as u64 + contents.ignored_files;
    if more > 0 {
        warn(format!("{more} more files in {file} are not carried"));
    }
    warn_of_unused(context, contents);
}
