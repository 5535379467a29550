//! What one release is called, where its parts are, and what it asks for.
//!
//! A release is a row of the table, and one code path serves them all. A version without a row is
//! not refused: the vendor will release after this was built, and the patterns have held for a
//! while.

use std::collections::BTreeMap;
use std::sync::Arc;

use environment::Facts;
pub use environment::keys::Certainty;
use semver::{BuildMetadata, Prerelease, Version};
use serde::Deserialize;

use crate::observations::Observations;
use crate::table::{Fault, Row, Since, Sourced, at, table};
use crate::{migration, upgrade};

/// One release of MKE 4k, or a version for which the newest release before it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    version: Version,
    row: &'static Row,
    /// What people know better than the row.
    facts: Facts,
    /// What was observed of the release.
    observed: Option<Arc<Observations>>,
}

/// Why a version cannot be installed with this tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The vendor documents no offline installation for it.
    #[error(
        "v{version} has no documented offline installation; the first release with one is v{oldest}"
    )]
    NoOfflineInstallation {
        /// The version that was asked for.
        version: Version,
        /// The first release that can be installed offline.
        oldest: Version,
    },
}

/// Whether a release does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// It does.
    #[serde(rename = "supported")]
    Yes,
    /// It does not.
    #[serde(rename = "unsupported")]
    No,
    /// Sources differ or are silent.
    Unverified,
}

/// A `mkectl` to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// System and machine, as in `linux-x86_64`.
    pub platform: &'static str,
    /// The address of a `.tar.gz` that holds the program `mkectl` at its root.
    pub url: String,
    /// The SHA-256 of the archive in hexadecimal, where the vendor has published one.
    pub sha256: Option<&'static str>,
}

/// Something that is known of a release, with where it is known from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about, such as `bundle`.
    pub subject: &'static str,
    /// What is known.
    pub value: String,
    /// How well.
    pub certainty: Certainty,
    /// The addresses of the documents that say so.
    pub sources: Vec<String>,
}

/// What a release needs of each machine of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeRequirements {
    /// The operating systems that are known to work, each as ID and VERSION_ID of
    /// `/etc/os-release`: `rhel 8.10`.
    pub systems: &'static [String],
    /// The least number of processors.
    pub processors: u64,
    /// The least memory, in bytes.
    pub memory: u64,
    /// Whether k0s runs with version 2 of cgroups only.
    pub cgroup_2: bool,
    /// Whether the release runs under an enforcing SELinux.
    pub selinux: bool,
    /// The least value of `fs.inotify.max_user_instances`.
    pub inotify_instances: u64,
    /// The least value of `fs.inotify.max_user_watches`.
    pub inotify_watches: u64,
}

impl Release {
    /// Returns what is known of a version.
    ///
    /// A pre-release takes the facts of the release that it leads to, except for hashes, which are
    /// those of one build. A version that is not in the table takes the patterns of the newest
    /// release before it, and [`Release::warnings`] says so.
    ///
    /// # Errors
    ///
    /// For versions before the first that has an offline installation.
    pub fn of(version: &Version) -> Result<Self, ReleaseError> {
        let wanted = version_core(version);
        match table().releases.iter().rfind(|row| row.version <= wanted) {
            Some(row) => Ok(Self {
                version: version.clone(),
                row,
                facts: Facts::default(),
                observed: None,
            }),
            None => Err(ReleaseError::NoOfflineInstallation {
                version: version.clone(),
                oldest: table().releases[0].version.clone(),
            }),
        }
    }

