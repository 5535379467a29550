//! The facts of one release: the name of its bundle, its download URLs and its requirements.
//!
//! A release is a row of the table. A version without a row is accepted, because the vendor
//! publishes releases after this program was built. It takes the patterns of the last row before
//! it, which rarely change.

use std::collections::BTreeMap;
use std::sync::Arc;

use environment::Facts;
pub use environment::keys::Certainty;
use semver::{BuildMetadata, Prerelease, Version};
use serde::Deserialize;

use crate::observations::{Observations, ObservedBundle};
use crate::table::{Fault, Row, Since, Sourced, for_release, table};
use crate::{migration, upgrade};

/// A release of MKE 4k. A version without a row uses the newest row before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    version: Version,
    row: &'static Row,
    /// The `facts` of an environment, which override the row.
    facts: Facts,
    /// The observations of `learn`, which override the row.
    observed: Option<Arc<Observations>>,
}

/// The reasons that Airlock cannot install a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The vendor documents no offline installation for it.
    #[error(
        "v{version} has no documented offline installation; the first release with one is v{oldest}"
    )]
    NoOfflineInstallation {
        /// The requested version.
        version: Version,
        /// The first release that can be installed offline.
        oldest: Version,
    },
}

/// Whether a release supports a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// The release supports the feature.
    #[serde(rename = "supported")]
    Yes,
    /// The release does not support the feature.
    #[serde(rename = "unsupported")]
    No,
    /// The sources contradict each other or do not mention the feature.
    Unverified,
}

/// A download of `mkectl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Operating system and architecture, such as `linux-x86_64`.
    pub platform: &'static str,
    /// The URL of a `.tar.gz` with the program `mkectl` at its root.
    pub url: String,
    /// The SHA-256 of the archive in hexadecimal, if the vendor published one.
    pub sha256: Option<&'static str>,
}

/// A fact of a release, with its certainty and its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The subject, such as `bundle`.
    pub subject: &'static str,
    /// The fact itself, as text.
    pub value: String,
    /// The certainty of the fact.
    pub certainty: Certainty,
    /// The addresses of its documents.
    pub sources: Vec<String>,
}

/// The requirements of a release for each machine of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeRequirements {
    /// The supported operating systems, each as ID and VERSION_ID of `/etc/os-release`:
    /// `rhel 8.10`.
    pub systems: &'static [String],
    /// The minimum number of processors.
    pub processors: u64,
    /// The minimum memory, in bytes.
    pub memory: u64,
    /// Whether k0s requires cgroup v2.
    pub cgroup_2: bool,
    /// Whether the release runs under an enforcing SELinux.
    pub selinux: bool,
    /// The minimum value of `fs.inotify.max_user_instances`.
    pub inotify_instances: u64,
    /// The minimum value of `fs.inotify.max_user_watches`.
    pub inotify_watches: u64,
}

impl Release {
    /// Returns the release of a version.
    ///
    /// A pre-release takes the facts of its final release, except for hashes, which belong to one
    /// build. A version without a row takes the patterns of the newest release before it, with a
    /// warning in [`Release::warnings`].
    ///
    /// # Errors
    ///
    /// The version is older than the first release with an offline installation.
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

