//! Makes the lock of a release from its bundle: the one time that the bundle itself is believed.

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;

use crate::event::{Event, Step};
use crate::fetch;
use crate::observe::BundleObserver;
use crate::workspace::{DEFAULT_ARCH, write_whole};
use crate::{Context, Error, demo, render, sha256};

/// What to lock, and where its bundle comes from.
#[derive(Debug, Clone)]
pub struct Request {
    /// The release.
    pub release: Version,
    /// The bundle's architecture, as it stands in its file name; [`DEFAULT_ARCH`] where nothing is said.
    pub arch: Option<String>,
    /// A bundle that is here already, instead of a download.
    pub bundle: Option<Utf8PathBuf>,
    /// Where to download it, instead of the vendor's URL for this release.
    pub url: Option<String>,
    /// Where to find the bundle's checksum, instead of the vendor's URL for this release. The vendor's is asked only for
    /// a bundle that comes from the vendor; this one always.
    pub checksum_url: Option<String>,
    /// Where to download mkectl, instead of the vendor's URL for this release; `{system}` and `{machine}` stand for `linux` and `x86_64`.
    pub mkectl_url: Option<String>,
    /// Whether a committed lock that differs may be replaced.
    pub replace: bool,
}

/// What locking came to.
#[derive(Debug)]
pub struct Outcome {
    /// The lock's file, relative to the workspace.
    pub path: Utf8PathBuf,
    /// What it says.
    pub lock: bundle::Lock,
    /// Whether the file was written; false where it held the same already.
    pub written: bool,
    /// Whether the vendor's checksum was compared.
    pub checksum: Checksum,
}

/// Whether the bundle was compared with the vendor's checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// It has the checksum that stands at this URL.
    Confirmed(String),
    /// The vendor publishes none for this release, as far as is known.
    NotPublished,
    /// There is none at this URL, although there should be.
    NotFound(String),
    /// The bundle was given as a file or from another URL, so the vendor was not asked.
    NotAsked,
}

/// Locks a release.
///
/// # Errors
/// The bundle cannot be had or read, it does not have the vendor's checksum, or the committed lock differs.
pub async fn lock(context: &Context<'_>, request: &Request) -> Result<Outcome, Error> {
    let facts = context.workspace.release(&request.release)?;
    if !facts.is_known() {
        for warning in facts.warnings() {
            context.reporter.report(Event::Warning(warning));
        }
    }
    let release = format!("v{}", request.release);
    let arch = request.arch.as_deref().unwrap_or(DEFAULT_ARCH);
    let vendor_url = if demo::is_demo(&request.release) {
        demo::URL.to_owned()
    } else {
        facts.bundle_url(arch)
    };
    let url = request.url.clone().unwrap_or(vendor_url);
    if bundle::has_credentials(&url) {
        return Err(Error::UrlWithCredentials {
            url: bundle::shown_url(&url),
        });
    }
    let file = facts.bundle_file(arch);
    let from_vendor = request.url.is_none() && request.bundle.is_none();
    let path = local_bundle(context, request, &url, &file).await?;

    let store = fetch::open_store(context.workspace)?;
    context.reporter.report(Event::Started {
        step: Step::Verify,
        what: context.workspace.shown(&path).to_string(),
        bytes: std::fs::metadata(&path).ok().map(|metadata| metadata.len()),
    });
    let rules = crate::learn::rules(context, &facts, arch)?;
    let contents = read(context, &path, store, &rules)?;
    for skipped in &contents.skipped {
        context.reporter.report(Event::Warning(format!(
            "{} is not locked: {}",
            skipped.archive, skipped.reason
        )));
    }
    for warning in crate::learn::unexpected(&facts, arch, &file, &contents) {
        context.reporter.report(Event::Warning(warning));
    }
    let checksum = if let Some(checksum_url) = &request.checksum_url {
        compare(context, checksum_url, &file, &path, &contents)
            .await
            .map(|()| Checksum::Confirmed(bundle::shown_url(checksum_url)))?
    } else if from_vendor && url != demo::URL {
        compare_with_vendor(context, &facts, arch, &file, &path, &contents).await?
    } else {
        Checksum::NotAsked
    };
    let lock_path = context.workspace.lock(&release, arch);
    let shown = context.workspace.shown(&lock_path).to_owned();
    let committed = crate::workspace::read_if_there(&lock_path)?;
    let earlier = (committed.as_deref())
        .filter(|_| !request.replace)
        .and_then(|text| bundle::Lock::parse(text, &shown).ok());
    let asks_vendor = from_vendor && url != demo::URL;
    let mkectl = mkectl(context, request, &facts, asks_vendor, earlier.as_ref()).await?;
    let mut lock =
        bundle::Lock::from_contents(&request.release, arch, &file, &url, mkectl, contents);
    let init = crate::defaults::ask(context, &request.release)?;
    lock.init = init.as_ref().map(|text| sha256(text.as_bytes()));
    let text = lock.to_yaml();
    // What this writes, every later step must be able to read.
    bundle::Lock::parse(&text, &shown).map_err(Error::Lock)?;
    let written = committed.as_deref() != Some(&text);
    if written {
        if committed.is_some() && !request.replace {
            let is_same_bundle =
                earlier.is_some_and(|earlier| earlier.bundle.sha256 == lock.bundle.sha256);
            return Err(Error::LockDiffers {
                is_same_bundle,
                diff: render::diff(&shown, committed.as_deref(), &text),
                path: shown,
            });
        }
        if let Some(init) = init {
            write_whole(&context.workspace.init(&request.release), &init)?;
        }
        write_whole(&lock_path, &text)?;
    }
    context.reporter.report(Event::Finished {
        step: Step::Verify,
        what: format!("{} artifacts locked", lock.artifacts.len()),
    });
    Ok(Outcome {
        path: shown,
        lock,
        written,
        checksum,
    })
}

