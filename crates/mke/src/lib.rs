//! What is known of each release of MKE 4k, and the rendering of `mke4.yaml` as a pure function.
//!
//! [`Release`] answers what a release's bundle is called, where its checksum and its `mkectl` are,
//! and what it asks of a registry. The answers are data, in `releases.yaml`, each with its source
//! and its certainty: most of it was read in the vendor's documentation, some is inferred, and what
//! is unverified comes out as a warning rather than as a silent default.
//!
//! [`render()`] turns an environment into the `mke4.yaml` that `mkectl apply` reads. What people
//! wrote under `config` arrives untouched, in their order; what the tool decides (the version, the
//! registries, that there is an air gap) comes first, and a `config` that contradicts it is refused
//! with the place where it does. [`validate()`] reads such a file back with another reader and
//! checks it as MKE would.
//!
//! [`compare()`] says what differs between two such files, by meaning, and [`refuse_changes`] what
//! an environment would change that its cluster keeps permanently. [`Release::upgrade_from`]
//! answers whether the vendor supports the way from one release to another.
//!
//! This crate must not know files, the network or the clock: the same input gives the same text, on
//! every machine and at any time.

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