    /// Returns the release with facts that the operator states, which override the table, and
    /// without a warning that they are unverified. [`Release::facts`] still returns what the table
    /// says.
    #[must_use]
    pub fn with_facts(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    /// Returns the release as it was observed: that counts more than the table, and less than what
    /// an environment's `facts` say.
    #[must_use]
    pub fn with_observations(self, observations: Observations) -> Self {
        Self {
            observed: Some(Arc::new(observations)),
            ..self
        }
    }

    /// Returns what was observed of the release.
    pub fn observations(&self) -> Option<&Observations> {
        self.observed.as_deref()
    }

    /// Returns the version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Returns whether the table has a row for this version, or for the release that this
    /// pre-release leads to.
    pub fn is_known(&self) -> bool {
        version_core(&self.version) == self.row.version
    }

    /// Returns the file name of the bundle. `arch` is the vendor's word, `amd64`; v4.1.0 has one
    /// bundle without it.
    pub fn bundle_file(&self, arch: &str) -> String {
        match self.observed_bundle(arch) {
            Some(bundle) => bundle.file.clone(),
            None => self.bundle_pattern(arch),
        }
    }

    /// Returns the file name of the bundle by the table alone.
    pub(crate) fn bundle_pattern(&self, arch: &str) -> String {
        self.fill(&self.row.bundle.value, arch)
    }

    /// Returns the address of the bundle. It can be downloaded without credentials.
    pub fn bundle_url(&self, arch: &str) -> String {
        self.fill(&table().bundle_url.value, arch)
    }

    /// Returns the address of the bundle's checksum, a line in the format of `sha256sum`. v4.1.0
    /// has none.
    pub fn checksum_url(&self, arch: &str) -> Option<String> {
        let pattern = self.row.checksum.value.as_ref()?;
        Some(self.fill(pattern, arch))
    }

    /// Returns the `mkectl` of this release for each platform that the vendor builds it for.
    pub fn mkectl(&self) -> Vec<Download> {
        PLATFORMS
            .iter()
            .map(|(platform, system, machine)| Download {
                platform,
                url: self
                    .fill(&table().mkectl_url.value, "")
                    .replace("{system}", system)
                    .replace("{machine}", machine),
                sha256: self
                    .row
                    .mkectl
                    .sha256
                    .get(*platform)
                    .map(String::as_str)
                    .filter(|_| self.version == self.row.version),
            })
            .collect()
    }

    /// Returns whether nodes trust a registry whose certificate is of a private authority, given
    /// with `caData`.
    pub fn private_ca(&self) -> Support {
        match self.facts.private_ca {
            Some(true) => Support::Yes,
            Some(false) => Support::No,
            None => self.row.private_ca.value,
        }
    }

    /// Returns whether nodes pull without credentials only, so the registry must allow it.
    pub fn anonymous_pull_required(&self) -> bool {
        let known = self.row.anonymous_pull_required.value;
        let seen = self
            .observations()
            .and_then(Observations::anonymous_pull_required);
        (self.facts.anonymous_pull.or(seen)).unwrap_or(known)
    }

    /// Returns how well [`Release::anonymous_pull_required`] is known without an environment's
    /// `facts`.
    pub(crate) fn anonymous_pull_certainty(&self) -> Certainty {
        let seen = self
            .observations()
            .and_then(Observations::anonymous_pull_required);
        match seen {
            Some(_) => Certainty::Observed,
            None => self.row.anonymous_pull_required.certainty,
        }
    }

    /// Returns whether `spec.apiServer.externalAddress` must be set.
    pub fn external_address_required(&self) -> bool {
        let known = self.row.external_address_required.value;
        self.facts.external_address.unwrap_or(known)
    }

    /// Returns what it needs of each machine.
    pub fn node_requirements(&self) -> NodeRequirements {
        let (nodes, release) = (&table().nodes, &version_core(&self.version));
        NodeRequirements {
            systems: &at(&nodes.systems, release).value,
            processors: at(&nodes.processors, release).value,
            memory: at(&nodes.memory, release).value,
            cgroup_2: at(&nodes.cgroup_2, release).value,
            selinux: at(&nodes.selinux, release).value,
            inotify_instances: at(&nodes.inotify_instances, release).value,
            inotify_watches: at(&nodes.inotify_watches, release).value,
        }
    }

    /// Returns about how many bytes its bundle has. The content takes as much again in the store,
    /// and once more in the registry.
    pub fn bundle_size(&self) -> u64 {
        table().bundle_size.value
    }

    /// Returns what an operator should know before an installation: that the release is not in the
    /// table, its known faults, and the facts that are unverified. Each is a fragment for one line,
    /// without a final stop.
    pub fn warnings(&self) -> Vec<String> {
        let version = &self.version;
        if !self.is_known() {
            // Faults are of one release, and everything else about this one is a guess, as this
            // line says.
            return vec![format!(
                "v{version} is unknown to this version of Airlock; the names and rules of v{} are used",
                self.row.version
            )];
        }
        let is_unverified = self.anonymous_pull_certainty() == Certainty::Unverified
            && self.facts.anonymous_pull.is_none();
        let unverified = is_unverified.then(|| {
            format!(
                "v{version}: it is unverified whether nodes can pull with credentials; the registry is expected to allow \
                 pulling without. If you know the answer, write `facts: {{ anonymous-pull: required }}`, or `optional`"
            )
        });
        // An unverified private CA matters only to those who have one; rendering warns them.
        self.faults().into_iter().chain(unverified).collect()
    }

    /// Returns those of the warnings that are known issues of the release: no file of a workspace
    /// can fix them.
    pub fn faults(&self) -> Vec<String> {
        if !self.is_known() {
            return Vec::new();
        }
        let faults = self.row.faults.iter();
        let warning = |fault: &Fault| format!("v{}: {}; {}", self.version, fault.what, fault.fix);
        faults.map(warning).collect()
    }

    /// The row of the table that the answers come from.
    pub(crate) fn row(&self) -> &'static Row {
        self.row
    }

