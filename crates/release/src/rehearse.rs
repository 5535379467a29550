//! Rehearsals: a deploy against an embedded registry on loopback and a stand-in for mkectl. The
//! environment's own registry and cluster are not touched.
//!
//! The stand-in is Airlock's own executable, run by the `programs` crate with [`COMMAND`] in front
//! of mkectl's arguments. It checks the file as MKE would, pulls every artifact without credentials
//! through the URLs in that file, and reports that it is a rehearsal.

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
use crate::workspace::{Output, remove_if_there};
use crate::{Context, Workspace, demo, workspace};

mod error;

pub use error::Error;

pub use programs::STAND_IN as COMMAND;

/// How many artifacts the stand-in pulls concurrently.
const PULLS_AT_ONCE: usize = 16;

/// Starts the embedded registry of an environment that is a rehearsal; does nothing for others.
/// The registry serves until the answer is dropped, and keeps its content for the next time.
///
/// # Errors
/// Its address is not an IP address on loopback, or is in use.
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

/// Starts the embedded registry of an environment like [`serve`], for a command that reads: nothing
/// is written to the workspace. A registry that was never filled is an empty one in memory.
///
/// # Errors
/// Those of [`serve`].
pub async fn serve_for_reading(
    workspace: &Workspace,
    environment: &Environment,
) -> Result<Option<Embedded>, crate::Error> {
    let address = &environment.registry.address;
    match address.parse() {
        Ok(socket) if environment.rehearsal && !content(workspace, &environment.name).exists() => {
            let started = Embedded::start(socket, None).await;
            started.map(Some).map_err(|source| {
                crate::Error::Rehearse(Error::Registry {
                    address: address.clone(),
                    source,
                })
            })
        }
        _ => serve(workspace, environment).await,
    }
}

/// Returns the folder that keeps what a rehearsal's registry has.
fn content(workspace: &Workspace, name: &str) -> camino::Utf8PathBuf {
    workspace.rehearsal(name).join("registry")
}

async fn start(
    workspace: &Workspace,
    name: &str,
    address: SocketAddr,
) -> Result<Embedded, crate::Error> {
    let directory = content(workspace, name);
    Embedded::start(address, Some(&directory))
        .await
        .map_err(|source| {
            crate::Error::Rehearse(Error::Registry {
                address: address.to_string(),
                source,
            })
        })
}

/// A rehearsal that is ready to run: its plan, and the registry that serves as long as this lives.
#[derive(Debug)]
pub struct Rehearsal {
    /// What it will do.
    pub plan: Plan,
    /// The release of the demo's bundle, if it replaces the environment's own, which is missing.
    pub stand_in: Option<String>,
    _registry: Embedded,
}

/// Prepares the rehearsal of an environment: the same files, with the registry's address and mkectl
/// exchanged, and with all results below `bundles/rehearsal/`.
///
/// # Errors
/// What [`plan::plan`] returns, or the embedded registry cannot be started.
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
    remove_if_there(&output.receipt)?;
    // If the environment's own cluster runs an earlier release, an upgrade is rehearsed.
    let real = Output::below(&context.workspace.environment(&environment.name));
    let applied = Receipt::read(&real.receipt)?.and_then(|receipt| receipt.applied);
    if applied.is_some() {
        // It was migrated.
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

/// Has the environment's own mkectl check what is rendered for it, where it is at hand.
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
        // A rehearsal needs neither that mkectl nor a lock nor secrets.
        _ => Ok(()),
    }
}

/// Runs a rehearsal, and returns what it came to with the plan that it executed.
///
/// # Errors
/// What [`deploy::deploy`] returns.
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

/// Returns what can be rehearsed without a download: the release, or the demo's in its place, and
/// sets that are in the store.
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

/// Returns the lock of the release if its bundle is on this machine, else the demo's: a rehearsal
/// downloads nothing.
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

/// What the stand-in answers to `mkectl version`.
pub fn version(release: &str, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "Version: {release}")?;
    writeln!(
        out,
        "Rehearsal: this stands in for mkectl and changes no cluster."
    )
}

/// What the stand-in does on `mkectl apply -f FILE`: returns the exit code.
///
/// # Errors
/// Its output cannot be written.
pub async fn apply(
    release: &str,
    lock: &Utf8Path,
    file: &Utf8Path,
    out: &mut (dyn Write + Send),
) -> std::io::Result<u8> {
    let Some(validated) = check_and_pull(release, lock, file, out).await? else {
        return Ok(1);
    };
    for host in &validated.hosts {
        writeln!(
            out,
            "INF Would install {} on {}",
            host.role, host.ssh.address
        )?;
    }
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

/// Checks the configuration as MKE would, and pulls everything as nodes would; none if something is
/// wrong, which is printed.
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

/// What the stand-in answers to `mkectl upgrade --help`: the flags that the table of releases knows
/// of this one.
///
/// # Errors
/// Its output cannot be written.
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

/// What the stand-in does on `mkectl backup -f FILE --name NAME`: returns the exit code.
///
/// # Errors
/// Its output cannot be written.
pub fn backup(release: &str, name: &str, out: &mut dyn Write) -> std::io::Result<u8> {
    writeln!(
        out,
        "INF Rehearsal of mkectl {release}: a real one would write the backup {name} here, which it alone restores"
    )?;
    Ok(0)
}

/// What `mkectl upgrade` was given.
#[derive(Debug)]
pub struct Upgrading<'a> {
    /// The release to come to.
    pub to: &'a str,
    /// The configuration's file.
    pub file: &'a Utf8Path,
    /// The release matrix.
    pub release_matrix: Option<&'a Utf8Path>,
}

/// What the stand-in does on `mkectl upgrade`: returns the exit code.
///
/// # Errors
/// Its output cannot be written.
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
    // The new release has to be where the old one was, whatever else an upgrade does.
    let Some(validated) = check_and_pull(release, lock, upgrading.file, out).await? else {
        return Ok(1);
    };
    for host in &validated.hosts {
        writeln!(
            out,
            "INF Would upgrade {} on {}",
            host.role, host.ssh.address
        )?;
    }
    writeln!(
        out,
        "INF Rehearsal complete: mkectl would upgrade to {release}"
    )?;
    Ok(0)
}

/// Pulls every artifact of the lock as nodes do: images from the image registry, charts from the
/// chart registry. Returns false if something could not be pulled.
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
    // A registry that does not answer is retried for seconds: one artifact after the other, that
    // takes minutes.
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

/// Pulls one artifact from a registry of the configuration and returns its bytes.
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
    // Not oci-client, which cannot be set up on a machine without CA certificates.
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
