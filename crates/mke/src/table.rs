//! The table of releases, deserialized from `releases.yaml`.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::{Certainty, Support};

/// The table with the facts of a team's file.
static OVERLAID: OnceLock<Table> = OnceLock::new();

/// The table that is part of the program.
pub(crate) static BUILT_IN: LazyLock<Table> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("releases.yaml"))
        .expect("releases.yaml is part of the program and read by its tests")
});

/// Returns the table, with the facts of a team's file if it was read.
pub(crate) fn table() -> &'static Table {
    OVERLAID.get().unwrap_or(&BUILT_IN)
}

/// Replaces the table for the rest of the process. Later calls have no effect.
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
    /// The size of a bundle, in bytes.
    pub(crate) bundle_size: Sourced<u64>,
    pub(crate) nodes: NodeRequirements,
    pub(crate) write_once: Vec<WriteOnce>,
    /// Sorted by `since`.
    pub(crate) from_mke3: Vec<FromMke3>,
    pub(crate) releases: Vec<Row>,
}

/// The layout of a bundle.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Layout {
    /// The folder of all archives.
    pub(crate) top_folder: Sourced<String>,
    /// The pattern of the file names of archives.
    pub(crate) archive_names: Sourced<String>,
    /// The number of roots of an archive.
    pub(crate) archive_roots: Sourced<String>,
    /// The family of the manifests' media types, such as `oci`.
    pub(crate) media_types: Sourced<String>,
    /// The path of the release matrix, or `none`.
    pub(crate) release_matrix: Sourced<String>,
    /// The form of the checksum file.
    pub(crate) checksum_form: Sourced<String>,
}

impl Layout {
    /// Returns the facts with their subjects, as in [`Fact`](crate::Fact).
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

    /// Returns the fact with a subject of [`Layout::all`].
    pub(crate) fn of(&self, subject: &str) -> &Sourced<String> {
        let mut all = self.all().into_iter();
        let found = all.find(|(name, _)| *name == subject);
        found.map_or(&self.top_folder, |(_, known)| known)
    }
}

/// The requirements for machines of the cluster. Each list is sorted by `since` and begins with the
/// first release.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct NodeRequirements {
    /// Supported operating systems, each as ID and VERSION_ID of `/etc/os-release`.
    pub(crate) systems: Vec<Since<Vec<String>>>,
    pub(crate) processors: Vec<Since<u64>>,
    /// In bytes.
    pub(crate) memory: Vec<Since<u64>>,
    /// Whether k0s requires cgroup v2.
    #[serde(rename = "cgroup-2")]
    pub(crate) cgroup_2: Vec<Since<bool>>,
    /// Whether the release runs under an enforcing SELinux.
    pub(crate) selinux: Vec<Since<bool>>,
    /// The minimum value of `fs.inotify.max_user_instances`.
    pub(crate) inotify_instances: Vec<Since<u64>>,
    /// The minimum value of `fs.inotify.max_user_watches`.
    pub(crate) inotify_watches: Vec<Since<u64>>,
}

/// A value that is valid from a release on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Since<T> {
    pub(crate) since: Version,
    pub(crate) value: T,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

/// Returns the last value whose `since` is not after a release.
pub(crate) fn for_release<'a, T>(values: &'a [Since<T>], release: &Version) -> &'a Since<T> {
    let found = values.iter().rfind(|value| value.since <= *release);
    found.unwrap_or(&values[0])
}

/// A key that a cluster keeps permanently.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct WriteOnce {
    /// Its path below `spec`.
    pub(crate) key: String,
    /// The vendor's rule, as a quotation.
    pub(crate) rule: String,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

/// The facts of one release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) version: Version,
    pub(crate) bundle: Sourced<String>,
    pub(crate) checksum: Sourced<Option<String>>,
    pub(crate) private_ca: Sourced<Support>,
    pub(crate) anonymous_pull_required: Sourced<bool>,
    pub(crate) external_address_required: Sourced<bool>,
    /// The versions of components, if they are known.
    pub(crate) components: Option<Sourced<Components>>,
    pub(crate) mkectl: Hashes,
    pub(crate) upgrade: Upgrades,
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
}

/// A value with its certainty and its sources.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

/// The versions of components, as in the vendor's release matrix.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Components {
    pub(crate) k0s: String,
    pub(crate) operator: String,
    pub(crate) operator_chart: String,
}

/// The hashes of the downloads of `mkectl` by platform.
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
    /// The first target release of this row.
    pub(crate) since: Version,
    /// The supported source versions.
    pub(crate) versions: Sourced<VersionReq>,
    /// Whether the gateway's node ports are required.
    pub(crate) gateway_node_ports: Sourced<bool>,
    /// Whether the file of hosts may have private addresses and interfaces.
    pub(crate) private_addresses: Sourced<bool>,
}

/// The release as the target of upgrades from other releases of MKE 4k.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Upgrades {
    /// The releases that the vendor lists as sources. `None` if the list is unknown.
    pub(crate) from: Sourced<Option<Vec<Version>>>,
    /// The reason that the vendor supports no upgrade to this release.
    pub(crate) refused: Option<String>,
    /// The backup that `mkectl upgrade` to this release makes for its automatic rollback.
    pub(crate) rollback_backup: Option<Sourced<String>>,
    /// The command of this release's mkectl that writes a backup archive to a local file. `None` if
    /// it has none.
    pub(crate) archive: Sourced<Option<String>>,
    /// The chart with the CRDs that the vendor suggests to apply before an upgrade to this release.
    pub(crate) monitoring_crds: Option<Sourced<MonitoringCrds>>,
    /// The source releases for which the gateway's node ports are required.
    pub(crate) gateway_node_ports_from: Option<Sourced<Vec<Version>>>,
}

/// The CRDs of the monitoring stack, which Helm does not upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MonitoringCrds {
    /// The source releases whose upgrade requires applying the CRDs by hand.
    pub(crate) from: VersionReq,
    /// The name of the chart with the CRDs.
    pub chart: String,
    /// The version of the chart.
    pub version: Version,
}

/// A known issue of a release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) what: String,
    /// The remedy.
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

    /// The short names of documents that the vendor did not write.
    const THIRD_PARTY: [&str; 8] = [
        "K0RDENTD", "KAIROS", "KIND", "LAB", "LAB2", "LAB3", "TPL-413", "REMOTE",
    ];

    /// Asserts that a fact has sources with addresses, and that a documented fact has a source of
    /// the vendor.
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
        let is_of_vendor = |name: &String| !THIRD_PARTY.contains(&name.as_str());
        assert!(
            certainty != Certainty::Documented || sources.iter().any(is_of_vendor),
            "{what} is called documented, and {sources:?} are not the vendor's"
        );
    }
}
