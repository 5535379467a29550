//! Locks a release: records every digest of its bundle. This is the only time that the bundle is
//! trusted.

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;

use crate::config::render;
use crate::event::{Event, Remediable, Step};
use crate::transfer::fetch;
use crate::transfer::read::{read, report_start, warn_of_unused};
use crate::workspace::{DEFAULT_ARCH, write_atomically};
use crate::{Context, demo, disk, sha256};

mod changes;
mod error;
mod keep;

pub use crate::transfer::set::listed::Listed;
pub use changes::Changes;
pub use error::{Difference, Error};
pub use keep::Placed;

/// Release to lock, and the source of its bundle.
#[derive(Debug, Clone)]
pub struct Request {
    /// Release to lock.
    pub release: Version,
    /// Architecture of the bundle, as in its file name [default: [`DEFAULT_ARCH`]].
    pub arch: Option<String>,
    /// Path of a local bundle, instead of a download.
    pub bundle: Option<Utf8PathBuf>,
    /// URL of the bundle, instead of the vendor's. A `file:` URL is a local bundle.
    pub url: Option<String>,
    /// Checksum of the bundle: 64 hexadecimal digits, or the path of a checksum file.
    pub checksum: Option<String>,
    /// URL of the checksum, instead of the vendor's. A `file:` URL is a local file. The vendor's
    /// checksum is only requested for a bundle from the vendor; the one at this URL always.
    pub checksum_url: Option<String>,
    /// URL of mkectl, instead of the vendor's. `{system}` and `{machine}` are replaced, for example
    /// by `linux` and `x86_64`.
    pub mkectl_url: Option<String>,
    /// Whether to replace a committed lock that differs.
    pub replace: bool,
    /// Whether the error for a committed lock that differs includes a full diff.
    pub diff: bool,
    /// Whether to lock a bundle that contradicts the release or architecture.
    pub force_release: bool,
    /// Registry to lock the release from, instead of a bundle.
    pub listed: Option<Listed>,
}

/// Result of locking a release.
#[derive(Debug)]
pub struct Outcome {
    /// Path of the lock, relative to the workspace.
    pub path: Utf8PathBuf,
    /// Content of the lock.
    pub lock: bundle::Lock,
    /// Whether the file was written. It is not if it already had this content.
    pub written: bool,
    /// Whether the bundle was compared with a checksum.
    pub checksum: Checksum,
    /// Differences from the replaced lock.
    pub changes: Option<Changes>,
    /// How the bundle was placed in `bundles/`, if it was not there.
    pub kept: Option<Placed>,
    /// Path of the file with the output of `mkectl init` that belongs to the lock, relative to the
    /// workspace.
    pub init: Option<Utf8PathBuf>,
}

/// Whether the bundle was compared with a checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// It has the checksum from this source: a URL, a file, or the command line.
    Confirmed(String),
    /// The vendor is not known to publish one for this release.
    NotPublished,
    /// The vendor should publish one at this URL, but does not.
    NotFound(String),
    /// The bundle is not from the vendor, so the vendor's checksum was not requested.
    NotAsked,
    /// The run is offline, so none was requested.
    Offline,
}

