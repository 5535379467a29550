//! Rehearsals: a deploy to an embedded registry on loopback, with a stand-in for mkectl. The
//! environment's own registry and cluster are not used.
//!
//! The stand-in is Airlock's own executable. The `programs` crate runs it with [`COMMAND`] in front
//! of mkectl's arguments. It checks the configuration as MKE does, and pulls every artifact without
//! credentials from the URLs in the configuration.

use std::io::Write;
use std::net::SocketAddr;

use camino::Utf8Path;
use environment::Environment;
use futures_util::StreamExt as _;
use registry::embedded::Embedded;
use semver::Version;

use crate::cluster::validate;
use crate::deploy::{self, Deployed};
use crate::environment_lock::EnvironmentLock;
use crate::event::Event;
use crate::locked::{self, Locked};
use crate::plan::{self, Permit, Plan};
use crate::receipt::Receipt;
use crate::transfer::{fetch, set};
use crate::workspace::{Output, remove_if_exists};
use crate::{Context, Workspace, demo, workspace};

mod error;

pub use error::Error;

pub use programs::STAND_IN as COMMAND;

/// Maximum number of artifacts that the stand-in pulls concurrently.
const PULLS_AT_ONCE: usize = 16;

/// Starts the embedded registry of a rehearsal. Returns `None` for other environments. The registry
/// stops when the value is dropped. Its content is kept for the next start.
///
/// # Errors
/// - [`Error::Address`] if `registry.address` is not an IP address with a port.
/// - [`Error::Registry`] if it is not on loopback, or is in use.
pub async fn serve(
    workspace: &Workspace,
    environment: &Environment,
) -> Result<Option<Embedded>, crate::Error> {
    if !environment.rehearsal {
        return Ok(None);
    }
    let address = &environment.registry.address;
    let socket: SocketAddr = address.parse().map_err(|_| Error::Address {
        address: address.clone(),
    })?;
    start(workspace, &environment.name, socket).await.map(Some)
}

/// Starts the embedded registry as [`serve`] does, for a command that only reads. A registry
/// without content is started in memory, so nothing is written to the workspace.
///
/// # Errors
/// The errors of [`serve`].
pub async fn serve_for_reading(
    workspace: &Workspace,
    environment: &Environment,
) -> Result<Option<Embedded>, crate::Error> {
    let address = &environment.registry.address;
    match address.parse() {
        Ok(socket) if environment.rehearsal && !content(workspace, &environment.name).exists() => {
            start_in(None, socket).await.map(Some)
        }
        _ => serve(workspace, environment).await,
    }
}

/// Returns the folder with the content of a rehearsal's registry.
fn content(workspace: &Workspace, name: &str) -> camino::Utf8PathBuf {
    workspace.rehearsal(name).join("registry")
}

async fn start(
    workspace: &Workspace,
    name: &str,
    address: SocketAddr,
) -> Result<Embedded, crate::Error> {
    start_in(Some(&content(workspace, name)), address).await
}

/// Starts an embedded registry with its content in a folder, or in memory.
async fn start_in(
    folder: Option<&Utf8Path>,
    address: SocketAddr,
) -> Result<Embedded, crate::Error> {
    Embedded::start(address, folder).await.map_err(|source| {
        crate::Error::Rehearse(Error::Registry {
            address: address.to_string(),
            source,
        })
    })
}

/// A rehearsal that is ready to run. Its registry stops when the value is dropped.
#[derive(Debug)]
pub struct Rehearsal {
    /// The plan of the rehearsal.
    pub plan: Plan,
    /// The demo's release, `v4.1.5-demo`, if it replaces a release whose bundle is missing.
    pub stand_in: Option<String>,
    _registry: Embedded,
}