    /// Sets the `facts` of an environment. They override the table and remove the warnings that
    /// these facts are unverified. [`Release::facts`] still returns the facts of the table.
    #[must_use]
    pub fn with_facts(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    /// Sets the observations of the release. They override the table, and the `facts` of an
    /// environment override them.
    #[must_use]
    pub fn with_observations(self, observations: Observations) -> Self {
        Self {
            observed: Some(Arc::new(observations)),
            ..self
        }
    }

    /// Returns the observations of the release.
    pub fn observations(&self) -> Option<&Observations> {
        self.observed.as_deref()
    }

    /// Returns the version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Returns whether the table has a row for this version, or for the final release of this
    /// pre-release.
    pub fn is_known(&self) -> bool {
        version_core(&self.version) == self.row.version
    }

    /// Returns the file name of the bundle. `arch` is the vendor's name, such as `amd64`. The
    /// bundle of v4.1.0 has no architecture in its name.
    pub fn bundle_file(&self, arch: &str) -> String {
        match self.observed_bundle(arch) {
            Some(bundle) => bundle.file.clone(),
            None => self.bundle_pattern(arch),
        }
    }

    /// Returns the file name of the bundle according to the table, without observations.
    pub(crate) fn bundle_pattern(&self, arch: &str) -> String {
        self.fill(&self.row.bundle.value, arch)
    }

    /// Returns the URL of the bundle, which needs no credentials.
    pub fn bundle_url(&self, arch: &str) -> String {
        self.fill(&table().bundle_url.value, arch)
    }

    /// Returns the URL of the bundle's checksum file, which has one line in the format of
    /// `sha256sum`. v4.1.0 has none.
    pub fn checksum_url(&self, arch: &str) -> Option<String> {
        let pattern = self.row.checksum.value.as_ref()?;
        Some(self.fill(pattern, arch))
    }

    /// Returns the downloads of this release's `mkectl`, one for each platform of the vendor.
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

    /// Returns whether nodes trust a registry with a certificate from the private CA in `caData`.
    pub fn private_ca(&self) -> Support {
        match self.facts.private_ca {
            Some(true) => Support::Yes,
            Some(false) => Support::No,
            None => self.row.private_ca.value,
        }
    }

    /// Returns whether nodes can pull only without credentials. The registry must then allow
    /// anonymous pulls.
    pub fn anonymous_pull_required(&self) -> bool {
        (self.facts.anonymous_pull)
            .or_else(|| self.observed_anonymous_pull())
            .unwrap_or(self.row.anonymous_pull_required.value)
    }

    /// Returns the certainty of [`Release::anonymous_pull_required`] without an environment's
    /// `facts`.
    pub(crate) fn anonymous_pull_certainty(&self) -> Certainty {
        match self.observed_anonymous_pull() {
            Some(_) => Certainty::Observed,
            None => self.row.anonymous_pull_required.certainty,
        }
    }

    /// Returns whether `spec.apiServer.externalAddress` must be set.
    pub fn external_address_required(&self) -> bool {
        (self.facts.external_address).unwrap_or(self.row.external_address_required.value)
    }

    /// Returns the requirements for each machine of the cluster.
    pub fn node_requirements(&self) -> NodeRequirements {
        let (nodes, release) = (&table().nodes, &version_core(&self.version));
        NodeRequirements {
            systems: &for_release(&nodes.systems, release).value,
            processors: for_release(&nodes.processors, release).value,
            memory: for_release(&nodes.memory, release).value,
            cgroup_2: for_release(&nodes.cgroup_2, release).value,
            selinux: for_release(&nodes.selinux, release).value,
            inotify_instances: for_release(&nodes.inotify_instances, release).value,
            inotify_watches: for_release(&nodes.inotify_watches, release).value,
        }
    }

    /// Returns the approximate size of the bundle in bytes. Its content takes the same space in the
    /// store, and again in the registry.
    pub fn bundle_size(&self) -> u64 {
        table().bundle_size.value
    }

    /// Returns the warnings before an installation: that the release has no row, its known issues,
    /// and its unverified facts. Each is a fragment of one line, without a full stop.
    pub fn warnings(&self) -> Vec<String> {
        let version = &self.version;
        if !self.is_known() {
            // Known issues and certainties belong to the row of a different release.
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
        // `render` warns of an unverified private CA, if the environment has one.
        self.known_issues().into_iter().chain(unverified).collect()
    }

    /// Returns the warnings about known issues of the release, which no file of a workspace can
    /// fix.
    pub fn known_issues(&self) -> Vec<String> {
        if !self.is_known() {
            return Vec::new();
        }
        let warning = |fault: &Fault| format!("v{}: {}; {}", self.version, fault.what, fault.fix);
        self.row.faults.iter().map(warning).collect()
    }

    /// Returns the row with the facts of this release.
    pub(crate) fn row(&self) -> &'static Row {
        self.row
    }

    /// Returns all facts of the table about this release, overridden by its observations.
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
        self.override_with_observations(&mut facts);
        facts
    }

