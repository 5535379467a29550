//! What registries and web servers have for sets: it is locked by digest, compared with its lock,
//! and fetched into the store.

// A lock is made: of a set, or of what mkectl lists of a release.
pub mod lock;
pub mod listed;
mod upstream;
mod resolve;
mod web;
mod bundles;

// What a lock names is fetched.
pub mod fetch;
pub(crate) mod need;
pub mod pull;
mod keep;
mod charts;

pub use charts::{Unlocked, warn_of_unlocked};