/// Prepares the rehearsal of an environment. It has the environment's files, but a different
/// registry and mkectl. All results are written below `bundles/rehearsal/`.
///
/// # Errors
/// The errors of [`plan::plan`], or [`Error::Registry`].
pub async fn prepare(
    context: &Context<'_>,
    mut environment: Environment,
) -> Result<Rehearsal, crate::Error> {
    let directory = context.workspace.rehearsal(&environment.name);
    let registry = start(
        context.workspace,
        &environment.name,
        SocketAddr::from(([127, 0, 0, 1], 0)),
    )
    .await?;
    check_config(context, environment.clone(), &Output::below(&directory))?;
    environment.rehearsal = true;
    environment.protected = false;
    environment.mkectl = None;
    environment.operation = environment::Operation::default();
    environment.requires = None;
    environment.record_operator = false;
    environment.registry.address = registry.address().to_string();
    environment.registry.ca = None;
    environment.registry.push_credentials = None;
    environment.registry.pull_credentials = None;

    let output = Output::below(&directory);
    // The receipt of an earlier rehearsal records a registry at a different port, and a cluster's
    // registry cannot change.
    remove_if_exists(&output.receipt)?;
    // If the environment's own cluster runs an earlier release, an upgrade is rehearsed.
    let real = Output::below(&context.workspace.environment(&environment.name));
    let applied = Receipt::read(&real.receipt)?.and_then(|receipt| receipt.applied);
    if applied.is_some() {
        // The migration from MKE 3 is done.
        environment.mke3 = None;
    }
    if let Some(mut applied) = applied
        && applied.release != format!("v{}", environment.release)
    {
        applied.registry = environment.registry.image_url();
        let receipt = Receipt {
            run: None,
            version: Receipt::VERSION,
            applied: Some(applied),
            failed: None,
        };
        receipt.write(&output.receipt)?;
    }
    let (locked, stand_in) = local_lock(context, &environment)?;
    let plan = plan::of_locked(
        context,
        environment,
        locked,
        output,
        plan::Purpose::Deploy,
        plan::RegistryState::Live,
    )
    .await?;
    Ok(Rehearsal {
        plan,
        stand_in,
        _registry: registry,
    })
}

/// Lets the environment's own mkectl check the rendered configuration, if that mkectl is on this
/// machine.
fn check_config(
    context: &Context<'_>,
    environment: Environment,
    output: &Output,
) -> Result<(), crate::Error> {
    if environment.rehearsal {
        return Ok(());
    }
    match validate::with_mkectl(context, environment, output) {
        Err(error @ crate::Error::ConfigRefused(_)) => Err(error),
        // Other errors are ignored: a rehearsal needs neither this mkectl nor a lock nor secrets.
        _ => Ok(()),
    }
}

/// Runs a rehearsal. Returns its result, and the permit with the executed plan.
///
/// # Errors
/// The errors of [`plan::permit`] and [`deploy::deploy`].
pub async fn run<'a>(
    context: &Context<'_>,
    rehearsal: Rehearsal,
    lock: &'a EnvironmentLock,
) -> Result<(Permit<'a>, Deployed), crate::Error> {
    let Rehearsal {
        plan, _registry, ..
    } = rehearsal;
    let permit = plan::permit(plan, None, false, lock)?;
    let deployed = deploy::deploy(context, &permit).await?;
    Ok((permit, deployed))
}

/// Returns the lock of all that can be rehearsed without a download, and the release of the demo if
/// it replaces the environment's. Sets that are not in the store are left out, with a warning.
fn local_lock(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<(Locked, Option<String>), crate::Error> {
    let (locked, stand_in) = local_release_lock(context.workspace, &environment.release)?;
    if environment.sets.is_empty() || stand_in.is_some() {
        return Ok((locked, stand_in));
    }
    let all = locked::of(context.workspace, environment)?;
    match set::need::lacks(&all.lock, &fetch::open_store(context.workspace)?) {
        false => Ok((all, None)),
        true => {
            context.reporter.report(Event::Warning(format!(
                "not rehearsed, because they are not fetched: {}",
                environment.set_names().join(", ")
            )));
            Ok((locked, None))
        }
    }
}

/// Returns the lock of the release if its bundle is on this machine, or else the demo's lock with
/// its release.
fn local_release_lock(
    workspace: &Workspace,
    release: &Version,
) -> Result<(Locked, Option<String>), crate::Error> {
    match locked::read(workspace, release) {
        Ok(locked) => {
            let store = fetch::open_store(workspace)?;
            let is_here = !matches!(
                fetch::source(workspace, &locked.lock)?,
                fetch::Source::Download(_)
            );
            if is_here && !set::need::is_needed(&locked.lock, &store) {
                return Ok((locked, None));
            }
        }
        Err(crate::Error::Workspace(workspace::Error::NotLocked { .. })) => {}
        Err(error) => return Err(error),
    }
    let locked = locked::read(workspace, &demo::release())?;
    let stand_in = locked.lock.release.clone();
    Ok((locked, Some(stand_in)))
}

/// Prints the stand-in's answer to `mkectl version`.
///
/// # Errors
/// `out` cannot be written.
pub fn version(release: &str, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "Version: {release}")?;
    writeln!(
        out,
        "Rehearsal: this stands in for mkectl and changes no cluster."
    )
}

