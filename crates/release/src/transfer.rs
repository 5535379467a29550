//! Carries a release to a registry: its lock, the bundle, the store of blobs, and the push.

// The lock of a release or a set, which is made first.
pub mod lock;
pub(crate) mod read;
pub mod learn;
pub mod set;

// The registry.
pub mod connect;
pub mod look;

// What a lock names, on this machine.
pub mod program;
pub mod fetch;
pub mod local;
pub mod present;

// The push, as blobs arrive.
pub mod stream;
pub(crate) mod before_push;
pub(crate) mod announce;
pub mod push;
pub(crate) mod mount_candidates;

// What is left.
pub mod store;
