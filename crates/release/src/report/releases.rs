//! Lists the recorded facts of releases, with their certainty and sources.

use std::collections::BTreeMap;

use mke::{Certainty, Release, Support};
use semver::Version;
use serde::Serialize;

use crate::workspace::DEFAULT_ARCH;
use crate::{Error, Workspace};

/// One release of the table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// The release, `v4.1.5`.
    pub release: String,
    /// Whether the vendor publishes a checksum of its bundle.
    pub checksum: Answer,
    /// Whether nodes trust a registry with a private certificate authority.
    pub private_ca: Answer,
    /// Whether nodes pull without credentials only.
    pub anonymous_pull: Answer,
    /// Whether `apiServer.externalAddress` must be set.
    pub external_address: Answer,
    /// For how many platforms the hash of its mkectl is known.
    pub mkectl_hashes: usize,
    /// Its known faults.
    pub faults: Vec<String>,
    /// How many of the facts about it are known how well.
    pub certainties: Certainties,
}

/// How many facts there are of each certainty, by name. Together they are all facts.
pub type Certainties = BTreeMap<&'static str, usize>;

/// A short answer and how well it is known.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// The answer.
    pub value: &'static str,
    /// `documented`, `inferred`, `unverified` or `observed`.
    pub certainty: &'static str,
}

/// Everything that is known of one release.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReleaseFacts {
    /// The release, `v4.1.5`.
    pub release: String,
    /// Whether the table has it; otherwise the newest release before it is used.
    pub is_known: bool,
    /// How many of the facts are known how well.
    pub certainties: Certainties,
    /// What is known.
    pub facts: Vec<Fact>,
    /// Where its mkectl is, by platform.
    pub mkectl: Vec<Mkectl>,
    /// What an operator should know before installing it.
    pub warnings: Vec<String>,
}

/// Something that is known.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fact {
    /// What it is about.
    pub subject: &'static str,
    /// What is known, names and addresses in full.
    pub value: String,
    /// `documented`, `inferred`, `unverified` or `observed`.
    pub certainty: &'static str,
    /// The addresses of the documents that say so.
    pub sources: Vec<String>,
    /// What overrides it, where something does: an option of a command, or a key of
    /// `environment.yaml`.
    #[serde(rename = "override")]
    pub overridden_by: Option<&'static str>,
}

/// A download of mkectl.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mkectl {
    /// System and machine, as in `linux-x86_64`.
    pub platform: &'static str,
    /// Its address.
    pub url: String,
    /// The SHA-256 of the download, where the vendor has published one.
    pub sha256: Option<&'static str>,
}

/// What a team's file adds to the table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overlaid {
    /// The file, relative to the workspace.
    pub file: camino::Utf8PathBuf,
    /// The releases that it adds, `v4.2.2`.
    pub added: Vec<String>,
    /// The releases of the table of which it replaces facts.
    pub changed: Vec<String>,
    /// What it says differently from documented facts, with places.
    pub warnings: Vec<String>,
}

/// Checks the file of a team, and returns what it adds; none if it does not exist.
///
/// # Errors
/// What is wrong with it.
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

/// Returns the table, oldest release first.
///
/// # Errors
/// A file of observations cannot be used.
pub fn all(workspace: &Workspace) -> Result<Vec<Row>, Error> {
    let versions = mke::releases();
    let releases = versions.iter().map(|it| workspace.release(it.version()));
    releases.map(|release| Ok(row(&release?))).collect()
}

/// Returns what is known of one release.
///
/// # Errors
/// It has no offline installation.
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

/// Returns whether a fact is shown as one. The downloads have the address of mkectl in full.
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