/// Locks a release.
///
/// # Errors
/// The bundle is not available or not valid, it differs from its checksum
/// ([`Error::VendorChecksum`]), or the committed lock differs ([`Error::Differs`]).
pub async fn lock(context: &Context<'_>, request: &Request) -> Result<Outcome, crate::Error> {
    let facts = context.workspace.release(&request.release)?;
    if !facts.is_known() {
        for warning in facts.warnings() {
            context.reporter.report(Event::Warning(warning));
        }
    }
    let release = format!("v{}", request.release);
    let arch = request.arch.as_deref().unwrap_or(DEFAULT_ARCH);
    let read = match &request.listed {
        Some(listed) => from_registry(context, request, arch, listed).await?,
        None => from_bundle(context, request, &facts, arch).await?,
    };
    let Locking {
        mut lock,
        contradictions,
        checksum,
        bundle,
        asks_vendor,
    } = read;
    lock.forced_release = contradictions
        .iter()
        .map(|text| redaction::yaml::free_text(text))
        .collect();
    let lock_path = context.workspace.lock(&release, arch);
    let shown = context.workspace.shown(&lock_path).to_owned();
    let committed = crate::workspace::read_if_exists(&lock_path)?;
    let earlier = match committed
        .as_deref()
        .map(|text| bundle::Lock::parse(text, &shown))
    {
        // An invalid lock is not replaced without request, either.
        Some(Err(error)) if !request.replace => return Err(crate::Error::InvalidLock(error)),
        parsed => parsed.and_then(Result::ok),
    };
    let known = earlier.as_ref().filter(|_| !request.replace);
    lock.mkectl = mkectl(context, request, &facts, asks_vendor, known).await?;
    lock.mkectl
        .sort_by(|one, other| one.platform.cmp(&other.platform));
    let init = crate::config::defaults::ask(context, &request.release)?;
    let has_init = init.is_some();
    if !has_init && crate::config::defaults::are_expected(context, &request.release)? {
        let missing = Remediable::NoDefaults(request.release.clone());
        context.reporter.report(Event::Remediable(missing));
    }
    lock.init = init.as_ref().map(|text| sha256(text.as_bytes()));
    let text = lock.to_yaml();
    // Later steps must be able to read this lock.
    bundle::Lock::parse(&text, &shown)?;
    let written = !(committed.as_deref()).is_some_and(|one| bundle::Lock::is_same(one, &text));
    let changes = (earlier.as_ref().filter(|_| written)).map(|old| Changes::between(old, &lock));
    if written {
        if committed.is_some() && !request.replace {
            // The earlier lock is written again in the current format, which has no query in URLs.
            let old = earlier.as_ref().map(bundle::Lock::to_yaml);
            return Err(Error::Differs {
                difference: match &earlier {
                    _ if lock.from.is_some() => Difference::Registry,
                    Some(earlier) if earlier.bundle.sha256 == lock.bundle.sha256 => {
                        Difference::BesideBundle
                    }
                    _ => Difference::Bundle,
                },
                changes: changes.unwrap_or_default(),
                diff: (request.diff).then(|| render::diff(&shown, old.as_deref(), &text)),
                path: shown,
            }
            .into());
        }
        if let Some(init) = init {
            write_atomically(&context.workspace.init(&request.release), &init)?;
        }
        write_atomically(&lock_path, &text)?;
    }
    context.reporter.report(Event::Finished {
        step: Step::Verify,
        what: format!(
            "{} locked",
            environment::count(lock.artifacts.len(), "artifact")
        ),
    });
    let kept = bundle.and_then(|path| keep::keep(context, &path, &lock));
    Ok(Outcome {
        path: shown,
        lock,
        written,
        checksum,
        changes,
        kept,
        init: has_init.then(|| {
            let path = context.workspace.init(&request.release);
            context.workspace.shown(&path).to_owned()
        }),
    })
}

/// Content of a release from its bundle or registry.
struct Locking {
    lock: bundle::Lock,
    /// Contradictions to the release or architecture, which the operator accepted.
    contradictions: Vec<String>,
    checksum: Checksum,
    /// Path of the bundle, if there is one.
    bundle: Option<Utf8PathBuf>,
    /// Whether mkectl may be downloaded from the vendor.
    asks_vendor: bool,
}

/// Locks the artifacts of a release in a registry.
async fn from_registry(
    context: &Context<'_>,
    request: &Request,
    arch: &str,
    listed: &Listed,
) -> Result<Locking, crate::Error> {
    let release = format!("v{}", request.release);
    let artifacts = crate::transfer::set::listed::artifacts(context, listed).await?;
    let contradictions = contradictions_in(&request.release, arch, &artifacts, None);
    refuse_contradictions(context, request, arch, &contradictions)?;
    let lock = bundle::Lock::of_registry(&release, arch, &listed.from, artifacts);
    warn_of_matrix(context, &release, "a registry", None);
    Ok(Locking {
        lock,
        contradictions,
        checksum: Checksum::NotAsked,
        bundle: None,
        asks_vendor: mke::is_vendor_registry(&listed.from),
    })
}