    /// Returns everything in the table about this release, with its sources.
    pub fn facts(&self) -> Vec<Fact> {
        let row = self.row;
        let mkectl = match row.mkectl.sha256.len() {
            0 => "no published hashes".to_owned(),
            hashes => format!("hashes for {hashes} platforms"),
        };
        let mut facts = vec![
            row.bundle.to_fact("bundle", |name| name.clone()),
            table()
                .bundle_url
                .to_fact("bundle address", |url| url.clone()),
            row.checksum.to_fact("checksum", |url| {
                url.clone().unwrap_or_else(|| "none".to_owned())
            }),
            row.private_ca.to_fact("private CA", |support| {
                match support {
                    Support::Yes => "supported",
                    Support::No => "unsupported",
                    Support::Unverified => "unverified",
                }
                .to_owned()
            }),
            row.anonymous_pull_required
                .to_fact("anonymous pull", |required| required_or_not(*required)),
            row.external_address_required
                .to_fact("externalAddress", |required| required_or_not(*required)),
            fact("mkectl", mkectl, row.mkectl.certainty, &row.mkectl.source),
            table()
                .mkectl_url
                .to_fact("mkectl address", |url| url.clone()),
            table().bundle_size.to_fact("bundle size", |bytes| {
                format!("about {}, packed and unpacked alike", gigabytes(*bytes))
            }),
        ];
        facts.extend(self.node_facts());
        facts.extend(table().write_once.iter().map(|kept| {
            let value = format!("{}: {}", kept.key, kept.rule);
            self::fact("write-once", value, kept.certainty, &kept.source)
        }));
        facts.extend(upgrade::facts(row));
        facts.extend(migration::facts(row));
        facts.extend(row.faults.iter().map(|fault| {
            let value = format!("{}; {}", fault.what, fault.fix);
            self::fact("known issue", value, fault.certainty, &fault.source)
        }));
        facts.extend(
            table()
                .layout
                .all()
                .map(|(subject, known)| known.to_fact(subject, String::clone)),
        );
        self.overlay(&mut facts);
        facts
    }

