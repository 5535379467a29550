//! The table of releases as it is in `releases.yaml`.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::{Certainty, Support};

/// The table with what the file of a team adds.
static OVERLAID: OnceLock<Table> = OnceLock::new();

/// The table that is part of the program. It is read once.
pub(crate) static BUILT_IN: LazyLock<Table> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("releases.yaml"))
        .expect("releases.yaml is part of the program and read by its tests")
});

/// Returns the table.
pub(crate) fn table() -> &'static Table {
    OVERLAID.get().unwrap_or(&BUILT_IN)
}

/// Replaces the table for the rest of the process. The first replacement counts.
pub(crate) fn replace(table: Table) {
    let _ = OVERLAID.set(table);
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) sources: BTreeMap<String, String>,
    pub(crate) bundle_url: Sourced<String>,
    pub(crate) mkectl_url: Sourced<String>,
    pub(crate) layout: Layout,
    /// What a bundle takes on a disk, in bytes.
    pub(crate) bundle_size: Sourced<u64>,
    pub(crate) nodes: NodeRequirements,
    pub(crate) write_once: Vec<WriteOnce>,
    /// Sorted by `since`.
    pub(crate) from_mke3: Vec<FromMke3>,
    pub(crate) releases: Vec<Row>,
}

/// What a bundle looks like inside.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Layout {
    /// The folder that holds all archives.
    pub(crate) top_folder: Sourced<String>,
    /// What the file name of an archive gives.
    pub(crate) archive_names: Sourced<String>,
    /// How many roots an archive has.
    pub(crate) archive_roots: Sourced<String>,
    /// Whose media types manifests have.
    pub(crate) media_types: Sourced<String>,
    /// The path of the release matrix, or `none`.
    pub(crate) release_matrix: Sourced<String>,
    /// The form of the checksum file.
    pub(crate) checksum_form: Sourced<String>,
}

impl Layout {
    /// Returns the facts with the subjects under which people see them.
    pub(crate) fn all(&self) -> [(&'static str, &Sourced<String>); 6] {
        [
            ("top folder", &self.top_folder),
            ("archive names", &self.archive_names),
            ("archive roots", &self.archive_roots),
            ("media types", &self.media_types),
            ("release matrix", &self.release_matrix),
            ("checksum form", &self.checksum_form),
        ]
    }

    /// Returns the fact of a subject of [`Layout::all`].
    pub(crate) fn of(&self, subject: &str) -> &Sourced<String> {
        let mut all = self.all().into_iter();
        let found = all.find(|(name, _)| *name == subject);
        found.map_or(&self.top_folder, |(_, known)| known)
    }
}

/// What a machine of the cluster needs. Each list is sorted by `since` and begins with the first
/// release.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct NodeRequirements {
    /// Operating systems, each as ID and VERSION_ID of `/etc/os-release`.
    pub(crate) systems: Vec<Since<Vec<String>>>,
    pub(crate) processors: Vec<Since<u64>>,
    /// In bytes.
    pub(crate) memory: Vec<Since<u64>>,
    /// Whether k0s runs with version 2 of cgroups only.
    #[serde(rename = "cgroup-2")]
    pub(crate) cgroup_2: Vec<Since<bool>>,
    /// Whether the release runs under an enforcing SELinux.
    pub(crate) selinux: Vec<Since<bool>>,
    /// The least value of `fs.inotify.max_user_instances`.
    pub(crate) inotify_instances: Vec<Since<u64>>,
    /// The least value of `fs.inotify.max_user_watches`.
    pub(crate) inotify_watches: Vec<Since<u64>>,
}

/// A value from one release on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Since<T> {
    pub(crate) since: Version,
    pub(crate) value: T,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

/// Returns what holds for a release.
pub(crate) fn at<'a, T>(values: &'a [Since<T>], release: &Version) -> &'a Since<T> {
    let found = values.iter().rfind(|value| value.since <= *release);
    found.unwrap_or(&values[0])
}

/// A key that a cluster keeps permanently.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct WriteOnce {
    /// Its path below `spec`.
    pub(crate) key: String,
    /// What cannot be done to it.
    pub(crate) rule: String,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) version: Version,
    pub(crate) bundle: Sourced<String>,
    pub(crate) checksum: Sourced<Option<String>>,
    pub(crate) private_ca: Sourced<Support>,
    pub(crate) anonymous_pull_required: Sourced<bool>,
    pub(crate) external_address_required: Sourced<bool>,
    /// The versions of what the release consists of, where they are known.
    pub(crate) components: Option<Sourced<Components>>,
    pub(crate) mkectl: Hashes,
    pub(crate) upgrade: Upgrades,
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

/// The versions of some components, as the vendor's release matrix has them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Components {
    pub(crate) k0s: String,
    pub(crate) operator: String,
    pub(crate) operator_chart: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Hashes {
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
    pub(crate) sha256: BTreeMap<String, String>,
}

/// Releases as the targets of an upgrade from MKE 3.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct FromMke3 {
    /// The first release that this holds for.
    pub(crate) since: Version,
    /// From which versions.
    pub(crate) versions: Sourced<VersionReq>,
    /// Whether node ports for the gateway must be given.
    pub(crate) gateway_node_ports: Sourced<bool>,
    /// Whether the file of hosts may have private addresses and interfaces.
    pub(crate) private_addresses: Sourced<bool>,
}

/// The release as the target of an upgrade from a different release of MKE 4k.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Upgrades {
    /// The releases that the vendor lists as sources; none if no list is known.
    pub(crate) from: Sourced<Option<Vec<Version>>>,
    /// Why it is a target of no upgrade at all.
    pub(crate) refused: Option<String>,
    /// The backup that `mkectl upgrade` to this release makes for its automatic rollback.
    pub(crate) rollback_backup: Option<Sourced<String>>,
    /// The command of this release's mkectl that writes an archive to a local file; none if it has
    /// no such command.
    pub(crate) archive: Sourced<Option<String>>,
    /// The chart whose CRDs the vendor suggests to apply before an upgrade to this release.
    pub(crate) monitoring_crds: Option<Sourced<MonitoringCrds>>,
    /// The sources from which node ports for the gateway must be given.
    pub(crate) gateway_node_ports_from: Option<Sourced<Vec<Version>>>,
}

/// The CRDs of the monitoring stack that Helm does not upgrade by itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MonitoringCrds {
    /// The sources of an upgrade for which they are applied by hand.
    pub(crate) from: semver::VersionReq,
    /// The name of the chart that holds them.
    pub chart: String,
    /// The version of the chart.
    pub version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) what: String,
    /// What helps, as far as anything does.
    #[serde(alias = "cure")]
    pub(crate) fix: String,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use crate::Certainty;
    use crate::release::address;

    /// The names of documents that the vendor did not write.
    const OTHERS: [&str; 8] = [
        "K0RDENTD", "KAIROS", "KIND", "LAB", "LAB2", "LAB3", "TPL-413", "REMOTE",
    ];

    /// Checks that a fact has sources with addresses, and that one that is called documented is in
    /// a text of the vendor.
    pub(crate) fn assert_sourced(
        what: &str,
        sources: &[String],
        certainty: Certainty,
        known: &BTreeMap<String, String>,
    ) {
        assert!(!sources.is_empty(), "{what} has no source");
        for name in sources {
            assert!(
                address(known, name).is_some(),
                "{what}: {name} has no address"
            );
        }
        let is_of_vendor = |name: &String| !OTHERS.contains(&name.as_str());
        assert!(
            certainty != Certainty::Documented || sources.iter().any(is_of_vendor),
            "{what} is called documented, and {sources:?} are not the vendor's"
        );
    }
}