/// Reads the bundle of a release into the store, and locks its artifacts.
async fn from_bundle(
    context: &Context<'_>,
    request: &Request,
    facts: &mke::Release,
    arch: &str,
) -> Result<Locking, crate::Error> {
    let release = format!("v{}", request.release);
    let vendor_url = if demo::is_demo(&request.release) {
        demo::URL.to_owned()
    } else {
        facts.bundle_url(arch)
    };
    let file = facts.bundle_file(arch);
    let (url, given) = source(context, request, vendor_url)?;
    let from_vendor = request.url.is_none() && given.is_none();
    let expected = before_it_is_read(context, request, given.as_deref(), &file)?;
    let mut contradictions = Vec::new();
    let names = [Some(url.as_str()), given.as_deref().map(Utf8Path::as_str)];
    for name in names.into_iter().flatten() {
        let name = name.rsplit('/').next().unwrap_or(name);
        let name = name.split(['?', '#']).next().unwrap_or(name);
        contradictions.extend(mke::identity::contradictions_in_name(
            &request.release,
            arch,
            name,
        ));
    }
    // Checked before gigabytes are read.
    refuse_contradictions(context, request, arch, &contradictions)?;
    let path = local_bundle(context, request, given, &url, &file).await?;

    let store = fetch::open_store(context.workspace)?;
    report_start(context, &path);
    let rules = crate::transfer::learn::rules(context, facts, arch)?;
    let contents = read(context, &path, &store, &rules).map_err(|mut error| {
        if let crate::Error::Disk(disk::Error::Bundle { release: known, .. }) = &mut error {
            *known = Some(release.clone());
        }
        error
    })?;
    let matrix = matrix(&contents, &store);
    let inside = contradictions_in(
        &request.release,
        arch,
        &contents.artifacts,
        matrix.as_deref(),
    );
    refuse_contradictions(context, request, arch, &inside)?;
    contradictions.extend(inside);
    warn_of_unused(context, &contents);
    if url != demo::URL {
        warn_of_matrix(context, &release, "the bundle", matrix.as_deref());
    }
    for skipped in &contents.skipped {
        context.reporter.report(Event::Warning(format!(
            "{} is not locked: {}",
            skipped.archive, skipped.reason
        )));
    }
    for contradiction in crate::transfer::learn::unexpected(facts, arch, &file, &contents) {
        context.reporter.report(Event::Remediable(contradiction));
    }
    let checksum = if let Some((expected, source)) = expected {
        same_checksum(context, &path, &contents, expected, &source)?;
        Checksum::Confirmed(source)
    } else if let Some(checksum_url) = &request.checksum_url {
        Checksum::Confirmed(compare(context, checksum_url, &file, &path, &contents).await?)
    } else if from_vendor && url != demo::URL && context.offline {
        Checksum::Offline
    } else if from_vendor && url != demo::URL {
        compare_with_vendor(context, facts, arch, &file, &path, &contents).await?
    } else {
        Checksum::NotAsked
    };
    let lock =
        bundle::Lock::from_contents(&request.release, arch, &file, &url, Vec::new(), contents);
    Ok(Locking {
        lock,
        contradictions,
        checksum,
        asks_vendor: from_vendor && url != demo::URL,
        bundle: Some(path),
    })
}

/// Checks the other arguments of the request, before gigabytes are read. Returns the bundle's
/// checksum and its source, if both are known without a request.
///
/// # Errors
/// A URL is not valid, has credentials, or cannot be requested offline; or the checksum file cannot
/// be read.
fn before_it_is_read(
    context: &Context<'_>,
    request: &Request,
    given: Option<&Utf8Path>,
    file: &str,
) -> Result<Option<(String, String)>, crate::Error> {
    let wrong = |source| crate::Error::Lock(Error::Url(source));
    if let Some(pattern) = &request.mkectl_url {
        let url = pattern
            .replace("{system}", "linux")
            .replace("{machine}", "x86_64");
        refuse_credentials(&url)?;
        bundle::check_url(&url).map_err(wrong)?;
    }
    let name = given.and_then(Utf8Path::file_name).unwrap_or(file);
    let names = [file, name];
    if let Some(checksum) = &request.checksum {
        return given_checksum(checksum, &names).map(Some);
    }
    let Some(url) = &request.checksum_url else {
        return Ok(None);
    };
    match bundle::local_path(url).map_err(wrong)? {
        Some(path) => given_checksum(path.as_str(), &names).map(Some),
        None => {
            bundle::check_url(url).map_err(wrong)?;
            fetch::client(context, &url.as_str().into(), Utf8Path::new("the checksum"))
                .map(|_| None)
        }
    }
}