    /// Puts what was observed in the place of what the table has.
    fn overlay(&self, facts: &mut Vec<Fact>) {
        let Some(observed) = self.observations() else {
            return;
        };
        let mut seen: Vec<(&'static str, String)> = Vec::new();
        for bundle in observed.bundles.values() {
            seen.push(("bundle", bundle.file.clone()));
            let inside = bundle.layout().into_iter();
            seen.extend(inside.map(|(subject, value, _)| (subject, value)));
        }
        if let Some(required) = observed.anonymous_pull_required() {
            seen.push(("anonymous pull", required_or_not(required)));
        }
        let source = format!("environments/facts/{}.yaml", observed.release);
        let mut done = Vec::new();
        for (subject, value) in seen {
            // Two architectures: the first takes the row of the table, the other gets a row of its
            // own.
            let row = facts.iter_mut().find(|fact| fact.subject == subject);
            let new = Fact {
                subject,
                value,
                certainty: Certainty::Observed,
                sources: vec![source.clone()],
            };
            match row.filter(|_| !done.contains(&subject)) {
                Some(row) => *row = new,
                None => facts.push(new),
            }
            done.push(subject);
        }
    }

    fn observed_bundle(&self, arch: &str) -> Option<&crate::observations::ObservedBundle> {
        self.observations()?.bundles.get(arch)
    }

    fn node_facts(&self) -> [Fact; 7] {
        let (nodes, release) = (&table().nodes, &version_core(&self.version));
        let yes_or_no =
            |what: &str, yes: &bool| format!("{what}: {}", if *yes { "yes" } else { "no" });
        let at_least = |what: &str, least: &u64| format!("{what}: {least} or more");
        [
            at(&nodes.systems, release)
                .to_fact(|systems| format!("operating systems: {}", systems.join(", "))),
            at(&nodes.processors, release).to_fact(|least| at_least("processors", least)),
            at(&nodes.memory, release)
                .to_fact(|least| format!("memory: {} or more", gigabytes(*least))),
            at(&nodes.cgroup_2, release).to_fact(|yes| yes_or_no("requires cgroup v2", yes)),
            at(&nodes.selinux, release).to_fact(|yes| yes_or_no("SELinux may be enforcing", yes)),
            at(&nodes.inotify_instances, release)
                .to_fact(|least| at_least("fs.inotify.max_user_instances", least)),
            at(&nodes.inotify_watches, release)
                .to_fact(|least| at_least("fs.inotify.max_user_watches", least)),
        ]
    }

    fn fill(&self, pattern: &str, arch: &str) -> String {
        // The file first: its own pattern has the other two in it.
        let with_file = match pattern.contains("{file}") {
            true => pattern.replace("{file}", &self.row.bundle.value),
            false => pattern.to_owned(),
        };
        with_file
            .replace("{version}", &format!("v{}", self.version))
            .replace("{arch}", arch)
    }
}

/// Returns the table, oldest release first.
pub fn releases() -> Vec<Release> {
    table()
        .releases
        .iter()
        .map(|row| Release {
            version: row.version.clone(),
            row,
            facts: Facts::default(),
            observed: None,
        })
        .collect()
}

/// The platforms that the vendor builds `mkectl` for: our name, and the two parts of the file's
/// name.
const PLATFORMS: &[(&str, &str, &str)] = &[
    ("linux-x86_64", "linux", "x86_64"),
    ("darwin-x86_64", "darwin", "x86_64"),
    ("darwin-arm64", "darwin", "arm64"),
];

impl<T> Sourced<T> {
    pub(crate) fn to_fact(&self, subject: &'static str, show: impl Fn(&T) -> String) -> Fact {
        fact(subject, show(&self.value), self.certainty, &self.source)
    }
}

impl<T> Since<T> {
    fn to_fact(&self, show: impl Fn(&T) -> String) -> Fact {
        fact("nodes", show(&self.value), self.certainty, &self.source)
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{} GB", bytes / 1_000_000_000)
}

pub(crate) fn fact(
    subject: &'static str,
    value: String,
    certainty: Certainty,
    source: &[String],
) -> Fact {
    Fact {
        subject,
        value,
        certainty,
        sources: sources(source),
    }
}

/// Returns the addresses behind short names of documents.
pub(crate) fn sources(names: &[String]) -> Vec<String> {
    let addresses = names.iter();
    addresses
        .filter_map(|name| address(&table().sources, name))
        .collect()
}

/// Returns the address of a document: that of its name, that of a name and what follows it after a
/// slash, or the address itself.
pub(crate) fn address(sources: &BTreeMap<String, String>, name: &str) -> Option<String> {
    if let Some(address) = sources.get(name) {
        return Some(address.clone());
    }
    if name.starts_with("https://") {
        return Some(name.to_owned());
    }
    let (name, path) = name.split_once('/')?;
    Some(format!("{}/{path}", sources.get(name)?))
}

fn required_or_not(required: bool) -> String {
    if required { "required" } else { "not required" }.to_owned()
}

/// Returns the release that a pre-release leads to; a release is its own.
pub(crate) fn version_core(version: &Version) -> Version {
    Version {
        pre: Prerelease::EMPTY,
        build: BuildMetadata::EMPTY,
        ..version.clone()
    }
}

#[cfg(test)]
mod tests;