/// Executes the stand-in's `mkectl apply -f FILE`, and returns the exit code.
///
/// # Errors
/// `out` cannot be written.
pub async fn apply(
    release: &str,
    lock: &Utf8Path,
    file: &Utf8Path,
    out: &mut (dyn Write + Send),
) -> std::io::Result<u8> {
    let Some(validated) = check_and_pull(release, lock, file, out).await? else {
        return Ok(1);
    };
    write_hosts("install", &validated, out)?;
    writeln!(
        out,
        "INF A real first apply prints the admin password here, once"
    )?;
    writeln!(
        out,
        "INF Rehearsal complete: mkectl would be run with this file"
    )?;
    Ok(0)
}

fn write_hosts(
    verb: &str,
    validated: &mke::Validated,
    out: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    for host in &validated.hosts {
        writeln!(
            out,
            "INF Would {verb} {} on {}",
            host.role, host.ssh.address
        )?;
    }
    Ok(())
}

/// Checks the configuration as MKE does, and pulls every artifact as nodes do. Returns `None`,
/// after printing the reason, if either fails.
async fn check_and_pull(
    release: &str,
    lock: &Utf8Path,
    file: &Utf8Path,
    out: &mut (dyn Write + Send),
) -> std::io::Result<Option<mke::Validated>> {
    writeln!(
        out,
        "INF Rehearsal of mkectl {release}: no host will be touched"
    )?;
    let text = match files::read_text(file) {
        Ok(text) => text,
        Err(error) => {
            writeln!(out, "FTL cannot read {file}: {error}")?;
            return Ok(None);
        }
    };
    let validated = match mke::validate(&text) {
        Ok(validated) => validated,
        Err(findings) => {
            for finding in &findings {
                writeln!(out, "ERR {file}: {finding}")?;
            }
            writeln!(out, "FTL MKE would refuse this configuration")?;
            return Ok(None);
        }
    };
    let version = format!("v{}", validated.version);
    if version != release {
        writeln!(
            out,
            "FTL {file}: spec.version is {version}, and this mkectl serves {release} only"
        )?;
        return Ok(None);
    }
    writeln!(
        out,
        "INF Configuration accepted: {}, {version}",
        environment::count(validated.hosts.len(), "host")
    )?;
    let lock = match bundle::Lock::read(lock) {
        Ok(lock) => lock,
        Err(error) => {
            writeln!(out, "FTL cannot read the rehearsal's lock: {error}")?;
            return Ok(None);
        }
    };
    if !pull_all(&lock, &validated, out).await? {
        writeln!(out, "FTL Nodes could not pull everything")?;
        return Ok(None);
    }
    Ok(Some(validated))
}

/// Prints the stand-in's answer to `mkectl upgrade --help`: the flags of the release according to
/// `releases.yaml`.
///
/// # Errors
/// `out` cannot be written.
pub fn upgrade_help(release: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let facts = release
        .strip_prefix('v')
        .and_then(|version| version.parse().ok())
        .and_then(|version| mke::Release::of(&version).ok())
        .map(|release| release.facts())
        .unwrap_or_default();
    writeln!(out, "Usage:\n  mkectl upgrade [flags]\n\nFlags:")?;
    for flag in ["--file", "--upgrade-version", "--release-matrix"] {
        writeln!(out, "      {flag} string")?;
    }
    let of_upgrade = facts.iter().filter(|fact| fact.subject == "gateway ports");
    for fact in of_upgrade {
        let words = fact.value.split([' ', ',']);
        for flag in words.filter(|word| word.starts_with("--")) {
            writeln!(out, "      {flag} string")?;
        }
    }
    Ok(())
}

/// Executes the stand-in's `mkectl backup -f FILE --name NAME`, and returns the exit code.
///
/// # Errors
/// `out` cannot be written.
pub fn backup(release: &str, name: &str, out: &mut dyn Write) -> std::io::Result<u8> {
    writeln!(
        out,
        "INF Rehearsal of mkectl {release}: a real one would write the backup {name} here, which it alone restores"
    )?;
    Ok(0)
}

/// The arguments of the stand-in's `mkectl upgrade`.
#[derive(Debug)]
pub struct Upgrading<'a> {
    /// The release that is upgraded to, `v4.1.5`.
    pub to: &'a str,
    /// The configuration's file.
    pub file: &'a Utf8Path,
    /// The release matrix's file.
    pub release_matrix: Option<&'a Utf8Path>,
}