/// Returns the downloads of mkectl that belong to a release. Hashes that the table of releases has are taken from there, and so are
/// those that an earlier lock has for the same URL. For the others the download itself is hashed: then it was trusted once.
async fn mkectl(
    context: &Context<'_>,
    request: &Request,
    facts: &mke::Release,
    asks_vendor: bool,
    earlier: Option<&bundle::Lock>,
) -> Result<Vec<bundle::LockedMkectl>, Error> {
    let release = format!("v{}", request.release);
    let warn = |text: String| context.reporter.report(Event::Warning(text));
    let mut all = Vec::new();
    for download in facts.mkectl() {
        let platform = download.platform;
        let url = match (&request.mkectl_url, platform.split_once('-')) {
            (Some(pattern), Some((system, machine))) => pattern
                .replace("{system}", system)
                .replace("{machine}", machine),
            _ => download.url,
        };
        if bundle::has_credentials(&url) {
            return Err(Error::UrlWithCredentials {
                url: bundle::shown_url(&url),
            });
        }
        let known = earlier.and_then(|earlier| {
            let mut known = earlier.mkectl.iter();
            known.find(|one| one.platform == platform && one.url == url)
        });
        match (download.sha256, known) {
            (Some(sha256), _) => all.push(bundle::LockedMkectl {
                platform: platform.to_owned(),
                url,
                sha256: sha256.to_owned(),
                trusted_on_first_use: false,
            }),
            (None, Some(known)) => all.push(known.clone()),
            (None, None) if asks_vendor || request.mkectl_url.is_some() => {
                match crate::program::first_use(context, &release, platform, &url).await {
                    Ok(sha256) => {
                        warn(format!(
                            "nobody publishes the hash of mkectl {release} for {platform}: what came from {} is trusted now, with SHA-256 \
                             {sha256}; compare it by other means",
                            bundle::shown_url(&url)
                        ));
                        all.push(bundle::LockedMkectl {
                            platform: platform.to_owned(),
                            url,
                            sha256,
                            trusted_on_first_use: true,
                        });
                    }
                    Err(
                        error @ Error::Download {
                            source: bundle::DownloadError::Request(_),
                            ..
                        },
                    ) => warn(format!(
                        "mkectl {release} for {platform} is not locked: {}",
                        crate::chain(&error)
                    )),
                    Err(error) => return Err(error),
                }
            }
            (None, None) => {}
        }
    }
    Ok(all)
}

/// Has the bundle here: the file that was given, the one that is there, the demo's, or a download.
async fn local_bundle(
    context: &Context<'_>,
    request: &Request,
    url: &str,
    file: &str,
) -> Result<Utf8PathBuf, Error> {
    if let Some(bundle) = &request.bundle {
        return Ok(bundle.clone());
    }
    let path = context.workspace.bundle(file);
    if url == demo::URL {
        demo::make(&path, &request.release)?;
    } else if !path.exists() {
        fetch::download(context, url, &path).await?;
    }
    Ok(path)
}

/// Compares the bundle with the checksum that the vendor publishes beside each release of mkectl (DOCS-SRC).
async fn compare_with_vendor(
    context: &Context<'_>,
    facts: &mke::Release,
    arch: &str,
    file: &str,
    path: &Utf8Path,
    contents: &bundle::Contents,
) -> Result<Checksum, Error> {
    let Some(url) = facts.checksum_url(arch) else {
        return Ok(Checksum::NotPublished);
    };
    match compare(context, &url, file, path, contents).await {
        Ok(()) => Ok(Checksum::Confirmed(url)),
        Err(Error::Checksum {
            source: bundle::ChecksumError::Request(bundle::RequestError::NotFound { .. }),
        }) => Ok(Checksum::NotFound(url)),
        Err(error) => Err(error),
    }
}

/// Compares the bundle with the checksum at `url`.
async fn compare(
    context: &Context<'_>,
    url: &str,
    file: &str,
    path: &Utf8Path,
    contents: &bundle::Contents,
) -> Result<(), Error> {
    let client = bundle::HttpClient::new(context.proxies()).map_err(|source| Error::Checksum {
        source: bundle::ChecksumError::Request(source),
    })?;
    let checksum = bundle::checksum(url, file, &client)
        .await
        .map_err(|source| Error::Checksum { source })?;
    if checksum.sha256 != contents.sha256 {
        return Err(Error::VendorChecksum {
            path: context.workspace.shown(path).to_owned(),
            url: bundle::shown_url(url),
            expected: checksum.sha256,
            found: contents.sha256.clone(),
        });
    }
    Ok(())
}

/// Reads a bundle into the store.
fn read(
    context: &Context<'_>,
    path: &Utf8Path,
    mut store: bundle::Store,
    rules: &bundle::Rules,
) -> Result<bundle::Contents, Error> {
    let file = files::open(path).map_err(|source| Error::io("open", path, source))?;
    let observer = BundleObserver::new(context.reporter, Step::Verify);
    // Reading is work for a processor and a disk, not for the runtime.
    tokio::task::block_in_place(|| bundle::read_observed(file, &mut store, rules, &observer))
        .map_err(|source| Error::bundle(context.workspace.shown(path), source))
}
