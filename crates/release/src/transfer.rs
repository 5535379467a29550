//! Transfers a release to a registry: locks it, fetches and verifies its content, and pushes it.

// Making the lock of a release or a set.
pub mod lock;
pub(crate) mod read;
pub mod learn;
pub mod set;

// Requests to the registry before a push.
pub mod connect;
pub mod look;

// Locked content on this machine.
pub mod program;
pub mod fetch;
pub mod local;
pub mod present;

// The push, which runs while blobs arrive in the store.
pub mod stream;
pub(crate) mod before_push;
pub(crate) mod notify;
pub mod push;
pub(crate) mod mount_candidates;

// Removing content that no lock names.
pub mod store;
