//! The table of releases as it stands in `releases.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use semver::Version;
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
    pub(crate) releases: Vec<Row>,
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

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) certainty: Certainty,
    pub(crate) source: Vec<String>,
}
