//! The table of releases as it stands in `releases.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::{Certainty, Support};

/// The table. It is read once.
pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("releases.yaml"))
        .expect("releases.yaml is part of the program and read by its tests")
});

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) sources: BTreeMap<String, String>,
    pub(crate) bundle_url: Known<String>,
    pub(crate) mkectl_url: Known<String>,
    pub(crate) write_once: Vec<WriteOnce>,
    /// Sorted by `since`.
    pub(crate) from_mke3: Vec<FromMke3>,
    pub(crate) releases: Vec<Row>,
}

/// A key that a cluster keeps for good.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct WriteOnce {
    /// Its path below `spec`.
    pub(crate) key: String,
    /// What cannot be done to it.
    pub(crate) rule: String,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) version: Version,
    pub(crate) bundle: Known<String>,
    pub(crate) checksum: Known<Option<String>>,
    pub(crate) private_ca: Known<Support>,
    pub(crate) anonymous_pull_required: Known<bool>,
    pub(crate) external_address_required: Known<bool>,
    pub(crate) mkectl: Hashes,
    pub(crate) upgrade: Upgrades,
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Known<T> {
    pub(crate) value: T,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Hashes {
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
    pub(crate) sha256: BTreeMap<String, String>,
}

/// Releases as the targets of an upgrade from MKE 3.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct FromMke3 {
    /// The first release that this holds for.
    pub(crate) since: Version,
    /// From which versions.
    pub(crate) versions: Known<VersionReq>,
    /// Whether node ports for the gateway must be given.
    pub(crate) gateway_node_ports: Known<bool>,
    /// Whether the file of hosts may have private addresses and interfaces.
    pub(crate) private_addresses: Known<bool>,
}

/// The release as the target of an upgrade from another release of MKE 4k.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Upgrades {
    /// The releases that the vendor lists as sources; nothing where no list is known.
    pub(crate) from: Known<Option<Vec<Version>>>,
    /// Why it is a target of no upgrade at all.
    pub(crate) refused: Option<String>,
    /// How the backup before it is asked for; nothing where the vendor's text names none.
    pub(crate) backup: Option<Known<Option<String>>>,
    /// Whether the backup is made first, by the mkectl of the release that is there.
    #[serde(default)]
    pub(crate) backup_by_old_mkectl: bool,
    /// The sources from which node ports for the gateway must be given.
    pub(crate) gateway_node_ports_from: Option<Known<Vec<Version>>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) what: String,
    /// What helps, as far as anything does.
    pub(crate) cure: String,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}