/// Returns the URL to lock, and the path of a local bundle if the request names one.
fn source(
    context: &Context<'_>,
    request: &Request,
    vendor_url: String,
) -> Result<(String, Option<Utf8PathBuf>), crate::Error> {
    let Some(url) = &request.url else {
        return Ok((vendor_url, request.bundle.clone()));
    };
    let failed = |source| crate::Error::Lock(Error::Url(source));
    // A local path has no meaning on other machines, so the vendor's URL is locked.
    if let Some(path) = bundle::local_path(url).map_err(failed)? {
        return Ok((vendor_url, Some(request.bundle.clone().unwrap_or(path))));
    }
    refuse_credentials(url)?;
    bundle::check_url(url).map_err(failed)?;
    if bundle::stored_url(url) != *url {
        context.reporter.report(Event::Warning(format!(
            "the lock records {} without its query, which may contain a secret; if the server requires the query, copy the bundle to \
             bundles/ on other machines",
            bundle::shown_url(url)
        )));
    }
    Ok((url.clone(), request.bundle.clone()))
}

fn refuse_credentials(url: &str) -> Result<(), crate::Error> {
    match bundle::has_credentials(url) {
        true => Err(Error::UrlWithCredentials {
            url: bundle::shown_url(url),
        }
        .into()),
        false => Ok(()),
    }
}

/// Refuses a bundle that contradicts the release. With `force_release`, it only warns.
fn refuse_contradictions(
    context: &Context<'_>,
    request: &Request,
    arch: &str,
    contradictions: &[String],
) -> Result<(), crate::Error> {
    if contradictions.is_empty() {
        return Ok(());
    }
    let refusal = Error::WrongRelease {
        what: if request.listed.is_some() {
            "list"
        } else {
            "bundle"
        },
        release: format!("v{}", request.release),
        arch: arch.to_owned(),
        contradictions: contradictions.to_vec(),
    };
    if !request.force_release {
        return Err(crate::Error::Lock(refusal));
    }
    context.reporter.report(Event::Warning(refusal.to_string()));
    Ok(())
}

/// Returns the release matrix of a bundle, if it has one; an empty text if it is not UTF-8.
fn matrix(contents: &bundle::Contents, store: &bundle::Store) -> Option<String> {
    let file = contents.release_matrix.as_ref()?;
    let digest = bundle::sha256_digest(&format!("sha256:{}", file.sha256)).ok()?;
    let bytes = store.read(&digest, file.size).unwrap_or_default();
    Some(String::from_utf8(bytes).unwrap_or_default())
}

/// Warns of a missing or invalid release matrix. An upgrade may require one.
fn warn_of_matrix(context: &Context<'_>, release: &str, origin: &str, matrix: Option<&str>) {
    let what = match matrix {
        None => format!("{origin} has no release matrix"),
        Some(text) if !mke::identity::is_matrix(text) => {
            format!("the release matrix in {origin} is not a list of releases")
        }
        Some(_) => return,
    };
    context.reporter.report(Event::Warning(format!(
        "{what}; an upgrade to {release} may require the vendor's: name the file as `release-matrix:` in environment.yaml"
    )));
}

/// Describes each contradiction between artifacts and the release or architecture.
fn contradictions_in(
    release: &Version,
    arch: &str,
    artifacts: &[bundle::Artifact],
    matrix: Option<&str>,
) -> Vec<String> {
    let artifacts: Vec<mke::identity::Artifact<'_>> = (artifacts.iter())
        .map(|artifact| mke::identity::Artifact {
            repository: &artifact.repository,
            tag: &artifact.tag,
            is_chart: artifact.kind == bundle::Kind::Chart,
            platforms: (artifact.manifests.iter())
                .filter_map(|manifest| manifest.platform.as_deref())
                .collect(),
        })
        .collect();
    let evidence = mke::identity::Evidence {
        matrix,
        artifacts: &artifacts,
    };
    mke::identity::contradictions(release, arch, evidence)
}

