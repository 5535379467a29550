//! Lists the recorded facts of releases, with their certainty and sources.

use std::collections::BTreeMap;

use mke::{Certainty, Release, Support};
use semver::Version;
use serde::Serialize;

use crate::workspace::DEFAULT_ARCH;
use crate::{Error, Workspace};

/// A release in the overview.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// The release, `v4.1.5`.
    pub release: String,
    /// Whether the vendor publishes a checksum of its bundle.
    pub checksum: Answer,
    /// Whether nodes trust a registry with a private certificate authority.
    pub private_ca: Answer,
    /// Whether nodes can only pull without credentials.
    pub anonymous_pull: Answer,
    /// Whether `apiServer.externalAddress` must be set.
    pub external_address: Answer,
    /// Number of platforms with a published hash of mkectl.
    pub mkectl_hashes: usize,
    /// Known issues.
    pub faults: Vec<String>,
    /// Number of facts by certainty.
    pub certainties: Certainties,
}

/// Number of facts by the name of their certainty.
pub type Certainties = BTreeMap<&'static str, usize>;

/// A short answer with its certainty.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// The answer.
    pub value: &'static str,
    /// `documented`, `inferred`, `unverified` or `observed`.
    pub certainty: &'static str,
}

/// The recorded facts of a release.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReleaseFacts {
    /// The release, `v4.1.5`.
    pub release: String,
    /// Whether Airlock records facts of this release; otherwise they are those of the newest
    /// release before it.
    pub is_known: bool,
    /// Number of facts by certainty.
    pub certainties: Certainties,
    /// The facts.
    pub facts: Vec<Fact>,
    /// Downloads of mkectl, by platform.
    pub mkectl: Vec<Mkectl>,
    /// Warnings for operators before an installation.
    pub warnings: Vec<String>,
}

/// A recorded fact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fact {
    /// Subject, such as `private CA`.
    pub subject: &'static str,
    /// The fact, with complete names and URLs.
    pub value: String,
    /// `documented`, `inferred`, `unverified` or `observed`.
    pub certainty: &'static str,
    /// Sources, as URLs or short names.
    pub sources: Vec<String>,
    /// Option of a command or key of `environment.yaml` that overrides the fact, if any.
    #[serde(rename = "override")]
    pub overridden_by: Option<&'static str>,
}

/// A download of mkectl.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mkectl {
    /// System and machine, as in `linux-x86_64`.
    pub platform: &'static str,
    /// URL of the download.
    pub url: String,
    /// SHA-256 that the vendor publishes for the download, if any.
    pub sha256: Option<&'static str>,
}

/// The contents of a team's file of release facts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overlaid {
    /// The file, relative to the workspace.
    pub file: camino::Utf8PathBuf,
    /// The releases that it adds, `v4.2.2`.
    pub added: Vec<String>,
    /// Known releases of which it changes facts.
    pub changed: Vec<String>,
    /// Contradictions to documented facts, with their places in the file.
    pub warnings: Vec<String>,
}

/// Validates a team's file of release facts and returns what it adds; `None` if it does not exist.
///
/// # Errors
/// The file is not valid.
pub fn check(workspace: &Workspace) -> Result<Option<Overlaid>, Error> {
    let overlay = workspace.overlay_releases()?;
    let names = |versions: &[Version]| versions.iter().map(|it| format!("v{it}")).collect();
    Ok(overlay.map(|overlay| Overlaid {
        file: workspace.shown(&workspace.releases()).to_owned(),
        added: names(&overlay.added),
        changed: names(&overlay.changed),
        warnings: overlay.warnings.iter().map(ToString::to_string).collect(),
    }))
}

/// Returns all known releases, oldest first.
///
/// # Errors
/// A file of observations cannot be used.
pub fn all(workspace: &Workspace) -> Result<Vec<Row>, Error> {
    let versions = mke::releases();
    let releases = versions.iter().map(|it| workspace.release(it.version()));
    releases.map(|release| Ok(row(&release?))).collect()
}

/// Returns the facts of a release.
///
/// # Errors
/// The release has no offline installation.
pub fn one(workspace: &Workspace, version: &Version) -> Result<ReleaseFacts, Error> {
    let release = workspace.release(version)?;
    let facts = release.facts();
    let certainties = certainties(&facts);
    let facts = facts
        .into_iter()
        .filter(is_shown)
        .map(|fact| Fact {
            value: match fact.subject {
                "bundle" => release.bundle_file(DEFAULT_ARCH),
                "bundle address" => release.bundle_url(DEFAULT_ARCH),
                "checksum" => release
                    .checksum_url(DEFAULT_ARCH)
                    .unwrap_or_else(|| "none".to_owned()),
                _ => fact.value,
            },
            subject: fact.subject,
            certainty: fact.certainty.name(),
            sources: fact.sources,
            overridden_by: match fact.subject {
                "bundle address" => Some("lock --url URL"),
                "checksum" => Some("lock --checksum-url URL"),
                "private CA" => Some("facts: { private-ca: supported|unsupported }"),
                "anonymous pull" => Some("facts: { anonymous-pull: optional|required }"),
                "externalAddress" => Some("facts: { external-address: optional|required }"),
                _ => None,
            },
        })
        .collect();
    Ok(ReleaseFacts {
        release: format!("v{version}"),
        is_known: release.is_known(),
        certainties,
        facts,
        mkectl: release
            .mkectl()
            .into_iter()
            .map(|download| Mkectl {
                platform: download.platform,
                url: download.url,
                sha256: download.sha256,
            })
            .collect(),
        warnings: release.warnings(),
    })
}

fn row(release: &Release) -> Row {
    let facts = release.facts();
    let certainties = certainties(&facts);
    let answer = |subject: &str, value: &'static str| Answer {
        value,
        certainty: facts
            .iter()
            .find(|fact| fact.subject == subject)
            .map_or("unverified", |fact| fact.certainty.name()),
    };
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" };
    Row {
        release: format!("v{}", release.version()),
        checksum: answer(
            "checksum",
            yes_or_no(release.checksum_url(DEFAULT_ARCH).is_some()),
        ),
        private_ca: answer(
            "private CA",
            match release.private_ca() {
                Support::Yes => "supported",
                Support::No => "unsupported",
                Support::Unverified => "unverified",
            },
        ),
        anonymous_pull: answer(
            "anonymous pull",
            required(release.anonymous_pull_required()),
        ),
        external_address: answer(
            "externalAddress",
            required(release.external_address_required()),
        ),
        mkectl_hashes: release
            .mkectl()
            .iter()
            .filter(|download| download.sha256.is_some())
            .count(),
        faults: facts
            .iter()
            .filter(|fact| fact.subject == "known issue")
            .map(|fact| fact.value.clone())
            .collect(),
        certainties,
    }
}

/// Returns whether a fact is listed. The URL of mkectl is not, because it is in the downloads.
fn is_shown(fact: &mke::Fact) -> bool {
    fact.subject != "mkectl address"
}

fn certainties(facts: &[mke::Fact]) -> Certainties {
    let of = |certainty| {
        let same = facts
            .iter()
            .filter(|fact| is_shown(fact) && fact.certainty == certainty);
        (certainty.name(), same.count())
    };
    Certainty::ALL.into_iter().map(of).collect()
}

fn required(yes: bool) -> &'static str {
    if yes { "required" } else { "optional" }
}
