//! Carries a release to a registry: its lock, the bundle, the store of blobs, and the push.

// The registry.
pub mod connect;
pub mod look;

// What a lock names, on this machine.
pub mod fetch;
pub mod learn;
pub mod local;
pub mod lock;
pub mod present;
pub mod program;
pub(crate) mod read;
pub mod set;

// The push, as blobs arrive.
pub(crate) mod announce;
pub(crate) mod before_push;
pub(crate) mod mount_candidates;
pub mod push;
pub mod stream;

// What is left.
pub mod store;