/// Returns the downloads of mkectl of a release. Each hash comes from the first of these that has
/// it:
///
/// - the table of releases
/// - the earlier lock, for the same URL
/// - the download itself, which is trusted on first use
async fn mkectl(
    context: &Context<'_>,
    request: &Request,
    facts: &mke::Release,
    asks_vendor: bool,
    earlier: Option<&bundle::Lock>,
) -> Result<Vec<bundle::LockedMkectl>, crate::Error> {
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
        refuse_credentials(&url)?;
        let asked = url;
        let url = bundle::stored_url(&asked);
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
                match crate::transfer::program::trust_on_first_use(
                    context, &release, platform, &asked,
                )
                .await
                {
                    Ok(sha256) => {
                        warn(format!(
                            "the hash of mkectl {release} for {platform} is not published: the file from {} is trusted. Its SHA-256 is \
                             {sha256}; ask the vendor to confirm it",
                            bundle::shown_url(&url)
                        ));
                        all.push(bundle::LockedMkectl {
                            platform: platform.to_owned(),
                            url,
                            sha256,
                            trusted_on_first_use: true,
                        });
                    }
                    Err(error) if fetch::is_unreachable(&error) => warn(format!(
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

/// Returns the path of the bundle: the given file, the existing one, the generated one of the demo,
/// or a download.
async fn local_bundle(
    context: &Context<'_>,
    request: &Request,
    given: Option<Utf8PathBuf>,
    url: &str,
    file: &str,
) -> Result<Utf8PathBuf, crate::Error> {
    let is_given = given.is_some();
    let path = given.unwrap_or_else(|| context.workspace.bundle(file));
    if url == demo::URL && !is_given {
        demo::make(&path, &request.release)?;
    } else if !path.exists() && !is_given {
        fetch::download(context, url, &path, None, bundle::Retry::default()).await?;
    } else if request.url.as_deref() == Some(url) {
        context.reporter.report(Event::Warning(format!(
            "the bundle is read from {}; the lock records {}, which was not contacted",
            context.workspace.shown(&path),
            bundle::shown_url(url)
        )));
    }
    Ok(path)
}

/// Compares the bundle with the checksum that the vendor publishes beside each release of mkectl
/// (DOCS-SRC).
async fn compare_with_vendor(
    context: &Context<'_>,
    facts: &mke::Release,
    arch: &str,
    file: &str,
    path: &Utf8Path,
    contents: &bundle::Contents,
) -> Result<Checksum, crate::Error> {
    let Some(url) = facts.checksum_url(arch) else {
        return Ok(Checksum::NotPublished);
    };
    match compare(context, &url, file, path, contents).await {
        Ok(url) => Ok(Checksum::Confirmed(url)),
        Err(crate::Error::Lock(Error::Checksum {
            source: bundle::ChecksumError::Request(bundle::RequestError::NotFound { .. }),
        })) => Ok(Checksum::NotFound(url)),
        Err(error) => Err(error),
    }
}

/// Compares the bundle with the checksum at `url`. Returns the URL for display.
async fn compare(
    context: &Context<'_>,
    url: &str,
    file: &str,
    path: &Utf8Path,
    contents: &bundle::Contents,
) -> Result<String, crate::Error> {
    let failed = |source| crate::Error::Lock(Error::Checksum { source });
    let client = fetch::client(context, &url.into(), Utf8Path::new("the checksum"))?
        .map_err(|source| failed(bundle::ChecksumError::Request(source)))?;
    let checksum = bundle::checksum(url, file, &client).await.map_err(failed)?;
    let shown = bundle::shown_url(url);
    same_checksum(context, path, contents, checksum.sha256, &shown)?;
    Ok(shown)
}

/// From this number of hexadecimal digits on, an argument is a mistyped checksum and not a file
/// name. An MD5 has as many.
const FEWEST_DIGITS: usize = 32;

/// Returns the checksum of an argument, which may be the path of a checksum file, with its source.
fn given_checksum(given: &str, names: &[&str]) -> Result<(String, String), crate::Error> {
    let lower = given.to_ascii_lowercase();
    let digits = lower.strip_prefix("sha256:").unwrap_or(&lower);
    if bundle::sha256_digest(&format!("sha256:{digits}")).is_ok() {
        return Ok((digits.to_owned(), "--checksum".to_owned()));
    }
    let is_meant = digits != lower
        || digits.len() >= FEWEST_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_meant && !Utf8Path::new(given).exists() {
        return Err(Error::NotSha256 {
            given: redaction::line(given, 100),
        }
        .into());
    }
    let checksum = bundle::checksum_in_file(Utf8Path::new(given), names)
        .map_err(|source| crate::Error::Lock(Error::Checksum { source }))?;
    Ok((checksum.sha256, given.to_owned()))
}

fn same_checksum(
    context: &Context<'_>,
    path: &Utf8Path,
    contents: &bundle::Contents,
    expected: String,
    source: &str,
) -> Result<(), crate::Error> {
    if expected == contents.sha256 {
        return Ok(());
    }
    Err(Error::VendorChecksum {
        path: context.workspace.shown(path).to_owned(),
        url: source.to_owned(),
        expected,
        found: contents.sha256.clone(),
    }
    .into())
}
