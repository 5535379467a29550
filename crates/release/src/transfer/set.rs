//! Locks sets by digest, compares their locks with registries and web servers, and fetches their
//! content into the store.

// Making a lock: of a set, or of the references that mkectl lists for a release.
pub mod lock;
pub mod listed;
mod upstream;
mod resolve;
mod web;
mod bundles;

// Fetching the locked content.
pub mod fetch;
pub(crate) mod need;
pub mod pull;
mod keep;
mod charts;

pub use charts::{Unlocked, warn_of_unlocked};