    /// Replaces facts of the table by observations.
    fn override_with_observations(&self, facts: &mut Vec<Fact>) {
        let Some(observed) = self.observations() else {
            return;
        };
        let mut observations: Vec<(&'static str, String)> = Vec::new();
        for bundle in observed.bundles.values() {
            observations.push(("bundle", bundle.file.clone()));
            let layout = bundle.layout().into_iter();
            observations.extend(layout.map(|(subject, value, _)| (subject, value)));
        }
        if let Some(required) = observed.anonymous_pull_required() {
            observations.push(("anonymous pull", required_or_not(required)));
        }
        let source = format!("environments/facts/{}.yaml", observed.release);
        let mut replaced = Vec::new();
        for (subject, value) in observations {
            // With two architectures, the first replaces the table's fact, and the second is
            // appended.
            let row = facts.iter_mut().find(|fact| fact.subject == subject);
            let new = Fact {
                subject,
                value,
                certainty: Certainty::Observed,
                sources: vec![source.clone()],
            };
            match row.filter(|_| !replaced.contains(&subject)) {
                Some(row) => *row = new,
                None => facts.push(new),
            }
            replaced.push(subject);
        }
    }

    fn observed_anonymous_pull(&self) -> Option<bool> {
        self.observations()?.anonymous_pull_required()
    }

    fn observed_bundle(&self, arch: &str) -> Option<&ObservedBundle> {
        self.observations()?.bundles.get(arch)
    }

    fn node_facts(&self) -> [Fact; 7] {
        let (nodes, release) = (&table().nodes, &version_core(&self.version));
        let yes_or_no =
            |what: &str, yes: &bool| format!("{what}: {}", if *yes { "yes" } else { "no" });
        let at_least = |what: &str, least: &u64| format!("{what}: {least} or more");
        [
            for_release(&nodes.systems, release)
                .to_fact(|systems| format!("operating systems: {}", systems.join(", "))),
            for_release(&nodes.processors, release).to_fact(|least| at_least("processors", least)),
            for_release(&nodes.memory, release)
                .to_fact(|least| format!("memory: {} or more", gigabytes(*least))),
            for_release(&nodes.cgroup_2, release)
                .to_fact(|yes| yes_or_no("requires cgroup v2", yes)),
            for_release(&nodes.selinux, release)
                .to_fact(|yes| yes_or_no("SELinux may be enforcing", yes)),
            for_release(&nodes.inotify_instances, release)
                .to_fact(|least| at_least("fs.inotify.max_user_instances", least)),
            for_release(&nodes.inotify_watches, release)
                .to_fact(|least| at_least("fs.inotify.max_user_watches", least)),
        ]
    }

    fn fill(&self, pattern: &str, arch: &str) -> String {
        // `{file}` first: the name of the bundle contains the other two placeholders.
        pattern
            .replace("{file}", &self.row.bundle.value)
            .replace("{version}", &format!("v{}", self.version))
            .replace("{arch}", arch)
    }
}

/// Returns the releases of the table, the oldest first.
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

/// The platforms of `mkectl`: Airlock's name, and the `{system}` and `{machine}` of the download.
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

/// Returns the addresses of documents by their short names.
pub(crate) fn sources(names: &[String]) -> Vec<String> {
    let addresses = names.iter();
    addresses
        .filter_map(|name| address(&table().sources, name))
        .collect()
}

/// Returns the address of a document. `name` is a short name, a short name followed by a slash and
/// a path, or an address.
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

pub(crate) fn required_or_not(required: bool) -> String {
    if required { "required" } else { "not required" }.to_owned()
}

/// Returns the version without pre-release and build metadata: the final release of a pre-release.
pub(crate) fn version_core(version: &Version) -> Version {
    Version {
        pre: Prerelease::EMPTY,
        build: BuildMetadata::EMPTY,
        ..version.clone()
    }
}

#[cfg(test)]
mod tests;
