//! The facts of each release of MKE 4k, and pure functions that render, validate and compare
//! `mke4.yaml`.
//!
//! [`Release`] returns the file name of a release's bundle, the URLs of its checksum and its
//! `mkectl`, and its requirements for registries and nodes. These facts are data in
//! `releases.yaml`, each with its sources and its certainty. A warning names the facts that are
//! unverified.
//!
//! [`render()`] turns an environment into the `mke4.yaml` that `mkectl apply` reads. The managed
//! keys come first: the version, the air gap and the registries. The operator's `config` follows,
//! unchanged and in its order. If `config` contradicts a managed key, [`render()`] returns an error
//! with the place. [`validate()`] reads the file with an independent parser and checks it as MKE
//! would.
//!
//! [`compare()`] returns the differences between two such files by meaning. [`refuse_changes`]
//! returns the changes to keys that a cluster keeps permanently. [`Release::upgrade_from`] returns
//! whether the vendor supports an upgrade path.
//!
//! This crate uses neither files (except [`load`]) nor the network nor the clock. The same input
//! gives the same text on every machine and at any time.

mod table;
mod overlay;
mod release;
pub mod observations;
mod vendor;
pub mod identity;
mod keys;
mod config_keys;
mod hosts;
mod network;
mod notes;
mod schema;
mod render;
mod inventory;
mod managed_keys;
mod airgap;
mod validate;
mod pull_registries;
mod machines;
mod compare;
mod write_once;
mod cluster_config;
mod upgrade;
mod migration;

pub use airgap::{NotInBundle, not_in_bundle};
pub use cluster_config::ClusterConfig;
pub use compare::{Area, Change, compare, secrets, secrets_within};
pub use config_keys::{load, near_misses};
pub use hosts::is_word;
pub use inventory::hosts;
pub use machines::{Machine, Ssh, machines, migration_hosts, restore_hosts};
pub use managed_keys::RegistryUrls;
pub use migration::{
    Migration, MigrationError, Mke3Unsupported, TomlError, managers_unsupported, mke3_unsupported,
};
pub use notes::{accepts_incomplete_lock, accepts_pull_secret};
pub use observations::{Contradiction, Observations, ObservationsError};
pub use overlay::{Overlay, overlay};
pub use pull_registries::{PullRegistries, PullRegistry, pull_registries};
pub use release::{
    Certainty, Download, Fact, NodeRequirements, Release, ReleaseError, Support, releases,
};
pub use render::{PullSecrets, Rendered, Resolved, render, resolve};
pub use schema::{reference, schema};
pub use table::MonitoringCrds;
pub use upgrade::{Upgrade, UpgradeError};
pub use validate::{Validated, validate};
pub use vendor::{is_vendor_registry, vendor_name, vendor_prefixes};
pub use write_once::{
    Installed, external_address, external_port, refuse_changes, write_once_values,
    write_once_values_of,
};