/// Executes the stand-in's `mkectl upgrade`, and returns the exit code.
///
/// # Errors
/// `out` cannot be written.
pub async fn upgrade(
    release: &str,
    lock: &Utf8Path,
    upgrading: &Upgrading<'_>,
    out: &mut (dyn Write + Send),
) -> std::io::Result<u8> {
    if upgrading.to != release {
        writeln!(
            out,
            "FTL --upgrade-version is {}, and this mkectl serves {release} only",
            upgrading.to
        )?;
        return Ok(1);
    }
    let matrix = upgrading.release_matrix.map(files::read);
    if !matches!(matrix, Some(Ok(_))) {
        writeln!(
            out,
            "FTL an upgrade without internet requires a release matrix"
        )?;
        return Ok(1);
    }
    writeln!(out, "INF Rehearsal of the upgrade to {release}")?;
    // The registry must have the new release, as it had the old one.
    let Some(validated) = check_and_pull(release, lock, upgrading.file, out).await? else {
        return Ok(1);
    };
    write_hosts("upgrade", &validated, out)?;
    writeln!(
        out,
        "INF Rehearsal complete: mkectl would upgrade to {release}"
    )?;
    Ok(0)
}

/// Pulls every artifact of the lock as nodes do: images from the image registry, charts from the
/// chart registry. Prints each failure, and returns false if there is one.
async fn pull_all(
    lock: &bundle::Lock,
    validated: &mke::Validated,
    out: &mut (dyn Write + Send),
) -> std::io::Result<bool> {
    let mut bytes = 0;
    let mut complete = true;
    let pulls = futures_util::stream::iter(&lock.artifacts).map(async |artifact| {
        let (url, ca_pem) = match artifact.kind {
            bundle::Kind::Chart => (&validated.chart_registry, &validated.chart_ca),
            bundle::Kind::Image | bundle::Kind::Artifact => {
                (&validated.image_registry, &validated.image_ca)
            }
        };
        let url = url.strip_prefix("oci://").unwrap_or(url);
        (artifact, pull(url, ca_pem.as_deref(), artifact).await)
    });
    // Concurrently: a registry that does not answer is retried for seconds per artifact.
    let mut pulls = std::pin::pin!(pulls.buffered(PULLS_AT_ONCE));
    while let Some((artifact, pulled)) = pulls.next().await {
        match pulled {
            Ok(pulled) => bytes += pulled,
            Err(error) => {
                complete = false;
                writeln!(
                    out,
                    "ERR {}: {}",
                    artifact.reference(),
                    crate::chain(&error)
                )?;
            }
        }
    }
    if complete {
        writeln!(
            out,
            "INF Pulled {}, {bytes} bytes, without credentials",
            environment::count(lock.artifacts.len(), "artifact")
        )?;
    }
    Ok(complete)
}

/// Pulls one artifact from a registry of the configuration. Returns the bytes of its blobs.
async fn pull(
    url: &str,
    ca_pem: Option<&str>,
    artifact: &bundle::Artifact,
) -> Result<u64, registry::Error> {
    let (address, project) = url.split_once('/').unwrap_or((url, ""));
    let repository = match project {
        "" => artifact.repository.clone(),
        project => format!("{project}/{}", artifact.repository),
    };
    let endpoint = registry::Endpoint::new(address, ca_pem)?;
    // Not oci-client: its client cannot be made on a machine without CA certificates.
    let nodes = registry::Registry::new(endpoint, registry::Credentials::Anonymous)?;
    let root = nodes.get_manifest(&repository, &artifact.tag).await?;
    if root.digest != artifact.digest {
        return Err(registry::Error::NodeContent {
            address: address.to_owned(),
            reference: format!("{repository}:{}", artifact.tag),
            fault: registry::NodeFault::Digest {
                found: root.digest,
                locked: artifact.digest.clone(),
            },
        });
    }
    let mut bytes = 0;
    let mut read = std::collections::HashSet::new();
    for manifest in &artifact.manifests {
        let digest = manifest.digest.as_ref();
        let _ = nodes.get_manifest(&repository, digest).await?;
        for blob in manifest.blobs.iter().filter(|it| read.insert(&it.digest)) {
            let reader = nodes.get_blob(&repository, &blob.digest, blob.size);
            let mut reader = reader.await?;
            while let Some(chunk) = reader.next().await? {
                bytes += chunk.len() as u64;
            }
        }
    }
    Ok(bytes)
}
